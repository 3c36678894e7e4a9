"""Metadata of an image in a ``.pxc`` file: PNG's own chunks, one after the other.

Each is 4 bytes with the length of its data, little-endian, 4 bytes with its type, and the data. An
``IDAT`` without data marks where the pixels stood.
"""

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from pixelcodec.container import METADATA_MOST
from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.pictures import Chunk, Picture

CHUNKS_MOST = 2**16
"""Of a file: empty ones would be millions in what :data:`METADATA_MOST` allows."""

_HEAD = struct.Struct("<I4s")
_PIXELS = b"IDAT"


def pack(chunks: Iterable[Chunk]) -> bytes:
    """Chunks to bytes: those that stand after the pixels come last.

    Raises:
        UnsupportedImageError: they are more than a file holds.
    """
    found, after, count = list[bytes](), False, 0
    for chunk in chunks:
        if chunk.after and not after:
            found.append(_HEAD.pack(0, _PIXELS))
        after = chunk.after
        found += [_HEAD.pack(len(chunk.data), chunk.type), chunk.data]
        count += 1
    if count > CHUNKS_MOST:
        raise UnsupportedImageError(f"{count:,} chunks of metadata; a file holds {CHUNKS_MOST:,}")
    data = b"".join(found)
    if len(data) > METADATA_MOST:
        raise UnsupportedImageError(
            f"{len(data):,} bytes of metadata; a file holds {METADATA_MOST:,}"
        )
    return data


def unpack(data: bytes, channels: int, bit_depth: int) -> tuple[Chunk, ...]:
    """Bytes to chunks of an image of so many ``channels`` and bits a sample.

    Raises:
        FormatError: they are not what :func:`pack` gives, or not those of such an image.
    """
    dtype = np.uint16 if bit_depth == 16 else np.uint8
    try:
        return Picture(np.zeros((1, 1, channels), dtype), bit_depth, tuple(_chunks(data))).chunks
    except UnsupportedImageError as error:
        raise FormatError(f"damaged metadata: {error}") from error


def _chunks(data: bytes) -> Iterator[Chunk]:
    offset, count, after = 0, 0, False
    while offset < len(data):
        if len(data) - offset < _HEAD.size:
            raise FormatError(f"damaged: the metadata end inside a chunk, at byte {offset}")
        length, kind = _HEAD.unpack_from(data, offset)
        begin, offset = offset + _HEAD.size, offset + _HEAD.size + length
        if offset > len(data):
            raise FormatError(f"damaged: metadata {kind!r} claim {length} bytes")
        if kind != _PIXELS:
            count += 1
            if count > CHUNKS_MOST:
                raise FormatError(f"damaged: more than {CHUNKS_MOST:,} chunks of metadata")
            yield Chunk(kind, data[begin:offset], after)
        elif length or after:
            raise FormatError("damaged: the metadata have pixels")
        else:
            after = True
