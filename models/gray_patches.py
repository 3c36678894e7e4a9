"""Batches of patches of gray images, of 8 or 16 bits, varied at random."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelcodec.models.data import Mask, opened

HOLD_OUT = 8
"""Every 8th image, in order of path, is held out for validation, the 8th to begin with."""

DEEP_WEIGHT = 3.0
"""A pixel of more than 8 bits is drawn so many times as often as another."""

ENLARGED, DIMMED, NOISY, INVERTED = 0.2, 0.3, 0.2, 0.05
"""Shares of patches: made larger (as what is reconstructed or scaled), made darker, given noise,
turned to a negative."""

_GRAY_MODES = ("L", "I;16", "I;16B", "I;16L")

Samples = npt.NDArray[Any]
"""uint8, of 16 bits uint16."""


def load_gray(files: Sequence[Path], bit_depth: int) -> list[Samples]:
    """Those of ``files`` that are gray: [height, width, 1] each.

    Of 16 bits they are as they are stored. Of 8 bits, deeper images lose as many of their low bits
    as they have too many.

    Raises:
        OSError: a file cannot be read, or is damaged, or none is gray.
    """
    found = []
    for file in files:
        with opened(file) as image:
            if image.mode in _GRAY_MODES:
                found.append(_shallow(np.asarray(image)[..., None], bit_depth))
    if not found:
        raise OSError("none of the images is gray")
    return found


def _shallow(image: Samples, bit_depth: int) -> Samples:
    if bit_depth == 16:
        return image.astype(np.uint16)
    return (image >> max(0, int(image.max()).bit_length() - 8)).astype(np.uint8)


class GrayPatches:
    """Random patches of gray images: a :class:`pixelcodec.models.data.Source`."""

    def __init__(self, images: Sequence[Samples], size: int, count: int, seed: int) -> None:
        """Prepare batches of ``count`` patches of ``size`` x ``size`` pixels.

        Args:
            images: uint8 or uint16 [height, width, 1] each; those smaller than a patch are left
                out.
            size: side of a patch.
            count: of the patches in a batch.
            seed: of the batches.

        Raises:
            ValueError: all images are smaller than a patch.
        """
        self._images = [image for image in images if min(image.shape[:2]) >= size]
        if not self._images:
            raise ValueError(f"all images are smaller than a patch of {size} x {size}")
        self._brightest = [int(image.max()) for image in self._images]
        chances = [
            image.size * (DEEP_WEIGHT if brightest > 255 else 1.0)
            for image, brightest in zip(self._images, self._brightest, strict=True)
        ]
        self._chances = np.array(chances) / sum(chances)
        self._size, self._count, self._seed = size, count, seed

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        return self._count * self._size**2

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The patches of a step, and that all of them count, see :class:`Source`."""
        random = np.random.default_rng([self._seed, step, rank])
        chosen = random.choice(len(self._images), self._count, p=self._chances)
        patches = np.stack([self._patch(i, random) for i in chosen])
        return patches, np.ones((self._count, 1), np.bool_)

    def _patch(self, number: int, random: np.random.Generator) -> Samples:
        image = self._images[number]
        enlarged = random.random() < ENLARGED
        side = int(self._size / random.uniform(1.1, 2)) if enlarged else self._size
        y = random.integers(image.shape[0] - side + 1)
        x = random.integers(image.shape[1] - side + 1)
        patch = image[y : y + side, x : x + side]
        flip_x, flip_y, transpose = random.random(3) < 0.5
        patch = patch[:, ::-1] if flip_x else patch
        patch = patch[::-1] if flip_y else patch
        patch = patch.swapaxes(0, 1) if transpose else patch
        patch = _enlarged(patch, self._size) if enlarged else patch
        return varied(patch, self._brightest[number], random)


def _enlarged(patch: Samples, side: int) -> Samples:
    """``patch`` as ``side`` x ``side`` pixels, by bicubic interpolation."""
    found = Image.fromarray(patch[..., 0].astype(np.float32))
    large = np.asarray(found.resize((side, side), Image.Resampling.BICUBIC))[..., None]
    return _as_samples(large, patch.dtype)


def varied(patch: Samples, brightest: int, random: np.random.Generator) -> Samples:
    """``patch`` as another device might see it, or as it is.

    ``brightest``: the highest sample of its image.
    """
    dims, noisy, inverts = random.random(3) < (DIMMED, NOISY, INVERTED)
    found: npt.NDArray[Any] = patch.astype(np.float64)
    if dims:
        found = np.floor(found * 2.0 ** random.uniform(-4, 0) + random.random())
    if noisy:
        spread = max(1.0, float(np.std(found))) * 2.0 ** random.uniform(-5, 0)
        found = found + random.normal(0, spread, found.shape)
    if inverts:
        found = brightest - found
    return _as_samples(found, patch.dtype)


def _as_samples(values: npt.NDArray[Any], dtype: "np.dtype[Any]") -> Samples:
    found: Samples = np.rint(values).clip(0, np.iinfo(dtype).max).astype(dtype)
    return found
