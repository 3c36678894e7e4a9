"""Grain: the noise of film and sensors, which photographs lose when they are reduced.

Images to train on are often reduced from larger ones, which averages their noise away. A network
that never saw noise codes noisy photographs badly (docs/TRAINING.md has measurements).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.uint8]

LARGEST_DEVIATION = 6.0
"""Of the noise of a patch, in levels; it is drawn from 0 up to this."""

_MOST_COLOUR = 0.5  # independent noise of each channel, as a part of what they share
_SMOOTHED_SHARE = 0.7
_MOST_SMOOTHING = 0.35  # weight of each neighbour in a smoothing by three taps


def with_grain(patch: Samples, random: np.random.Generator) -> Samples:
    """Add grain of random strength, colour and coarseness to ``patch``, uint8 [h, w, 3]."""
    height, width = patch.shape[:2]
    size = (height + 2, width + 2)
    deviation = random.uniform(0, LARGEST_DEVIATION)
    colour = deviation * random.uniform(0, _MOST_COLOUR)
    noise = deviation * random.standard_normal((*size, 1))
    noise = noise + colour * random.standard_normal((*size, 3))
    weight = random.uniform(0, _MOST_SMOOTHING) * (random.random() < _SMOOTHED_SHARE)
    grain = _smoothed(_smoothed(noise, weight).swapaxes(0, 1), weight).swapaxes(0, 1)
    noisy: Samples = np.rint(patch + grain).clip(0, 255).astype(np.uint8)
    return noisy


def _smoothed(noise: npt.NDArray[Any], weight: float) -> npt.NDArray[Any]:
    """Along the first axis by the kernel (weight, 1 - 2 weight, weight), without its ends."""
    smoothed: npt.NDArray[Any] = weight * (noise[:-2] + noise[2:]) + (1 - 2 * weight) * noise[1:-1]
    return smoothed
