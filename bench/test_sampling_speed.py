"""How much faster images are drawn by walking over them once than by a whole pass for each sample.

The naive way is that of most published samplers: run the network on the whole image so far, draw
one sample of one pixel, and begin anew. What counts is the time of the processor, on one thread:
what else runs on the machine does not.
"""

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pixelcodec import exact, sampling
from pixelcodec.engine import Engine
from pixelcodec.models import zoo
from pixelcodec.models.mixture import Mixture
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.runtime import cpu_threads
from pixelcodec.schedule import Canvas

SIDE = 32
SHAPE = (SIDE, SIDE, 3)
SAMPLES = SIDE * SIDE * 3
MANY = 64
"""So many images the command draws by default."""

LEAST = 50
"""Times faster that the walk must be."""

Samples = npt.NDArray[np.uint8]

drawing = pytest.mark.benchmark(group=f"drawing {SIDE}x{SIDE}", timer=time.process_time)


def walk(engine: Engine, count: int, side: int = SIDE) -> Samples:
    """Images of the seed 0."""
    blank = np.full((side, side, 3), sampling.DRAWN, np.int16)
    images: Samples = sampling.fill(engine, blank, count)
    return images


def times_faster(
    benchmark: BenchmarkFixture, naive: float, capsys: pytest.CaptureFixture[str]
) -> float:
    """How often the seconds of the walk, just measured, go into those of the ``naive`` way."""
    assert benchmark.stats is not None
    walked = benchmark.stats.stats.median
    benchmark.extra_info["times faster"] = naive / walked
    with capsys.disabled():
        print(f"\n{benchmark.name}: {walked:.3f} s; {naive:.1f} s naively: {naive / walked:.0f}")
    return float(naive / walked)


@drawing
def test_an_image_of_photo_s(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(zoo.load("photo-s"))
    with cpu_threads(1), exact.undisturbed(engine.device):
        walk(engine, 1, side=4)  # compiles
        integer_passes(engine, SIDE)
        (image,) = benchmark.pedantic(walk, (engine, 1), rounds=5)
        start = time.process_time()
        naive = integer_passes(engine, SAMPLES)
        seconds = time.process_time() - start

    assert np.array_equal(naive, image)
    assert times_faster(benchmark, seconds, capsys) >= LEAST


def integer_passes(engine: Engine, samples: int) -> Samples:
    """The first ``samples`` of the image of the seed 0, drawn naively.

    A pass is that of an encoder, all pixels at once; what is not drawn yet is black.
    """
    program, dice, image = engine.program, sampling.dice(0, 0, SHAPE), np.zeros(SHAPE, np.uint8)
    canvas = Canvas(program.planes, 1, SIDE, SIDE, 0, engine.device)
    for y, x, channel in list(np.ndindex(SHAPE))[:samples]:
        canvas.begin(SIDE, canvas.nothing_above())
        program.remember(canvas, image.reshape(-1, 3))
        conditionals = program.look(canvas)
        for before in range(channel):
            conditionals.reveal(before, image[..., before].ravel())
        mixtures, pixel = conditionals.distribution(channel), [y * SIDE + x]
        assert isinstance(mixtures, Mixture)
        mixture = replace(mixtures, rows=mixtures.rows[pixel], weights=mixtures.weights[pixel])
        image[y, x, channel] = sampling.draw(mixture, dice[y, x, [channel]], 256)[0]
    return image


@drawing
@pytest.mark.parametrize("count", [1, MANY])
def test_images_of_a_small_pixelcnn(
    benchmark: BenchmarkFixture, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    network = PixelCNN(PaperConfig())
    engine = Engine(network.integer_network())
    with cpu_threads(1), exact.undisturbed(engine.device):
        walk(engine, 1, side=4)  # compiles
        images = benchmark.pedantic(walk, (engine, count), rounds=3)
        float_passes(network, images, 1)
        start = time.process_time()
        float_passes(network, images, _TIMED)
        seconds = (time.process_time() - start) * SAMPLES / _TIMED

    # A single image makes waves too short for the walk to show all it can
    assert times_faster(benchmark, seconds, capsys) >= (LEAST if count == MANY else LEAST / 3)


_TIMED = 12
"""Passes of the float network that are timed; all take as long as each other."""


def float_passes(network: PixelCNN, images: Samples, samples: int) -> None:
    """Draw ``samples`` of each of ``images`` naively, by passes as in training."""
    chance = torch.from_numpy(np.random.default_rng(0).random((samples, len(images), 1)))
    for number, (y, x, channel) in enumerate(list(np.ndindex(SHAPE))[:samples]):
        logits = network.logits_of(torch.from_numpy(images))[:, y, x, channel]
        ends = torch.softmax(logits, 1).cumsum(1)
        images[:, y, x, channel] = (ends <= chance[number] * ends[:, -1:]).sum(1)
