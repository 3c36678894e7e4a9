"""The gray network whose layers learn from each wave (:mod:`pixelcodec.models.learning`).

The head learns, and as many of the last blocks as are asked for; the layers below stay.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models import scaled_gradient
from pixelcodec.models.gray_context import Context
from pixelcodec.models.learning import Learning, LearningLayer, Updates, last_blocks, teach
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Samples
from pixelcodec.models.wavefront_gray import GrayMixtures, IntegerWavefrontGray

Integers = npt.NDArray[Any]


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
        layers, host = network.layers, arithmetic.host
        self.head = LearningLayer(layers["head"], host)
        self.output = LearningLayer(layers["parameters"], host)
        last = last_blocks(layers, arithmetic, len(self.blocks), learning.depth)
        self.blocks.update(last)
        self.learning_blocks = list(last.values())
        self._updates = Updates([self.head, self.output, *self.learning_blocks], learning.rate)
        self.sizes = network.tables["unit"].numpy().astype(np.int64)

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all layers, and keep what it takes to learn from them."""
        seen = self.context(canvas)
        features = torch.from_numpy(seen.features)
        activations = self.activations(features.to(self._device), canvas).cpu()
        self._in_hand = LearningGrayMixtures(self, seen, activations)
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        super().remember(canvas, samples)
        self._in_hand.learn(samples)
        del self._in_hand  # refers to this program, which could not be freed at once
        self._updates.count(len(samples))


class LearningGrayMixtures(GrayMixtures):
    """The mixtures of the pixels in hand, of their one channel, and what it takes to learn."""

    def __init__(self, program: LearningGray, seen: Context, activations: Tensor) -> None:
        """Take the context, and the trunk's activations (int8 [pixels, width])."""
        self._program, self._unit, self._activations = program, seen.unit, activations
        features = torch.from_numpy(seen.features)
        self._inputs = torch.cat([activations, features], 1)
        self._units = program.head.relu(self._inputs)
        self._to_output = torch.cat([self._units, features], 1)
        self._parameters = program.output(self._to_output)
        super().__init__(program.mixture(self._parameters, seen.centre, seen.unit))

    def learn(self, samples: Samples) -> None:
        """Tell head and blocks of ``samples`` [pixels, 1]."""
        program = self._program
        own = np.ascontiguousarray(samples[:, 0])
        gradients = scaled_gradient.gradients(
            *(self._found, self._parameters, self._unit, program.sizes, own, program.bit_depth)
        )
        program.output.take_in(self._to_output, gradients)
        of_units = program.output.pass_back(gradients, self._units)
        program.head.take_in(self._inputs, of_units)
        if program.learning_blocks:
            of_activations = program.head.pass_back(of_units, self._activations)
            teach(program.learning_blocks, of_activations)
