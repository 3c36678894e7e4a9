"""The head: a mixture of discretised logistics, in float for training, in integers for coding.

A sample's distribution is a mixture of a few logistics (Salimans et al., "PixelCNN++",
2017, section 2.1), cut off at the ends of the sample range and divided by what is left of it, so
that the ends are no special case. The means are relative to the context's centre and linear in
the residuals of the channels before (section 2.2 there).

The last layer of a head gives a channel's parameters, each rounded to what the tables take::

    float network               integer network
    logits  [components]        in 1/32: natural logarithms of the weights, up to a constant
    means   [components]        in 1/256: sixteenths of a level, relative to the centre
    scales  [components]        in 1/16, plus 28: i for a scale of 2**(i/8 - 3.5) levels
    slopes  [channels before]   in 1/256: of the mean in the residuals of the channels before

A float mean of 1 is 16 levels, a float scale of 1 two octaves.
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

MOST_COMPONENTS = 7
"""The mass of a mixture, at most 1024 * 65535 a component, must stay below 2**28.9."""

SLOPES = 2
SUBLEVELS = 16
"""Means are in sixteenths of a level."""

SCALES = 80
SCALE_STEPS = 8
LOG2_SMALLEST_SCALE = -3.5
"""Scales are 2**(i/8 - 3.5) levels for i in 0..79."""

WEIGHT_STEPS = 32
"""Weights are multiples of 1/32 in natural logarithm."""

SLOPE_SHIFT = 4
"""A slope of 8 fractional bits times a residual in levels is shifted to sixteenths of a level."""

LEVELS = 256
_MEAN_MARGIN = 8 * SUBLEVELS  # means reach 8 levels outside the sample range
REACH = LEVELS * SUBLEVELS + _MEAN_MARGIN + SUBLEVELS
_PHASE = 2 * REACH // SUBLEVELS + 1
ROW = SUBLEVELS * _PHASE
LOWEST_MEAN, HIGHEST_MEAN = -_MEAN_MARGIN, (LEVELS - 1) * SUBLEVELS + _MEAN_MARGIN
LEVEL_LEAST = 2.0**-20
"""What a level has at least, in training, for a weight of 1: about the coder's share."""

Integers = npt.NDArray[Any]


def parameters_of(components: int) -> int:
    """Count of a channel's parameters in the float network: slopes for all, used or not."""
    return 3 * components + SLOPES


def fixed_point(components: int, channel: int) -> tuple[Tensor, Tensor]:
    """How the integer network gives the parameters of ``channel``.

    Returns:
        float32 [3 * components + channel] each: fractional bits, and what is added in units of
        the last one.
    """
    bits = [5.0] * components + [8.0] * components + [4.0] * components + [8.0] * channel
    offset = torch.zeros(len(bits))
    offset[2 * components : 3 * components] = -LOG2_SMALLEST_SCALE * SCALE_STEPS
    return torch.tensor(bits), offset


def bits_of_samples(parameters: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
    """Information of ``samples`` under the mixture: the training loss, in bits a sample.

    Args:
        parameters: float32 [..., 3, 3 * components + 2].
        samples: integer [..., 3], 0..255.
        centre: integer [..., 3], 0..255.

    Returns:
        float32 [..., 3], bits.
    """
    residual = (samples - centre).to(parameters.dtype)
    below = -0.5 - centre.to(parameters.dtype)  # lower end of the range, from the centre
    count = (parameters.shape[-1] - SLOPES) // 3
    logits, means, scales, slopes = torch.split(parameters, [count, count, count, SLOPES], -1)
    hardtanh = torch.nn.functional.hardtanh
    shift = slopes[..., 0] * residual[..., :1] * _sees(0, residual)
    shift = shift + slopes[..., 1] * residual[..., 1:2] * _sees(1, residual)
    means = SUBLEVELS * means + shift.unsqueeze(-1)
    means = torch.maximum(means, (below - 7.5).unsqueeze(-1))
    means = torch.minimum(means, (below + 263.5).unsqueeze(-1))
    log_scales = hardtanh(2 * scales, LOG2_SMALLEST_SCALE, LOG2_SMALLEST_SCALE + 79 / 8)
    inverse = torch.exp2(-log_scales)
    weights = torch.exp(logits - logits.detach().amax(-1, keepdim=True))

    offset = -((residual.unsqueeze(-1) - means) * inverse).abs()  # symmetric; precise in the tail
    inside = torch.sigmoid(offset + inverse / 2) - torch.sigmoid(offset - inverse / 2)
    low = (below.unsqueeze(-1) - means) * inverse
    total = torch.sigmoid(low + LEVELS * inverse) - torch.sigmoid(low)
    numerator = (weights * inside).sum(-1) + LEVEL_LEAST
    return torch.log2((weights * total).sum(-1) + LEVELS * LEVEL_LEAST) - torch.log2(numerator)


def _sees(channel: int, like: Tensor) -> Tensor:
    """1 for the channels that are coded after ``channel``, else 0: [3]."""
    return (torch.arange(3, device=like.device) > channel).to(like)


def integer_tables() -> dict[str, Tensor]:
    """The tables of the integer head, shipped with each model.

    Returns:
        ``sigmoid``: int32 [4096], ``round(65535 * sigmoid(i / 256))``.
        ``inverse_scale``: int32 [80], ``round(2**16 / scale)`` for each scale in levels.
        ``exp``: int32 [256], ``round(1024 * exp(-i / 32))``.
    """
    argument = np.arange(4096) / 256
    scale = 2.0 ** (np.arange(SCALES) / SCALE_STEPS + LOG2_SMALLEST_SCALE)
    tables = {
        "sigmoid": np.round(65535 / (1 + np.exp(-argument))),
        "inverse_scale": np.round(2**16 / scale),
        "exp": np.round(1024 * np.exp(-np.arange(256) / WEIGHT_STEPS)),
    }
    return {name: torch.from_numpy(table.astype(np.int32)) for name, table in tables.items()}


_TABLE_LENGTHS = {"sigmoid": 4096, "inverse_scale": SCALES, "exp": 256}


def check_tables(tables: Mapping[str, Tensor]) -> None:
    """Refuse tables by which masses could overflow or fall.

    Raises:
        ModelError: ``sigmoid`` does not rise within 32768..65535, an inverse scale is not
            within 1..2**20, or ``exp`` does not fall from 1024 to 0 or more.
    """
    for name, length in _TABLE_LENGTHS.items():
        table = tables.get(name)
        if table is None or table.dtype != torch.int32 or table.shape != (length,):
            raise ModelError(f"the table {name} of a mixture must be {length} int32 numbers")
    sigmoid, inverse, exp = (tables[name].to(torch.int64) for name in _TABLE_LENGTHS)
    if sigmoid[0] < 32768 or sigmoid[-1] > 65535 or bool((sigmoid.diff() < 0).any()):
        raise ModelError("the table sigmoid of a mixture must rise within 32768..65535")
    if int(inverse.min()) < 1 or int(inverse.max()) > 2**20:
        raise ModelError("the table inverse_scale of a mixture must be within 1..2**20")
    if exp[0] != 1024 or exp[-1] < 0 or bool((exp.diff() > 0).any()):
        raise ModelError("the table exp of a mixture must fall from 1024 to 0 or more")


@dataclass(frozen=True)
class Mixture:
    """Integer mixtures of n samples, ready to be evaluated.

    Attributes:
        rows: int32 [n, components], where in the flat logistic table the edge below level 0 lies,
            see :func:`place`; those of the levels above follow.
        weights: int32 [n, components], 0..1024; the largest of each sample is 1024.
        logistic: uint16, the flat table.
    """

    rows: Integers
    weights: Integers
    logistic: Integers

    def __len__(self) -> int:
        """Count of samples."""
        return len(self.rows)

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Cumulative distribution below each edge, not normalised.

        Args:
            edges: int32 [n, m]; edge ``e`` lies between levels ``e-1`` and ``e``, 0..256.

        Returns:
            int32 [n, m], not decreasing from edge to edge, below 2**29.
        """
        masses = np.empty_like(edges)
        _cumulative(self.rows, self.weights, self.logistic, edges, masses)
        return masses


@compiled
def _cumulative(
    rows: Integers, weights: Integers, logistic: Integers, edges: Integers, masses: Integers
) -> None:
    # The casts keep numba from widening to 64 bits, and from checking for negative indices.
    for n in range(rows.shape[0]):
        for m in range(edges.shape[1]):
            mass = np.int32(0)
            for k in range(rows.shape[1]):
                level = np.int32(logistic[np.uint32(rows[n, k] + edges[n, m])])
                mass = np.int32(mass + np.int32(weights[n, k] * level))
            masses[n, m] = mass


class MixtureHead:
    """Turns integer parameters into :class:`Mixture`, by the tables of a model."""

    def __init__(self, tables: Mapping[str, Tensor], components: int) -> None:
        """Take the tables that :func:`integer_tables` describes."""
        self._components = components
        self._exp = tables["exp"].numpy()
        sigmoid = tables["sigmoid"].numpy().astype(np.int64)
        distance = np.arange(REACH + 1, dtype=np.int64)
        inverse = tables["inverse_scale"].numpy().astype(np.int64)[:, None]
        # |u| sixteenths over the scale, in 1/256: u/16 * inverse/2**16 * 256
        upper = sigmoid[np.minimum((distance * inverse) >> 12, len(sigmoid) - 1)]
        table = np.concatenate([65535 - upper[:, :0:-1], upper], 1)
        table = np.pad(table, ((0, 0), (0, ROW - table.shape[1])))
        by_phase = table.reshape(SCALES, _PHASE, SUBLEVELS).transpose(0, 2, 1)
        self._logistic = np.ascontiguousarray(by_phase, np.uint16).ravel()

    def __call__(
        self, parameters: Integers, channel: int, centre: Integers, residuals: Integers
    ) -> Mixture:
        """The mixtures of ``channel``.

        Args:
            parameters: int32 [n, outputs] as the channel's last layer gives them: logits, means
                and scales of all components, then a slope for each channel before.
            channel: which, 0..2.
            centre: int16 [n, 3], 0..255.
            residuals: int16 [n, channels], samples minus centre; known of the channels before.
        """
        rows = np.empty((len(parameters), self._components), np.int32)
        weights = np.empty_like(rows)
        _mixtures(parameters, channel, centre, residuals, self._exp, rows, weights)
        return Mixture(rows, weights, self._logistic)


@compiled
def _mixtures(
    parameters: Integers,
    channel: int,
    centre: Integers,
    residuals: Integers,
    exp: Integers,
    rows: Integers,
    weights: Integers,
) -> None:
    count = rows.shape[1]
    for n in range(len(parameters)):
        logits = parameters[n, :count]
        means = parameters[n, count : 2 * count]
        scales = parameters[n, 2 * count : 3 * count]
        slopes = parameters[n, 3 * count :]
        shift = np.int64(0)
        for c in range(channel):
            shift += np.int64(slopes[c]) * residuals[n, c]
        shift = (shift >> SLOPE_SHIFT) + SUBLEVELS * np.int64(centre[n, channel])
        largest = logits.max()
        for k in range(count):
            weights[n, k] = exp[min(largest - logits[k], len(exp) - 1)]
            mean = min(max(means[k] + shift, LOWEST_MEAN), HIGHEST_MEAN)
            step = min(max(scales[k], 0), SCALES - 1)
            rows[n, k] = place(step, -SUBLEVELS // 2 - mean)


# Edges that are a level apart lie side by side, as all of a distribution are read one by one.
@compiled
def place(scale: Any, distance: Any) -> Any:
    """Where the logistic table has the mass below ``distance`` (sixteenths of a level) of a mean.

    ``scale``: 0..79.
    """
    at = distance + REACH
    return scale * ROW + at % SUBLEVELS * _PHASE + at // SUBLEVELS


@compiled
def scale_and_distance(place: Any) -> Any:
    """What :func:`place` was given."""
    scale = place // ROW
    at = place - scale * ROW
    return scale, at % _PHASE * SUBLEVELS + at // _PHASE - REACH
