"""Batches to train on: random patches of photographs, or small images whole."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelcodec.models.grain import with_grain

SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"}
"""Kinds of file that training reads: those that are lossless."""

HOLD_OUT = 20
"""Every 20th photograph, in order of path, is held out for validation, the first to begin with."""

Samples = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Array = TypeVar("Array", bound=npt.NDArray[Any])


class Source(Protocol):
    """Where batches come from. The batch of a step depends on seed, step and rank alone.

    So a run that was stopped goes on with the very batches it would have seen.
    """

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        ...

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The images of a step, and which of their channels count.

        Returns:
            uint8 [images, height, width, channels], and bool [images, channels].
        """
        ...


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
    return [load_image(file) for file in files]


def load_image(file: Path) -> Samples:
    """Decode ``file`` to RGB: uint8 [height, width, 3].

    Raises:
        OSError: it cannot be read, or is damaged.
    """
    with opened(file) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """``file`` by Pillow, while a ``with`` block reads what it needs of it.

    Raises:
        OSError: it cannot be read, or is damaged.
    """
    try:
        with Image.open(file) as image:
            yield image
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        raise OSError(f"{file}: {error}") from error


def split(
    images: Sequence[Array], every: int = HOLD_OUT, first: int = 0
) -> tuple[list[Array], list[Array]]:
    """Images to train on, and those held out: ``every`` so many, from the ``first`` on.

    Of fewer images the last is held out, and an only one is trained on, too.
    """
    held_out = range(min(first, len(images) - 1), len(images), every) if images else range(0)
    training = [image for i, image in enumerate(images) if i not in held_out]
    return training or list(images), [images[i] for i in held_out]


class Patches:
    """Random patches of photographs: a :class:`Source`."""

    def __init__(
        self,
        images: Sequence[Samples],
        size: int,
        count: int,
        seed: int,
        *,
        gray_share: float = 0.0,
        grain_share: float = 0.0,
        upright: bool = False,
    ) -> None:
        """Prepare batches of ``count`` patches of ``size`` x ``size`` pixels.

        Args:
            images: uint8 [height, width, 3] each; those smaller than a patch are left out.
            size: side of a patch.
            count: of the patches in a batch.
            seed: of the batches.
            gray_share: probability that a patch is turned into gray: three equal channels, of
                which the first counts alone.
            grain_share: probability that it is given grain.
            upright: whether patches are mirrored left to right only, at random, or also upside
                down and transposed.

        Raises:
            ValueError: all images are smaller than a patch.
        """
        self._images = [image for image in images if min(image.shape[:2]) >= size]
        if not self._images:
            raise ValueError(f"all images are smaller than a patch of {size} x {size}")
        areas = np.array([image.shape[0] * image.shape[1] for image in self._images], float)
        self._chances = areas / areas.sum()
        self._size, self._count, self._seed = size, count, seed
        self._gray_share, self._grain_share = gray_share, grain_share
        self._upright = upright

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        return self._count * self._size**2

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The patches of a step, and which of their channels count, see :class:`Source`."""
        random = np.random.default_rng([self._seed, step, rank])
        chosen = random.choice(len(self._images), self._count, p=self._chances)
        gray = random.random(self._count) < self._gray_share
        patches = [
            self._patch(self._images[i], random, is_gray)
            for i, is_gray in zip(chosen, gray, strict=True)
        ]
        counted = np.ones((self._count, 3), np.bool_)
        counted[gray, 1:] = False
        return np.stack(patches), counted

    def _patch(self, image: Samples, random: np.random.Generator, gray: bool) -> Samples:
        y = random.integers(image.shape[0] - self._size + 1)
        x = random.integers(image.shape[1] - self._size + 1)
        patch = image[y : y + self._size, x : x + self._size]
        flip_x, flip_y, transpose = random.random(3) < 0.5
        patch = patch[:, ::-1] if flip_x else patch
        if not self._upright:
            patch = patch[::-1] if flip_y else patch
            patch = patch.swapaxes(0, 1) if transpose else patch
        patch = with_grain(patch, random) if random.random() < self._grain_share else patch
        return to_gray(patch) if gray else patch


def to_gray(image: Samples) -> Samples:
    """Luma (ITU-R BT.601) in three equal channels: uint8 [h, w, 3]."""
    luma = (image @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(luma[..., None], 3, -1)


class WholeImages:
    """Small images, whole: a :class:`Source`. Those in colour are mirrored at random."""

    def __init__(self, images: Samples, count: int, seed: int, bit_depth: int = 8) -> None:
        """Prepare batches of ``count`` of ``images``.

        Args:
            images: uint8 [n, height, width, channels], 0..255.
            count: of the images in a batch.
            seed: of the batches.
            bit_depth: 8, or 1: then each batch is binarised afresh.

        Raises:
            ValueError: there are no images.
        """
        if not len(images):
            raise ValueError("no images are left to train on")
        self._images, self._count, self._seed = images, count, seed
        self._binary = bit_depth == 1

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        _, height, width, _ = self._images.shape
        return int(self._count * height * width)

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The images of a step, and that all channels count, see :class:`Source`."""
        random = np.random.default_rng([self._seed, step, rank])
        chosen = self._images[random.integers(len(self._images), size=self._count)]
        channels = chosen.shape[3]
        if self._binary:
            chosen = binarised(chosen, random)
        elif channels == 3:
            mirrored = random.random(self._count) < 0.5
            chosen[mirrored] = chosen[mirrored, :, ::-1]
        return np.ascontiguousarray(chosen), np.ones((self._count, channels), np.bool_)


class Mixed:
    """Batches of several sources, one after the other in each batch: a :class:`Source`."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Take ``sources`` of images of one size.

        Raises:
            ValueError: they are not.
        """
        sizes = {source.batch(0)[0].shape[1:] for source in sources}
        if len(sizes) > 1:
            raise ValueError(f"images of several sizes: {', '.join(map(str, sorted(sizes)))}")
        self._sources = sources

    @property
    def pixels(self) -> int:
        """Pixels of a batch."""
        return sum(source.pixels for source in self._sources)

    def batch(self, step: int, rank: int = 0) -> tuple[Samples, Mask]:
        """The images of a step, and which of their channels count, see :class:`Source`."""
        parts = [source.batch(step, rank) for source in self._sources]
        return np.concatenate([images for images, _ in parts]), np.concatenate(
            [counted for _, counted in parts]
        )


def binarised(images: npt.NDArray[Any], random: np.random.Generator) -> Samples:
    """Samples of one bit (uint8): each is 1 with probability ``value / 255``."""
    return (random.random(images.shape) < images / 255).astype(np.uint8)
