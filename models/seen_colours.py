"""Colours that an image had so far are likelier than others.

Few photographs use all colours: what came through a conversion of colours (YCC, JPEG) or the table
of a scanner has gaps, and some colours are common. A network that sees 22 neighbours cannot know.
So the distribution of a channel is split: levels that lead to a **seen** colour get the share that
such levels turned out to have where the network gave them as much as here (adaptive recalibration,
as in the SSE stages of the PAQ family), and those weigh more that were seen more often.
docs/FORMAT.md ("Seen colours") has every step.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.mixture import LEVELS, Mixture
from pixelcodec.models.program import FLOOR

Integers = npt.NDArray[Any]

BYTES = 2**24 + 2**17
"""Of what is kept of an image of three channels."""

COUNT_MOST = 255
_WORTH_MOST = 63
_SHARE_BITS = 16
_SHARE_LEAST = 32
_PACE = 6
_BUCKETS = 65
"""Half octaves of the odds of seen levels, from 2**-16 to 2**16."""

_TOTAL_BITS = 27
"""All masses of a distribution sum to about this power of two."""

_PART_BITS = 30


# The two tables are made by floats, once, and hold whole numbers. No value lies so near to the
# middle of two that another library's logarithm could round it otherwise: a test says how near.
def worths() -> npt.NDArray[np.int64]:
    """Int64 [256], what a level's mass counts, by how often its colour was seen."""
    counts = np.arange(COUNT_MOST + 1)
    found = np.round(8 * (1 + 1.2 * np.log(np.maximum(counts, 1)))).astype(np.int64)
    found[0] = 0
    return found.clip(0, _WORTH_MOST)


_WORTHS = worths().astype(np.int32)


def first_shares() -> npt.NDArray[np.int64]:
    """Int64 [65], what seen levels get in each bucket, of 2**16: what the network gave them."""
    odds = 2.0 ** ((np.arange(_BUCKETS) - _BUCKETS // 2) / 2)
    shares = np.round(2**_SHARE_BITS * odds / (1 + odds))
    found: npt.NDArray[np.int64] = shares.astype(np.int64)
    return found.clip(_SHARE_LEAST, 2**_SHARE_BITS - _SHARE_LEAST)


class SeenColours:
    """What an image had so far, at first nothing."""

    def __init__(self, channels: int) -> None:
        """Of an image of 1 or 3 ``channels``."""
        self._first = 0 if channels == 1 else 1
        """The first channel whose levels may be missing; those of red hardly ever are."""
        self._counts = [
            np.zeros((LEVELS**channel, LEVELS), np.uint8)
            for channel in range(self._first, channels)
        ]
        self._shares = [first_shares() for _ in self._counts]

    def split(
        self, mixture: Mixture, channel: int, before: npt.NDArray[np.uint8]
    ) -> "Mixture | Split":
        """The distribution of ``channel`` of n pixels.

        Args:
            mixture: what the network says.
            channel: which.
            before: uint8 [n, channels], known of the channels before.
        """
        which = channel - self._first
        if which < 0:
            return mixture
        places = _places(before, channel)
        masses = np.empty((len(mixture), LEVELS + 1), np.int32)
        buckets = np.empty(len(mixture), np.int64)
        _split(
            *(mixture.rows, mixture.weights, mixture.logistic, places),
            *(self._counts[which], self._shares[which], masses, buckets),
        )
        return Split(masses, buckets)

    def take_in(self, samples: npt.NDArray[np.uint8], splits: "list[Mixture | Split]") -> None:
        """Learn of the ``samples`` (uint8 [n, channels]) of a wave, and what was said of each."""
        for channel, found in enumerate(splits):
            if isinstance(found, Split):
                which = channel - self._first
                own = np.ascontiguousarray(samples[:, channel])
                _take_in(
                    *(_places(samples, channel), own, found.buckets),
                    *(self._counts[which], self._shares[which]),
                )


class Split:
    """Distributions of n samples as tables.

    Attributes:
        buckets: int64 [n], how likely seen levels were by the network.
    """

    def __init__(self, masses: npt.NDArray[np.int32], buckets: Integers) -> None:
        """Take masses below each of 257 edges: int32 [n, 257]."""
        self._masses, self.buckets = masses, buckets

    def __len__(self) -> int:
        """Count of samples."""
        return len(self._masses)

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Mass below each of ``edges``, int32 [n, m]."""
        found = np.empty(edges.shape, np.int32)
        _look_up(self._masses, edges, found)
        return found


def _places(samples: npt.NDArray[np.uint8], channel: int) -> Integers:
    """Which of all colours of the channels before each of n pixels has: int64 [n]."""
    places = np.zeros(len(samples), np.int64)
    for before in range(channel):
        places = places * LEVELS + samples[:, before]
    return places


@compiled
def _split(
    rows: Integers,
    weights: Integers,
    logistic: Integers,
    places: Integers,
    counts: Integers,
    shares: Integers,
    masses: Integers,
    buckets: Integers,
) -> None:
    whole = np.int64(1) << _TOTAL_BITS
    below = np.empty(LEVELS + 1, np.int32)
    # Not rows of one array: they might overlap, and loops over them would take three times as long.
    parts, worths = np.empty(LEVELS, np.int32), np.empty(LEVELS, np.int32)
    for n in range(len(rows)):
        _evaluate(rows[n], weights[n], logistic, below)
        of_seen, of_unseen, worth = _weigh(below, counts[places[n]], parts, worths)
        odds = (_octaves(of_seen + 1) - _octaves(of_unseen + 1)) >> 2
        buckets[n] = min(max(odds, -(_BUCKETS // 2)), _BUCKETS // 2) + _BUCKETS // 2
        share = np.int64(shares[buckets[n]]) << (_TOTAL_BITS - _SHARE_BITS)
        if of_seen == 0 or of_unseen == 0:
            share = np.int64(0) if of_seen == 0 else whole
        cut_seen, cut_unseen = _excess(worth), _excess(of_unseen)
        times_seen = (share << _PART_BITS) // max(worth >> cut_seen, 1)
        times_unseen = ((whole - share) << _PART_BITS) // max(of_unseen >> cut_unseen, 1)
        for level in range(LEVELS):
            part, own = np.int64(parts[level]), np.int64(worths[level])
            mass = (part * own) >> cut_seen if own > 0 else part >> cut_unseen
            times = times_seen if own > 0 else times_unseen
            parts[level] = (mass * times) >> _PART_BITS
        total = np.int32(0)
        masses[n, 0] = 0
        for level in range(LEVELS):
            total += parts[level]
            masses[n, level + 1] = total


@compiled
def _look_up(masses: Integers, edges: Integers, found: Integers) -> None:
    for n in range(edges.shape[0]):
        for m in range(edges.shape[1]):
            found[n, m] = masses[n, edges[n, m]]


@compiled
def _evaluate(rows: Integers, weights: Integers, logistic: Integers, below: Integers) -> None:
    """Mass below each edge, by the network."""
    below[:] = 0
    for k in range(len(rows)):
        weight, own = np.int32(weights[k]), logistic[rows[k] : rows[k] + LEVELS + 1]
        for edge in range(LEVELS + 1):
            below[edge] += weight * np.int32(own[edge])


# Each loop is one that compilers turn into operations on many levels at once.
@compiled
def _weigh(below: Integers, counts: Integers, parts: Integers, worths: Integers) -> Any:
    """Masses of levels, and what they are worth; sums of seen, of unseen, and of seen by worth."""
    for level in range(LEVELS):
        worths[level] = _WORTHS[counts[level]]
    of_seen, of_unseen, of_worth = np.int64(0), np.int64(0), np.int64(0)
    for level in range(LEVELS):
        part, worth = np.int32(below[level + 1] - below[level] + FLOOR), worths[level]
        parts[level] = part
        of_seen += part if worth > 0 else np.int32(0)
        of_unseen += part if worth == 0 else np.int32(0)
        of_worth += np.int64(part) * np.int64(worth)
    return of_seen, of_unseen, of_worth


@compiled
def _length(number: Any) -> Any:
    """Bits of a whole number above 0."""
    bits = np.int64(0)
    while number >> bits > 0:
        bits += 1
    return bits


@compiled
def _excess(number: Any) -> Any:
    return max(_length(number) - _PART_BITS, 0)


@compiled
def _octaves(number: Any) -> Any:
    """``8 * log2``, rounded down to a line between powers of two."""
    exponent = _length(number) - 1
    return 8 * exponent + ((number << 3 >> exponent) & 7)


@compiled
def _take_in(
    places: Integers, samples: Integers, buckets: Integers, counts: Integers, shares: Integers
) -> None:
    for n in range(len(places)):
        known = counts[places[n], samples[n]] > 0
        share = shares[buckets[n]]
        share += ((known << _SHARE_BITS) - share) >> _PACE
        most = (1 << _SHARE_BITS) - _SHARE_LEAST
        shares[buckets[n]] = min(max(share, _SHARE_LEAST), most)
    for n in range(len(places)):
        if counts[places[n], samples[n]] < COUNT_MOST:
            counts[places[n], samples[n]] += 1
