"""Colours of 16 bits as three planes, for models that code gray.

Such a model sees one plane alone, so what the planes have in common is taken out before: red and
blue are coded less green, each where that is expected to take fewer bits. Differences are modulo
2**16, with 2**15 for none. It is the simplest of the transforms that are known to help ("subtract
green" of WebP lossless); lifting ones (YCoCg-R) save no more.
"""

from collections.abc import Iterator

import numpy as np

from pixelcodec.container import BLUE_LESS_GREEN, RED_LESS_GREEN, SEPARATE
from pixelcodec.pictures import Samples

_GREEN = 1
_LESS_GREEN = ((0, RED_LESS_GREEN), (2, BLUE_LESS_GREEN))
_NONE = np.uint16(2**15)

_LOOKED_AT = 2**18
"""Pixels, about, by which planes are judged."""


def separated(samples: Samples, planes: int) -> Samples:
    """What is coded of colours.

    Args:
        samples: uint16 [rows, width, 3 or 4].
        planes: as a header has them, not 0.

    Returns:
        The same shape, a copy.
    """
    found = samples.copy()
    for channel in _differences(planes):
        found[..., channel] -= samples[..., _GREEN] - _NONE
    return found


def joined(found: Samples, planes: int) -> Samples:
    """What :func:`separated` was given, made in place."""
    for channel in _differences(planes):
        found[..., channel] += found[..., _GREEN] - _NONE
    return found


def _differences(planes: int) -> Iterator[int]:
    return (channel for channel, flag in _LESS_GREEN if planes & flag)


def suited(samples: Samples) -> int:
    """The planes by which ``samples`` (uint16 [rows, width, 3 or 4]) take the fewest bits, about.

    What is compared is the logarithm of what the median predictor misses.
    """
    height, width = samples.shape[:2]
    rows = max(2, _LOOKED_AT // width)
    top = max(0, (height - rows) // 2)
    part = samples[top : top + rows]
    less = separated(part, SEPARATE | RED_LESS_GREEN | BLUE_LESS_GREEN)
    planes = SEPARATE
    for channel, flag in _LESS_GREEN:
        if _missed(less[..., channel]) < _missed(part[..., channel]):
            planes |= flag
    return planes


def _missed(plane: Samples) -> float:
    values = np.pad(plane, ((1, 0), (1, 0)), "edge").astype(np.int64)
    north, west, both = values[:-1, 1:], values[1:, :-1], values[:-1, :-1]
    low, high = np.minimum(north, west), np.maximum(north, west)
    median = np.clip(north + west - both, low, high)
    return float(np.log2(1 + abs(values[1:, 1:] - median)).sum())
