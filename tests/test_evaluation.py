"""Where the bits of an image go: the information of each sample, by every kind of network."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec.plan
from coding import ignore, masses, random_network, randomised
from golden.make import FOLDER
from pictures import noise, scene
from pixelcodec import coder, evaluation
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.evaluation import BitMap, bit_map, evaluate, model_bits
from pixelcodec.models.diagonal_bilstm import DiagonalBiLSTM, DiagonalConfig
from pixelcodec.models.multi_scale import MultiScale, MultiScaleConfig
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.program import Samples
from pixelcodec.models.row_lstm import RowConfig, RowLSTM
from pixelcodec.models.wavefront_pixelcnn import Config
from pixelcodec.runtime import Compute

Array = npt.NDArray[Any]

STEP = 2


def _random(make: Any) -> IntegerNetwork:
    return randomised(make, seed=1, gain=1.5).integer_network()


NETWORKS = {
    "wavefront": lambda: random_network(Config(8, 8, 1, 4, 2), seed=1, gain=1.5),
    "pixelcnn": lambda: _random(lambda: PixelCNN(PaperConfig(hidden=6, layers=1, head=6))),
    "row-lstm": lambda: _random(lambda: RowLSTM(RowConfig(hidden=6, layers=1, head=6))),
    "diagonal-bilstm": lambda: _random(
        lambda: DiagonalBiLSTM(DiagonalConfig(hidden=6, layers=1, head=6))
    ),
    "multi-scale": lambda: _random(
        lambda: MultiScale(MultiScaleConfig(hidden=6, layers=1, head=6, maps=4, step=STEP))
    ),
    "bilevel": lambda: _random(
        lambda: PixelCNN(PaperConfig(channels=1, bit_depth=1, hidden=6, layers=1, head=6))
    ),
}
"""They differ in the order of coding: bands, waves, pixel by pixel, the coarse image first."""

EACH = pytest.mark.parametrize("name", NETWORKS)


@cache
def engine(name: str) -> Engine:
    return Engine(NETWORKS[name](), "int64")


def picture(name: str, height: int, width: int) -> Samples:
    """Half scene, half noise, of samples that the network codes."""
    image = scene(height, width, 3)
    image[:, width // 2 :] = noise(height, width, 3)[:, width // 2 :]
    return image[..., 0] > 128 if name == "bilevel" else image


@EACH
@pytest.mark.parametrize("tile", [0, 4, 8])
@pytest.mark.parametrize("strip_pixels", [1, 10**6])
def test_the_bits_of_all_samples_are_those_of_the_image(
    monkeypatch: pytest.MonkeyPatch, name: str, tile: int, strip_pixels: int
) -> None:
    monkeypatch.setattr(pixelcodec.plan, "STRIP_PIXELS", strip_pixels)
    image = picture(name, 11, 14)
    found = bit_map(image, engine(name), tile=tile)
    assert (found.dtype, found.shape) == (np.float32, (11, 14, image.size // (11 * 14)))
    assert found.min() >= 0
    assert found.sum() == pytest.approx(model_bits(image, engine(name), tile=tile), rel=1e-5)


class _Given:
    """Distributions of known masses, int32 [n, levels]."""

    def __init__(self, masses: Array) -> None:
        self._below = np.pad(masses.cumsum(1), ((0, 0), (1, 0))).astype(np.int32)

    def __len__(self) -> int:
        return len(self._below)

    def cumulative(self, edges: Array) -> npt.NDArray[np.int32]:
        return np.take_along_axis(self._below, np.minimum(edges, self._below.shape[1] - 1), 1)


def bits_of_masses(image: Samples, name: str) -> BitMap:
    """Bits of each sample by its own distribution, whatever the order of coding."""
    height, width = image.shape[:2]
    samples = image.reshape(1, height, width, -1).view(np.uint8)
    given_masses = masses(samples, engine(name))
    bit_depth = engine(name).program.bit_depth
    levels = given_masses.reshape(-1, 1 << bit_depth)
    choices = coder.describe(_Given(levels), samples.reshape(-1), bit_depth)
    bits = (coder.PRECISION - np.log2(choices[..., 1].astype(np.float64) + 1)).sum(1)
    return bits.reshape(height, width, -1).astype(np.float32)


@EACH
@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 7), width=st.integers(1, 9))
def test_each_sample_has_the_bits_of_its_own_distribution(
    name: str, height: int, width: int
) -> None:
    image = picture(name, height, width)
    found, expected = bit_map(image, engine(name)), bits_of_masses(image, name)
    known = np.zeros((height, width), np.bool_)
    if name == "multi-scale":  # those of the coarse image have none where it is known
        known[::STEP, ::STEP] = True
    np.testing.assert_allclose(found[~known], expected[~known], rtol=1e-6)


def test_the_first_part_of_a_strip_is_the_coarse_image() -> None:
    image = picture("multi-scale", 9, 11)
    first, _ = StripEncoder(engine("multi-scale"), 11, 3).choices(image, ignore)
    bits = (coder.PRECISION - np.log2(first[:, 1].astype(np.float64) + 1)).sum()
    found = bit_map(image, engine("multi-scale"))
    assert found[::STEP, ::STEP].sum() == pytest.approx(bits, rel=1e-5)


@EACH
def test_a_tile_has_the_bits_that_it_has_alone(name: str) -> None:
    image = picture(name, 10, 13)
    found = bit_map(image, engine(name), tile=4)
    for top in range(0, 10, 4):
        for left in range(0, 13, 4):
            place = np.s_[top : top + 4, left : left + 4]
            np.testing.assert_array_equal(found[place], bit_map(image[place], engine(name)))


@EACH
def test_a_strip_has_the_bits_that_it_has_alone_if_it_needs_no_other(name: str) -> None:
    image = picture(name, 10, 13)
    found = bit_map(image, engine(name), tile=0, strip_rows=4, restart=True)
    alone = [bit_map(image[top : top + 4], engine(name), tile=0) for top in (0, 4, 8)]
    np.testing.assert_array_equal(found, np.concatenate(alone))


@EACH
@pytest.mark.parametrize("restart", [False, True])
def test_the_bits_of_strips_are_those_of_their_parts_in_a_file(name: str, restart: bool) -> None:
    image = picture(name, 22, 17)
    samples = image.reshape(*image.shape[:2], -1).view(np.uint8)
    found = bit_map(image, engine(name), tile=0, strip_rows=8, restart=restart)
    encoder = StripEncoder(engine(name), 17, samples.shape[2], restart)
    for top in range(0, 22, 8):
        size = sum(map(len, encoder.encode(samples[top : top + 8], ignore)))
        # The coder ends each part with up to two words.
        assert 0 <= 8 * size - found[top : top + 8].sum() <= 2 * 2 * 32


@EACH
def test_each_pixel_is_told_once(name: str) -> None:
    told: list[int] = []
    bit_map(picture(name, 10, 13), engine(name), progress=told.append)
    assert sum(told) == 130


def test_the_file_is_made_as_the_bits_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def spy(image: Array, **how: Any) -> bytes:
        calls.append(how)
        return pixelcodec.encode(image, **how)

    monkeypatch.setattr(evaluation, "api", SimpleNamespace(encode=spy))
    evaluation.evaluate(scene(4, 4, 3), "photo-s", Compute("cpu", 2, "int64"))
    (how,) = calls
    assert {"device": "cpu", "threads": 2, "backend": "int64"}.items() <= how.items()


def test_threads_belong_to_the_call() -> None:
    before = torch.get_num_threads()
    during: list[int] = []
    bit_map(
        picture("wavefront", 4, 4),
        engine("wavefront"),
        progress=lambda _: during.append(torch.get_num_threads()),
        threads=before + 1,
    )
    assert set(during) == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("channels", [1, 3])
def test_bits_of_16_bits_are_those_of_the_file(channels: int) -> None:
    y, x, c = np.mgrid[:40, :50, :channels]
    image = ((900 * np.sin(x / 5) + 800 * np.cos(y / 7) + 30 * c + 2000).astype(np.uint16)) * 16
    image = image[..., 0] if channels == 1 else image
    found = evaluate(image, str(FOLDER / "gray-16.safetensors"), Compute())
    assert found.file_bytes - 200 < found.model_bits / 8 < found.file_bytes
