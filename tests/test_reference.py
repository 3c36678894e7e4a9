"""An independent decoder, written from docs/FORMAT.md alone, restores what the codec writes."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import pixelcodec
import reference_decoder as reference
from coding import Samples, encode, random_network
from pixelcodec.engine import Engine
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.pixelcnn import Config
from pixelcodec.models.zoo import save_network

CONFIGS = {
    "mild": (Config(width=16, hidden=16, blocks=2, head=8, components=3), 1.0),
    "wild": (Config(width=16, hidden=16, blocks=2, head=8, components=3), 3.0),
    "odd": (Config(width=5, hidden=7, blocks=3, head=3, components=7), 4.0),
    "flat": (Config(width=4, hidden=1, blocks=0, head=2, components=1), 2.0),
}
"""Networks by name, each with its gain: see :func:`coding.random_network`."""

SIZES = [(1, 1), (1, 19), (19, 1), (2, 2), (5, 7), (17, 13)]


@dataclass(frozen=True)
class Coded:
    """A network, ready to encode, and its file."""

    network: IntegerNetwork
    engine: Engine
    path: Path

    def check(self, image: Samples, strip_rows: int, restart: bool = False) -> None:
        """Assert that the reference decoder restores ``image``."""
        data = encode(image, self.network, self.engine, strip_rows, restart)
        decoded = reference.decode(data, self.path)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, image)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Coded]:
    """The networks of CONFIGS."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, (config, gain) in CONFIGS.items():
        network = random_network(config, seed=1, gain=gain)
        save_network(network, folder / f"{name}.safetensors")
        found[name] = Coded(network, Engine(network), folder / f"{name}.safetensors")
    return found


def noise(shape: tuple[int, ...]) -> Samples:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def smooth(shape: tuple[int, ...]) -> Samples:
    """A slope that passes from 255 to 0 a few times, and differs from channel to channel."""
    steps = (5, 3, 40)[: len(shape)]
    return np.tensordot(steps, np.indices(shape), 1).astype(np.uint8)


def extreme(shape: tuple[int, ...]) -> Samples:
    return np.where(noise(shape) < 128, np.uint8(0), np.uint8(255))


def black(shape: tuple[int, ...]) -> Samples:
    return np.zeros(shape, np.uint8)


def white(shape: tuple[int, ...]) -> Samples:
    return np.full(shape, 255, np.uint8)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "rgb"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("content", [noise, smooth, extreme, black, white])
def test_every_kind_of_image(
    coded: dict[str, Coded],
    content: Callable[[tuple[int, ...]], Samples],
    name: str,
    size: tuple[int, int],
    channels: tuple[int, ...],
) -> None:
    coded[name].check(content((*size, *channels)), strip_rows=65535)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "rgb"])
@pytest.mark.parametrize("restart", [False, True], ids=["joined", "restart"])
@pytest.mark.parametrize("strip_rows", [1, 2, 3, 4, 16, 17, 18])
def test_every_kind_of_strip(
    coded: dict[str, Coded], strip_rows: int, restart: bool, channels: tuple[int, ...]
) -> None:
    coded["wild"].check(noise((17, 13, *channels)), strip_rows, restart)


def test_wider_than_what_decoding_holds_at_once(coded: dict[str, Coded]) -> None:
    coded["wild"].check(smooth((3, 150, 3)), strip_rows=2)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_small_images(coded: dict[str, Coded], data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape = (*size, *data.draw(st.sampled_from([(), (3,)])))
    levels = data.draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 1, 254, 255])]))
    image = data.draw(arrays.arrays(np.uint8, shape, elements=levels))
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    coded[name].check(image, data.draw(st.integers(1, 10)), data.draw(st.booleans()))


def test_the_public_functions_write_the_same(coded: dict[str, Coded]) -> None:
    model = coded["wild"]
    image = noise((17, 13, 3))
    data = pixelcodec.encode(image, model=str(model.path), strip_rows=5)
    assert data == encode(image, model.network, model.engine, strip_rows=5)
    np.testing.assert_array_equal(reference.decode(data, model.path.read_bytes()), image)


def test_limits_and_ends_of_tables_are_met(
    coded: dict[str, Coded], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[reference.Distribution] = []
    distribution = reference.Strip.distribution

    def spy(self: reference.Strip, pixel: reference.Pixel, c: int) -> reference.Distribution:
        met.append(distribution(self, pixel, c))
        return met[-1]

    monkeypatch.setattr(reference.Strip, "distribution", spy)
    for content in (noise, smooth, extreme):
        coded["wild"].check(content((9, 14, 3)), strip_rows=4)
    assert {0, 79} < {scale for found in met for scale in found.scales}
    assert {-128, 4208} < {mean for found in met for mean in found.means}
    assert {0, 1024} < {weight for found in met for weight in found.weights}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_hash_of_the_model(coded: dict[str, Coded], name: str) -> None:
    found = reference.Network(coded[name].path.read_bytes())
    assert found.sha256.hex() == coded[name].network.sha256
    assert found.sha256[:8] == coded[name].network.model_id


def test_a_changed_model_is_refused(coded: dict[str, Coded]) -> None:
    file = bytearray(coded["mild"].path.read_bytes())
    file[-1] ^= 1
    with pytest.raises(ValueError, match="SHA-256 of the model"):
        reference.Network(bytes(file))


def test_another_model_is_refused(coded: dict[str, Coded]) -> None:
    model = coded["mild"]
    data = encode(noise((2, 2)), model.network, model.engine, strip_rows=2)
    with pytest.raises(ValueError, match="another model"):
        reference.decode(data, coded["wild"].path)


def test_unknown_ancillary_chunks_are_skipped(coded: dict[str, Coded]) -> None:
    model = coded["mild"]
    image = noise((2, 2))
    data = encode(image, model.network, model.engine, strip_rows=2)
    note = b"x\4\0\0\0note"
    data = data[:34] + note + zlib.crc32(note).to_bytes(4, "little") + data[34:]
    np.testing.assert_array_equal(reference.decode(data, model.path), image)
