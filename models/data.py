"""Training images: folders in, batches of patches out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"}
"""Kinds of file that training reads: those that are lossless."""

HOLD_OUT = 20
"""Every 20th image, in order of path, is held out for validation."""

Samples = npt.NDArray[np.uint8]


def find_images(folders: Iterable[Path]) -> list[Path]:
    """All lossless images below ``folders`` (or the files themselves), sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    given = list(folders)
    files = [
        path
        for folder in given
        for path in (folder.rglob("*") if folder.is_dir() else [folder])
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        names = ", ".join(str(folder) for folder in given)
        raise FileNotFoundError(f"no lossless images (PNG, WebP, TIFF, BMP, PPM) in {names}")
    # Given twice, an image could be both trained on and held out.
    return sorted({path.resolve(): path for path in reversed(files)}.values())


def load_images(files: Sequence[Path]) -> list[Samples]:
    """Decode ``files`` to RGB: uint8 [height, width, 3] each. They stay in memory.

    Raises:
        OSError: a file cannot be read, or is damaged.
    """
    return [_load_image(file) for file in files]


def _load_image(file: Path) -> Samples:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        raise OSError(f"{file}: {error}") from error


def split(images: Sequence[Samples]) -> tuple[list[Samples], list[Samples]]:
    """Images to train on, and those held out."""
    held_out = list(images[::HOLD_OUT]) if len(images) >= HOLD_OUT else list(images[:1])
    training = [image for i, image in enumerate(images) if i % HOLD_OUT]
    return training or list(images), held_out


class Patches:
    """Random patches; the batch of a step depends on seed, step and rank alone.

    So a run that was stopped goes on with the very batches it would have seen.
    """

    def __init__(
        self, images: Sequence[Samples], size: int, count: int, gray_share: float, seed: int
    ) -> None:
        """Prepare batches of ``count`` patches of ``size`` x ``size`` pixels.

        A patch is flipped and transposed at random, and with probability ``gray_share`` turned
        into gray (three equal channels). Images smaller than a patch are left out.

        Raises:
            ValueError: all images are smaller than a patch.
        """
        self._images = [image for image in images if min(image.shape[:2]) >= size]
        if not self._images:
            raise ValueError(f"all images are smaller than a patch of {size} x {size}")
        areas = np.array([image.shape[0] * image.shape[1] for image in self._images], float)
        self._chances = areas / areas.sum()
        self._size, self._count = size, count
        self._gray_share, self._seed = gray_share, seed

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, npt.NDArray[Any]]:
        """The patches of a step: uint8 [count, size, size, 3], and which are gray: bool [count]."""
        random = np.random.default_rng([self._seed, step, rank])
        chosen = random.choice(len(self._images), self._count, p=self._chances)
        gray = random.random(self._count) < self._gray_share
        patches = [
            self._patch(self._images[i], random, is_gray)
            for i, is_gray in zip(chosen, gray, strict=True)
        ]
        return np.stack(patches), gray

    def _patch(self, image: Samples, random: np.random.Generator, gray: bool) -> Samples:
        y = random.integers(image.shape[0] - self._size + 1)
        x = random.integers(image.shape[1] - self._size + 1)
        patch = image[y : y + self._size, x : x + self._size]
        flip_x, flip_y, transpose = random.random(3) < 0.5
        patch = patch[:, ::-1] if flip_x else patch
        patch = patch[::-1] if flip_y else patch
        patch = patch.swapaxes(0, 1) if transpose else patch
        return to_gray(patch) if gray else patch


def to_gray(image: Samples) -> Samples:
    """Luma (ITU-R BT.601) in three equal channels: uint8 [h, w, 3]."""
    luma = (image @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(luma[..., None], 3, -1)
