"""Changes of a model to bytes and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from pixelcodec import adaptation
from pixelcodec.errors import FormatError, ModelError
from pixelcodec.models.changes import Change, changed, changes_between, parts_of
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.wavefront_pixelcnn import Config, WavefrontPixelCNN


def network(seed: int = 0) -> IntegerNetwork:
    torch.manual_seed(seed)
    return WavefrontPixelCNN(Config(8, 8, 1, 8, 2)).integer_network()


NETWORK = network()


def changes_of_chance(rng: Generator, share: float, reach: int) -> list[Change]:
    """Changes of half of the parts; of their values about ``share`` are not 0."""
    found = []
    for layer, part, before in parts_of(NETWORK):
        if rng.random() < 0.5:
            continue
        values = rng.integers(-reach, reach + 1, tuple(before.shape))
        values *= rng.random(values.shape) < share
        shift = int(rng.integers(0, 16)) if part == "bias" else 0
        if part == "weight":
            room = 127 - abs(before.numpy().astype(np.int64))
            values = np.clip(values, -room, room)
        found.append(Change(layer, part, shift, values.astype(np.int8)))
    return found


def tensors_equal(one: IntegerNetwork, other: IntegerNetwork) -> bool:
    return one.sha256 == other.sha256


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    reach=st.sampled_from([1, 3, 127]),
)
def test_a_network_changes_as_its_packed_changes_say(seed: int, share: float, reach: int) -> None:
    changes = changes_of_chance(np.random.default_rng(seed), share, reach)
    data = adaptation.pack(NETWORK, changes)
    assert tensors_equal(adaptation.adapted(NETWORK, data), changed(NETWORK, changes))


def test_no_changes_are_a_byte_for_each_part() -> None:
    data = adaptation.pack(NETWORK, [])
    assert data == bytes(len(list(parts_of(NETWORK))))
    assert adaptation.adapted(NETWORK, data).sha256 == NETWORK.sha256


@pytest.mark.parametrize(("share", "most"), [(0.02, 0.2), (0.1, 0.65), (1.0, 1.75)])
def test_few_and_small_changes_take_few_bits(share: float, most: float) -> None:
    rng = np.random.default_rng(1)
    layer, part, before = max(parts_of(NETWORK), key=lambda of: of[2].numel())
    values = rng.choice([-1, 1], tuple(before.shape)) * (rng.random(tuple(before.shape)) < share)
    if share == 1.0:
        values = rng.integers(-1, 2, tuple(before.shape))
    empty = len(adaptation.pack(NETWORK, []))
    data = adaptation.pack(NETWORK, [Change(layer, part, 0, values.astype(np.int8))])
    assert 8 * (len(data) - empty) < most * values.size + 64


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=80))
def test_bytes_that_no_encoder_wrote_are_refused_or_make_a_network(data: bytes) -> None:
    try:
        found = adaptation.adapted(NETWORK, data)
    except FormatError:
        return
    found.check_like(NETWORK)
    assert all(int(layer.weight.abs().max()) <= 127 for layer in found.layers.values())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut off"),
        (bytes(3), "cut off"),
        (bytes(len(list(parts_of(NETWORK)))) + b"abc", "words"),
        (
            b"\x01\0\0" + bytes(len(list(parts_of(NETWORK))) - 1) + b"\xff" * 8,
            "^damaged changes of the model: range-coder words that no encoder writes$",
        ),
        (b"\x11\0\0" + bytes(len(list(parts_of(NETWORK))) - 1), "no encoder writes"),
        (b"\x01\xff\0" + bytes(len(list(parts_of(NETWORK))) - 1), "no encoder writes"),
    ],
)
def test_the_reason_is_given(data: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        adaptation.adapted(NETWORK, data)


def test_weights_stay_in_their_range() -> None:
    layer, part, before = next(of for of in parts_of(NETWORK) if of[1] == "weight")
    values = np.full(tuple(before.shape), 127, np.int8)
    with pytest.raises(ModelError, match="more than 127"):
        changed(NETWORK, [Change(layer, part, 0, values)])


def test_the_difference_of_two_networks_is_what_makes_one_of_the_other() -> None:
    changes = changes_of_chance(np.random.default_rng(3), 0.3, 3)
    other = changed(NETWORK, changes)
    shifts = {(change.layer, change.part): change.shift for change in changes}
    found = changes_between(NETWORK, other, shifts)
    assert changed(NETWORK, found).sha256 == other.sha256
