"""The files that data sets come in, made from small arrays."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from coding import Samples
from pixelcodec.models.datasets import MOSAIC_COLUMNS


def write_mnist(file: Path, images: Samples) -> None:
    """An idx file of uint8 [n, height, width, 1], gzipped where it ends in ``.gz``."""
    data = struct.pack(">4I", 0x803, *images.shape[:3]) + images.tobytes()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


def planes(images: Samples) -> Samples:
    """[n, side, side, 3] -> [n, 3 * side * side]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar10(file: Path, images: Samples) -> None:
    labels = np.full((len(images), 1), 7, np.uint8)
    file.write_bytes(np.concatenate([labels, planes(images)], 1).tobytes())


def write_npz(file: Path, images: Samples) -> None:
    np.savez(file, data=planes(images), labels=np.zeros(len(images)))


def write_mosaic(file: Path, images: Samples) -> None:
    """Rows of 64 tiles; the last row is filled up with black."""
    missing = -len(images) % MOSAIC_COLUMNS
    filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
    grid = filled.reshape(-1, MOSAIC_COLUMNS, *images.shape[1:]).swapaxes(1, 2)
    Image.fromarray(grid.reshape(-1, MOSAIC_COLUMNS * images.shape[2], 3)).save(file, lossless=True)
