"""Image files to pictures and back: nothing is converted, since that would lose bits unseen."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import jpeg, netpbm, png, tiff
from pixelcodec.pictures.guards import after_the_end, image_errors
from pixelcodec.pictures.metadata import label, saving_options
from pixelcodec.pictures.picture import Chunk, Picture
from pixelcodec.pictures.pillow import from_pillow, save

_NPY_MAGIC = np.lib.format.MAGIC_PREFIX

# Formats whose bit depth is known to be what Pillow shows. Others can hold more (JPEG 2000,
# AVIF), or would have Pillow run a program (EPS).
_BY_PILLOW = ("BMP", "GIF", "JPEG", "QOI", "WEBP")

_NAMES: dict[bytes | tuple[bytes, ...], str] = {
    png.SIGNATURE: "PNG",
    jpeg.MAGIC: "JPEG",
    tiff.MAGIC: "TIFF",
    _NPY_MAGIC: "NumPy",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"qoif": "QOI",
    netpbm.MAGIC: "Netpbm",
}

_LOSSY = {"jfif", "jpe", "jpeg", "jpg"}


def read_picture(source: str | os.PathLike[str] | BinaryIO) -> Picture:
    """Read an image file without any conversion, with its metadata.

    BMP, GIF, JPEG, NumPy's npy, PBM/PGM/PPM/PAM, PNG, QOI, TIFF and WebP are read. Of all but
    PNG, what can be written as PNG chunks is kept of the metadata: ICC profile, EXIF, XMP,
    resolution and comments; :attr:`Picture.not_kept` names what else GIF, JPEG, PNG and TIFF files
    have. BMPs of 16 bits a pixel are taken as Pillow scales them to 8 bits a sample: no two
    samples become one.

    Args:
        source: A path, or a file opened in binary mode, which is read from where it stands to
            its end (a pipe will do).

    Raises:
        OSError: The file cannot be opened (``FileNotFoundError`` and its like).
        UnsupportedImageError: It is no image of these formats, is damaged or truncated, is of a
            kind that is not supported (such as an animation), or has more pixels than Pillow's
            guard against decompression bombs allows: a warning up to twice
            ``PIL.Image.MAX_IMAGE_PIXELS``, this error above (and at once where warnings are
            errors).
        TypeError: ``source`` is neither a path nor a file.
    """
    if isinstance(source, str | os.PathLike):
        return _read_named(Path(source).read_bytes(), os.fspath(source))
    if not hasattr(source, "read"):
        raise TypeError(
            f"{source!r:.60} is no image file: give a path or a file opened in binary mode; "
            "for bytes in hand: io.BytesIO(data)"
        )
    name = getattr(source, "name", None)  # of a pipe it is a number
    return _read_named(source.read(), name if isinstance(name, str) else None)


def write_picture(
    picture: Picture, target: str | os.PathLike[str] | BinaryIO, format: str | None = None
) -> tuple[Chunk, ...]:
    """Write a picture to an image file that gives back exactly the same image.

    What was encoded is read again before it is written: samples, kind and colours must be equal.
    A palette may come back with more bits a sample, and filled up with colours.

    Args:
        picture: What to write.
        target: A path, or a file opened in binary mode (a pipe will do). Nothing is written to
            it unless the whole image could be encoded.
        format: ``bmp``, ``npy``, ``pam``, ``pbm``, ``pgm``, ``png``, ``ppm``, ``tif``, ``tiff``
            or ``webp``, in any case; by default the extension of the path.

    Returns:
        The metadata that the format cannot hold and that are lost; none in PNG.

    Raises:
        OSError: The file cannot be written.
        UnsupportedImageError: The format is lossy, is unknown, or cannot hold this image, or to
            read it again Pillow's guard against decompression bombs would have to be raised.
        ValueError: ``target`` is not a path and ``format`` is not given.
    """
    data, lost = _encode(picture, _format_name(target, format))
    if isinstance(target, str | os.PathLike):
        Path(target).write_bytes(data)
    else:
        target.write(data)
    return lost


def format_of(head: bytes) -> str | None:
    """Name the format of an image file by its first bytes; None where it is none that is read."""
    return next((name for magic, name in _NAMES.items() if head.startswith(magic)), None)


def check_format(target: str | os.PathLike[str] | BinaryIO, format: str | None = None) -> None:
    """Refuse what :func:`write_picture` would refuse whatever the image: before there is one.

    Args:
        target: As for :func:`write_picture`; nothing is written to it.
        format: As for :func:`write_picture`.

    Raises:
        UnsupportedImageError: The format is lossy or unknown.
        ValueError: ``target`` is not a path and ``format`` is not given.
    """
    _target(_format_name(target, format))


@dataclass(frozen=True)
class _Target:
    """A lossless file format: the kinds of pictures it may hold, and how to encode them."""

    encode: Callable[[Picture], bytes]
    kinds: frozenset[str] | None = None  # None: all, with transparent colours

    def may_hold(self, picture: Picture) -> bool:
        if self.kinds is None:
            return True
        return picture.kind in self.kinds and not _has_transparent_colours(picture)


def _bmp(picture: Picture) -> bytes:
    # Without a resolution, Pillow would make one up.
    return save(picture, "BMP", dpi=saving_options(picture).get("dpi", (0, 0)))


def _webp(picture: Picture) -> bytes:
    options = saving_options(picture)
    options.pop("dpi", None)
    return save(picture, "WEBP", lossless=True, exact=True, **options)


def _npy(picture: Picture) -> bytes:
    buffer = BytesIO()
    np.save(buffer, picture.to_array(), allow_pickle=False)
    return buffer.getvalue()


_GRAYS = frozenset({"bilevel", "8-bit gray", "16-bit gray"})
_SMALL_GRAYS = frozenset({"2-bit gray", "4-bit gray"})
_PALETTES = frozenset({"1-bit palette", "2-bit palette", "4-bit palette", "8-bit palette"})
_RGBS = frozenset({"8-bit RGB", "16-bit RGB"})
_ALPHAS = frozenset(
    f"{bits}-bit {colours} with alpha" for bits in (8, 16) for colours in ("gray", "RGB")
)

_COMMON = _GRAYS | _RGBS | _ALPHAS

_TIFF = _Target(tiff.write, _COMMON | _PALETTES)
_TARGETS = {
    "png": _Target(png.write),
    "tif": _TIFF,
    "tiff": _TIFF,
    "webp": _Target(_webp, frozenset({"8-bit RGB", "8-bit RGB with alpha"})),
    "bmp": _Target(_bmp, frozenset({"bilevel", "8-bit gray", "8-bit RGB"}) | _PALETTES),
    "pbm": _Target(lambda picture: netpbm.write(picture, "P4"), frozenset({"bilevel"})),
    "pgm": _Target(lambda picture: netpbm.write(picture, "P5"), _GRAYS | _SMALL_GRAYS),
    "ppm": _Target(lambda picture: netpbm.write(picture, "P6"), _RGBS),
    "pam": _Target(lambda picture: netpbm.write(picture, "P7"), _COMMON | _SMALL_GRAYS),
    "npy": _Target(_npy, _COMMON),
}


def _read_named(data: bytes, name: str | None) -> Picture:
    try:
        return _read(data)
    except UnsupportedImageError as error:
        if name is None:
            raise
        raise UnsupportedImageError(f"{name}: {error}") from error


@image_errors()
def _read(data: bytes) -> Picture:
    if data.startswith(png.SIGNATURE):
        return png.read(data)
    if data.startswith(tiff.MAGIC):
        return tiff.read(data)
    if data.startswith(netpbm.MAGIC):
        return netpbm.read(data)
    if data.startswith(_NPY_MAGIC):
        return Picture.from_array(np.load(BytesIO(data), allow_pickle=False))
    with Image.open(BytesIO(data), formats=_BY_PILLOW) as image:
        picture = from_pillow(image)
    if not data.startswith(jpeg.MAGIC):
        return picture
    further = after_the_end(len(data) - jpeg.size(data))
    return replace(picture, not_kept=(*picture.not_kept, *further))


def _format_name(target: str | os.PathLike[str] | BinaryIO, format: str | None) -> str:
    if format is not None:
        return format.lower().removeprefix(".")
    if isinstance(target, str | os.PathLike):
        return Path(target).suffix.lower().removeprefix(".")
    raise ValueError("format must be given to write to a stream")


def _encode(picture: Picture, name: str) -> tuple[bytes, tuple[Chunk, ...]]:
    target = _target(name)
    if not target.may_hold(picture):
        raise UnsupportedImageError(
            f"{name} does not hold {_describe(picture)}; {_writable(picture)}"
        )
    try:
        data = target.encode(picture)
    except (OSError, ValueError, struct.error) as error:  # such as a side too long for WebP
        raise UnsupportedImageError(f"{name} does not hold this image: {error}") from error
    if name == "png":
        return data, ()
    read_again = _read(data)
    if not _show_the_same(picture, read_again):
        raise UnsupportedImageError(
            f"{name} does not hold this image, which would come back as {read_again.kind}; use png"
        )
    kept = set(map(label, read_again.chunks))
    return data, tuple(chunk for chunk in picture.chunks if label(chunk) not in kept)


def _show_the_same(picture: Picture, other: Picture) -> bool:
    """Whether samples and their meaning are equal, whatever the metadata."""
    if not np.array_equal(picture.samples, other.samples):
        return False
    if picture.palette is None or other.palette is None:
        return picture.kind == other.kind
    return np.array_equal(picture.palette, other.palette[: len(picture.palette)])


def _has_transparent_colours(picture: Picture) -> bool:
    return picture.channels in (1, 3) and picture.find(b"tRNS") is not None


def _describe(picture: Picture) -> str:
    transparent = " with transparent colours" if _has_transparent_colours(picture) else ""
    return f"{picture.kind}{transparent} images"


def _target(name: str) -> _Target:
    if target := _TARGETS.get(name):
        return target
    if name in _LOSSY:
        raise UnsupportedImageError(f"{name} would lose bits; {_writable()}")
    if not name:
        raise UnsupportedImageError(f"the name has no suffix to say the format; {_writable()}")
    names = ", ".join(_TARGETS)
    raise UnsupportedImageError(f"{name} is not among the formats that can be written: {names}")


def _writable(picture: Picture | None = None) -> str:
    names = [
        name for name, target in _TARGETS.items() if picture is None or target.may_hold(picture)
    ]
    return f"lossless are: {', '.join(names)}"
