"""Colours that a pixel may repeat, and what speaks for each.

Graphics are flat: most pixels have the colour of a neighbour, or one that was seen in like
surroundings (:mod:`pixelcodec.models.memory`). These are a pixel's **candidates**. Each has a row
of features, by which a network weighs it; two last rows stand for a new colour, and for one that
was seen but is no candidate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.compiled import compiled
from pixelcodec.models.context import median
from pixelcodec.models.memory import (
    CONTEXTS,
    WAYS,
    Memory,
    colour_of,
    count_of,
    find,
    key_of,
    pack,
    stir,
)
from pixelcodec.models.program import Block

CHANNELS = 4
"""Of a pixel, here: gray stands in the first three, and what has no alpha is opaque."""

NOVELTY = 4
"""Channel of the storage that holds 1 where a pixel was none of its candidates."""

OUTSIDE = 640
"""What storage holds in all channels of pixels that are not in the image."""

RUNS = ((3, -1, 3), (2, -2, 3), (1, -2, 1), (0, -3, -1))
TAPS = np.array(
    [
        (0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0), (2, 1), (1, -2),
        (2, -1), (2, 2), (2, -2), (0, -3), (3, 0), (2, 3), (3, 1), (3, -1),
    ]
)  # fmt: skip
"""The neighbours, nearest first: rows above, columns right. A wave of slope 2 knows all of them."""

MOST = 12
"""Candidates of a pixel."""

EXTRA = 2
"""Rows of a pixel, beside those of its candidates."""

_NEAR = 6
"""So many neighbours are candidates themselves."""

_PREFIXES = np.array([1, 2, 4, 6, 10, 16])
"""Contexts are the colours of so many neighbours, the most first; then coarse colours of four, and
nothing."""

_WELL_KNOWN = 20
"""Where a context was seen so often, those after it add no candidates."""

_PAIRS = np.array([(0, 1), (0, 2), (1, 2), (1, 3), (0, 4), (1, 5), (3, 6), (2, 7)])
"""Neighbours whose equality each row of a pixel tells of."""

_STEPS = np.array([(0, 1), (0, 2), (1, 2), (1, 3)])
"""Neighbours whose distance each row of a pixel tells of."""

_EQUAL = 0
_KNOWN = _EQUAL + len(TAPS)
_DISTANCE = _KNOWN + 3 * CONTEXTS
_OF_PIXEL = _DISTANCE + 1
_NOVEL = _OF_PIXEL + len(_PAIRS)
_STEP = _NOVEL + _NEAR
_COUNT = _STEP + len(_STEPS)
_PALETTE = _COUNT + 1
_NEW = _PALETTE + 1
_SEEN = _NEW + 1
FEATURES = _SEEN + 1
"""Of a row."""

CONTEXT_FEATURES = CHANNELS * (len(TAPS) + 1)

_ONE = 16
_WHITE = 255 * (1 + 2**10 + 2**20 + 2**30)

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class Candidates:
    """Those of n pixels.

    Attributes:
        counts: int64 [n], 1 to MOST.
        colours: int64 [n, MOST].
        rows: int8 [all counts, and two more for each pixel, FEATURES], pixel by pixel; a pixel's
            last rows are those of a new colour, and of a seen one.
        hashes: int64 [n, CONTEXTS].
        centre: int16 [n, 4], the median prediction of each channel, 0..255.
        context: int8 [n, CONTEXT_FEATURES]: companded differences of the neighbours to the centre,
            neighbour by neighbour, then the centre itself minus 128.
    """

    counts: Integers
    colours: Integers
    rows: Integers
    hashes: Integers
    centre: Integers
    context: Integers


def candidates(
    storage: Integers, block: Block, memory: Memory, seen: int, companding: Integers
) -> Candidates:
    """Of the pixels of ``block``, image by image and row by row.

    Args:
        storage: int16 [images, rows, columns, 5], samples of 4 channels and novelty.
        block: the pixels; all their neighbours lie in ``storage``.
        memory: what was seen so far.
        seen: how many colours were seen so far.
        companding: int8 [1024], see :func:`pixelcodec.models.context.companding_table`.
    """
    count = len(storage) * block.rows * block.span
    counts = np.zeros(count, np.int64)
    colours = np.empty((count, MOST), np.int64)
    rows = np.zeros((count * (MOST + EXTRA), FEATURES), np.int8)
    hashes = np.empty((count, CONTEXTS), np.int64)
    centre = np.empty((count, CHANNELS), np.int16)
    context = np.empty((count, CONTEXT_FEATURES), np.int8)
    shifts = np.empty_like(TAPS)
    shifts[:, 0] = -TAPS[:, 0]
    shifts[:, 1] = TAPS[:, 1] - block.slope * TAPS[:, 0]
    used = gather(
        *(storage, block.row, block.column, block.rows, block.span, shifts),
        *(memory.slots, seen, companding),
        *(counts, colours, rows, hashes, centre, context),
    )
    return Candidates(counts, colours, rows[:used], hashes, centre, context)


def _logarithms() -> npt.NDArray[np.int64]:
    whole = np.arange(1, 2**12 + 1)
    exponent = np.frexp(whole)[1].astype(np.int64) - 1
    return 8 * exponent + ((whole << 3 >> exponent) & 7)


_LOGARITHMS = _logarithms()


@compiled
def logarithm(number: Any) -> Any:
    """About ``8 * log2(number + 1)``, at most 127: the exponent, and three bits of what follows.

    Args:
        number: 0 to 2**18.
    """
    if number < 2**12:
        return _LOGARITHMS[number]
    return min(_LOGARITHMS[((number + 1) >> 7) - 1] + 56, 127)


@compiled
def gather(
    storage: Integers,
    first_row: int,
    first_column: int,
    height: int,
    span: int,
    shifts: Integers,
    memory: Integers,
    seen: int,
    companding: Integers,
    counts: Integers,
    colours: Integers,
    rows: Integers,
    hashes: Integers,
    centre: Integers,
    context: Integers,
) -> int:
    """See :func:`candidates`; the arrays after ``companding`` are filled. Count of rows."""
    near = np.empty(len(shifts), np.int64)
    n, used = 0, 0
    for image in storage:
        for row in range(first_row, first_row + height):
            for column in range(first_column, first_column + span):
                for tap in range(len(shifts)):
                    near[tap] = pack(image, row + shifts[tap, 0], column + shifts[tap, 1])
                _predict(image, row, column, shifts, companding, centre[n], context[n])
                _hash(near, hashes[n])
                counts[n] = _collect(near, hashes[n], memory, colours[n])
                own = rows[used : used + counts[n] + EXTRA]
                _describe_pixel(image, row, column, shifts, near, counts[n], seen, own)
                _describe_each(near, colours[n], centre[n], own)
                for i in range(CONTEXTS):
                    slot = memory[i, find(hashes[n, i], memory[i])]
                    if slot[0] == key_of(hashes[n, i]):
                        _describe_known(slot, colours[n], own, _KNOWN + 3 * i)
                n += 1
                used += len(own)
    return used


@compiled
def _predict(
    image: Integers,
    row: int,
    column: int,
    shifts: Integers,
    companding: Integers,
    centre: Integers,
    context: Integers,
) -> None:
    for c in range(CHANNELS):
        west = image[row + shifts[0, 0], column + shifts[0, 1], c]
        north = image[row + shifts[1, 0], column + shifts[1, 1], c]
        north_west = image[row + shifts[2, 0], column + shifts[2, 1], c]
        middle = median(west, north, north_west) & 255
        centre[c] = middle
        context[CHANNELS * len(shifts) + c] = max(middle - 128, -127)
        for tap in range(len(shifts)):
            sample = image[row + shifts[tap, 0], column + shifts[tap, 1], c]
            context[CHANNELS * tap + c] = companding[255 + sample - middle]


@compiled
def _hash(near: Integers, hashes: Integers) -> None:
    last = len(_PREFIXES)
    state, i = np.int64(0), last
    for tap in range(len(near)):
        state = stir(state, near[tap])
        if tap + 1 == _PREFIXES[last - i]:
            i -= 1
            hashes[i] = stir(state, i)
    state = np.int64(0)
    for tap in range(4):
        coarse = near[tap] & np.int64(0b1111100000_1111100000_1111100000_1111100000)
        state = stir(state, coarse)
    hashes[last] = stir(state, last)
    hashes[last + 1] = stir(np.int64(0), last + 1)


@compiled
def _add(colour: Any, colours: Integers, count: Any) -> Any:
    """The count of ``colours`` once ``colour`` is among them, if there is room."""
    for i in range(count):
        if colours[i] == colour:
            return count
    if count == MOST:
        return count
    colours[count] = colour
    return count + 1


@compiled
def _collect(near: Integers, hashes: Integers, memory: Integers, colours: Integers) -> Any:
    found = np.int64(0)
    for tap in range(_NEAR):
        if near[tap] & 1023 != OUTSIDE:
            found = _add(near[tap], colours, found)
    for i in range(CONTEXTS):
        slot = memory[i, find(hashes[i], memory[i])]
        if slot[0] != key_of(hashes[i]):
            continue
        total = np.int64(0)
        for way in range(1, WAYS + 1):
            if count_of(slot[way]) > 0:
                found = _add(colour_of(slot[way]), colours, found)
                total += count_of(slot[way])
        if total >= _WELL_KNOWN:
            break
    if found == 0:
        found = _add(np.int64(0), colours, found)
        found = _add(np.int64(_WHITE), colours, found)
        found = _add(np.int64(255) << 30, colours, found)
    return found


@compiled
def _describe_pixel(
    image: Integers,
    row: int,
    column: int,
    shifts: Integers,
    near: Integers,
    count: Any,
    seen: int,
    rows: Integers,
) -> None:
    """What all rows of a pixel have in common."""
    first = rows[0]
    for i in range(len(_PAIRS)):
        first[_OF_PIXEL + i] = _ONE * (near[_PAIRS[i, 0]] == near[_PAIRS[i, 1]])
    for tap in range(_NEAR):
        novel = image[row + shifts[tap, 0], column + shifts[tap, 1], NOVELTY]
        first[_NOVEL + tap] = _ONE * (novel > 0)
    for i in range(len(_STEPS)):
        first[_STEP + i] = logarithm(_distance(near[_STEPS[i, 0]], near[_STEPS[i, 1]]))
    first[_COUNT] = 8 * count
    first[_PALETTE] = logarithm(seen)
    for i in range(1, len(rows)):
        for j in range(_OF_PIXEL, _NEW):
            rows[i, j] = first[j]
    rows[count, _NEW], rows[count + 1, _SEEN] = _ONE, _ONE


@compiled
def _distance(one: Any, other: Any) -> Any:
    """Of two colours: the sum of the differences of their channels."""
    total = np.int64(0)
    for c in range(CHANNELS):
        total += abs(((one >> (10 * c)) & 1023) - ((other >> (10 * c)) & 1023))
    return total


@compiled
def _describe_each(near: Integers, colours: Integers, centre: Integers, rows: Integers) -> None:
    middle = np.int64(0)
    for c in range(CHANNELS):
        middle |= np.int64(centre[c]) << (10 * c)
    for i in range(len(rows) - EXTRA):
        for tap in range(len(near)):
            rows[i, _EQUAL + tap] = _ONE * (near[tap] == colours[i])
        rows[i, _DISTANCE] = logarithm(_distance(colours[i], middle))


@compiled
def _describe_known(slot: Integers, colours: Integers, rows: Integers, first: int) -> None:
    """How often each candidate stood in a context, how often others did, and which was the last."""
    total = np.int64(0)
    for way in range(1, WAYS + 1):
        total += count_of(slot[way])
    for i in range(len(rows)):
        own = np.int64(0)
        for way in range(1, WAYS + 1):
            known = i + EXTRA < len(rows) and count_of(slot[way]) > 0
            if known and colour_of(slot[way]) == colours[i]:
                own = count_of(slot[way])
                rows[i, first + 2] = _ONE * (way == 1)
        rows[i, first] = logarithm(own)
        rows[i, first + 1] = logarithm(total - own)
