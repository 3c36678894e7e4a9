"""The production network whose layers learn from each wave (:mod:`pixelcodec.models.learning`).

Heads learn, and as many of the last blocks as are asked for; the layers below stay. Beside the
trunk's activations a head sees the features of the context themselves, by weights that start at
zero.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.models import context, mixture_gradient
from pixelcodec.models.learning import Learning, LearningPair, Updates, last_blocks, teach
from pixelcodec.models.mixture import Mixture
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Samples
from pixelcodec.models.seeing_pixelcnn import SeeingMixtures, SeeingPixelCNN
from pixelcodec.models.wavefront_pixelcnn import RESIDUALS

Integers = npt.NDArray[Any]


class LearningPixelCNN(SeeingPixelCNN):
    """The program, which is another after each wave: it codes one image, once."""

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
        super().__init__(network, arithmetic, channels)
        self.inverse_scale = network.tables["inverse_scale"].numpy().astype(np.int64)
        layers, host = network.layers, arithmetic.host
        width = layers["input"].weight.shape[1]
        inputs = width + context.FEATURES + RESIDUALS
        rows = np.r_[:width, inputs - RESIDUALS : inputs]
        self.heads = [
            LearningPair(layers[f"head.{c}"], layers[f"parameters.{c}"], host, rows, inputs)
            for c in range(channels)
        ]
        last = last_blocks(layers, arithmetic, len(self.blocks), learning.depth)
        self.blocks.update(last)
        self.learning_blocks = list(last.values())
        self._updates = Updates([*self.heads, *self.learning_blocks], learning.rate)

    def look(self, canvas: Canvas) -> Conditionals:
        """Run the trunk."""
        seen, activations = self.trunk(canvas)
        self._in_hand = LearningMixtures(self, seen, activations.cpu())
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        super().remember(canvas, samples)
        self._updates.count(len(samples))


class LearningMixtures(SeeingMixtures):
    """The mixtures of the pixels in hand, and what it takes to learn from them."""

    _program: LearningPixelCNN

    def __init__(
        self, program: LearningPixelCNN, seen: context.Context, activations: Tensor
    ) -> None:
        """Take the context, and the trunk's activations (int8 [pixels, width])."""
        unknown = torch.zeros((len(activations), RESIDUALS), dtype=torch.int8)
        inputs = torch.cat([activations, torch.from_numpy(seen.features), unknown], 1)
        super().__init__(program, seen.centre, inputs)
        self._activations = activations
        self._found: list[tuple[Tensor, Integers, Mixture]] = []

    def mixture(self, channel: int) -> Mixture:
        """What the network says of ``channel``."""
        units, parameters = self._program.heads[channel](self.seen)
        found = self._program.mixture(parameters, channel, self.centre, self._residuals)
        self._found.append((units, parameters, found))
        return found

    def take_in(self, samples: Samples) -> None:
        """Tell the heads and blocks of ``samples`` (uint8 [pixels, channels])."""
        super().take_in(samples)
        of_activations = np.zeros(self._activations.shape, np.int32)
        for channel, (units, parameters, found) in enumerate(self._found):
            own = np.ascontiguousarray(samples[:, channel])
            gradients = mixture_gradient.gradients(
                found, parameters, self._residuals, self._program.inverse_scale, own
            )
            head = self._program.heads[channel]
            of_units = head.take_in(self.seen, units, gradients)
            if self._program.learning_blocks:
                of_activations += head.pass_back(of_units, self._activations)
        teach(self._program.learning_blocks, of_activations)
