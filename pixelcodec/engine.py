"""Strips of samples <-> range-coder payloads, by an integer network.

Encoding knows every sample, so where the network allows it runs it on bands of rows in raster
layout, each layer one large product, and then puts the choices in the order of the waves. Decoding
runs the same program wave by wave. Both see the same integers; :mod:`pixelcodec.schedule` says why.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pixelcodec import coder, exact
from pixelcodec.errors import ModelError
from pixelcodec.models.architectures import make_program
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Conditionals, Distribution, Program
from pixelcodec.schedule import Canvas, Carry, Wave, stacks, symbol_positions, waves

Samples = npt.NDArray[np.uint8]
Integers = npt.NDArray[Any]
Progress = Callable[[int], None]
"""Called now and then with the count of pixels that were finished since the last call."""

Choose = Callable[[Distribution, Wave, int], Samples]
"""Chooses the samples (uint8 [pixels]) of the pixels of a wave in a channel."""

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
        self.device = torch.device(device)
        with exact.undisturbed(self.device):
            self.arithmetic = exact.Arithmetic(self.device, backend)
            self.program: Program = make_program(network, self.arithmetic)


def reveal_all(
    conditionals: Conditionals, channels: int, choose: Callable[[Distribution, int], Samples]
) -> Samples:
    """Go through the channels of the pixels in hand.

    Args:
        conditionals: of these pixels.
        channels: count.
        choose: gives the samples (uint8 [pixels]) of a channel, by its distribution.

    Returns:
        uint8 [pixels, channels].
    """
    chosen = []
    for channel in range(channels):
        samples = choose(conditionals.distribution(channel), channel)
        chosen.append(samples)
        if channel + 1 < channels:
            conditionals.reveal(channel, samples)
    return np.stack(chosen, 1)


class StripCoder:
    """What encoder and decoder of an image share: the pixels in hand, and the rows above.

    Samples and their context stay on the host, activations on the device.
    """

    def __init__(
        self, engine: Engine, width: int, channels: int, restart: bool = False, tile: int = 0
    ) -> None:
        """Start at the top of an image of ``width`` columns and 1 or 3 ``channels``.

        Args:
            engine: the network.
            width: of the image.
            channels: of the image.
            restart: each strip starts as if it were the top of the image.
            tile: side of the tiles that strips are cut into; 0: they are not.

        Raises:
            ModelError: the network does not code images of so many channels.
        """
        self._program, self._device = engine.program, engine.device
        self._width, self._channels, self._tile = width, channels, tile
        self._restart = restart or tile > 0
        self._carry: Carry | None = None
        if channels not in self._program.channels:
            named = " or ".join(map(str, self._program.channels))
            raise ModelError(f"the model codes images of {named} channels, not of {channels}")

    def _canvas(
        self, images: int, rows: int, width: int, slope: int, columns: int | None = None
    ) -> Canvas:
        return Canvas(self._program.planes, images, rows, width, slope, self._device, columns)

    def _above(self, canvas: Canvas) -> Carry:
        if self._carry is None or self._restart:
            return canvas.nothing_above()
        return self._carry

    def walk(
        self, images: int, rows: int, width: int, choose: Choose, progress: Progress
    ) -> Samples:
        """Visit all pixels of a stack in the order of coding.

        Args:
            images: count of the stack.
            rows: height of each.
            width: of each.
            choose: gives the samples.
            progress: told of finished pixels.

        Returns:
            uint8 [images, rows, width, channels], what was chosen.
        """
        slope = self._program.slope
        out = np.empty((images, rows, width, self._channels), np.uint8)
        band = rows if slope else 1  # pixel by pixel, each row is a strip of its own
        canvas = self._canvas(images, band, width, slope, WAVE_COLUMNS if slope else None)
        carry = self._above(canvas)
        finished = 0
        for top in range(0, rows, band):
            canvas.begin(band, carry)
            for number, wave in enumerate(waves(band, width, slope)):
                canvas.select(wave)
                there = Wave(wave.time, top + wave.first, top + wave.end)
                samples = reveal_all(
                    self._program.look(canvas),
                    self._channels,
                    lambda distribution, channel, there=there: choose(distribution, there, channel),  # type: ignore[misc]
                )
                self._program.remember(canvas, samples)
                y, x = there.places(slope)
                out[:, y, x] = samples.reshape(images, len(y), self._channels)
                finished += len(samples)
                if number % _PROGRESS_WAVES == 0:
                    progress(finished)
                    finished = 0
            carry = canvas.end()
        self._carry = carry
        progress(finished)
        return out


class StripEncoder(StripCoder):
    """Encodes the strips of an image, from the top."""

    def encode(self, rows: Samples, progress: Progress) -> bytes:
        """Code the next strip.

        Args:
            rows: uint8 [rows, width, channels].
            progress: told of finished pixels.
        """
        strip = coder.StripEncoder()
        strip.encode(self.choices(rows, progress))
        return strip.finish()

    def choices(self, rows: Samples, progress: Progress) -> coder.Floats:
        """All choices of the next strip in the order of coding, see :func:`coder.describe`.

        Takes what :meth:`encode` takes, and moves on to the strip below as it does.

        Returns:
            float32 [n, 3]: whole numbers below 2**24, so they are exact.
        """
        choices_of = self._by_waves if self._program.sequential else self._by_bands
        with exact.undisturbed(self._device):
            parts = [
                choices_of(rows[stack.index], progress)
                for stack in stacks(len(rows), self._width, self._tile)
            ]
        return np.concatenate(parts)

    def _by_waves(self, images: Samples, progress: Progress) -> coder.Floats:
        """Choices of a stack [images, rows, width, channels], visited as in decoding."""
        bit_depth, slope = self._program.bit_depth, self._program.slope
        ordered: list[coder.Floats] = []

        def choose(distribution: Distribution, wave: Wave, channel: int) -> Samples:
            y, x = wave.places(slope)
            samples = images[:, y, x, channel].reshape(-1)
            choices = coder.describe(distribution, samples, bit_depth)
            ordered.append(choices.swapaxes(0, 1).reshape(-1, 3))
            return samples

        count, rows, width = images.shape[:3]
        self.walk(count, rows, width, choose, progress)
        return np.concatenate(ordered)

    def _by_bands(self, images: Samples, progress: Progress) -> coder.Floats:
        """Choices of a stack [images, rows, width, channels], many rows at a time."""
        count, height, width, channels = images.shape
        band = max(1, min(height, BAND_PIXELS // (count * width)))
        canvas = self._canvas(count, band, width, slope=0)
        symbols = channels * len(coder.strides(self._program.bit_depth))
        positions = symbol_positions(count, height, width, self._program.slope, symbols)
        ordered = np.empty((positions.size, 3), np.float32)  # frequencies: below 2**24, exact
        carry = self._above(canvas)
        for top in range(0, height, band):
            part = images[:, top : top + band]
            canvas.begin(part.shape[1], carry)
            choices = self._band(canvas, part.reshape(-1, channels))
            carry = canvas.end()
            ordered[positions[:, top : top + band].reshape(-1)] = choices.reshape(-1, 3)
            progress(part.size // channels)
        self._carry = carry
        return ordered

    def _band(self, canvas: Canvas, samples: Samples) -> coder.Floats:
        """Choices of the pixels in hand, uint8 [n, channels]: [n, symbols, 3]."""
        choices: list[coder.Floats] = []

        def choose(distribution: Distribution, channel: int) -> Samples:
            choices.append(
                coder.describe(distribution, samples[:, channel], self._program.bit_depth)
            )
            return samples[:, channel]

        self._program.remember(canvas, samples)
        reveal_all(self._program.look(canvas), samples.shape[1], choose)
        return np.concatenate(choices, 1)


class StripDecoder(StripCoder):
    """Decodes the strips of an image, from the top."""

    def decode(self, payload: bytes, height: int, progress: Progress) -> Samples:
        """Decode the next strip.

        Args:
            payload: what :meth:`StripEncoder.encode` gave for it.
            height: rows of the strip.
            progress: told of finished pixels.

        Returns:
            uint8 [height, width, channels].

        Raises:
            FormatError: the payload is not a strip.
        """
        bit_depth = self._program.bit_depth
        coder.check_length(payload, height * self._width * self._channels, bit_depth)
        strip = coder.StripDecoder(payload, bit_depth)
        out = np.empty((height, self._width, self._channels), np.uint8)

        def choose(distribution: Distribution, wave: Wave, channel: int) -> Samples:
            return strip.decode(distribution)

        with exact.undisturbed(self._device):
            for stack in stacks(height, self._width, self._tile):
                out[stack.index] = self.walk(
                    len(stack.tops), stack.rows, stack.width, choose, progress
                )
        return out
