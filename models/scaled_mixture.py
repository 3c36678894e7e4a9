"""The head of a gray network: a mixture of logistics in local units, for samples of up to 16 bits.

As in :mod:`pixelcodec.models.mixture`, but means are in units of the context's activity, from its
centre, and scales in multiples of it; and logistics are evaluated where they are asked for, as a
table of all levels and scales would be too large::

    float network               integer network
    logits  [components]        in 1/32: natural logarithms of the weights, up to a constant
    means   [components]        in 1/256: 64ths of a unit, from the centre
    scales  [components]        in 1/16, plus 36: i for a scale of 2**(i/8 - 4.5) units

A float mean of 1 is 4 units, a float scale of 1 two octaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError
from pixelcodec.models.gray_context import UNIT_STEPS, UNITS
from pixelcodec.models.program import floor_of

SUBLEVELS = 16
"""Means are in sixteenths of a level."""

SCALES = 160
SCALE_STEPS = 8
LOG2_SMALLEST_SCALE = -4.5
"""Scales are 2**(i/8 - 4.5) levels for i in 0..159."""

MARGIN = 64
"""Means reach so many levels outside the sample range."""

UNIT_BITS = 8
INVERSE_BITS = 26
MEAN_SHIFT = 2 + UNIT_BITS  # from 64ths of a unit to sixteenths of a level
STEPS_OF_UNIT = SCALE_STEPS // UNIT_STEPS
OCTAVES = 2.0
"""Of a float scale of 1."""

UNITS_OF_MEAN = 4.0
LARGEST = 2.0**26
"""The mass of a component of the largest weight."""

_WEIGHT_STEPS = 32
_SIGMOID = 4097
SIGMOID_ONE = 2**22 - 1
"""More than masses hold: of a wide logistic, a single level is but a few of these."""

MASS_SHIFT = 6
PLACE_BITS = 20
_INDEX_SHIFT = 12

Integers = npt.NDArray[Any]


def fixed_point(components: int) -> tuple[Tensor, Tensor]:
    """Fractional bits of the parameters, and what is added in units of the last one.

    Returns:
        float32 [3 * components] each.
    """
    bits = [5.0] * components + [8.0] * components + [4.0] * components
    offset = torch.zeros(len(bits))
    offset[2 * components :] = -LOG2_SMALLEST_SCALE * SCALE_STEPS
    return torch.tensor(bits), offset


def bits_of_samples(
    parameters: Tensor, samples: Tensor, centre: Tensor, unit: Tensor, bit_depth: int
) -> Tensor:
    """Information of ``samples`` under the mixture: the training loss, in bits.

    Args:
        parameters: float32 [..., 3 * components].
        samples: integer [...].
        centre: integer [...].
        unit: integer [...], 0..64.
        bit_depth: of samples.

    Returns:
        float32 [...], bits.
    """
    levels = float(1 << bit_depth)
    inverse_unit = torch.exp2(unit.to(parameters.dtype) / -UNIT_STEPS)[..., None]  # of a level
    residual = (samples - centre).to(parameters.dtype)[..., None] * inverse_unit
    below = (-0.5 - centre.to(parameters.dtype))[..., None] * inverse_unit
    logits, means, scales = parameters.chunk(3, -1)
    means = UNITS_OF_MEAN * means
    means = torch.maximum(means, below - (MARGIN - 0.5) * inverse_unit)
    means = torch.minimum(means, below + (levels + MARGIN - 0.5) * inverse_unit)
    of_unit = unit.to(parameters.dtype)[..., None] / UNIT_STEPS
    least, most = LOG2_SMALLEST_SCALE - of_unit, LOG2_SMALLEST_SCALE + 159 / 8 - of_unit
    inverse = torch.exp2(-torch.minimum(torch.maximum(OCTAVES * scales, least), most))
    weights = torch.exp(logits - logits.detach().amax(-1, keepdim=True))
    half = inverse_unit * inverse / 2
    offset = (residual - means) * inverse
    inside = _between(offset - half, offset + half)
    total = _between((below - means) * inverse, (below - means) * inverse + levels * 2 * half)
    of_level = floor_of(bit_depth) / LARGEST
    numerator = (weights * inside).sum(-1) + of_level
    return torch.log2((weights * total).sum(-1) + levels * of_level) - torch.log2(numerator)


def _between(low: Tensor, high: Tensor) -> Tensor:
    """``sigmoid(high) - sigmoid(low)``, precise where both are about the same."""
    return torch.sigmoid(high) * torch.sigmoid(-low) * -torch.expm1(low - high)


def integer_tables() -> dict[str, Tensor]:
    """The tables of the integer head, shipped with each model.

    Returns:
        ``sigmoid``: int32 [4097], ``round((2**22 - 1) * sigmoid(i / 256))``.
        ``inverse_scale``: int32 [160], ``round(2**26 / scale)`` for each scale in levels.
        ``exp``: int32 [256], ``round(1024 * exp(-i / 32))``.
        ``unit``: int32 [65], ``round(2**8 * 2**(i / 4))``.
    """
    scale = 2.0 ** (np.arange(SCALES) / SCALE_STEPS + LOG2_SMALLEST_SCALE)
    tables = {
        "sigmoid": np.round(SIGMOID_ONE / (1 + np.exp(-np.arange(_SIGMOID) / 256))),
        "inverse_scale": np.round(2.0**INVERSE_BITS / scale),
        "exp": np.round(1024 * np.exp(-np.arange(256) / _WEIGHT_STEPS)),
        "unit": np.round(2.0 ** (UNIT_BITS + np.arange(UNITS) / UNIT_STEPS)),
    }
    return {name: torch.from_numpy(table.astype(np.int32)) for name, table in tables.items()}


_TABLE_LENGTHS = {"sigmoid": _SIGMOID, "inverse_scale": SCALES, "exp": 256, "unit": UNITS}


def check_tables(tables: Mapping[str, Tensor]) -> None:
    """Refuse tables by which masses could overflow or fall.

    Raises:
        ModelError: ``sigmoid`` does not rise within 2**21..2**22 - 1, an inverse scale is not
            within 1..2**31 - 1, ``exp`` does not fall from 1024 to 0 or more, or a unit is not
            within 1..2**24.
    """
    for name, length in _TABLE_LENGTHS.items():
        table = tables.get(name)
        if table is None or table.dtype != torch.int32 or table.shape != (length,):
            raise ModelError(f"the table {name} of a mixture must be {length} int32 numbers")
    sigmoid, inverse, exp, unit = (tables[name].to(torch.int64) for name in _TABLE_LENGTHS)
    if sigmoid[0] < 2**21 or sigmoid[-1] > SIGMOID_ONE or bool((sigmoid.diff() < 0).any()):
        raise ModelError("the table sigmoid of a mixture must rise within 2**21..2**22 - 1")
    if int(inverse.min()) < 1:
        raise ModelError("the table inverse_scale of a mixture must be positive")
    if exp[0] != 1024 or exp[-1] < 0 or bool((exp.diff() > 0).any()):
        raise ModelError("the table exp of a mixture must fall from 1024 to 0 or more")
    if int(unit.min()) < 1 or int(unit.max()) > 2**24:
        raise ModelError("the table unit of a mixture must be within 1..2**24")


@dataclass(frozen=True)
class ScaledMixture:
    """Integer mixtures of n samples, ready to be evaluated.

    Attributes:
        means: int32 [n, components], in sixteenths of a level.
        steps: int32 [n, components], scales 0..159.
        weights: int32 [n, components], 0..1024; the largest of each sample is 1024.
        sigmoid: int64 [4097].
        inverse_scale: int64 [160].
    """

    means: Integers
    steps: Integers
    weights: Integers
    sigmoid: Integers
    inverse_scale: Integers

    def __len__(self) -> int:
        """Count of samples."""
        return len(self.means)

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Cumulative distribution below each edge, not normalised.

        Args:
            edges: int32 [n, m]; edge ``e`` lies between levels ``e-1`` and ``e``.

        Returns:
            int32 [n, m], not decreasing from edge to edge, below 2**29.
        """
        masses = np.empty_like(edges)
        _cumulative(
            *(self.means, self.steps, self.weights, self.sigmoid, self.inverse_scale),
            *(edges, masses),
        )
        return masses


@compiled
def place_of(distance: Any, inverse: Any) -> Any:
    """How many scales a ``distance`` is, without its sign, in 2**-20 and below 16."""
    shift = INVERSE_BITS + 4 - PLACE_BITS
    return min((abs(distance) * inverse) >> shift, (16 << PLACE_BITS) - 1)


@compiled
def logistic(distance: Any, inverse: Any, sigmoid: Integers) -> Any:
    """Of a scale's ``inverse``, at a ``distance`` (sixteenths of a level) above the mean."""
    place = place_of(distance, inverse)
    index, rest = place >> _INDEX_SHIFT, place & ((1 << _INDEX_SHIFT) - 1)
    lower = sigmoid[index]
    upper = lower + (((sigmoid[index + 1] - lower) * rest) >> _INDEX_SHIFT)
    return upper if distance >= 0 else SIGMOID_ONE - upper


@compiled
def _cumulative(
    means: Integers,
    steps: Integers,
    weights: Integers,
    sigmoid: Integers,
    inverse_scale: Integers,
    edges: Integers,
    masses: Integers,
) -> None:
    for n in range(means.shape[0]):
        for m in range(edges.shape[1]):
            edge = np.int64(edges[n, m]) * SUBLEVELS - SUBLEVELS // 2
            mass = np.int64(0)
            for k in range(means.shape[1]):
                inverse = inverse_scale[steps[n, k]]
                mass += weights[n, k] * logistic(edge - means[n, k], inverse, sigmoid)
            masses[n, m] = mass >> MASS_SHIFT


class ScaledMixtureHead:
    """Turns integer parameters into :class:`ScaledMixture`, by the tables of a model."""

    def __init__(self, tables: Mapping[str, Tensor], components: int, bit_depth: int) -> None:
        """Take the tables that :func:`integer_tables` describes."""
        self._components = components
        self._highest_mean = SUBLEVELS * ((1 << bit_depth) - 1 + MARGIN)
        self._exp, self._unit, self._sigmoid, self.inverse_scale = (
            tables[name].numpy().astype(np.int64)
            for name in ("exp", "unit", "sigmoid", "inverse_scale")
        )

    def __call__(self, parameters: Integers, centre: Integers, unit: Integers) -> ScaledMixture:
        """The mixtures.

        Args:
            parameters: int32 [n, 3 * components] as the last layer gives them.
            centre: int32 [n].
            unit: int32 [n], 0..64.
        """
        means, steps, weights = np.empty((3, len(parameters), self._components), np.int32)
        _mixtures(
            *(parameters, centre, unit, self._exp, self._unit, self._highest_mean),
            *(means, steps, weights),
        )
        return ScaledMixture(means, steps, weights, self._sigmoid, self.inverse_scale)


@compiled
def _mixtures(
    parameters: Integers,
    centre: Integers,
    unit: Integers,
    exp: Integers,
    units: Integers,
    highest_mean: int,
    means: Integers,
    steps: Integers,
    weights: Integers,
) -> None:
    count = means.shape[1]
    for n in range(len(parameters)):
        size, first = units[unit[n]], STEPS_OF_UNIT * unit[n]
        largest = parameters[n, :count].max()
        for k in range(count):
            weights[n, k] = exp[min(largest - parameters[n, k], len(exp) - 1)]
            mean = (np.int64(parameters[n, count + k]) * size >> MEAN_SHIFT) + SUBLEVELS * centre[n]
            means[n, k] = min(max(mean, -SUBLEVELS * MARGIN), highest_mean)
            steps[n, k] = min(max(parameters[n, 2 * count + k] + first, 0), SCALES - 1)
