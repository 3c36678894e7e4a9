"""Heads that learn while they code: exact, and of use."""

import zlib
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec
from coding import Samples, decode, encode, random_network
from pictures import noise, scene
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.errors import FormatError, ModelError
from pixelcodec.models import likelihood, mixture, mixture_gradient, zoo
from pixelcodec.models.learning import LearningLayer
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.wavefront_pixelcnn import Config
from places import PLACES

NETWORK = random_network(
    Config(width=16, hidden=16, blocks=2, head=8, components=3), seed=1, gain=1.5
)
EACH_PLACE = pytest.mark.parametrize(("backend", "device"), PLACES)
COMPONENTS = 4


@cache
def engine(backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(NETWORK, backend, device)


# Gradients ---------------------------------------------------------------------------------------


def gradients_of(
    parameters: npt.NDArray[np.int32], centre: int, sample: int, residuals: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of the blue sample's information in nats, by its integer parameters: integers, and floats."""
    tables = mixture.integer_tables()
    head = mixture.MixtureHead(tables, COMPONENTS)
    given_residuals = np.array([[*residuals, 0]], np.int16)
    found = head(parameters[None], 2, np.full((1, 3), centre, np.int16), given_residuals)
    integers = mixture_gradient.gradients(
        found,
        parameters[None],
        given_residuals,
        tables["inverse_scale"].numpy().astype(np.int64),
        np.array([sample], np.uint8),
    )
    bits, offset = mixture.fixed_point(COMPONENTS, 2)
    unit = torch.exp2(-bits)
    real = (torch.from_numpy(parameters) - offset) * unit
    leaf = torch.zeros(1, 3, mixture.parameters_of(COMPONENTS))
    leaf[0, 2] = real
    leaf.requires_grad_()
    samples = torch.tensor([[centre + residuals[0], centre + residuals[1], sample]])
    information = likelihood.bits_of_samples(leaf, samples, torch.full((1, 3), centre))
    information[0, 2].backward()
    assert leaf.grad is not None
    return integers[0] / 2**20, (leaf.grad[0, 2] * unit).numpy() * np.log(2)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_gradients_are_those_of_the_information(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    centre = data.draw(st.integers(40, 215))
    logits = rng.integers(-60, 60, COMPONENTS)
    means = rng.integers(-80, 80, COMPONENTS)
    scales = rng.integers(20, 48, COMPONENTS)  # of half a level to 5 levels
    slopes = rng.integers(-100, 100, 2)
    parameters = np.concatenate([logits, means, scales, slopes]).astype(np.int32)
    residuals = tuple(rng.integers(-12, 13, 2).tolist())
    sample = centre + int(rng.integers(-6, 7))
    integers, floats = gradients_of(parameters, centre, sample, residuals)
    # The masses of wide components have few bits: what they do not say, gradients cannot.
    for kind in (slice(4), slice(4, 8), slice(8, 12), slice(12, 14)):
        error = np.linalg.norm(integers[kind] - floats[kind])
        assert error < 0.1 * np.linalg.norm(floats[kind]) + 0.005


def test_parameters_at_their_limits_have_no_gradient() -> None:
    parameters = np.array([0, 0, 0, 0, -9999, 9999, 5, 5, -1, 80, 0, 79, 0, 0], np.int32)
    integers, _ = gradients_of(parameters, 100, 99, (0, 0))
    still = integers == 0
    assert still[4:6].all()
    assert not still[6:8].any()
    assert still[8:10].all()


# Layers ------------------------------------------------------------------------------------------


def layer_of(inputs: int, outputs: int, bias: int = 0) -> LearningLayer:
    """A layer of zeros, whose last input is the constant."""
    zeros = torch.zeros(inputs, outputs, dtype=torch.int8)
    biases = torch.full((outputs,), bias, dtype=torch.int32)
    layer = IntegerLayer(zeros, biases, torch.full((outputs,), 4, dtype=torch.uint8))
    return LearningLayer(layer, np.arange(inputs), inputs)


def test_products_are_exact_where_sums_are_largest() -> None:
    layer = layer_of(1024, 2)
    layer.seen[:-1, 0], layer.seen[:-1, 1] = 127 * 64, -127 * 64
    layer.seen[-1] = 2**28
    activations = torch.full((3, 1025), 127.0, dtype=torch.float64)
    activations[:, -1] = 64
    most = 1024 * 127 * 127 * 64
    expected = [64 * 2**28 + most, 64 * 2**28 - most]
    assert layer.products(activations).tolist() == [expected] * 3


def test_sums_of_gradients_are_exact() -> None:
    layer = layer_of(1, 2)
    activations = torch.tensor([[127.0, 64.0]], dtype=torch.float64).expand(5000, 2)
    gradients = torch.tensor([[2.0**22, 1 - 2.0**22]], dtype=torch.float64).expand(5000, 2)
    layer.take_in(activations, gradients)
    expected = [[5000 * 127 * 2**22, 5000 * 127 * (1 - 2**22)]]
    assert layer._sums[:1].tolist() == expected


def test_a_weight_goes_against_its_gradient_no_faster_than_its_rate() -> None:
    layer = layer_of(1, 1)
    activations = torch.tensor([[100.0, 64.0]], dtype=torch.float64)
    seen = [0.0]
    for turn in range(24):
        layer.take_in(activations, torch.full((1, 1), 2.0**20, dtype=torch.float64))
        layer.update(turn, rate=64)
        seen.append(float(layer.seen[0, 0]))
    steps = -np.diff(seen)
    assert steps.min() >= 0
    assert steps.max() == 16  # a quarter of a step of the int8 weights
    assert seen[-1] <= -16 * 20


def test_weights_stay_within_8_bits() -> None:
    layer = layer_of(1, 1)
    activations = torch.tensor([[100.0, 64.0]], dtype=torch.float64)
    for turn in range(1000):
        layer.take_in(activations, torch.full((1, 1), -(2.0**20), dtype=torch.float64))
        layer.update(turn, rate=255)
    assert float(layer.seen[0, 0]) == 127 * 64


# Files -------------------------------------------------------------------------------------------


def stripes(height: int, width: int) -> Samples:
    """What no random network expects: columns of two colours, a little noisy."""
    image = np.where(np.arange(width)[None, :, None] % 2 == 0, 30, 220)
    jitter = np.random.default_rng(3).integers(-1, 2, (height, width, 3))
    made: Samples = (image + jitter).astype(np.uint8)
    return made


IMAGE = stripes(48, 64)


@pytest.mark.parametrize("channels", [1, 3])
def test_learning_saves_bits(channels: int) -> None:
    image = IMAGE if channels == 3 else np.ascontiguousarray(IMAGE[..., 0])
    still = encode(image, NETWORK, engine(), 48)
    learning = encode(image, NETWORK, engine(), 48, learning=10)
    np.testing.assert_array_equal(decode(learning, engine()), image)
    assert len(learning) < 0.8 * len(still)


@EACH_PLACE
def test_every_place_learns_the_same(backend: str, device: str) -> None:
    written = encode(IMAGE, NETWORK, engine(backend, device), 48, learning=10)
    assert written == encode(IMAGE, NETWORK, engine(), 48, learning=10)
    np.testing.assert_array_equal(decode(written, engine(backend, device)), IMAGE)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_image_comes_back(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 40)))
    shape = (*size, *data.draw(st.sampled_from([(), (3,)])))
    image = data.draw(st.sampled_from([noise, scene]))(*shape)
    tile = data.draw(st.sampled_from([0, 0, 4]))
    strip_rows = tile * data.draw(st.integers(1, 4)) or data.draw(st.integers(1, 21))
    restart, learning = data.draw(st.booleans()), data.draw(st.integers(1, 15))
    written = encode(image, NETWORK, engine(), strip_rows, restart, tile, learning=learning)
    np.testing.assert_array_equal(decode(written, engine()), image)


def test_what_was_learnt_goes_on_from_strip_to_strip() -> None:
    joined = encode(IMAGE, NETWORK, engine(), 8, learning=10)
    apart = encode(IMAGE, NETWORK, engine(), 8, restart=True, learning=10)
    assert len(joined) < 0.9 * len(apart)


def test_images_side_by_side_learn_apart() -> None:
    alone = encode(IMAGE, NETWORK, engine(), 24, learning=10)
    first, second = (StripEncoder(engine(), 64, 3, rate=80) for _ in range(2))
    parts = []
    for top in (0, 24):
        parts += first.encode(IMAGE[top : top + 24], lambda count: None)
        second.encode(noise(24, 64, 3), lambda count: None)
    assert all(part in alone for part in parts)


def test_efforts_learn_and_say_so() -> None:
    image = scene(40, 60, 3)
    still, learning = (pixelcodec.encode(image, effort=effort) for effort in (1, 3))
    np.testing.assert_array_equal(pixelcodec.decode(learning), image)
    assert len(learning) < len(still)


def test_networks_of_the_paper_do_not_learn() -> None:
    network = zoo.load("mnist-diagonal-bilstm")
    with pytest.raises(
        ModelError, match=r"^networks of the architecture 'diagonal-bilstm-1' do not"
    ):
        StripEncoder(Engine(network), 28, 1, rate=8)


def test_a_file_whose_model_cannot_learn_is_refused() -> None:
    bilevel = np.zeros((28, 28), bool)
    data = bytearray(pixelcodec.encode(bilevel, model="mnist-diagonal-bilstm"))
    data[11] |= 0x10
    head = bytes(data[:32])
    data[32:36] = zlib.crc32(head).to_bytes(4, "little")
    with pytest.raises(
        FormatError, match=r"^the header says that the model learns, which it cannot"
    ):
        pixelcodec.decode(bytes(data))
