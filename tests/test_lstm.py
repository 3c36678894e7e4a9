"""LSTM cells and the two networks made of them: that training and coding compute the same.

There is a float network, which trains, and an integer program, which codes.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coding import Samples, decode, encode, masses, randomised, walked
from conversion import check_conversion, quantised, random_activations
from pictures import scene
from pixelcodec import coder, exact, sampling
from pixelcodec.engine import Engine, Places
from pixelcodec.errors import ModelError
from pixelcodec.exact import Arithmetic
from pixelcodec.models import diagonal_bilstm, lstm, row_lstm
from pixelcodec.models.architectures import make_config, make_float_network
from pixelcodec.models.grouped import group_slices
from pixelcodec.models.optimiser import Optimiser
from pixelcodec.models.paper import PaperNetwork
from pixelcodec.models.program import Distribution, LSTMTables
from places import PLACES

TABLES = lstm.integer_tables()
ONE = 2**lstm.CELL_BITS

EACH_ARCHITECTURE = pytest.mark.parametrize(
    "architecture", [row_lstm.ARCHITECTURE, diagonal_bilstm.ARCHITECTURE]
)
EACH_CHANNELS = pytest.mark.parametrize("channels", [1, 3])
EACH_FRAME = pytest.mark.parametrize(
    ("residual", "skip"), [(True, False), (False, False), (True, True), (False, True)]
)


@cache
def float_network(architecture: str, **values: Any) -> PaperNetwork:
    """A random network that has learned nothing, but is sure of something."""
    # 7 feature maps cannot be divided by 3
    config = make_config(architecture, {"hidden": 7, "layers": 2, "head": 8, **values})
    network = randomised(lambda: make_float_network(architecture, config), seed=1, gain=1.5)
    assert isinstance(network, PaperNetwork)
    return network


@cache
def engine(architecture: str, backend: str = "int64", device: str = "cpu", **values: Any) -> Engine:
    return Engine(float_network(architecture, **values).integer_network(), backend, device)


def picture(height: int, width: int, channels: int, bit_depth: int) -> Samples:
    """[height, width, channels], samples of ``bit_depth``."""
    image = scene(height, width, 3)[..., :channels].copy()
    return image if bit_depth == 8 else (image > 100).astype(np.uint8)


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_tables_are_the_functions_in_fixed_point(name: str) -> None:
    function = getattr(torch, name)
    for place in (0, 1, 1000, 1024, 1100, 2047):
        exactly = function(torch.tensor((place - 1024) / 128, dtype=torch.float64)) * 4096
        assert abs(TABLES[name][place] - exactly) <= 0.5


SPOILED = {
    "sigmoid": {
        "too short": TABLES["sigmoid"][1:],
        "wide": TABLES["sigmoid"].to(torch.int32),
        "falling": TABLES["sigmoid"].flip(0),
        "below 0": TABLES["sigmoid"] - 2,
        "above 1": TABLES["sigmoid"] + 2,
    },
    "tanh": {
        "too short": TABLES["tanh"][1:],
        "wide": TABLES["tanh"].to(torch.int32),
        "falling": TABLES["tanh"].flip(0),
        "below -1": TABLES["tanh"] - 1,
        "above 1": TABLES["tanh"] + 1,
    },
}


@EACH_ARCHITECTURE
@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, faults in SPOILED.items() for fault in faults]
)
def test_spoiled_tables_are_refused(architecture: str, name: str, fault: str) -> None:
    network = float_network(architecture).integer_network()
    tables = {**network.tables, name: SPOILED[name][fault]}
    with pytest.raises(ModelError, match=f"the table {name} of an LSTM must"):
        Engine(replace(network, tables=tables), "int64")


@EACH_ARCHITECTURE
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "exp"])
def test_missing_tables_are_refused(architecture: str, name: str) -> None:
    network = float_network(architecture).integer_network()
    tables = {other: table for other, table in network.tables.items() if other != name}
    with pytest.raises(ModelError, match=name):
        Engine(replace(network, tables=tables), "int64")


# Cells in integers -------------------------------------------------------------------------------


def stepped(gates: list[int], cell: int, tables: LSTMTables) -> tuple[int, int]:
    """State and cell by the definition; ``gates``: of one cell."""
    sigmoid, tanh = tables.sigmoid.tolist(), tables.tanh.tolist()
    o, f, i = (sigmoid[min(max(gate, -1024), 1023) + 1024] for gate in gates[:3])
    g = tanh[min(max(gates[3], -1024), 1023) + 1024]
    cell = min(max((f * cell + i * g + 2048) >> 12, -32767), 32767)
    bent = tanh[min(max((cell + 16) >> 5, -1024), 1023) + 1024]
    return min(max((o * bent + 2**16) >> 17, -127), 127), cell


LARGEST = LSTMTables(*(torch.full((2048,), value, dtype=torch.int16) for value in (ONE, ONE)))
"""Within their range no tables make larger products."""

near_and_far = st.one_of(st.integers(-1300, 1300), st.sampled_from([-(2**24), 2**24]))
cell_values = st.one_of(st.integers(-32767, 32767), st.sampled_from([-32767, 32767]))


@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize("tables", [lstm.ready_tables(TABLES, torch.device("cpu")), LARGEST])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_step_is_its_formula(
    backend: str, device: str, tables: LSTMTables, data: st.DataObject
) -> None:
    n, h = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    gates = data.draw(st.lists(near_and_far, min_size=4 * n * h, max_size=4 * n * h))
    cells = data.draw(st.lists(cell_values, min_size=n * h, max_size=n * h))
    place = torch.device(device)
    of_gates = torch.tensor(gates, dtype=torch.int32, device=place).view(n, 4 * h)
    # In part of the calls what lies in memory is not contiguous
    of_cells = torch.tensor(cells, dtype=torch.int16, device=place).view(h, n).t()
    ready = LSTMTables(*(table.to(place) for table in tables))

    found = [Arithmetic(place, backend).lstm(of_gates, of_cells, ready)]
    found.append(exact._step_by_torch(of_gates, of_cells, ready))

    for states, after in found:
        assert (states.dtype, after.dtype) == (torch.int8, torch.int16)
        for row, column in np.ndindex(n, h):
            gates_of_cell = of_gates[row].view(4, h)[:, column].tolist()
            expected = stepped(gates_of_cell, int(of_cells[row, column]), tables)
            assert (int(states[row, column]), int(after[row, column])) == expected


def test_a_step_is_that_of_an_lstm() -> None:
    generator = torch.Generator().manual_seed(1)
    gates = torch.randint(-1100, 1100, (500, 4 * 8), generator=generator, dtype=torch.int32)
    cells = torch.randint(-20000, 20000, (500, 8), generator=generator, dtype=torch.int16)
    arithmetic = Arithmetic(torch.device("cpu"), "int64")
    tables = lstm.ready_tables(TABLES, arithmetic.device)

    states, after = arithmetic.lstm(gates, cells, tables)

    o, f, i, g = (gates.double() / 128).chunk(4, 1)
    cell = f.sigmoid() * cells.double() / 4096 + i.sigmoid() * g.tanh()
    assert (after.double() / 4096 - cell).abs().max() < 2 / 4096 + 8 / 8192
    assert (states.double() / 128 - o.sigmoid() * cell.tanh()).abs().max() < 1 / 128


# Cells in float ----------------------------------------------------------------------------------


def scanned_one_by_one(
    inputs: Tensor, weight: Tensor, reach: tuple[int, int], rounded: bool
) -> Tensor:
    """What :func:`lstm.scan` gives, place by place, for autograd; it does not see rounding."""

    def nearest(values: Tensor, steps: int) -> Tensor:
        return values + ((values * steps).round() / steps - values).detach() * rounded

    lines, directions, images, length, features = inputs.shape
    hidden = features // 4
    outside = inputs.new_zeros(directions, images, hidden)
    states, cells = ([outside] * length for _ in range(2))
    found = []
    for line in range(lines):
        before, after = reach
        around = [outside] * before + states + [outside] * after
        states = []
        for x in range(length):
            taps = torch.cat(around[x : x + before + 1 + after], -1)
            gates = inputs[line, :, :, x] + taps @ weight
            o, f, i, g = gates.chunk(4, -1)
            cells[x] = nearest(f.sigmoid() * cells[x] + i.sigmoid() * g.tanh(), 4096)
            states.append(8 * nearest(o.sigmoid() * cells[x].tanh(), 128))
        found.append(torch.stack(states, -2))
    return torch.stack(found)


def scan_arguments(
    reach: tuple[int, int], seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Inputs of 4 lines, 2 directions, 2 images and 5 places, some of them outside; weights."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(4, 2, 2, 5, 4 * 3, generator=generator, dtype=torch.float64)
    inputs[0, ..., 3:, :] = -torch.inf
    inputs[3, ..., :2, :] = -torch.inf
    weight = torch.randn(2, (sum(reach) + 1) * 3, 4 * 3, generator=generator, dtype=torch.float64)
    return inputs.to(dtype).requires_grad_(), (weight / 8).to(dtype).requires_grad_()


EACH_REACH = pytest.mark.parametrize("reach", [row_lstm.REACH, diagonal_bilstm.REACH, (0, 0)])


@EACH_REACH
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(
    ("function", "dtype", "tolerance"),
    [
        (lstm._Scan, torch.float64, 1e-7),
        (lstm._Scan, torch.bfloat16, 0.1),
        (lstm._CompiledScan, torch.float32, 1e-5),
        (lstm._CompiledScan, torch.bfloat16, 0.1),
    ],
)
def test_a_scan_and_its_gradients_are_those_of_its_steps(
    function: type[torch.autograd.Function],
    dtype: torch.dtype,
    tolerance: float,
    rounded: bool,
    reach: tuple[int, int],
) -> None:
    arguments = scan_arguments(reach, 1, dtype)
    exact_arguments = [values.detach().double().requires_grad_() for values in arguments]

    found = function.apply(*arguments, reach, rounded)
    expected = scanned_one_by_one(*exact_arguments, reach, rounded)

    assert found.dtype == dtype
    assert (found[0, ..., 3:, :] == 0).all()  # Outside the image
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view_as(found)
    gradients = torch.autograd.grad(found, arguments, weights.to(dtype))
    exact_gradients = torch.autograd.grad(expected, exact_arguments, weights)
    for values, exactly in zip((found, *gradients), (expected, *exact_gradients), strict=True):
        torch.testing.assert_close(values.double(), exactly, rtol=tolerance, atol=tolerance)


def test_the_compiled_tanh_is_tanh() -> None:
    for x in (*np.linspace(-12, 12, 2401, dtype=np.float32), np.float32(1e-20)):
        assert lstm._tanh(x) == pytest.approx(np.tanh(float(x)), rel=4e-7, abs=0)
    for x in np.float32([9, 20, np.inf]):  # A gate can be shut
        assert (lstm._tanh(x), lstm._tanh(-x)) == (1, -1)


def test_states_and_cells_keep_within_what_integers_hold() -> None:
    inputs = torch.full((40, 1, 1, 1, 4), 20.0)  # all gates open: cells grow at each line
    states = lstm.scan(inputs, torch.zeros(1, 1, 4), (0, 0), False)
    assert states.max() == 127 / 16
    inputs[20:, ..., 3] = -20.0
    falling = lstm.scan(inputs, torch.zeros(1, 1, 4), (0, 0), False)
    # Cells fall by 1 from just below 8, not from 20
    assert (falling[28:] < 0).all()
    assert (falling[:27] > 0).all()


@EACH_CHANNELS
@pytest.mark.parametrize("maps", [0, 4])
@pytest.mark.parametrize(("input_taps", "state_taps"), [(2, 3), (1, 2)])
def test_gates_are_one_product_of_all_taps(
    input_taps: int, state_taps: int, maps: int, channels: int
) -> None:
    taps = (input_taps, state_taps, maps)
    gates = randomised(lambda: lstm.Gates(14, 7, channels, *taps), 1, gain=1.5)
    seen = random_activations(2, 14, 1, 5).float() / 16
    states = random_activations(2, 7 * state_taps, 1, 5, low=-127).float() / 16
    coarser = random_activations(2, maps, 1, 5).float() / 16
    earlier = [seen.roll(shift, -1) for shift in reversed(range(1, input_taps))]
    of_input, of_states, of_maps = gates.kernels(torch.float32)

    of_seen = lstm.input_to_state(seen, of_input, gates.bias)
    of_both = of_seen + states.permute(0, 2, 3, 1) @ of_states
    found = of_both + coarser.permute(0, 2, 3, 1) @ of_maps

    expected = gates(torch.cat([*earlier, seen, states, coarser], 1)).permute(0, 2, 3, 1)
    inside = slice(input_taps - 1, None)  # To the left of the image all is 0
    torch.testing.assert_close(found[:, :, inside], expected[:, :, inside])


# The two networks: conversion --------------------------------------------------------------------


@EACH_ARCHITECTURE
@EACH_CHANNELS
def test_each_integer_layer_is_the_float_layer_but_for_rounding(
    architecture: str, channels: int
) -> None:
    network = float_network(architecture, channels=channels)
    layers = dict(network.integer_network().layers)
    # For the frame around see test_paper_pixelcnn.py
    layers = {name: layer for name, layer in layers.items() if name.startswith("layer.")}
    maps = torch.arange(4 * 7).view(4, 7)
    for index, layer in enumerate(network.layers):
        for name, gates in layer.named_children():
            if not isinstance(gates, lstm.Gates):
                continue
            activations = random_activations(300, gates.weight.shape[1], low=-127)
            expected = quantised(gates, activations[..., None, None].float() / 16)
            if name == "right":  # All that it sees is known: its groups are one layer
                integer = layers.pop(f"layer.{index}.right")
                check_conversion(integer, activations, expected, lstm.GATE_BITS, 0)
                continue
            for group, own in enumerate(group_slices(7, channels)):
                integer = layers.pop(f"layer.{index}.{name}.{group}")
                of_group = expected[:, maps[:, own].flatten()]
                check_conversion(integer, activations, of_group, lstm.GATE_BITS, 0)
        for group in range(channels):
            assert layers.pop(f"layer.{index}.expand.{group}").weight.shape[0] == 7
    assert not layers


@EACH_ARCHITECTURE
@EACH_CHANNELS
def test_probabilities_of_both_forms_are_the_same_but_for_rounding(
    architecture: str, channels: int
) -> None:
    image = picture(12, 15, channels, 8)
    network = float_network(architecture, channels=channels)
    network.quantise()
    logits = network.logits_of(torch.from_numpy(image[None]))[0]
    network.quantise(False)
    expected = logits.softmax(-1).double().numpy()

    (found,) = masses(image[None], engine(architecture, channels=channels)).astype(float)
    found /= found.sum(-1, keepdims=True)

    # As a share of all: of two distributions that have nothing in common it is 1
    distance = np.abs(found - expected).sum(-1) / 2
    apart = np.abs(expected[1:] - expected[:-1]).sum(-1) / 2
    assert distance.mean() < 0.05
    assert distance.mean() < 0.3 * apart.mean()


def drawn(architecture: str, shape: tuple[int, ...], **values: Any) -> tuple[Samples, float]:
    """What a random network draws, [images, height, width, channels], and the bits of coding it."""
    ready, random = engine(architecture, **values), np.random.default_rng(1)
    bit_depth, bits = ready.program.bit_depth, 0.0

    def by_chance(distribution: Distribution, _: Places, channel: int) -> Samples:
        nonlocal bits
        samples = sampling.draw(distribution, random.random(len(distribution)), 1 << bit_depth)
        frequencies = coder.describe(distribution, samples, bit_depth)[..., 1].astype(float) + 1
        bits += float((coder.PRECISION - np.log2(frequencies)).sum())
        return samples

    return walked(ready, shape, by_chance), bits


@EACH_ARCHITECTURE
@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 1), (3, 8)])
@EACH_FRAME
def test_training_and_coding_count_the_same_bits(
    architecture: str, channels: int, bit_depth: int, residual: bool, skip: bool
) -> None:
    values = {"channels": channels, "bit_depth": bit_depth, "residual": residual, "skip": skip}
    # Of what the network itself draws it is as sure as it should be
    images, coded = drawn(architecture, (12, 10, 13, channels), **values)
    network = float_network(architecture, **values)
    network.quantise()
    bits = float(network(torch.from_numpy(images)).double().sum())
    network.quantise(False)

    assert coded < 0.98 * bit_depth * images.size
    assert bits == pytest.approx(coded, rel=0.01)


# The two networks: coding ------------------------------------------------------------------------


@EACH_ARCHITECTURE
@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 1), (3, 8)])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (9, 11)], ids=str)
@pytest.mark.parametrize(("strip_rows", "tile"), [(16, 0), (4, 0), (8, 4)])
def test_any_size_comes_back(
    architecture: str,
    strip_rows: int,
    tile: int,
    size: tuple[int, int],
    bit_depth: int,
    channels: int,
) -> None:
    values = {"channels": channels, "bit_depth": bit_depth}
    image, ready = picture(*size, channels, bit_depth), engine(architecture, **values)
    network = float_network(architecture, **values).integer_network()
    data = encode(image, network, ready, strip_rows, tile=tile)
    np.testing.assert_array_equal(decode(data, ready).reshape(image.shape), image, strict=True)


@EACH_ARCHITECTURE
@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize(("channels", "bit_depth", "tile"), [(1, 1, 0), (3, 8, 4)])
def test_every_place_writes_and_reads_the_same_bytes(
    architecture: str, backend: str, device: str, tile: int, channels: int, bit_depth: int
) -> None:
    values = {"channels": channels, "bit_depth": bit_depth}
    image = picture(9, 11, channels, bit_depth)
    network = float_network(architecture, **values).integer_network()
    ready = engine(architecture, backend, device, **values)
    expected = encode(image, network, engine(architecture, **values), 4, tile=tile)
    assert encode(image, network, ready, 4, tile=tile) == expected
    np.testing.assert_array_equal(decode(expected, ready).reshape(image.shape), image)


@EACH_ARCHITECTURE
@pytest.mark.parametrize("strip_rows", [1, 2, 4])
def test_strips_that_are_joined_know_all_of_the_image_above(
    architecture: str, strip_rows: int
) -> None:
    image, ready = picture(9, 11, 3, 8), engine(architecture)
    of_strips, of_image = masses(image[None], ready, strip_rows), masses(image[None], ready)
    np.testing.assert_array_equal(of_strips, of_image)


# The two networks: training ----------------------------------------------------------------------


@EACH_ARCHITECTURE
def test_a_network_learns(architecture: str) -> None:
    """Stripes that lean: a pixel is the one above and to the left, but for some noise."""
    values = {"channels": 1, "bit_depth": 1, "hidden": 8, "layers": 2, "head": 8}
    config = make_config(architecture, values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = make_float_network(architecture, config)
    optimiser = Optimiser(network, network.output_layers)
    random = np.random.default_rng(1)
    losses = []
    for step in range(30):
        network.quantise(step >= 20)
        y, x = np.indices((12, 12))
        phase = random.integers(0, 6, (8, 1, 1))
        stripes = ((x - y + phase) % 6 < 3) ^ (random.random((8, 12, 12)) < 0.02)
        loss = network(torch.from_numpy(stripes[..., None].astype(np.uint8))).mean()
        loss.backward()
        optimiser.step(5e-3)
        losses.append(loss.item())
    assert np.mean(losses[:3]) > 0.7
    assert np.mean(losses[-3:]) < 0.5
