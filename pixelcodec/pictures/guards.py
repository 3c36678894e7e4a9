"""What every reader of images needs: errors of one kind, and a limit on what files may claim."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from pixelcodec.errors import UnsupportedImageError

_READABLE = "BMP, GIF, JPEG, NetPBM, NPY, PNG, QOI, TIFF, WebP"
_SUPPORTED = (
    "supported: bilevel; palette; gray and RGB of 8 and 16 bits, with and without alpha; gray of 2 "
    "and 4 bits"
)


def unsupported(kind: str) -> UnsupportedImageError:
    """Make the error that refuses an undamaged image by what it is."""
    return UnsupportedImageError(f"unsupported kind of image: {kind}; {_SUPPORTED}")


def several(frames: int) -> UnsupportedImageError:
    """Make the error that refuses an animation, or a file of several pages."""
    return unsupported(f"{frames} frames or pages")


def after_the_end(size: int) -> tuple[str, ...]:
    """Name so many bytes that follow an image in its file; empty for none."""
    return (f"{size:,} bytes after the end",) if size else ()


@contextmanager
def image_errors() -> Iterator[None]:
    """Turn whatever a library raises on bad bytes into an :class:`UnsupportedImageError`."""
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
            f"not an image of a format that can be read ({_READABLE}), or its header is damaged"
        ) from error
    except Exception as error:  # Decoders raise nearly every type on damaged files.
        raise UnsupportedImageError(f"damaged or truncated image: {error}") from error


def refuse_bomb(width: int, height: int) -> None:
    """Keep to Pillow's limit where it is not Pillow that decodes: a few bytes may claim terabytes.

    Raises:
        PIL.Image.DecompressionBombError: More than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
            From that limit on, it is a ``DecompressionBombWarning``.
    """
    limit = Image.MAX_IMAGE_PIXELS
    pixels = width * height
    if limit is None or pixels <= limit:
        return
    message = f"Image size ({pixels} pixels) exceeds limit of {limit} pixels"
    if pixels > 2 * limit:
        raise Image.DecompressionBombError(
            f"{message} twice, could be decompression bomb DOS attack."
        )
    message = f"{message}, could be decompression bomb DOS attack."
    warnings.warn(message, Image.DecompressionBombWarning, stacklevel=2)


def silence(library: str) -> None:
    """Keep Python from printing what a library logs, where the program has set up no logging."""
    logging.getLogger(library).addHandler(logging.NullHandler())
