"""The production network with heads that learn from each wave (:mod:`pixelcodec.models.learning`).

The trunk stays as it is. Beside the trunk's activations a head sees the features of the context
themselves, by weights that start at zero.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.models import context, mixture_gradient
from pixelcodec.models.learning import CONSTANT, LEAST_PIXELS, LearningHead
from pixelcodec.models.mixture import Mixture
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Samples
from pixelcodec.models.wavefront_pixelcnn import (
    CHANNELS,
    SAMPLES,
    SEEN,
    IntegerWavefrontPixelCNN,
)

Integers = npt.NDArray[Any]


class LearningPixelCNN(IntegerWavefrontPixelCNN):
    """The program, which is another after each wave: it codes one image, once."""

    sequential = True

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic, rate: int) -> None:
        """Start from ``network``, and learn at ``rate``, 1 to 255."""
        super().__init__(network, arithmetic)
        self._rate, self._turn, self._pixels = rate, 0, 0
        self._inverse_scale = network.tables["inverse_scale"].numpy().astype(np.int64)
        width = network.layers["input"].weight.shape[1]
        constant = width + context.FEATURES
        # Inputs are the trunk's activations, the context, the constant, and residuals.
        self._learning = [
            LearningHead(
                network.layers[f"head.{channel}"].first_inputs(width + channel),
                network.layers[f"parameters.{channel}"],
                np.r_[:width, constant + 1 : constant + 1 + channel],
                constant,
            )
            for channel in range(CHANNELS)
        ]

    def look(self, canvas: Canvas) -> Conditionals:
        """Run the trunk."""
        seen = context.centred_context(*canvas.on_host(SAMPLES), self.companding)
        features = torch.from_numpy(seen.features).to(self._device)
        activations = self._trunk(features, canvas)[:, :-SEEN].cpu()
        self._in_hand = LearningMixtures(self, seen, activations)
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        super().remember(canvas, samples)
        self._in_hand.learn(samples)
        self._pixels += len(samples)
        if self._pixels >= LEAST_PIXELS:
            for head in self._learning[: samples.shape[1]]:
                head.update(self._turn, self._rate)
            self._turn, self._pixels = self._turn + 1, 0

    def head(self, channel: int) -> LearningHead:
        """That of ``channel``."""
        return self._learning[channel]

    def gradients(
        self, found: Mixture, parameters: Integers, residuals: Integers, samples: Samples
    ) -> Tensor:
        """See :func:`pixelcodec.models.mixture_gradient.gradients`."""
        of = mixture_gradient.gradients(found, parameters, residuals, self._inverse_scale, samples)
        return torch.from_numpy(of)


class LearningMixtures:
    """The mixtures of the pixels in hand, and what it takes to learn from them."""

    def __init__(
        self, program: LearningPixelCNN, seen: context.Context, activations: Tensor
    ) -> None:
        """Take the context and the trunk's activations (int8 [pixels, width])."""
        self._program, self._centre = program, seen.centre
        self._residuals = np.empty_like(seen.centre)
        columns = activations.shape[1] + seen.features.shape[1] + 1
        self._inputs = torch.empty((len(activations), columns + SEEN), dtype=torch.float64)
        _as_inputs(activations.numpy(), seen.features, self._inputs.numpy())
        self._found: list[tuple[Tensor, Integers, Mixture]] = []

    def distribution(self, channel: int) -> Mixture:
        """Of ``channel``, given the channels before, which were revealed."""
        head = self._program.head(channel)
        units, parameters = head(self._inputs[:, : head.inputs])
        found = self._program.mixture(parameters, channel, self._centre, self._residuals)
        self._found.append((units, parameters, found))
        return found

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let the heads of later channels see the residuals of ``channel``."""
        if channel == SEEN:
            return
        residuals = samples - self._centre[:, channel]
        self._residuals[:, channel] = residuals
        companded = self._program.companding.take(residuals + context.ZERO_DIFFERENCE)
        self._inputs[:, channel - SEEN] = torch.from_numpy(companded)

    def learn(self, samples: Samples) -> None:
        """Tell the heads of ``samples`` (uint8 [pixels, channels])."""
        for channel, (units, parameters, found) in enumerate(self._found):
            own = np.ascontiguousarray(samples[:, channel])
            gradients = self._program.gradients(found, parameters, self._residuals, own)
            head = self._program.head(channel)
            head.take_in(self._inputs[:, : head.inputs], units, gradients)


@compiled
def _as_inputs(activations: Integers, features: Integers, inputs: Any) -> None:
    width, count = activations.shape[1], features.shape[1]
    for n in range(len(inputs)):
        for j in range(width):
            inputs[n, j] = np.float64(activations[n, j])
        for j in range(count):
            inputs[n, width + j] = np.float64(features[n, j])
        inputs[n, width + count] = np.float64(CONSTANT)
