"""Image files and Pillow images to sample arrays, and back.

A sample array is C-contiguous: uint8 of shape (height, width, 3) for RGB or (height, width) for
gray, bool of shape (height, width) for bilevel images. Nothing is ever converted, since a
conversion would lose bits unseen: what is of another kind is refused with its name. Metadata (ICC
profile, EXIF with its orientation, text) is not kept in this version.
"""

import io
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL, TiffImageFile

from pixelcodec.errors import UnsupportedImageError

Samples = npt.NDArray[Any]

_SUPPORTED = "supported: 8-bit RGB, 8-bit gray and bilevel"

# Formats whose bit depth is known to be checked below. Others can hold more than Pillow shows
# (JPEG 2000, AVIF), or would have Pillow run a program (EPS).
_READABLE = ("BMP", "GIF", "JPEG", "PNG", "PPM", "QOI", "TIFF", "WEBP")

_KINDS = {
    "P": "palette",
    "PA": "palette with alpha",
    "LA": "gray with alpha",
    "RGBA": "RGB with alpha",
    "RGBX": "extra samples of unknown meaning",  # newer Pillows say RGB
    "I": "32-bit gray",
    "I;16": "16-bit gray",
    "F": "floating-point gray",
}


@dataclass(frozen=True)
class _Target:
    """A lossless file format: Pillow's name of it, the modes it gives back, how to save."""

    pillow_format: str
    modes: tuple[str, ...] = ("L", "RGB", "1")
    options: Mapping[str, Any] = field(default_factory=dict)


_TARGETS = {
    "png": _Target("PNG"),
    "ppm": _Target("PPM", modes=("RGB",)),
    "pgm": _Target("PPM", modes=("L",)),
    "bmp": _Target("BMP"),
    "tif": _Target("TIFF"),
    "tiff": _Target("TIFF"),
    # WebP knows no gray: it would come back as RGB.
    "webp": _Target("WEBP", modes=("RGB",), options={"lossless": True, "exact": True}),
}

_LOSSY = {"avif", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg"}


def read_image(source: str | os.PathLike[str] | BinaryIO) -> Samples:
    """Read the samples of an image file, without any conversion.

    BMP, GIF, JPEG, PNG, PPM/PGM, QOI, TIFF and WebP are read. Samples of fewer than 8 bits (gray
    PNG of 2 or 4 bits, PPM of a smaller maximum, BMP of 16 bits a pixel) are taken as Pillow
    scales them, to 0 ... 255: no two of them become one, but the file's own depth is not kept.
    Metadata is not kept either.

    Args:
        source: A path, or a file opened in binary mode, which is read from where it stands to
            its end (a pipe will do).

    Returns:
        A new sample array, (height, width, 3) RGB or (height, width) gray or bilevel.

    Raises:
        OSError: The file cannot be opened (``FileNotFoundError`` and its like).
        UnsupportedImageError: It is no image Pillow can read, is damaged or truncated, is of a
            kind that is not supported, or has more pixels than Pillow's guard against
            decompression bombs allows: a warning up to twice ``PIL.Image.MAX_IMAGE_PIXELS``,
            this error above (and at once where warnings are errors).
    """
    if isinstance(source, str | os.PathLike):
        return _read_named(Path(source).read_bytes(), os.fspath(source))
    name = getattr(source, "name", None)  # of a pipe it is a number
    return _read_named(source.read(), name if isinstance(name, str) else None)


def write_image(
    array: Samples, target: str | os.PathLike[str] | BinaryIO, format: str | None = None
) -> None:
    """Write samples to an image file that gives back exactly the same samples.

    Args:
        array: A sample array, as :func:`as_samples` accepts.
        target: A path, or a file opened in binary mode (a pipe will do). Nothing is written to
            it unless the whole image could be encoded.
        format: ``png``, ``ppm`` (RGB only), ``pgm`` (gray only), ``bmp``, ``tif``, ``tiff`` or
            ``webp`` (RGB only), in any case; by default the extension of the path.

    Raises:
        OSError: The file cannot be written.
        UnsupportedImageError: The format is lossy, is unknown, or cannot hold this image.
        ValueError: ``target`` is not a path and ``format`` is not given.
    """
    image = Image.fromarray(as_samples(array))
    data = _encode(image, _format_name(target, format))
    if isinstance(target, str | os.PathLike):
        Path(target).write_bytes(data)
    else:
        target.write(data)


def check_format(target: str | os.PathLike[str] | BinaryIO, format: str | None = None) -> None:
    """Refuse what :func:`write_image` would refuse whatever the image: before there is one.

    Args:
        target: As for :func:`write_image`; nothing is written to it.
        format: As for :func:`write_image`.

    Raises:
        UnsupportedImageError: The format is lossy or unknown.
        ValueError: ``target`` is not a path and ``format`` is not given.
    """
    _target(_format_name(target, format))


def as_samples(image: npt.NDArray[Any] | Image.Image) -> Samples:
    """Return the samples of an array or of a Pillow image, if they can be coded as they are.

    Args:
        image: An uint8 array of shape (height, width, 3) or (height, width) or a bool array of
            shape (height, width), in any memory layout, or a Pillow image of mode ``RGB``, ``L``
            or ``1``. Of a Pillow image loaded before, it can no longer be told whether Pillow cut
            16-bit RGB samples down to 8 bits.

    Returns:
        A sample array; it shares the memory of an uint8 array that is C-contiguous already.

    Raises:
        UnsupportedImageError: It is anything else, has no pixels, or is a damaged file.
    """
    if isinstance(image, Image.Image):
        with _pillow_errors():
            return _samples_of_pillow(image)
    return _samples_of_array(image)


def bit_depth_of(samples: Samples) -> int:
    """Bits of a sample: 1 or 8."""
    return 1 if samples.dtype == np.bool_ else 8


def _read_named(data: bytes, name: str | None) -> Samples:
    try:
        with _pillow_errors():
            return _read(data)
    except UnsupportedImageError as error:
        if name is None:
            raise
        raise UnsupportedImageError(f"{name}: {error}") from error


def _read(data: bytes) -> Samples:
    # Loading alone does not look at the CRCs of a PNG; verifying uses the image up.
    with Image.open(io.BytesIO(data), formats=_READABLE) as image:
        image.verify()
    with Image.open(io.BytesIO(data), formats=_READABLE) as image:
        return _samples_of_pillow(image)


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Turn whatever Pillow raises on bad bytes into one kind of error."""
    try:
        yield
    except (UnsupportedImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsupportedImageError(
            f"{error} If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except UnidentifiedImageError as error:
        raise UnsupportedImageError(
            f"not an image of a format that can be read ({', '.join(_READABLE)}), or its header "
            "is damaged"
        ) from error
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files.
        raise UnsupportedImageError(f"damaged or truncated image: {error}") from error


def _samples_of_pillow(image: Image.Image) -> Samples:
    if kind := _unsupported_kind(image):
        raise UnsupportedImageError(
            f"unsupported kind of image: {kind} (Pillow mode {image.mode}); {_SUPPORTED}"
        )
    return _samples_of_array(np.array(image, order="C"))


def _unsupported_kind(image: Image.Image) -> str | None:
    """Name what keeps a Pillow image from being coded without loss, if anything does."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        return f"{frames} frames or pages"
    if kind := _kind_hidden_by_pillow(image):
        return kind
    if image.mode not in ("L", "RGB", "1"):
        return _KINDS.get(image.mode, image.mode)
    if "transparency" in image.info:
        return "one colour is transparent"
    return None


def _kind_hidden_by_pillow(image: Image.Image) -> str | None:
    """Name what Pillow drops without a word when it loads the image, if anything.

    16-bit RGB is given as 8-bit RGB, and a fourth sample of unknown meaning is left out. Only
    the file's tags (TIFF) and the parameters of a decoder that has not run yet tell of it.
    """
    if isinstance(image, TiffImageFile):
        if max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8:
            return "more than 8 bits a sample"
        if image.tag_v2.get(SAMPLESPERPIXEL, 1) > len(image.getbands()):
            return "extra samples of unknown meaning"
    elif isinstance(image, ImageFile) and any(_is_deep(image, tile[3]) for tile in image.tile):
        return "more than 8 bits a sample"
    return None


def _is_deep(image: ImageFile, decoder_args: object) -> bool:
    match image.format, decoder_args:
        case "PNG" | "PPM", str(raw_mode):  # such as "RGB;16B"
            return ";16" in raw_mode
        case "PPM", (str(), int(maximum)):
            return maximum > 255
    return False


def _samples_of_array(array: npt.NDArray[Any]) -> Samples:
    if not isinstance(array, np.ndarray):
        raise UnsupportedImageError(
            f"a {type(array).__name__} is no image: give a NumPy array or a Pillow image"
        )
    if array.dtype not in (np.uint8, np.bool_):
        raise UnsupportedImageError(f"samples of type {array.dtype}; {_SUPPORTED} (uint8)")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise UnsupportedImageError(
            f"an array of shape {array.shape}; supported: (height, width, 3) for RGB and "
            "(height, width) for gray"
        )
    if array.dtype == np.bool_ and array.ndim != 2:
        raise UnsupportedImageError("samples of one bit in three channels; bilevel images have one")
    if array.size == 0:
        raise UnsupportedImageError(f"an array of shape {array.shape} has no pixels")
    if array.dtype == np.bool_:
        # Pillow gives True as a byte of 255; NumPy takes any, but what is coded is 0 and 1.
        return np.ascontiguousarray(array, np.uint8).view(np.bool_)
    return np.ascontiguousarray(array)


def _format_name(target: str | os.PathLike[str] | BinaryIO, format: str | None) -> str:
    if format is not None:
        return format.lower().removeprefix(".")
    if isinstance(target, str | os.PathLike):
        return Path(target).suffix.lower().removeprefix(".")
    raise ValueError("format must be given to write to a stream")


def _encode(image: Image.Image, name: str) -> bytes:
    target = _target(name)
    if image.mode not in target.modes:
        kind = {"L": "gray", "RGB": "RGB", "1": "bilevel"}[image.mode]
        raise UnsupportedImageError(f"{name} does not hold {kind} images; {_writable(image.mode)}")
    # In memory first: TIFF seeks, and no half-written file is left behind.
    buffer = io.BytesIO()
    try:
        image.save(buffer, target.pillow_format, **target.options)
    except (OSError, ValueError, struct.error) as error:  # such as a side too long for WebP
        raise UnsupportedImageError(f"{name} does not hold this image: {error}") from error
    return buffer.getvalue()


def _target(name: str) -> _Target:
    if target := _TARGETS.get(name):
        return target
    if name in _LOSSY:
        raise UnsupportedImageError(f"{name} would lose bits; {_writable()}")
    raise UnsupportedImageError(f"unknown image format '{name}'; {_writable()}")


def _writable(mode: str | None = None) -> str:
    names = [name for name, target in _TARGETS.items() if mode is None or mode in target.modes]
    return f"lossless are: {', '.join(names)}"
