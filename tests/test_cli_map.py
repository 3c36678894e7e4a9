"""Pictures of where bits go: their colours, their scale, and the command that draws them."""

import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

import pixelcodec
from commands import assert_fails_in_one_line, names, read, run, save
from pictures import noise, scene
from pixelcodec import container
from pixelcodec.cli import heat
from pixelcodec.cli import map as map_module
from pixelcodec.cli.heat import Bits, Scale, resized, round_step, scale_of
from pixelcodec.cli.progress import Progress
from pixelcodec.engine import Engine
from pixelcodec.evaluation import Cut, bit_map
from pixelcodec.models import zoo

HEIGHT, WIDTH = 20, 34
MODEL = ("-m", "photo-s", "-e", "1")

pytestmark = pytest.mark.usefixtures("folder")

IMAGE = scene(HEIGHT, WIDTH, 3)
IMAGE[:, WIDTH // 2 :] = noise(HEIGHT, WIDTH, 3)[:, WIDTH // 2 :]


@pytest.fixture
def photo(folder: Path) -> Path:
    return save(IMAGE, "photo.png")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(zoo.load("photo-s"))


def drawn(*arguments: object) -> np.ndarray:
    """What the command draws, the map alone."""
    result = run("map", *arguments, "--no-legend", "-f", "-o", "drawn.png")
    assert result.exit_code == 0, result.output
    return read(Path("drawn.png"))


# Colours -----------------------------------------------------------------------------------------


def test_the_colours_are_matplotlib_s_inferno() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    expected = 255 * matplotlib.colormaps["inferno"](np.arange(256))[:, :3]
    assert np.abs(heat.COLOURS - expected).max() < 2


def test_more_bits_are_never_darker() -> None:
    luminance = heat.COLOURS @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -0.5).all()  # they are rounded
    assert luminance[0] < 1
    assert luminance[-1] > 230


def test_beyond_the_scale_all_is_of_the_last_colour() -> None:
    found = Scale(8, open_ended=True).colours(np.array([[0, 8, 9, 1e9]], np.float32))
    np.testing.assert_array_equal(found[0], heat.COLOURS[[0, 255, 255, 255]])


# The scale ---------------------------------------------------------------------------------------


@given(st.floats(1e-6, 1e9))
def test_a_round_step_is_the_next_of_1_2_and_5(least: float) -> None:
    found = round_step(least)
    assert least <= found <= 2.5 * least * (1 + 1e-9)
    assert f"{found:e}"[0] in "125"
    assert float(f"{found:.0e}") == found


@given(st.floats(1e-3, 1e6), st.booleans())
def test_marks_are_few_and_run_from_none_to_the_top(top: float, open_ended: bool) -> None:
    scale = Scale(top, open_ended)
    places = [place for place, _ in scale.marks]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    assert len(places) <= 8
    assert scale.marks[0][1] == "0"
    assert scale.marks[-1][1].endswith("+") == open_ended
    for place, text in scale.marks:
        assert float(text.rstrip("+")) == pytest.approx(place * top, rel=1e-5)


def test_a_scale_leaves_a_few_pixels_out() -> None:
    bits = np.full((100, 100), 7, np.float32)
    bits[0, 0] = 90
    assert scale_of([bits]) == Scale(8, open_ended=True)
    assert scale_of([bits[1:]]) == Scale(8, open_ended=False)
    assert scale_of([bits], top=100) == Scale(100, open_ended=False)


def test_maps_that_are_compared_have_the_scale_of_the_largest() -> None:
    few, many = np.full((9, 9), 1, np.float32), np.full((9, 9), 19, np.float32)
    assert scale_of([few, many]) == scale_of([many])


def test_an_image_of_no_bits_has_a_scale() -> None:
    assert scale_of([np.zeros((3, 3), np.float32)]).top > 0


# Size --------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_a_smaller_map_has_means_and_a_larger_one_repeats(
    height: int, width: int, factor: int
) -> None:
    small: Bits = np.random.default_rng(1).random((height, width), np.float32)
    large = small.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(resized(small, factor * width), large)
    np.testing.assert_allclose(resized(large, width), small, rtol=1e-5)


# The command -------------------------------------------------------------------------------------


def test_a_map_has_the_image_s_name_and_its_size(photo: Path, folder: Path) -> None:
    assert run("map", photo, *MODEL, "--no-legend").exit_code == 0
    assert names(folder) == {"photo.png", "photo.map.png"}
    assert read(Path("photo.map.png")).shape == (HEIGHT, WIDTH, 3)


def test_a_map_has_the_colours_of_the_bits(photo: Path, engine: Engine) -> None:
    bits = bit_map(IMAGE, engine).sum(2)
    np.testing.assert_array_equal(drawn(photo, *MODEL), scale_of([bits]).colours(bits))


def test_noise_takes_more_bits_than_a_scene(photo: Path) -> None:
    left, right = np.split(drawn(photo, *MODEL).mean(2), 2, 1)
    assert right.mean() > left.mean() + 30


def test_the_legend_lies_below_the_map(photo: Path) -> None:
    bare = drawn(photo, *MODEL, "--width", 400)
    run("map", photo, *MODEL, "--width", 400, "-o", "whole.png")
    whole = read(Path("whole.png"))
    np.testing.assert_array_equal(whole[: len(bare)], bare)
    legend = whole[len(bare) :].reshape(-1, 3)
    for colour in heat.COLOURS[[0, 128, 255]]:
        assert (legend == colour).all(1).any()


def test_a_small_map_leaves_room_for_its_legend(photo: Path) -> None:
    run("map", photo, *MODEL, "-o", "whole.png")
    assert read(Path("whole.png")).shape[1] > WIDTH


def test_titles_of_narrow_channels_have_room(photo: Path) -> None:
    run("map", photo, *MODEL, "--channels", "-o", "whole.png")
    title = ImageFont.load_default(12).getlength("green, 0.00 bits a sample")
    assert read(Path("whole.png")).shape[1] > 3 * title


def test_channels_lie_side_by_side_on_one_scale(photo: Path, engine: Engine) -> None:
    bits = list(bit_map(IMAGE, engine).transpose(2, 0, 1))
    found = drawn(photo, *MODEL, "--channels")
    expected = scale_of(bits).colours(np.concatenate(bits, 1))
    np.testing.assert_array_equal(found, expected)


def test_gray_images_have_one_channel(photo: Path) -> None:
    gray = save(IMAGE[..., 0], "gray.png")
    assert drawn(gray, *MODEL, "--channels").shape == (HEIGHT, WIDTH, 3)


def test_the_top_of_the_scale_can_be_given(photo: Path, engine: Engine) -> None:
    bits = bit_map(IMAGE, engine).sum(2)
    found = drawn(photo, *MODEL, "--max", 50)
    np.testing.assert_array_equal(found, Scale(50, open_ended=False).colours(bits))


def test_the_bytes_in_all_are_those_of_a_file(photo: Path, engine: Engine) -> None:
    result = run("map", photo, *MODEL)
    bits = float(bit_map(IMAGE, engine).sum(dtype="f8"))
    mean, size = bits / (HEIGHT * WIDTH), math.floor(bits / 8 + 0.5)
    assert result.stdout == ""
    assert result.stderr == (
        f"photo.map.png: bits a pixel under photo-s: {mean:.3f} on average, {size:,} bytes in all\n"
    )


def test_quiet_says_nothing(photo: Path) -> None:
    assert run("map", photo, *MODEL, "-q").output == ""


def test_a_map_streams_from_stdin_to_stdout(photo: Path, folder: Path) -> None:
    expected = drawn(photo, *MODEL)
    result = run("map", "-", *MODEL, "--no-legend", stdin=photo.read_bytes())
    Path("piped.png").write_bytes(result.stdout_bytes)
    np.testing.assert_array_equal(read(Path("piped.png")), expected)


def test_progress_counts_all_pixels(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    @contextmanager
    def bar(label: str, *, quiet: bool) -> Iterator[Progress]:
        labels.append(label)
        yield lambda done, total: told.append((done, total))

    labels: list[str] = []
    monkeypatch.setattr(map_module, "progress_bar", bar)
    run("map", photo, *MODEL)
    assert labels == ["photo.png: encoding", "photo.png"]
    assert told[-1] == (HEIGHT * WIDTH, HEIGHT * WIDTH)


@pytest.mark.parametrize("effort", [(), ("-e", "9")], ids=" ".join)
def test_a_map_is_of_the_file_that_encode_writes(effort: tuple[str, ...], folder: Path) -> None:
    save(scene(40, 60, 3) // 64 * 64, "drawing.png")  # no photograph
    assert run("encode", "drawing.png", *effort).exit_code == 0
    (facts,) = json.loads(run("info", "--json", "drawing.pxc").stdout)

    of_image = drawn("drawing.png", *effort)

    np.testing.assert_array_equal(of_image, drawn("drawing.pxc"))
    said = run("map", "drawing.png", *effort, "-o", "map.png").stderr
    assert facts["model_name"] == "graphics"
    assert said == run("map", "drawing.pxc", "-f", "-o", "map.png").stderr
    assert said.startswith("map.png: bits a pixel under graphics: ")


def test_a_palette_has_bits_of_its_indexes(folder: Path) -> None:
    image = Image.fromarray(np.tile(IMAGE, (4, 4, 1))).quantize(64)
    image.save("palette.png")

    result = run("map", "palette.png", "-m", "graphics", "--channels", "-o", "map.png")

    assert result.exit_code == 0, result.output
    assert "bits a sample under graphics: " in result.stderr


def test_what_png_or_webp_code_best_has_no_map(folder: Path) -> None:
    save(IMAGE[..., 0] > 128, "bilevel.png")

    result = run("map", "bilevel.png")

    assert_fails_in_one_line(result, "bilevel.png")
    assert "no model codes it best, but PNG or WebP; -m draws the map" in result.stderr


def test_the_effort_of_a_file_is_settled(folder: Path) -> None:
    Path("photo.pxc").write_bytes(pixelcodec.encode(IMAGE, model="photo-s", effort=1))

    assert run("map", "photo.pxc", "-e", 9).exit_code == 2


# Files of this codec -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut", [{}, {"tile": 8}, {"strip_rows": 4}, {"strip_rows": 4, "restart": True}], ids=str
)
def test_the_map_of_a_pxc_file_is_by_the_model_and_in_the_pieces_that_it_has(
    cut: Cut, folder: Path, engine: Engine
) -> None:
    data = pixelcodec.encode(IMAGE, model="photo-s", **cut)
    Path("photo.pxc").write_bytes(data)
    learning = container.Reader(io.BytesIO(data)).header.learning
    bits = bit_map(IMAGE, engine, learning=learning, **cut).sum(2)
    np.testing.assert_array_equal(drawn("photo.pxc"), scale_of([bits]).colours(bits))


@pytest.mark.parametrize("how", [3, 5], ids=["fitted", "learning"])
def test_the_map_of_a_pxc_file_adds_up_to_its_strips(folder: Path, how: int) -> None:
    image = scene(256, 256, 3)  # large enough for the model to be fitted to it
    data = pixelcodec.encode(image, model="photo-s", strip_rows=64, restart=True, effort=how)
    start = container.Reader(io.BytesIO(data)).start
    assert start.changes or start.header.learning
    Path("photo.pxc").write_bytes(data)

    said = run("map", "photo.pxc").stderr

    (size,) = re.findall(r"([\d,]+) bytes in all", said)
    strips = pixelcodec.inspect(io.BytesIO(data)).strips
    assert 0 <= sum(strips) - int(size.replace(",", "")) <= 8 * len(strips)


def test_a_damaged_file_has_no_map(folder: Path) -> None:
    data = bytearray(pixelcodec.encode(IMAGE, model="photo-s"))
    data[-20] ^= 1
    Path("photo.pxc").write_bytes(data)
    assert_fails_in_one_line(run("map", "photo.pxc", "-o", "map.png"), "photo.pxc")
    assert names(folder) == {"photo.pxc"}


# What cannot be ----------------------------------------------------------------------------------


def test_a_model_must_code_such_images(photo: Path, folder: Path) -> None:
    result = run("map", photo, "-m", "mnist-pixelcnn")
    assert_fails_in_one_line(result, photo)
    assert names(folder) == {"photo.png"}


def test_an_unknown_model_is_named(photo: Path) -> None:
    assert "photo-x" in run("map", photo, "-m", "photo-x").stderr


def test_a_missing_image_is_named() -> None:
    assert_fails_in_one_line(run("map", "missing.png", "-o", "map.png"), "missing.png")


def test_what_is_there_is_not_overwritten(photo: Path) -> None:
    Path("map.png").write_bytes(b"precious")
    assert_fails_in_one_line(run("map", photo, *MODEL, "-o", "map.png"), "map.png")
    assert Path("map.png").read_bytes() == b"precious"
    assert run("map", photo, *MODEL, "-o", "map.png", "-f").exit_code == 0


def test_a_format_that_blurs_colours_is_refused(photo: Path) -> None:
    assert_fails_in_one_line(run("map", photo, *MODEL, "-o", "map.jpg"), "map.jpg")


@pytest.mark.parametrize("option", [("--width", 0), ("--max", 0), ("--max", "nan")])
def test_wrong_usage_exits_2(photo: Path, option: tuple[object, ...]) -> None:
    assert run("map", photo, *option).exit_code == 2
