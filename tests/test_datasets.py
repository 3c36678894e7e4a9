"""Data sets: what was written comes back, nothing that is tested on is trained on."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from coding import Samples
from data_files import write_cifar10, write_mnist, write_mosaic, write_npz
from pictures import noise
from pixelcodec.evaluation import mosaic_of
from pixelcodec.models import datasets
from pixelcodec.models.data import Mixed, WholeImages
from pixelcodec.models.datasets import DATA_SETS, photographs, reduced, tiles

DIGITS = noise(45, 28, 28, 1)
COLOURS = noise(45, 32, 32, 3)
LARGER = noise(5, 64, 64, 3)

Writer = Callable[[Path, Samples], None]

FORMS: list[tuple[str, Writer, Samples, str, str]] = [
    ("mnist", write_mnist, DIGITS, "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
    ("mnist", write_mnist, DIGITS, "train-images.idx3-ubyte", "t10k-images.idx3-ubyte"),
    ("mnist", write_mnist, DIGITS, "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
    ("mnist", write_mnist, DIGITS, "a-train-images-idx3-ubyte.gz", "a-test-images-idx3-ubyte.gz"),
    ("cifar10", write_cifar10, COLOURS, "data_batch_1.bin", "test_batch.bin"),
    ("cifar10", write_mosaic, COLOURS, "cifar10-train-45.webp", "cifar10-test-45.png"),
    ("imagenet32", write_npz, COLOURS, "train_data_batch_1.npz", "val_data.npz"),
    ("imagenet64", write_npz, LARGER, "train_data_batch_1.npz", "val_data.npz"),
    ("mosaic", write_mosaic, COLOURS, "any-part-train-45.webp", "any-part-test-45.png"),
]


def all_batches(source: Any) -> Samples:
    """Enough of them to have seen every image."""
    return np.concatenate([source.batch(step)[0] for step in range(10)])


def among(images: Samples, others: Samples) -> Any:
    """Which of ``images`` are one of ``others``, mirrored or not: bool [n]."""
    known = {image.tobytes() for both in (others, others[:, :, ::-1]) for image in both}
    return np.array([image.tobytes() in known for image in images])


@pytest.mark.parametrize(("kind", "write", "images", "train", "test"), FORMS)
def test_the_test_set_is_what_its_file_holds(
    tmp_path: Path, kind: str, write: Writer, images: Samples, train: str, test: str
) -> None:
    if DATA_SETS[kind].bit_depth == 1:
        images = np.where(images < 128, 0, 255).astype(np.uint8)
    write(tmp_path / test, images)
    found = DATA_SETS[kind].test(tmp_path)
    assert found.dtype == np.uint8
    expected = images // 255 if DATA_SETS[kind].bit_depth == 1 else images
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("kind", "write", "images", "train", "test"), FORMS)
def test_the_last_images_are_held_out_and_never_trained_on(
    tmp_path: Path, kind: str, write: Writer, images: Samples, train: str, test: str
) -> None:
    images = np.where(images < 128, 0, 255).astype(np.uint8)
    write(tmp_path / train, images)
    training = DATA_SETS[kind].training(tmp_path, batch=50, seed=1)
    images = images // 255 if DATA_SETS[kind].bit_depth == 1 else images
    held_out = max(1, round(len(images) / 20))
    (stack,) = training.held_out
    np.testing.assert_array_equal(stack, images[-held_out:])
    batches = all_batches(training.source)
    assert among(batches, images[:-held_out]).all()
    assert among(images[:-held_out], batches).all()
    assert f"{len(images)} images" in training.summary
    assert f"last {held_out} held out" in training.summary


def test_batches_of_cifar_10_are_one_training_set(tmp_path: Path) -> None:
    for part in range(5):
        images = COLOURS[part * 9 : part * 9 + 9]
        write_cifar10(tmp_path / f"data_batch_{part + 1}.bin", images)
    training = DATA_SETS["cifar10"].training(tmp_path, 50, 0)
    assert among(COLOURS[:-2], all_batches(training.source)).all()


def test_no_more_are_held_out_than_one_can_often_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "train-images-idx3-ubyte", np.repeat(DIGITS, 4, 0))
    monkeypatch.setattr(datasets, "HELD_OUT_MOST", 3)
    (stack,) = DATA_SETS["mnist"].training(tmp_path, 4, 0).held_out
    assert len(stack) == 3


def test_one_image_is_too_few_to_train_on(tmp_path: Path) -> None:
    write_mnist(tmp_path / "train-images-idx3-ubyte", DIGITS[:1])
    with pytest.raises(ValueError, match="no images are left"):
        DATA_SETS["mnist"].training(tmp_path, 4, 0)


# Binarisation ------------------------------------------------------------------------------------


def test_the_test_set_is_binarised_as_documented(tmp_path: Path) -> None:
    write_mnist(tmp_path / "t10k-images-idx3-ubyte", DIGITS)
    random = np.random.default_rng(0).random((45, 28, 28))
    expected = random < DIGITS[..., 0] / 255
    for _ in range(2):
        found = DATA_SETS["mnist"].test(tmp_path)
        np.testing.assert_array_equal(found[..., 0], expected)


def test_the_first_images_are_the_same_however_many_there_are(tmp_path: Path) -> None:
    write_mnist(tmp_path / "t10k-images-idx3-ubyte", DIGITS)
    whole = DATA_SETS["mnist"].test(tmp_path)
    write_mnist(tmp_path / "t10k-images-idx3-ubyte", DIGITS[:7])
    np.testing.assert_array_equal(DATA_SETS["mnist"].test(tmp_path), whole[:7])


# Mosaics and photographs -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 63, 64, 65])
def test_a_mosaic_holds_as_many_as_its_name_says(tmp_path: Path, count: int) -> None:
    images = noise(count, 32, 32, 3)
    write_mosaic(tmp_path / f"x-1-test-{count}.png", images)
    np.testing.assert_array_equal(DATA_SETS["mosaic"].test(tmp_path), images)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 13), st.just(3), st.just(3), st.sampled_from([1, 3])))
)
def test_tiles_undo_a_mosaic_without_gaps(images: Samples) -> None:
    mosaic = mosaic_of(images)
    assert mosaic.size == images.size
    np.testing.assert_array_equal(tiles(mosaic, 3), images)


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (7, 7, 1), (12, 4, 3), (10000, 100, 100)]
)
def test_a_mosaic_is_as_square_as_it_can_be(count: int, rows: int, columns: int) -> None:
    assert mosaic_of(np.zeros((count, 2, 2, 1), np.uint8)).shape == (2 * rows, 2 * columns, 1)


@given(
    arrays(np.uint8, st.tuples(st.integers(4, 9), st.integers(4, 9), st.just(3))),
    st.sampled_from([2, 4]),
)
def test_reducing_takes_the_mean_of_each_box(image: Samples, factor: int) -> None:
    found = reduced(image, factor)
    assert found.shape == (image.shape[0] // factor, image.shape[1] // factor, 3)
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            box = image[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            assert np.abs(box.mean((0, 1)) - found[y, x]).max() <= 0.5


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty photographs, each of one colour."""
    for value in range(40):
        Image.fromarray(np.full((128, 160, 3), value, np.uint8)).save(tmp_path / f"{value:02}.png")
    return tmp_path


def test_photographs_are_reduced_and_every_twentieth_is_held_out(photos: Path) -> None:
    training = DATA_SETS["photos32"].training(photos, 50, 0)
    (held_out,) = training.held_out
    assert held_out.shape == (2 * (2 * 2 + 1), 32, 32, 3)
    assert set(np.unique(held_out)) == {0, 20}
    batches = all_batches(training.source)
    assert batches.shape[1:] == (32, 32, 3)
    assert set(np.unique(batches)) == set(range(40)) - {0, 20}
    assert training.summary.startswith("40 photographs")


def test_photographs_that_are_too_small_to_be_held_out_are_refused(photos: Path) -> None:
    for name in ("00", "20"):
        Image.fromarray(np.zeros((63, 200, 3), np.uint8)).save(photos / f"{name}.png")
    with pytest.raises(ValueError, match="held out none has 64 x 64"):
        DATA_SETS["photos32"].training(photos, 50, 0)


def test_a_folder_of_photographs_is_a_test_set(photos: Path) -> None:
    assert DATA_SETS["photos32"].test(photos).shape == (40 * 5, 32, 32, 3)


def test_patches_of_photographs_are_of_the_size_asked(photos: Path) -> None:
    training = photographs([photos], patch=48, batch=6, seed=0)
    assert training.source.batch(0)[0].shape == (6, 48, 48, 3)
    assert [stack.shape for stack in training.held_out] == 2 * [(1, 128, 160, 3)]


# Errors ------------------------------------------------------------------------------------------


def test_a_mixture_has_images_of_each_source_in_each_batch() -> None:
    sources = [WholeImages(COLOURS, 3, seed=0), WholeImages(255 - COLOURS, 2, seed=5)]
    source = Mixed(sources)
    images, counted = source.batch(7, rank=1)
    assert source.pixels == 5 * 32 * 32
    assert counted.shape == (5, 3)
    np.testing.assert_array_equal(images[:3], sources[0].batch(7, rank=1)[0])
    np.testing.assert_array_equal(images[3:], sources[1].batch(7, rank=1)[0])


def test_images_of_several_sizes_are_no_mixture() -> None:
    with pytest.raises(ValueError, match=r"of several sizes: \(28, 28, 1\), \(32, 32, 3\)"):
        Mixed([WholeImages(COLOURS, 3, seed=0), WholeImages(DIGITS, 3, seed=0)])


@pytest.mark.parametrize("kind", DATA_SETS)
@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_the_data_set_is_named(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(FileNotFoundError, match=name):
        DATA_SETS[kind].test(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        DATA_SETS[kind].training(tmp_path / name, 4, 0)


def cut(write: Writer, images: Samples) -> Callable[[Path], None]:
    """A file whose end is missing."""

    def damaged(file: Path) -> None:
        write(file, images)
        file.write_bytes(file.read_bytes()[:-9])

    return damaged


def npz_of(**entries: Any) -> Callable[[Path], None]:
    return lambda file: np.savez(file, **entries)


IDX = "t10k-images-idx3-ubyte"

DAMAGE: list[tuple[str, str, Callable[[Path], None], str]] = [
    ("mnist", IDX, lambda file: file.write_bytes(b""), "not an idx file of images"),
    ("mnist", IDX, lambda file: file.write_bytes(bytes(2000)), "not an idx file of images"),
    ("mnist", IDX, cut(write_mnist, DIGITS), "35,271 bytes for 45 images"),
    ("mnist", IDX, lambda file: write_mnist(file, COLOURS), "images of 32 x 32; MNIST has 28 x 28"),
    ("mnist", f"{IDX}.gz", lambda file: file.write_bytes(b"no archive"), "[Nn]ot a gzip"),
    ("mnist", f"{IDX}.gz", cut(write_mnist, DIGITS), "ended before"),
    ("mnist", f"{IDX}.gz", lambda file: file.write_bytes(gzip.compress(b"")), "not an idx file"),
    ("cifar10", "test_batch.bin", cut(write_cifar10, COLOURS), "no records of 3,073"),
    ("cifar10", "test_batch.bin", lambda file: file.write_bytes(b""), "no records of 3,073"),
    ("cifar10", "cifar10-test-65.png", lambda file: write_mosaic(file, COLOURS), "65 tiles"),
    ("mosaic", "x-test-3.png", lambda file: file.write_bytes(b"no image"), "cannot identify"),
    ("mosaic", "x-test-0.png", lambda file: write_mosaic(file, COLOURS), "0 tiles"),
    ("imagenet32", "val_data.npz", lambda file: file.write_bytes(b"none"), "pickled|not a zip"),
    ("imagenet32", "val_data.npz", cut(write_npz, COLOURS), "not a zip file"),
    ("imagenet32", "val_data.npz", npz_of(labels=np.zeros(3)), "data"),
    ("imagenet32", "val_data.npz", npz_of(data=np.zeros((2, 3072))), r"float64 \[2, 3072\]"),
    ("imagenet64", "val_data.npz", lambda file: write_npz(file, COLOURS), r"uint8 \[n, 12288\]"),
]


@pytest.mark.parametrize(("kind", "name", "write", "message"), DAMAGE)
def test_a_damaged_file_is_named(
    tmp_path: Path, kind: str, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(OSError, match=rf"{name}: .*({message})"):
        DATA_SETS[kind].test(tmp_path)
