"""The colours that an image had so far, each once.

A pixel of a colour that is known, though not of a candidate, is coded by its channels as any other;
but levels that lead to no known colour are left out. docs/FORMAT.md ("Palette") has every step.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.memory import stir

MOST_COLOURS = 4096
"""Colours that come when so many are known are not taken in."""

_SLOT_BITS = 14
_NOWHERE = -1

Integers = npt.NDArray[Any]


class Palette:
    """The colours (see :func:`pixelcodec.models.memory.pack`), at first none.

    Attributes:
        colours: int64 [MOST_COLOURS], in the order in which they came.
        chains: int32 [1 + MOST_COLOURS + 1024 + slots]: how many there are; for each colour the one
            before it of the same first channel; for each level of the first channel the last one;
            and a hash table of all of them.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.colours = np.zeros(MOST_COLOURS, np.int64)
        self.chains = np.full(1 + MOST_COLOURS + 1024 + 2**_SLOT_BITS, _NOWHERE, np.int32)
        self.chains[0] = 0

    def take_in(self, colours: Integers) -> None:
        """Add those of ``colours`` (int64 [n]) that are new."""
        add(colours, self.colours, self.chains)


@compiled
def _place(colour: Any, known: Integers, chains: Integers) -> Any:
    """Where in the table ``colour`` is, or would be."""
    slot = (stir(np.int64(0), colour) >> (64 - _SLOT_BITS)) & (2**_SLOT_BITS - 1)
    first = 1 + MOST_COLOURS + 1024
    while chains[first + slot] != _NOWHERE and known[chains[first + slot]] != colour:
        slot = (slot + 1) & (2**_SLOT_BITS - 1)
    return first + slot


@compiled
def is_known(colour: Any, known: Integers, chains: Integers) -> Any:
    """Whether the palette has ``colour``."""
    return chains[_place(colour, known, chains)] != _NOWHERE


@compiled
def add(colours: Integers, known: Integers, chains: Integers) -> None:
    """See :meth:`Palette.take_in`."""
    for n in range(len(colours)):
        place = _place(colours[n], known, chains)
        count = chains[0]
        if chains[place] != _NOWHERE or count == MOST_COLOURS:
            continue
        chain = 1 + MOST_COLOURS + (colours[n] & 1023)
        known[count], chains[place] = colours[n], count
        chains[1 + count], chains[chain] = chains[chain], count
        chains[0] = count + 1


@compiled
def count_levels(
    known: Integers,
    chains: Integers,
    left_out: Integers,
    begins: Any,
    channel: int,
    counts: Integers,
) -> None:
    """How many colours have each level of ``channel``, of those that go on from a pixel.

    Args:
        known: colours of the palette.
        chains: of the palette.
        left_out: int64, distinct colours that do not count.
        begins: the pixel's channels before, as in a colour.
        channel: 0..3.
        counts: int64 [256], is filled.
    """
    shift = np.int64(10 * channel)
    mask = (np.int64(1) << shift) - 1
    counts[:] = 0
    first: Any = 0 if channel == 0 else begins & 1023
    last: Any = 256 if channel == 0 else first + 1
    for level in range(first, last):
        at = chains[1 + MOST_COLOURS + level]
        while at != _NOWHERE:
            if known[at] & mask == begins & mask:
                counts[(known[at] >> shift) & 255] += 1
            at = chains[1 + at]
    for i in range(len(left_out)):
        if left_out[i] & mask == begins & mask and is_known(left_out[i], known, chains):
            counts[(left_out[i] >> shift) & 255] -= 1
