"""Commands that are about networks, with the real codec and networks as small as they get."""

import csv
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import pixelcodec
from coding import TINY, random_network, randomised
from commands import assert_fails_in_one_line, names, read, run, save
from pixelcodec.effort import STATIC
from pixelcodec.models import zoo
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN

pytestmark = pytest.mark.usefixtures("folder")

NETWORK = ("--width", 8, "--hidden", 8, "--blocks", 1, "--head", 4, "--components", 1)
TRAINING = (*NETWORK, "--batch", 2, "--patch", 16, "--megapixels", 0.02)


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """An image that a network can learn something of."""
    random = np.random.default_rng(seed)
    steps = random.integers(-4, 5, (height, width, 3)).cumsum(0).cumsum(1)
    return (steps & 255).astype(np.uint8)


@pytest.fixture
def model(folder: Path, tiny: Path) -> Path:
    return folder / tiny


@pytest.fixture
def photo(folder: Path) -> Path:
    return save(smooth(1, 10, 12), "photo.png")


@pytest.fixture
def gray(folder: Path) -> Path:
    return save(smooth(2, 9, 7)[..., 0], "gray.png")


def paper_model(channels: int, bit_depth: int) -> Path:
    """The file of a random ``pixelcnn-1`` for images of such ``channels`` and samples."""
    config = PaperConfig(channels=channels, bit_depth=bit_depth, hidden=3, layers=1, head=3)
    path = Path(f"{channels}x{bit_depth}.safetensors")
    zoo.save_network(randomised(lambda: PixelCNN(config), seed=1).integer_network(), path)
    return path


@pytest.fixture
def bilevel(folder: Path) -> Path:
    return save(smooth(3, 9, 7)[..., 0] >= 128, "bilevel.png")


@pytest.fixture
def gray16(folder: Path) -> Path:
    return save(smooth(4, 9, 7)[..., 0].astype(np.uint16) << 8, "gray16.png")


# Models that are files ---------------------------------------------------------------------------


def test_the_model_can_be_a_file_throughout(model: Path, photo: Path) -> None:
    assert run("encode", photo, "-m", model).exit_code == 0
    assert run("decode", "photo.pxc", "-m", model, "-o", "restored.png").exit_code == 0
    assert np.array_equal(read(Path("restored.png")), read(photo))
    assert run("verify", "photo.pxc", photo, "-m", model).exit_code == 0
    result = run("compare", photo, "-m", model)
    assert result.exit_code == 0, result.output
    assert f"pixelcodec {model}" in result.stdout


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_a_bilevel_image_stays_one(bilevel: Path, suffix: str) -> None:
    model, restored = paper_model(channels=1, bit_depth=1), f"restored.{suffix}"

    assert run("encode", bilevel, "-m", model).exit_code == 0
    assert run("decode", "bilevel.pxc", "-m", model, "-o", restored).exit_code == 0
    with Image.open(bilevel) as before, Image.open(restored) as after:
        assert before.mode == after.mode == "1"
        assert np.array_equal(before, after)
    assert run("verify", "bilevel.pxc", bilevel, "-m", model).exit_code == 0
    assert "1-bit samples" in run("info", "bilevel.pxc").stdout
    assert len(json.loads(run("eval", "--json", bilevel, "-m", model).stdout)) == 1


@pytest.mark.parametrize(
    ("image", "channels", "bit_depth", "message"),
    [
        ("photo", 1, 8, "the model codes 1-channel images, not 3-channel"),
        ("gray", 3, 8, "the model codes 3-channel images, not 1-channel"),
        ("gray", 1, 1, "1x1.safetensors codes 1-bit samples"),
        ("bilevel", 1, 8, "1x8.safetensors codes 8-bit samples"),
        ("bilevel", None, 8, "photo-s codes 8-bit samples"),
        ("gray16", None, 8, "photo-s codes 8-bit samples"),
    ],
)
@pytest.mark.parametrize("command", ["encode", "eval"])
def test_what_the_model_does_not_code_is_refused(
    request: pytest.FixtureRequest,
    command: str,
    image: str,
    channels: int | None,
    bit_depth: int,
    message: str,
) -> None:
    source: Path = request.getfixturevalue(image)
    model = paper_model(channels, bit_depth) if channels else "photo-s"

    result = run(command, source, "-m", model)

    assert_fails_in_one_line(result, source)
    assert message in result.stderr
    assert not source.with_suffix(".pxc").exists()


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_a_file_by_a_model_that_is_not_installed_needs_it(
    command: str, model: Path, photo: Path
) -> None:
    run("encode", photo, "-m", model)

    result = run(command, "photo.pxc", *(("-f",) if command == "decode" else ()))

    assert_fails_in_one_line(result, "photo.pxc")
    assert "is not installed: a newer pixelcodec may have it, or" in result.stderr
    assert "give its file, by -m or model=; installed are " in result.stderr


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_the_model_must_be_the_one_that_wrote_the_file(
    command: str, model: Path, photo: Path
) -> None:
    run("encode", photo, "-m", model)
    zoo.save_network(random_network(TINY, seed=2), Path("other.safetensors"))

    result = run(
        *(command, "photo.pxc", "-m", "other.safetensors"),
        *(("-f",) if command == "decode" else ()),
    )

    assert_fails_in_one_line(result, "photo.pxc")
    assert "model other.safetensors is " in result.stderr


def test_a_model_file_that_is_none_is_named_once(photo: Path) -> None:
    Path("bad.safetensors").write_bytes(b"no model")

    result = run("eval", photo, "-m", "bad.safetensors")

    assert result.exit_code == 1
    assert result.stderr.startswith("pixelcodec: bad.safetensors is not a pixelcodec model")
    assert result.stderr.count("\n") == 1


# eval --------------------------------------------------------------------------------------------


def file_bytes(image: Path, model: Path) -> int:
    return len(pixelcodec.encode(read(image), model=str(model), effort=STATIC))


def test_eval_shows_the_bits_of_the_model_and_of_each_file(
    model: Path, photo: Path, gray: Path
) -> None:
    result = run("eval", photo, gray, "-m", model)

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    head, *rows = (line.split() for line in result.stdout.splitlines())
    assert " ".join(head) == "image model bpsp file bpsp overhead"
    assert [row[0] for row in rows] == ["photo.png", "gray.png", "all"]
    sizes = [file_bytes(photo, model), file_bytes(gray, model)]
    samples = [read(photo).size, read(gray).size]
    for row, size, count in zip(rows, [*sizes, sum(sizes)], [*samples, sum(samples)], strict=True):
        assert row[2] == f"{8 * size / count:.4f}"
        assert float(row[1]) < float(row[2])


def test_eval_prints_json(model: Path, photo: Path, gray: Path) -> None:
    result = run("eval", "--json", photo, gray, "-m", model)

    assert result.exit_code == 0
    for facts, image in zip(json.loads(result.stdout), (photo, gray), strict=True):
        size, samples = file_bytes(image, model), read(image).size
        assert facts["file"] == str(image)
        assert facts["samples"] == samples
        assert facts["file_bytes"] == size
        assert facts["file_bpsp"] == 8 * size / samples
        assert 0 < facts["model_bpsp"] < facts["file_bpsp"]
        assert facts["float_bpsp"] is None


def test_eval_takes_the_images_of_a_folder(model: Path) -> None:
    Path("images").mkdir()
    save(smooth(3, 5, 6), "images/b.png")
    save(smooth(4, 5, 6), "images/a.bmp")
    Path("images/notes.txt").write_text("no image")

    (first, second) = json.loads(run("eval", "--json", "images", "-m", model).stdout)

    assert [first["file"], second["file"]] == ["images/a.bmp", "images/b.png"]


def test_eval_names_a_bad_file_and_shows_the_others(model: Path, photo: Path) -> None:
    Path("bad.png").write_bytes(photo.read_bytes()[:50])

    result = run("eval", "bad.png", photo, "missing.png", "--json", "-m", model)

    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("pixelcodec: bad.png: truncated PNG: ")
    assert second.startswith("pixelcodec: missing.png: ")
    assert [facts["file"] for facts in json.loads(result.stdout)] == ["photo.png"]


@pytest.mark.parametrize("damage", [None, b"no checkpoint"])
def test_eval_says_that_the_checkpoint_is_bad(
    damage: bytes | None, model: Path, photo: Path
) -> None:
    if damage:
        Path("checkpoint.safetensors").write_bytes(damage)

    result = run("eval", photo, "-m", model, "--checkpoint", "checkpoint.safetensors")

    assert_fails_in_one_line(result, "checkpoint.safetensors")


# train -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training sets the count of threads for the process; put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder in which a network was trained, and the command's result."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "more photos"
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for inside in (Path("photos"), elsewhere):
            inside.mkdir()
            for seed in range(3):
                Image.fromarray(smooth(seed, 24, 32)).save(inside / f"{seed}.png")
        result = run(
            *("train", "photos", elsewhere, "-o", folder / "models/tiny.safetensors"),
            *(*TRAINING, "-T", 1),
        )
    return SimpleNamespace(folder=folder, result=result, images=6)


@pytest.fixture
def after_training(trained: SimpleNamespace, folder: Path) -> Path:
    """Make the folder of the test a copy of that one."""
    shutil.copytree(trained.folder, folder, dirs_exist_ok=True)
    return folder


def log_lines(run_folder: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(run_folder, "log.csv").read_text().splitlines()))


def test_train_writes_model_card_log_and_curve(
    trained: SimpleNamespace, after_training: Path
) -> None:
    assert trained.result.exit_code == 0, trained.result.output
    assert trained.result.stdout == ""
    assert names(after_training) == {"photos", "models", "runs"}
    assert names(Path("models")) == {"tiny.safetensors", "tiny.json"}
    assert names(Path("runs/tiny")) == {"checkpoint.safetensors", "log.csv", "curve.png"}
    (line,) = log_lines("runs/tiny")
    assert float(line["megapixels"]) == pytest.approx(0.02, rel=0.05)
    assert read(Path("runs/tiny/curve.png")).ndim == 3
    assert "held out" in trained.result.stderr


def test_the_card_says_what_was_done(trained: SimpleNamespace, after_training: Path) -> None:
    card = json.loads(Path("models/tiny.json").read_text())
    network = zoo.load_file(Path("models/tiny.safetensors"))

    assert card["name"] == "tiny"
    assert card["sha256"] == network.sha256
    assert card["config"] == network.config
    assert card["parameters"] == network.parameters
    assert card["macs_per_pixel"] == network.macs_per_pixel
    assert card["data"].startswith(f"{trained.images} images")
    assert 0 < card["held_out_bpsp"]["integer"] < 16


def test_the_card_has_the_command_but_not_where_things_are_kept(
    trained: SimpleNamespace, after_training: Path
) -> None:
    command = json.loads(Path("models/tiny.json").read_text())["command"]

    assert str(trained.folder.parent) not in command
    assert shlex.split(command)[:6] == [
        *("pixelcodec", "train", "photos", "more photos"),
        *("--output", "models/tiny.safetensors"),
    ]
    assert command.endswith("--megapixels 0.02 --batch 2 --patch 16 --threads 1")


def test_a_trained_model_codes(after_training: Path, photo: Path) -> None:
    result = run(
        *("eval", photo, "--json", "-m", "models/tiny.safetensors"),
        *("--checkpoint", "runs/tiny/checkpoint.safetensors"),
    )

    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    assert facts["float_bpsp"] == pytest.approx(facts["model_bpsp"], rel=0.2)


def test_train_resumes_with_a_larger_budget(after_training: Path) -> None:
    first = zoo.load_file(Path("models/tiny.safetensors"))

    result = run(
        *("train", "photos", "-o", "models/tiny.safetensors", "-f", "--resume"),
        *(*TRAINING, "--megapixels", 0.03, "-q"),
    )

    assert (result.exit_code, result.output) == (0, "")
    assert [float(line["megapixels"]) for line in log_lines("runs/tiny")] == pytest.approx(
        [0.02, 0.03], rel=0.05
    )
    assert zoo.load_file(Path("models/tiny.safetensors")).sha256 != first.sha256
    assert "--resume" in json.loads(Path("models/tiny.json").read_text())["command"]


def assert_trains_not(*arguments: object, message: str, force: bool = True) -> None:
    before = {path for path in Path().rglob("*") if path.is_file()}

    result = run(
        *("train", "-o", "models/tiny.safetensors", *TRAINING, *arguments),
        *(("-f",) if force else ()),
    )

    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith(f"pixelcodec: {message}")
    assert result.stderr.count("\n") == 1
    assert {path for path in Path().rglob("*") if path.is_file()} == before


def test_train_says_that_there_are_no_images() -> None:
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("no image")

    assert_trains_not("empty", message="no lossless images (PNG, WebP, TIFF, BMP, PPM) in empty\n")


def test_train_says_which_image_is_damaged(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:60])

    assert_trains_not(photo, message="photo.png: ")


def test_train_says_that_images_are_smaller_than_a_patch(photo: Path) -> None:
    assert_trains_not(photo, message="all images are smaller than a patch of 16 x 16\n")


def test_train_overwrites_no_model(after_training: Path) -> None:
    message = "models/tiny.safetensors: the file exists; -f overwrites it\n"

    assert_trains_not("photos", "--resume", message=message, force=False)


def test_train_says_that_a_run_exists(after_training: Path) -> None:
    assert_trains_not("photos", message="runs/tiny holds a run already; resume it")


def test_train_says_that_there_is_nothing_to_resume(after_training: Path) -> None:
    shutil.rmtree("runs")

    assert_trains_not("photos", "--resume", message="no checkpoint to resume from: runs/tiny/")


def test_train_says_that_the_checkpoint_is_of_another_network(after_training: Path) -> None:
    assert_trains_not(
        *("photos", "--resume", "--blocks", 2),
        message="runs/tiny/checkpoint.safetensors is of another network",
    )


def test_train_says_that_the_checkpoint_is_damaged(after_training: Path) -> None:
    Path("runs/tiny/checkpoint.safetensors").write_bytes(b"no checkpoint")

    assert_trains_not("photos", "--resume", message="runs/tiny/checkpoint.safetensors: ")
