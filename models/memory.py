"""What colours followed what: hashed contexts, kept by encoder and decoder alike.

A **context** is what a pixel's neighbours look like, as a number. For each there is a **slot** that
holds the last few colours that stood there, the latest first, and how often each did. So glyphs,
tiles, dither and palettes are found again, wherever they stood. docs/FORMAT.md ("Memory") has every
step.

A colour is a number here, see :func:`pack`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled

CONTEXTS = 8
"""How many contexts a pixel has."""

WAYS = 3
"""Colours of a slot."""

SLOTS = 2**16
COUNT_MOST = 2**16 - 1
COLOUR_BITS = 40

_MULTIPLIER = -7046029254386353131
"""0x9E3779B97F4A7C15, modulo 2**64."""

_SLOT_SHIFT = 64 - 18
_KEY_SHIFT, _KEY_MASK = 12, 2**32 - 1

Integers = npt.NDArray[Any]


class Memory:
    """The slots of all contexts, at first empty.

    Attributes:
        slots: int64 [CONTEXTS, slots, 1 + WAYS]. The first number tells which context a slot is of;
            0: none yet. The others are a colour, and 2**40 times how often it stood there; 0: none.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        """Start empty; ``slots`` of a context, a power of two."""
        self.slots = np.zeros((CONTEXTS, slots, 1 + WAYS), np.int64)

    def take_in(self, hashes: Integers, colours: Integers) -> None:
        """Learn that ``colours`` (int64 [n]) stood in contexts (int64 [n, CONTEXTS])."""
        take_in(hashes, colours, self.slots)


@compiled
def pack(image: Integers, row: Any, column: Any) -> Any:
    """The colour of a pixel of ``image`` [rows, columns, channels]: 10 bits for each of 4."""
    return (
        np.int64(image[row, column, 0])
        | np.int64(image[row, column, 1]) << 10
        | np.int64(image[row, column, 2]) << 20
        | np.int64(image[row, column, 3]) << 30
    )


@compiled
def stir(state: Any, number: Any) -> Any:
    """A hash of all numbers that were stirred in: int64, whose upper bits are good."""
    return (state + number + 1) * np.int64(_MULTIPLIER)


@compiled
def find(hash_of_context: Any, slots: Integers) -> Any:
    """Number of the slot of a context among its ``slots`` [slots, 1 + WAYS]."""
    return (hash_of_context >> _SLOT_SHIFT) & np.int64(len(slots) - 1)


@compiled
def key_of(hash_of_context: Any) -> Any:
    """What tells contexts of one slot apart, 1 or more."""
    return ((hash_of_context >> _KEY_SHIFT) & np.int64(_KEY_MASK)) + 1


@compiled
def colour_of(entry: Any) -> Any:
    """Of an entry of a slot."""
    return entry & np.int64(2**COLOUR_BITS - 1)


@compiled
def count_of(entry: Any) -> Any:
    """How often the colour of an entry stood there; 0: there is none."""
    return entry >> COLOUR_BITS


@compiled
def take_in(hashes: Integers, colours: Integers, slots: Integers) -> None:
    """See :meth:`Memory.take_in`."""
    for n in range(len(hashes)):
        for context in range(hashes.shape[1]):
            place = find(hashes[n, context], slots[context])
            slot, key = slots[context, place], key_of(hashes[n, context])
            if slot[0] != key:
                slot[:] = 0
                slot[0] = key
            _see(colours[n], slot)


@compiled
def _see(colour: Any, slot: Integers) -> None:
    """Count ``colour``, halve what the others have, and put it in front."""
    place, count = WAYS, np.int64(0)
    for way in range(WAYS, 0, -1):
        if count_of(slot[way]) > 0 and colour_of(slot[way]) == colour:
            place, count = way, count_of(slot[way])
    for way in range(place, 1, -1):
        slot[way] = slot[way - 1]
    for way in range(2, WAYS + 1):
        others = count_of(slot[way])
        if others > 2:
            slot[way] = colour_of(slot[way]) | ((others >> 1) + 1) << COLOUR_BITS
    slot[1] = colour | min(count + 1, np.int64(COUNT_MOST)) << COLOUR_BITS
