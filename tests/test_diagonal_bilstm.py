"""What a pixel of the Diagonal BiLSTM sees: the samples before it, all but one, and no other."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coding import masses, randomised
from pictures import noise, scene
from pixelcodec.engine import Engine
from pixelcodec.errors import ModelError
from pixelcodec.models.diagonal_bilstm import DiagonalBiLSTM, DiagonalConfig, skew, unskew
from pixelcodec.models.layers import MaskedConv2d

SMALL = DiagonalConfig(hidden=7, layers=2, head=8)
NETWORK = randomised(lambda: DiagonalBiLSTM(SMALL), seed=1, gain=1.5).integer_network()
ENGINE = Engine(NETWORK, "int64")

FRAMES = pytest.mark.parametrize(
    ("residual", "skip"), [(True, False), (False, False), (True, True), (False, True)]
)
sides = st.integers(1, 9)


# Skewed images -----------------------------------------------------------------------------------


@given(images=st.integers(1, 2), height=sides, width=sides, features=st.integers(1, 3))
def test_skewing_shifts_each_row_by_one(
    images: int, height: int, width: int, features: int
) -> None:
    values = torch.arange(images * height * width * features).view(images, height, width, features)
    skewed = skew(values, -1.0)
    assert skewed.shape == (images, height, width + height - 1, features)
    for y in range(height):
        assert torch.equal(skewed[:, y, y : y + width], values[:, y])
    assert (skewed == -1).sum() == images * height * (height - 1) * features
    assert torch.equal(unskew(skewed), values)


# Context -----------------------------------------------------------------------------------------


def open_network(config: DiagonalConfig) -> DiagonalBiLSTM:
    """A network in which each path that the masks leave open lets a positive part through."""
    network = DiagonalBiLSTM(config).double().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.fill_(0.25 / layer.weight[0].numel())
            layer.bias.fill_(0.1)
    return network


@FRAMES
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(6, 7), (9, 4)], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
def test_each_distribution_depends_on_the_samples_before_it(
    layers: int, size: tuple[int, int], channels: int, residual: bool, skip: bool
) -> None:
    """On all but the last of the row above, if that is out of the reach of the input, 7x7.

    In that row no feature knows it.
    """
    config = DiagonalConfig(channels, 8, 7, layers, 8, residual, skip)
    network, width = open_network(config), size[1]
    seen = torch.ones(1, channels, *size, dtype=torch.float64, requires_grad=True)
    logits = network.head_of(network.trunk(seen)).unflatten(1, (channels, 256)).sum(2)
    in_order = logits[0].permute(1, 2, 0).flatten()

    for sample, logit in enumerate(in_order):
        (gradient,) = torch.autograd.grad(logit, seen, retain_graph=True)
        depends = gradient[0].permute(1, 2, 0).flatten() != 0
        expected = torch.arange(len(in_order)) < sample
        y, x = divmod(sample // channels, width)
        if y and x + 3 < width - 1:
            expected[channels * y * width - 1] = False
        assert torch.equal(depends, expected)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_sample_changes_integers_of_later_samples_only(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 7)))
    image = noise(height, width, 3, seed=data.draw(st.integers(0, 99)))
    sample = data.draw(st.integers(0, image.size - 1))
    changed = image.copy()
    changed.flat[sample] ^= 255

    before, after = masses(np.stack([image, changed]), ENGINE)

    differs = (before != after).any(-1).flatten()
    assert not differs[: sample + 1].any()


def test_integers_depend_on_what_lies_far_to_the_right_in_the_row_above() -> None:
    """No mask of 7x7 reaches it, the right direction does."""
    images = np.repeat(noise(1, 2, 30, 3), 2, 0)
    images[1, 0, -1] ^= 255
    before, after = masses(images, ENGINE)
    assert (before[1, :15] != after[1, :15]).any()


# Tiles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [0, 5, 32])
def test_a_network_names_its_tiles(tile: int) -> None:
    config = DiagonalConfig(hidden=7, layers=1, head=8, tile=tile)
    program = Engine(DiagonalBiLSTM(config).integer_network(), "int64").program
    assert (program.slope, program.sequential, program.tile) == (0, True, tile)


@pytest.mark.parametrize("tile", [-1, 1025, 8.0])
def test_tiles_that_cannot_be_are_refused(tile: Any) -> None:
    with pytest.raises(ModelError, match="a network of tile"):
        DiagonalConfig(tile=tile)


def test_tiles_side_by_side_are_coded_like_images_of_their_own() -> None:
    image = scene(8, 12, 3)
    tiles = image.reshape(2, 4, 3, 4, 3).swapaxes(1, 2).reshape(6, 4, 4, 3)
    together = masses(tiles, ENGINE)
    for tile, of_tile in zip(tiles, together, strict=True):
        np.testing.assert_array_equal(masses(tile[None], ENGINE)[0], of_tile)
