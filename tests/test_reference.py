"""An independent decoder, written from docs/FORMAT.md alone, restores what the codec writes."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec
import reference_decoder as reference
from coding import Samples, encode, randomised
from pixelcodec.engine import Engine
from pixelcodec.exact import Arithmetic
from pixelcodec.models import lstm
from pixelcodec.models.architectures import make_config, make_float_network
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.zoo import save_network


def random_network(architecture: str, gain: float, **config: int) -> IntegerNetwork:
    """A random network, see :func:`coding.randomised`."""
    values = make_config(architecture, config)
    return randomised(
        lambda: make_float_network(architecture, values), seed=1, gain=gain
    ).integer_network()


def unmasked(network: IntegerNetwork) -> IntegerNetwork:
    """With weights for what is not known yet, too, as no training makes them."""
    random = torch.Generator().manual_seed(1)

    def full(weight: torch.Tensor) -> torch.Tensor:
        return torch.randint(-9, 10, weight.shape, generator=random, dtype=torch.int8)

    layers = {k: replace(v, weight=full(v.weight)) for k, v in network.layers.items()}
    return replace(network, layers=layers)


wavefront, pixelcnn, row_lstm, diagonal_bilstm, multi_scale = (
    partial(random_network, architecture)
    for architecture in (
        "wavefront-pixelcnn-1",
        "pixelcnn-1",
        "row-lstm-1",
        "diagonal-bilstm-1",
        "multi-scale-row-lstm-1",
    )
)

MAKE_WAVEFRONT: dict[str, Callable[[], IntegerNetwork]] = {
    "mild": lambda: wavefront(1.0, width=16, hidden=16, blocks=2, head=8, components=3),
    "wild": lambda: wavefront(3.0, width=16, hidden=16, blocks=2, head=8, components=3),
    "odd": lambda: wavefront(4.0, width=5, hidden=7, blocks=3, head=3, components=7),
    "flat": lambda: wavefront(2.0, width=4, hidden=1, blocks=0, head=2, components=1),
}
"""Networks by name; they code images of 1 and 3 channels."""


def make_paper(
    prefix: str, make: Callable[..., IntegerNetwork]
) -> dict[str, Callable[[], IntegerNetwork]]:
    """Networks of an architecture of the paper, which ``make`` makes, by names with a prefix."""
    return {
        f"{prefix}rgb": lambda: make(2.0, hidden=7, layers=2, head=5),
        f"{prefix}rgb-skip": lambda: make(
            3.0, hidden=4, layers=2, head=3, residual=False, skip=True
        ),
        f"{prefix}rgb-unmasked": lambda: unmasked(make(1.0, hidden=5, layers=2, head=4, skip=True)),
        f"{prefix}gray": lambda: make(2.0, channels=1, hidden=6, layers=1, head=7),
        f"{prefix}gray-flat": lambda: make(4.0, channels=1, hidden=3, layers=0, head=4, skip=True),
        f"{prefix}bilevel": lambda: make(
            2.0, channels=1, bit_depth=1, hidden=5, layers=2, head=3, skip=True
        ),
        f"{prefix}rgb-bits": lambda: make(
            2.0, channels=3, bit_depth=1, hidden=4, layers=1, head=3, residual=False
        ),
    }


MAKE = {
    **MAKE_WAVEFRONT,
    **make_paper("", pixelcnn),
    **make_paper("row-", row_lstm),
    **make_paper("diagonal-", diagonal_bilstm),
    **make_paper("scales-", partial(multi_scale, step=2, maps=3)),
    "scales-rgb-of-4": lambda: multi_scale(2.0, hidden=4, layers=1, head=3, step=4, maps=5),
    "scales-bilevel-of-4": lambda: multi_scale(
        2.0, channels=1, bit_depth=1, hidden=3, layers=1, head=3, step=4, maps=4
    ),
}
"""Networks by name."""

KINDS = [(name, channels) for name in MAKE_WAVEFRONT for channels in (1, 3)] + [
    (name, 3 if "rgb" in name else 1) for name in MAKE if name not in MAKE_WAVEFRONT
]
"""Each network with the channels of images that it codes."""

FEW_KINDS = [
    ("wild", 1),
    ("wild", 3),
    ("rgb", 3),
    ("bilevel", 1),
    ("row-rgb-bits", 3),
    ("diagonal-rgb-bits", 3),
    ("scales-rgb-bits", 3),
    ("scales-bilevel-of-4", 1),
]

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 10)]

ANY_ROWS = 65532
"""Of a strip: more than images have here, and a multiple of all steps."""


@dataclass(frozen=True)
class Coded:
    """A network, ready to encode, and its file."""

    network: IntegerNetwork
    engine: Engine
    path: Path

    @property
    def step(self) -> int:
        """Rows of strips, and sides of tiles, are multiples of it."""
        return self.engine.coarsest_step

    def check(
        self,
        content: "Content",
        size: tuple[int, int],
        channels: int,
        strip_rows: int,
        restart: bool = False,
        tile: int = 0,
    ) -> None:
        """Assert that the reference decoder restores an image of such ``content``."""
        image = content((*size, 3) if channels == 3 else size)
        if self.engine.program.bit_depth == 1:
            image = (image >= 128).astype(np.uint8)
        data = encode(image, self.network, self.engine, strip_rows, restart, tile)
        decoded = reference.decode(data, self.path)
        np.testing.assert_array_equal(decoded, image, strict=True)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Coded]:
    """The networks of MAKE."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, make in MAKE.items():
        network = make()
        save_network(network, folder / f"{name}.safetensors")
        found[name] = Coded(network, Engine(network), folder / f"{name}.safetensors")
    return found


Content = Callable[[tuple[int, ...]], Samples]
"""From the shape of an image to its samples of 8 bits; those of 1 bit are their highest."""


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


CONTENTS: list[Content] = [smooth, extreme, black, white]
"""Noise is in all other tests."""


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("name", "channels"), KINDS)
def test_every_kind_of_content(
    coded: dict[str, Coded], name: str, channels: int, content: Content
) -> None:
    coded[name].check(content, (5, 9), channels, ANY_ROWS)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("name", "channels"), KINDS)
def test_every_size(
    coded: dict[str, Coded], name: str, channels: int, size: tuple[int, int]
) -> None:
    coded[name].check(noise, size, channels, ANY_ROWS)


@pytest.mark.parametrize(("name", "channels"), FEW_KINDS)
@pytest.mark.parametrize("restart", [False, True], ids=["joined", "restart"])
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9, 10])
def test_every_kind_of_strip(
    coded: dict[str, Coded], steps: int, restart: bool, name: str, channels: int
) -> None:
    model = coded[name]
    model.check(noise, (9, 7), channels, steps * model.step, restart)


@pytest.mark.parametrize(("name", "channels"), FEW_KINDS)
@pytest.mark.parametrize(
    ("side", "steps", "restart"),
    [
        (1, 1, False),
        (1, 3, False),
        (4, 4, False),
        (4, 8, False),
        (4, 8, True),
        (5, 20, False),
        (7, 7, False),
        (9, 9, False),
        (40, 40, False),
    ],
)
def test_every_kind_of_tile(
    coded: dict[str, Coded], side: int, steps: int, restart: bool, name: str, channels: int
) -> None:
    model = coded[name]
    model.check(noise, (9, 7), channels, steps * model.step, restart, side * model.step)


@pytest.mark.parametrize("name", ["bilevel", "diagonal-bilevel", "scales-bilevel"])
def test_more_tiles_than_a_stack_holds(coded: dict[str, Coded], name: str) -> None:
    coded[name].check(noise, (2, 1030), channels=1, strip_rows=100, tile=2)


@pytest.mark.parametrize(("name", "channels"), FEW_KINDS)
def test_wider_than_what_decoding_holds_at_once(
    coded: dict[str, Coded], name: str, channels: int
) -> None:
    model = coded[name]
    model.check(smooth, (3, 70), channels, strip_rows=max(2, model.step))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_small_images(coded: dict[str, Coded], data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    name, channels = data.draw(st.sampled_from(KINDS))
    model = coded[name]
    tile = data.draw(st.integers(0, 6)) * model.step
    strip_rows = data.draw(st.integers(1, 10)) * (tile or model.step)
    levels = data.draw(st.sampled_from([range(256), [0, 1, 254, 255], [127, 128]]))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))

    def content(shape: tuple[int, ...]) -> Samples:
        return random.choice(np.array(levels, np.uint8), shape)

    model.check(content, size, channels, strip_rows, data.draw(st.booleans()), tile)


@pytest.mark.parametrize(
    "name", ["wild", "gray", "bilevel", "row-rgb", "diagonal-gray", "scales-rgb", "scales-bilevel"]
)
@pytest.mark.parametrize("side", [0, 3])
def test_the_public_functions_write_the_same(coded: dict[str, Coded], name: str, side: int) -> None:
    model = coded[name]
    image = noise((10, 7) if model.engine.program.channels == (1,) else (10, 7, 3))
    image = image >= 128 if name.endswith("bilevel") else image
    strip_rows, tile = 3 * model.step, side * model.step
    data = pixelcodec.encode(image, model=str(model.path), strip_rows=strip_rows, tile=tile)
    assert data == encode(image, model.network, model.engine, strip_rows, tile=tile)
    np.testing.assert_array_equal(reference.decode(data, model.path.read_bytes()), image)


def test_limits_and_ends_of_tables_are_met(
    coded: dict[str, Coded], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[reference.Mixture] = []
    distribution = reference.WavefrontPixelCNN.distribution

    def spy(
        self: reference.WavefrontPixelCNN, pixel: reference.WavefrontPixel, c: int
    ) -> reference.Mixture:
        met.append(distribution(self, pixel, c))
        return met[-1]

    monkeypatch.setattr(reference.WavefrontPixelCNN, "distribution", spy)
    for content in (noise, smooth, extreme):
        coded["wild"].check(content, (9, 14), channels=3, strip_rows=4)
    assert {0, 79} < {scale for found in met for scale in found.scales}
    assert {-128, 4208} < {mean for found in met for mean in found.means}
    assert {0, 1024} < {weight for found in met for weight in found.weights}


def test_ends_of_a_softmax_are_met(
    coded: dict[str, Coded], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[list[int]] = []
    logits = reference.PaperNetwork.logits

    def spy(self: reference.PaperNetwork, pixel: reference.Pixel, g: int) -> list[int]:
        met.append(logits(self, pixel, g))
        return met[-1]

    monkeypatch.setattr(reference.PaperNetwork, "logits", spy)
    coded["rgb-skip"].check(extreme, (9, 14), channels=3, strip_rows=4)
    ranges = [max(found) - min(found) for found in met]
    assert min(ranges) < 511 < max(ranges)


def test_cells_step_alike_at_their_limits_and_beyond_their_tables(coded: dict[str, Coded]) -> None:
    random = np.random.default_rng(1)
    sampled = random.integers(-1300, 1300, (4, 2000)), random.integers(-32767, 32768, 2000)
    corners = np.array(list(product(*[[-1025, -1024, 1023, 1024]] * 4, [-32767, 0, 32767]))).T
    gates = np.concatenate([sampled[0], corners[:4]], 1).flatten()
    before = np.concatenate([sampled[1], corners[4]])

    model = coded["row-gray"]
    values, states = reference.Cells(reference.Network(model.path.read_bytes()))(gates, before)

    tables = lstm.ready_tables(model.network.tables, torch.device("cpu"))
    expected = Arithmetic(torch.device("cpu"), "int64").lstm(
        torch.from_numpy(gates[None]).int(), torch.from_numpy(before[None]).short(), tables
    )
    np.testing.assert_array_equal(states, expected[0][0])
    np.testing.assert_array_equal(values, expected[1][0])
    assert (values.min(), values.max()) == (-32767, 32767)
    assert (states.min(), states.max()) == (-127, 127)


@pytest.mark.parametrize("name", MAKE)
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


def test_a_sample_of_1_bit_is_0_or_1(coded: dict[str, Coded]) -> None:
    model = coded["bilevel"]
    data = encode(np.full((2, 2), 2, np.uint8), model.network, model.engine, strip_rows=2)
    with pytest.raises(ValueError, match="a branch that never occurs"):
        reference.decode(data, model.path)


def chunk(tag: bytes, payload: bytes) -> bytes:
    """A chunk of a stream."""
    content = tag + len(payload).to_bytes(4, "little") + payload
    return content + zlib.crc32(content).to_bytes(4, "little")


def test_unknown_ancillary_chunks_are_skipped(coded: dict[str, Coded]) -> None:
    for name in ("mild", "scales-bilevel"):
        model = coded[name]
        image = noise((2, 2)) & 1
        data = encode(image, model.network, model.engine, strip_rows=2)
        for place in (36, len(data) - 13):
            changed = data[:place] + chunk(b"x", b"note") + data[place:]
            np.testing.assert_array_equal(reference.decode(changed, model.path), image)


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("bilevel", 1, "other parts than the model has scales"),
        ("scales-bilevel", 1, "other parts than the model has scales"),
        ("scales-bilevel", 7, "more parts than a strip has"),
    ],
)
def test_a_strip_of_more_parts_is_refused(
    coded: dict[str, Coded], name: str, parts: int, message: str
) -> None:
    model = coded[name]
    data = encode(noise((2, 2)) & 1, model.network, model.engine, strip_rows=2)
    with pytest.raises(ValueError, match=message):
        reference.decode(data[:36] + parts * chunk(b"P", b"") + data[36:], model.path)


def test_a_strip_without_its_last_part_is_refused(coded: dict[str, Coded]) -> None:
    model = coded["scales-bilevel"]
    data = encode(noise((1, 1)) & 1, model.network, model.engine, strip_rows=2)
    last = chunk(b"S", b"")  # codes no pixel
    assert last in data
    with pytest.raises(ValueError, match="fewer strips than the image has"):
        reference.decode(data.replace(last, b""), model.path)


@pytest.mark.parametrize(("strip_rows", "tile"), [(5, 0), (6, 6), (8, 2)])
def test_strips_and_tiles_that_cut_pixels_of_the_coarsest_scale_are_refused(
    coded: dict[str, Coded], strip_rows: int, tile: int
) -> None:
    model = coded["scales-bilevel-of-4"]
    data = encode(noise((4, 4)) & 1, model.network, model.engine, strip_rows=4)
    head = data[:20] + struct.pack("<HH", strip_rows, tile) + data[24:32]
    changed = head + zlib.crc32(head).to_bytes(4, "little") + data[36:]
    with pytest.raises(ValueError, match="strip rows or tile that the model does not have"):
        reference.decode(changed, model.path)
