"""Functions in the style of the imagecodecs package, for programs that call its codecs by name.

>>> import numpy as np
>>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
>>> data = pxc_encode(image, model="photo-s")
>>> pxc_check(data), bool((pxc_decode(data) == image).all())
(True, True)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Unpack

import numpy as np
import numpy.typing as npt

import pixelcodec
from pixelcodec import container
from pixelcodec.effort import Level
from pixelcodec.errors import PixelcodecError, UnsupportedImageError
from pixelcodec.stream import Decoding, Encoding

BytesLike = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
"""A file in memory."""


class PXC:
    """Constants of the codec.

    Attributes:
        available: whether it is there.
    """

    available = True


class PxcError(RuntimeError):
    """A ``.pxc`` file cannot be written or read."""


def pxc_version() -> str:
    """Return the version of the codec."""
    return f"pixelcodec {pixelcodec.__version__}"


def pxc_check(data: BytesLike, /) -> bool | None:
    """Return whether ``data`` begins as a ``.pxc`` file does."""
    return bytes(data[: len(container.MAGIC)]) == container.MAGIC


def pxc_encode(
    data: npt.ArrayLike,
    /,
    level: Level | None = None,
    *,
    numthreads: int | None = None,
    out: type[bytearray] | bytearray | memoryview | None = None,
    **how: Unpack[Encoding],
) -> bytes | bytearray | memoryview:
    """Return an image as a ``.pxc`` file.

    Args:
        data: uint8 or uint16 [height, width] or [height, width, 1 to 4 channels], or bool
            [height, width].
        level: effort, 1 (fastest) to 9 (smallest), or ``max``, see :func:`pixelcodec.encode`.
        numthreads: CPU threads; one by default.
        out: where the file goes: ``bytearray`` for a new one, or a writable buffer of enough bytes.
        how: other keywords of :func:`pixelcodec.encode`.

    Returns:
        The file: new bytes, a new bytearray, or the part of the buffer that was written.

    Raises:
        ValueError: ``data`` is an image of another kind, another argument is out of its range, or
            the buffer is too small.
        PxcError: the model is not there, does not suit the image, or cannot run.
    """
    how = {"effort": level, "threads": numthreads, **how}
    with _errors():
        found = pixelcodec.encode(np.asanyarray(data), **how)
    if out is None:
        return found
    return bytearray(found) if isinstance(out, type) else _filled(out, found)


def pxc_decode(
    data: BytesLike,
    /,
    index: Literal[0] | None = None,
    *,
    numthreads: int | None = None,
    out: npt.NDArray[Any] | None = None,
    **how: Unpack[Decoding],
) -> npt.NDArray[Any]:
    """Return the image in a ``.pxc`` file.

    Args:
        data: the file.
        index: of the image; there is but one.
        numthreads: CPU threads; one by default.
        out: an array of the image's shape and dtype, which is filled.
        how: other keywords of :func:`pixelcodec.decode`.

    Returns:
        ``out``, or a new array, as :func:`pixelcodec.decode` gives it. Of a palette image these
        are the indices.

    Raises:
        IndexError: there is no image ``index``.
        PxcError: ``data`` is not a whole, undamaged file, or its model is not there or cannot run.
        ValueError: ``out`` has another shape or dtype.
    """
    if index not in (None, 0):
        raise IndexError(f"image {index} of a .pxc file, which holds one")
    how = {"threads": numthreads, **how}
    with _errors():
        image = pixelcodec.decode(bytes(data), **how)
    if out is None:
        return image
    if (out.shape, out.dtype) != (image.shape, image.dtype):
        raise ValueError(
            f"out is {out.dtype} {out.shape}; the image is {image.dtype} {image.shape}"
        )
    out[...] = image
    return out


def _filled(buffer: bytearray | memoryview, data: bytes) -> memoryview:
    """The beginning of ``buffer``, with ``data`` in it."""
    view = memoryview(buffer).cast("B")
    if len(view) < len(data):
        raise ValueError(f"out has {len(view)} bytes; the file has {len(data)}")
    view[: len(data)] = data
    return view[: len(data)]


@contextmanager
def _errors() -> Iterator[None]:
    """Raise what imagecodecs would."""
    try:
        yield
    except UnsupportedImageError as error:
        raise ValueError(str(error)) from error
    except PixelcodecError as error:
        raise PxcError(str(error)) from error
