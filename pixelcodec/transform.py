"""What is done to samples before they are coded, and undone after.

Indices of a palette become ranks in the order of its colours (:mod:`pixelcodec.palette_order`).
Samples of 16 bits become the ranks of their levels, where few are used (:mod:`pixelcodec.levels`).

Colours become three planes, as models of 16 bits code gray. Such a model sees one plane alone, so
what the planes have in common is taken out before: red and blue are coded less green, each where
that is expected to take fewer bits. Differences are modulo 2**16, with 2**15 for none. It is the
simplest of the transforms that are known to help ("subtract green" of WebP lossless); lifting ones
(YCoCg-R) save no more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixelcodec import metadata
from pixelcodec.container import BLUE_LESS_GREEN, PLANES, RED_LESS_GREEN, Start
from pixelcodec.levels import Levels
from pixelcodec.palette_order import PaletteOrder
from pixelcodec.pictures import Samples

_GREEN = 1
_LESS_GREEN = ((0, RED_LESS_GREEN), (2, BLUE_LESS_GREEN))
_NONE = np.uint16(2**15)

_LOOKED_AT = 2**18
"""Pixels, about, by which transforms are judged."""


@dataclass(frozen=True)
class Transform:
    """Of all channels but alpha.

    Attributes:
        planes: as :attr:`pixelcodec.container.Header.planes`; 0: none.
        ranking: by which ranks take the place of samples; None: they stay.
    """

    planes: int = 0
    ranking: Levels | PaletteOrder | None = None

    @classmethod
    def of(cls, start: Start) -> "Transform":
        """That of a file.

        Raises:
            FormatError: its levels are damaged, or its palette is missing.
        """
        if start.header.by_palette:
            return cls(ranking=PaletteOrder(metadata.unpack(start.metadata, 1, 8)))
        return cls(start.header.planes, Levels.unpack(start.levels) if start.levels else None)

    def forward(self, colours: Samples) -> Samples:
        """What is coded.

        Args:
            colours: uint8 or uint16 [..., channels without alpha].

        Returns:
            The same shape, maybe the same array.

        Raises:
            ValueError: a sample has a level that is not used.
        """
        coded = self.ranking.ranks(colours) if self.ranking else colours
        return _separated(coded, self.planes) if self.planes else coded

    def back(self, coded: Samples) -> Samples:
        """What :meth:`forward` was given.

        Raises:
            FormatError: there are not so many levels.
        """
        colours = _joined(coded, self.planes) if self.planes else coded
        return self.ranking.samples(colours) if self.ranking else colours


NONE = Transform()
"""By which samples are coded as they are."""


def suited(colours: Samples, planes: int, is_whole: bool) -> Transform:
    """The transform by which ``colours`` take the fewest bits, about.

    What is compared is the logarithm of what the median predictor misses.

    Args:
        colours: uint16 [rows, width, channels without alpha].
        planes: not 0 if some must be chosen.
        is_whole: whether these are all samples of the image: then levels may be told.
    """
    height, width = colours.shape[:2]
    rows = max(2, _LOOKED_AT // width)
    top = max(0, (height - rows) // 2)
    part = colours[top : top + rows]
    share = len(part) / height
    plain = _best_planes(part) if planes else 0
    if not is_whole:
        return Transform(plain)
    levels = Levels.of(colours)
    ranks = levels.ranks(part)
    compact = _best_planes(ranks) if planes else 0
    saved = _missed(Transform(plain).forward(part)) - _missed(Transform(compact).forward(ranks))
    told = 8 * len(levels.pack())
    return Transform(compact, levels) if saved / share > told else Transform(plain)


def _best_planes(colours: Samples) -> int:
    less, found = _separated(colours, PLANES[-1]), PLANES[0]
    for channel, flag in _LESS_GREEN:
        if _missed(less[..., channel, None]) < _missed(colours[..., channel, None]):
            found |= flag
    return found


def _separated(colours: Samples, planes: int) -> Samples:
    found = colours.copy()
    for channel in _differences(planes):
        found[..., channel] -= colours[..., _GREEN] - _NONE
    return found


def _joined(coded: Samples, planes: int) -> Samples:
    found = coded.copy()
    for channel in _differences(planes):
        found[..., channel] += coded[..., _GREEN] - _NONE
    return found


def _differences(planes: int) -> Iterator[int]:
    return (channel for channel, flag in _LESS_GREEN if planes & flag)


def _missed(samples: Samples) -> float:
    """Bits of the residuals of the median predictor, about: of [rows, width, channels]."""
    values = np.pad(samples, ((1, 0), (1, 0), (0, 0)), "edge").astype(np.int32)
    north, west, both = values[:-1, 1:], values[1:, :-1], values[:-1, :-1]
    low, high = np.minimum(north, west), np.maximum(north, west)
    median = np.clip(north + west - both, low, high)
    return float(np.log2(1 + abs(values[1:, 1:] - median)).sum())
