"""Batches to train on: random parts of graphics, of several sizes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelcodec.models import data
from pixelcodec.models.data import Mask, Samples, opened

CHANNELS = 4
SIDES = (32, 64, 128)
"""Of parts; small ones show a network what it is like to know nothing of an image yet."""

_MOST = 1024
_HELD_OUT_SIDE = 192
_TRIES = 3


def load_graphics(files: Sequence[Path]) -> dict[str, list[Samples]]:
    """Decode ``files``: by folder, RGBA images, uint8 [height, width, 4]. They stay in memory.

    Of large ones it keeps the middle.

    Raises:
        OSError: a file cannot be read, or is damaged.
    """
    found: dict[str, list[Samples]] = {}
    for file in files:
        with opened(file) as image:
            samples = np.asarray(image.convert("RGBA"))
        found.setdefault(file.parent.name, []).append(_middle(samples, _MOST))
    return found


def split(images: dict[str, list[Samples]]) -> tuple[dict[str, list[Samples]], list[Samples]]:
    """Images to train on, and the middle of those that are held out: every twentieth."""
    parts = {folder: data.split(own) for folder, own in images.items()}
    training = {folder: part for folder, (part, _) in parts.items()}
    held_out = [_middle(image, _HELD_OUT_SIDE) for _, part in parts.values() for image in part]
    return training, held_out


def _middle(image: Samples, most: int) -> Samples:
    top, left = (max(0, side - most) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + most, left : left + most])


class GraphicPatches:
    """Random parts of graphics: a :class:`pixelcodec.models.data.Source`.

    Folders have equal shares. All parts of a batch are of one size, which changes step by step.
    """

    def __init__(self, images: dict[str, list[Samples]], side: int, count: int, seed: int) -> None:
        """Prepare batches of as many pixels as ``count`` parts of ``side`` x ``side`` pixels have.

        Args:
            images: by folder, uint8 [height, width, 4] each.
            side: of a part.
            count: of them in a batch.
            seed: of the batches.

        Raises:
            ValueError: all images are smaller than the smallest parts.
        """
        self._pixels, self._seed = count * side**2, seed
        fitting = {
            each: [
                fit
                for own in images.values()
                if (fit := [image for image in own if min(image.shape[:2]) >= each])
            ]
            for each in SIDES
            if each**2 <= self._pixels
        }
        self._fitting = {each: folders for each, folders in fitting.items() if folders}
        if not self._fitting:
            raise ValueError(f"all images are smaller than {SIDES[0]} x {SIDES[0]} pixels")

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        return self._pixels

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The parts of a step, see :class:`pixelcodec.models.data.Source`."""
        random = np.random.default_rng([self._seed, step, rank])
        side = list(self._fitting)[random.integers(len(self._fitting))]
        count = self._pixels // side**2
        parts = np.stack([self._part(side, random) for _ in range(count)])
        return parts, np.ones((count, CHANNELS), np.bool_)

    def _part(self, side: int, random: np.random.Generator) -> Samples:
        """Of a few parts of an image, half of the time, the one that is least flat."""
        folders = self._fitting[side]
        own = folders[random.integers(len(folders))]
        image = own[random.integers(len(own))]
        parts = []
        for _ in range(random.choice([1, _TRIES])):
            y, x = (random.integers(length - side + 1) for length in image.shape[:2])
            parts.append(image[y : y + side, x : x + side])
        part = max(parts, key=_edges)
        part = part[:, ::-1] if random.random() < 0.5 else part
        if random.random() < 0.3:
            part = part[..., np.r_[random.permutation(3), 3]]
        return np.ascontiguousarray(part)


def _edges(part: Samples) -> int:
    return int((part[:, 1:] != part[:, :-1]).any(2).sum())
