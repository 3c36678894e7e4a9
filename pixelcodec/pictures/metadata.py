"""Metadata as PNG chunks, and as Pillow has them: in ``info``, and as options for saving."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from math import isfinite
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import png, tiff_tags
from pixelcodec.pictures.guards import image_errors
from pixelcodec.pictures.picture import Chunk, Picture

_XMP = "XML:com.adobe.xmp"
_TEXT_TYPES = (b"tEXt", b"zTXt", b"iTXt")
_LONGEST_KEYWORD = 79

_METRES_PER_INCH = 0.0254
_PER_METRE, _AS_RATIO = 1, 0

_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)


def chunks_of_info(info: Mapping[Any, Any], text: Mapping[str, str]) -> Iterator[Chunk]:
    """Make chunks of a Pillow image's ``info``.

    Args:
        info: Of it, all is used that Pillow reads from PNG, but for the transparent colour.
        text: Text by keyword, which ``info`` does not tell from other strings.
    """
    if (gamma := info.get("gamma")) is not None:
        yield Chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    if white_and_primaries := info.get("chromaticity"):
        numbers = (round(number * 100_000) for number in white_and_primaries)
        yield Chunk(b"cHRM", struct.pack(">8I", *numbers))
    if (intent := info.get("srgb")) is not None:
        yield Chunk(b"sRGB", bytes([intent]))
    if profile := info.get("icc_profile"):
        yield Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if density := _per_metre(info.get("dpi", ())):
        yield Chunk(b"pHYs", struct.pack(">2IB", *density, _PER_METRE))
    elif aspect := info.get("aspect"):
        yield Chunk(b"pHYs", struct.pack(">2IB", *aspect, _AS_RATIO))
    if exif := info.get("exif"):
        yield Chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    yield from _text_chunks(info.get("xmp"), text)


def exif_of_tags(tags: Image.Exif) -> bytes:
    """Take from the tags of a TIFF file those that EXIF knows; empty if there are none."""
    exif = Image.Exif()
    for tag in tiff_tags.DESCRIPTIVE:
        if tag in tags:
            exif[tag] = tags[tag]
    for directory in _DIRECTORIES:
        if content := dict(tags.get_ifd(directory)):
            content.pop(ExifTags.IFD.Interop, None)  # an offset into the file
            exif[directory] = content
    return exif.tobytes() if len(exif) else b""


def saving_options(picture: Picture) -> dict[str, Any]:
    """Give the picture's metadata as options of Pillow's ``save``.

    Returns:
        What there is of ``icc_profile``, ``exif``, ``xmp`` (all bytes) and ``dpi``. Damaged ones
        are left out.
    """
    info: dict[Any, Any] = {}
    for chunk in picture.chunks:
        if chunk.type in (b"iCCP", b"eXIf", b"pHYs", b"iTXt"):
            with suppress(UnsupportedImageError):
                info |= _info_of(chunk)
    return {key: info[key] for key in ("icc_profile", "exif", "xmp", "dpi") if info.get(key)}


def label(chunk: Chunk) -> tuple[bytes, bytes]:
    """Tell what a chunk is about: its type, and of text the keyword."""
    is_text = chunk.type in _TEXT_TYPES
    return chunk.type, chunk.data.partition(b"\0")[0] if is_text else b""


def _per_metre(dpi: tuple[Any, ...]) -> tuple[int, ...] | None:
    numbers = [float(number) / _METRES_PER_INCH for number in dpi]
    if len(numbers) == 2 and all(isfinite(number) and 0 < number < 2**31 for number in numbers):
        return tuple(map(round, numbers))
    return None


def _text_chunks(xmp: bytes | str | None, text: Mapping[str, str]) -> Iterator[Chunk]:
    pnginfo = PngInfo()
    if xmp and _XMP not in text:
        pnginfo.add_itxt(_XMP, xmp)
    for keyword, value in text.items():
        if _is_keyword(keyword):
            pnginfo.add_text(keyword, value)
    for type, data, *_ in pnginfo.chunks:
        yield Chunk(type, data)


def _is_keyword(text: str) -> bool:
    try:
        return 0 < len(text.encode("latin-1")) <= _LONGEST_KEYWORD and "\0" not in text
    except UnicodeEncodeError:
        return False


def _info_of(chunk: Chunk) -> dict[Any, Any]:
    """Let Pillow read a chunk."""
    pixel = Picture(np.zeros((1, 1, 1), np.uint8), 8, (chunk,))
    with image_errors(), Image.open(BytesIO(png.write(pixel, 0))) as image:
        image.load()
        return image.info
