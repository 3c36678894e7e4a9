"""Nothing of a file is dropped in silence: further images are refused, lost metadata are named."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Picture, from_pillow, read_picture

SMALL = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
RAW = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"


def tiff(*images: npt.NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for image in images:
            writer.write(image, metadata=None, **options)
            options = {}
    return buffer.getvalue()


def tagged(*tags: tuple[int, str, int, Any]) -> bytes:
    return tiff(SMALL, photometric="rgb", extratags=[(*tag, True) for tag in tags])


def camera_raw(subfile_type: int) -> bytes:
    """A thumbnail, and the image itself in a SubIFD."""
    return tiff(SMALL, RAW, photometric="rgb", subifds=1, subfiletype=subfile_type)


def mask() -> bytes:
    smaller, mask = (struct.pack("<2H2I", 254, 4, 1, mark) for mark in (1, 4))
    return tiff(RAW, subfiletype=1).replace(smaller, mask)


def imagej(images: int) -> bytes:
    return tiff(RAW, description=f"ImageJ=1.54f\nimages={images}\nslices={images}\n")


def shaped(*shape: int) -> bytes:
    return tiff(RAW, description=f'{{"shape": {list(shape)}}}')


def jpeg(*segments: tuple[int, bytes], after: bytes = b"", **options: Any) -> bytes:
    """A JPEG with segments of these numbers of their markers."""
    buffer = io.BytesIO()
    Image.fromarray(SMALL).save(buffer, "JPEG", **options)
    head, rest = buffer.getvalue()[:2], buffer.getvalue()[2:]
    parts = (struct.pack(">2BH", 255, marker, len(data) + 2) + data for marker, data in segments)
    return b"".join([head, *parts, rest, after])


def resources(*codes: int) -> tuple[int, bytes]:
    """The segment APP13 with resources of Photoshop."""
    blocks = (b"8BIM" + struct.pack(">HHI", code, 0, 2) + b"\x1c\2" for code in codes)
    return 0xED, b"Photoshop 3.0\0" + b"".join(blocks)


def gif(extension: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RAW.astype(np.uint8)).save(buffer, "GIF")
    data = buffer.getvalue()
    at = data.index(b"," + bytes(4))  # the image
    return data[:at] + b"\x21\xff\x0b" + extension + b"\1\0\0" + data[at:]


def png(after: bytes = b"") -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "kept")
    buffer = io.BytesIO()
    Image.fromarray(SMALL).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue() + after


@pytest.mark.parametrize(
    "read",
    [read_picture, lambda file: from_pillow(Image.open(file))],
    ids=["tifffile", "Pillow"],
)
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(camera_raw(1), "images in SubIFDs", id="camera raw"),
        pytest.param(camera_raw(0), "images in SubIFDs", id="pyramid"),
        pytest.param(tiff(RAW, subfiletype=1), "marked as a smaller version", id="preview"),
        pytest.param(tiff(RAW, subfiletype=9), "marked as a smaller version", id="preview of two"),
        pytest.param(
            tiff(RAW, extratags=[(255, "H", 1, 2, True)]), "a smaller version", id="old preview"
        ),
        pytest.param(mask(), "marked as the mask", id="mask"),
        pytest.param(imagej(30), "30 frames or pages", id="ImageJ"),
        pytest.param(shaped(5, 8, 12), "5 frames or pages", id="tifffile"),
        pytest.param(tiff(RAW, extratags=[(33629, "I", 3, (1, 2, 3), True)]), "a stack", id="STK"),
    ],
)
def test_a_tiff_of_more_than_its_page_is_refused(
    data: bytes, kind: str, read: Callable[[io.BytesIO], Picture]
) -> None:
    with pytest.raises(UnsupportedImageError, match=f"^unsupported kind of image: .*{kind}"):
        read(io.BytesIO(data))


def test_a_page_that_cannot_be_read_is_not_dropped() -> None:
    whole = tiff(RAW, RAW)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        second = file.pages[1].offset
    data = whole.replace(struct.pack("<I", second), struct.pack("<I", len(whole) + 8))

    with pytest.raises(
        UnsupportedImageError, match=rf"next page, at byte {len(whole) + 8}, cannot"
    ):
        read_picture(io.BytesIO(data))


@pytest.mark.parametrize(
    "data", [tiff(RAW, subfiletype=2), imagej(1), shaped(8, 12), tiff(RAW, description="{")]
)
def test_a_plain_tiff_is_read(data: bytes) -> None:
    np.testing.assert_array_equal(read_picture(io.BytesIO(data)).to_array(), RAW)


IPTC = (33723, "B", 6, b"\x1c\2\0\0\1x")
NAMED = [
    pytest.param(tagged(), (), id="plain TIFF"),
    pytest.param(tiff(RAW, tile=(16, 16), compression="zlib", predictor=True), (), id="tiles"),
    pytest.param(tiff(RAW, iccprofile=b"x", resolution=(72, 72), software="us"), (), id="kept"),
    pytest.param(tagged(IPTC), ("IPTC",), id="IPTC"),
    pytest.param(
        tagged((65000, "H", 1, 1), IPTC, (65001, "H", 1, 1), (50341, "B", 2, b"ab")),
        ("IPTC", "3 private TIFF tags"),
        id="private tags",
    ),
    pytest.param(
        tagged((33550, "d", 3, (1.0, 1.0, 0.0)), (34735, "H", 4, (1, 1, 0, 0))),
        ("GeoTIFF",),
        id="GeoTIFF",
    ),
    pytest.param(
        tagged((269, "s", 0, "x"), (65000, "H", 1, 1)),
        ("DocumentName", "1 private TIFF tag"),
        id="public tag",
    ),
    pytest.param(
        jpeg(
            (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
            (0xFE, b"said"),
            icc_profile=b"profile",
            dpi=(72, 72),
        ),
        (),
        id="plain JPEG",
    ),
    pytest.param(jpeg(resources(0x0404, 0x0425)), ("IPTC",), id="IPTC in JPEG"),
    pytest.param(
        jpeg(resources(0x0404, 0x03F3)), ("IPTC", "Photoshop resources"), id="Photoshop in JPEG"
    ),
    pytest.param(
        jpeg(
            *((0xE1, XMP_EXTENSION), (0xE1, XMP_EXTENSION), (0xE5, b"x"), (0xE0, b"JFXX\0")),
            *((0xFE, b"a"), (0xFE, b"b")),
        ),
        ("extended XMP", "APP5", "JFIF thumbnail", "comments but the last"),
        id="segments",
    ),
    pytest.param(jpeg(after=b"film\xff\xd9"), ("6 bytes after the end",), id="after a JPEG"),
    pytest.param(png(), (), id="plain PNG"),
    pytest.param(png(bytes(1234)), ("1,234 bytes after the end",), id="after a PNG"),
    pytest.param(gif(b"NETSCAPE2.0"), (), id="plain GIF"),
    pytest.param(gif(b"XMP DataXMP"), ("extension XMP DataXMP",), id="GIF"),
]


@pytest.mark.parametrize(("data", "named"), NAMED)
def test_what_becomes_no_chunk_is_named(data: bytes, named: tuple[str, ...]) -> None:
    assert read_picture(io.BytesIO(data)).not_kept == named


@pytest.mark.parametrize("name", ["kodim23.png"])
def test_of_a_png_all_is_kept(name: str) -> None:
    assert read_picture(Path(__file__).parent.parent / "examples" / name).not_kept == ()


def test_what_is_not_kept_makes_no_difference() -> None:
    with_iptc, plain = (read_picture(io.BytesIO(data)) for data in (tagged(IPTC), tagged()))

    assert with_iptc.not_kept != plain.not_kept
    assert with_iptc == plain
