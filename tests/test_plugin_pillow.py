"""Pillow opens and saves ``.pxc`` files as it does its own formats."""

import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

import pixelcodec
from pictures import noise, scene
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pillow import register_pxc_opener

MODEL = "photo-s"

EXIF = Image.Exif()
EXIF[0x010E] = "a scene"

METADATA = {
    "icc_profile": b"a profile",
    "exif": EXIF.tobytes(),
    "xmp": b"<x:xmpmeta/>",
    "dpi": (300.0, 150.0),
}


def plain(mode: str) -> Image.Image:
    """An image of ``mode`` without metadata."""
    colours = Image.fromarray(scene(12, 17, 3))
    match mode:
        case "P":
            return colours.quantize(20)
        case "I;16":
            return Image.fromarray(scene(12, 17).astype(np.uint16) * 257 + 3)
        case "LA" | "RGBA":
            image = colours.convert(mode)
            image.putalpha(Image.fromarray(noise(12, 17)))
            return image
        case _:
            return colours.convert(mode)


def model_for(mode: str) -> str:
    return MODEL if mode in ("L", "LA", "RGB", "RGBA") else "standard"


def saved(image: Image.Image, **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format="PXC", **{"model": model_for(image.mode), **options})
    return stream


def as_png(image: Image.Image) -> Image.Image:
    """The image, as opening a PNG of it with all kinds of metadata gives it."""
    text = PngImagePlugin.PngInfo()
    text.add(b"gAMA", struct.pack(">I", 45455))
    text.add_text("Title", "A scene")
    text.add_itxt("Author", "Zoë", "en", "Author")
    text.add_itxt("XML:com.adobe.xmp", METADATA["xmp"])
    stream = io.BytesIO()
    options = {name: value for name, value in METADATA.items() if name != "xmp"}
    transparency = {"1": 0, "L": 7, "I;16": 300, "RGB": (1, 2, 3), "P": bytes(range(0, 200, 10))}
    if image.mode in transparency:
        options["transparency"] = transparency[image.mode]
    image.save(stream, "PNG", pnginfo=text, **options)
    return Image.open(stream)


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A file in colour, written by a model, of three strips."""
    return saved(plain("RGB"), strip_rows=5).getvalue()


@pytest.fixture(scope="module")
def bilevel() -> bytes:
    """A file that is fast to decode, with metadata."""
    return saved(plain("1"), **METADATA).getvalue()


def frames(format: str) -> Image.Image:
    """An image of two frames or pages, as Pillow opens it."""
    first, second = (Image.fromarray(noise(4, 5, seed=seed)) for seed in (1, 2))
    stream = io.BytesIO()
    first.save(stream, format, save_all=True, append_images=[second])
    return Image.open(stream)


MODES = pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])

# Round trip --------------------------------------------------------------------------------------


@MODES
def test_every_mode_comes_back(mode: str, tmp_path: Path) -> None:
    image = plain(mode)
    image.save(tmp_path / "image.pxc", model=model_for(mode))
    with Image.open(tmp_path / "image.pxc") as found:
        assert (found.format, found.mode, found.size) == ("PXC", mode, image.size)
        assert found.tobytes() == image.tobytes()
        assert found.getpalette() == image.getpalette()


@MODES
def test_metadata_come_back_as_from_a_png(mode: str) -> None:
    with as_png(plain(mode)) as png, Image.open(saved(png)) as found:
        assert {"gamma", "Title", "Author", *METADATA} <= found.info.keys()
        assert found.info == png.info
        assert found.getexif() == png.getexif()
        assert found.convert("RGBA").tobytes() == png.convert("RGBA").tobytes()


def test_text_reaches_the_encoder_without_saving() -> None:
    with as_png(plain("1")) as png, Image.open(saved(png)) as found:
        again = pixelcodec.decode_image(pixelcodec.encode(found))
        assert again.info == png.info


def test_metadata_are_there_before_the_pixels(bilevel: bytes) -> None:
    with Image.open(io.BytesIO(bilevel)) as found:
        info = dict(found.info)
        found.load()
        assert info == found.info


def test_given_metadata_replace_those_of_the_image() -> None:
    new = {"icc_profile": b"another", "exif": EXIF, "xmp": "<other/>", "dpi": (72, 72)}
    with as_png(plain("1")) as png, Image.open(saved(png, **new)) as found:
        assert found.info["icc_profile"] == b"another"
        assert found.getexif() == EXIF
        assert found.info["xmp"] == b"<other/>"
        assert found.info["dpi"] == pytest.approx((72, 72), abs=0.02)
        assert found.info["Title"] == "A scene"


def test_metadata_given_as_none_are_left_out() -> None:
    with as_png(plain("1")) as png:
        before = dict(png.info)
        found = Image.open(saved(png, **dict.fromkeys(METADATA)))
        assert not {*METADATA, "XML:com.adobe.xmp"} & found.info.keys()
        assert found.info["gamma"] == before["gamma"]
        assert png.info == before  # the image saved is as it was


def test_a_copy_of_the_frame_that_is_shown_is_saved() -> None:
    with frames("GIF") as gif:
        gif.seek(1)
        shown = gif.convert("RGB")
        assert Image.open(saved(gif.copy())).convert("RGB").tobytes() == shown.tobytes()


def test_options_reach_the_encoder() -> None:
    stream = saved(plain("RGB"), strip_rows=8, tile=4, restart=True, threads=1, device="cpu")
    stream.seek(0)
    info = pixelcodec.inspect(stream)
    assert (info.model_name, info.strip_rows, info.tile, info.restart) == (MODEL, 8, 4, True)


def test_invisible_colours_are_discarded_where_that_is_asked_for() -> None:
    image = plain("RGBA")
    image.putalpha(0)
    sizes = [saved(image, discard_invisible=it).getbuffer().nbytes for it in (True, False)]
    assert sizes[0] < sizes[1] / 2


def test_what_is_verified_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelcodec.stream.Decoder.write", lambda *_: [np.zeros((12, 17, 3), "u1")])
    with pytest.raises(OSError, match="what was encoded"):
        saved(plain("RGB"), verify=True)


def test_unknown_options_are_ignored_as_by_other_formats() -> None:
    image = plain("1")
    assert saved(image, quality=90, optimize=True).getvalue() == saved(image).getvalue()


# Opening -----------------------------------------------------------------------------------------


def test_importing_registers_and_opening_runs_no_model(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.pxc").write_bytes(photo)
    program = """
        import sys
        from PIL import Image
        import pixelcodec.pillow
        with Image.open("photo.pxc") as image:
            assert image.size == (17, 12) and image.mode == "RGB"
            assert "torch" not in sys.modules, "opening does not need it"
        with Image.open("photo.pxc") as image:
            image.verify()
            assert "torch" not in sys.modules, "neither does verifying"
    """
    subprocess.run([sys.executable, "-c", dedent(program)], cwd=tmp_path, check=True)


def test_registering_again_changes_nothing() -> None:
    before = list(Image.ID), dict(Image.OPEN), dict(Image.SAVE), dict(Image.EXTENSION)
    register_pxc_opener()
    assert before == (list(Image.ID), dict(Image.OPEN), dict(Image.SAVE), dict(Image.EXTENSION))
    assert Image.registered_extensions()[".pxc"] == "PXC"


def test_the_mime_type_is_known(bilevel: bytes) -> None:
    with Image.open(io.BytesIO(bilevel)) as image:
        assert image.get_format_mimetype() == "image/x-pxc"


def test_the_file_is_closed_where_pillow_opened_it(bilevel: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.pxc").write_bytes(bilevel)
    image = Image.open(tmp_path / "image.pxc")
    opened = image.fp
    image.load()
    assert opened is not None
    assert opened.closed
    stream = io.BytesIO(bilevel)
    Image.open(stream).load()
    assert not stream.closed


def test_a_file_may_come_in_pieces(photo: bytes) -> None:
    parser = ImageFile.Parser()
    for begin in range(0, len(photo), 50):
        parser.feed(photo[begin : begin + 50])
    assert parser.close().tobytes() == plain("RGB").tobytes()


def test_several_images_are_loaded_at_once(photo: bytes, bilevel: bytes) -> None:
    images = [Image.open(io.BytesIO(data)) for data in (photo, bilevel) * 4]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Image.Image.load, images))
    expected = [plain("RGB").tobytes(), plain("1").tobytes()] * 4
    assert [image.tobytes() for image in images] == expected


def test_the_guard_against_bombs_works(bilevel: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bilevel))


# What cannot be ----------------------------------------------------------------------------------


def test_what_pillow_has_no_mode_for_is_refused_when_it_is_opened() -> None:
    deep = noise(4, 5, 3).astype(np.uint16)
    with pytest.raises(OSError, match="16-bit RGB"):
        Image.open(io.BytesIO(pixelcodec.encode(deep)))


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_several_frames_are_refused_in_the_words_of_the_library(format: str) -> None:
    with frames(format) as image:
        with pytest.raises(UnsupportedImageError) as refused:
            pixelcodec.encode(image)
        with pytest.raises(OSError, match="2 frames or pages") as by_save:
            saved(image)
    assert str(by_save.value) == str(refused.value)


def test_what_a_copy_would_hide_of_a_tiff_is_refused() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, noise(4, 5, 4), photometric="rgb", extrasamples=["unspecified"])
    with Image.open(stream) as image, pytest.raises(OSError, match="extra samples"):
        saved(image, model=MODEL)


@pytest.mark.parametrize("mode", ["F", "CMYK", "HSV"])
def test_modes_that_cannot_be_kept_are_refused(mode: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=mode):
        Image.new(mode, (4, 3)).save(tmp_path / "image.pxc")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="nosuch"):
        saved(plain("RGB"), model="nosuch")


def test_other_files_are_not_taken_for_ours(photo: bytes) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"\x89PXX" + photo[4:]))


METHODS = pytest.mark.parametrize("method", ["verify", "load"])


@METHODS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_off_is_an_oserror(
    method: str, bilevel: bytes, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, len(bilevel) - 1))
    refused = pytest.raises(OSError, match=r"truncated|identify")
    with refused, Image.open(io.BytesIO(bilevel[:end])) as image:
        getattr(image, method)()


@METHODS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_an_oserror(method: str, bilevel: bytes, data: st.DataObject) -> None:
    damaged = bytearray(bilevel)
    damaged[data.draw(st.integers(0, len(bilevel) - 1))] ^= data.draw(st.integers(1, 255))
    refused = pytest.raises(OSError, match=r"damaged|truncated|version|identify")
    with refused, Image.open(io.BytesIO(damaged)) as image:
        getattr(image, method)()


def test_damage_of_the_pixels_is_found_when_they_are_needed(photo: bytes) -> None:
    with Image.open(io.BytesIO(photo[:-30])) as image:
        assert image.size == (17, 12)
        with pytest.raises(OSError, match="truncated") as raised:
            image.getpixel((0, 0))
        assert isinstance(raised.value.__cause__, pixelcodec.FormatError)


def test_damage_of_the_header_is_named(photo: bytes) -> None:
    with pytest.raises(OSError, match="header") as raised:
        Image.open(io.BytesIO(photo[:20]))
    assert not isinstance(raised.value, UnidentifiedImageError)


def test_a_closed_image_says_so(bilevel: bytes) -> None:
    image = Image.open(io.BytesIO(bilevel))
    image.close()
    with pytest.raises(ValueError, match="closed image"):
        image.load()


def test_an_image_in_use_cannot_be_verified(bilevel: bytes) -> None:
    with Image.open(io.BytesIO(bilevel)) as image:
        image.load()
        with pytest.raises(RuntimeError, match="directly after open"):
            image.verify()
