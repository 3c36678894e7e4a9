"""The gray network whose layers learn from each wave (:mod:`pixelcodec.models.learning`).

The head learns, and as many of the last blocks as are asked for; the layers below stay. Gradients
go back through a pixel's own activations, not through those of its neighbours.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models import scaled_gradient
from pixelcodec.models.gray_context import Context
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS
from pixelcodec.models.learning import LEAST_PIXELS, Learning, LearningLayer, LearningPair
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals
from pixelcodec.models.scaled_mixture import ScaledMixture
from pixelcodec.models.wavefront_gray import IntegerWavefrontGray, Samples

Integers = npt.NDArray[Any]

_STREAM_SHIFT = STREAM_BITS - ACTIVATION_BITS


class LearningGray(IntegerWavefrontGray):
    """The program, which is another after each wave: it codes one image, once."""

    sequential = True

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic, learning: Learning) -> None:
        """Start from ``network``.

        Args:
            network: what it is at first.
            arithmetic: of the layers that stay; those that learn run on the host.
            learning: how; of the blocks, if they are fewer, all learn.
        """
        super().__init__(network, arithmetic)
        self._rate, self._turn, self._pixels = learning.rate, 0, 0
        self._sizes = network.tables["unit"].numpy().astype(np.int64)
        layers, host = network.layers, arithmetic.host
        self.head = _learns(layers["head"], host)
        self.output = _learns(layers["parameters"], host)
        blocks = len(self._blocks)
        self._still = max(0, blocks - learning.depth)
        self.blocks = [
            LearningPair(
                layers[f"spatial.{i}"],
                layers[f"mix.{i}"],
                host,
                np.arange(len(layers[f"spatial.{i}"].weight)),
                len(layers[f"spatial.{i}"].weight),
            )
            for i in range(self._still, blocks)
        ]

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all layers, and keep what it takes to learn from them."""
        seen = self.context(canvas)
        features = torch.from_numpy(seen.features)
        stream = self._input(features.to(self._device))
        for plane, spatial, mix in self._blocks[: self._still]:
            taps = canvas.neighbourhoods(plane, self._relu(stream, _STREAM_SHIFT))
            stream += mix(spatial.relu(taps))
        passed = []
        for (plane, _, _), block in zip(self._blocks[self._still :], self.blocks, strict=True):
            taps = canvas.neighbourhoods(plane, self._relu(stream, _STREAM_SHIFT)).cpu()
            units, change = block(taps)
            stream += torch.from_numpy(change).to(self._device)
            passed.append((taps, units))
        activations = self._relu(stream, _STREAM_SHIFT).cpu()
        self._in_hand = LearningGrayMixtures(self, seen, activations, passed)
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        super().remember(canvas, samples)
        self._in_hand.learn(samples)
        self._pixels += len(samples)
        if self._pixels >= LEAST_PIXELS:
            for layer in (self.head, self.output):
                layer.update(self._turn, self._rate)
            for block in self.blocks:
                block.update(self._turn, self._rate // 2)
            self._turn, self._pixels = self._turn + 1, 0

    def gradients(
        self, found: ScaledMixture, parameters: Integers, unit: Integers, samples: Integers
    ) -> Integers:
        """See :func:`pixelcodec.models.scaled_gradient.gradients`."""
        return scaled_gradient.gradients(
            found, parameters, unit, self._sizes, samples, self.bit_depth
        )


def _learns(layer: IntegerLayer, host: Arithmetic) -> LearningLayer:
    inputs = len(layer.weight)
    return LearningLayer(layer, host, np.arange(inputs), inputs)


class LearningGrayMixtures:
    """The mixtures of the pixels in hand, of their one channel, and what it takes to learn."""

    def __init__(
        self,
        program: LearningGray,
        seen: Context,
        activations: Tensor,
        passed: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Take the context, the trunk's activations (int8 [pixels, width]), and what it learns by.

        ``passed``: taps and hidden units of each block that learns, int8.
        """
        self._program, self._unit = program, seen.unit
        self._activations, self._passed = activations, passed
        features = torch.from_numpy(seen.features)
        self._inputs = torch.cat([activations, features], 1)
        self._units = program.head.relu(self._inputs)
        self._to_output = torch.cat([self._units, features], 1)
        self._parameters = program.output(self._to_output)
        self._found = program.mixture(self._parameters, seen.centre, seen.unit)

    def distribution(self, channel: int) -> ScaledMixture:
        """That of the one channel."""
        return self._found

    def reveal(self, channel: int, samples: Samples) -> None:
        """No channel comes later."""

    def learn(self, samples: Samples) -> None:
        """Tell head and blocks of ``samples`` [pixels, 1]."""
        program, passed = self._program, self._passed
        own = np.ascontiguousarray(samples[:, 0])
        gradients = program.gradients(self._found, self._parameters, self._unit, own)
        of_units = program.output.pass_back(gradients, self._units)
        program.output.take_in(self._to_output, gradients)
        of_stream = np.zeros(self._activations.shape, np.int32)
        if passed:
            of_stream = program.head.pass_back(of_units, self._activations) >> _STREAM_SHIFT
        program.head.take_in(self._inputs, of_units)
        for block, (taps, units) in zip(reversed(program.blocks), reversed(passed), strict=True):
            of_hidden = block.take_in(taps, units, of_stream)
            first = taps.shape[1] - of_stream.shape[1]
            of_pixel = taps[:, first:].contiguous()
            of_stream = of_stream + (block.pass_back(of_hidden, of_pixel, first) >> _STREAM_SHIFT)
