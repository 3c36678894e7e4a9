"""What a pixel of the Row LSTM sees: a triangle above, and what lies near to its left."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coding import masses, randomised
from pictures import noise
from pixelcodec.engine import Engine
from pixelcodec.errors import ModelError
from pixelcodec.exact import MAX_FAN_IN
from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.row_lstm import IntegerRowLSTM, RowConfig, RowLSTM

Place = tuple[int, int]
"""Of a pixel, seen from another: (rows above, columns right)."""

FRAMES = pytest.mark.parametrize(
    ("residual", "skip"), [(True, False), (False, False), (True, True), (False, True)]
)


SMALL = RowConfig(hidden=7, layers=2, head=8)
ENGINE = Engine(randomised(lambda: RowLSTM(SMALL), seed=1, gain=1.5).integer_network(), "int64")


def reach(layers: int, rows: int) -> set[Place]:
    """Where the pixels lie that a distribution depends on, in so many rows above and its own.

    Mask A of 7x7 sees 3 columns to either side. Each row of states further up is one column more;
    the input of each layer is one more to the left.
    """
    left = {(dy, -dx) for dy in range(rows + 1) for dx in range(1, 3 + layers + dy + 1)}
    return left | {(dy, dx) for dy in range(1, rows + 1) for dx in range(dy + 2 + 1)}


def open_network(config: RowConfig) -> RowLSTM:
    """A network in which each path that the masks leave open lets a positive part through."""
    network = RowLSTM(config).double().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.fill_(0.5 / layer.weight[0].numel())
            layer.bias.fill_(0.1)
    return network


@FRAMES
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_each_distribution_depends_on_the_triangle_above_it(
    layers: int, channels: int, residual: bool, skip: bool
) -> None:
    config = RowConfig(channels, 8, 7, layers, 8, residual, skip)
    network = open_network(config)
    y, x = 5, 12
    seen = torch.ones(1, channels, 7, 24, dtype=torch.float64, requires_grad=True)
    logits = network.head_of(network.trunk(seen)).unflatten(1, (channels, 256))[0, :, :, y, x]

    for channel in range(channels):
        (gradient,) = torch.autograd.grad(logits[channel].sum(), seen, retain_graph=True)
        found = {(c, y - row, column - x) for c, row, column in gradient[0].nonzero().tolist()}
        own = {(before, 0, 0) for before in range(channel)}
        assert found == own | {(c, *place) for c in range(channels) for place in reach(layers, y)}


@pytest.mark.parametrize("layers", [1, 12])
def test_a_wave_may_see_all_of_the_triangle(layers: int) -> None:
    assert all(dx < IntegerRowLSTM.slope * dy for dy, dx in reach(layers, 64))


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_sample_changes_integers_in_its_reach_only(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 14)))
    image = noise(height, width, 3, seed=data.draw(st.integers(0, 99)))
    y, x, channel = (data.draw(st.integers(0, side - 1)) for side in image.shape)
    changed = image.copy()
    changed[y, x, channel] ^= 255

    before, after = masses(np.stack([image, changed]), ENGINE)

    for row, column, c in np.argwhere((before != after).any(-1)).tolist():
        later = (row, column) == (y, x) and c > channel
        assert later or (row - y, x - column) in reach(layers=2, rows=height)


def test_so_many_feature_maps_fit_the_gates() -> None:
    widest = RowConfig(layers=1, hidden=146)
    layers = RowLSTM(widest).integer_network().layers
    assert max(layer.weight.shape[0] for layer in layers.values()) == 7 * 146 <= MAX_FAN_IN
    assert MAX_FAN_IN < 7 * 147
    with pytest.raises(ModelError, match=r"a network of hidden 147; it must be in 3\.\.146"):
        RowConfig(hidden=147)
