"""The levels that an image of 16 bits uses, where these are few: then their ranks are coded.

Images of 16 bits often come from 8, 10 or 12 bits that were scaled, and no mixture of logistics
sees that most levels never occur. A table of those that do, in front of the strips, makes
neighbours of them.
"""

import zlib
from typing import Self

import numpy as np
import numpy.typing as npt

from pixelcodec.container import LEVELS_MOST
from pixelcodec.errors import FormatError
from pixelcodec.pictures import Samples

_ALL = 2**16


class Levels:
    """Some of 65,536 levels, one at least."""

    def __init__(self, used: npt.NDArray[np.bool_]) -> None:
        """Take whether each level is used: bool [65536]."""
        self._used = used
        self._levels = np.flatnonzero(used).astype(np.uint16)
        self._ranks = (np.cumsum(used) - 1).astype(np.uint16)

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Those of ``samples``, uint16."""
        used = np.zeros(_ALL, np.bool_)
        for row in samples:  # as indices take four times the memory of samples
            used[row] = True
        return cls(used)

    def __len__(self) -> int:
        """Count of levels."""
        return len(self._levels)

    def ranks(self, samples: Samples) -> Samples:
        """How many levels lie below each of ``samples``: uint16 of their shape.

        Raises:
            ValueError: a sample is of another level.
        """
        if not self._used[samples].all():
            raise ValueError("a sample has a level that the image was said not to use")
        return self._ranks[samples]

    def samples(self, ranks: Samples) -> Samples:
        """What :meth:`ranks` was given.

        Raises:
            FormatError: there are not so many levels.
        """
        if ranks.max(initial=0) >= len(self):
            raise FormatError(f"damaged: a sample of a level beyond the {len(self):,} of the file")
        return self._levels[ranks]

    def pack(self) -> bytes:
        """A bit for each level, as a zlib stream."""
        return zlib.compress(np.packbits(self._used, bitorder="little").tobytes(), 9)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What :meth:`pack` gave.

        Raises:
            FormatError: it is something else.
        """
        inflater = zlib.decompressobj()
        try:
            bits = inflater.decompress(data, LEVELS_MOST)
        except zlib.error as error:
            raise FormatError(f"damaged: the levels: {error}") from error
        if len(bits) != _ALL // 8 or not any(bits) or not inflater.eof or inflater.unused_data:
            raise FormatError("damaged: the levels are not a bit for each of 65,536, one of them 1")
        return cls(np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little") > 0)
