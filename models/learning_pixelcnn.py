"""The production network whose layers learn from each wave (:mod:`pixelcodec.models.learning`).

Heads learn, and as many of the last blocks as are asked for; the layers below stay. Beside the
trunk's activations a head sees the features of the context themselves, by weights that start at
zero. Gradients go back through a pixel's own activations, not through those of its neighbours.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models import context, mixture_gradient
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS
from pixelcodec.models.learning import LEAST_PIXELS, Learning, LearningPair
from pixelcodec.models.mixture import Mixture
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Samples
from pixelcodec.models.seen_colours import SeenColours, Split
from pixelcodec.models.wavefront_pixelcnn import (
    CHANNELS,
    SAMPLES,
    SEEN,
    IntegerWavefrontPixelCNN,
)

Integers = npt.NDArray[Any]

_STREAM_SHIFT = STREAM_BITS - ACTIVATION_BITS


class LearningPixelCNN(IntegerWavefrontPixelCNN):
    """The program, which is another after each wave: it codes one image, once."""

    sequential = True

    def __init__(
        self, network: IntegerNetwork, arithmetic: Arithmetic, learning: Learning, channels: int
    ) -> None:
        """Start from ``network``.

        Args:
            network: what it is at first.
            arithmetic: of the layers that stay; those that learn run on the host.
            learning: how; of the blocks, if they are fewer, all learn.
            channels: of the image, 1 or 3.
        """
        super().__init__(network, arithmetic)
        self._rate, self._turn, self._pixels = learning.rate, 0, 0
        self.seen_colours = SeenColours(channels)
        self._inverse_scale = network.tables["inverse_scale"].numpy().astype(np.int64)
        layers, host = network.layers, arithmetic.host
        width = layers["input"].weight.shape[1]
        inputs = width + context.FEATURES + SEEN
        rows = np.r_[:width, inputs - SEEN : inputs]
        self.heads = [
            LearningPair(layers[f"head.{c}"], layers[f"parameters.{c}"], host, rows, inputs)
            for c in range(CHANNELS)
        ]
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
        """Run the trunk."""
        seen = context.centred_context(*canvas.on_host(SAMPLES), self.companding)
        stream = self._input(torch.from_numpy(seen.features).to(self._device))
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
        self._in_hand = LearningMixtures(self, seen, activations, passed)
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        super().remember(canvas, samples)
        self._in_hand.learn(samples)
        self._pixels += len(samples)
        if self._pixels >= LEAST_PIXELS:
            for head in self.heads[: samples.shape[1]]:
                head.update(self._turn, self._rate)
            for block in self.blocks:
                block.update(self._turn, self._rate // 2)
            self._turn, self._pixels = self._turn + 1, 0

    def gradients(
        self, found: Mixture, parameters: Integers, residuals: Integers, samples: Samples
    ) -> Integers:
        """See :func:`pixelcodec.models.mixture_gradient.gradients`."""
        return mixture_gradient.gradients(
            found, parameters, residuals, self._inverse_scale, samples
        )


class LearningMixtures:
    """The mixtures of the pixels in hand, and what it takes to learn from them."""

    def __init__(
        self,
        program: LearningPixelCNN,
        seen: context.Context,
        activations: Tensor,
        passed: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Take the context, the trunk's activations (int8 [pixels, width]), and what it learns by.

        ``passed``: taps and hidden units of each block that learns, int8.
        """
        self._program, self._centre = program, seen.centre
        self._activations, self._passed = activations, passed
        self._residuals = np.empty_like(seen.centre)
        unknown = torch.zeros((len(activations), SEEN), dtype=torch.int8)
        self._inputs = torch.cat([activations, torch.from_numpy(seen.features), unknown], 1)
        self._found: list[tuple[Tensor, Integers, Mixture]] = []
        self._splits: list[Mixture | Split] = []
        self._before = np.empty(seen.centre.shape, np.uint8)

    def distribution(self, channel: int) -> Mixture | Split:
        """Of ``channel``, given the channels before, which were revealed."""
        units, parameters = self._program.heads[channel](self._inputs)
        found = self._program.mixture(parameters, channel, self._centre, self._residuals)
        self._found.append((units, parameters, found))
        self._splits.append(self._program.seen_colours.split(found, channel, self._before))
        return self._splits[-1]

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let the heads of later channels see the residuals of ``channel``."""
        self._before[:, channel] = samples
        if channel == SEEN:
            return
        residuals = samples - self._centre[:, channel]
        self._residuals[:, channel] = residuals
        companded = self._program.companding.take(residuals + context.ZERO_DIFFERENCE)
        self._inputs[:, channel - SEEN] = torch.from_numpy(companded)

    def learn(self, samples: Samples) -> None:
        """Tell the heads and blocks of ``samples`` (uint8 [pixels, channels])."""
        self._program.seen_colours.take_in(samples, self._splits)
        of_activations = np.zeros(self._activations.shape, np.int32)
        for channel, (units, parameters, found) in enumerate(self._found):
            own = np.ascontiguousarray(samples[:, channel])
            gradients = self._program.gradients(found, parameters, self._residuals, own)
            head = self._program.heads[channel]
            of_units = head.take_in(self._inputs, units, gradients)
            if self._passed:
                of_activations += head.pass_back(of_units, self._activations)
        of_stream: Integers = of_activations >> _STREAM_SHIFT
        for block, (taps, units) in zip(
            reversed(self._program.blocks), reversed(self._passed), strict=True
        ):
            of_units = block.take_in(taps, units, of_stream)
            first = taps.shape[1] - of_stream.shape[1]  # of the pixel's own
            of_taps = block.pass_back(of_units, taps[:, first:].contiguous(), first)
            of_stream = of_stream + (of_taps >> _STREAM_SHIFT)
