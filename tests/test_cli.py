"""The command line: what goes in, what comes out, and what is said when it cannot be done.

The network is not what is tested here. A stand-in of the same signatures takes its place, except
where a whole process runs; test_cli_models.py has the commands that are about networks.
"""

import csv
import io
import json
import os
import re
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import pixelcodec
import pixelcodec.api  # with all that it imports, before a stand-in takes the place of any
import pixelcodec.models
from commands import assert_fails_in_one_line, names, read, run, save
from pixelcodec.cli import compare as compare_module
from pixelcodec.cli import files, progress
from pixelcodec.cli.main import COMMANDS
from pixelcodec.cli.results import CSV_HEAD
from pixelcodec.errors import FormatError, ModelError
from pixelcodec.inspection import FileInfo
from pixelcodec.models.wavefront_pixelcnn import ARCHITECTURE
from pixelcodec.pictures import Picture

EXAMPLES = Path(__file__).parent.parent / "examples"
GOLDEN = Path(__file__).parent / "golden"

WIDTH, HEIGHT = 12, 10
MODELS = ("photo-m", "photo-s")

pytestmark = pytest.mark.usefixtures("folder")


# The stand-in ------------------------------------------------------------------------------------


class FakeApi:
    """Stores an image deflated, and remembers the keywords of each call."""

    MAGIC = b"fake"

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.raises: BaseException | None = None
        self.tile = 0
        self.preview_bytes = self.changes_bytes = self.levels_bytes = self.learning = 0

    def encode(self, image: np.ndarray | Picture, **keywords: Any) -> bytes:
        self.calls.append(keywords)
        if self.raises:
            raise self.raises
        if keywords["progress"]:
            keywords["progress"](60, 120)
        array = io.BytesIO()
        np.save(array, image.to_array() if isinstance(image, Picture) else image)
        payload = zlib.compress(array.getvalue())
        return self.MAGIC + zlib.crc32(payload).to_bytes(4, "little") + payload

    def encode_to(self, stream: Any, picture: Picture, **keywords: Any) -> None:
        stream.write(self.encode(picture.to_array(), **keywords))

    def decode(self, data: bytes, **keywords: Any) -> np.ndarray:
        self.calls.append(keywords)
        payload = data[8:]
        if data[:4] != self.MAGIC:
            raise FormatError("not a .pxc file")
        if zlib.crc32(payload).to_bytes(4, "little") != data[4:8]:
            raise FormatError("the file is damaged:\nits CRC differs")
        image: np.ndarray = np.load(io.BytesIO(zlib.decompress(payload)))
        return image

    def decode_picture(
        self, stream: Any, region: object = None, jobs: int = 1, **keywords: Any
    ) -> Picture:
        assert (region, jobs) == (None, 1)  # test_cli_pictures.py has the others
        return Picture.from_array(self.decode(stream.read(), **keywords))

    def preview_from(self, stream: Any, **keywords: Any) -> np.ndarray:
        return self.decode(stream.read(), **keywords)[::2, ::2]

    def inspect(self, stream: Any) -> FileInfo:
        data = stream.read()
        height, width, *channels = self.decode(data).shape
        return FileInfo(
            width=width,
            height=height,
            channels=(channels or [1])[0],
            bit_depth=8,
            restart=False,
            strip_rows=4,
            tile=self.tile,
            strips=(30, 20, 10),
            preview_bytes=self.preview_bytes,
            model_name="photo-m",
            model_id="0123456789abcdef",
            alpha_model_name=None,
            metadata=(),
            changes_bytes=self.changes_bytes,
            levels_bytes=self.levels_bytes,
            learning=self.learning,
            samples_crc=0xC0FFEE,
            file_bytes=len(data),
        )


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "pixelcodec.api", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(pixelcodec, "api", fake, raising=False)
    monkeypatch.setattr(pixelcodec, "inspect", fake.inspect, raising=False)
    return fake


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {
        name: {
            "name": name,
            "summary": f"the summary of {name}",
            "parameters": 123456,
            "macs_per_pixel": 98765,
            "bpsp": {"kodak": 2.5, "clic-dev": 1.25},
            "licences": ["CC0", "CC-BY-4.0"],
        }
        for name in MODELS
    }

    def card(name: str) -> dict[str, Any]:
        if name not in cards:
            raise ModelError(f"no model {name!r}")
        return cards[name]

    cards["digits"] = cards[MODELS[0]] | {"name": "digits", "summary": "study", "study": True}
    network = SimpleNamespace(architecture=ARCHITECTURE, config={}, model_id=bytes(8))
    fake = SimpleNamespace(
        names=lambda: list(cards),
        everyday=lambda: list(MODELS),
        card=card,
        load=lambda name: network,
    )
    monkeypatch.setitem(sys.modules, "pixelcodec.models.zoo", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(pixelcodec.models, "zoo", fake, raising=False)


# A folder with an image --------------------------------------------------------------------------


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def photo(folder: Path, pixels: np.ndarray) -> Path:
    return save(pixels, "photo.png")


@pytest.fixture
def pxc(photo: Path) -> Path:
    assert run("encode", photo).exit_code == 0
    return Path("photo.pxc")


# encode ------------------------------------------------------------------------------------------


def test_encode_writes_beside_the_source(photo: Path, api: FakeApi, pixels: np.ndarray) -> None:
    result = run("encode", photo)

    assert result.exit_code == 0
    assert np.array_equal(api.decode(Path("photo.pxc").read_bytes()), pixels)


def test_encode_keeps_the_source_and_writes_where_told(photo: Path, folder: Path) -> None:
    run("encode", photo, "-o", "other.pxc")

    assert names(folder) == {"photo.png", "other.pxc"}


def test_encode_says_bytes_and_bpsp_and_ratio_on_one_line(photo: Path) -> None:
    result = run("encode", photo)

    size = Path("photo.pxc").stat().st_size
    bpsp = 8 * size / (WIDTH * HEIGHT * 3)
    ratio = size / photo.stat().st_size
    assert result.stdout == ""
    assert (
        result.stderr
        == f"photo.pxc: {size:,} bytes, {bpsp:.3f} bpsp, {ratio:.1%} of the source file\n"
    )


def test_encode_is_silent_when_told(photo: Path) -> None:
    assert run("encode", photo, "-q").output == ""


def test_encode_streams_from_stdin_to_stdout(
    photo: Path, folder: Path, api: FakeApi, pixels: np.ndarray
) -> None:
    result = run("encode", "-", stdin=photo.read_bytes())

    assert np.array_equal(api.decode(result.stdout_bytes), pixels)
    assert names(folder) == {"photo.png"}


def test_encode_leaves_all_choices_to_the_library(photo: Path, api: FakeApi) -> None:
    run("encode", photo)

    assert api.calls == [
        {
            "model": None,
            "device": "auto",
            "threads": None,
            "backend": None,
            "strip_rows": None,
            "tile": None,
            "restart": False,
            "effort": None,
            "discard_invisible": False,
            "verify": True,
            "progress": None,
        }
    ]


def test_encode_passes_each_option_on(photo: Path, api: FakeApi) -> None:
    run(
        *("encode", photo, "-m", "photo-s", "--strip-rows", 64, "--tile", 32, "--restart", "-e", 7),
        *("--discard-invisible", "--no-verify"),
        *("--device", "cpu", "-T", 2, "--backend", "int64"),
    )

    assert api.calls == [
        {
            "model": "photo-s",
            "device": "cpu",
            "threads": 2,
            "backend": "int64",
            "strip_rows": 64,
            "tile": 32,
            "restart": True,
            "effort": 7,
            "discard_invisible": True,
            "verify": False,
            "progress": None,
        }
    ]


def test_zero_threads_means_automatic(photo: Path, api: FakeApi) -> None:
    run("encode", photo, "-T", 0)

    assert api.calls[0]["threads"] is None


# decode ------------------------------------------------------------------------------------------


def test_decode_restores_the_pixels_beside_the_file(pxc: Path, pixels: np.ndarray) -> None:
    Path("photo.png").unlink()

    result = run("decode", pxc)

    assert result.exit_code == 0
    assert result.output == ""
    assert np.array_equal(read(Path("photo.png")), pixels)


@pytest.mark.parametrize("suffix", ["png", "ppm", "bmp", "tiff", "webp"])
def test_decode_takes_the_format_from_the_suffix(
    pxc: Path, pixels: np.ndarray, suffix: str
) -> None:
    output = Path(f"out.{suffix}")

    assert run("decode", pxc, "-o", output).exit_code == 0
    with Image.open(output) as image:
        assert image.format == suffix.upper()
        assert np.array_equal(image, pixels)


def test_decode_refuses_a_lossy_format(pxc: Path, folder: Path, api: FakeApi) -> None:
    before = names(folder)

    api.calls.clear()

    assert_fails_in_one_line(run("decode", pxc, "-o", "out.jpg"), "out.jpg")
    assert names(folder) == before
    assert api.calls == []  # it was found out before the work


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_what_decodes_leaves_all_choices_to_the_library(
    command: str, pxc: Path, api: FakeApi
) -> None:
    api.calls.clear()

    assert run(command, pxc, *(("-f",) if command == "decode" else ())).exit_code == 0
    assert api.calls == [
        {"model": None, "device": "auto", "threads": None, "backend": None, "progress": None}
    ]


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_what_decodes_passes_each_option_on(command: str, pxc: Path, api: FakeApi) -> None:
    Path("mine.safetensors").touch()
    api.calls.clear()

    run(
        *(command, pxc, "-m", "mine.safetensors"),
        *("--device", "cpu", "-T", 2, "--backend", "int64"),
        *(("-f",) if command == "decode" else ()),
    )

    assert api.calls == [
        {
            "model": "mine.safetensors",
            "device": "cpu",
            "threads": 2,
            "backend": "int64",
            "progress": None,
        }
    ]


def test_decode_writes_the_preview_alone_when_asked_to(pxc: Path, pixels: np.ndarray) -> None:
    assert run("decode", "--preview", pxc, "-o", "small.png").exit_code == 0
    assert np.array_equal(read(Path("small.png")), pixels[::2, ::2])


def test_decode_streams_from_stdin_to_stdout_as_png(pxc: Path, pixels: np.ndarray) -> None:
    result = run("decode", "-", stdin=pxc.read_bytes())

    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert np.array_equal(read(io.BytesIO(result.stdout_bytes)), pixels)


# Output files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_an_existing_file_is_not_overwritten(command: str, photo: Path, pxc: Path) -> None:
    source, name = (photo, "precious.pxc") if command == "encode" else (pxc, "precious.png")
    output = Path(name)
    output.write_bytes(b"precious")

    assert_fails_in_one_line(run(command, source, "-o", output), output)
    assert output.read_bytes() == b"precious"


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_force_overwrites(command: str, photo: Path, pxc: Path) -> None:
    source, name = (photo, "old.pxc") if command == "encode" else (pxc, "old.png")
    output = Path(name)
    output.write_bytes(b"old")

    assert run(command, source, "-f", "-o", output).exit_code == 0
    assert output.read_bytes() != b"old"


def test_a_failure_leaves_the_old_file_and_nothing_else(
    photo: Path, folder: Path, api: FakeApi
) -> None:
    Path("old.pxc").write_bytes(b"old")
    api.raises = ModelError("the model is damaged")

    assert_fails_in_one_line(run("encode", photo, "-f", "-o", "old.pxc"), photo)
    assert names(folder) == {"photo.png", "old.pxc"}
    assert Path("old.pxc").read_bytes() == b"old"


@pytest.mark.parametrize("method", ["make_context", "invoke", "exit"])
def test_ctrl_c_exits_130_whenever_it_comes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the command line is read, and while all is put away."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner = click.Context if method == "exit" else click.Group
    monkeypatch.setattr(owner, method, interrupted)
    assert run("info", "--help").exit_code == 130


def test_ctrl_c_leaves_nothing_and_exits_130(photo: Path, folder: Path, api: FakeApi) -> None:
    api.raises = KeyboardInterrupt()

    result = run("encode", photo)

    assert result.exit_code == 130
    assert result.output == ""
    assert names(folder) == {"photo.png"}


def test_a_file_is_written_through_a_link(photo: Path) -> None:
    Path("target").mkdir()
    Path("link.pxc").symlink_to("target/real.pxc")

    assert run("encode", photo, "-o", "link.pxc").exit_code == 0
    assert Path("link.pxc").is_symlink()
    assert Path("target/real.pxc").is_file()


def test_a_device_is_written_to_and_not_replaced(photo: Path) -> None:
    assert run("encode", photo, "-o", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(os.name != "posix", reason="a umask is POSIX's")
def test_access_rights_are_as_for_any_new_file(photo: Path) -> None:
    before = os.umask(0o027)
    try:
        run("encode", photo)
    finally:
        os.umask(before)

    assert stat.S_IMODE(Path("photo.pxc").stat().st_mode) == 0o640


def test_an_output_folder_must_exist(photo: Path) -> None:
    assert_fails_in_one_line(run("encode", photo, "-o", "no/photo.pxc"), "no/photo.pxc")


def test_bytes_are_not_written_to_a_terminal(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "is_terminal", lambda stream: True)

    result = run("encode", photo, "-o", "-")

    assert_fails_in_one_line(result, "-")
    assert result.stdout == ""


# Progress ----------------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda stream: True)


@pytest.mark.usefixtures("terminal")
def test_progress_is_asked_for_on_a_terminal(photo: Path, api: FakeApi) -> None:
    run("encode", photo)

    assert api.calls[0]["progress"] is not None


@pytest.mark.usefixtures("terminal")
def test_progress_goes_to_stderr_only(photo: Path) -> None:
    assert run("encode", photo).stdout == ""


@pytest.mark.usefixtures("terminal")
def test_quiet_shows_no_progress(photo: Path, api: FakeApi) -> None:
    run("encode", photo, "-q")

    assert api.calls[0]["progress"] is None


@pytest.mark.usefixtures("terminal")
def test_compare_says_which_image_and_which_codec_is_at_work(
    photo: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    @contextmanager
    def bar(label: str, *, quiet: bool) -> Iterator[progress.Progress]:
        shown.append(label)
        yield lambda done, total: None

    monkeypatch.setattr(compare_module, "progress_bar", bar)

    run("compare", photo, save(pixels, "other.png"), "-m", "photo-m")

    assert shown[:2] == [
        "1 of 2, photo.png: PNG optimised encodes",
        "1 of 2, photo.png: PNG optimised decodes",
    ]
    assert shown[-1] == "2 of 2, other.png: pixelcodec photo-m decodes"


@pytest.mark.usefixtures("terminal")
def test_compare_shows_no_progress_when_told(photo: Path, api: FakeApi) -> None:
    assert run("compare", photo, "-m", "photo-m", "-q").stderr == ""
    assert {call["progress"] for call in api.calls} == {None}


# verify ------------------------------------------------------------------------------------------


def test_verify_says_that_a_file_is_intact(pxc: Path) -> None:
    result = run("verify", pxc)

    assert (result.exit_code, result.output) == (0, "photo.pxc: intact\n")


def test_verify_says_that_the_pixels_are_identical(pxc: Path, photo: Path) -> None:
    result = run("verify", pxc, photo)

    assert (result.exit_code, result.output) == (0, "photo.pxc: identical to photo.png\n")


def test_verify_is_silent_when_told(pxc: Path, photo: Path) -> None:
    assert run("verify", "-q", pxc, photo).output == ""


def test_verify_says_where_the_first_different_pixel_is(pxc: Path, pixels: np.ndarray) -> None:
    pixels[4, 7] = [1, 2, 3]
    pixels[5, 2] = [4, 5, 6]
    original = save(pixels, "changed.png")

    result = run("verify", pxc, original)

    assert_fails_in_one_line(result, pxc)
    assert "first at x=7 y=4" in result.stderr
    assert "not [1, 2, 3]" in result.stderr


def test_verify_does_not_compare_different_shapes(pxc: Path, pixels: np.ndarray) -> None:
    original = save(pixels[:5], "half.png")

    result = run("verify", pxc, original)

    assert_fails_in_one_line(result, pxc)
    assert f"shape ({HEIGHT}, {WIDTH}, 3), not (5, {WIDTH}, 3)" in result.stderr


# info --------------------------------------------------------------------------------------------


def test_info_shows_the_header_and_each_strip(pxc: Path) -> None:
    size = pxc.stat().st_size

    lines = run("info", pxc).stdout.splitlines()

    assert lines == [
        "photo.pxc",
        "  image   12x10 RGB, 8-bit samples, CRC 00c0ffee",
        "  model   photo-m (0123456789abcdef)",
        f"  file    {size} bytes, {8 * size / 360:.3f} bpsp",
        "  strips  3 of 4 rows",
        "",
        "  strip  rows  bytes   bpsp",
        "  0       0-3     30  1.667",
        "  1       4-7     20  1.111",
        "  2       8-9     10  1.111",
    ]


def test_info_says_of_tiles(pxc: Path, api: FakeApi) -> None:
    api.tile = 2

    assert "  strips  3 of 4 rows, in tiles of 2 x 2" in run("info", pxc).stdout.splitlines()


def test_info_says_of_previews(pxc: Path, api: FakeApi) -> None:
    api.preview_bytes = 9

    assert "  preview 9 bytes" in run("info", pxc).stdout.splitlines()


def test_info_says_of_changes_of_the_model(pxc: Path, api: FakeApi) -> None:
    api.changes_bytes = 1234

    line = "  changes 1,234 bytes: the model was fitted to the image"
    assert line in run("info", pxc).stdout.splitlines()


def test_info_says_of_levels(pxc: Path, api: FakeApi) -> None:
    api.levels_bytes = 90

    assert "  levels  90 bytes: some of 65,536 are used" in run("info", pxc).stdout.splitlines()


def test_info_says_of_learning(pxc: Path, api: FakeApi) -> None:
    assert "while it codes" not in run("info", pxc).stdout

    api.learning = 2

    assert "  learns  while it codes" in run("info", pxc).stdout.splitlines()


def test_info_as_json_has_every_field(pxc: Path) -> None:
    (facts,) = json.loads(run("info", "--json", pxc).stdout)

    assert facts["file"] == "photo.pxc"
    assert facts["strips"] == [30, 20, 10]
    assert facts["bpsp"] == 8 * facts["file_bytes"] / 360
    assert facts.keys() == {*FileInfo.__dataclass_fields__, "file", "bpsp"}


def test_info_shows_the_other_files_when_one_fails(pxc: Path) -> None:
    result = run("info", "missing.pxc", pxc)

    assert_fails_in_one_line(result, "missing.pxc")
    assert result.stdout.startswith("photo.pxc\n")


# compare -----------------------------------------------------------------------------------------


def tables(result: Result) -> dict[str, dict[str, list[str]]]:
    """Parse the tables: the title, then each codec and the figures beside it."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in result.stdout.splitlines():
        if line and not line.startswith(" "):
            rows = found[line] = {}
        elif line and not line.startswith("  codec"):
            codec, *figures = re.split(r"  +", line.strip())
            rows[codec] = figures
    return found


def test_compare_runs_every_codec(photo: Path, pixels: np.ndarray) -> None:
    result = run("compare", photo)

    assert result.exit_code == 0, result.output
    (rows,) = tables(result).values()
    assert list(rows) == [
        *("raw", "PNG as given", "PNG optimised", "WebP lossless"),
        *("JPEG XL e7", "JPEG XL e9", "pixelcodec"),
    ]
    assert rows["raw"][:2] == [f"{pixels.size}", "8.000"]
    assert rows["PNG as given"][0] == f"{photo.stat().st_size}"
    assert rows["PNG optimised"][2] == "1.000"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], [""]),
        (["-m", "photo-s"], ["", " photo-s"]),
        (["-m", "standard"], ["", " standard"]),
        (["-e", 1, "-e", "max"], [" e1", " max"]),
        (["-m", "photo-s", "-e", 9], [" e9", " photo-s e9"]),
    ],
    ids=str,
)
def test_what_encode_writes_comes_before_models_that_are_asked_for(
    photo: Path, options: list[object], named: list[str]
) -> None:
    (rows,) = tables(run("compare", photo, *options)).values()

    ours = [codec for codec in rows if codec.startswith("pixelcodec")]
    assert ours == [f"pixelcodec{name}" for name in named]


def test_what_encode_writes_is_asked_for_no_model(photo: Path, api: FakeApi) -> None:
    run("compare", photo, "-m", "photo-s", "-e", 9)

    encoded = [call for call in api.calls if "effort" in call]
    assert {(call["model"], call["effort"]) for call in encoded} == {(None, 9), ("photo-s", 9)}


def test_compare_adds_up_the_files(photo: Path, pixels: np.ndarray) -> None:
    gray = save(pixels[..., 0], "gray.png")

    first, second, total = tables(run("compare", photo, gray)).values()

    assert int(total["raw"][0]) == pixels.size * 4 // 3
    for codec in first:
        assert int(total[codec][0]) == int(first[codec][0]) + int(second[codec][0])


def test_compare_has_no_total_of_a_codec_that_lacks_a_file(photo: Path, pixels: np.ndarray) -> None:
    other = save(pixels, "other.bmp")

    first, second, total = tables(run("compare", photo, other)).values()

    assert "PNG as given" in first
    assert "PNG as given" not in second
    assert "PNG as given" not in total


def test_compare_takes_the_images_of_a_folder(pixels: np.ndarray) -> None:
    Path("images/inner").mkdir(parents=True)
    save(pixels, "images/inner/b.png")
    save(pixels, "images/a.ppm")
    Path("images/notes.txt").write_text("no image")

    result = run("compare", "images", "-m", "photo-m")

    assert result.exit_code == 0, result.output
    assert list(tables(result)) == [
        *("images/a.ppm: 12x10 RGB", "images/inner/b.png: 12x10 RGB"),
        "total of 2 images",
    ]


def test_compare_fails_where_a_codec_loses_something(
    photo: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "decode", lambda data, **keywords: np.zeros((10, 12, 3), np.uint8))

    result = run("compare", photo)

    assert_fails_in_one_line(result, photo)
    assert "pixelcodec: not lossless" in result.stderr
    assert "pixelcodec" not in result.stdout


def test_compare_names_an_image_that_cannot_be_held_and_goes_on(
    photo: Path, pixels: np.ndarray
) -> None:
    Image.fromarray(pixels).convert("CMYK").save("print.tif")

    result = run("compare", "print.tif", photo)

    assert_fails_in_one_line(result, "print.tif")
    assert "photo.png: 12x10 RGB" in tables(result)


def test_compare_skips_such_an_image_when_told(photo: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).convert("CMYK").save("print.tif")

    result = run("compare", "print.tif", photo, "--skip")

    assert result.exit_code == 0
    assert result.stderr.startswith("skipped: print.tif: ")


def test_compare_skips_no_missing_file(photo: Path) -> None:
    assert_fails_in_one_line(run("compare", "missing.png", photo, "--skip"), "missing.png")


def test_compare_writes_csv(photo: Path) -> None:
    run("compare", photo, "-m", "photo-m", "--csv", "results.csv")

    rows = list(csv.DictReader(Path("results.csv").read_text().splitlines()))
    assert tuple(rows[0]) == CSV_HEAD
    by_codec = {row["codec"]: row for row in rows}
    assert by_codec["raw"]["bpsp"] == "8.0"
    assert by_codec["raw"]["encode_seconds"] == ""
    assert float(by_codec["pixelcodec"]["decode_seconds"]) > 0
    assert float(by_codec["pixelcodec photo-m"]["decode_seconds"]) > 0


def test_compare_does_not_overwrite_csv(photo: Path, api: FakeApi) -> None:
    Path("results.csv").write_text("precious")

    assert_fails_in_one_line(run("compare", photo, "--csv", "results.csv"), "results.csv")
    assert Path("results.csv").read_text() == "precious"
    assert api.calls == []  # it was found out before the work


# models ------------------------------------------------------------------------------------------


def test_models_lists_names_sizes_and_summaries() -> None:
    head, *rows = run("models").stdout.splitlines()

    assert head.split() == ["model", "parameters", "MACs/pixel", "summary"]
    assert [row.split()[0] for row in rows] == [*MODELS, "digits"]
    assert rows[0].split()[1:3] == ["123,456", "98,765"]
    assert rows[0].endswith("the summary of photo-m")


def test_models_shows_a_card() -> None:
    assert run("models", "photo-s").stdout.splitlines() == [
        "name: photo-s",
        "summary: the summary of photo-s",
        "parameters: 123,456",
        "macs per pixel: 98,765",
        "bpsp:",
        "  kodak: 2.5",
        "  clic-dev: 1.25",
        "licences: CC0, CC-BY-4.0",
    ]


def test_models_prints_json() -> None:
    assert json.loads(run("models", "photo-s", "--json").stdout)["name"] == "photo-s"
    cards = json.loads(run("models", "--json").stdout)
    assert [card["name"] for card in cards] == [*MODELS, "digits"]


def test_models_does_not_know_every_name() -> None:
    result = run("models", "photo-x")

    assert (result.exit_code, result.stderr) == (1, "pixelcodec: no model 'photo-x'\n")


# Bad input ---------------------------------------------------------------------------------------


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


BAD_BYTES: dict[str, Callable[[bytes], bytes] | None] = {
    "missing": None,
    "empty": lambda data: b"",
    "truncated": truncated,
    "foreign": lambda data: b"GIF87a is not what it says it is",
}


@pytest.mark.parametrize("kind", BAD_BYTES)
@pytest.mark.parametrize("command", ["encode", "decode", "verify", "info", "compare"])
def test_bad_input_fails_in_one_line_and_leaves_nothing(
    command: str, kind: str, photo: Path, pxc: Path, folder: Path
) -> None:
    good = photo if command in ("encode", "compare") else pxc
    bad = good.with_stem("bad")
    if spoil := BAD_BYTES[kind]:
        bad.write_bytes(spoil(good.read_bytes()))
    before = names(folder)

    result = run(command, bad)

    assert_fails_in_one_line(result, bad)
    assert result.stderr.count(bad.name) == 1  # not file: file: what is wrong
    assert ": image: " not in result.stderr
    assert names(folder) == before


def test_a_folder_is_not_an_image() -> None:
    Path("folder.png").mkdir()

    assert_fails_in_one_line(run("encode", "folder.png"), "folder.png")


# Usage -------------------------------------------------------------------------------------------

WRONG_USAGE = [
    ["paint"],
    ["encode"],
    ["encode", "a.png", "b.png", "-o", "c.pxc"],
    ["encode", "a.png", "--quality", "9"],
    ["encode", "a.png", "--device", "toaster"],
    ["encode", "a.png", "-T", "-1"],
    ["encode", "a.png", "-T", "99999"],
    ["encode", "a.png", "-e", "11"],
    ["encode", "a.png", "--strip-rows", "0"],
    ["encode", "a.png", "--strip-rows", "65536"],
    ["decode", "a.pxc", "--backend", "float16"],
    ["verify"],
    ["info"],
    ["compare"],
    ["models", "a", "b"],
]


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_list_of_commands_cuts_no_line_short() -> None:
    assert "..." not in run("--help").stdout.partition("Commands:")[2]


# Whole processes ---------------------------------------------------------------------------------


def process(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    code = "from pixelcodec.cli.main import main; main(prog_name='pixelcodec')"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **settings,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-V"], ["--version"], ["--help"], ["encode", "-h"], *WRONG_USAGE),
        *(["info", str(GOLDEN / "rgba.pxc")], ["models"], ["models", "photo-m"]),
    ],
)
def test_what_takes_no_network_does_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from pixelcodec.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, *arguments]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    result = process("--help", stdout=writing)

    os.close(writing)
    assert result.stderr == ""


def test_a_photograph_survives_the_round_trip() -> None:
    original = EXAMPLES / "kitten-gray.png"

    assert process("encode", original, "-o", "kitten.pxc").returncode == 0
    assert process("decode", "kitten.pxc").returncode == 0
    assert process("verify", "kitten.pxc", original).returncode == 0
    assert np.array_equal(read(Path("kitten.png")), read(original))


def test_a_damaged_photograph_is_reported_in_one_line() -> None:
    process("encode", EXAMPLES / "kitten-gray.png", "-o", "whole.pxc")
    data = bytearray(Path("whole.pxc").read_bytes())
    data[len(data) // 2] ^= 1
    Path("damaged.pxc").write_bytes(data)

    result = process("decode", "damaged.pxc")

    assert result.returncode == 1
    assert re.fullmatch(r"pixelcodec: damaged\.pxc: [^\n]+\n", result.stderr)
    assert not Path("damaged.png").exists()
