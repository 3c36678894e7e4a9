"""From cumulative distributions to range-coder words and back, by constriction.

A sample is coded as nibbles, the high one first: a 16-way choice between 16 wide intervals of
levels, then a 16-way choice inside the interval. Each choice has frequencies that sum to 2**24,
all at least 1. The coder takes them as ``f - 1`` in float32 with ``perfect=False``: its internal
scale is then exactly 1 and all its sums are whole numbers below 2**24, so nothing is rounded.

Each choice has a dummy branch of frequency 1 at either end. They let the encoder describe a
choice by three numbers (what lies left of it, itself, what lies right) instead of sixteen.
"""

from typing import Any, Protocol

import constriction
import numpy as np
import numpy.typing as npt

from pixelcodec.errors import FormatError

PRECISION = 24
BRANCHES = 16
STRIDES = (16, 1)
"""Width in levels of a branch of each choice: 8 bits are two nibbles."""
LEVELS = 256

FLOOR = 64
"""Added to the mass of each level, so that nothing is impossible."""

_SHARED = 2**PRECISION - BRANCHES - 2
"""Frequency that the branches share out, beyond one for each and for each dummy."""

Integers = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class Distribution(Protocol):
    """Distributions of n samples."""

    def cumulative(self, start: Integers, offsets: Integers) -> Integers:
        """Cumulative distribution below the edges ``start + offsets``: int32 [m, n] < 2**28.9.

        ``start`` is intp [n or 1], ``offsets`` [m, n or 1].
        """


def describe(distribution: Distribution, samples: Integers) -> Floats:
    """What the encoder needs to know of each choice.

    Args:
        distribution: of n samples.
        samples: intp [n], 0..255.

    Returns:
        float32 [n, 2, 3], whole numbers: frequency left of the branch, of the branch, and right
        of it, each minus 1.
    """
    high = samples & -STRIDES[0]
    start, end = np.zeros_like(samples), np.full_like(samples, LEVELS)
    edges = np.stack([start, high, high + STRIDES[0], end, samples, samples + 1])
    masses = distribution.cumulative(_ZERO, edges) + edges * FLOOR
    start, left, right, end, below, above = masses
    choices = np.empty((len(samples), len(STRIDES), 3), np.float32)
    _describe_choice(start, left, right, end, samples >> 4, choices[:, 0])
    _describe_choice(left, below, above, right, samples & 15, choices[:, 1])
    return choices


def _describe_choice(
    start: Integers, left: Integers, right: Integers, end: Integers, branch: Integers, out: Floats
) -> None:
    """A choice between ``start`` and ``end`` that fell on ``left..right``, into ``out`` [n, 3]."""
    total = end - start
    below = _share(left - start, total) + branch + 1
    above = _share(right - start, total) + branch + 2
    out[:, 0] = below - 1
    out[:, 1] = above - below - 1
    out[:, 2] = 2**PRECISION - 1 - above


def _share(part: Integers, total: Integers) -> npt.NDArray[np.float64]:
    """``part * _SHARED // total``, as whole float64.

    Exact: the product is below 2**53, and the quotient, below 2**24, differs from the next whole
    number by at least ``1 / total > 2**-29``, so that rounding cannot carry it there.
    """
    shared: npt.NDArray[np.float64] = part * np.float64(_SHARED)
    shared /= total
    return np.floor(shared, out=shared)


class StripEncoder:
    """Codes the choices of one strip."""

    def __init__(self) -> None:
        """Start an empty strip."""
        self._coder = constriction.stream.queue.RangeEncoder()
        self._family = constriction.stream.model.Categorical(perfect=False)

    def encode(self, choices: Floats) -> None:
        """Code ``choices`` (float32 [n, 3] of :func:`describe`) in order."""
        symbols = np.ones(len(choices), np.int32)
        self._coder.encode(symbols, self._family, np.ascontiguousarray(choices))

    def finish(self) -> bytes:
        """The strip's words, little-endian."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class StripDecoder:
    """Decodes the samples of one strip."""

    def __init__(self, payload: bytes) -> None:
        """Take a strip's words.

        Raises:
            FormatError: the payload is not a whole number of words.
        """
        if len(payload) % 4:
            raise FormatError(f"a strip holds {len(payload)} bytes, which are no 32-bit words")
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._family = constriction.stream.model.Categorical(perfect=False)

    def decode(self, distribution: Distribution) -> Integers:
        """The next samples, one for each distribution: intp [n], 0..255."""
        samples: Integers = _ZERO
        for offsets, floor in zip(_OFFSETS, _FLOORS, strict=True):
            masses = distribution.cumulative(samples, offsets)
            samples = samples + offsets[self._choose(masses, floor), 0]
        return samples

    def _choose(self, masses: Integers, floor: Floats) -> Integers:
        """Decode a choice between the branches that ``masses`` [17, n] bound: intp [n]."""
        parts = masses - masses[0] + floor
        shares = _share(parts, parts[-1])
        choices = np.zeros((masses.shape[1], BRANCHES + 2), np.float32)
        choices[:, 1:-1] = (shares[1:] - shares[:-1]).T  # minus 1, and plus 1 for the branch
        return self._coder.decode(self._family, choices) - 1


_ZERO = np.zeros(1, np.intp)
_OFFSETS = [np.arange(BRANCHES + 1)[:, None] * stride for stride in STRIDES]
_FLOORS = [(offsets * FLOOR).astype(np.float64) for offsets in _OFFSETS]
