"""Strips of samples <-> range-coder payloads, by an integer network.

Encoding knows every sample, so where the network allows it runs it on bands of rows in raster
layout, each layer one large product, and then puts the choices in the order of the waves. Decoding
runs the same program wave by wave. Both see the same integers; :mod:`pixelcodec.schedule` says why.

A network of several scales codes a strip in as many parts, the coarsest image first. A strip of any
other has one part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pixelcodec import coder, exact
from pixelcodec.errors import ModelError
from pixelcodec.models.architectures import make_learning_program, make_program, remembers
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import MAPS, Conditionals, Distribution, Program
from pixelcodec.progress import Count
from pixelcodec.schedule import Canvas, Carry, Stack, Wave, stacks, symbol_positions, waves

Samples = npt.NDArray[Any]
"""uint8, of 16 bits uint16."""

Integers = npt.NDArray[Any]
Value = TypeVar("Value", bound=np.generic)
Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Rows and columns, the same in each image of a stack."""

Choose = Callable[[Distribution, Places, int], Samples]
"""Chooses the samples [images * places] at some places in a channel."""

ChooseHere = Callable[[Distribution, int], Samples]
"""The same at the places in hand."""

BAND_PIXELS = 8192
"""Pixels that encoding takes at once: their activations stay in the processor's cache."""

WAVE_COLUMNS = 32
"""Skewed columns that decoding holds at once."""

_PROGRESS_WAVES = 64


class Engine:
    """A network made ready on a device: codes strips of images of one size."""

    def __init__(
        self, network: IntegerNetwork, backend: str | None = None, device: str = "cpu"
    ) -> None:
        """Prepare ``network``.

        Args:
            network: what codes.
            backend: see :func:`pixelcodec.exact.select_backend`.
            device: a torch device.

        Raises:
            BackendError: the back end is not exact on the device.
            ModelError: sums of the network could overflow.
        """
        self.network = network
        self.device = torch.device(device)
        with exact.undisturbed(self.device):
            self.arithmetic = exact.Arithmetic(self.device, backend)
            self.program: Program = make_program(network, self.arithmetic)

    @property
    def scales(self) -> list[tuple[int, Program]]:
        """Steps and programs, coarsest first: each codes every ``step``-th pixel and row."""
        found = [(1, self.program)]
        while coarser := found[0][1].coarser:
            found.insert(0, (found[0][0] * coarser.step, coarser.program))
        return found

    @property
    def coarsest_step(self) -> int:
        """Of the image that is coded first; 1: there is but one."""
        return self.scales[0][0]

    def learner(self, learning: int, channels: int) -> Program:
        """A program of its own for one image, which learns from it.

        Args:
            learning: how, see :func:`pixelcodec.models.architectures.make_learning_program`.
            channels: of the image.

        Raises:
            ModelError: networks of this architecture do not learn.
        """
        with exact.undisturbed(self.device):
            return make_learning_program(self.network, self.arithmetic, learning, channels)


def reveal_all(conditionals: Conditionals, channels: int, choose: ChooseHere) -> Samples:
    """Go through the channels of the pixels in hand.

    Args:
        conditionals: of these pixels.
        channels: count.
        choose: gives the samples [pixels] of a channel, by its distribution.

    Returns:
        uint8, of 16 bits uint16 [pixels, channels].
    """
    chosen = []
    for channel in range(channels):
        samples = choose(conditionals.distribution(channel), channel)
        chosen.append(samples)
        if channel + 1 < channels:
            conditionals.reveal(channel, samples)
    return np.stack(chosen, 1)


@dataclass(frozen=True)
class Selected:
    """Some of many distributions, those of ``rows`` (int64 [n])."""

    whole: Distribution
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count of samples."""
        return len(self.rows)

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """As that of the whole."""
        of_all = np.zeros((len(self.whole), edges.shape[1]), np.int32)
        of_all[self.rows] = edges
        return self.whole.cumulative(of_all)[self.rows]


class Scale:
    """One of the images of a strip, that of every ``step``-th pixel of every ``step``-th row.

    Samples and their context stay on the host, activations on the device.
    """

    def __init__(
        self,
        begin: Callable[[], Program],
        step: int,
        channels: int,
        device: torch.device,
        restart: bool,
    ) -> None:
        """Start at the top of an image, as :class:`StripCoder` does.

        ``begin`` gives the program for what depends on nothing before.
        """
        self._begin = begin
        self.program, self.step = begin(), step
        self._channels, self._device, self._restart = channels, device, restart
        self._carry: Carry | None = None

    def of(self, images: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Its pixels of ``images`` [images, rows, width, channels], a view."""
        return images[:, :: self.step, :: self.step]

    def coded_pixels(self, rows: int, width: int) -> int:
        """How many pixels of an image of that size it codes; coarser scales code the others."""

        def pixels(step: int) -> int:
            return -(-rows // step) * -(-width // step)

        coarser = self.program.coarser
        known = pixels(self.step * coarser.step) if coarser else 0
        return pixels(self.step) - known

    def walk(self, images: Samples, choose: Choose, progress: Count) -> None:
        """Visit all pixels of a stack in the order of coding, and write there what is chosen.

        Args:
            images: uint8, of 16 bits uint16 [images, rows, width, channels], what :meth:`of`
                gives. Those pixels that a coarser scale codes are known.
            choose: gives the samples.
            progress: told of finished pixels.
        """
        count, rows, width = images.shape[:3]
        slope = self.program.slope
        band = rows if slope else 1  # pixel by pixel, each row is a strip of its own
        canvas = self._canvas(count, band, width, slope, WAVE_COLUMNS if slope else None)
        carry, program = self._start(canvas)
        maps: torch.Tensor | None = None
        if coarser := program.coarser:
            known = np.ascontiguousarray(images[:, :: coarser.step, :: coarser.step])
            maps = coarser.maps(known, rows, width)
        finished = 0
        for top in range(0, rows, band):
            canvas.begin(band, carry)
            for number, wave in enumerate(waves(band, width, slope)):
                canvas.select(wave)
                y, x = places = Wave(wave.time, top + wave.first, top + wave.end).places(slope)
                if maps is not None:
                    of_places = maps[:, torch.from_numpy(y), torch.from_numpy(x)]
                    canvas.store(MAPS, of_places.flatten(0, 1))
                choose_here, coded = self._chooser(choose, images, places)
                samples = reveal_all(program.look(canvas), self._channels, choose_here)
                program.remember(canvas, samples)
                images[:, y, x] = samples.reshape(count, len(y), self._channels)
                finished += count * coded
                if number % _PROGRESS_WAVES == 0:
                    progress(finished)
                    finished = 0
            carry = canvas.end()
        self._carry = carry
        progress(finished)

    def _chooser(self, choose: Choose, images: Samples, places: Places) -> tuple[ChooseHere, int]:
        """``choose`` at ``places``, and how many of them it is asked for.

        It is not asked for pixels of a coarser scale, which ``images`` have.
        """
        y, x = places
        coarser = self.program.coarser
        if coarser is None:
            return lambda distribution, channel: choose(distribution, places, channel), len(y)
        rest = (y % coarser.step > 0) | (x % coarser.step > 0)
        rows = np.flatnonzero(np.tile(rest, len(images)))

        def choose_rest(distribution: Distribution, channel: int) -> Samples:
            samples: Samples = images[:, y, x, channel]
            if len(rows):
                chosen = choose(Selected(distribution, rows), (y[rest], x[rest]), channel)
                samples[:, rest] = chosen.reshape(len(images), -1)
            return samples.reshape(-1)

        return choose_rest, int(rest.sum())

    def choices_by_waves(self, images: Samples, progress: Count) -> coder.Floats:
        """All choices of ``images``, visited as in decoding, see :func:`coder.describe`."""
        # At first none, and none at all where coarser scales have all pixels. Whole numbers < 2**24
        ordered = [np.empty((0, 3), np.float32)]

        def choose(distribution: Distribution, places: Places, channel: int) -> Samples:
            y, x = places
            samples = images[:, y, x, channel].reshape(-1)
            choices = coder.describe(distribution, samples, self.program.bit_depth)
            ordered.append(choices.swapaxes(0, 1).reshape(-1, 3))
            return samples

        self.walk(images, choose, progress)
        return np.concatenate(ordered)

    def choices_by_bands(self, images: Samples, progress: Count) -> coder.Floats:
        """The same, computed for many rows at a time."""
        count, height, width, channels = images.shape
        symbols = channels * len(coder.strides(self.program.bit_depth))
        positions = symbol_positions(count, height, width, self.program.slope, symbols)
        ordered = np.empty((positions.size, 3), np.float32)  # frequencies: below 2**24, exact
        for rows, samples, conditionals in self.looks(images):
            choices = self._choices(samples, conditionals)
            ordered[positions[:, rows].reshape(-1)] = choices.reshape(-1, 3)
            progress(len(samples))
        return ordered

    def looks(self, images: Samples) -> Iterator[tuple[slice, Samples, Conditionals]]:
        """Take many rows of ``images`` in hand at a time, whose samples are all known.

        Yields:
            The rows, their samples [n, channels], and the distributions of their pixels.
        """
        count, height, width, channels = images.shape
        band = max(1, min(height, BAND_PIXELS // (count * width)))
        canvas = self._canvas(count, band, width, slope=0)
        carry, program = self._start(canvas)
        for top in range(0, height, band):
            part = images[:, top : top + band]
            canvas.begin(part.shape[1], carry)
            samples = part.reshape(-1, channels)
            program.remember(canvas, samples)
            yield slice(top, top + band), samples, program.look(canvas)
            carry = canvas.end()
        self._carry = carry

    def coded_samples(self, pixels: Integers) -> Integers:
        """The sample that each choice of a stack is about, in the order of coding.

        Args:
            pixels: int64 [images, rows, width], the number of each pixel.

        Returns:
            int64 [n], pixel * channels + channel.
        """
        own = self.of(pixels).copy()
        if coarser := self.program.coarser:
            own[:, :: coarser.step, :: coarser.step] = -1  # coded there
        channel = np.repeat(np.arange(self._channels), len(coder.strides(self.program.bit_depth)))
        count, rows, width = own.shape
        positions = symbol_positions(count, rows, width, self.program.slope, len(channel))
        ordered = np.empty(positions.size, np.int64)
        ordered[positions] = own[..., None] * self._channels + channel
        coded: Integers = ordered[ordered >= 0]
        return coded

    def _choices(self, samples: Samples, conditionals: Conditionals) -> coder.Floats:
        """Choices of the pixels in hand, whose samples are [n, channels]: [n, symbols, 3]."""
        choices: list[coder.Floats] = []

        def choose(distribution: Distribution, channel: int) -> Samples:
            choices.append(
                coder.describe(distribution, samples[:, channel], self.program.bit_depth)
            )
            return samples[:, channel]

        reveal_all(conditionals, samples.shape[1], choose)
        return np.concatenate(choices, 1)

    def _canvas(
        self, images: int, rows: int, width: int, slope: int, columns: int | None = None
    ) -> Canvas:
        return Canvas(self.program.planes, images, rows, width, slope, self._device, columns)

    def _start(self, canvas: Canvas) -> tuple[Carry, Program]:
        """What lies above, and the program that has seen it."""
        if self._carry is None:
            return canvas.nothing_above(), self.program
        if self._restart:
            self.program = self._begin()
            return canvas.nothing_above(), self.program
        return self._carry, self.program


class StripCoder:
    """What encoder and decoder of an image share: its scales, and how strips are cut."""

    def __init__(
        self,
        engine: Engine,
        width: int,
        channels: int,
        restart: bool = False,
        tile: int = 0,
        learning: int = 0,
    ) -> None:
        """Start at the top of an image of ``width`` columns and so many ``channels``.

        Args:
            engine: the network.
            width: of the image.
            channels: of the image, 1 to 4; a network says which it codes.
            restart: each strip starts as if it were the top of the image.
            tile: side of the tiles that strips are cut into; 0: they are not.
            learning: how the network learns from what it has coded, 1 to 15; 0: not at all.

        Raises:
            ModelError: the network does not code images of so many channels, the pixels of its
                coarsest scale would lie unevenly in tiles, or it does not learn.
        """
        program = engine.program
        if channels not in program.channels:
            named = " or ".join(map(str, program.channels))
            raise ModelError(f"the model codes {named}-channel images, not {channels}-channel ones")
        if tile % engine.coarsest_step:
            raise ModelError(
                f"tiles of {tile} x {tile}: the model needs a multiple of {engine.coarsest_step}"
            )
        self._device, self._bit_depth = engine.device, program.bit_depth
        self._width, self._channels, self._tile = width, channels, tile
        self.scales = [
            Scale(begin, step, channels, engine.device, restart or tile > 0)
            for step, begin in _beginnings(engine, learning, channels)
        ]

    def coded_samples(self, rows: int) -> Iterator[Integers]:
        """The sample that each choice of a strip is about, in the order of coding, part by part.

        Args:
            rows: height of the strip.

        Yields:
            int64 [n], indices into the samples [rows, width, channels], flattened.
        """
        pixels = np.arange(rows * self._width).reshape(rows, self._width)
        for scale in self.scales:
            yield np.concatenate(
                [scale.coded_samples(pixels[stack.index]) for stack in self._stacks(rows)]
            )

    def _stacks(self, rows: int) -> Iterator[Stack]:
        return stacks(rows, self._width, self._tile)


def _beginnings(
    engine: Engine, learning: int, channels: int
) -> list[tuple[int, Callable[[], Program]]]:
    """Steps and beginnings of programs, coarsest first."""
    if learning or remembers(engine.network):
        return [(1, partial(engine.learner, learning, channels))]
    return [(step, partial(_itself, program)) for step, program in engine.scales]


def _itself(program: Program) -> Program:
    """A program that does not change begins as it is."""
    return program


class StripEncoder(StripCoder):
    """Encodes the strips of an image, from the top."""

    def encode(self, rows: Samples, progress: Count) -> list[bytes]:
        """Code the next strip: its parts.

        Args:
            rows: uint8, of 16 bits uint16 [rows, width, channels].
            progress: told of finished pixels.
        """
        return [_coded(choices) for choices in self.choices(rows, progress)]

    def choices(self, rows: Samples, progress: Count) -> Iterator[coder.Floats]:
        """All choices of each part of the next strip in order, see :func:`coder.describe`.

        Takes what :meth:`encode` takes, and moves on to the strip below as it does.

        Yields:
            float32 [n, 3]: whole numbers below 2**24, so they are exact.

        Raises:
            ValueError: samples are of another type: compiled loops would read beside their tables.
        """
        for scale in self.scales:
            parts = [
                self._choices_of(scale, rows[stack.index], progress)
                for stack in self._stacks(len(rows))
            ]
            yield np.concatenate(parts)

    def encode_side_by_side(self, images: Samples) -> list[bytes]:
        """Code ``images`` [images, rows, width, channels] as tiles are, in place of a strip."""
        return [
            _coded(self._choices_of(scale, images, lambda pixels: None)) for scale in self.scales
        ]

    def _choices_of(self, scale: Scale, images: Samples, progress: Count) -> coder.Floats:
        """Those of a stack of images."""
        if images.dtype != coder.sample_type(self._bit_depth):
            raise ValueError(f"samples of {images.dtype}; the model's have {self._bit_depth} bits")
        in_order = scale.program.sequential or scale.program.coarser is not None
        choices_of = scale.choices_by_waves if in_order else scale.choices_by_bands
        with exact.undisturbed(self._device):
            return choices_of(scale.of(images), progress)


def _coded(choices: coder.Floats) -> bytes:
    part = coder.RangeEncoder()
    part.encode(choices)
    return part.finish()


class StripDecoder(StripCoder):
    """Decodes the strips of an image, from the top."""

    def decode(self, parts: Sequence[bytes], height: int, progress: Count) -> Samples:
        """Decode the next strip.

        Args:
            parts: what :meth:`StripEncoder.encode` gave for it, or the first of them.
            height: rows of the strip.
            progress: told of finished pixels.

        Returns:
            uint8, of 16 bits uint16 [height, width, channels]; pixels of parts that were not given
            are 0.

        Raises:
            FormatError: a part is not one of a strip.
        """
        shape = (height, self._width, self._channels)
        out = np.zeros(shape, coder.sample_type(self._bit_depth))
        for scale, payload in zip(self.scales, parts, strict=False):
            self._decode_part(scale, payload, out, progress)
        return out

    def _decode_part(self, scale: Scale, payload: bytes, out: Samples, progress: Count) -> None:
        pixels = scale.coded_pixels(len(out), self._width)
        coder.check_length(payload, pixels * self._channels, self._bit_depth)
        part = coder.RangeDecoder(payload, self._bit_depth)

        def choose(distribution: Distribution, places: Places, channel: int) -> Samples:
            return part.decode(distribution)

        with exact.undisturbed(self._device):
            for stack in self._stacks(len(out)):
                images = out[stack.index]
                scale.walk(scale.of(images), choose, progress)
                out[stack.index] = images
