"""The commands that draw images: what they write, and what they refuse."""

import io
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from coding import random_network, randomised
from commands import assert_fails_in_one_line, names, read, run, save
from pictures import noise, scene
from pixelcodec import sampling
from pixelcodec.cli import progress
from pixelcodec.models import zoo
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.wavefront_pixelcnn import Config

PHOTO = random_network(Config(width=8, hidden=8, blocks=1, head=4, components=1), seed=1)
BILEVEL = randomised(
    lambda: PixelCNN(PaperConfig(1, 1, hidden=4, layers=1, head=4)), seed=1
).integer_network()


@pytest.fixture(autouse=True)
def files(folder: Path) -> None:
    zoo.save_network(PHOTO, Path("photo.safetensors"))
    zoo.save_network(BILEVEL, Path("bilevel.safetensors"))
    save(scene(6, 9, 3), "image.png")
    save(scene(6, 9) > 100, "bits.png")


def sample(*arguments: object, model: str = "photo", output: str = "out.png") -> None:
    result = run("sample", "-m", f"{model}.safetensors", "-o", output, *arguments)
    assert result.exit_code == 0, result.output
    assert result.output == ""


def complete(*arguments: object, output: str = "out.png") -> None:
    image = "image.png"
    result = run("complete", image, "-m", "photo.safetensors", "-o", output, *arguments)
    assert result.exit_code == 0, result.output
    assert result.output == ""


# sample ------------------------------------------------------------------------------------------


def test_sample_writes_a_grid_of_what_the_model_draws() -> None:
    sample("-n", 5, "--size", "7x4", "--columns", 3, "--temperature", 0.5, "--seed", 2)
    images = sampling.sample("photo.safetensors", 5, (4, 7), temperature=0.5, seed=2)
    np.testing.assert_array_equal(read(Path("out.png")), sampling.grid(images, 3))


def test_a_single_sample_is_written_as_it_is() -> None:
    sample("-n", 1, "--size", 5, model="bilevel")
    (image,) = sampling.sample("bilevel.safetensors", 1, (5, 5))
    np.testing.assert_array_equal(read(Path("out.png")), image, strict=True)


@pytest.mark.parametrize(("model", "side"), [("photo", 32), ("bilevel", 28)])
def test_the_size_is_by_default_one_that_suits_the_model(model: str, side: int) -> None:
    sample("-n", 3, "--columns", 2, model=model)
    assert read(Path("out.png")).shape[:2] == (2 * side + 2, 2 * side + 2)


@pytest.mark.parametrize("output", ["out.png", "out.bmp", "out.tiff", "out.webp", "out.ppm"])
def test_the_suffix_says_the_format(output: str) -> None:
    sample("-n", 2, "--size", 3, output=output)
    assert read(Path(output)).shape == (3, 8, 3)


def test_samples_go_to_standard_output_as_png() -> None:
    result = run("sample", "-m", "photo.safetensors", "-n", 2, "--size", 3, "-o", "-")
    assert read(io.BytesIO(result.stdout_bytes)).shape == (3, 8, 3)


@pytest.mark.parametrize("size", ["0", "3x", "x3", "3x0", "3x4x5", "-3", "a", "100000", "3.5"])
def test_what_is_no_size_is_wrong_usage(size: str) -> None:
    result = run("sample", "-m", "photo.safetensors", "-o", "out.png", "--size", size)
    assert result.exit_code == 2
    assert "is not a size, such as 28 or 640x480" in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--seed", "-1"),
        ("-n", "0"),
        ("--columns", "0"),
    ],
    ids=" ".join,
)
def test_what_is_out_of_range_is_wrong_usage(option: tuple[str, str]) -> None:
    result = run("sample", "-m", "photo.safetensors", "-o", "out.png", *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


# complete ----------------------------------------------------------------------------------------


def test_a_single_completion_is_written_as_it_is() -> None:
    complete("--mask", "lower", "--seed", 2)
    mask = sampling.half("lower", 6, 9)
    (drawn,) = sampling.complete(scene(6, 9, 3), mask, "photo.safetensors", 1, seed=2)
    np.testing.assert_array_equal(read(Path("out.png")), drawn, strict=True)
    np.testing.assert_array_equal(read(Path("out.png"))[:3], scene(6, 9, 3)[:3])


@pytest.mark.parametrize("name", sampling.HALVES)
def test_a_sheet_shows_the_hole_the_completions_and_the_image(name: str) -> None:
    complete("--mask", name, "-n", 2, "--temperature", 0.5, "--seed", 2)
    image, mask = scene(6, 9, 3), sampling.half(name, 6, 9)
    model = "photo.safetensors"
    drawn = sampling.complete(image, mask, model, 2, temperature=0.5, seed=2)
    row = np.stack([sampling.with_hole(image, mask), *drawn, image])
    np.testing.assert_array_equal(read(Path("out.png")), sampling.grid(row, 4))


@pytest.mark.parametrize("bilevel", [False, True], ids=["gray", "bilevel"])
def test_the_mask_can_be_an_image_that_is_white_where_to_draw(bilevel: bool) -> None:
    levels = noise(6, 9)
    save(levels >= 128 if bilevel else levels, "mask.png")
    complete("--mask", "mask.png", "--sheet")
    hole, drawn, image = np.split(np.pad(read(Path("out.png")), [(0, 0), (0, 2), (0, 0)]), 3, 1)
    mask = levels >= 128
    assert (hole[:, :9][mask] == sampling.GRAY).all()
    np.testing.assert_array_equal(drawn[:, :9][~mask], scene(6, 9, 3)[~mask])
    assert (drawn[:, :9] != image[:, :9]).any(2).sum() > mask.sum() // 2


def test_a_bilevel_image_is_completed_in_black_and_white() -> None:
    arguments = ("bits.png", "-m", "bilevel.safetensors", "--mask", "lower")
    result = run("complete", *arguments, "-o", "out.png")
    assert result.exit_code == 0, result.output
    drawn = read(Path("out.png"))
    assert drawn.dtype == np.bool_
    np.testing.assert_array_equal(drawn[:3], scene(6, 9)[:3] > 100)
    assert run("complete", *arguments, "--sheet", "-o", "sheet.png").exit_code == 0
    sheet = read(Path("sheet.png"))[:, 11:20]
    np.testing.assert_array_equal(sheet, np.where(drawn, 255, 0))


def test_complete_needs_a_mask() -> None:
    result = run("complete", "image.png", "-o", "out.png")
    assert result.exit_code == 2
    assert "--mask" in result.stderr


def test_a_mask_that_cannot_be_is_refused() -> None:
    save(noise(6, 9, 3), "colours.png")
    save(noise(9, 6), "turned.png")
    save(np.zeros((6, 9), np.uint8), "black.png")
    Path("text.png").write_text("no image")
    for name in ("colours.png", "turned.png", "black.png", "text.png", "absent.png", "middle"):
        result = run("complete", "image.png", "--mask", name, "-o", "out.png")
        assert_fails_in_one_line(result, name)
        if not Path(name).exists():
            assert f"{name}: this is neither lower, right, left, upper nor a file" in result.stderr
    assert not Path("out.png").exists()


def test_an_image_that_the_model_does_not_code_is_refused() -> None:
    arguments = ("-m", "bilevel.safetensors", "--mask", "lower", "-o", "out.png")
    assert_fails_in_one_line(run("complete", "image.png", *arguments), "image.png")
    assert not Path("out.png").exists()


# Both --------------------------------------------------------------------------------------------

SMALL = ("-n", 2, "-m", "photo.safetensors")
COMMANDS = {
    "sample": ("sample", *SMALL, "--size", 3),
    "complete": ("complete", "image.png", *SMALL, "--mask", "lower"),
}
EACH_COMMAND = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@EACH_COMMAND
def test_an_existing_file_is_overwritten_by_force_only(command: tuple[object, ...]) -> None:
    Path("out.png").write_bytes(b"mine")
    assert_fails_in_one_line(run(*command, "-o", "out.png"), "out.png")
    assert Path("out.png").read_bytes() == b"mine"
    assert run(*command, "-o", "out.png", "-f").exit_code == 0
    assert read(Path("out.png")).ndim == 3


@EACH_COMMAND
@pytest.mark.parametrize("output", ["out.jpg", "out.xyz", "absent/out.png"])
def test_an_output_that_cannot_be_is_refused_before_the_work(
    command: tuple[object, ...], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "fill", lambda *_: pytest.fail("drawn"))
    assert_fails_in_one_line(run(*command, "-o", output), output)


@EACH_COMMAND
def test_a_failure_leaves_no_file(
    command: tuple[object, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "fill", interrupted)
    assert run(*command, "-o", "out.png").exit_code == 130
    assert names(folder) == before


@EACH_COMMAND
def test_a_model_that_is_not_there_is_named(command: tuple[object, ...]) -> None:
    result = run(*command, "-m", "absent", "-o", "out.png")
    assert result.exit_code == 2
    assert "no model 'absent'; installed are" in result.stderr
    assert not Path("out.png").exists()


@EACH_COMMAND
@pytest.mark.parametrize("quiet", [False, True])
def test_those_who_watch_are_told_of_progress_unless_quiet(
    command: tuple[object, ...], quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda stream: True)
    with mock.patch.object(sampling, "fill", wraps=sampling.fill) as draw:
        assert run(*command, "-o", "out.png", *["-q"] * quiet).exit_code == 0
    assert (draw.call_args.args[-1] is None) == quiet
