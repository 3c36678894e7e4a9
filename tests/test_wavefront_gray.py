"""The network for gray images of 8 and 16 bits: what it sees, what it gives, how it learns."""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pixelcodec
import reference_decoder as reference
from coding import Samples, decode, encode, masses, randomised
from conversion import as_float, check_conversion, quantised, random_activations
from pixelcodec.container import LEARNING_MOST
from pixelcodec.engine import Engine
from pixelcodec.errors import ModelError
from pixelcodec.models import gray_context, scaled_gradient, scaled_mixture
from pixelcodec.models.mixture_gradient import MOST
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.wavefront_gray import Config, WavefrontGray
from pixelcodec.models.zoo import save_network
from places import PLACES

DEPTHS = pytest.mark.parametrize("bit_depth", [8, 16])


def float_network(bit_depth: int, gain: float = 1.0, **sizes: int) -> WavefrontGray:
    values = {"width": 8, "hidden": 8, "blocks": 2, "head": 6, "components": 3, **sizes}
    return randomised(lambda: WavefrontGray(Config(bit_depth=bit_depth, **values)), 1, gain)


@cache
def network(bit_depth: int, gain: float = 2.0) -> IntegerNetwork:
    return float_network(bit_depth, gain).integer_network()


@cache
def engine(bit_depth: int, gain: float = 2.0) -> Engine:
    return Engine(network(bit_depth, gain), "int64")


def dtype(bit_depth: int) -> type[np.uint8 | np.uint16]:
    return np.uint16 if bit_depth == 16 else np.uint8


# Images of any amplitude -------------------------------------------------------------------------


def noise(shape: tuple[int, int], bit_depth: int) -> Samples:
    random = np.random.default_rng(1)
    return random.integers(0, 1 << bit_depth, shape).astype(dtype(bit_depth))


def dim(shape: tuple[int, int], bit_depth: int) -> Samples:
    """A few levels, on a bright ground."""
    return noise(shape, 8) % 5 + np.full(shape, (1 << bit_depth) // 2, dtype(bit_depth))


def slope(shape: tuple[int, int], bit_depth: int) -> Samples:
    """One that passes from the highest sample to 0."""
    y, x = np.indices(shape)
    return ((9 * y + 5 * x) << bit_depth >> 8).astype(dtype(bit_depth))


def extreme(shape: tuple[int, int], bit_depth: int) -> Samples:
    return np.where(noise(shape, 8) < 128, 0, (1 << bit_depth) - 1).astype(dtype(bit_depth))


def flat(shape: tuple[int, int], bit_depth: int) -> Samples:
    return np.full(shape, 77, dtype(bit_depth))


CONTENTS = [noise, dim, slope, extreme, flat]


# To bytes and back -------------------------------------------------------------------------------


@DEPTHS
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_image_comes_back(bit_depth: int, data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    image = data.draw(st.sampled_from(CONTENTS))((height, width), bit_depth)
    tile = data.draw(st.sampled_from([0, 0, 3, 8]))
    strip_rows = data.draw(st.integers(1, 9)) * max(1, tile)
    ready = engine(bit_depth)
    code = data.draw(st.integers(0, LEARNING_MOST))
    written = encode(
        image, ready.network, ready, strip_rows, data.draw(st.booleans()), tile, learning=code
    )
    np.testing.assert_array_equal(decode(written, ready), image, strict=True)


@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize("learning", [0, 5])
def test_bytes_are_the_same_everywhere(backend: str, device: str, learning: int) -> None:
    image = dim((30, 40), 16) * np.uint16(3)
    elsewhere = Engine(network(16), backend, device)
    expected = encode(image, network(16), engine(16), 30, learning=learning)
    assert encode(image, network(16), elsewhere, 30, learning=learning) == expected
    np.testing.assert_array_equal(decode(expected, elsewhere), image)


@DEPTHS
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("learning", [0, 3, 8])
def test_the_reference_decoder_restores_it(
    bit_depth: int,
    content: Callable[[tuple[int, int], int], Samples],
    learning: int,
    tmp_path: Path,
) -> None:
    image = content((10, 15) if learning else (5, 9), bit_depth)
    ready, file = engine(bit_depth, 3.0), tmp_path / "model.safetensors"
    save_network(ready.network, file)
    written = encode(image, ready.network, ready, 10, learning=learning)
    np.testing.assert_array_equal(reference.decode(written, file), image, strict=True)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_public_functions_code_gray_of_16_bits(channels: int) -> None:
    image = np.stack([slope((20, 30), 16), extreme((20, 30), 16)], 2)[..., :channels]
    image = image[..., 0] if channels == 1 else image
    data = pixelcodec.encode(image, model="science-16", strip_rows=9)
    np.testing.assert_array_equal(pixelcodec.decode(data), image, strict=True)
    about = pixelcodec.inspect(io.BytesIO(data))
    assert (about.model_name, about.bit_depth) == ("science-16", 16)
    assert about.learning > 0


def test_samples_of_another_depth_are_refused() -> None:
    with pytest.raises(pixelcodec.UnsupportedImageError, match="16-bit"):
        pixelcodec.encode(flat((4, 4), 8), model="science-16")


# What it sees ------------------------------------------------------------------------------------


def seen_of(image: npt.NDArray[np.int64], bit_depth: int = 16) -> gray_context.Context:
    tables = [table.numpy() for table in gray_context.integer_tables().values()]
    return gray_context.context_of_images(image[None, :, :, None], *tables, bit_depth)


def test_it_sees_the_same_of_a_brighter_image() -> None:
    image = np.random.default_rng(1).integers(1000, 1400, (12, 12))
    once, more = seen_of(image), seen_of(16 * image)
    inside = np.indices((12, 12)).min(0).ravel() > 0
    octaves = (more.unit - once.unit) / gray_context.UNIT_STEPS
    np.testing.assert_allclose(octaves[inside], 4, atol=0.25)
    same = inside & (octaves == 4)  # what is halved is rounded, so that units may differ by a step
    differences = more.features[same, :-4].astype(int) - once.features[same, :-4]
    assert same.sum() > 100
    assert abs(differences).max() <= 3


def test_it_sees_no_difference_to_what_lies_outside() -> None:
    seen = seen_of(np.full((4, 4), 1234))
    assert not seen.features[1:, :-4].any()
    assert (seen.unit == 0).all()


@DEPTHS
def test_a_distribution_depends_on_earlier_pixels_alone(bit_depth: int) -> None:
    size, (y, x) = (7, 11), (3, 5)
    image = noise(size, 8).astype(dtype(bit_depth))
    other = image.copy()
    other[y, x] ^= 255
    found = [levels_of(each, bit_depth) for each in (image, other)]
    rows, columns = np.nonzero((found[0] != found[1]).any(2))
    times = columns + 2 * rows
    assert len(times)
    assert (times > x + 2 * y).all()


def levels_of(image: Samples, bit_depth: int) -> npt.NDArray[np.int32]:
    ready = engine(bit_depth)
    if bit_depth == 8:
        return masses(image[None, :, :, None], ready)[0, :, :, 0]
    return masses(image[None, :, :, None], ready)[0, :, :, 0, :600]


# Its two forms -----------------------------------------------------------------------------------


@DEPTHS
def test_layers_round_to_integers(bit_depth: int) -> None:
    net = float_network(bit_depth, width=24, head=24, hidden=24, components=7)
    layers = net.integer_network().layers
    bits, offset = scaled_mixture.fixed_point(7)
    for name, layer, out_bits, added in (
        ("head", net.head, 4.0, torch.zeros(())),
        ("parameters", net.parameters_of, bits, offset),
    ):
        activations = random_activations(300, len(layers[name].weight), low=-127)
        expected = quantised(layer, as_float(activations))
        check_conversion(layers[name], activations, expected, out_bits, added.double())


@DEPTHS
def test_bits_of_the_float_network_are_those_of_the_file(bit_depth: int) -> None:
    random = np.random.default_rng(1)
    image = random.normal(100, 9, (40, 40)).round().clip(0, 255).astype(dtype(bit_depth))
    net = float_network(bit_depth)
    net.quantise()
    with torch.no_grad():
        bits = float(net(torch.from_numpy(image.astype(np.int32))[None, ..., None]).sum())
    ready = Engine(net.integer_network(), "int64")
    coded = encode(image, ready.network, ready, 40)
    assert 8 * len(coded) == pytest.approx(bits, rel=0.03, abs=8 * 80)


# Mixtures ----------------------------------------------------------------------------------------


def mixture_of(
    parameters: npt.NDArray[np.int32], centre: list[int], unit: list[int], bit_depth: int = 16
) -> scaled_mixture.ScaledMixture:
    head = scaled_mixture.ScaledMixtureHead(
        scaled_mixture.integer_tables(), parameters.shape[1] // 3, bit_depth
    )
    return head(parameters, np.array(centre, np.int32), np.array(unit, np.int32))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_masses_never_fall_and_stay_small(data: st.DataObject) -> None:
    number = st.integers(-(2**23), 2**23) | st.integers(-300, 300)
    parameters = np.array([data.draw(st.lists(number, min_size=21, max_size=21))], np.int32)
    centre, unit = data.draw(st.integers(0, 65535)), data.draw(st.integers(0, 64))
    found = mixture_of(parameters, [centre], [unit])
    below = found.cumulative(np.arange(65537, dtype=np.int32)[None])[0]
    assert (np.diff(below) >= 0).all()
    assert below[0] >= 0
    assert below[-1] + 65536 < 2**28.9


def test_gradients_are_those_of_the_bits() -> None:
    random = np.random.default_rng(1)
    count, n = 3, 400
    logits = random.integers(-40, 40, (n, count))
    means = random.integers(-120, 120, (n, count))
    scales = random.integers(20, 60, (n, count))
    parameters = np.concatenate([logits, means, scales], 1).astype(np.int32)
    centre, unit = random.integers(300, 40000, n), random.integers(8, 44, n)
    samples = centre + random.integers(-2, 3, n) * 2 ** (unit // 4)
    found = mixture_of(parameters, centre.tolist(), unit.tolist())
    sizes = scaled_mixture.integer_tables()["unit"].numpy().astype(np.int64)
    gradients = scaled_gradient.gradients(
        found, parameters, unit.astype(np.int32), sizes, samples, 16
    )
    expected = gradients_of_float(parameters, samples, centre, unit)
    kept = abs(expected) < MOST
    error = abs(gradients - expected)[kept]
    assert np.quantile(error / (abs(expected[kept]) + 2**12), 0.95) < 0.05


def gradients_of_float(
    parameters: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int64],
    centre: npt.NDArray[np.int64],
    unit: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """In 2**-20 nats for a unit of an integer parameter."""
    bits, offset = scaled_mixture.fixed_point(parameters.shape[1] // 3)
    real: Tensor = ((torch.from_numpy(parameters) - offset) * torch.exp2(-bits)).double()
    real.requires_grad_()
    of_samples = scaled_mixture.bits_of_samples(
        real, *map(torch.from_numpy, (samples, centre, unit)), 16
    )
    of_samples.sum().backward()  # type: ignore[no-untyped-call]
    assert real.grad is not None
    found: npt.NDArray[np.float64] = (real.grad * np.log(2) * 2.0**20 * torch.exp2(-bits)).numpy()
    return found


def test_learning_pays_where_an_image_repeats_itself() -> None:
    image = (dim((120, 120), 16) % 3 * np.uint16(40) + np.uint16(900)).astype(np.uint16)
    ready = engine(16)
    sizes = [len(encode(image, ready.network, ready, 120, learning=code)) for code in (0, 3)]
    assert sizes[1] < 0.9 * sizes[0]


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 0), ("head", 1000), ("components", 8), ("bit_depth", 12), ("blocks", -1)],
)
def test_sizes_that_cannot_be_exact_are_refused(name: str, value: int) -> None:
    with pytest.raises(ModelError, match=name):
        Config(**{name: value})


@pytest.mark.parametrize("name", scaled_mixture.integer_tables() | gray_context.integer_tables())
def test_tables_of_another_kind_are_refused(name: str) -> None:
    made = network(16)
    for table in (made.tables[name][:-1], torch.full_like(made.tables[name], -1)):
        tables = {**made.tables, name: table}
        with pytest.raises(ModelError, match=name):
            Engine(IntegerNetwork(made.architecture, made.config, made.layers, tables), "int64")


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"depth": 1}, r"^parameters \['depth'\] need a newer pixelcodec"),
        ({"bit_depth": 12}, r"^a network of bit_depth 12; it must be in \(8, 16\)"),
        ({"blocks": 126, "hidden": 1024}, "^the layers of a network are not those"),
    ],
)
def test_a_configuration_of_another_network_is_refused(changes: dict[str, int], about: str) -> None:
    made = network(16)
    with pytest.raises(ModelError, match=about):
        Engine(replace(made, config={**made.config, **changes}), "int64")
