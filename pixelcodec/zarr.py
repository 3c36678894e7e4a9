"""A codec for zarr 3, that compresses chunks of images without loss.

>>> import numpy as np, zarr
>>> images = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)
>>> array = zarr.create_array(
...     {}, data=images, chunks=(1, 4, 4, 3), compressors=None, serializer=Pixelcodec("photo-s")
... )
>>> bool((array[:] == images).all())
True

zarr finds it by its name in every process that reads the array: nothing needs to be imported.
Arrays in zarr's format 2 are for :class:`pixelcodec.numcodecs.Pixelcodec`.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.buffer import Buffer, NDBuffer
from zarr.abc.codec import ArrayBytesCodec

from pixelcodec import numcodecs

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec

    from pixelcodec.effort import Level


@dataclass(frozen=True)
class Pixelcodec(ArrayBytesCodec):
    """Turns chunks of images into bytes: give it as ``serializer``, without ``compressors``.

    What shapes chunks can have, and how their images are coded, says
    :class:`pixelcodec.numcodecs.Pixelcodec`. ``TransposeCodec`` as a filter brings channels last.

    Attributes:
        model: as there, like all that follow.
        strip_rows: likewise.
        tile: likewise.
        restart: likewise.
        effort: likewise.
        discard_invisible: likewise.
        verify: likewise.
    """

    model: str | None = None
    strip_rows: int | None = None
    tile: int | None = None
    restart: bool = False
    effort: "Level | None" = None
    discard_invisible: bool = False
    verify: bool = False

    is_fixed_size = False

    def __post_init__(self) -> None:
        """Refuse what no chunk could be written with.

        Raises:
            ValueError: ``effort`` or ``strip_rows`` is out of its range.
        """
        numcodecs.check_configuration(self.strip_rows, self.effort)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make it of its metadata."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return its metadata."""
        return {"name": numcodecs.Pixelcodec.codec_id, "configuration": asdict(self)}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are not made of images, when they are created.

        Raises:
            UnsupportedImageError: this is one.
        """
        numcodecs.check_images(len(shape), dtype.to_native_dtype().newbyteorder("<"))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: "ArraySpec") -> int:
        """Not known before, as files of the same shape differ in size; the error tells zarr so."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: "ArraySpec") -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: "ArraySpec") -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: "ArraySpec") -> Buffer:
        array = chunk_data.as_numpy_array()
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return chunk_spec.prototype.buffer.from_bytes(self._codec.encode(little))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: "ArraySpec") -> NDBuffer:
        little = chunk_spec.dtype.to_native_dtype().newbyteorder("<")
        found = self._codec.decode(chunk_data.to_bytes(), out=np.empty(chunk_spec.shape, little))
        return chunk_spec.prototype.nd_buffer.from_numpy_array(found)

    @property
    def _codec(self) -> numcodecs.Pixelcodec:
        return numcodecs.Pixelcodec(**asdict(self))
