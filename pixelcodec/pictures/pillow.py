"""Pillow images to pictures and back, without any conversion."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import jpeg, png, tiff_tags
from pixelcodec.pictures.guards import image_errors, unsupported
from pixelcodec.pictures.metadata import chunks_of_info, exif_of_tags
from pixelcodec.pictures.picture import Chunk, Picture

_KINDS = {
    "PA": "palette with alpha",
    "La": "gray with alpha multiplied into it",
    "RGBa": "RGB with alpha multiplied into it",
    "RGBX": "extra samples of unknown meaning",  # newer Pillows say RGB
    "I": "32-bit gray",
    "F": "floating-point gray",
}
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N")
_MODES_WITH_TRANSPARENT_COLOUR = ("1", "L", "RGB", *_DEEP_GRAY)

_NO_TEXT = ("compression",)  # of TIFF

_WHITE_IS_ZERO = 0
_UNSIGNED = 1
_MULTIPLIED_ALPHA = 1


@image_errors()
def from_pillow(image: Image.Image) -> Picture:
    """Make a picture of a Pillow image: its samples and, as PNG chunks, its metadata.

    Args:
        image: Of mode 1, L, LA, P, RGB, RGBA or I;16 in any byte order. Of a file loaded before, it
            can no longer be told whether Pillow cut 16-bit samples down to 8 bits.

    Returns:
        A picture of the same samples; indexes into a palette get as few bits as they and the
        palette need. ICC profile, EXIF, XMP, resolution, gamma, text and transparent colours are
        its chunks; what else GIF, JPEG and TIFF files had is named. Of a TIFF, Pillow has applied
        the orientation.

    Raises:
        UnsupportedImageError: It is of another mode, has several frames, holds more than Pillow
            shows of it, or is a damaged file.
    """
    check_kind(image)
    array = np.array(image)  # which reads the chunks after the pixels, too
    chunks = (*chunks_of_info(_info(image), _text(image)), *_colour_chunks(image))
    return replace(_picture(image, array, chunks), not_kept=_not_kept(image))


@image_errors()
def check_kind(image: Image.Image) -> None:
    """Refuse an image of which :func:`from_pillow` would keep a part only, as far as can be told.

    Raises:
        UnsupportedImageError: As there.
    """
    if kind := _unsupported_kind(image):
        raise unsupported(f"{kind} (Pillow mode {image.mode})")


def to_pillow(picture: Picture) -> Image.Image:
    """Make the Pillow image that opening the picture's PNG gives: its mode, palette and info.

    Samples of 2 and 4 bits of gray are scaled to 8 bits, as Pillow does it.

    Raises:
        UnsupportedImageError: It is of 16 bits in more than one channel, which Pillow would cut
            to 8 bits, has metadata that Pillow takes for damaged, or has more pixels than
            Pillow's guard against decompression bombs allows.
    """
    if picture.bit_depth == 16 and picture.channels > 1:
        raise UnsupportedImageError(
            f"{picture.kind} does not fit into a Pillow image, which would keep 8 bits; use the "
            "array (to_array), or write a PNG or TIFF file"
        )
    with image_errors():
        image = Image.open(BytesIO(png.write(picture, compress_level=0)), formats=["PNG"])
        image.load()
        return image


def save(picture: Picture, format: str, **options: Any) -> bytes:
    """Let Pillow write a picture's samples and palette in a format, and no metadata but options."""
    palette = tuple(chunk for chunk in picture.chunks if chunk.type == b"PLTE")
    buffer = BytesIO()
    to_pillow(replace(picture, chunks=palette)).save(buffer, format, **options)
    return buffer.getvalue()


def _unsupported_kind(image: Image.Image) -> str | None:
    """Name what keeps a Pillow image from being coded without loss, if anything does."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        return f"{frames} frames or pages"
    if kind := _kind_hidden_by_pillow(image):
        return kind
    if image.mode in _MODES or image.mode in _DEEP_GRAY:
        return None
    return _KINDS.get(image.mode, image.mode)


def _kind_hidden_by_pillow(image: Image.Image) -> str | None:
    """Name what Pillow drops or changes without a word when it loads the image, if anything.

    Only the file's tags (TIFF) and the parameters of a decoder that has not run yet tell of it.
    """
    if isinstance(image, TiffImageFile):
        return tiff_tags.further_images(image.tag_v2) or _kind_hidden_in_tiff(image)
    if isinstance(image, ImageFile) and any(_is_cut(image, tile[3]) for tile in image.tile):
        return "more than 8 bits a sample"
    return None


def _kind_hidden_in_tiff(image: TiffImageFile) -> str | None:
    tags = image.tag_v2
    bits = max(tags.get(BITSPERSAMPLE, (1,)))
    if bits > 8 and not (bits == 16 and image.mode in _DEEP_GRAY):
        return "more than 8 bits a sample"
    if bits == 16 and tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        return "16-bit gray where 0 is white"
    if max(tags.get(SAMPLEFORMAT, (_UNSIGNED,))) != _UNSIGNED:
        return "signed or floating-point samples"
    if _MULTIPLIED_ALPHA in tags.get(EXTRASAMPLES, ()):
        return "alpha multiplied into the colours"
    if tags.get(SAMPLESPERPIXEL, 1) > len(image.getbands()):
        return "extra samples of unknown meaning"
    return None


def _is_cut(image: ImageFile, decoder_args: object) -> bool:
    """Whether Pillow decodes 16-bit samples to 8 bits, or scales them."""
    match image.format, decoder_args:
        case "PNG" | "PPM", str(raw_mode):  # such as "RGB;16B"
            return ";16" in raw_mode and image.mode not in _DEEP_GRAY
        case "PPM", (str(), int(maximum)):
            return maximum > 255
    return False


def _not_kept(image: Image.Image) -> tuple[str, ...]:
    """Name what a GIF, JPEG or TIFF file holds that becomes no chunk."""
    if isinstance(image, TiffImageFile):
        return tiff_tags.not_kept(image.tag_v2)
    if isinstance(image, JpegImageFile):
        return jpeg.not_kept(image)
    extension, _ = image.info.get("extension", (b"NETSCAPE2.0", 0))  # of a GIF
    return () if extension == b"NETSCAPE2.0" else (f"extension {extension.decode('latin-1')}",)


def _picture(image: Image.Image, array: npt.NDArray[Any], chunks: tuple[Chunk, ...]) -> Picture:
    picture = Picture.from_array(array)
    if image.mode != "P":
        return replace(picture, chunks=chunks)
    colours = len(image.getpalette() or ()) // 3
    largest = max(colours - 1, int(array.max()))
    bit_depth = next(bits for bits in (1, 2, 4, 8) if largest < 1 << bits)
    return replace(picture, chunks=chunks, bit_depth=bit_depth)


def _info(image: Image.Image) -> Mapping[Any, Any]:
    if isinstance(image, TiffImageFile):
        return {"exif": exif_of_tags(image.getexif()), **image.info}
    return image.info


def _text(image: Image.Image) -> Mapping[str, str]:
    """Find out what in ``info`` is text that a PNG would have in chunks."""
    if isinstance(own := getattr(image, "text", None), dict):  # of a PNG or .pxc file
        return own
    text = {}
    if image.format is None:  # perhaps a copy of a PNG's image
        text = {
            keyword: value
            for keyword, value in image.info.items()
            if isinstance(keyword, str) and isinstance(value, str) and keyword not in _NO_TEXT
        }
    if isinstance(comment := image.info.get("comment"), bytes):  # of GIF and JPEG
        text["Comment"] = comment.decode("latin-1")
    return text


def _colour_chunks(image: Image.Image) -> Iterator[Chunk]:
    """Yield the palette and the transparent colours."""
    if image.mode == "P":
        colours = bytes(image.getpalette("RGB") or bytes(3))
        yield Chunk(b"PLTE", colours)
        if alpha := _palette_alpha(image)[: len(colours) // 3]:
            yield Chunk(b"tRNS", alpha)
    elif image.mode in _MODES_WITH_TRANSPARENT_COLOUR and "transparency" in image.info:
        colour = _transparent_colour(image.mode, image.info["transparency"])
        yield Chunk(b"tRNS", struct.pack(f">{len(colour)}H", *colour))


def _palette_alpha(image: Image.Image) -> bytes:
    match image.info.get("transparency"):
        case bytes(alpha):
            return alpha
        case int(index):
            return b"\xff" * index + b"\0"
    if image.palette is not None and image.palette.mode == "RGBA":
        return bytes((image.getpalette("RGBA") or [])[3::4])
    return b""


def _transparent_colour(mode: str, transparency: object) -> tuple[int, ...]:
    match mode, transparency:
        case "1", int(bit):
            return (bit & 1,)  # Pillow says 255 for 1
        case "RGB", (int(), int(), int()) as colour:
            return tuple(colour)
        case _, int(level) if mode != "RGB":
            return (level,)
    raise UnsupportedImageError(f"a transparent colour {transparency!r} in Pillow mode {mode}")
