"""Strips of samples <-> range-coder payloads, by an integer network.

Encoding knows every sample, so it runs the network on bands of rows in raster layout, each layer
one large product, and then puts the choices in the order of the waves. Decoding runs the same
program wave by wave. Both see the same integers; :mod:`pixelcodec.schedule` says why.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec import coder, exact
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.pixelcnn import CHANNELS, IntegerPixelCNN
from pixelcodec.schedule import Canvas, Carry, symbol_positions, waves

Samples = npt.NDArray[np.uint8]
Integers = npt.NDArray[Any]
Progress = Callable[[int], None]
"""Called now and then with the count of pixels that were finished since the last call."""

BAND_PIXELS = 8192
"""Pixels that encoding takes at once: their activations stay in the processor's cache."""

WAVE_COLUMNS = 64
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
        self.backend = exact.select_backend(backend, self.device)
        self.program = IntegerPixelCNN(network, self._prepare, self.device)

    def _prepare(self, layer: IntegerLayer) -> exact.Linear:
        return exact.Linear(layer.weight, layer.bias, layer.shift, self.backend, self.device)


class StripCoder:
    """What encoder and decoder of an image share: the carry from strip to strip."""

    def __init__(self, engine: Engine, width: int, channels: int, restart: bool = False) -> None:
        """Start at the top of an image of ``width`` columns and 1 or 3 ``channels``.

        ``restart``: each strip starts as if it were the top of the image.
        """
        self._program, self._device = engine.program, engine.device
        self._width, self._channels, self._restart = width, channels, restart
        self._carry: Carry | None = None

    def _above(self, canvas: Canvas) -> Carry:
        if self._carry is None or self._restart:
            return canvas.nothing_above()
        return self._carry

    def _mixture(
        self, features: Tensor, channel: int, centre: Integers, known: Integers
    ) -> coder.Distribution:
        """Distributions of ``channel``, given the residuals ``known`` of the channels before."""
        parameters = self._program.parameters(features, channel).t().contiguous()
        return self._program.mixture(parameters.cpu().numpy(), centre[channel], known[:channel])

    def _show(self, features: Tensor, channel: int, residuals: Integers) -> None:
        """Let later channels see the residuals of ``channel``, where there are any to come."""
        if channel + 1 < self._channels:
            self._program.show(features, channel, residuals)


class StripEncoder(StripCoder):
    """Encodes the strips of an image, from the top."""

    def encode(self, rows: Samples, progress: Progress) -> bytes:
        """Code the next strip.

        Args:
            rows: uint8 [rows, width, channels].
            progress: told of finished pixels.
        """
        with torch.inference_mode():
            choices = self._choices(rows, progress)
        strip = coder.StripEncoder()
        strip.encode(choices)
        return strip.finish()

    def _choices(self, rows: Samples, progress: Progress) -> coder.Floats:
        """All choices of the strip in the order of coding: [n, 3]."""
        height = len(rows)
        band = max(1, min(height, BAND_PIXELS // self._width))
        canvas = Canvas(self._program.planes, band, self._width, 0, self._device)
        symbols = self._channels * len(coder.STRIDES)
        positions = symbol_positions(height, self._width, self._program.slope, symbols)
        ordered = np.empty((positions.size, 3), np.float32)
        carry = self._above(canvas)
        for top in range(0, height, band):
            part = rows[top : top + band]
            canvas.begin(len(part), carry)
            choices = self._band(canvas, part)
            carry = canvas.end()
            ordered[positions[top : top + band].reshape(-1)] = choices.reshape(-1, 3)
            progress(part.shape[0] * part.shape[1])
        self._carry = carry
        return ordered

    def _band(self, canvas: Canvas, rows: Samples) -> coder.Floats:
        """Choices of the pixels of a band: [n, symbols, 3]."""
        samples = rows.reshape(-1, self._channels)
        canvas.put(self._program.samples, _three_channels(samples, self._device))
        centre, features = self._program.trunk(canvas)
        middle = centre.t().contiguous().cpu().numpy()
        known = np.zeros_like(middle)
        choices = []
        for channel in range(self._channels):
            mixture = self._mixture(features, channel, middle, known)
            column = samples[:, channel].astype(np.intp)
            choices.append(coder.describe(mixture, column))
            known[channel] = column - middle[channel]
            self._show(features, channel, known[channel])
        return np.concatenate(choices, 1)


class StripDecoder(StripCoder):
    """Decodes the strips of an image, from the top."""

    def __init__(self, engine: Engine, width: int, channels: int, restart: bool = False) -> None:
        super().__init__(engine, width, channels, restart)
        self._canvas: Canvas | None = None

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
        if self._canvas is None:
            self._canvas = Canvas(
                self._program.planes, height, self._width, self._program.slope, self._device,
                WAVE_COLUMNS,
            )
        strip = coder.StripDecoder(payload)
        out = np.empty((height, self._width, self._channels), np.uint8)
        canvas = self._canvas
        canvas.begin(height, self._above(canvas))
        finished = 0
        with torch.inference_mode():
            for wave in waves(height, self._width, self._program.slope):
                canvas.select(wave)
                samples = self._wave(canvas, strip)
                y = np.arange(wave.first, wave.end)
                out[y, wave.time - self._program.slope * y] = samples
                finished += len(samples)
                if wave.time % _PROGRESS_WAVES == 0:
                    progress(finished)
                    finished = 0
            self._carry = canvas.end()
        progress(finished)
        return out

    def _wave(self, canvas: Canvas, strip: coder.StripDecoder) -> Samples:
        """Decode the pixels in hand: uint8 [n, channels]."""
        centre, features = self._program.trunk(canvas)
        middle = centre.t().contiguous().cpu().numpy()
        known = np.zeros_like(middle)
        samples = np.empty((middle.shape[1], self._channels), np.uint8)
        for channel in range(self._channels):
            column = strip.decode(self._mixture(features, channel, middle, known))
            samples[:, channel] = column
            known[channel] = column - middle[channel]
            self._show(features, channel, known[channel])
        canvas.put(self._program.samples, _three_channels(samples, self._device))
        return samples


def _three_channels(samples: Samples, device: torch.device) -> Tensor:
    """Samples [n, 1 or 3] as the network takes them, gray in all three channels: int16 [n, 3]."""
    wide: Any = np.broadcast_to(samples, (len(samples), CHANNELS)).astype(np.int16)
    return torch.from_numpy(wide).to(device)
