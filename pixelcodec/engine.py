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
from pixelcodec.models.context import centred_context
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.pixelcnn import IntegerPixelCNN
from pixelcodec.schedule import Canvas, Carry, symbol_positions, waves

Samples = npt.NDArray[np.uint8]
Integers = npt.NDArray[Any]
Progress = Callable[[int], None]
"""Called now and then with the count of pixels that were finished since the last call."""

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
            self.program = IntegerPixelCNN(network, self.arithmetic)


class StripCoder:
    """What encoder and decoder of an image share: the pixels in hand, and the rows above.

    Samples and their context stay on the host, activations on the device.
    """

    def __init__(self, engine: Engine, width: int, channels: int, restart: bool = False) -> None:
        """Start at the top of an image of ``width`` columns and 1 or 3 ``channels``.

        ``restart``: each strip starts as if it were the top of the image.
        """
        self._program, self._device = engine.program, engine.device
        self._width, self._channels, self._restart = width, channels, restart
        self._carry: Carry | None = None

    def _canvas(self, rows: int, slope: int, columns: int | None = None) -> Canvas:
        return Canvas(
            self._program.samples,
            self._program.planes,
            rows,
            self._width,
            slope,
            self._device,
            columns,
        )

    def _above(self, canvas: Canvas) -> Carry:
        if self._carry is None or self._restart:
            return canvas.nothing_above()
        return self._carry

    def _look(self, canvas: Canvas) -> tuple[Integers, Tensor]:
        """Centre of the pixels in hand, int16 [n, 3], and what the heads see of them."""
        seen = centred_context(*canvas.samples_in_hand(), self._program.companding)
        features = torch.from_numpy(seen.features).to(self._device)
        return seen.centre, self._program.trunk(features, canvas)

    def _mixture(
        self, seen: Tensor, channel: int, centre: Integers, residuals: Integers
    ) -> coder.Distribution:
        """Distributions of ``channel``, given the ``residuals`` of the channels before."""
        parameters = self._program.parameters(seen, channel).cpu().numpy()
        return self._program.mixture(parameters, channel, centre, residuals)


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
            float32 [n, 3].
        """
        with exact.undisturbed(self._device):
            return self._choices(rows, progress)

    def _choices(self, rows: Samples, progress: Progress) -> coder.Floats:
        height = len(rows)
        band = max(1, min(height, BAND_PIXELS // self._width))
        canvas = self._canvas(band, slope=0)
        symbols = self._channels * len(coder.STRIDES)
        positions = symbol_positions(height, self._width, self._program.slope, symbols)
        ordered = np.empty((positions.size, 3), np.float32)
        carry = self._above(canvas)
        for top in range(0, height, band):
            part = rows[top : top + band]
            canvas.begin(len(part), carry)
            choices = self._band(canvas, part.reshape(-1, self._channels))
            carry = canvas.end()
            ordered[positions[top : top + band].reshape(-1)] = choices.reshape(-1, 3)
            progress(part.shape[0] * part.shape[1])
        self._carry = carry
        return ordered

    def _band(self, canvas: Canvas, samples: Samples) -> coder.Floats:
        """Choices of the pixels of a band, uint8 [n, channels]: [n, symbols, 3]."""
        canvas.put_samples(samples)
        centre, seen = self._look(canvas)
        residuals = samples.astype(np.int16) - centre[:, : self._channels]
        choices = []
        for channel in range(self._channels):
            mixture = self._mixture(seen, channel, centre, residuals)
            choices.append(coder.describe(mixture, samples[:, channel]))
            if channel + 1 < self._channels:
                self._program.show(seen, channel, residuals[:, channel])
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
        coder.check_length(payload, height * self._width * self._channels)
        strip = coder.StripDecoder(payload)
        with exact.undisturbed(self._device):
            return self._decode(strip, height, progress)

    def _decode(self, strip: coder.StripDecoder, height: int, progress: Progress) -> Samples:
        slope = self._program.slope
        out = np.empty((height, self._width, self._channels), np.uint8)
        canvas = self._canvas(height, slope, WAVE_COLUMNS)
        canvas.begin(height, self._above(canvas))
        finished = 0
        for wave in waves(height, self._width, slope):
            canvas.select(wave)
            y = np.arange(wave.first, wave.end)
            out[y, wave.time - slope * y] = self._wave(canvas, strip, len(y))
            finished += len(y)
            if wave.time % _PROGRESS_WAVES == 0:
                progress(finished)
                finished = 0
        self._carry = canvas.end()
        progress(finished)
        return out

    def _wave(self, canvas: Canvas, strip: coder.StripDecoder, count: int) -> Samples:
        """Decode the ``count`` pixels in hand: uint8 [count, channels]."""
        centre, seen = self._look(canvas)
        samples = np.empty((count, self._channels), np.uint8)
        residuals = np.empty((count, self._channels), np.int16)
        for channel in range(self._channels):
            mixture = self._mixture(seen, channel, centre, residuals)
            samples[:, channel] = strip.decode(mixture, count)
            residuals[:, channel] = samples[:, channel] - centre[:, channel]
            if channel + 1 < self._channels:
                self._program.show(seen, channel, residuals[:, channel])
        canvas.put_samples(samples)
        return samples
