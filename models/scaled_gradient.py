"""How the bits of samples change with the parameters of mixtures in local units, in integers.

What :mod:`pixelcodec.models.mixture_gradient` is for :mod:`pixelcodec.models.scaled_mixture`.
docs/FORMAT.md ("Learning" of the architecture) has the formulas.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.mixture_gradient import LN2, MOST, divide, limited
from pixelcodec.models.program import floor_of
from pixelcodec.models.scaled_mixture import (
    MARGIN,
    MASS_SHIFT,
    SCALES,
    SIGMOID_ONE,
    STEPS_OF_UNIT,
    SUBLEVELS,
    ScaledMixture,
    logistic,
    place_of,
)

Integers = npt.NDArray[Any]


def gradients(
    found: ScaledMixture,
    parameters: Integers,
    unit: Integers,
    sizes: Integers,
    samples: Integers,
    bit_depth: int,
) -> npt.NDArray[np.int32]:
    """Of the information of n samples, by each integer parameter.

    Args:
        found: the mixtures.
        parameters: int32 [n, 3 * components], what they were made of.
        unit: int32 [n], 0..64.
        sizes: int64 [65], the model's table of units.
        samples: integer [n].
        bit_depth: of samples.

    Returns:
        int32 of the shape of ``parameters``, within -:data:`MOST`..:data:`MOST`.
    """
    out = np.empty(parameters.shape, np.int32)
    _gradients(
        found.means,
        found.steps,
        found.weights,
        found.sigmoid,
        found.inverse_scale,
        parameters,
        unit,
        sizes,
        samples,
        1 << bit_depth,
        floor_of(bit_depth),
        out,
    )
    return out


@compiled
def _gradients(
    means: Integers,
    steps: Integers,
    weights: Integers,
    sigmoid: Integers,
    inverse_scale: Integers,
    parameters: Integers,
    unit: Integers,
    sizes: Integers,
    samples: Integers,
    levels: int,
    floor: int,
    out: Integers,
) -> None:
    count = means.shape[1]
    mass, total, lean, total_lean, by_scale, total_by_scale = np.empty((6, count), np.int64)
    highest_mean = SUBLEVELS * (levels - 1 + MARGIN)
    for n in range(len(means)):
        sample = np.int64(samples[n])
        mass_of_all = np.int64(floor << MASS_SHIFT)
        total_of_all = levels * mass_of_all
        for k in range(count):
            inverse, weight = inverse_scale[steps[n, k]], np.int64(weights[n, k])
            start = -SUBLEVELS // 2 - np.int64(means[n, k])  # of the edge below level 0
            low = start + SUBLEVELS * sample
            mass[k], lean[k], by_scale[k] = _between(low, low + SUBLEVELS, inverse, weight, sigmoid)
            total[k], total_lean[k], total_by_scale[k] = _between(
                start, start + SUBLEVELS * levels, inverse, weight, sigmoid
            )
            mass_of_all += mass[k]
            total_of_all += total[k]
        size, first = sizes[unit[n]], STEPS_OF_UNIT * unit[n]
        for k in range(count):
            after = divide(mass[k] << 15, mass_of_all)
            before = divide(total[k] << 15, total_of_all)
            out[n, k] = limited(before - after, MOST)
            gradient = np.int64(0)
            if -SUBLEVELS * MARGIN < means[n, k] < highest_mean:
                pull = after * lean[k] - before * total_lean[k]
                gradient = (((pull * inverse_scale[steps[n, k]]) >> 28) * size) >> 23
            out[n, count + k] = limited(gradient, MOST)
            gradient = np.int64(0)
            if 0 <= parameters[n, 2 * count + k] + first < SCALES:
                gradient = divide(by_scale[k], mass_of_all)
                gradient -= divide(total_by_scale[k], total_of_all)
                gradient = (gradient * LN2) >> 15
            out[n, 2 * count + k] = limited(gradient, MOST)


@compiled
def _between(low: Any, high: Any, inverse: Any, weight: Any, sigmoid: Integers) -> Any:
    """Of a component between two distances from its mean: its mass, how far it leans, and how its
    scale moves mass.

    The lean is 1 less both sigmoids: as the mean grows, the mass falls by lean * mass / scale.
    """
    below, above = logistic(low, inverse, sigmoid), logistic(high, inverse, sigmoid)
    at_low = (below * (SIGMOID_ONE - below) >> 22) * _angle(low, inverse)
    at_high = (above * (SIGMOID_ONE - above) >> 22) * _angle(high, inverse)
    lean = (SIGMOID_ONE - above - below) >> MASS_SHIFT
    return weight * (above - below), lean, weight * (at_high - at_low)


@compiled
def _angle(distance: Any, inverse: Any) -> Any:
    """``distance`` (sixteenths of a level) in scales, in 2**-16, within 16 of them."""
    angle = place_of(distance, inverse) >> 4
    return angle if distance >= 0 else -angle
