"""A codec for numcodecs, by which zarr 2 and others compress arrays of images without loss.

>>> import numpy as np
>>> from numcodecs import get_codec
>>> codec = get_codec({"id": "pixelcodec", "model": "photo-s"})
>>> images = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)
>>> chunk = codec.encode(images)
>>> bool((codec.decode(chunk, out=np.empty_like(images)) == images).all())
True

numcodecs finds it by its name in every process: nothing needs to be imported.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

import pixelcodec
from pixelcodec.errors import UnsupportedImageError

if TYPE_CHECKING:
    from pixelcodec.effort import Level

DTYPES = (np.dtype(np.bool_), np.dtype(np.uint8), np.dtype("<u2"))
"""What images are made of."""

_CHANNELS_MOST = 4

_MOST = 65535
"""Rows of a strip, and the side of a tile, that a file can have."""


class Pixelcodec(Codec):  # type: ignore[misc]  # numcodecs has no types
    """Compress chunks of images.

    A chunk is [..., height, width], or [..., height, width, channels] of 1 (gray), 2 (gray, alpha),
    3 (RGB) or 4 (RGB, alpha) channels; a last axis of more than 4 is the width. Channels that stand
    elsewhere are coded as so many gray images: without loss too, but larger.

    All images of a chunk are in one file, under one another. Several are coded side by side, as
    tiles that know nothing of each other: that is faster to decode than one after the other, and
    smaller than as one tall image.

    The configuration is kept with the array, and holds what is needed to write. Device and threads
    are no part of it: CUDA is used where there is one, and one thread for each chunk in work.
    """

    codec_id = "pixelcodec"

    def __init__(
        self,
        model: str | None = None,
        strip_rows: int | None = None,
        tile: int | None = None,
        restart: bool = False,
        effort: "Level | None" = None,
        discard_invisible: bool = False,
        verify: bool = False,
    ) -> None:
        """Take what :func:`pixelcodec.encode` takes.

        Args:
            model: name of an installed model, or path of a ``.safetensors`` file, for uint8;
                ``standard`` for PNG or WebP inside. By default what suits the kind of image.
            strip_rows: rows of a strip.
            tile: side of the square tiles, at most 65,535; by default the height of an image where
                a chunk has several that are not higher, else what the model needs. 0: none.
            restart: whether strips are independent.
            effort: 1 (fastest) to 9 (smallest), or ``max``.
            discard_invisible: whether colours may change where alpha is 0.
            verify: whether each chunk is decoded as it is written, and compared.

        Raises:
            ValueError: ``effort`` or ``strip_rows`` is out of its range.
        """
        check_configuration(strip_rows, effort)
        self.model = model
        self.strip_rows = strip_rows
        self.tile = tile
        self.restart = restart
        self.effort = effort
        self.discard_invisible = discard_invisible
        self.verify = verify

    def encode(self, buf: Any) -> bytes:
        """Compress a chunk.

        Args:
            buf: array of bool, uint8 or little-endian uint16 of at least 2 axes. Of one in Fortran
                order the axes are taken in reverse, as its memory has them.

        Returns:
            A ``.pxc`` file.

        Raises:
            UnsupportedImageError: it is no array of images, or not of those that the model codes.
            ModelError: as :func:`pixelcodec.encode`.
        """
        from pixelcodec.pictures.picture import refuse_mask  # which opening does not need

        refuse_mask(buf)
        images = _images(ensure_ndarray(buf))
        count, height, *row = images.shape
        return pixelcodec.encode(
            images.reshape(count * height, *row),
            model=self.model,
            strip_rows=self.strip_rows,
            tile=height if self.tile is None and count > 1 and height <= _MOST else self.tile,
            restart=self.restart,
            effort=self.effort,
            discard_invisible=self.discard_invisible,
            verify=self.verify,
        )

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Restore a chunk, bit for bit, but for what ``discard_invisible`` let go.

        Args:
            buf: what :meth:`encode` gave.
            out: array or writable buffer of as many bytes as the chunk had, which is filled.

        Returns:
            ``out``; or a new array [rows, width] or [rows, width, channels], in which the images
            are under one another, as the shape of the chunk is not in the file.

        Raises:
            FormatError: it is damaged.
            ModelError: the model that wrote it is not installed.
        """
        image = pixelcodec.decode(ensure_bytes(buf), model=self._own_model)
        little = image.astype(image.dtype.newbyteorder("<"), copy=False)
        return ndarray_copy(little, out)

    @property
    def _own_model(self) -> str | None:
        """The model that only this configuration knows: one that is installed, the file names."""
        return self.model if self.model and self.model.endswith(".safetensors") else None


def check_configuration(strip_rows: int | None, effort: "Level | None") -> None:
    """Refuse what no chunk could be written with, before it is kept with an array.

    The model is not looked for: arrays of one that is not installed may be opened, and chunks that
    are PNG or WebP inside be read.

    Raises:
        ValueError: a number is out of its range.
    """
    if strip_rows is not None and not 1 <= strip_rows <= _MOST:
        raise ValueError(f"strip_rows {strip_rows}, allowed: 1 to {_MOST}")
    if effort is not None:
        from pixelcodec.effort import effort_of  # which imports torch, and opening need not

        effort_of(effort)


def check_images(axes: int, dtype: np.dtype[Any]) -> None:
    """Refuse an array of ``axes`` that is not made of images.

    Raises:
        UnsupportedImageError: it is not.
    """
    if dtype not in DTYPES:
        raise UnsupportedImageError(
            f"an array of {dtype.str}; pixelcodec compresses images of bool, uint8 and "
            "little-endian uint16, other data need another codec"
        )
    if axes < 2:
        raise UnsupportedImageError(
            f"an array of {axes} axes; images are (..., height, width) or "
            "(..., height, width, channels)"
        )


def _images(chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The images of a chunk: [images, height, width], or [images, height, width, channels]."""
    check_images(chunk.ndim, chunk.dtype)
    if chunk.size == 0:
        raise UnsupportedImageError(f"a chunk of shape {chunk.shape} has no pixels")
    array = np.ascontiguousarray(chunk.T if chunk.flags.fnc else chunk)
    has_channels = array.ndim > 2 and array.shape[-1] <= _CHANNELS_MOST
    height, *row = array.shape[-3 if has_channels else -2 :]
    if array.dtype == np.bool_:  # bilevel images have one channel
        row = [math.prod(row)]
    return array.reshape(-1, height, *row)
