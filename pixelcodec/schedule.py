"""When each pixel is coded, and where the activations of earlier pixels lie.

All pixels with equal ``t = x + slope * y`` form a *wave* and are coded at once; a strip of
``rows`` rows takes ``width + slope * (rows - 1)`` waves (the skew of "Pixel Recurrent Neural
Networks", section 3.3). A :class:`Canvas` stores activations skewed likewise: pixel (x, y) lies in
column ``x + slope * y``, so the taps of a masked convolution are runs of columns. Slope 0 is plain
raster layout, in which the encoder, who knows all pixels, takes whole bands of rows at once: the
same code, with another slope.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models.context import Block
from pixelcodec.models.pixelcnn import Plane

Integers = npt.NDArray[np.int64]

_SAMPLES = "samples"


@dataclass(frozen=True)
class Wave:
    """The pixels of rows ``first..end-1`` whose ``x + slope * y`` is ``time``."""

    time: int
    first: int
    end: int


def waves(rows: int, width: int, slope: int) -> Iterator[Wave]:
    """All waves of a strip, in the order of coding; none is empty.

    >>> [(w.time, w.first, w.end) for w in waves(2, 2, 2)]
    [(0, 0, 1), (1, 0, 1), (2, 1, 2), (3, 1, 2)]
    """
    for time in range(width + slope * (rows - 1)):
        first = max(0, -(-(time - width + 1) // slope))
        end = min(rows, time // slope + 1)
        if first < end:
            yield Wave(time, first, end)


def symbol_positions(rows: int, width: int, slope: int, symbols: int) -> Integers:
    """Where each symbol of a strip stands in the order of coding.

    A wave's pixels are coded symbol by symbol: the first symbol of all its pixels, from the top
    row down, then the second of all, and so on.

    Args:
        rows: height of the strip.
        width: of the strip.
        slope: of the waves.
        symbols: count for each pixel.

    Returns:
        int64 [rows, width, symbols], a permutation of ``0..rows*width*symbols-1``.
    """
    y, x = np.arange(rows)[:, None], np.arange(width)[None, :]
    time = x + slope * y
    times = np.arange(width + slope * (rows - 1))
    first = np.maximum(0, -(-(times - width + 1) // slope))
    count = np.maximum(0, np.minimum(rows, times // slope + 1) - first)
    before = np.concatenate([[0], np.cumsum(count)[:-1]])
    within = y - first[time]
    stride = count[time][..., None]
    start = (before[time] * symbols + within)[..., None]
    positions: Integers = start + stride * np.arange(symbols)
    return positions


Carry = dict[str, Tensor]
"""For each plane the last rows above a strip, [rows above, width, channels], topmost first."""


class Canvas:
    """Skewed storage of the planes of a strip (or a band), a window of columns at a time.

    Memory is ``rows * columns`` of each plane whatever the size of the image. What lies above the
    strip is carried in by :meth:`begin`, the last rows of the strip are carried out by :meth:`end`.
    """

    def __init__(
        self,
        samples: Plane,
        planes: Mapping[str, Plane],
        rows: int,
        width: int,
        slope: int,
        device: torch.device,
        columns: int | None = None,
    ) -> None:
        """Make a canvas.

        Args:
            samples: how to store samples, on the host.
            planes: the activations to store, on the device.
            rows: the greatest height of a strip.
            width: of the image.
            slope: of the layout; 0 is raster order.
            device: where activations live.
            columns: how many skewed columns to hold at once; all of them by default.
        """
        self._planes = {_SAMPLES: samples, **planes}
        self._width, self._slope = width, slope
        runs = [run for plane in self._planes.values() for run in plane.runs]
        self._before = max(0, *(slope * dy - first for dy, first, _ in runs))
        after = max(0, *(last - slope * dy for dy, _, last in runs))
        self._window = width + slope * (rows - 1) if columns is None else columns
        size = self._before + self._window + after
        self._storage = {
            name: torch.empty(
                (_rows_above(plane) + rows, size, plane.channels),
                dtype=plane.dtype,
                device="cpu" if name == _SAMPLES else device,
            )
            for name, plane in self._planes.items()
        }
        self._samples_on_host = self._storage[_SAMPLES].numpy()
        self._runs = {name: _relative_runs(plane, slope) for name, plane in self._planes.items()}
        self.begin(rows, self.nothing_above())

    def nothing_above(self) -> Carry:
        """The carry at the top of an image: all outside."""
        return {
            name: torch.full(
                (_rows_above(plane), self._width, plane.channels),
                plane.outside,
                dtype=plane.dtype,
                device=self._storage[name].device,
            )
            for name, plane in self._planes.items()
        }

    def begin(self, rows: int, above: Carry) -> None:
        """Start a strip of ``rows`` rows that lies below ``above``."""
        self._rows, self._above, self._below = rows, above, self.nothing_above()
        self._base = 0
        self._time, self._first, self._end, self._span = 0, 0, rows, self._window
        for name, plane in self._planes.items():
            self._storage[name].fill_(plane.outside)
        self._load(range(-self._before, self._window))

    def select(self, wave: Wave) -> None:
        """Take the pixels of ``wave`` in hand; waves come in order."""
        while wave.time >= self._base + self._window:
            self._advance()
        self._time, self._first, self._end, self._span = wave.time, wave.first, wave.end, 1

    def end(self) -> Carry:
        """Finish the strip: its last rows, for the strip below."""
        self._save()
        return self._below

    def put_samples(self, samples: npt.NDArray[np.uint8]) -> None:
        """Store ``samples`` [pixels, 1 or 3] of the pixels in hand, gray ones in all channels."""
        storage, block = self.samples_in_hand()
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        storage[rows, columns] = samples.reshape(block.rows, block.span, -1)

    def samples_in_hand(self) -> tuple[npt.NDArray[np.int16], Block]:
        """Storage of the samples, and where in it the pixels in hand lie."""
        return self._samples_on_host, self._block(_SAMPLES)

    def neighbourhoods(self, plane: str, values: Tensor) -> Tensor:
        """Store ``values`` [pixels, channels] of the pixels in hand, and give their taps.

        Returns:
            [pixels, taps * channels], tap by tap.
        """
        storage, block = self._storage[plane], self._block(plane)
        row_stride, column_stride, _ = storage.stride()

        def blocks(row: int, column: int, elements: int) -> Tensor:
            # Blocks of neighbouring pixels overlap: hence as_strided
            start = (block.row + row) * row_stride + (block.column + column) * column_stride
            size = (block.rows, block.span, elements)
            return storage.as_strided(size, (row_stride, column_stride, 1), start)

        blocks(0, 0, storage.shape[2]).copy_(values.view(block.rows, block.span, -1))
        taps = torch.cat([blocks(*run) for run in self._runs[plane]], 2)
        return taps.view(block.rows * block.span, -1)

    def _block(self, plane: str) -> Block:
        row = _rows_above(self._planes[plane]) + self._first
        column = self._time - self._base + self._before
        return Block(row, column, self._end - self._first, self._span, self._slope)

    def _advance(self) -> None:
        self._save()
        self._base += self._window
        for name, plane in self._planes.items():
            storage = self._storage[name]
            storage[:, : self._before] = storage[
                :, self._window : self._window + self._before
            ].clone()
            storage[:, self._before :].fill_(plane.outside)
        self._load(range(self._base, self._base + self._window))

    def _load(self, columns: range) -> None:
        """Bring ``columns`` of the rows above into storage."""
        for name, plane in self._planes.items():
            top = _rows_above(plane)
            for row in range(top):
                xs, where = self._overlap(row - top, columns)
                self._storage[name][row, where] = self._above[name][row, xs]

    def _save(self) -> None:
        """Take the window's columns of the last rows into what is carried out."""
        first = -self._before if self._base == 0 else self._base
        columns = range(first, self._base + self._window)
        for name, plane in self._planes.items():
            top = _rows_above(plane)
            for row in range(top):
                xs, where = self._overlap(self._rows + row - top, columns)
                self._below[name][row, xs] = self._storage[name][self._rows + row, where]

    def _overlap(self, y: int, columns: range) -> tuple[slice, slice]:
        """Where row ``y`` meets ``columns``: the image's columns, and storage's."""
        skew = self._slope * y
        first = min(max(columns.start, skew), columns.stop)
        stop = max(first, min(columns.stop, self._width + skew))
        to_storage = self._before - self._base
        return slice(first - skew, stop - skew), slice(first + to_storage, stop + to_storage)


def _rows_above(plane: Plane) -> int:
    return max(dy for dy, _, _ in plane.runs)


def _relative_runs(plane: Plane, slope: int) -> list[tuple[int, int, int]]:
    """For each run of taps, from the pixel: its row, its first column; and its elements."""
    return [
        (-dy, first - slope * dy, (last - first + 1) * plane.channels)
        for dy, first, last in plane.runs
    ]
