"""Pictures of every kind that PNG knows, and PNG files written by nothing but zlib."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixelcodec.pictures import Chunk, Picture

Samples = npt.NDArray[Any]

# The pixels of each pass: first row, first column, and the steps to the next ones.
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


@dataclass(frozen=True)
class Kind:
    """What PNG's colour type and bit depth say."""

    name: str
    bit_depth: int
    channels: int
    colour_type: int

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint16 if self.bit_depth == 16 else np.uint8

    @property
    def largest(self) -> int:
        return (1 << self.bit_depth) - 1

    @property
    def palette(self) -> tuple[Chunk, ...]:
        """The palette that a picture must have: as many colours as its bits can name."""
        if self.colour_type != 3:
            return ()
        return (Chunk(b"PLTE", bytes(value * 7 % 256 for value in range(3 << self.bit_depth))),)

    def picture(self, *chunks: Chunk, height: int = 5, width: int = 7) -> Picture:
        """Return a picture of noise."""
        shape = (height, width, self.channels)
        noise = np.random.default_rng(1).integers(0, self.largest, shape, self.dtype, endpoint=True)
        return Picture(noise, self.bit_depth, (*self.palette, *chunks))

    def samples(self) -> st.SearchStrategy[Samples]:
        """Return any samples of small pictures."""
        shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(self.channels))
        values = st.integers(0, self.largest)
        return shapes.flatmap(lambda shape: arrays(self.dtype, shape, elements=values))


KINDS = (
    Kind("bilevel", 1, 1, 0),
    Kind("2-bit gray", 2, 1, 0),
    Kind("4-bit gray", 4, 1, 0),
    Kind("8-bit gray", 8, 1, 0),
    Kind("16-bit gray", 16, 1, 0),
    Kind("8-bit RGB", 8, 3, 2),
    Kind("16-bit RGB", 16, 3, 2),
    Kind("1-bit palette", 1, 1, 3),
    Kind("2-bit palette", 2, 1, 3),
    Kind("4-bit palette", 4, 1, 3),
    Kind("8-bit palette", 8, 1, 3),
    Kind("8-bit gray with alpha", 8, 2, 4),
    Kind("16-bit gray with alpha", 16, 2, 4),
    Kind("8-bit RGB with alpha", 8, 4, 6),
    Kind("16-bit RGB with alpha", 16, 4, 6),
)
BY_NAME = {kind.name: kind for kind in KINDS}


def png_file(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these chunks and IEND, whatever they are."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + type + data + struct.pack(">I", zlib.crc32(type + data))
        for type, data in (*chunks, (b"IEND", b""))
    )


def header(
    kind: Kind, height: int = 1, width: int = 1, interlaced: bool = False
) -> tuple[bytes, bytes]:
    """Return IHDR."""
    return b"IHDR", struct.pack(
        ">2I5B", width, height, kind.bit_depth, kind.colour_type, 0, 0, interlaced
    )


def pixels(samples: Samples, bit_depth: int, interlaced: bool = False) -> tuple[bytes, bytes]:
    """Return IDAT of unfiltered rows: samples packed into bytes, the highest bit first."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        bits = part[..., None] >> np.arange(bit_depth - 1, -1, -1) & 1
        if part.size:  # an empty pass is not there at all
            packed = np.packbits(bits.reshape(len(part), -1).astype(np.uint8), axis=1)
            rows += b"".join(b"\0" + row.tobytes() for row in packed)
    return b"IDAT", zlib.compress(rows)


def png_of(picture: Picture, interlaced: bool = False, more: Sequence[Chunk] = ()) -> bytes:
    """Return a PNG of a picture whose chunks stand before the pixels, without any library."""
    kind = BY_NAME[picture.kind]
    return png_file(
        header(kind, picture.height, picture.width, interlaced),
        *((chunk.type, chunk.data) for chunk in (*picture.chunks, *more)),
        pixels(picture.samples, picture.bit_depth, interlaced),
    )
