"""The network: what it may see, what it must see, and that its two forms are one.

There is a float network, which trains, and an integer program, which codes.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coding import Samples, ignore
from conversion import ARITHMETIC, as_float, check_conversion, quantised, random_activations
from pictures import noise, scene
from pixelcodec import evaluation
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.errors import ModelError
from pixelcodec.exact import check_no_overflow
from pixelcodec.models import context, likelihood, mixture
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS, MaskedConv2d, relu
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.quantise import integer_layer
from pixelcodec.models.wavefront_pixelcnn import (
    RESIDUALS,
    Config,
    IntegerWavefrontPixelCNN,
    WavefrontPixelCNN,
)
from pixelcodec.schedule import symbol_positions

SLOPE = 2
SMALL = Config(width=16, hidden=16, blocks=2, head=8, components=3)
SPATIAL_TAPS = [(1, -1), (1, 0), (1, 1), (0, -1), (0, 0)]
"""Taps of a block, (rows above, columns right)."""

Integers = npt.NDArray[np.int64]


@cache
def float_network(config: Config = SMALL, seed: int = 1) -> WavefrontPixelCNN:
    """A random network whose biases are not zero either, and whose heads look hard."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WavefrontPixelCNN(config)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):
                    parameter.add_(torch.randn_like(parameter) / 8)
    return network.requires_grad_(False)


@cache
def engine(config: Config = SMALL, seed: int = 1) -> Engine:
    return Engine(float_network(config, seed).integer_network(), "int64")


# Two forms, one interface ------------------------------------------------------------------------


def parameters_of_float(image: Samples, config: Config = SMALL, seed: int = 1) -> Tensor:
    """The float network's parameters of all distributions: [height, width, 3, parameters]."""
    with mock.patch.object(likelihood, "bits_of_samples", wraps=likelihood.bits_of_samples) as bits:
        float_network(config, seed)(torch.from_numpy(image[None].copy()))
    parameters: Tensor = bits.call_args.args[0]
    return parameters[0]


def choices_of_integer(image: Samples, config: Config = SMALL) -> npt.NDArray[np.float32]:
    """The integer program's choices: [height, width, channels, 2, 3]."""
    height, width = image.shape[:2]
    rows = image.reshape(height, width, -1)
    channels = rows.shape[2]
    (ordered,) = StripEncoder(engine(config), width, channels).choices(rows, ignore)
    (positions,) = symbol_positions(1, height, width, SLOPE, 2 * channels)
    return ordered[positions].reshape(height, width, channels, 2, 3)


def of_float(image: Samples, config: Config) -> npt.NDArray[np.float32]:
    return parameters_of_float(image, config).numpy()


def of_integer(image: Samples, config: Config) -> npt.NDArray[np.float32]:
    return choices_of_integer(image, config).reshape(*image.shape, -1)


FORMS = pytest.mark.parametrize("form", [of_float, of_integer], ids=["float", "integer"])
Form = Callable[[Samples, Config], npt.NDArray[np.float32]]


# Causality ---------------------------------------------------------------------------------------


def may_change(shape: tuple[int, ...], y: int, x: int, channel: int) -> npt.NDArray[np.bool_]:
    """The samples after sample (y, x, channel), both row by row and wave by wave."""
    row, column, c = np.indices(shape)
    same_pixel = (row == y) & (column == x)
    after_in_rows = (row > y) | ((row == y) & (column > x))
    after_in_waves = column + SLOPE * row > x + SLOPE * y
    later: npt.NDArray[np.bool_] = (same_pixel & (c > channel)) | (after_in_rows & after_in_waves)
    return later


@FORMS
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_sample_changes_later_distributions_only(form: Form, data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 9)))
    image = noise(*size, 3, seed=data.draw(st.integers(0, 99)))
    y, x, channel = (data.draw(st.integers(0, side - 1)) for side in image.shape)
    changed = image.copy()
    changed[y, x, channel] = data.draw(st.integers(0, 255))

    differs = (form(image, SMALL) != form(changed, SMALL)).any(-1)

    if form is of_integer:  # a choice is of the sample itself
        differs[y, x, channel] = False
    assert not (differs & ~may_change(image.shape, y, x, channel)).any()


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5)], ids=["rgb", "gray"])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_frequencies_of_a_sample_do_not_depend_on_itself(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    image = noise(*shape, seed=data.draw(st.integers(0, 99)))
    place = tuple(data.draw(st.integers(0, side - 1)) for side in shape)
    frequencies = np.zeros((16, 16, 2), np.int64)
    for level in range(256):
        image[place] = level
        choices = choices_of_integer(image)[place if len(shape) == 3 else (*place, 0)]
        frequencies[level // 16, level % 16] = choices[:, 1].astype(int) + 1

    first, second = frequencies[..., 0], frequencies[..., 1]
    assert (first == first[:, :1]).all()
    assert first[:, 0].sum() == 2**24 - 2  # but for the dummies
    assert (second.sum(1) == 2**24 - 2).all()


@pytest.mark.parametrize("quantised", [False, True], ids=["smooth", "rounded"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_float_probabilities_of_all_levels_of_a_sample_sum_to_1(
    channel: int, quantised: bool
) -> None:
    images = np.repeat(scene(5, 6, 3)[None], 256, 0)
    images[:, 2, 3, channel] = np.arange(256)
    network = float_network()
    network.quantise(quantised)
    bits = network(torch.from_numpy(images))[:, 2, 3, channel]
    network.quantise(False)
    assert float(torch.exp2(-bits.double()).sum()) == pytest.approx(1, abs=5e-4)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_head_sees_the_residuals_of_the_channels_before_alone(channel: int) -> None:
    network = float_network()
    stream = torch.randn(1, SMALL.width, 4, 4, generator=torch.Generator().manual_seed(1))
    companded = torch.zeros(1, RESIDUALS, 4, 4, requires_grad=True)
    parameters = network.heads(torch.cat([relu(stream, False), companded], 1))[..., channel, :]
    (gradient,) = torch.autograd.grad(parameters.sum(), companded, allow_unused=False)
    seen = (gradient.abs().sum((0, 2, 3)) > 0).tolist()
    assert seen == [before < channel for before in range(RESIDUALS)]


# Reach -------------------------------------------------------------------------------------------


def reach(blocks: int) -> set[tuple[int, int]]:
    """Where the pixels lie that a pixel's distributions depend on, (rows above, columns right)."""
    found = {(int(dy), int(dx)) for dy, dx in context.TAPS}
    for _ in range(blocks):
        found = {(a + c, b + d) for a, b in found for c, d in SPATIAL_TAPS}
    return found


@FORMS
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_a_sample_reaches_the_pixels_that_it_should_and_no_other(
    form: Form, blocks: int, channel: int
) -> None:
    config = Config(width=16, hidden=16, blocks=blocks, head=8, components=3)
    y, x, height, width = 1, 8, 8, 17
    reached: set[tuple[int, int]] = set()
    for seed in range(6):
        image = noise(height, width, 3, seed=seed)
        changed = image.copy()
        changed[y, x, channel] ^= 128
        differs = (form(image, config) != form(changed, config)).any((2, 3))
        differs[y, x] = False
        reached |= {(int(row) - y, x - int(column)) for row, column in np.argwhere(differs)}

    assert reached == reach(blocks)


def test_all_features_matter_to_all_heads() -> None:
    network = float_network()
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, context.FEATURES, 5, 5, generator=generator).requires_grad_()
    companded = torch.zeros(1, RESIDUALS, 5, 5)
    parameters = network.heads(torch.cat([network.trunk(features), companded], 1))
    for channel in range(3):
        gradient = torch.autograd.grad(
            parameters[..., channel, :].square().sum(), features, retain_graph=True
        )[0]
        assert (gradient.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("block", range(SMALL.blocks))
def test_each_tap_of_a_block_matters_and_no_other_pixel_does(block: int) -> None:
    spatial = float_network().spatial[block]
    activations = torch.rand(1, SMALL.width, 5, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(spatial(activations)[0, :, 2, 2].sum(), activations)
    matter = {(2 - y, x - 2) for y, x in gradient[0].abs().sum(0).nonzero().tolist()}
    assert matter == set(SPATIAL_TAPS)


def test_a_gray_image_is_the_first_of_three_equal_channels() -> None:
    gray = scene(9, 11)
    thrice = np.repeat(gray[..., None], 3, -1)
    np.testing.assert_array_equal(
        choices_of_integer(gray)[:, :, 0], choices_of_integer(thrice)[:, :, 0]
    )


# Conversion --------------------------------------------------------------------------------------


def test_conversion_of_the_input_layer() -> None:
    network = float_network()
    activations = random_activations(300, context.FEATURES, low=-127)
    half = 2.0 ** (STREAM_BITS - ACTIVATION_BITS - 1)
    layer = network.integer_network().layers["input"]
    expected = quantised(network.input, as_float(activations))
    check_conversion(layer, activations, expected, STREAM_BITS, half)


@pytest.mark.parametrize("block", range(SMALL.blocks))
def test_conversion_of_a_spatial_layer(block: int) -> None:
    network = float_network()
    height, width = 7, 9
    image = random_activations(height, width, SMALL.width)
    padded = torch.nn.functional.pad(image, (0, 0, 1, 1, 1, 0))  # columns both sides, a row above
    taps = torch.cat(
        [padded[1 - dy : 1 - dy + height, 1 + dx : 1 + dx + width] for dy, dx in SPATIAL_TAPS], -1
    ).flatten(0, 1)
    values = (image.to(torch.float32) * 2.0**-ACTIVATION_BITS).permute(2, 0, 1)[None]
    layer = network.integer_network().layers[f"spatial.{block}"]
    expected = quantised(network.get_submodule(f"spatial.{block}"), values)  # type: ignore[arg-type]
    check_conversion(layer, taps, expected, ACTIVATION_BITS, 0)


@pytest.mark.parametrize("block", range(SMALL.blocks))
def test_conversion_of_a_mixing_layer(block: int) -> None:
    network = float_network()
    activations = random_activations(300, SMALL.hidden)
    layer = network.integer_network().layers[f"mix.{block}"]
    mix = network.get_submodule(f"mix.{block}")
    expected = quantised(mix, as_float(activations))  # type: ignore[arg-type]
    check_conversion(layer, activations, expected, STREAM_BITS, 0)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_conversion_of_a_head(channel: int) -> None:
    network = float_network()
    seen = random_activations(300, SMALL.width + RESIDUALS)
    own = slice(channel * SMALL.head, (channel + 1) * SMALL.head)
    layer = network.integer_network().layers[f"head.{channel}"]
    expected = quantised(network.head, as_float(seen), own)
    check_conversion(layer, seen, expected, ACTIVATION_BITS, 0)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_conversion_of_the_parameters(channel: int) -> None:
    network = float_network()
    hidden = random_activations(300, 3, SMALL.head)
    count = mixture.parameters_of(SMALL.components)
    used = slice(channel * count, channel * count + 3 * SMALL.components + channel)
    layer = network.integer_network().layers[f"parameters.{channel}"]
    expected = quantised(network.parameters_of, as_float(hidden.flatten(1)), used)
    bits, offset = mixture.fixed_point(SMALL.components, channel)
    check_conversion(layer, hidden[:, channel].contiguous(), expected, bits, offset)  # type: ignore[arg-type]


def parameters_of_integer(image: Samples, seed: int) -> list[Tensor]:
    """The integer program's parameters of all distributions of each channel: [pixels, n]."""
    found: list[Tensor] = []

    def spy(program: IntegerWavefrontPixelCNN, seen: Tensor, channel: int) -> Tensor:
        found.append(parameters(program, seen, channel))
        return found[-1]

    parameters = IntegerWavefrontPixelCNN.parameters
    with mock.patch.object(IntegerWavefrontPixelCNN, "parameters", spy):
        list(StripEncoder(engine(seed=seed), image.shape[1], 3).choices(image, ignore))
    assert len(found) == 3  # all pixels in one band
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_parameters_of_both_forms_are_the_same_but_for_rounding(seed: int) -> None:
    image = scene(30, 40, 3, seed=seed)
    network = float_network(seed=seed)
    network.quantise()
    trained = parameters_of_float(image, seed=seed).flatten(0, 1)
    network.quantise(False)

    for channel, coded in enumerate(parameters_of_integer(image, seed)):
        bits, offset = mixture.fixed_point(SMALL.components, channel)
        expected = trained[:, channel, : len(bits)] * torch.exp2(bits) + offset
        error = (coded - expected).abs().mean(0)
        assert (error <= 0.4 + 0.03 * expected.std(0)).all()  # bfloat16 rounds, too


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50)], ids=["rgb", "gray"])
def test_training_and_coding_count_the_same_bits(seed: int, shape: tuple[int, ...]) -> None:
    image = scene(*shape, seed=seed)
    thrice = np.broadcast_to(image.reshape(*shape[:2], -1), (*shape[:2], 3)).copy()
    network = float_network(seed=seed)
    network.quantise()
    bits = network(torch.from_numpy(thrice[None]))
    network.quantise(False)
    trained = float((bits if len(shape) == 3 else bits[..., 0]).double().sum())

    coded = evaluation.model_bits(image, engine(seed=seed))

    assert trained == pytest.approx(coded, rel=0.01)


@pytest.mark.parametrize(
    ("bits", "largest"),
    [(STREAM_BITS, 127 / 16), (ACTIVATION_BITS, 127.0)],
    ids=["stream", "activations"],
)
def test_weights_up_to_a_limit_convert(bits: int, largest: float) -> None:
    layer = MaskedConv2d(2, 1, torch.ones(1, 1, 1, 1)).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0, -largest]])[..., None, None])
    assert integer_layer(layer, bits).weight[1].tolist() == [-127]
    layer.weight.mul_(1.01)
    with pytest.raises(ValueError, match="leave no room"):
        integer_layer(layer, bits)


@pytest.mark.parametrize("bias", [-100.0, -1.0, 0.0, 1e-9, 3.0, 100.0])
def test_an_output_of_next_to_no_weight_is_its_bias(bias: float) -> None:
    layer = MaskedConv2d(2, 1, torch.ones(1, 1, 1, 1)).requires_grad_(False)
    layer.weight.fill_(1e-7)
    layer.bias.fill_(bias)
    integers = integer_layer(layer, STREAM_BITS)
    check_no_overflow(integers)
    activations = torch.full((1, 2), 127, dtype=torch.int8)
    found = ARITHMETIC.linear(integers)(activations).item()
    assert found == pytest.approx(bias * 2**STREAM_BITS, abs=1)
    layer.quantised = True
    assert layer(activations.float()[..., None, None] / 16).item() == pytest.approx(bias, abs=1e-3)


@pytest.mark.parametrize("name", ["input", "mix.0", "parameters_of"])
def test_a_network_with_too_large_a_weight_does_not_convert(name: str) -> None:
    network = WavefrontPixelCNN(SMALL)
    with torch.no_grad():
        layer = network.get_submodule(name)
        assert isinstance(layer, MaskedConv2d)
        layer.weight[layer.mask.expand_as(layer.weight) != 0] = 8.0
    with pytest.raises(ValueError, match=r"weights up to 8\.0 leave no room"):
        network.integer_network()


def test_masked_weights_are_neither_coded_nor_limited() -> None:
    network = WavefrontPixelCNN(SMALL)
    before = network.integer_network().sha256
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, MaskedConv2d):
                layer.weight[layer.mask.expand_as(layer.weight) == 0] = 1e6
    assert network.integer_network().sha256 == before


def test_rounding_in_training_does_not_change_what_a_network_converts_to() -> None:
    network = WavefrontPixelCNN(SMALL)
    before = network.integer_network().sha256
    network.quantise()
    network(torch.from_numpy(scene(8, 8, 3)[None].copy()))
    assert network.integer_network().sha256 == before


@pytest.mark.parametrize("components", [0, 8])
def test_mixtures_that_are_not_coded_exactly_are_refused(components: int) -> None:
    with pytest.raises(ModelError, match=r"components .*1\.\.7"):
        Config(components=components)


# Models that cannot be ---------------------------------------------------------------------------


def spoiled(table: str, index: int, value: int) -> IntegerNetwork:
    network = float_network().integer_network()
    tables = {name: values.clone() for name, values in network.tables.items()}
    tables[table][index] = value
    return replace(network, tables=tables)


@pytest.mark.parametrize(
    ("table", "index", "value"),
    [
        ("companding", 0, -128),
        ("companding", context.ZERO_DIFFERENCE, 1),
        ("sigmoid", 0, 32767),
        ("sigmoid", 100, 65535),
        ("sigmoid", -1, 65536),
        ("inverse_scale", 3, 0),
        ("inverse_scale", 3, 2**20 + 1),
        ("exp", 0, 1025),
        ("exp", 7, 1024),
        ("exp", -1, -1),
    ],
)
def test_tables_by_which_coding_could_overflow_are_refused(
    table: str, index: int, value: int
) -> None:
    with pytest.raises(ModelError, match="table"):
        Engine(spoiled(table, index, value), "int64")


@pytest.mark.parametrize("table", ["companding", "sigmoid", "inverse_scale", "exp"])
def test_a_network_without_a_table_or_with_a_short_one_is_refused(table: str) -> None:
    network = float_network().integer_network()
    without = {name: values for name, values in network.tables.items() if name != table}
    for tables in (without, {**network.tables, table: network.tables[table][:-1]}):
        with pytest.raises(ModelError, match="table"):
            Engine(replace(network, tables=tables), "int64")


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"depth": 1}, r"^parameters \['depth'\] need a newer pixelcodec"),
        ({"hidden": 0}, r"^a network of hidden 0; it must be in 1\.\.1024"),
        ({"blocks": 126, "hidden": 1024}, "^the layers of a network are not those"),
    ],
)
def test_a_configuration_of_another_network_is_refused(changes: dict[str, int], about: str) -> None:
    network = float_network().integer_network()
    with pytest.raises(ModelError, match=about):
        Engine(replace(network, config={**network.config, **changes}), "int64")
