"""How the bits of samples change with the parameters of their mixtures, in integers.

For heads that learn while they code (:mod:`pixelcodec.models.learning`). What enters was computed
for coding anyway: rows of the logistic table, and weights of components. docs/FORMAT.md
("Learning") has the formulas.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.mixture import (
    HIGHEST_MEAN,
    LEVELS,
    LOWEST_MEAN,
    SCALES,
    SUBLEVELS,
    Mixture,
    scale_and_distance,
)
from pixelcodec.models.program import FLOOR

Integers = npt.NDArray[Any]

MOST = 2**19
"""Gradients are limited to this; they are in 2**-20 nats for a unit of a parameter."""

LN2 = round(math.log(2) * 2**16)
_LAST_ANGLE = 2**16 - 1
_SIGMOID_ONE = 65535


def gradients(
    found: Mixture,
    parameters: Integers,
    residuals: Integers,
    inverse_scale: Integers,
    samples: npt.NDArray[np.uint8],
) -> npt.NDArray[np.int32]:
    """Of the information of n samples, by each integer parameter.

    Args:
        found: the mixtures.
        parameters: int32 [n, 3 * components + channel], what they were made of.
        residuals: int16 [n, channels], of the channels before.
        inverse_scale: int64 [80], the model's table.
        samples: uint8 [n].

    Returns:
        int32 of the shape of ``parameters``, in -2**19..2**19.
    """
    out = np.empty(parameters.shape, np.int32)
    _gradients(
        found.rows,
        found.weights,
        found.logistic,
        inverse_scale,
        parameters,
        residuals,
        samples,
        out,
    )
    return out


@compiled
def divide(dividend: Any, divisor: Any) -> Any:
    """``dividend // divisor``, exact by float64: both are whole numbers below 2**53.

    A quotient that is not whole differs from the next whole number by at least ``1 / divisor``,
    more than it is rounded by.
    """
    return np.int64(math.floor(np.float64(dividend) / np.float64(divisor)))


@compiled
def limited(value: Any, most: Any) -> Any:
    """``value``, limited to ``-most..most``."""
    return min(max(value, -most), most)


@compiled
def _gradients(
    rows: Integers,
    weights: Integers,
    logistic: Integers,
    inverse_scale: Integers,
    parameters: Integers,
    residuals: Integers,
    samples: Integers,
    out: Integers,
) -> None:
    count = rows.shape[1]
    mass, total, by_scale, total_by_scale = np.empty((4, count), np.int64)
    lean, total_lean = np.empty((2, count), np.int64)
    for n in range(len(rows)):
        sample = np.int64(samples[n])
        mass_of_all, total_of_all = np.int64(FLOOR), np.int64(LEVELS * FLOOR)
        for k in range(count):
            row, weight = np.int64(rows[n, k]), np.int64(weights[n, k])
            scale, start = scale_and_distance(row)  # of the edge below level 0
            inverse = inverse_scale[scale]
            mass[k], lean[k], by_scale[k] = _between(
                logistic, row, start, sample, sample + 1, inverse, weight
            )
            total[k], total_lean[k], total_by_scale[k] = _between(
                logistic, row, start, 0, LEVELS, inverse, weight
            )
            mass_of_all += mass[k]
            total_of_all += total[k]
        by_shift = np.int64(0)
        for k in range(count):
            scale, start = scale_and_distance(np.int64(rows[n, k]))
            mean = -SUBLEVELS // 2 - start
            after = divide(mass[k] << 15, mass_of_all)
            before = divide(total[k] << 15, total_of_all)
            out[n, k] = limited(before - after, MOST)
            by_mean = np.int64(0)
            if LOWEST_MEAN < mean < HIGHEST_MEAN:
                pull = after * lean[k] - before * total_lean[k]
                by_mean = (pull * inverse_scale[scale]) >> 31
            out[n, count + k] = limited(by_mean, MOST)
            by_shift += by_mean
            gradient = np.int64(0)
            if 0 <= parameters[n, 2 * count + k] < SCALES:
                gradient = divide(by_scale[k], mass_of_all)
                gradient -= divide(total_by_scale[k], total_of_all)
                gradient = (gradient * LN2) >> 23
            out[n, 2 * count + k] = limited(gradient, MOST)
        for c in range(parameters.shape[1] - 3 * count):
            by_slope = (by_shift * np.int64(residuals[n, c])) >> 4
            out[n, 3 * count + c] = limited(by_slope, MOST)


@compiled
def _between(
    logistic: Integers, row: Any, start: Any, low: Any, high: Any, inverse: Any, weight: Any
) -> Any:
    """Of a component between two edges: its mass, how far it leans, and how its scale moves mass.

    The lean is 1 less both sigmoids: as the mean grows, the mass falls by lean * mass / scale.
    """
    below, above = np.int64(logistic[row + low]), np.int64(logistic[row + high])
    at_low = (below * (_SIGMOID_ONE - below) >> 4) * _angle(start + SUBLEVELS * low, inverse)
    at_high = (above * (_SIGMOID_ONE - above) >> 4) * _angle(start + SUBLEVELS * high, inverse)
    return weight * (above - below), _SIGMOID_ONE - above - below, weight * (at_high - at_low)


@compiled
def _angle(distance: Any, inverse: Any) -> Any:
    """``distance`` (sixteenths of a level) in scales, in 1/4096, as far as the table reaches."""
    angle = min((abs(distance) * inverse) >> 8, _LAST_ANGLE)
    return angle if distance >= 0 else -angle
