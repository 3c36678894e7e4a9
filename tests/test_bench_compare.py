"""The script that compares this project with other codecs: what it runs, measures and writes."""

import csv
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coding import TINY, random_network
from picture_kinds import BY_NAME, KINDS
from pictures import noise, scene
from pixelcodec.cli import rivals
from pixelcodec.cli.rivals import Codec, same_colours
from pixelcodec.models import zoo
from pixelcodec.pictures import Picture, png

BENCH = Path(__file__).parent.parent / "bench"

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(BENCH))
    compare = importlib.import_module("compare")
PEERS: dict[str, Callable[[], Codec | None]] = compare.PEERS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(compare.main, list(map(str, arguments)))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Codecs ------------------------------------------------------------------------------------------

ALL = set(BY_NAME)
PALETTES = {name for name in ALL if "palette" in name}
DEEP = {name for name in ALL if name.startswith("16-bit")}
PLAIN = ALL - PALETTES - {"bilevel"}
COLOURS = {"8-bit RGB", "8-bit RGB with alpha"}

HELD = {
    "png": ALL,
    "oxipng": ALL,
    "webp": COLOURS | {"8-bit gray"},
    "jxl7": PLAIN,
    "jxl9": PLAIN,
    "jpegls": {name for name in PLAIN - {"2-bit gray", "4-bit gray"} if "gray with" not in name},
    "jpeg2000": PLAIN,
    "qoi": COLOURS,
    "avif": PLAIN - DEEP - {"2-bit gray", "4-bit gray"},
}


def peer(name: str) -> Codec:
    codec = PEERS[name]()
    if codec is None:
        pytest.skip(f"{name} is not installed: the comparison, too, leaves it out")
    return codec


def opaque(picture: Picture) -> Picture:
    samples = picture.samples.copy()
    samples[..., -1] = np.iinfo(samples.dtype).max
    return replace(picture, samples=samples)


@pytest.mark.parametrize("name", PEERS)
def test_a_codec_gives_back_every_image_that_it_holds(name: str) -> None:
    codec = peer(name)
    pictures = [kind.picture() for kind in KINDS]
    assert {picture.kind for picture in pictures if codec.holds(picture)} == HELD[name]
    # What may come back in other channels, or as another kind of PNG.
    pictures += [opaque(picture) for picture in pictures if picture.channels in (2, 4)]
    pictures += [Picture.from_array(np.full((5, 7, count), 200, np.uint8)) for count in (1, 3, 4)]
    for picture in filter(codec.holds, pictures):
        assert codec.same(codec.decode(codec.encode(picture, None), None), picture), picture.kind


@given(st.data())
def test_colours_are_the_same_in_more_bits_and_channels_but_not_if_one_sample_changes(
    data: st.DataObject,
) -> None:
    kind = data.draw(st.sampled_from([kind for kind in KINDS if kind.bit_depth > 4]))
    picture = Picture(data.draw(kind.samples()), kind.bit_depth, kind.palette)
    colours = picture.in_colour()
    samples = colours.samples.copy()
    wide = np.uint16(257) * samples if samples.dtype == np.uint8 else samples
    rgb = np.repeat(wide[..., :1], 3, axis=2) if colours.channels < 3 else wide[..., :3]
    alpha = wide[..., -1:] if colours.channels in (2, 4) else np.full_like(wide[..., :1], 65535)
    for same in (samples, wide, np.concatenate([rgb, alpha], axis=2)):
        assert same_colours(same, picture)

    place = tuple(data.draw(st.integers(0, side - 1)) for side in samples.shape)
    samples[place] ^= 1 << data.draw(st.integers(0, 8 * samples.itemsize - 1))
    assert not same_colours(samples, picture)


def test_oxipng_is_found_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "oxipng"
    script.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo oxipng 12.3; else cat; fi\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(sys.modules, "oxipng", None)  # no package
    codec = peer("oxipng")
    picture = Picture.from_array(noise(5, 6, 3))
    assert "oxipng 12.3" in codec.about
    assert codec.same(codec.decode(codec.encode(picture, None), None), picture)


def unwilling(picture: Picture, progress: object) -> bytes:
    raise ZeroDivisionError("who knows\nwhy")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"decode": lambda data, _: noise(5, 6, 3, seed=2)}, "not lossless: "),
        ({"decode": lambda data, _: png.read(data).samples[:4]}, "not lossless: "),
        ({"encode": unwilling}, "who knows why"),
    ],
)
def test_what_is_lost_or_fails_is_a_problem(change: dict[str, Any], problem: str) -> None:
    picture = Picture.from_array(noise(5, 6, 3))
    found = compare.outcome(replace(rivals.png(), **change), picture, set())
    assert found.problem.startswith(problem)
    assert found.bytes == 0


def test_a_process_that_dies_costs_one_image(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "absent.png", "c.png")]
    for path in (paths[0], paths[2]):
        Image.fromarray(noise(5, 6)).save(path)
    found = dict(compare.outcomes(compare.Spec("raw"), paths, in_colour=False))
    assert list(found) == paths
    assert [found[path].bytes for path in paths] == [30, 0, 30]
    assert found[paths[1]].problem.startswith("its process died")
    assert found[paths[0]].peak_mb > 10


# A run -------------------------------------------------------------------------------------------

CODECS = ["raw", "PNG optimised", "JPEG XL e9", "QOI", "pixelcodec tiny.safetensors e1"]
PICTURES = {"a": {"one": (20, 30, 3), "two": (9, 8, 3)}, "b": {"gray": (16, 12), "rgb": (8, 9, 3)}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of images, one of them with one that QOI cannot hold and a file that is none."""
    root = tmp_path_factory.mktemp("images")
    for folder, pictures in PICTURES.items():
        (root / folder).mkdir()
        for name, shape in pictures.items():
            Image.fromarray(scene(*shape)).save(root / folder / f"{name}.png")
    (root / "b" / "broken.png").write_text("no image")
    return root


@pytest.fixture(scope="module")
def measured(images: Path) -> tuple[Result, Path]:
    """All of them through some codecs, each in a process of its own."""
    model, stem = images / "tiny.safetensors", images / "results" / "found"
    zoo.save_network(random_network(TINY, seed=1), model)
    only = [f"--only={name}" for name in ("raw", "png", "jxl9", "qoi", "pixelcodec")]
    arguments = ("-r", images, "-o", stem, "-m", model, "-e", 1, "--device", "cpu", *only)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result, stem


def test_the_csv_has_a_row_for_each_image_and_codec(
    images: Path, measured: tuple[Result, Path]
) -> None:
    rows = rows_of(measured[1].with_suffix(".csv"))
    found = {(row["folder"], row["file"], row["codec"]): row for row in rows}
    assert list(found) == [
        (folder, f"{name}.png", codec)
        for folder, pictures in PICTURES.items()
        for codec in CODECS
        for name in pictures
    ]
    assert found["b", "gray.png", "QOI"]["problem"] == compare.CANNOT
    for (folder, file, codec), row in found.items():
        with Image.open(images / folder / file) as image:
            picture = Picture.from_array(np.array(image))
        assert (int(row["width"]), int(row["height"])) == (picture.width, picture.height)
        if codec in ("raw", "PNG optimised"):
            samples = picture.samples
            size = samples.size if codec == "raw" else len(png.write(picture))
            assert int(row["bytes"]) == size
            assert float(row["bpsp"]) == pytest.approx(8 * size / samples.size, abs=1e-4)
        if not row["problem"]:
            assert float(row["encode_seconds"]) >= 0 < float(row["decode_wall_seconds"])
    peaks = {row["codec"]: float(row["peak_mb"] or 0) for row in rows}
    assert peaks["raw"] < peaks["pixelcodec tiny.safetensors e1"]  # which takes torch


def test_the_page_says_what_was_measured_and_how(measured: tuple[Result, Path]) -> None:
    result, stem = measured
    page = stem.with_suffix(".md").read_text()
    rows = rows_of(stem.with_suffix(".csv"))
    for title in (
        "a: 2 images (8-bit RGB), 0.000672 megapixels",
        "b: 2 images (1 8-bit gray, 1 8-bit RGB)",
        "b: 1 image (8-bit gray)",
        "b: 1 image (8-bit RGB)",
    ):
        folder, _, text = title.partition(": ")
        assert title in result.stdout
        assert text in page.partition(f"## {folder}\n")[2].partition("## ")[0]
    total = sum(int(row["bytes"]) for row in rows if row["folder"] == "a" and row["codec"] == "QOI")
    assert f"| QOI | {8 * total / (3 * (20 * 30 + 9 * 8)):.3f} |" in page
    assert f"- {compare.CANNOT} (1): QOI" in page
    assert "- b/broken.png: " in page
    assert "b/broken.png: " in result.stderr
    for version in (imagecodecs.__version__, PIL.__version__, "torch ", "libjxl "):
        assert version in page
    name = stem.parent.parent.name
    assert f"$ python bench/compare.py -r {name} -o found -m tiny.safetensors -e 1" in page
    assert str(stem.parent) not in page


def test_each_folder_has_a_plot(measured: tuple[Result, Path]) -> None:
    stem = measured[1]
    for folder in PICTURES:
        name = f"{stem.name}-{folder}.png"
        with Image.open(stem.with_name(name)) as picture:
            assert picture.width > 2 * picture.height
        assert f"]({name})" in stem.with_suffix(".md").read_text()


# Without processes -------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Codecs and files that were to be measured; outcomes are made up, and no plots are drawn."""
    found: list[tuple[str, str]] = []

    def outcomes(spec: Any, paths: Sequence[Path], in_colour: bool) -> Iterator[tuple[Path, Any]]:
        for path in paths:
            found.append((spec.name, path.name))
            problem = "it slipped" if path.name == "slippery.png" else ""
            yield path, compare.Outcome(0 if problem else 99, 1.0, 2.0, 3.0, 4.0, 50.0, problem)

    monkeypatch.setattr(compare, "outcomes", outcomes)
    monkeypatch.setattr(compare, "plot", lambda *_: None)
    return found


@pytest.fixture
def two(folder: Path) -> tuple[str, ...]:
    """Arguments: two images, and two codecs."""
    for number, name in enumerate(("one", "two")):
        Image.fromarray(noise(5, 6, 3, seed=number)).save(f"{name}.png")
    return ("one.png", "two.png", "-o", "found", "--only", "raw", "--only", "qoi")


EVERYTHING = [(codec, file) for codec in ("raw", "qoi") for file in ("one.png", "two.png")]


def test_resuming_measures_what_is_missing(
    two: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    table = Path("found.csv")
    assert run(*two).exit_code == 0
    assert asked == EVERYTHING
    whole, page = table.read_text(), Path("found.md").read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    asked.clear()

    assert run(*two, "--resume").exit_code == 0
    assert asked == EVERYTHING[-1:]
    assert table.read_text() == whole
    tables = page[page.index("## ") :]
    assert tables in Path("found.md").read_text()


def test_an_image_or_a_codec_that_has_changed_is_measured_again(
    two: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    table = Path("found.csv")
    run(*two)
    table.write_text(table.read_text().replace(imagecodecs.qoi_version(), "qoi before"))
    asked.clear()
    run(*two, "--resume")
    assert asked == EVERYTHING[2:]

    asked.clear()
    Image.fromarray(noise(5, 6, 3, seed=9)).save("one.png")
    again = run(*two, "--resume")
    assert asked == EVERYTHING[::2]
    assert ": 2 images (8-bit RGB)" in again.stdout


def test_a_failure_is_told_counts_for_nothing_and_is_tried_again(
    folder: Path, asked: list[tuple[str, str]]
) -> None:
    for name in ("one", "slippery"):
        Image.fromarray(noise(5, 6, 3)).save(f"{name}.png")
    arguments = ("one.png", "slippery.png", "-o", "found", "--only", "png")
    for more in ((), ("--resume",)):
        result = run(*arguments, *more)
        assert result.exit_code == 1
        assert "slippery.png: PNG optimised: it slipped" in result.stderr
        assert ": 1 image (8-bit RGB)" in result.stdout
        assert (
            f"- {folder.name}/slippery.png: PNG optimised: it slipped"
            in Path("found.md").read_text()
        )
    assert asked == [("png", "one.png"), ("png", "slippery.png"), ("png", "slippery.png")]


def test_results_are_overwritten_with_f_only(
    two: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    run(*two)
    before = Path("found.csv").read_text()
    again = run(*two)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    assert Path("found.csv").read_text() == before
    asked.clear()
    assert run(*two, "-f").exit_code == 0
    assert asked == EVERYTHING


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [(" in use", " of another machine", "do not compare"), ("codec,", "koala,", "did not write")],
)
def test_results_of_others_are_no_results_of_this_run(
    old: str, new: str, reason: str, two: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    run(*two)
    table = Path("found.csv")
    table.write_text(table.read_text().replace(old, new))
    result = run(*two, "--resume")
    assert result.exit_code == 1
    assert "found.csv: " in result.stderr
    assert reason in result.stderr


def test_what_is_not_installed_is_left_out_but_an_error_where_it_was_asked_for(
    two: tuple[str, ...], asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "PEERS", {"png": rivals.png, "qoi": lambda: None})
    result = run(*two[:4], "-m", "photo-s")
    assert result.exit_code == 0
    assert "not installed: qoi" in result.stderr
    assert {name for name, _ in asked} == {"raw", "png", "pixelcodec"}
    assert run(*two, "-f").exit_code == 2


def test_every_model_is_run_at_every_effort(
    two: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    run(*two[:4], "--only", "pixelcodec", "-e", 1, "-e", 2, "-m", "photo-s", "-m", "photo-m")
    codecs = dict.fromkeys(row["codec"] for row in rows_of(Path("found.csv")))
    assert list(codecs) == [
        f"pixelcodec photo-{size} e{effort}" for size in "sm" for effort in (1, 2)
    ]


def test_folders_are_told_apart_by_as_much_of_their_paths_as_needed(tmp_path: Path) -> None:
    for place in ("x/train", "y/train", "y/train/more"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.png").touch()
    (tmp_path / "x/train/notes.txt").touch()

    def names(*paths: str, recursive: bool = False) -> dict[str, list[str]]:
        found = compare.files_by_folder([tmp_path / path for path in paths], recursive)
        return {folder: [file.name for file in files] for folder, files in found.items()}

    assert names("x/train") == {"train": ["a.png"]}
    assert names("x/train", "y/train") == {"x/train": ["a.png"], "y/train": ["a.png"]}
    assert names("y", recursive=True) == {"train": ["a.png"], "more": ["a.png"]}
    assert names("y") == {}
    assert names("x/train/a.png", "x/train") == {"train": ["a.png"]}


def test_palettes_are_measured_as_such_or_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    drawn = Image.fromarray(scene(8, 9, 3)).quantize(8)
    drawn.save(path, dpi=(300, 300))
    indices, colours = (compare.picture_of(path, in_colour) for in_colour in (False, True))
    assert indices.kind == "4-bit palette"
    assert [chunk.name for chunk in indices.chunks] == ["PLTE"]
    assert (colours.kind, colours.chunks) == ("8-bit RGB", ())
    assert np.array_equal(colours.to_array(), np.array(drawn.convert("RGB")))


# Tables ------------------------------------------------------------------------------------------

NAMES = ["raw", "PNG optimised", "A", "B"]


@st.composite
def found_rows(draw: st.DrawFn) -> list[Any]:
    """Rows of a folder: each codec has coded each image, or failed."""
    rows = []
    for number in range(draw(st.integers(1, 5))):
        image = compare.Image("folder", f"{number}.png", "8-bit gray", number + 1, 3, 1, 0)
        for codec in NAMES:
            size = draw(st.integers(1, 999))
            seconds = draw(st.floats(0, 9))
            coded = codec == "raw" or draw(st.booleans())
            outcome = compare.Outcome(size, seconds, 2 * seconds, peak_mb=size)
            rows.append(
                compare.Row(
                    image, codec, "", "", outcome if coded else compare.Outcome(problem="no")
                )
            )
    return rows


@given(found_rows())
def test_figures_of_a_table_are_of_the_same_images(rows: list[Any]) -> None:
    coded = {(row.image, row.codec): row.outcome for row in rows if not row.outcome.problem}
    tables = compare.tables(rows)
    shown = [image for table in tables for image in table.images]
    for image in {row.image for row in rows}:
        others = {codec for each, codec in coded if each == image} - {"raw"}
        assert (image in shown) == bool(others)
    for table in tables:
        for line in table.lines:
            outcomes = [coded[image, line.codec] for image in table.images]
            samples = sum(3 * image.width for image in table.images)
            assert line.bytes == sum(each.bytes for each in outcomes)
            assert line.bpsp == 8 * line.bytes / samples
            assert line.encode_seconds == pytest.approx(sum(o.encode_seconds for o in outcomes))
            assert line.peak_mb == max(each.peak_mb for each in outcomes)
            if "PNG optimised" in table.codecs:
                png_bytes = sum(coded[image, "PNG optimised"].bytes for image in table.images)
                assert line.ratio == line.bytes / png_bytes
            else:
                assert line.ratio is None
        without = {codec for codecs in table.missing.values() for codec in codecs}
        assert sorted([*table.codecs, *without]) == sorted(NAMES)
