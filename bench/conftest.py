"""What the benchmarks run on: models, devices, images."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pixelcodec.models import zoo
from pixelcodec.pictures import read_picture

EXAMPLES = Path(__file__).parent.parent / "examples"

Samples = npt.NDArray[np.uint8]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--model``; by default all everyday models are measured."""
    parser.addoption(
        "--model",
        action="append",
        metavar="NAME",
        help="a model to measure, or a .safetensors file; repeat for more",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes a ``model`` with each of them, and what takes a ``device`` likewise."""
    if "model" in metafunc.fixturenames:
        models = metafunc.config.getoption("--model") or zoo.everyday()
        metafunc.parametrize("model", models, ids=lambda name: Path(name).stem, scope="session")
    if "device" in metafunc.fixturenames:
        no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
        cuda = pytest.param("cuda", marks=[pytest.mark.cuda, no_cuda])
        metafunc.parametrize("device", ["cpu", cuda], scope="session")


@pytest.fixture(scope="session")
def kodim() -> Samples:
    """A photograph of 768 x 512 pixels that no model was trained on."""
    return read_picture(EXAMPLES / "kodim23.png").to_array()


@pytest.fixture(scope="session")
def large() -> Samples:
    """12 megapixels."""
    return mosaic()


def mosaic() -> Samples:
    """12 megapixels, 4000 x 3000: photographs mirrored side by side, no two tiles alike.

    A gain and an offset that vary smoothly over the whole, and dither of one level, give each
    tile its own samples. Every run makes the same image.
    """
    height, width = 3000, 4000
    names = "kodim23", "lake", "dragonfly"
    tiles = [read_picture(EXAMPLES / f"{name}.png").to_array() for name in names]
    rows = []
    for i in range(-(-height // 512)):
        row = np.concatenate([_turned(tiles[(i + j) % 3], i, j) for j in range(9)], axis=1)
        rows.append(row[:, :width])
    image = np.concatenate(rows)[:height].astype(np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)[..., None] * 1e-3
    image *= 0.85 + 0.1 * np.cos(1.7 * x + 0.6 * y)
    image += 12 + 8 * np.sin(0.9 * x - 1.3 * y)
    image += np.random.default_rng(0).random(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _turned(tile: Samples, row: int, column: int) -> npt.NDArray[Any]:
    return tile[:: -1 if row % 2 else 1, :: -1 if column % 2 else 1]
