"""Where the parts of a chart lie: numbers for the SVG of a report."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pixelcodec.cli.heat import round_step

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 66, 428, 14, 280
"""Edges of the plot inside the chart."""

_REACH = 8
"""From the middle of a point to its edge, and some air."""

_LINE, _LETTER = 15, 6.9
"""Height of a label, and width of a letter (of most: a label is drawn by who knows which font)."""

_PADDING = 0.08
_FEW_MARKS = 2


@dataclass(frozen=True)
class Mark:
    """A round number on an axis: where it lies, and in words."""

    place: float
    text: str


@dataclass(frozen=True)
class Box:
    """A rectangle; ``top`` is less than ``bottom``, as in SVG."""

    left: float
    top: float
    right: float
    bottom: float

    def common(self, other: "Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


PLOT = Box(LEFT, TOP, RIGHT, BOTTOM)


@dataclass(frozen=True)
class Label:
    """A text whose ``anchor`` (start, middle or end) is at ``x``, and its middle at ``y``."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> Box:
        """About the room that it takes."""
        width = _LETTER * len(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - _LINE / 2, left + width, self.y + _LINE / 2)


@dataclass(frozen=True)
class Point:
    """A codec in a scatter plot."""

    x: float
    y: float
    ours: bool
    label: Label

    @property
    def is_far(self) -> bool:
        """Whether a line must lead from the point to its label."""
        return math.hypot(self.label.x - self.x, self.label.y - self.y) > 2 * _REACH


@dataclass(frozen=True)
class Scatter:
    """Bytes against seconds, both logarithmic."""

    title: str
    points: list[Point]
    x_marks: list[Mark]
    y_marks: list[Mark]


@dataclass(frozen=True)
class LogAxis:
    """An axis of logarithmic scale, which has room for ``values`` (all above 0) and a bit more.

    ``start`` and ``end`` are where it lies; it may run backwards.
    """

    values: Sequence[float]
    start: float
    end: float

    @property
    def _logarithms(self) -> tuple[float, float]:
        low, high = math.log10(min(self.values)), math.log10(max(self.values))
        room = _PADDING * (high - low) or 0.1
        return low - room, high + room

    def place(self, value: float) -> float:
        """Where ``value`` lies."""
        low, high = self._logarithms
        return self.start + (math.log10(value) - low) / (high - low) * (self.end - self.start)

    @property
    def marks(self) -> list[float]:
        """Round numbers: powers of ten, or 2 and 5 times those too, or on a short axis equal steps.

        >>> LogAxis([0.02, 3], 0, 1).marks
        [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
        >>> LogAxis([1.2, 1.9], 0, 1).marks
        [1.2, 1.4, 1.6, 1.8]
        """
        low, high = (10**end for end in self._logarithms)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factors in ((1,), (1, 2, 5)):
            marks = [float(f"{factor}e{power}") for power in powers for factor in factors]
            inside = [mark for mark in marks if low <= mark <= high]
            if len(inside) > _FEW_MARKS:
                return inside
        step = round_step((high - low) / 5)
        first, last = math.ceil(low / step), math.floor(high / step)
        return [float(f"{step * number:.6g}") for number in range(first, last + 1)]


@dataclass(frozen=True)
class Timed:
    """A codec that took ``seconds`` for ``size`` bytes, both above 0."""

    name: str
    ours: bool
    size: int
    seconds: float


def scatter(title: str, codecs: Sequence[Timed]) -> Scatter:
    """Lay out the ``codecs``, one at least."""
    x_axis = LogAxis([codec.seconds for codec in codecs], LEFT, RIGHT)
    y_axis = LogAxis([codec.size for codec in codecs], BOTTOM, TOP)
    places = [(x_axis.place(codec.seconds), y_axis.place(codec.size)) for codec in codecs]
    labels = labelled([codec.name for codec in codecs], places)
    return Scatter(
        title,
        [
            Point(x, y, codec.ours, label)
            for codec, (x, y), label in zip(codecs, places, labels, strict=True)
        ],
        [Mark(x_axis.place(mark), f"{mark:g}") for mark in x_axis.marks],
        [Mark(y_axis.place(mark), bytes_text(mark)) for mark in y_axis.marks],
    )


def labelled(texts: Sequence[str], places: Sequence[tuple[float, float]]) -> list[Label]:
    """A label for each place in the plot, near to it, on as little else as can be."""
    taken = [Box(x - _REACH, y - _REACH, x + _REACH, y + _REACH) for x, y in places]
    found: list[Label] = []
    for text, (x, y) in zip(texts, places, strict=True):
        label = min(_candidates(text, x, y), key=lambda each: _covered(each.box, taken))
        found.append(label)
        taken.append(label.box)
    return found


def _candidates(text: str, x: float, y: float) -> Iterator[Label]:
    """Where the label of a place may stand, the best first: beside it, above, below, further."""
    for distance in range(_REACH + 3, 12 * _REACH, _REACH):
        for dy in (0, -distance, distance):
            yield Label(text, x + distance, y + dy, "start")
            yield Label(text, x - distance, y + dy, "end")
        yield Label(text, x, y - distance, "middle")
        yield Label(text, x, y + distance, "middle")


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """The area of ``box`` that lies on what is ``taken`` or outside the plot."""
    area = (box.right - box.left) * (box.bottom - box.top)
    return area - box.common(PLOT) + sum(box.common(other) for other in taken)


def bytes_text(size: float) -> str:
    """Say bytes in few letters.

    >>> bytes_text(1_200_000), bytes_text(950_000), bytes_text(12)
    ('1.2 MB', '950 kB', '12 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.6g} {unit}"
    return f"{size:.6g} B"
