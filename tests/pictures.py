"""Images for tests, made from nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.uint8]


def noise(*shape: int, seed: int = 1) -> Samples:
    """Samples that nothing predicts."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scene(*shape: int, seed: int = 1) -> Samples:
    """Soft waves with an edge and some grain, the channels alike: [height, width] and maybe [3]."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape[:2])
    waves: npt.NDArray[Any] = np.zeros(shape[:2])
    for size in (40, 15, 5):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        waves += size * np.sin((np.cos(angle) * x + np.sin(angle) * y) * 4 / size + phase)
    waves += np.where(x + 2 * y > sum(shape[:2]) / 2, 50, 0)
    if len(shape) == 3:
        waves = waves[..., None] * random.uniform(0.7, 1.1, 3) + random.uniform(-15, 15, 3)
    return (100 + waves + random.normal(0, 3, shape)).clip(0, 255).astype(np.uint8)
