"""What a gray network sees of the image: neighbours in units of how much they differ, in integers.

Scientific images are of any amplitude: noise of one level, or of a thousand. So differences to the
median prediction are divided by what is usual around the pixel: a network sees the same of an image
and of one that is ten times as bright. Neighbours are in units of their own differences, the
**activity**. What linear predictors make of them is in a finer **unit**, that of their
disagreement, as is all that the network gives: where an image is smooth they differ much less than
neighbours do.

Training and coding call the same function, so there is one definition of the network's input.

A neighbour outside the image holds :func:`outside`, by which the median predictor needs no rule for
borders, see :mod:`pixelcodec.models.context`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError
from pixelcodec.models.context import NW, TAPS, N, W, median, shifts, stored
from pixelcodec.models.program import Block

UNITS = 65
"""Units are 2**(i / 4) levels for i in 0..64."""

UNIT_STEPS = 4
INVERSE_BITS = 16
DISTANCES = 2048
"""Differences are seen in sixteenths of a unit, below this."""

_SIXTEENTHS = INVERSE_BITS - 4
_KNEE = 8
_ACTIVITY_BITS = 8

Integers = npt.NDArray[Any]


def outside(bit_depth: int) -> int:
    """Sample value of a neighbour that is not in the image."""
    return 5 << (bit_depth - 1)


def integer_tables() -> dict[str, Tensor]:
    """The tables of the context, shipped with each model.

    Returns:
        ``companding``: int8 [2048], entry ``i`` for a difference of ``i`` sixteenths of a unit:
        ``round(127 * log2(1 + i/8) / log2(1 + 2047/8))``.
        ``inverse_unit``: int32 [65], ``round(2**16 / 2**(i/4))``.
    """
    distance = np.arange(DISTANCES)
    companded = 127 * np.log2(1 + distance / _KNEE) / np.log2(1 + (DISTANCES - 1) / _KNEE)
    inverse = 2.0 ** (INVERSE_BITS - np.arange(UNITS) / UNIT_STEPS)
    return {
        "companding": torch.from_numpy(np.round(companded).astype(np.int8)),
        "inverse_unit": torch.from_numpy(np.round(inverse).astype(np.int32)),
    }


def check_tables(companding: Tensor, inverse_unit: Tensor) -> None:
    """Refuse tables that are not of this kind.

    Raises:
        ModelError: a table is misshapen, or an element out of its range.
    """
    if companding.dtype != torch.int8 or companding.shape != (DISTANCES,):
        raise ModelError(f"the table companding must be {DISTANCES} int8 numbers")
    if int(companding[0]) != 0 or int(companding.min()) < 0:
        raise ModelError("the table companding must be 0 for a difference of 0, and not negative")
    if inverse_unit.dtype != torch.int32 or inverse_unit.shape != (UNITS,):
        raise ModelError(f"the table inverse_unit must be {UNITS} int32 numbers")
    if int(inverse_unit.min()) < 1 or int(inverse_unit.max()) > 2**INVERSE_BITS:
        raise ModelError("the table inverse_unit must be within 1..2**16")


@dataclass(frozen=True)
class Context:
    """The network's view of n pixels.

    Attributes:
        centre: int32 [n], the median (MED) prediction.
        unit: int32 [n], 0..64.
        features: int8 [n, FEATURES]: neighbours and predictors, from the centre; how far both ends
            of the range are; the unit, and the activity from it.
    """

    centre: npt.NDArray[np.int32]
    unit: npt.NDArray[np.int32]
    features: npt.NDArray[np.int8]


def gray_context(
    storage: Integers, block: Block, companding: Integers, inverse_unit: Integers, bit_depth: int
) -> Context:
    """The context of the pixels of ``block``, image by image and row by row.

    Args:
        storage: int32 [images, rows, columns, 1], samples or :func:`outside`.
        block: the pixels; all their neighbours lie in ``storage``.
        companding: see :func:`integer_tables`.
        inverse_unit: see there.
        bit_depth: of samples.
    """
    count = len(storage) * block.rows * block.span
    centre, unit = np.empty((2, count), np.int32)
    features = np.empty((count, FEATURES), np.int8)
    _gather(
        *(storage, *block.place, shifts(block.slope), _WEIGHTS, _OF_PREDICTORS),
        *(companding, inverse_unit, (1 << bit_depth) - 1, centre, unit, features),
    )
    return Context(centre, unit, features)


_PREDICTORS: tuple[dict[tuple[int, int], int], ...] = (
    {(0, -1): 2, (1, 0): 2, (1, -1): -2},
    {(0, -1): 4, (0, -2): -2},
    {(1, 0): 4, (2, 0): -2},
    {(0, -1): 2, (1, 1): 2, (1, 0): -2},
    {(1, 0): 2, (1, 1): 2, (2, 1): -2},
    {(0, -1): 2, (1, 1): 1, (1, -1): -1},
    {(0, -1): 6, (0, -2): -6, (0, -3): 2},
    {(1, 0): 6, (2, 0): -6, (3, 0): 2},
    {(0, -1): 4, (1, 0): 4, (1, -1): -4, (0, -2): -2, (1, -2): 2, (2, 0): -2, (2, -1): 2},
    {(0, -1): 2, (1, 0): 1, (1, 1): 1, (1, -1): -2},
)
"""Of a pixel from its neighbours (rows above, columns right), by twice their weights."""

_COUNTED = 6
"""The first of them make the unit."""


def _predictors() -> npt.NDArray[np.int64]:
    """Int64 [predictors, 22]."""
    found = np.zeros((len(_PREDICTORS), len(TAPS)), np.int64)
    for weights, each in zip(found, _PREDICTORS, strict=True):
        for tap, weight in each.items():
            weights[TAPS.tolist().index(list(tap))] = weight
    return found


def _weights() -> npt.NDArray[np.int64]:
    """What each neighbour counts in the activity: int64 [22]."""
    distance = TAPS[:, 0] ** 2 + TAPS[:, 1] ** 2
    return np.where(distance <= 2, 2, np.where(distance <= 5, 1, 0)).astype(np.int64)


_WEIGHTS, _OF_PREDICTORS = _weights(), _predictors()
FEATURES = len(TAPS) + len(_PREDICTORS) + 4


@compiled
def _quarter_octaves(activity: Any) -> Any:
    """4 * log2(activity) with its fraction linear: of at least 1, rounded down."""
    octave = 0
    while activity >> (octave + 1):
        octave += 1
    return 4 * octave + (((activity << 2) >> octave) & 3)


@compiled
def _unit(total: Any, weight: Any) -> Any:
    """Of neighbours whose differences have a ``total`` with the ``weight``: 0..64."""
    mean = (total << _ACTIVITY_BITS) // max(weight, 1)
    return min(max(_quarter_octaves(max(mean, 1)) - UNIT_STEPS * _ACTIVITY_BITS, 0), UNITS - 1)


@compiled
def _gather(
    storage: Integers,
    first_row: int,
    first_column: int,
    rows: int,
    span: int,
    shifts: Integers,
    weights: Integers,
    predictors: Integers,
    companding: Integers,
    inverse_unit: Integers,
    highest: int,
    centres: Integers,
    units: Integers,
    features: Integers,
) -> None:
    taps, count = len(shifts), len(predictors)
    around = np.empty(taps, np.int64)
    predicted = np.empty(count, np.int64)
    pixel = 0
    for image in storage:
        for row in range(first_row, first_row + rows):
            for column in range(first_column, first_column + span):
                for tap in range(taps):
                    around[tap] = image[row + shifts[tap, 0], column + shifts[tap, 1], 0]
                centre = median(around[W], around[N], around[NW]) & highest
                total, weight = np.int64(0), np.int64(0)
                for tap in range(taps):
                    inside = around[tap] <= highest
                    around[tap] = around[tap] - centre if inside else 0
                    total += weights[tap] * abs(around[tap])
                    weight += weights[tap] * inside
                activity = _unit(total, weight)
                total = np.int64(0)
                for i in range(count):
                    value = np.int64(0)
                    for tap in range(taps):
                        value += predictors[i, tap] * around[tap]
                    predicted[i] = value >> 1
                    total += abs(predicted[i]) if i < _COUNTED else 0
                unit = _unit(total, _COUNTED)
                inverse = np.int64(inverse_unit[activity])
                for tap in range(taps):
                    features[pixel, tap] = _companded(around[tap], inverse, companding)
                inverse = np.int64(inverse_unit[unit])
                for i in range(count):
                    companded = _companded(predicted[i], inverse, companding)
                    features[pixel, taps + i] = companded
                place = taps + count
                features[pixel, place] = _companded(centre, inverse, companding)
                features[pixel, place + 1] = _companded(highest - centre, inverse, companding)
                features[pixel, place + 2] = 2 * unit - 63
                features[pixel, place + 3] = min(max(4 * (activity - unit), -127), 127)
                centres[pixel], units[pixel] = centre, unit
                pixel += 1


@compiled
def _companded(difference: Any, inverse: Any, companding: Integers) -> Any:
    place = min((abs(difference) * inverse) >> _SIXTEENTHS, DISTANCES - 1)
    return companding[place] if difference >= 0 else -companding[place]


def context_of_images(
    samples: Integers, companding: Integers, inverse_unit: Integers, bit_depth: int
) -> Context:
    """The context of all pixels of whole images, for training and evaluation.

    Args:
        samples: integer [images, height, width, 1].
        companding: see :func:`integer_tables`.
        inverse_unit: see there.
        bit_depth: of samples.

    Returns:
        Of ``images * height * width`` pixels, image by image and row by row.
    """
    storage, block = stored(samples, outside(bit_depth), np.int32)
    return gray_context(storage, block, companding, inverse_unit, bit_depth)
