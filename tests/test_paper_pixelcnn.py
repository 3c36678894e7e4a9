"""The paper's PixelCNN and its frame: what it may see, what it must see, and that its forms agree.

There is a float network, which trains, and an integer program, which codes.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coding import Samples, decode, encode, randomised, walked
from conversion import check_conversion, quantised, random_activations
from pictures import noise, scene
from pixelcodec import evaluation, sampling
from pixelcodec.engine import Engine, Places, StripCoder
from pixelcodec.errors import ModelError
from pixelcodec.models import softmax
from pixelcodec.models.grouped import GroupedConv2d, group_slices
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import INPUT_SLOPE, PaperConfig, features_of
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.program import Distribution
from pixelcodec.schedule import symbol_positions
from places import PLACES

SMALL = PaperConfig(hidden=7, layers=2, head=8)
"""No count of its feature maps can be divided by 3."""

FRAMES = {
    "residual": {"residual": True, "skip": False},
    "plain": {"residual": False, "skip": False},
    "both": {"residual": True, "skip": True},
    "skip": {"residual": False, "skip": True},
}
EACH_FRAME = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
EACH_CHANNELS = pytest.mark.parametrize("channels", [1, 3])
EACH_DEPTH = pytest.mark.parametrize("bit_depth", [1, 8])

Place = tuple[int, int]
"""Of a pixel, seen from another: (rows above, columns right)."""


@cache
def float_network(config: PaperConfig) -> PixelCNN:
    """A random network that has learned nothing, but is sure of something."""
    return randomised(lambda: PixelCNN(config), seed=1, gain=1.7)


@cache
def engine(config: PaperConfig, backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(float_network(config).integer_network(), backend, device)


def picture(height: int, width: int, config: PaperConfig) -> Samples:
    """A scene as a network of ``config`` codes it: [height, width, channels]."""
    image = scene(height, width, 3)[..., : config.channels].copy()
    return image if config.bit_depth == 8 else (image > 100).astype(np.uint8)


# Reach: what the masks let through ---------------------------------------------------------------


def reach(layers: int) -> set[Place]:
    """Where the pixels lie that a distribution depends on, besides its own.

    Mask A sees 3 rows up and 3 columns to each side, each layer one more; but to the right each row
    up only one column more, so what lies between them and a wave of slope 4 is not seen.
    """
    most = 3 + layers
    above = {
        (dy, dx) for dy in range(1, most + 1) for dx in range(-most, 3 + min(layers, dy - 1) + 1)
    }
    return above | {(0, dx) for dx in range(-most, 0)}


@pytest.mark.parametrize("layers", range(6))
def test_a_wave_may_see_all_of_the_reach_and_more(layers: int) -> None:
    assert all(dx < INPUT_SLOPE * dy for dy, dx in reach(layers))
    assert (2, INPUT_SLOPE * 2 - 1) not in reach(layers)


def open_network(config: PaperConfig) -> PixelCNN:
    """A network in which each path that the masks leave open lets a positive part through."""
    network = PixelCNN(config).double().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.fill_(1 / layer.weight[0].numel())
            layer.bias.fill_(0.1)
    return network


@EACH_FRAME
@EACH_CHANNELS
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_each_distribution_depends_on_what_the_masks_leave_open(
    layers: int, channels: int, frame: dict[str, bool]
) -> None:
    config = PaperConfig(channels, hidden=7, layers=layers, head=8, **frame)
    network, most = open_network(config), 3 + layers + 1
    y, x = most, most
    seen = torch.ones(1, channels, most + 2, 2 * most + 1, dtype=torch.float64, requires_grad=True)
    logits = network.head_of(network.trunk(seen)).unflatten(1, (channels, 256))[0, :, :, y, x]

    for channel in range(channels):
        (gradient,) = torch.autograd.grad(logits[channel].sum(), seen, retain_graph=True)
        found = {(c, y - row, column - x) for c, row, column in gradient[0].nonzero().tolist()}
        own = {(before, 0, 0) for before in range(channel)}
        assert found == own | {(c, *place) for c in range(channels) for place in reach(layers)}


# Causality: what the two forms give --------------------------------------------------------------


def of_float(images: Samples, config: PaperConfig) -> npt.NDArray[Any]:
    """Logits of all distributions: [images, height, width, channels, levels]."""
    found: npt.NDArray[Any] = float_network(config).logits_of(torch.from_numpy(images)).numpy()
    return found


def of_integer(images: Samples, config: PaperConfig) -> npt.NDArray[Any]:
    """The same, of the integer program."""
    ordered: list[npt.NDArray[np.int32]] = []
    distribution = softmax.Softmax

    def spy(logits: npt.NDArray[np.int32], exp: npt.NDArray[np.int32]) -> softmax.Softmax:
        ordered.append(logits.copy())
        return distribution(logits, exp)

    def known(_: Distribution, places: Places, channel: int) -> Samples:
        y, x = places
        return images[:, y, x, channel].ravel()

    count, height, width, channels = images.shape
    with mock.patch.object(softmax, "Softmax", spy):
        walked(engine(config), images.shape, known)
    positions = symbol_positions(count, height, width, INPUT_SLOPE, channels)
    found: npt.NDArray[Any] = np.concatenate(ordered)[positions]
    return found


FORMS = pytest.mark.parametrize("form", [of_float, of_integer], ids=["float", "integer"])
Form = Callable[..., npt.NDArray[Any]]


@FORMS
@EACH_CHANNELS
@EACH_DEPTH
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_sample_changes_distributions_in_its_reach_only(
    form: Form, bit_depth: int, channels: int, data: st.DataObject
) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth)
    height, width = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 12)))
    image = noise(height, width, channels, seed=data.draw(st.integers(0, 99)))
    place = tuple(data.draw(st.integers(0, side - 1)) for side in image.shape)
    changed = image.copy()
    changed[place] ^= 255

    before, after = form(np.stack([image, changed]) >> (8 - bit_depth), config)

    y, x, channel = place
    for row, column, c in np.argwhere((before != after).any(-1)).tolist():
        later = (row, column) == (y, x) and c > channel
        assert later or (row - y, x - column) in reach(SMALL.layers)


@FORMS
@EACH_FRAME
def test_a_sample_changes_all_distributions_in_its_reach(
    form: Form, frame: dict[str, bool]
) -> None:
    config = PaperConfig(hidden=16, layers=1, head=16, **frame)
    y, x, count = 1, 6, 20
    images = noise(4 * count, 7, 13, 3).reshape(4, count, 7, 13, 3)
    images[1:] = images[0]
    for channel in range(3):
        images[1 + channel, :, y, x, channel] ^= 128

    logits = form(images.reshape(-1, 7, 13, 3), config).reshape(*images.shape, 256)

    for channel in range(3):
        differs = (logits[0] != logits[1 + channel]).any((0, -1))
        own = {(later, 0, 0) for later in range(channel + 1, 3)}
        assert {
            (c, row - y, x - column) for row, column, c in np.argwhere(differs).tolist()
        } == own | {(c, *place) for c in range(3) for place in reach(1)}


# Conversion --------------------------------------------------------------------------------------


def layers_of(network: PixelCNN) -> dict[str, tuple[GroupedConv2d, int, int]]:
    """By the name of the integer layers: the float layer, its fractional bits, and its offset.

    What makes a stream, before others are added to it, has the half that makes its shift round.
    """
    half = 1 << (STREAM_BITS - ACTIVATION_BITS - 1)
    found: dict[str, Any] = {"input": (network.input, STREAM_BITS, half)}
    for i, layer in enumerate(network.layers):
        found[f"layer.{i}.reduce"] = (layer.reduce, ACTIVATION_BITS, 0)
        found[f"layer.{i}.spatial"] = (layer.spatial, ACTIVATION_BITS, 0)
        offset = 0 if network.config.residual else half
        found[f"layer.{i}.expand"] = (layer.expand, STREAM_BITS, offset)
    for i, skip in enumerate(network.skips):
        found[f"skip.{i}"] = (skip, STREAM_BITS, 0 if i else half)
    found["head"] = (network.head, ACTIVATION_BITS, 0)
    found["logits"] = (network.logits, softmax.LOGIT_BITS, 0)
    return found


@EACH_FRAME
@EACH_CHANNELS
def test_each_integer_layer_is_the_float_layer_but_for_rounding(
    channels: int, frame: dict[str, bool]
) -> None:
    network = float_network(PaperConfig(channels, hidden=7, layers=2, head=8, **frame))
    layers = dict(network.integer_network().layers)
    for name, (layer, bits, offset) in layers_of(network).items():
        _, inputs, height, width = layer.weight.shape
        activations = random_activations(300, inputs, height, width)
        expected = quantised_at_the_centre(layer, activations)
        # The taps of the rows above and to the left, and of the pixel, each with all inputs
        taps = activations.flatten(2)[..., : height * width // 2 + 1].transpose(1, 2).flatten(1)
        for group, own in enumerate(group_slices(layer.weight.shape[0], channels)):
            integer = layers.pop(f"{name}.{group}")
            if integer.weight.any():  # Group 0 of the input may see nothing but earlier pixels
                check_conversion(integer, taps.contiguous(), expected[:, own], bits, offset)
    assert not layers


def quantised_at_the_centre(layer: GroupedConv2d, activations: Tensor) -> Tensor:
    """What ``layer`` gives for pixels of the neighbourhoods int8 [n, inputs, height, width]."""
    values = activations.to(torch.float32) * 2.0**-ACTIVATION_BITS
    height, width = values.shape[2:]
    found = quantised(layer, values).unflatten(0, (-1, height, width))
    return found[:, height // 2, width // 2]


@EACH_FRAME
@EACH_CHANNELS
def test_logits_of_both_forms_are_the_same_but_for_rounding(
    channels: int, frame: dict[str, bool]
) -> None:
    config = PaperConfig(channels, hidden=16, layers=2, head=16, **frame)
    images = picture(20, 30, config)[None]
    network = float_network(config)
    network.quantise()
    seen = features_of(torch.from_numpy(images), 8).permute(0, 3, 1, 2) * 2.0**-ACTIVATION_BITS
    logits = network.head_of(network.trunk(seen)).unflatten(1, (channels, -1))
    network.quantise(False)
    expected = logits.permute(0, 3, 4, 1, 2).numpy() * 2**softmax.LOGIT_BITS

    error = of_integer(images, config) - expected

    assert abs(error.mean()) < 0.02
    assert np.abs(error).mean() < 0.5 + 0.03 * expected.std()


@EACH_FRAME
@EACH_CHANNELS
@EACH_DEPTH
def test_training_and_coding_count_the_same_bits(
    bit_depth: int, channels: int, frame: dict[str, bool]
) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth, **frame)
    network = float_network(config)
    # Of what the network itself draws it is as sure as it should be
    image = drawn(20, 30, config)
    network.quantise()
    bits = float(network(torch.from_numpy(image[None])).double().sum())
    network.quantise(False)

    coded = evaluation.model_bits(image, engine(config))

    assert coded < 0.95 * bit_depth * image.size
    assert bits == pytest.approx(coded, rel=0.01)


def drawn(height: int, width: int, config: PaperConfig) -> Samples:
    """What a random network of ``config`` draws: [height, width, channels]."""
    random = np.random.default_rng(1)

    def by_chance(distribution: Distribution, _: Places, channel: int) -> Samples:
        return sampling.draw(distribution, random.random(len(distribution)), config.levels)

    (image,) = walked(engine(config), (1, height, width, config.channels), by_chance)
    return image


# Coding ------------------------------------------------------------------------------------------

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (5, 13)]


@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 1), (1, 8), (3, 8)])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("strip_rows", "tile"), [(16, 0), (4, 0), (4, 4), (8, 4)])
def test_any_size_comes_back(
    strip_rows: int, tile: int, size: tuple[int, int], bit_depth: int, channels: int
) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth)
    image, ready = picture(*size, config), engine(config)
    network = float_network(config).integer_network()
    data = encode(image, network, ready, strip_rows, tile=tile)
    np.testing.assert_array_equal(decode(data, ready).reshape(image.shape), image, strict=True)


@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize(
    ("channels", "bit_depth", "frame"),
    [(3, 8, "residual"), (1, 8, "plain"), (3, 8, "both"), (1, 1, "skip")],
)
def test_every_place_writes_and_reads_the_same_bytes(
    backend: str, device: str, channels: int, bit_depth: int, frame: str
) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth, **FRAMES[frame])
    image, network = picture(6, 11, config), float_network(config).integer_network()
    ready = engine(config, backend, device)
    expected = encode(image, network, engine(config), strip_rows=4)
    assert encode(image, network, ready, strip_rows=4) == expected
    np.testing.assert_array_equal(decode(expected, ready).reshape(image.shape), image)


# Models that cannot be ---------------------------------------------------------------------------

NETWORK = float_network(replace(SMALL, skip=True)).integer_network()


def refused(network: IntegerNetwork, about: str) -> None:
    """Assert that ``network`` is refused, and that the reason names what is wrong."""
    with pytest.raises(ModelError, match=about):
        Engine(network, "int64")


@pytest.mark.parametrize("name", NETWORK.layers)
@pytest.mark.parametrize("part", ["weight", "bias", "shift"])
def test_a_misshapen_tensor_is_refused_by_name(name: str, part: str) -> None:
    layer = NETWORK.layers[name]
    for tensor in (getattr(layer, part)[:-1], getattr(layer, part).to(torch.int16)):
        layers = {**NETWORK.layers, name: replace(layer, **{part: tensor})}
        refused(replace(NETWORK, layers=layers), re.escape(f"layers.{name}.{part} is"))


@pytest.mark.parametrize("name", NETWORK.layers)
def test_a_missing_layer_is_refused_by_name(name: str) -> None:
    layers = {other: layer for other, layer in NETWORK.layers.items() if other != name}
    refused(replace(NETWORK, layers=layers), re.escape(f"layers.{name}.bias is None"))


@pytest.mark.parametrize("name", ["layer.2.reduce.0", "layer.0.reduce.3", "skip.2.0", "other"])
def test_a_foreign_layer_is_refused_by_name(name: str) -> None:
    layers = {**NETWORK.layers, name: NETWORK.layers["head.0"]}
    refused(replace(NETWORK, layers=layers), re.escape(f"layers.{name}.bias is"))


def test_tables_must_be_those_of_the_softmax() -> None:
    exp = NETWORK.tables["exp"]
    refused(replace(NETWORK, tables={}), r"tables\.exp is None")
    refused(replace(NETWORK, tables={"exp": exp[1:]}), r"tables\.exp is")
    refused(replace(NETWORK, tables={"exp": exp, "other": exp}), r"tables\.other is")
    refused(replace(NETWORK, tables={"exp": exp.flip(0)}), "table exp .* must fall")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", 2),
        ("channels", 0),
        ("bit_depth", 4),
        ("hidden", 2),
        ("hidden", 205),
        ("hidden", 7.0),
        ("hidden", "7"),
        ("hidden", [7]),
        ("layers", -1),
        ("layers", 257),
        ("head", 2),
        ("head", 1025),
        ("residual", 1),
        ("skip", None),
    ],
)
def test_hyperparameters_that_cannot_be_are_refused_by_name(name: str, value: object) -> None:
    refused(replace(NETWORK, config={**NETWORK.config, name: value}), f"a network of {name} ")


def test_hyperparameters_of_a_newer_version_are_refused() -> None:
    refused(replace(NETWORK, config={**NETWORK.config, "depth": 1}), "need a newer pixelcodec")


def test_a_small_file_that_claims_to_be_a_large_network_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "randn", lambda *_: pytest.fail("a network was made"))
    claim = {**NETWORK.config, "hidden": 204, "layers": 126}
    refused(replace(NETWORK, config=claim), r"parameters; its configuration needs 10,487,232")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_other_channels_are_refused(channels: int) -> None:
    ready = engine(replace(SMALL, channels=channels))
    with pytest.raises(ModelError, match=f"{channels}-channel images, not {4 - channels}-channel"):
        StripCoder(ready, 5, 4 - channels)
