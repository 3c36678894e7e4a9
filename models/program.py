"""What every architecture that codes has in common: the protocol between networks and the codec.

A :class:`Program` is an integer network made ready to run. It visits pixels in the order it asks
for, keeps what later pixels need of them on a :class:`Canvas`, and gives the distribution of one
channel after the other. Encoding, decoding, sampling and completion differ only in who chooses
the sample.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models.network import IntegerLayer

MAPS = "maps"
"""The plane, of a program that sees a coarser image, of what that says of a pixel."""

MAX_FAN_IN = 1024
"""Largest number of inputs of a layer, or of terms of a product, that is exact on all devices."""

Samples = npt.NDArray[Any]
"""uint8, of 16 bits uint16."""

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class Plane:
    """What a canvas must hold of one kind of activation.

    Attributes:
        channels: count.
        dtype: of an element.
        outside: value of pixels that are not in the image.
        runs: the taps, ``(rows above, first column, last column)``, topmost row first.
        on_host: whether it lies in the memory of the CPU, wherever the network runs.
    """

    channels: int
    dtype: torch.dtype
    outside: int
    runs: tuple[tuple[int, int, int], ...]
    on_host: bool = False


@dataclass(frozen=True)
class Block:
    """Where the pixels in hand lie in storage, the same in each image of a stack.

    Attributes:
        row: of the topmost pixel.
        column: of the leftmost pixels; the same in every row, as storage is skewed.
        rows: count.
        span: pixels in each row.
        slope: of the storage: the pixel above lies ``slope`` columns to the left.
    """

    row: int
    column: int
    rows: int
    span: int
    slope: int

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Row and column, rows and span."""
        return self.row, self.column, self.rows, self.span


class Canvas(Protocol):
    """Where activations of earlier pixels lie (see :mod:`pixelcodec.schedule`)."""

    @property
    def count(self) -> int:
        """Pixels in hand."""

    def store(self, plane: str, values: Tensor, first: int = 0) -> None:
        """Store ``values`` [pixels, channels] of the pixels in hand, from channel ``first`` on."""

    def taps(self, *planes: str) -> Tensor:
        """The taps of the pixels in hand: [pixels, taps * channels], plane by plane, tap by tap."""

    def neighbourhoods(self, plane: str, values: Tensor) -> Tensor:
        """Store ``values``, all channels, and give the taps."""

    @property
    def ends_row(self) -> bool:
        """Whether the pixel in hand is the last of its row, where pixels come one by one."""

    def row(self, plane: str) -> Tensor:
        """The row of the pixel in hand, where pixels come one by one: [images, width, channels].

        A view, which can be written to.
        """

    def row_above(self, plane: str) -> Tensor:
        """The row above that, likewise."""

    def on_host(self, plane: str) -> tuple[Integers, Block]:
        """Storage of a plane [images, rows, columns, channels], and where the pixels lie in it."""


class Linear(Protocol):
    """An integer layer that is ready to run (see :mod:`pixelcodec.exact`)."""

    def __call__(self, activations: Tensor, /) -> Tensor:
        """Int8 [pixels, inputs] -> int32 [pixels, outputs]."""

    def relu(self, activations: Tensor) -> Tensor:
        """The same, limited to 0..127: int8."""


class LSTMTables(NamedTuple):
    """The tables of an LSTM's gates (see :mod:`pixelcodec.models.lstm`), int16 [2048]."""

    sigmoid: Tensor
    tanh: Tensor


class Arithmetic(Protocol):
    """Exact arithmetic on a device (see :mod:`pixelcodec.exact`)."""

    device: torch.device

    @property
    def host(self) -> "Arithmetic":
        """That of the CPU."""
        ...

    def products(self, first: Tensor, second: Tensor) -> Tensor:
        """Int8 [n, k], contiguous, times int8 [k, m]: int32 [n, m].

        ``k`` is at most :data:`MAX_FAN_IN`.
        """

    def linear(self, layer: IntegerLayer) -> Linear:
        """Make ``layer`` ready to run."""

    def relu(self, values: Tensor, shift: int) -> Tensor:
        """``values >> shift`` (int32), limited to 0..127: int8."""

    def lstm(self, gates: Tensor, cells: Tensor, tables: LSTMTables) -> tuple[Tensor, Tensor]:
        """Gates (int32 [n, 4h]) and cells before (int16 [n, h]) -> states int8, cells int16."""


class Distribution(Protocol):
    """Distributions of n samples."""

    def __len__(self) -> int:
        """Count of samples."""

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Mass below ``edges`` (int32 [n, m], edge ``e`` lies below level ``e``), never falling.

        Returns:
            int32 [n, m], below 2**28.9.
        """


FLOOR = 64
"""Added to each level's mass of a :class:`Distribution`, so that nothing is impossible."""

FLOOR_OF_16_BITS = 1
"""The same where levels are many."""


def floor_of(bit_depth: int) -> int:
    """What is added to the mass of each level of a sample of 1, 8 or 16 bits."""
    return FLOOR_OF_16_BITS if bit_depth == 16 else FLOOR


class Conditionals(Protocol):
    """The distributions of the pixels in hand, channel by channel."""

    def distribution(self, channel: int) -> Distribution:
        """The distribution of ``channel``, given those before it, which were revealed."""

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let later channels see the ``samples`` [pixels] of ``channel``."""


class Program(Protocol):
    """An integer network that is ready to code."""

    @property
    def slope(self) -> int:
        """All pixels of equal ``x + slope * y`` may be in hand at once; 0: they come one by one."""
        ...

    @property
    def sequential(self) -> bool:
        """Whether an encoder, too, must visit the pixels in the order of decoding.

        If not, an encoder, who knows all samples, may take any rows in hand at once: a layer
        then needs of earlier pixels nothing but what the layer before gives.
        """
        ...

    @property
    def bit_depth(self) -> int:
        """Bits of a sample, 1, 8 or 16."""
        ...

    @property
    def channels(self) -> tuple[int, ...]:
        """How many channels an image may have."""
        ...

    @property
    def tile(self) -> int:
        """Side of the tiles that images must be cut into; 0: it codes images of any size whole."""
        ...

    @property
    def planes(self) -> Mapping[str, Plane]:
        """What it keeps on the canvas."""
        ...

    @property
    def coarser(self) -> "Coarser | None":
        """What codes some of the pixels first; None: it codes all pixels itself."""
        ...

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all that does not depend on the samples of the pixels in hand.

        Where there is a coarser image, :data:`MAPS` of these pixels are stored.
        """
        ...

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples`` [pixels, channels] of the pixels in hand for later pixels."""


@dataclass(frozen=True)
class Coarser:
    """The image of every ``step``-th pixel of every ``step``-th row, which is coded first.

    A program that has one sees it whole, and codes the other pixels alone ("Pixel Recurrent
    Neural Networks", section 3.6).

    Attributes:
        step: 2 or more.
        program: that codes it.
        maps: what it says of each pixel, for the plane :data:`MAPS`: its samples, uint8 [images,
            rows, columns, channels], and height and width of the finer image -> int8 [images,
            height, width, maps].
    """

    step: int
    program: Program
    maps: Callable[[Samples, int, int], Tensor]
