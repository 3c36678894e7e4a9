"""From cumulative distributions to range-coder words and back, by constriction.

A sample is coded as nibbles, the highest first: of 8 bits, a 16-way choice between 16 wide
intervals of levels, then a 16-way choice inside the interval; of 16 bits, four such choices; of 1
bit, a single choice, whose other branches have next to no frequency. Each choice has frequencies
that sum to 2**24, all at least 1. The coder takes them as ``f - 1`` in float32 with
``perfect=False``: its internal scale is then exactly 1 and all its sums are whole numbers below
2**24, so nothing is rounded.

Each choice has a dummy branch of frequency 1 at either end. They let the encoder describe a
choice by three numbers (what lies left of it, itself, what lies right) instead of sixteen.
"""

import math
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.errors import FormatError
from pixelcodec.models.program import Distribution, floor_of

PRECISION = 24
BRANCHES = 16
_STRIDES = {1: (1,), 8: (16, 1), 16: (4096, 256, 16, 1)}


def strides(bit_depth: int) -> tuple[int, ...]:
    """Width in levels of a branch of each choice that makes a sample of 1, 8 or 16 bits."""
    return _STRIDES[bit_depth]


_SHARED = 2**PRECISION - BRANCHES - 2
"""Frequency that the branches share out, beyond one for each and for each dummy."""

Integers = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


def describe(distribution: Distribution, samples: Integers, bit_depth: int = 8) -> Floats:
    """What the encoder needs to know of each choice.

    Args:
        distribution: of n samples.
        samples: uint8, of 16 bits uint16 [n].
        bit_depth: of the samples, 1, 8 or 16.

    Returns:
        float32 [n, choices, 3], whole numbers: frequency left of the branch, of the branch, and
        right of it, each minus 1.
    """
    edges = _edges_around(samples, strides(bit_depth))
    choices = np.empty((len(samples), len(strides(bit_depth)), 3), np.float32)
    _describe(edges, distribution.cumulative(edges), floor_of(bit_depth), choices)
    return choices


def _edges_around(samples: Integers, strides: tuple[int, ...]) -> Integers:
    """Edges of all levels, then for each choice of the branch that is taken: int32 [n, 2 + 2 m]."""
    edges = np.empty((len(samples), 2 + 2 * len(strides)), np.int32)
    edges[:, 0], edges[:, 1] = 0, BRANCHES * strides[0]
    for i, stride in enumerate(strides, 1):
        edges[:, 2 * i] = samples & -stride % (BRANCHES * strides[0])
        edges[:, 2 * i + 1] = edges[:, 2 * i] + stride
    return edges


@compiled
def _share(part: Any, total: Any) -> Any:
    """``part * _SHARED // total`` for ``0 <= part <= total < 2**28.9``, by float64.

    Exact: the product is below 2**53, so the quotient is the correctly rounded one. It is below
    2**24 and differs from the next whole number by at least ``1 / total``, more than half the
    distance of float64 numbers there, so rounding cannot carry it to that number.
    """
    return np.int64((np.float64(part) * np.float64(_SHARED)) / np.float64(total))


@compiled
def _describe(edges: Integers, masses: Integers, floor: int, choices: Floats) -> None:
    for n in range(len(edges)):
        for i in range(choices.shape[1]):
            outer, inner = 2 * i, 2 * i + 2
            width = edges[n, inner + 1] - edges[n, inner]
            branch = (edges[n, inner] - edges[n, outer]) // width
            start = np.int64(masses[n, outer]) + edges[n, outer] * floor
            total = masses[n, outer + 1] + edges[n, outer + 1] * floor - start
            left = masses[n, inner] + edges[n, inner] * floor - start
            right = masses[n, inner + 1] + edges[n, inner + 1] * floor - start
            below = _share(left, total) + branch + 1
            above = _share(right, total) + branch + 2
            choices[n, i, 0] = below - 1
            choices[n, i, 1] = above - below - 1
            choices[n, i, 2] = 2**PRECISION - 1 - above


@compiled
def _branch_edges(samples: Integers, stride: int, edges: Integers) -> None:
    """Edges of the branches of a choice, [n, 17], where ``samples`` is what was decided before."""
    for n in range(len(samples)):
        for branch in range(BRANCHES + 1):
            edges[n, branch] = samples[n] + branch * stride


@compiled
def _take(symbols: Integers, stride: int, samples: Integers) -> bool:
    """Move ``samples`` to the branches that were decoded; False where one is a dummy."""
    for n in range(len(symbols)):
        if not 1 <= symbols[n] <= BRANCHES:
            return False
        samples[n] += (symbols[n] - 1) * stride
    return True


@compiled
def _tabulate(masses: Integers, floor: int, choices: Floats) -> None:
    """Frequencies minus 1 of all branches and dummies, from masses [n, 17] into [n, 18].

    ``floor``: of a branch.
    """
    for n in range(len(masses)):
        choices[n, 0], choices[n, BRANCHES + 1] = 0, 0
        start = np.int64(masses[n, 0])
        total = masses[n, BRANCHES] - start + BRANCHES * floor
        below = np.int64(0)
        for branch in range(BRANCHES):
            part = masses[n, branch + 1] - start + (branch + 1) * floor
            above = _share(part, total)
            choices[n, branch + 1] = above - below
            below = above


def sample_type(bit_depth: int) -> type[np.uint8 | np.uint16]:
    """Of samples of 1, 8 or 16 bits."""
    return np.uint16 if bit_depth == 16 else np.uint8


class RangeEncoder:
    """Codes choices: those of a part of a strip, or of the changes of a model."""

    def __init__(self) -> None:
        """Start without words."""
        self._coder = constriction.stream.queue.RangeEncoder()
        self._family = constriction.stream.model.Categorical(perfect=False)

    def encode(self, choices: Floats) -> None:
        """Code ``choices`` (float32 [n, 3] of :func:`describe`) in order."""
        symbols = np.ones(len(choices), np.int32)
        self._coder.encode(symbols, self._family, np.ascontiguousarray(choices))

    def finish(self) -> bytes:
        """The words, little-endian."""
        words: Integers = self._coder.get_compressed()
        return words.astype("<u4").tobytes()


def check_length(payload: bytes, samples: int, bit_depth: int = 8) -> None:
    """Refuse a payload too short to hold so many ``samples``, before work or memory.

    Raises:
        FormatError: it is too short even if every choice was as likely as a choice can be.
    """
    fewest = sum(_fewest_bits(stride * floor_of(bit_depth)) for stride in strides(bit_depth))
    if 8 * len(payload) + _STATE_BITS < samples * fewest:
        raise FormatError(f"damaged: {len(payload)} bytes cannot hold {samples:,} samples")


_STATE_BITS = 64


def _fewest_bits(floor: int) -> float:
    """Of a choice between branches, each of a mass of ``floor`` or more, of a total below 2**28.9.

    The other branches have their share of 2**24, and 1 each.
    """
    others = (BRANCHES - 1) * floor // 30 + BRANCHES - 1
    return -math.log2(1 - others / 2**PRECISION)


class RangeDecoder:
    """Decodes the samples that were described to a :class:`RangeEncoder`."""

    def __init__(self, payload: bytes, bit_depth: int = 8) -> None:
        """Take the words of an encoder.

        Raises:
            FormatError: the payload is not a whole number of words.
        """
        if len(payload) % 4:
            raise FormatError(f"damaged: {len(payload)} bytes, which are no 32-bit words")
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._family = constriction.stream.model.Categorical(perfect=False)
        self._bit_depth, self._highest = bit_depth, 2**bit_depth - 1

    def decode(self, distribution: Distribution) -> Integers:
        """The next samples, one for each distribution: uint8, of 16 bits uint16.

        Raises:
            FormatError: no encoder wrote such words.
        """
        samples = np.zeros(len(distribution), np.int32)
        edges = np.empty((len(samples), BRANCHES + 1), np.int32)
        choices = np.empty((len(samples), BRANCHES + 2), np.float32)
        for stride in strides(self._bit_depth):
            _branch_edges(samples, stride, edges)
            _tabulate(distribution.cumulative(edges), stride * floor_of(self._bit_depth), choices)
            if not _take(self._symbols(choices), stride, samples):
                raise FormatError(_NOT_WRITTEN_BY_AN_ENCODER)
        if samples.max() > self._highest:
            raise FormatError(_NOT_WRITTEN_BY_AN_ENCODER)
        return samples.astype(sample_type(self._bit_depth))

    def _symbols(self, choices: Floats) -> npt.NDArray[np.int32]:
        try:
            symbols: npt.NDArray[np.int32] = self._coder.decode(self._family, choices)
        except AssertionError:  # what constriction raises for words that no encoder wrote
            raise FormatError(_NOT_WRITTEN_BY_AN_ENCODER) from None
        return symbols


_NOT_WRITTEN_BY_AN_ENCODER = "damaged: range-coder words that no encoder writes"
