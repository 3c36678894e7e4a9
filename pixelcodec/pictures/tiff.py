"""TIFF files of one page to pictures and back.

tifffile reads the samples: Pillow would cut, scale, invert or turn them. Pillow writes what it can,
since only Pillow writes EXIF.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures.guards import image_errors, refuse_bomb, several, silence, unsupported
from pixelcodec.pictures.metadata import chunks_of_info, exif_of_tags, saving_options
from pixelcodec.pictures.picture import Chunk, Picture, Samples, as_samples
from pixelcodec.pictures.pillow import save
from pixelcodec.pictures.tiff_tags import further_images, not_kept

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_CHANNELS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3}
_NAMES = {5: "CMYK", 8: "CIE L*a*b*", 32803: "the raw samples of a camera"}
_JPEG = 7
_UNSIGNED = 1
_MULTIPLIED_ALPHA, _ALPHA = 1, 2
_UNITS_PER_INCH = {2: 1.0, 3: 2.54}

silence("tifffile")  # which logs what it cannot read of a damaged file


@image_errors()
def read(data: bytes) -> Picture:
    """Read a TIFF of one page.

    Returns:
        Its samples as they are stored, whatever its orientation tag says, but with black as 0. Of
        metadata: ICC profile, XMP, resolution, and the tags that EXIF knows; it names the others.

    Raises:
        UnsupportedImageError: It has several pages or images in SubIFDs, or one that is marked as
            a preview or mask; is of a kind that is not supported, is damaged or truncated, or has
            too many pixels for :func:`~.guards.refuse_bomb`.
    """
    from tifffile import TiffFile

    with TiffFile(BytesIO(data)) as file:
        if len(file.pages) > 1:
            raise several(len(file.pages))
        page = file.pages.first
        _check_whole(file, page, data)
        refuse_bomb(page.imagewidth, page.imagelength)
        tags = {tag.code: tag.value for tag in page.tags}
        if kind := further_images(tags) or _unsupported_kind(page):
            raise unsupported(kind)
        chunks = (*_metadata(file, page, data), *_palette(page))
        return Picture(_samples(page), page.bitspersample, chunks, not_kept(tags))


def write(picture: Picture) -> bytes:
    """Write the pixels and what TIFF can hold of the metadata, uncompressed.

    Args:
        picture: Of any kind but gray of 2 and 4 bits. A palette is written with 8 bits a sample,
            and no EXIF with several channels of 16 bits.
    """
    if picture.bit_depth == 16 and picture.channels > 1:
        return _with_tifffile(picture)
    return _with_pillow(picture)


def _check_whole(file: "TiffFile", page: "TiffPage", data: bytes) -> None:
    """Refuse what tifffile reads on without: tags, pages, strips or tiles that it cannot read."""
    form = file.tiff
    (count,) = struct.unpack_from(form.tagnoformat, data, page.offset)
    if len(page.tags) < count:
        raise ValueError(f"{count - len(page.tags)} of {count} tags cannot be read")
    end = page.offset + form.tagnosize + count * form.tagsize
    (following,) = struct.unpack_from(form.offsetformat, data, end)
    if following:
        raise ValueError(f"the next page, at byte {following}, cannot be read")
    expected = math.prod(page.chunked)
    if len(page.dataoffsets) < expected:
        raise ValueError(f"{len(page.dataoffsets)} of {expected} strips or tiles are there")


def _unsupported_kind(page: "TiffPage") -> str | None:
    """Name what keeps the page from being a picture, if anything does."""
    colours = int(page.photometric)
    if colours not in _CHANNELS:
        return _NAMES.get(colours, f"photometric interpretation {colours}")
    if colours == _YCBCR and page.compression != _JPEG:
        return "YCbCr"
    if page.sampleformat != _UNSIGNED:
        return "signed or floating-point samples"
    if page.bitspersample not in (1, 2, 4, 8, 16):
        return f"{page.bitspersample} bits a sample"
    if page.imagedepth > 1:
        return f"{page.imagedepth} slices"
    return _unsupported_channels(page)


def _unsupported_channels(page: "TiffPage") -> str | None:
    colours = int(page.photometric)
    extra = tuple(map(int, page.extrasamples))
    if _MULTIPLIED_ALPHA in extra:
        return "alpha multiplied into the colours"
    if page.samplesperpixel == _CHANNELS[colours]:
        return None
    if colours in (_BLACK_IS_ZERO, _RGB) and extra == (_ALPHA,):
        return None
    if colours == _RGB and page.samplesperpixel == 4 and not extra:
        return None  # alpha, though not declared
    return "extra samples of unknown meaning"


def _samples(page: "TiffPage") -> Samples:
    array = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, 2)
    if page.photometric == _WHITE_IS_ZERO:
        array = (1 << page.bitspersample) - 1 - array
    array = array.reshape(page.imagelength, page.imagewidth, -1)
    return as_samples(array, page.bitspersample)


def _palette(page: "TiffPage") -> Iterator[Chunk]:
    if page.photometric != _PALETTE:
        return
    colours = np.asarray(page.colormap, np.uint16).T
    high, low = np.divmod(colours, 256)
    if low.any() and not np.array_equal(low, high):
        raise unsupported("a palette of 16 bits a colour")
    yield Chunk(b"PLTE", high.astype(np.uint8).tobytes())


def _metadata(file: "TiffFile", page: "TiffPage", data: bytes) -> Iterator[Chunk]:
    tags = Image.Exif()
    tags.endian, tags.bigtiff = file.byteorder, file.is_bigtiff
    tags.load_from_fp(BytesIO(data), page.offset)
    info = {
        "icc_profile": tags.get(TiffImagePlugin.ICCPROFILE),
        "xmp": tags.get(TiffImagePlugin.XMP),
        "dpi": _dpi(tags),
        "exif": exif_of_tags(tags),
    }
    return chunks_of_info(info, {})


def _dpi(tags: Image.Exif) -> tuple[float, ...]:
    scale = _UNITS_PER_INCH.get(tags.get(ExifTags.Base.ResolutionUnit, 0))
    x, y = tags.get(ExifTags.Base.XResolution), tags.get(ExifTags.Base.YResolution)
    if scale is None or x is None or y is None:
        return ()
    return float(x) * scale, float(y) * scale


def _with_pillow(picture: Picture) -> bytes:
    options = saving_options(picture)
    tags = Image.Exif()
    with suppress(UnsupportedImageError), image_errors():
        tags.load(_descriptive(options.pop("exif", b"")))
    if xmp := options.pop("xmp", None):
        tags[TiffImagePlugin.XMP] = xmp
    return save(picture, "TIFF", exif=tags, **options)


def _descriptive(exif: bytes) -> bytes:
    """Leave out what would contradict the tags of the pixels."""
    tags = Image.Exif()
    tags.load(exif)
    return exif_of_tags(tags)


def _with_tifffile(picture: Picture) -> bytes:
    from tifffile import imwrite

    options = saving_options(picture)
    xmp = options.get("xmp", b"")
    buffer = BytesIO()
    imwrite(
        buffer,
        picture.to_array(),
        photometric="rgb" if picture.channels > 2 else "minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"] if picture.channels != 3 else [],
        iccprofile=options.get("icc_profile"),
        resolution=options.get("dpi"),
        resolutionunit="inch" if "dpi" in options else None,
        extratags=[(TiffImagePlugin.XMP, "B", len(xmp), xmp, True)] if xmp else [],
        metadata=None,
        software=False,
    )
    return buffer.getvalue()
