"""Slips of the user: files of the wrong kind, names that cannot be meant. Each is told."""

import io
import os
import sys
from errno import EACCES
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from commands import M, names, run, save
from pictures import scene
from pixelcodec.cli import files
from pixelcodec.pictures import Picture, write_picture
from pixelcodec.pictures.files import format_of

encoding = import_module("pixelcodec.cli.encode")  # whose name the command has, too

pytestmark = pytest.mark.usefixtures("tiny")

A_PNG = "photo.png: this is a PNG file, not a .pxc file"
A_PXC = "photo.pxc: this is a .pxc file, not an image; `pixelcodec decode` reads it"


@pytest.fixture
def photo(tiny: Path) -> Path:
    """An image, with its .pxc file beside it."""
    path = save(scene(6, 7, 3), "photo.png")
    assert run("encode", path, *M).exit_code == 0
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("decode", "photo.png"),
        ("decode", "photo.png", "-f"),
        ("decode", "photo.png", "-o", "other.png"),
        ("decode", "photo.png", "-o", "other.png", "--partial"),
        ("verify", "photo.png"),
        ("info", "photo.png"),
    ],
    ids=" ".join,
)
def test_an_image_is_no_pxc_file(arguments: tuple[str, ...], photo: Path) -> None:
    before = photo.read_bytes()

    result = run(*arguments)

    assert result.exit_code == 1
    assert result.stderr == f"pixelcodec: {A_PNG}\n"
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "photo.pxc"),
        ("encode", "photo.pxc", "-f"),
        ("encode", "photo.pxc", "-o", "other.pxc"),
        ("compare", "photo.pxc"),
        ("eval", "photo.pxc", *M),
        ("complete", "photo.pxc", "--mask", "lower", "-o", "other.png", *M),
        ("complete", "photo.png", "--mask", "photo.pxc", "-o", "other.png", *M),
    ],
    ids=" ".join,
)
def test_a_pxc_file_is_no_image(arguments: tuple[str, ...], photo: Path) -> None:
    result = run(*arguments)

    assert result.exit_code == 1
    assert result.stderr == f"pixelcodec: {A_PXC}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("decode", "photo.pxc", "new.png"),
        ("decode", "photo.pxc", "new.tif"),
        ("decode", "new.png"),
        ("encode", "photo.png", "new.pxc"),
        ("encode", "photo.png", "new.pxc", "--out-dir", "out"),
    ],
    ids=" ".join,
)
def test_a_second_file_is_no_output(arguments: tuple[str, ...], photo: Path) -> None:
    before = names(Path())

    result = run(*arguments)

    new = next(each for each in arguments if each.startswith("new"))
    assert result.exit_code == 2
    assert f"Error: {new} does not exist; an output is named by -o\n" in result.stderr
    assert names(Path()) == before


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify"])
def test_bytes_are_not_read_from_a_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "is_terminal", lambda stream: stream is not sys.stdout.buffer)

    result = run(command, "-", stdin=b"typed")

    assert result.exit_code == 1
    assert result.stderr == (
        "pixelcodec: -: refusing to read bytes from a terminal; name a file, or use a pipe\n"
    )


def test_a_batch_goes_on_after_a_file_that_may_not_be_read(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(scene(6, 7, 3), "other.png")
    read = files.read_bytes

    def refuse_photo(path: Path) -> io.BytesIO:
        if path == photo:
            raise PermissionError(EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(encoding, "read_bytes", refuse_photo)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what root never meets

    result = run("encode", photo, "other.png", "--out-dir", "out", *M)

    assert result.exit_code == 1
    assert "pixelcodec: photo.png: Permission denied\n" in result.stderr
    assert names(Path("out")) == {"other.pxc"}


def test_a_batch_goes_on_after_a_file_of_the_wrong_kind(photo: Path) -> None:
    save(scene(6, 7, 3), "other.png")

    result = run("encode", "photo.pxc", "other.png", *M)

    assert result.exit_code == 1
    assert Path("other.pxc").is_file()


def test_verify_tells_which_file_goes_first(photo: Path) -> None:
    result = run("verify", "photo.png", "photo.pxc", *M)

    assert result.exit_code == 2
    assert f"{A_PNG}, which goes first: verify photo.pxc photo.png" in result.stderr


def test_a_pxc_file_of_another_name_is_no_image_to_compare_with(photo: Path) -> None:
    Path("photo.copy").write_bytes(Path("photo.pxc").read_bytes())

    result = run("verify", "photo.pxc", "photo.copy", *M)

    assert result.stderr.startswith("pixelcodec: photo.copy: this is a .pxc file, not an image")


@pytest.mark.parametrize("output", ["out.jpg", "out.PNG", "out.jxl", "out.npy"])
def test_a_pxc_file_has_no_name_of_an_image(output: str, photo: Path) -> None:
    before = names(Path())

    result = run("encode", photo, "-o", output, *M)

    assert result.exit_code == 2
    assert f"-o {output}: what encode writes is a .pxc file" in result.stderr
    assert names(Path()) == before


@pytest.mark.parametrize(
    ("output", "why"), [("", "the name of the file is empty"), ("new/", "new/ is a folder")]
)
@pytest.mark.parametrize("command", ["encode", "decode", "map"])
def test_an_output_has_the_name_of_a_file(command: str, output: str, why: str, photo: Path) -> None:
    before = names(Path())

    result = run(command, photo, "-o", output)

    assert result.exit_code == 2
    assert why in result.stderr
    assert names(Path()) == before


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("photom", "no model 'photom'; did you mean photo-m?"),
        ("standrd", "no model 'standrd'; did you mean standard?"),
        ("nosuch", "no model 'nosuch'; installed are c"),
        ("nosuch.safetensors", "no model file nosuch.safetensors"),
    ],
)
@pytest.mark.parametrize("command", ["encode", "decode", "verify", "compare", "map", "eval"])
def test_a_model_that_is_not_there_is_wrong_usage(
    command: str, model: str, what: str, photo: Path
) -> None:
    result = run(command, photo, "photo.pxc", "-m", model)

    assert result.exit_code == 2
    assert f"Error: Invalid value for '-m' / '--model': {what}" in result.stderr


@pytest.mark.parametrize("command", ["encode", "decode", "verify", "eval"])
def test_a_device_that_is_not_there_is_wrong_usage(
    command: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    result = run(command, photo, "--device", "cuda")

    assert result.exit_code == 2
    assert "no CUDA device is available; use --device cpu" in result.stderr


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_files_and_folders_are_told_apart(command: str, photo: Path) -> None:
    source = "photo.pxc" if command == "decode" else "photo.png"
    Path("folder").mkdir()
    Path("file").touch()

    output = run(command, source, "-o", "folder")
    out_dir = run(command, source, "--out-dir", "file")

    assert output.exit_code == 2
    assert "Error: -o folder is a folder; --out-dir takes a folder\n" in output.stderr
    assert out_dir.exit_code == 1
    assert out_dir.stderr == "pixelcodec: file: this is a file, not a folder\n"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (scene(7, 7, 3), "differs from other.png: shape (6, 7, 3), not (7, 7, 3)"),
        (scene(6, 7), "differs from other.png: shape (6, 7, 3), not (6, 7, 1)"),
        (scene(6, 7, 3).astype(np.uint16), "differs from other.png: 8-bit RGB, not 16-bit RGB"),
        (None, "No such file or directory"),
    ],
    ids=["size", "channels", "bits", "missing"],
)
def test_verify_looks_before_it_decodes(
    other: np.ndarray | None, what: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other is not None:
        write_picture(Picture.from_array(other), "other.png")
    monkeypatch.setattr(import_module("pixelcodec.cli.verify"), "read_pxc", None)

    result = run("verify", "photo.pxc", "other.png", *M)

    assert result.exit_code == 1
    assert result.stderr.endswith(f": {what}\n")


@pytest.mark.parametrize("format", ["heic", "gif", "jxl"])
def test_formats_that_cannot_be_written_are_not_said_to_lose_bits(format: str, photo: Path) -> None:
    result = run("decode", "photo.pxc", "-o", f"a.{format}")

    assert result.exit_code == 1
    assert f"{format} is not among the formats that can be written: png, tif" in result.stderr


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        *(("png", "PNG"), ("tif", "TIFF"), ("bmp", "BMP"), ("webp", "WebP"), ("npy", "NumPy")),
        *(("ppm", "Netpbm"), ("pam", "Netpbm")),
    ],
)
def test_formats_are_told_by_their_first_bytes(suffix: str, name: str) -> None:
    write_picture(Picture.from_array(np.zeros((2, 3, 3), np.uint8)), f"a.{suffix}")

    assert format_of(Path(f"a.{suffix}").read_bytes()[:16]) == name


@pytest.mark.parametrize("head", [b"", b"PXC", b"text", bytes(16)])
def test_what_is_no_image_has_no_format(head: bytes) -> None:
    assert format_of(head) is None
