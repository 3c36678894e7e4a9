"""The distribution of a pixel: colours that it may repeat, or else mixtures of logistics.

Nothing says which candidate a pixel is: the distribution of each channel is the sum over all of
them. A candidate puts its weight on one level of each channel. **New** stands for any colour: its
weight is spread by a mixture of logistics. **Seen** stands for the colours of the palette that are
no candidates: its weight is spread likewise, over their levels alone. Once a channel is known, each
weight is multiplied by the probability that was given to it: Bayes' rule. So flat pixels cost next
to nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.candidates import EXTRA, MOST
from pixelcodec.models.mixture import LEVELS, Mixture
from pixelcodec.models.palette import Palette, count_levels

NEW, SEEN = MOST, MOST + 1
"""Where the weights of a new colour, and of one that was seen, stand behind those of candidates."""

TOTAL = 2**28
"""Weights of a pixel sum to less than this, and to half of it at least."""

LEAST = 2**16
"""Where new and seen colours weigh less, together, they are spread evenly over all levels."""

_EXP_LENGTH = 512
_EXP_ONE = 2**23
_SEEN_SHIFT = 10
GRADIENT_ONE = 2**15
"""2**20 nats for a unit of a logit, which is 1/32."""

Integers = npt.NDArray[Any]


def exp_table() -> npt.NDArray[np.int32]:
    """Int32 [512], ``round(2**23 * exp(-i / 32))``."""
    return np.round(_EXP_ONE * np.exp(-np.arange(_EXP_LENGTH) / 32)).astype(np.int32)


def weigh(logits: Integers, counts: Integers, exp: Integers) -> Integers:
    """Weights of what n pixels may be: int64 [n, MOST + EXTRA].

    Args:
        logits: int32 [all rows], in 1/32, see :class:`pixelcodec.models.candidates.Candidates`.
        counts: int64 [n], of candidates.
        exp: the table.
    """
    weights = np.zeros((len(counts), MOST + EXTRA), np.int64)
    _weigh(logits, counts, exp, weights)
    return weights


@compiled
def _weigh(logits: Integers, counts: Integers, exp: Integers, weights: Integers) -> None:
    last, first = np.int64(len(exp) - 1), np.int64(0)
    for n in range(len(counts)):
        count = counts[n]
        own = logits[first : first + count + EXTRA]
        largest = np.int64(own.max())
        for i in range(len(own)):
            place = i if i < count else MOST + i - count
            weights[n, place] = exp[min(largest - own[i], last)]
        weights[n, NEW] = max(weights[n, NEW], 1)
        _fill(weights[n])
        first += len(own)


@compiled
def _fill(weights: Integers) -> None:
    """Double the weights as often as their sum stays below TOTAL."""
    total, shift = weights.sum(), np.int64(0)
    while total << (shift + 1) < TOTAL:
        shift += 1
    for i in range(len(weights)):
        weights[i] <<= shift


@dataclass(frozen=True)
class Spread:
    """How new and seen colours of m pixels are spread over the levels of a channel.

    Attributes:
        new: int64 [m, 257], mass below each edge.
        seen: int64 [m, 257], the same; all 0 where no seen colour is left.
    """

    new: Integers
    seen: Integers


def spread(
    logistics: Mixture,
    palette: Palette,
    candidates: Integers,
    counts: Integers,
    begins: Integers,
    channel: int,
) -> Spread:
    """Spread them.

    Args:
        logistics: of m pixels.
        palette: the colours that were seen.
        candidates: int64 [m, MOST].
        counts: int64 [m], of candidates.
        begins: int64 [m], the channels before, as in a colour.
        channel: 0..3.
    """
    new, seen = np.zeros((2, len(logistics), LEVELS + 1), np.int64)
    _spread(
        logistics.rows, logistics.weights, logistics.logistic, palette.colours, palette.chains,
        candidates, counts, begins, channel, new, seen,
    )  # fmt: skip
    return Spread(new, seen)


@compiled
def _spread(
    rows: Integers,
    mixture_weights: Integers,
    logistic: Integers,
    known: Integers,
    chains: Integers,
    candidates: Integers,
    counts: Integers,
    begins: Integers,
    channel: int,
    new: Integers,
    seen: Integers,
) -> None:
    times = np.empty(LEVELS, np.int64)
    for n in range(len(rows)):
        for edge in range(LEVELS + 1):
            mass = np.int64(edge)
            for k in range(rows.shape[1]):
                level = logistic[rows[n, k] + edge]
                mass += np.int64(mixture_weights[n, k]) * np.int64(level)
            new[n, edge] = mass
        start = new[n, 0]
        for edge in range(LEVELS + 1):
            new[n, edge] -= start
        own = candidates[n, : counts[n]]
        count_levels(known, chains, own, begins[n], channel, times)
        for level in range(LEVELS):
            mass = new[n, level + 1] - new[n, level]
            seen[n, level + 1] = seen[n, level] + times[level] * (1 + (mass >> _SEEN_SHIFT))


class ColourMixture:
    """Distributions of a channel of n pixels."""

    def __init__(
        self, levels: Integers, weights: Integers, places: Integers, found: Spread
    ) -> None:
        """Take them.

        Args:
            levels: int64 [n, MOST], of the candidates in this channel.
            weights: int64 [n, MOST + EXTRA], 0 where there is no candidate.
            places: int64 [n], the number of the pixel in ``found``, or -1.
            found: how new and seen colours of some of the pixels are spread.
        """
        self._parts = levels, weights, places, found.new, found.seen

    def __len__(self) -> int:
        """Count of pixels."""
        return len(self._parts[0])

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Mass below each of ``edges``, int32 [n, m]; below TOTAL."""
        masses = np.empty_like(edges)
        _cumulative(*self._parts, edges, masses)
        return masses

    def reveal(self, samples: npt.NDArray[np.uint8]) -> None:
        """Make the weights those of the next channel, given ``samples`` (uint8 [n]) of this."""
        _reveal(*self._parts, samples)


@compiled
def _part(weight: Any, below: Integers, first: Any, last: Any) -> Any:
    """Of a weight that is spread: what lies between two edges."""
    if below[LEVELS] == 0:
        return np.int64(0)
    return weight * (below[last] - below[first]) // below[LEVELS]


@compiled
def _cumulative(
    levels: Integers,
    weights: Integers,
    places: Integers,
    new: Integers,
    seen: Integers,
    edges: Integers,
    masses: Integers,
) -> None:
    for n in range(len(edges)):
        place = places[n]
        for m in range(edges.shape[1]):
            edge = np.int64(edges[n, m])
            if place >= 0:
                mass = _part(weights[n, NEW], new[place], 0, edge)
                mass += _part(weights[n, SEEN], seen[place], 0, edge)
            else:
                mass = ((weights[n, NEW] + weights[n, SEEN]) * edge) >> 8
            for i in range(MOST):
                if levels[n, i] < edge:
                    mass += weights[n, i]
            masses[n, m] = mass


@compiled
def _reveal(
    levels: Integers,
    weights: Integers,
    places: Integers,
    new: Integers,
    seen: Integers,
    samples: Integers,
) -> None:
    for n in range(len(samples)):
        sample, place = np.int64(samples[n]), places[n]
        if place >= 0:
            weights[n, NEW] = _part(weights[n, NEW], new[place], sample, sample + 1)
            weights[n, SEEN] = _part(weights[n, SEEN], seen[place], sample, sample + 1)
        else:
            weights[n, NEW] >>= 8
            weights[n, SEEN] >>= 8
        weights[n, NEW] = max(weights[n, NEW], 1)
        for i in range(MOST):
            if levels[n, i] != sample:
                weights[n, i] = 0
        _fill(weights[n])


@compiled
def choice_gradients(
    weights: Integers, counts: Integers, targets: Integers, rows: Integers, gradients: Integers
) -> Any:
    """How the information of choices changes with their logits, where they were not foreseen.

    Args:
        weights: int64 [n, MOST + EXTRA], of the choices.
        counts: int64 [n], of candidates.
        targets: int64 [n], which row each pixel turned out to be, counted from its first.
        rows: int64, filled with the rows of those that were not foreseen.
        gradients: int32 [rows, 1], filled with the gradients of these rows.

    Returns:
        Count of these rows, and of their pixels.
    """
    first, used, pixels = np.int64(0), 0, 0
    for n in range(len(counts)):
        count, total = counts[n], weights[n].sum()
        chosen = targets[n] if targets[n] < count else MOST + targets[n] - count
        if (total - weights[n, chosen]) * 256 >= total:
            pixels += 1
            for i in range(count + EXTRA):
                place = i if i < count else MOST + i - count
                part = weights[n, place] * GRADIENT_ONE // total
                rows[used] = first + i
                gradients[used, 0] = part - GRADIENT_ONE * (place == chosen)
                used += 1
        first += count + EXTRA
    return used, pixels
