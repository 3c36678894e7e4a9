"""When each pixel is coded, and where the activations of earlier pixels lie.

All pixels with equal ``t = x + slope * y`` form a *wave* and are coded at once; a strip of
``rows`` rows takes ``width + slope * (rows - 1)`` waves (the skew of "Pixel Recurrent Neural
Networks", section 3.3). A :class:`Canvas` stores activations skewed likewise: pixel (x, y) lies in
column ``x + slope * y``, so the taps of a masked convolution are runs of columns. Slope 0 is plain
raster layout, in which the encoder, who knows all pixels, takes whole bands of rows at once, and
networks without waves go pixel by pixel: the same code, with another slope.

A strip may be cut into tiles, which are independent of one another. Tiles of equal size form a
*stack* and are coded side by side, a wave of all of them at once. A strip in one piece is a stack
of one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.models.program import Block, Plane

Integers = npt.NDArray[np.int64]

STACK_TILES = 512
STACK_PIXELS = 2**19
"""Most tiles, and pixels, of a stack (but one tile at least): they bound memory.

Part of the format, as they order symbols.
"""


@dataclass(frozen=True)
class Wave:
    """The pixels of rows ``first..end-1`` whose ``x + slope * y`` is ``time``."""

    time: int
    first: int
    end: int

    def places(self, slope: int) -> tuple[Integers, Integers]:
        """Rows and columns of its pixels, int64 [n] each, from the top row down."""
        y = np.arange(self.first, self.end)
        return y, self.time - slope * y


def waves(rows: int, width: int, slope: int) -> Iterator[Wave]:
    """All waves of a strip, in the order of coding; none is empty.

    Slope 0 is one pixel at a time, in raster order: ``time`` is then the column.

    >>> [(w.time, w.first, w.end) for w in waves(2, 2, 2)]
    [(0, 0, 1), (1, 0, 1), (2, 1, 2), (3, 1, 2)]
    """
    if slope == 0:
        yield from (Wave(x, y, y + 1) for y in range(rows) for x in range(width))
        return
    for time in range(width + slope * (rows - 1)):
        first = max(0, -(-(time - width + 1) // slope))
        end = min(rows, time // slope + 1)
        if first < end:
            yield Wave(time, first, end)


def symbol_positions(images: int, rows: int, width: int, slope: int, symbols: int) -> Integers:
    """Where each symbol of a stack stands in the order of coding.

    A wave's pixels are coded symbol by symbol: the first symbol of all its pixels, image by image
    and from the top row down, then the second of all, and so on.

    Args:
        images: count of the stack.
        rows: height of each.
        width: of each.
        slope: of the waves; 0: pixel by pixel.
        symbols: count for each pixel.

    Returns:
        int64 [images, rows, width, symbols], a permutation of ``0..size-1``.
    """
    if slope == 0:  # as if all were one row, whose waves are its pixels
        row = symbol_positions(images, 1, rows * width, 1, symbols)
        return row.reshape(images, rows, width, symbols)
    y, x = np.arange(rows)[:, None], np.arange(width)[None, :]
    time = x + slope * y
    times = np.arange(width + slope * (rows - 1))
    first = np.maximum(0, -(-(times - width + 1) // slope))
    count = np.maximum(0, np.minimum(rows, times // slope + 1) - first)
    before = np.concatenate([[0], np.cumsum(count)[:-1]])
    image = np.arange(images)[:, None, None]
    within = image * count[time] + y - first[time]
    start = before[time] * images * symbols + within
    stride = images * count[time][..., None]
    positions: Integers = start[..., None] + stride * np.arange(symbols)
    return positions


@dataclass(frozen=True)
class Stack:
    """Tiles of equal size, of one strip.

    Attributes:
        tops: row of each tile's first pixel in the strip.
        lefts: column of each tile's first pixel.
        rows: height of each.
        width: of each.
    """

    tops: Integers
    lefts: Integers
    rows: int
    width: int

    @property
    def index(self) -> tuple[Integers, Integers]:
        """``strip[stack.index]`` are the tiles: [count, rows, width, channels]."""
        y = self.tops[:, None] + np.arange(self.rows)
        x = self.lefts[:, None] + np.arange(self.width)
        return y[:, :, None], x[:, None, :]


def tiles_together(tile: int) -> int:
    """How many tiles of ``tile`` x ``tile`` pixels a stack has at most."""
    return max(1, min(STACK_TILES, STACK_PIXELS // tile**2))


def stacks(rows: int, width: int, tile: int) -> Iterator[Stack]:
    """The stacks of a strip in the order of coding.

    Tiles come in raster order, first those of ``tile`` x ``tile`` pixels, then those that are cut
    at the right, at the bottom, and at both; at most :data:`STACK_TILES` in a stack, and of large
    tiles as many as have :data:`STACK_PIXELS` together.

    Args:
        rows: height of the strip.
        width: of the strip.
        tile: side of a tile; 0: the strip in one piece.

    >>> [(len(s.tops), s.rows, s.width) for s in stacks(5, 6, 4)]
    [(1, 4, 4), (1, 4, 2), (1, 1, 4), (1, 1, 2)]
    """
    if tile == 0:
        yield Stack(np.zeros(1, np.int64), np.zeros(1, np.int64), rows, width)
        return
    most = tiles_together(tile)
    for tops, height in _cuts(rows, tile):
        for lefts, breadth in _cuts(width, tile):
            all_tops, all_lefts = np.repeat(tops, len(lefts)), np.tile(lefts, len(tops))
            for start in range(0, len(all_tops), most):
                part = slice(start, start + most)
                yield Stack(all_tops[part], all_lefts[part], height, breadth)


def _cuts(length: int, tile: int) -> Iterator[tuple[Integers, int]]:
    """Starts of the whole tiles along a side, and of the one that is cut; none is empty."""
    whole = length // tile
    if whole:
        yield np.arange(whole) * tile, tile
    if length % tile:
        yield np.array([whole * tile]), length % tile


class Columns(NamedTuple):
    """Columns of storage: a window of skewed ones, and what taps of its pixels reach beside it."""

    before: int
    window: int
    after: int


def columns_of(
    planes: Mapping[str, Plane], rows: int, width: int, slope: int, window: int | None = None
) -> Columns:
    """The columns that a :class:`Canvas` of ``planes`` stores, which takes the same arguments."""
    runs = [run for plane in planes.values() for run in plane.runs]
    return Columns(
        before=max(0, *(slope * dy - first for dy, first, _ in runs)),
        window=width + slope * (rows - 1) if window is None else window,
        after=max(0, *(last - slope * dy for dy, _, last in runs)),
    )


Carry = dict[str, Tensor]
"""For each plane the last rows above a strip, [images, rows above, width, channels]."""


class Canvas:
    """Skewed storage of the planes of a stack of strips (or bands), a window of columns at a time.

    Memory is ``images * rows * columns`` of each plane whatever the size of the image. What lies
    above the strip is carried in by :meth:`begin`, the last rows of the strip are carried out by
    :meth:`end`.
    """

    def __init__(
        self,
        planes: Mapping[str, Plane],
        images: int,
        rows: int,
        width: int,
        slope: int,
        device: torch.device,
        columns: int | None = None,
    ) -> None:
        """Make a canvas; :meth:`begin` comes next.

        Args:
            planes: the activations to store.
            images: count of the stack.
            rows: the greatest height of a strip.
            width: of each image.
            slope: of the layout; 0 is raster order.
            device: where activations live, but those that live on the host.
            columns: how many skewed columns to hold at once; all of them by default.
        """
        self._planes, self._images = planes, images
        self._width, self._slope = width, slope
        stored = columns_of(planes, rows, width, slope, columns)
        self._before, self._window = stored.before, stored.window
        self._devices = {
            name: torch.device("cpu") if plane.on_host else device for name, plane in planes.items()
        }
        self._storage = {
            name: torch.empty(
                (images, rows_above(plane) + rows, sum(stored), plane.channels),
                dtype=plane.dtype,
                device=self._devices[name],
            )
            for name, plane in planes.items()
        }
        self._on_host = {
            name: storage.numpy()
            for name, storage in self._storage.items()
            if storage.device.type == "cpu"
        }
        self._runs = {name: _relative_runs(plane, slope) for name, plane in planes.items()}
        self._elements = {name: int(runs[:, 2].sum()) for name, runs in self._runs.items()}
        self._tops = {name: rows_above(plane) for name, plane in planes.items()}
        self._blocks: dict[int, Block] = {}  # of the pixels in hand, by rows above

    def nothing_above(self) -> Carry:
        """The carry at the top of an image: all outside."""
        return {
            name: torch.full(
                (self._images, rows_above(plane), self._width, plane.channels),
                plane.outside,
                dtype=plane.dtype,
                device=self._devices[name],
            )
            for name, plane in self._planes.items()
        }

    def begin(self, rows: int, above: Carry) -> None:
        """Start a strip of ``rows`` rows that lies below ``above``; all its pixels are in hand."""
        self._rows, self._above, self._below = rows, above, self.nothing_above()
        self._base = 0
        self._take(0, 0, rows, self._window)
        for name, plane in self._planes.items():
            self._storage[name].fill_(plane.outside)
        self._load(range(-self._before, self._window))

    def select(self, wave: Wave) -> None:
        """Take the pixels of ``wave`` in hand; waves come in order."""
        while wave.time >= self._base + self._window:
            self._advance()
        self._take(wave.time, wave.first, wave.end, 1)

    def _take(self, time: int, first: int, end: int, span: int) -> None:
        self._time, self._first, self._end, self._span = time, first, end, span
        self._blocks.clear()

    def end(self) -> Carry:
        """Finish the strip: its last rows, for the strip below."""
        self._save()
        return self._below

    @property
    def count(self) -> int:
        """Pixels in hand."""
        return self._images * (self._end - self._first) * self._span

    def on_host(self, plane: str) -> tuple[npt.NDArray[np.int16], Block]:
        """Storage of a plane [images, rows, columns, channels], and where the pixels lie in it."""
        return self._on_host[plane], self._block(plane)

    def store(self, plane: str, values: Tensor, first: int = 0) -> None:
        """Store ``values`` [pixels, channels] of the pixels in hand, from channel ``first`` on."""
        block = self._block(plane)
        if plane in self._on_host:
            _store(values.numpy(), self._on_host[plane], *block.place, first)
            return
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        target = self._storage[plane][:, rows, columns, first : first + values.shape[1]]
        target.copy_(values.view(target.shape))

    def taps(self, *planes: str) -> Tensor:
        """The taps of the pixels in hand: [pixels, taps * channels], plane by plane, tap by tap."""
        if all(plane in self._on_host for plane in planes):
            return self._taps_on_host(planes)
        runs = [run for plane in planes for run in self._taps(plane)]
        return torch.cat(runs, 3).view(self.count, -1)

    def _taps_on_host(self, planes: tuple[str, ...]) -> Tensor:
        elements = sum(self._elements[plane] for plane in planes)
        taps = torch.empty(self.count, elements, dtype=self._planes[planes[0]].dtype)
        first, into = 0, taps.numpy()
        for plane in planes:
            _gather(self._on_host[plane], *self._block(plane).place, self._runs[plane], into, first)
            first += self._elements[plane]
        return taps

    def _taps(self, plane: str) -> Iterator[Tensor]:
        """Views [images, rows, span, channels] of each run of taps."""
        storage, block = self._storage[plane], self._block(plane)
        image_stride, row_stride, column_stride, _ = storage.stride()
        strides = (image_stride, row_stride, column_stride, 1)
        start = block.row * row_stride + block.column * column_stride
        for row, column, elements in self._runs[plane].tolist():
            # Blocks of neighbouring pixels overlap: hence as_strided
            yield storage.as_strided(
                (self._images, block.rows, block.span, elements),
                strides,
                start + row * row_stride + column * column_stride,
            )

    def neighbourhoods(self, plane: str, values: Tensor) -> Tensor:
        """Store ``values`` [pixels, channels], all channels, and give the taps."""
        self.store(plane, values)
        return self.taps(plane)

    @property
    def ends_row(self) -> bool:
        """Whether the pixel in hand is the last of its row, in raster layout."""
        return self._time == self._width - 1

    def row(self, plane: str) -> Tensor:
        """The row of the pixel in hand, in raster layout: a view [images, width, channels]."""
        return self._row(plane, 0)

    def row_above(self, plane: str) -> Tensor:
        """The row above that."""
        return self._row(plane, 1)

    def _row(self, plane: str, above: int) -> Tensor:
        row = self._block(plane).row - above
        return self._storage[plane][:, row, self._before : self._before + self._width]

    def _block(self, plane: str) -> Block:
        top = self._tops[plane]
        if top not in self._blocks:
            column = self._time - self._base + self._before
            rows = self._end - self._first
            self._blocks[top] = Block(top + self._first, column, rows, self._span, self._slope)
        return self._blocks[top]

    def _advance(self) -> None:
        self._save()
        self._base += self._window
        for name, plane in self._planes.items():
            storage = self._storage[name]
            storage[:, :, : self._before] = storage[
                :, :, self._window : self._window + self._before
            ].clone()
            storage[:, :, self._before :] = plane.outside
        self._load(range(self._base, self._base + self._window))

    def _load(self, columns: range) -> None:
        """Bring in ``columns`` of the rows above the strip."""
        for name, plane in self._planes.items():
            top = rows_above(plane)
            for row in range(top):
                xs, where = self._overlap(row - top, columns)
                self._storage[name][:, row, where] = self._above[name][:, row, xs]

    def _save(self) -> None:
        """Take the window's columns of the last rows into what is carried out."""
        first = -self._before if self._base == 0 else self._base
        columns = range(first, self._base + self._window)
        for name, plane in self._planes.items():
            top = rows_above(plane)
            for row in range(top):
                xs, where = self._overlap(self._rows + row - top, columns)
                self._below[name][:, row, xs] = self._storage[name][:, self._rows + row, where]

    def _overlap(self, y: int, columns: range) -> tuple[slice, slice]:
        """Where row ``y`` meets ``columns``: the image's columns, and storage's."""
        skew = self._slope * y
        first = min(max(columns.start, skew), columns.stop)
        stop = max(first, min(columns.stop, self._width + skew))
        to_storage = self._before - self._base
        return slice(first - skew, stop - skew), slice(first + to_storage, stop + to_storage)


def rows_above(plane: Plane) -> int:
    """How many rows above a pixel its taps reach."""
    return max(dy for dy, _, _ in plane.runs)


def _relative_runs(plane: Plane, slope: int) -> Integers:
    """For each run of taps, from the pixel: its row, its first column; and its elements."""
    return np.array(
        [
            (-dy, first - slope * dy, (last - first + 1) * plane.channels)
            for dy, first, last in plane.runs
        ]
    )


@compiled
def _copy(values: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    # Many times as fast as a slice assignment, or a loop that computes indices
    for i in range(len(values)):
        target[i] = values[i]


@compiled
def _store(
    values: npt.NDArray[Any],
    storage: npt.NDArray[Any],
    row: int,
    column: int,
    rows: int,
    span: int,
    first: int,
) -> None:
    n = 0
    for image in range(storage.shape[0]):
        for y in range(row, row + rows):
            for x in range(column, column + span):
                _copy(values[n], storage[image, y, x, first:])
                n += 1


@compiled
def _gather(
    storage: npt.NDArray[Any],
    row: int,
    column: int,
    rows: int,
    span: int,
    runs: Integers,
    taps: npt.NDArray[Any],
    first: int,
) -> None:
    """Put the runs of taps into ``taps`` [pixels, ...], from ``first`` on."""
    channels = storage.shape[3]
    flat = storage.reshape(storage.shape[0], storage.shape[1], -1)
    n = 0
    for image in range(storage.shape[0]):
        for y in range(row, row + rows):
            for x in range(column, column + span):
                place = first
                for run in range(len(runs)):
                    start, elements = (x + runs[run, 1]) * channels, runs[run, 2]
                    tap = flat[image, y + runs[run, 0], start : start + elements]
                    _copy(tap, taps[n, place:])
                    place += elements
                n += 1
