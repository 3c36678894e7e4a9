"""The production network, which splits what it says by the colours that an image had so far.

See :mod:`pixelcodec.models.seen_colours`. The layers stay as they shipped.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelcodec.models.mixture import Mixture
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Samples
from pixelcodec.models.seen_colours import SeenColours, Split
from pixelcodec.models.wavefront_pixelcnn import (
    IntegerWavefrontPixelCNN,
    PixelMixtures,
    inputs_of_heads,
)


class SeeingPixelCNN(IntegerWavefrontPixelCNN):
    """The program, which sees more colours after each wave: it codes one image, once."""

    sequential = True

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic, channels: int) -> None:
        """Begin an image of 1 or 3 ``channels``."""
        super().__init__(network, arithmetic)
        self.seen_colours = SeenColours(channels)

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all that does not depend on the pixels' own samples."""
        seen, activations = self.trunk(canvas)
        self._in_hand = SeeingMixtures(self, seen.centre, inputs_of_heads(activations))
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and the colours that they are."""
        super().remember(canvas, samples)
        self._in_hand.take_in(samples)
        del self._in_hand  # refers to this program, which could not be freed at once


class SeeingMixtures(PixelMixtures):
    """The mixtures of the pixels in hand, split by the colours that were seen."""

    _program: SeeingPixelCNN

    def __init__(
        self, program: SeeingPixelCNN, centre: npt.NDArray[np.int16], seen: Tensor
    ) -> None:
        """Take what :class:`PixelMixtures` takes."""
        super().__init__(program, centre, seen)
        self._splits: list[Mixture | Split] = []
        self._before = np.empty(centre.shape, np.uint8)

    def distribution(self, channel: int) -> Mixture | Split:
        """Of ``channel``, given the channels before, which were revealed."""
        found = self.mixture(channel)
        self._splits.append(self._program.seen_colours.split(found, channel, self._before))
        return self._splits[-1]

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let later channels see the ``samples`` of ``channel``."""
        self._before[:, channel] = samples
        super().reveal(channel, samples)

    def take_in(self, samples: Samples) -> None:
        """Learn of the ``samples`` (uint8 [pixels, channels]) of the pixels in hand."""
        self._program.seen_colours.take_in(samples, self._splits)
