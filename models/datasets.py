"""Data sets of small images, by kind: what the papers measure on, from the files they come in.

=============  ===================================================================================
kind           a folder that holds
=============  ===================================================================================
``mnist``      ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte`` (or ``test-``), also
               with a prefix, also gzipped
``cifar10``    ``data_batch_1.bin`` ... and ``test_batch.bin``; or mosaics ``cifar10*``
``imagenet32`` ``train_data_batch_*.npz`` and ``val_data.npz``, of 32 x 32 pixels
``imagenet64`` the same, of 64 x 64 pixels
``mosaic``     lossless images ``*train-N.*`` and ``*test-N.*``, N tiles of 32 x 32 pixels each, in
               rows of 64; the last row may be filled up
``photos32``   photographs, lossless, in any folders below: they are reduced 2 and 4 times and cut
               to 32 x 32 pixels
``gray16``     lossless images in any folders below; those that are gray count, of 8 bits too, as
               samples of 16 bits; random parts of 64 x 64 pixels
``gray8``      the same as samples of 8 bits
``graphics``   screens, clip art, sprites ..., lossless, in folders: each has an equal share; RGBA
=============  ===================================================================================

The last twentieth of the images to train on is held out for validation, at most 1,000; the test
set is for the end. Of ``photos32`` that is every twentieth photograph, and a folder of other
photographs is a test set. Of ``gray16`` and ``gray8`` every eighth image is held out.
"""

import gzip
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pixelcodec.models import graphic_patches, gray_patches
from pixelcodec.models.data import (
    SUFFIXES,
    Mixed,
    Patches,
    Samples,
    Source,
    WholeImages,
    binarised,
    find_images,
    load_image,
    load_images,
    split,
)

HELD_OUT_SHARE = 0.05
HELD_OUT_MOST = 1000
"""Images that are held out: enough to see a run overfit, few enough to look at often."""

MOSAIC_COLUMNS = 64
TEST_SEED = 0
"""Of the random numbers that binarise a test set."""

GRAY_SHARE = 0.05
GRAIN_SHARE = 0.5
"""Of patches of photographs, see :class:`Patches`."""

_SMALL = 32
_REDUCTIONS = (2, 4)


@dataclass(frozen=True)
class Training:
    """What a run needs of a data set.

    Attributes:
        source: of batches.
        held_out: uint8 [n, height, width, channels], stacks of images of one size.
        summary: of images and of what is held out, in a line.
    """

    source: Source
    held_out: Sequence[Samples]
    summary: str


class DataSet(Protocol):
    """A kind of data set."""

    @property
    def side(self) -> int:
        """Of its images, in pixels."""
        ...

    @property
    def channels(self) -> int:
        """Of its images, 1, 3 or 4."""
        ...

    @property
    def bit_depth(self) -> int:
        """Of its samples, 1, 8 or 16."""
        ...

    def training(self, folder: Path, batch: int, seed: int) -> Training:
        """Batches of ``batch`` images of the data set in ``folder``.

        Raises:
            OSError: the folder lacks files, or one of them cannot be read or is damaged.
        """
        ...

    def test(self, folder: Path) -> Samples:
        """The test set: uint8, of 16 bits uint16 [n, side, side, channels].

        Samples of one bit are 0 and 1.

        Raises:
            OSError: the folder lacks files, or one of them cannot be read or is damaged.
        """
        ...


@dataclass(frozen=True)
class SmallImages:
    """A data set of small images of one size.

    Attributes:
        side: of an image.
        channels: 1 or 3.
        bit_depth: of a sample, 1 (binarised at random) or 8.
        read: from a folder the images to train on (``train``) or the test set (``test``), uint8
            [n, side, side, channels], 0..255.
    """

    side: int
    channels: int
    bit_depth: int
    read: Callable[[Path, str], Samples]

    def training(self, folder: Path, batch: int, seed: int) -> Training:
        """Batches of whole images; the last of all images are held out."""
        images = self.read(folder, "train")
        held_out = min(HELD_OUT_MOST, max(1, round(HELD_OUT_SHARE * len(images))))
        source = WholeImages(images[:-held_out], batch, seed, self.bit_depth)
        summary = f"{len(images):,} images, the last {held_out:,} held out"
        return Training(source, [self._as_coded(images[-held_out:])], summary)

    def test(self, folder: Path) -> Samples:
        """The test set; what is binarised is so by ``numpy.random.default_rng(TEST_SEED)``."""
        return self._as_coded(self.read(folder, "test"))

    def _as_coded(self, images: Samples) -> Samples:
        if self.bit_depth == 1:
            return binarised(images, np.random.default_rng(TEST_SEED))
        return images


@dataclass(frozen=True)
class ReducedPhotographs:
    """Small parts of photographs that were reduced: more like small images than patches are."""

    side: int = _SMALL
    channels: int = 3
    bit_depth: int = 8

    def training(self, folder: Path, batch: int, seed: int) -> Training:
        """Batches of random parts; of every twentieth photograph all tiles are held out."""
        photographs = load_images(find_images([folder]))
        training, held_out = split(photographs)
        source = Patches(_reduced(training), self.side, batch, seed, upright=True)
        tiles_held_out = self._tiles(held_out)[:HELD_OUT_MOST]
        if not len(tiles_held_out):
            raise ValueError("of the photographs that are held out none has 64 x 64 pixels")
        summary = f"{len(photographs):,} photographs, reduced 2 and 4 times; every 20th held out"
        return Training(source, [tiles_held_out], summary)

    def test(self, folder: Path) -> Samples:
        """All tiles of all photographs in ``folder``."""
        return self._tiles(load_images(find_images([folder])))

    def _tiles(self, photographs: Iterable[Samples]) -> Samples:
        return np.concatenate([tiles(image, self.side) for image in _reduced(photographs)])


@dataclass(frozen=True)
class GrayImages:
    """Parts of gray images of any kind and amplitude."""

    bit_depth: int
    side: int = 64
    channels: int = 1

    def training(self, folder: Path, batch: int, seed: int) -> Training:
        """Batches of random parts, varied at random; every eighth image is held out, whole."""
        images = gray_patches.load_gray(find_images([folder]), self.bit_depth)
        training, held_out = split(images, gray_patches.HOLD_OUT, gray_patches.HOLD_OUT - 1)
        source = gray_patches.GrayPatches(training, self.side, batch, seed)
        summary = f"{len(images):,} gray images, every eighth held out"
        return Training(source, [image[None] for image in held_out], summary)

    def test(self, folder: Path) -> Samples:
        """All tiles of all gray images in ``folder``."""
        images = gray_patches.load_gray(find_images([folder]), self.bit_depth)
        return np.concatenate([tiles(image, self.side) for image in images])


@dataclass(frozen=True)
class Graphics:
    """Parts of graphics, as RGBA."""

    side: int = 64
    channels: int = graphic_patches.CHANNELS
    bit_depth: int = 8

    def training(self, folder: Path, batch: int, seed: int) -> Training:
        """Batches of random parts; of every twentieth image of a folder the middle is held out."""
        images = graphic_patches.load_graphics(find_images([folder]))
        training, held_out = graphic_patches.split(images)
        source = graphic_patches.GraphicPatches(training, self.side, batch, seed)
        summary = f"{sum(map(len, images.values())):,} graphics, every twentieth held out"
        return Training(source, [image[None] for image in held_out], summary)

    def test(self, folder: Path) -> Samples:
        """All tiles of all images in ``folder``."""
        images = graphic_patches.load_graphics(find_images([folder]))
        return np.concatenate([tiles(image, self.side) for own in images.values() for image in own])


def photographs(folders: Iterable[Path], patch: int, batch: int, seed: int) -> Training:
    """Batches of ``batch`` patches of ``patch`` x ``patch`` pixels of all images in ``folders``.

    Every twentieth image is held out.

    Raises:
        OSError: there are no lossless images, or one cannot be read or is damaged.
        ValueError: all images are smaller than a patch.
    """
    images = load_images(find_images(folders))
    training, held_out = split(images)
    source = Patches(training, patch, batch, seed, gray_share=GRAY_SHARE, grain_share=GRAIN_SHARE)
    summary = f"{len(images)} images; every twentieth held out"
    return Training(source, [image[None] for image in held_out], summary)


def mixed(trainings: Sequence[Training]) -> Training:
    """All of ``trainings`` as one, whose batches have images of each.

    Raises:
        ValueError: their images are not of one size.
    """
    source = Mixed([training.source for training in trainings])
    held_out = [images for training in trainings for images in training.held_out]
    return Training(source, held_out, "; ".join(training.summary for training in trainings))


def _reduced(photographs: Iterable[Samples]) -> list[Samples]:
    return [reduced(image, factor) for image in photographs for factor in _REDUCTIONS]


def reduced(image: Samples, factor: int) -> Samples:
    """The means of ``factor`` x ``factor`` pixels, a box filter: uint8 [h, w, c], rounded."""
    height, width = (side // factor for side in image.shape[:2])
    whole = image[: height * factor, : width * factor]
    boxes = whole.reshape(height, factor, width, factor, -1)
    means: Samples = np.floor(boxes.mean((1, 3)) + 0.5).astype(np.uint8)
    return means


def tiles(image: Samples, side: int) -> Samples:
    """All whole tiles of ``image``, row by row: uint8 [n, side, side, c]."""
    rows, columns = (length // side for length in image.shape[:2])
    whole = image[: rows * side, : columns * side]
    channels = image.shape[2]
    cut = whole.reshape(rows, side, columns, side, channels).swapaxes(1, 2)
    return cut.reshape(rows * columns, side, side, channels)


# Files -------------------------------------------------------------------------------------------


def _read_mnist(folder: Path, part: str) -> Samples:
    """The idx format (http://yann.lecun.com/exdb/mnist)."""
    word = {"train": "train", "test": "(t10k|test)"}[part]
    files = _find(folder, rf"(.*-)?{word}-images[-.]idx3-ubyte(\.gz)?")
    if not files:
        name = {"train": "train", "test": "t10k"}[part]
        raise FileNotFoundError(f"{folder}: no {name}-images-idx3-ubyte or {name}-...-ubyte.gz")
    file = files[0]  # beside it there may be the same, gzipped
    data = _unpacked(file)
    magic, count, height, width = struct.unpack(">4I", data[:16].ljust(16, b"\0"))
    if magic != 0x803:
        raise OSError(f"{file}: not an idx file of images")
    if (height, width) != (28, 28):
        raise OSError(f"{file}: images of {height} x {width}; MNIST has 28 x 28")
    if len(data) != 16 + count * height * width:
        raise OSError(f"{file}: {len(data) - 16:,} bytes for {count:,} images of 28 x 28")
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width, 1)


def _unpacked(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except Exception as error:  # zlib's and EOFError too
        raise OSError(f"{file}: {error}") from error


def _read_cifar10(folder: Path, part: str) -> Samples:
    """The binary version (https://www.cs.toronto.edu/~kriz/cifar.html), or mosaics."""
    files = _find(folder, {"train": r"data_batch_\d+\.bin", "test": r"test_batch\.bin"}[part])
    if files:
        return np.concatenate([_cifar10_batch(file) for file in files])
    mosaics = _mosaics(folder, part, "cifar10")
    if not mosaics:
        name = {"train": "data_batch_*.bin", "test": "test_batch.bin"}[part]
        raise FileNotFoundError(f"{folder}: no {name}, nor a mosaic cifar10*{part}-N")
    return np.concatenate([_read_mosaic(file) for file in mosaics])


def _cifar10_batch(file: Path) -> Samples:
    record = 1 + 3 * 32 * 32  # the label comes first
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if not len(data) or len(data) % record:
        raise OSError(f"{file}: {len(data):,} bytes are no records of {record:,}")
    return _from_planes(data.reshape(-1, record)[:, 1:], 32)


def _imagenet(side: int) -> Callable[[Path, str], Samples]:
    """A reader of downsampled ImageNet as NumPy archives (Chrabaszcz et al., 2017)."""

    def read(folder: Path, part: str) -> Samples:
        pattern = {"train": r"train_data_batch_\d+\.npz", "test": r"val_data\.npz"}[part]
        files = _find(folder, pattern)
        if not files:
            name = {"train": "train_data_batch_*.npz", "test": "val_data.npz"}[part]
            raise FileNotFoundError(f"{folder}: no {name}")
        return np.concatenate([_npz_batch(file, side) for file in files])

    return read


def _npz_batch(file: Path, side: int) -> Samples:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            data = archive["data"]
    except Exception as error:  # whatever zipfile, zlib and NumPy raise
        raise OSError(f"{file}: {error}") from error
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * side**2:
        raise OSError(
            f"{file}: data is {data.dtype} {list(data.shape)}; "
            f"images of {side} x {side} are uint8 [n, {3 * side**2}]"
        )
    return _from_planes(data, side)


def _from_planes(records: Samples, side: int) -> Samples:
    """[n, 3 * side * side], plane after plane -> [n, side, side, 3]."""
    return records.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)


def _read_mosaics(folder: Path, part: str) -> Samples:
    files = _mosaics(folder, part)
    if not files:
        raise FileNotFoundError(f"{folder}: no mosaic *{part}-N, N the count of its tiles")
    return np.concatenate([_read_mosaic(file) for file in files])


def _mosaics(folder: Path, part: str, prefix: str = "") -> list[Path]:
    found = _find(folder, rf"{prefix}.*{part}-\d+\.\w+")
    return [file for file in found if file.suffix.lower() in SUFFIXES]


def _read_mosaic(file: Path) -> Samples:
    count = int(file.stem.rpartition("-")[2])
    image = load_image(file)
    height, width = image.shape[:2]
    rows = -(-count // MOSAIC_COLUMNS)
    if (height, width) != (rows * _SMALL, MOSAIC_COLUMNS * _SMALL):
        raise OSError(
            f"{file}: {width} x {height} pixels; {count:,} tiles of {_SMALL} x {_SMALL} "
            f"in rows of {MOSAIC_COLUMNS} make {MOSAIC_COLUMNS * _SMALL} x {rows * _SMALL}"
        )
    return tiles(image, _SMALL)[:count]


def _find(folder: Path, pattern: str) -> list[Path]:
    """Files in ``folder`` whose whole names match, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    return sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name))


DATA_SETS: dict[str, DataSet] = {
    "mnist": SmallImages(28, 1, 1, _read_mnist),
    "cifar10": SmallImages(32, 3, 8, _read_cifar10),
    "imagenet32": SmallImages(32, 3, 8, _imagenet(32)),
    "imagenet64": SmallImages(64, 3, 8, _imagenet(64)),
    "mosaic": SmallImages(_SMALL, 3, 8, _read_mosaics),
    "photos32": ReducedPhotographs(),
    "gray16": GrayImages(16),
    "gray8": GrayImages(8),
    "graphics": Graphics(),
}
"""By kind."""
