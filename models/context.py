"""What the network sees of the image: the centred causal neighbourhood, in exact integers.

Training and coding call the same function, so there is one definition of the network's input. A
neighbour outside the image holds :data:`OUTSIDE`, a value chosen so that no rule for borders is
needed anywhere:

* the median predictor of a pixel whose N (or W) is outside is its W (or N), and of a pixel
  that has neither is ``OUTSIDE & 255 = 128``;
* a difference to an outside neighbour is above 255, where the companding table holds 0.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError
from pixelcodec.models.program import Block

CHANNELS = 3

OUTSIDE = 640
"""Sample value of a neighbour that is not in the image."""

RUNS: tuple[tuple[int, int, int], ...] = ((3, -3, 3), (2, -3, 3), (1, -3, 1), (0, -3, -1))
"""The neighbourhood: for each row ``dy`` above the pixel, columns ``first..last`` from it.

22 pixels. At most ``2*dy - 1`` columns reach right, so a wavefront of slope 2 decodes it.
"""

TAPS = np.array([(dy, dx) for dy, first, last in RUNS for dx in range(first, last + 1)])
W, N, NW = (TAPS.tolist().index(tap) for tap in ([0, -1], [1, 0], [1, -1]))

FEATURES = CHANNELS * (len(TAPS) + 1)
"""Inputs of the network: 22 neighbours and the centre, of three channels."""

COMPANDING_KNEE = 8
"""Differences well below this are spread, those above compressed (a mu-law)."""

ZERO_DIFFERENCE = 255
"""Where in the companding table a difference of 0 stands."""

Integers = npt.NDArray[Any]


def companding_table() -> npt.NDArray[np.int8]:
    """Int8 [1024]: entry ``255 + d`` holds the companded difference ``d``.

    ``round(127 * log2(1 + |d|/8) / log2(1 + 255/8))`` with the sign of ``d``, and 0 where ``d``
    is above 255 (an outside neighbour). Small differences keep their resolution in 8 bits and
    large ones their order. Shipped with each model, so never recomputed by a decoder.
    """
    difference = np.arange(1024) - ZERO_DIFFERENCE
    companded = np.log2(1 + abs(difference) / COMPANDING_KNEE)
    companded = np.round(127 * companded / np.log2(1 + 255 / COMPANDING_KNEE))
    table = np.where(abs(difference) > 255, 0, np.sign(difference) * companded)
    return table.astype(np.int8)


def check_table(table: Tensor) -> None:
    """Refuse what is not a companding table.

    Raises:
        ModelError: it is not int8 [1024] within -127..127 with a 0 at :data:`ZERO_DIFFERENCE`.
    """
    if table.dtype != torch.int8 or table.shape != (1024,):
        raise ModelError("a companding table must be 1024 int8 numbers")
    if int(table.min()) < -127 or int(table[ZERO_DIFFERENCE]) != 0:
        raise ModelError("a companding table must be within -127..127, and 0 for a difference of 0")


@dataclass(frozen=True)
class Context:
    """The network's view of n pixels.

    Attributes:
        centre: int16 [n, 3], the median (MED) prediction of each channel, 0..255.
        features: int8 [n, FEATURES]: companded differences of the neighbours to the centre,
            neighbour by neighbour, then the centre itself minus 128.
    """

    centre: npt.NDArray[np.int16]
    features: npt.NDArray[np.int8]


@cache
def shifts(slope: int) -> Integers:
    """Where neighbours lie in storage of a ``slope``, from the pixel: int64 [22, 2]."""
    return np.stack([-TAPS[:, 0], TAPS[:, 1] - slope * TAPS[:, 0]], 1)


def centred_context(storage: Integers, block: Block, table: Integers) -> Context:
    """The context of the pixels of ``block``, image by image and row by row.

    Args:
        storage: int16 [images, rows, columns, 3], samples 0..255 or :data:`OUTSIDE`.
        block: the pixels; all their neighbours lie in ``storage``.
        table: int8 [1024] as :func:`companding_table` gives it.
    """
    count = len(storage) * block.rows * block.span
    centre = np.empty((count, CHANNELS), np.int16)
    features = np.empty((count, FEATURES), np.int8)
    _gather(storage, *block.place, shifts(block.slope), table, centre, features)
    return Context(centre, features)


@compiled
def median(west: Any, north: Any, north_west: Any) -> Any:
    """The median predictor of JPEG-LS: that of both neighbours and of the plane through all."""
    low, high = min(west, north), max(west, north)
    return max(low, min(high, west + north - north_west))


@compiled
def _gather(
    storage: Integers,
    first_row: int,
    first_column: int,
    rows: int,
    span: int,
    shifts: Integers,
    table: Integers,
    centre: Integers,
    features: Integers,
) -> None:
    taps = len(shifts)
    pixel = 0
    for image in storage:
        for row in range(first_row, first_row + rows):
            for column in range(first_column, first_column + span):
                for c in range(3):
                    west = image[row + shifts[W, 0], column + shifts[W, 1], c]
                    north = image[row + shifts[N, 0], column + shifts[N, 1], c]
                    north_west = image[row + shifts[NW, 0], column + shifts[NW, 1], c]
                    middle = median(west, north, north_west) & 255
                    centre[pixel, c] = middle
                    features[pixel, 3 * taps + c] = max(middle - 128, -127)
                    for tap in range(taps):
                        sample = image[row + shifts[tap, 0], column + shifts[tap, 1], c]
                        features[pixel, 3 * tap + c] = table[255 + sample - middle]
                pixel += 1


def stored(images: Integers, outside: int, dtype: npt.DTypeLike) -> tuple[Integers, Block]:
    """Storage of whole images [n, height, width, channels], and the block of all their pixels."""
    count, height, width, channels = images.shape
    above = max(dy for dy, _, _ in RUNS)
    around = max(max(-first, last) for _, first, last in RUNS)
    storage = np.full((count, above + height, width + 2 * around, channels), outside, dtype)
    storage[:, above:, around : around + width] = images
    return storage, Block(above, around, height, width, 0)


def context_of_images(samples: npt.NDArray[np.uint8], table: Integers) -> Context:
    """The context of all pixels of whole images, for training and evaluation.

    Args:
        samples: uint8 [images, height, width, 3].
        table: int8 [1024].

    Returns:
        Of ``images * height * width`` pixels, image by image and row by row.
    """
    return centred_context(*stored(samples, OUTSIDE, np.int16), table)
