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
from pixelcodec.container import LEARNING_MOST
from pixelcodec.effort import STATIC
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.errors import FormatError, ModelError
from pixelcodec.exact import Arithmetic
from pixelcodec.models import likelihood, mixture, mixture_gradient, zoo
from pixelcodec.models.learning import RATES, Learning, LearningLayer
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import MAX_FAN_IN
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


KINDS = {"logits": slice(4), "means": slice(4, 8), "scales": slice(8, 12), "slopes": slice(12, 14)}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_information(kind: str) -> None:
    """But for what the table of the logistic rounds: 1% of all, on the whole."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(300):
        logits, means = rng.integers(-60, 60, COMPONENTS), rng.integers(-80, 80, COMPONENTS)
        scales = rng.integers(20, 60, COMPONENTS)  # of half a level to 16 levels
        parameters = np.concatenate([logits, means, scales, rng.integers(-100, 100, 2)])
        centre, residuals = int(rng.integers(0, 256)), tuple(rng.integers(-12, 13, 2).tolist())
        sample = int(np.clip(centre + rng.integers(-9, 10), 0, 255))
        found.append(gradients_of(parameters.astype(np.int32), centre, sample, residuals))
    integers, floats = np.array(found)[:, :, KINDS[kind]].swapaxes(0, 1)
    assert np.linalg.norm(integers - floats) < 0.03 * np.linalg.norm(floats)


def test_parameters_at_their_limits_have_no_gradient() -> None:
    parameters = np.array([0, 0, 0, 0, -9999, 9999, 5, 5, -1, 80, 0, 79, 0, 0], np.int32)
    integers, _ = gradients_of(parameters, 100, 99, (0, 0))
    still = integers == 0
    assert still[4:6].all()
    assert not still[6:8].any()
    assert still[8:10].all()


# Layers ------------------------------------------------------------------------------------------

HOST = Arithmetic(torch.device("cpu"))
MOST = mixture_gradient.MOST


def layer_of(weights: npt.NDArray[np.int8], bias: int = 0, shift: int = 6) -> LearningLayer:
    inputs, outputs = weights.shape
    biases = torch.full((outputs,), bias, dtype=torch.int32)
    shifts = torch.full((outputs,), shift, dtype=torch.uint8)
    layer = IntegerLayer(torch.from_numpy(weights), biases, shifts)
    return LearningLayer(layer, HOST, np.arange(inputs), inputs)


def int8(low: int, high: int, *shape: int, seed: int = 0) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.int8)


@pytest.mark.parametrize("pixels", [1, 2, 3, 200])
def test_a_layer_begins_as_the_networks(pixels: int) -> None:
    weights, activations = int8(-127, 127, 70, 9), int8(0, 127, pixels, 70, seed=1)
    layer = layer_of(weights, bias=1234)
    expected = (activations.astype(np.int64) @ weights + 1234) >> 6
    np.testing.assert_array_equal(layer(torch.from_numpy(activations)), expected)
    limited = layer.relu(torch.from_numpy(activations)).numpy()
    np.testing.assert_array_equal(limited, expected.clip(0, 127))


def test_products_are_exact_where_sums_are_largest() -> None:
    weights = np.full((1024, 2), 127, np.int8) * np.array([1, -1], np.int8)
    layer = layer_of(weights, bias=2**28, shift=0)
    activations = torch.full((3, 1024), 127, dtype=torch.int8)
    most = 1024 * 127 * 127
    assert layer(activations).tolist() == [[2**28 + most, 2**28 - most]] * 3


def step(layer: LearningLayer, gradient: int, turn: int, rate: int) -> None:
    """What one input of 100 and a ``gradient`` of one output make."""
    layer.take_in(torch.full((1, 1), 100, dtype=torch.int8), np.full((1, 1), gradient, np.int32))
    layer.update(turn, rate)


def outputs(layer: LearningLayer) -> int:
    """What is given for an input of 64, without bias: the weight in 1/64."""
    inputs = torch.tensor([[64], [0]], dtype=torch.int8)
    weighed, bias = layer(inputs)[:, 0].tolist()
    return int(weighed - bias)


def test_a_weight_goes_against_its_gradient_no_faster_than_its_rate() -> None:
    layer = layer_of(np.zeros((1, 1), np.int8), shift=0)
    found = [0]
    for turn in range(24):
        step(layer, 2**17, turn, rate=64)
        found.append(outputs(layer))
    steps = -np.diff(found)
    assert steps.min() >= 0
    assert steps.max() == 16  # a quarter of a step of the int8 weights
    assert found[-1] <= -16 * 14


def test_weights_stay_within_8_bits() -> None:
    layer = layer_of(np.full((1, 1), 100, np.int8), shift=0)
    for turn in range(200):
        step(layer, -(2**17), turn, rate=255)
    assert outputs(layer) == 127 * 64


@settings(max_examples=50, deadline=None)
@given(pixels=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_gradients_add_up_over_pixels(pixels: int, seed: int) -> None:
    """A wave at once, or in parts: the same sums, so the same step."""
    rng = np.random.default_rng(seed)
    weights, activations = int8(-127, 127, 5, 3, seed=seed), int8(-127, 127, pixels, 5, seed=seed)
    gradients = rng.integers(-MOST, MOST + 1, (pixels, 3)).astype(np.int32)
    whole, parts = layer_of(weights), layer_of(weights)
    whole.take_in(torch.from_numpy(activations), gradients)
    for one in range(pixels):
        parts.take_in(torch.from_numpy(activations[one : one + 1]), gradients[one : one + 1])
    for layer in (whole, parts):
        layer.update(0, rate=200)
        layer.update(1, rate=200)
    probes = torch.from_numpy(np.eye(5, dtype=np.int8) * np.int8(64))
    np.testing.assert_array_equal(whole(probes), parts(probes))


def test_a_file_can_name_each_rate_with_each_depth() -> None:
    found = [Learning.of(code) for code in range(1, LEARNING_MOST + 1)]
    assert found == [(rate, depth) for depth in range(found[-1].depth + 1) for rate in RATES]


def test_long_waves_are_taken_in_in_pieces() -> None:
    pixels = MAX_FAN_IN + 3
    activations, gradients = int8(-127, 127, pixels, 2), np.full((pixels, 1), MOST, np.int32)
    whole, parts = (layer_of(np.zeros((2, 1), np.int8)) for _ in range(2))
    whole.take_in(torch.from_numpy(activations), gradients)
    for half in (slice(500), slice(500, None)):
        parts.take_in(torch.from_numpy(activations[half]), gradients[half])
    for layer in (whole, parts):
        layer.update(0, rate=200)
    probes = torch.from_numpy(np.eye(2, dtype=np.int8) * np.int8(64))
    np.testing.assert_array_equal(whole(probes), parts(probes))


def test_gradients_go_back_by_the_weights_and_stop_at_limits() -> None:
    weights = np.array([[32, 0], [0, -64], [127, 127], [127, 127]], np.int8)
    layer = layer_of(weights, shift=7)
    inputs = torch.tensor([[1, 126, 0, 127]], dtype=torch.int8)
    back = layer.pass_back(np.array([[8000, 16000]], np.int32), inputs)
    assert back.tolist() == [[8000 * 32 >> 7, -16000 * 64 >> 7, 0, 0]]
    assert layer.pass_back(np.array([[8000, 16000]], np.int32), inputs[:, 1:2], 1).tolist() == [
        [-8000]
    ]


# Files -------------------------------------------------------------------------------------------


def stripes(height: int, width: int) -> Samples:
    """What no random network expects: columns of two colours, a little noisy."""
    image = np.where(np.arange(width)[None, :, None] % 2 == 0, 30, 220)
    jitter = np.random.default_rng(3).integers(-1, 2, (height, width, 3))
    made: Samples = (image + jitter).astype(np.uint8)
    return made


IMAGE = stripes(48, 64)


@pytest.mark.parametrize("learning", [2, 5, 8], ids=["heads", "a block", "two blocks"])
@pytest.mark.parametrize("channels", [1, 3])
def test_learning_saves_bits(channels: int, learning: int) -> None:
    image = IMAGE if channels == 3 else np.ascontiguousarray(IMAGE[..., 0])
    still = encode(image, NETWORK, engine(), 48)
    learnt = encode(image, NETWORK, engine(), 48, learning=learning)
    np.testing.assert_array_equal(decode(learnt, engine()), image)
    assert len(learnt) < 0.9 * len(still)


@EACH_PLACE
def test_every_place_learns_the_same(backend: str, device: str) -> None:
    written = encode(IMAGE, NETWORK, engine(backend, device), 48, learning=6)
    assert written == encode(IMAGE, NETWORK, engine(), 48, learning=6)
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
    joined = encode(IMAGE, NETWORK, engine(), 8, learning=6)
    apart = encode(IMAGE, NETWORK, engine(), 8, restart=True, learning=6)
    assert len(joined) < 0.9 * len(apart)


def test_images_side_by_side_learn_apart() -> None:
    alone = encode(IMAGE, NETWORK, engine(), 24, learning=6)
    first, second = (StripEncoder(engine(), 64, 3, learning=6) for _ in range(2))
    parts = []
    for top in (0, 24):
        parts += first.encode(IMAGE[top : top + 24], lambda count: None)
        second.encode(noise(24, 64, 3), lambda count: None)
    assert all(part in alone for part in parts)


def test_efforts_learn_and_say_so() -> None:
    image = scene(40, 60, 3)
    still, *learnt = (
        pixelcodec.encode(image, model="photo-s", effort=effort) for effort in (STATIC, 5, 9)
    )
    for data in learnt:
        np.testing.assert_array_equal(pixelcodec.decode(data), image)
        assert len(data) < len(still)


def test_networks_of_the_paper_do_not_learn() -> None:
    network = zoo.load("mnist-diagonal-bilstm")
    with pytest.raises(
        ModelError, match=r"^networks of the architecture 'diagonal-bilstm-1' do not"
    ):
        StripEncoder(Engine(network), 28, 1, learning=1)


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
