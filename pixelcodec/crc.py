"""Checksums of chunks, which tell their places: CRC-32 of what a chunk is, begun with where it is.

So a chunk that is elsewhere is as wrong as a damaged one; and whoever has the chunk can take it out
of its checksum, and is left with the place.
"""

import struct
import zlib
from functools import cache, reduce
from operator import xor

_PLACE = struct.Struct("<II")
_MASK = 2**32 - 1
_POLYNOMIAL = 0xEDB88320


def begun(head_crc: int, place: int) -> int:
    """The CRC-32 that a chunk goes on with.

    Args:
        head_crc: CRC-32 of magic and header.
        place: parts of strips, chunks ``P`` and ``S``, that stand before it.
    """
    return zlib.crc32(_PLACE.pack(head_crc, place & _MASK))


def place_of(head_crc: int, stored: int, chunk: bytes | memoryview) -> int:
    """The place of a chunk by its stored CRC; of a damaged one any number below 2**32.

    Args:
        head_crc: CRC-32 of magic and header.
        stored: what follows the chunk.
        chunk: its tag, length and payload.

    >>> place_of(7, zlib.crc32(b"any chunk", begun(7, 1234)), b"any chunk")
    1234
    """
    # A CRC is linear: what it differs by from that of place 0 is the place, moved on by all bytes
    # from its first to the last of the chunk.
    register = stored ^ zlib.crc32(chunk, begun(head_crc, 0))
    count, power = len(chunk) + 4, 0
    while count >> power:
        if count >> power & 1:
            register = _product(_bytes_back(power), register)
        power += 1
    return register


@cache
def _bytes_back(power: int) -> tuple[int, ...]:
    """The matrix, by columns, that takes 2**power zero bytes out of the register of a CRC."""
    if power == 0:
        return tuple(
            reduce(lambda register, _: _bit_back(register), range(8), 1 << bit) for bit in range(32)
        )
    half = _bytes_back(power - 1)
    return tuple(_product(half, column) for column in half)


def _bit_back(register: int) -> int:
    """Undo ``register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)``."""
    lowest = register >> 31
    return (register ^ _POLYNOMIAL * lowest) << 1 & _MASK | lowest


def _product(matrix: tuple[int, ...], vector: int) -> int:
    """Of a matrix, by columns, and a vector of 32 bits."""
    return reduce(xor, (column for bit, column in enumerate(matrix) if vector >> bit & 1), 0)
