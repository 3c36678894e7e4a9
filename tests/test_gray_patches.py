"""Gray images to train on: read as they are stored, cut into patches, varied."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pixelcodec.models import gray_patches
from pixelcodec.models.datasets import DATA_SETS
from pixelcodec.models.gray_patches import GrayPatches, load_gray, varied

DEEP = (np.arange(100 * 90).reshape(100, 90) % 4000).astype(np.uint16)
SHALLOW = (DEEP % 251).astype(np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of eight gray images, and one in colour."""
    for number in range(4):
        Image.fromarray(DEEP + np.uint16(number)).save(tmp_path / f"deep-{number}.png")
        Image.fromarray(SHALLOW).save(tmp_path / f"shallow-{number}.png")
    Image.fromarray(np.stack([SHALLOW] * 3, 2)).save(tmp_path / "colour.png")
    return tmp_path


def test_gray_images_are_read_as_they_are_stored(files: Path) -> None:
    found = load_gray(sorted(files.iterdir()), 16)
    assert len(found) == 8
    np.testing.assert_array_equal(found[0][..., 0], DEEP, strict=True)
    np.testing.assert_array_equal(found[4][..., 0], SHALLOW.astype(np.uint16), strict=True)


def test_deep_images_lose_low_bits_where_samples_have_eight(files: Path) -> None:
    found = load_gray(sorted(files.iterdir()), 8)
    np.testing.assert_array_equal(found[0][..., 0], (DEEP >> 4).astype(np.uint8), strict=True)
    np.testing.assert_array_equal(found[4][..., 0], SHALLOW, strict=True)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="broken"):
        load_gray([tmp_path / "broken.png"], 16)


@pytest.mark.parametrize(("kind", "dtype"), [("gray16", np.uint16), ("gray8", np.uint8)])
def test_a_data_set_of_gray_images(files: Path, kind: str, dtype: type[np.generic]) -> None:
    training = DATA_SETS[kind].training(files, batch=3, seed=1)
    batch, counted = training.source.batch(5)
    assert batch.shape == (3, 64, 64, 1)
    assert batch.dtype == dtype
    assert counted.all()
    np.testing.assert_array_equal(training.source.batch(5)[0], batch)
    assert (training.source.batch(6)[0] != batch).any()
    assert [image.shape for image in training.held_out] == [(1, 100, 90, 1)]
    assert DATA_SETS[kind].test(files).shape == (8, 64, 64, 1)


def test_of_a_few_images_one_is_held_out(tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(SHALLOW + np.uint8(number)).save(tmp_path / f"{number}.png")
    (held_out,) = DATA_SETS["gray8"].training(tmp_path, batch=1, seed=0).held_out
    np.testing.assert_array_equal(held_out[0, ..., 0], SHALLOW + np.uint8(1))


def test_a_folder_without_gray_images_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.stack([SHALLOW] * 3, 2)).save(tmp_path / "colour.png")
    with pytest.raises(OSError, match="none of the images is gray"):
        DATA_SETS["gray8"].training(tmp_path, batch=1, seed=0)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than a patch of 64"):
        GrayPatches([DEEP[:50, :, None]], 64, 1, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_varied_stays_in_its_range(dtype: type[np.generic]) -> None:
    patch = (DEEP[:20, :20, None] // 16).astype(dtype)
    found: list[npt.NDArray[np.generic]] = [
        varied(patch, int(patch.max()), np.random.default_rng(seed)) for seed in range(40)
    ]
    assert all(each.dtype == dtype and each.shape == patch.shape for each in found)
    unchanged = sum(np.array_equal(each, patch) for each in found)
    assert 0 < unchanged < 40


def test_an_enlarged_patch_is_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gray_patches, "ENLARGED", 1.0)
    for name in ("DIMMED", "NOISY", "INVERTED"):
        monkeypatch.setattr(gray_patches, name, 0.0)
    image = np.random.default_rng(1).integers(0, 1000, (80, 80, 1)).astype(np.uint16)
    (patch,), _ = GrayPatches([image], 64, 1, 0).batch(0)
    steps = [np.abs(np.diff(each.astype(int), axis=0)).mean() for each in (patch, image)]
    assert steps[0] < 0.8 * steps[1]
