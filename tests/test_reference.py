"""An independent decoder, written from docs/FORMAT.md alone, restores what the codec writes."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pixelcodec
import reference_decoder as reference
from coding import Samples, encode, ignore, randomised
from pixelcodec import container
from pixelcodec.effort import STATIC
from pixelcodec.engine import Engine
from pixelcodec.errors import FormatError
from pixelcodec.exact import Arithmetic
from pixelcodec.models import lstm
from pixelcodec.models.architectures import make_config, make_float_network
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.zoo import save_network
from pixelcodec.pictures import Chunk, Picture
from pixelcodec.pictures import png as png_file
from pixelcodec.pictures.png import deflated
from pixelcodec.stream import crc_of
from pixelcodec.strips import Engines, ImageDecoder, ImageEncoder
from robustness.mutations import chunk, joined, mended, payload_of, sealed, split


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
        f"{prefix}rgb-plain": lambda: make(
            2.0, channels=3, hidden=4, layers=1, head=3, residual=False
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
    ("row-rgb-plain", 3),
    ("diagonal-rgb-plain", 3),
    ("scales-rgb-plain", 3),
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
    how = {"strip_rows": strip_rows, "tile": tile, "effort": STATIC}
    data = pixelcodec.encode(image, model=str(model.path), **how)
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


def test_unknown_ancillary_chunks_are_skipped(coded: dict[str, Coded]) -> None:
    for name in ("mild", "scales-bilevel"):
        model = coded[name]
        image = noise((2, 2)) & 1
        data = encode(image, model.network, model.engine, strip_rows=2)
        for place in (36, len(data) - 13):
            changed = sealed(data[:place] + chunk(b"x", b"note") + data[place:])
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
        reference.decode(sealed(data[:36] + parts * chunk(b"P", b"") + data[36:]), model.path)


def test_a_strip_without_its_last_part_is_refused(coded: dict[str, Coded]) -> None:
    model = coded["scales-bilevel"]
    data = encode(noise((1, 1)) & 1, model.network, model.engine, strip_rows=2)
    *pieces, last, end = split(data)
    assert payload_of(last) == b""  # codes no pixel
    with pytest.raises(ValueError, match="fewer strips than the image has"):
        reference.decode(joined([*pieces, end]), model.path)


@pytest.mark.parametrize(("strip_rows", "tile"), [(5, 0), (6, 6), (8, 2)])
def test_strips_and_tiles_that_cut_pixels_of_the_coarsest_scale_are_refused(
    coded: dict[str, Coded], strip_rows: int, tile: int
) -> None:
    model = coded["scales-bilevel-of-4"]
    data = encode(noise((4, 4)) & 1, model.network, model.engine, strip_rows=4)
    head = data[:20] + struct.pack("<HH", strip_rows, tile) + data[24:32]
    changed = sealed(mended(head + bytes(4)) + data[36:])
    with pytest.raises(ValueError, match="strip rows or tile that the model does not have"):
        reference.decode(changed, model.path)


# Images of all kinds ------------------------------------------------------------------------------

COLOURS_AND_DEPTHS = [
    *((1, bit_depth) for bit_depth in (1, 2, 4, 8, 16)),
    *((channels, bit_depth) for channels in (2, 3, 4) for bit_depth in (8, 16)),
]


@st.composite
def pictures(draw: st.DrawFn, channels: int, bit_depth: int, largest: int = 9) -> Picture:
    """Noise, or few levels, or all alike, maybe opaque, with any metadata."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    top = (1 << bit_depth) - 1
    levels = draw(st.sampled_from([range(1), range(0, top + 1, top), range(top + 1)]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    samples = random.choice(np.array(levels), (height, width, channels))
    samples = samples.astype(np.uint16 if bit_depth == 16 else np.uint8)
    if draw(st.booleans()):
        samples[:, :, -1] = top
    chunks = draw(metadata())
    if channels != 2 and (channels, bit_depth) != (1, 16) and draw(st.booleans()):
        chunks = (Chunk(b"PLTE", bytes(3 * draw(st.integers(1, 256)))), *chunks)
    return Picture(samples, bit_depth, chunks)


@st.composite
def metadata(draw: st.DrawFn) -> tuple[Chunk, ...]:
    """Some chunks before the pixels, some after."""
    types = st.sampled_from([b"tRNS", b"iCCP", b"tEXt", b"prVt"])
    data = st.binary(max_size=5) | st.integers(0, 999).map(bytes)
    found = st.lists(st.tuples(types, data), max_size=2)
    before, after = draw(found), draw(found)
    return *(Chunk(*each) for each in before), *(Chunk(*each, after=True) for each in after)


@st.composite
def strips(draw: st.DrawFn, step: int = 1) -> dict[str, Any]:
    """Any strips, for models of such a ``step``."""
    tile = step * draw(st.integers(0, 4))
    strip_rows = draw(st.integers(1, 9)) * (tile or step)
    return {"strip_rows": strip_rows, "tile": tile, "restart": draw(st.booleans())}


def check_picture(data: bytes, picture: Picture, *files: Path) -> None:
    """Assert that the reference decoder restores ``picture``."""
    samples = picture.samples if picture.channels > 1 else picture.samples[:, :, 0]
    np.testing.assert_array_equal(reference.decode(data, *files), samples, strict=True)
    found = [Chunk(*chunk) for chunk in reference.read_stream(data).metadata]
    assert tuple(found) == picture.chunks


@pytest.mark.parametrize(("channels", "bit_depth"), COLOURS_AND_DEPTHS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_pictures_without_a_model(channels: int, bit_depth: int, data: st.DataObject) -> None:
    picture = data.draw(pictures(channels, bit_depth))
    stream = pixelcodec.encode(picture, model="standard", **data.draw(strips()))
    check_picture(stream, picture)
    assert pixelcodec.decode_picture(stream) == picture


@pytest.mark.parametrize(
    ("name", "channels", "bit_depth"),
    [
        *(("flat", channels, 8) for channels in (1, 2, 3, 4)),
        ("gray", 2, 8),
        ("row-rgb", 4, 8),
        ("scales-gray", 2, 8),
        ("scales-rgb", 4, 8),
        ("scales-bilevel", 1, 1),
    ],
)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_pictures_with_a_model_of_the_colours(
    coded: dict[str, Coded], name: str, channels: int, bit_depth: int, data: st.DataObject
) -> None:
    model = coded[name]
    picture = data.draw(pictures(channels, bit_depth, largest=6))
    how = data.draw(strips(model.step))
    stream = pixelcodec.encode(picture, model=str(model.path), **how)
    check_picture(stream, picture, model.path)
    assert pixelcodec.decode_picture(stream, model=str(model.path)) == picture


@pytest.mark.parametrize(
    ("colours", "alpha", "channels"),
    [
        ("flat", "flat", 2),
        ("flat", "gray", 4),
        ("scales-rgb", "row-gray", 4),
        ("diagonal-gray", "scales-gray", 2),
        ("scales-rgb-of-4", "scales-gray", 4),
        (None, "scales-gray", 4),
        (None, None, 2),
    ],
)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_two_components_by_any_models(
    coded: dict[str, Coded],
    colours: str | None,
    alpha: str | None,
    channels: int,
    data: st.DataObject,
) -> None:
    models = [coded[name] if name else None for name in (colours, alpha)]
    ids = [model.network.model_id if model else container.STANDARD for model in models]
    engines = {model.network.model_id: model.engine for model in models if model}
    picture = data.draw(pictures(channels, 8, largest=6))
    header = container.Header(
        *(picture.width, picture.height, channels, 8),
        model_id=ids[0],
        alpha_id=ids[1],
        **data.draw(strips(lcm(*(model.step for model in models if model)))),
    )
    stream = written_by_components(header, picture.samples, engines)
    files = [model.path for model in models if model]
    np.testing.assert_array_equal(reference.decode(stream, *files), picture.samples)
    np.testing.assert_array_equal(read_by_components(stream, engines), picture.samples)


def written_by_components(header: container.Header, samples: Samples, engines: Engines) -> bytes:
    """The stream of an image whose components any ``engines`` code."""
    stream = io.BytesIO()
    writer, encoder = container.Writer(stream, header), ImageEncoder(header, engines)
    for top in range(0, header.height, header.strip_rows):
        writer.strip(*encoder.encode(samples[top : top + header.strip_rows], ignore))
    writer.close(crc_of(samples))
    return stream.getvalue()


def read_by_components(data: bytes, engines: Engines) -> Samples:
    """The image in such a stream."""
    reader = container.Reader(io.BytesIO(data))
    decoder = ImageDecoder(reader.start, engines)
    parts = [part.payload for part in reader]
    found = [
        decoder.decode(parts[first : first + decoder.parts], reader.header.strip_height(i), ignore)
        for i, first in enumerate(range(0, len(parts), decoder.parts))
    ]
    return np.concatenate(found)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_filters_of_png_are_met(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    met = set()
    unfiltered = reference.unfiltered

    def spy(how: int, row: bytes, above: bytes, step: int) -> bytes:
        met.add(how)
        return unfiltered(how, row, above, step)

    monkeypatch.setattr(reference, "unfiltered", spy)
    slopes = np.cumsum(noise((40, 30)) % 4, 1) + np.cumsum(noise((40, 1)) % 32, 0)
    samples: Samples = np.where(np.arange(40)[:, None] % 5 == 1, noise((40, 30)), slopes).astype(
        dtype
    )
    samples *= np.iinfo(dtype).max // 255
    picture = Picture.from_array(samples)
    strip = deflated(png_file.write(picture))
    data = stream_of(picture.samples, strip, bit_depth=picture.bit_depth)
    check_picture(data, picture)
    assert met == {0, 1, 2, 3, 4}


# What both decoders refuse, and what they do not --------------------------------------------------

RGBA = noise((5, 7, 4))
RGB, GRAY_ALPHA, GRAY = RGBA[:, :, :3], RGBA[:, :, :2], RGBA[:, :, :1]
DOT = RGBA[:1, :1, :1]
OPAQUE = RGBA.copy()
OPAQUE[:, :, 3] = 255
GRAY_AS_RGB = np.repeat(GRAY, 3, 2)
SIXTEEN_BITS = GRAY.astype(np.uint16)


def stream_of(
    samples: Samples,
    *strip: bytes,
    metadata: bytes = b"",
    bit_depth: int = 8,
    colour: int | None = None,
    flags: int | None = None,
    ids: bytes = bytes(8),
) -> bytes:
    """A stream of one strip, with all its CRCs right, whatever it holds.

    ``metadata``: all chunks that stand before the strip.
    """
    height, width, channels = samples.shape
    flags = 4 * bool(metadata) if flags is None else flags
    fields = struct.pack("<4B", 1, channels if colour is None else colour, bit_depth, flags)
    head = reference.MAGIC + fields + struct.pack("<2I2H", width, height, height, 0) + ids
    *before, last = strip
    return sealed(
        b"".join(
            [
                mended(head + bytes(4)),
                metadata,
                *(chunk(b"P", part) for part in before),
                chunk(b"S", last),
                chunk(b"E", crc_of(samples).to_bytes(4, "little")),
            ]
        )
    )


def file_of(samples: Samples, format: str, **options: Any) -> bytes:
    """An image file as Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples).save(
        buffer, format, **options
    )
    return buffer.getvalue()


def png(samples: Samples) -> bytes:
    """What codes a strip as a PNG does."""
    return deflated(file_of(samples, "PNG"))


def webp(samples: Samples) -> bytes:
    """What codes a strip as a WebP does."""
    file = file_of(samples, "WEBP", lossless=True, exact=True)
    assert file[12:16] == b"VP8L"
    return file[20 : 20 + int.from_bytes(file[16:20], "little")]


def rows_of_rgb(change: Callable[[bytes], bytes]) -> bytes:
    """A PNG whose rows, with their filters, are changed."""
    return zlib.compress(change(zlib.decompress(PNG_OF_RGB)))


def record(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of metadata."""
    return struct.pack("<I4s", len(data), kind) + data


def raw(*records: bytes) -> bytes:
    return chunk(b"M", b"".join(records))


TEXT, PIXELS, PALETTE = record(b"tEXt", b"a\0b"), record(b"IDAT"), record(b"PLTE", bytes(6))
PNG_OF_RGB, PNG_OF_GRAY = png(RGB), png(GRAY)
LONG = bytes(2**26 - len(record(b"prVt")))


@pytest.mark.parametrize(
    ("samples", "strip", "how"),
    [
        pytest.param(GRAY, [PNG_OF_GRAY], {}, id="gray"),
        pytest.param(GRAY_ALPHA, [png(GRAY_ALPHA)], {}, id="gray with alpha"),
        pytest.param(RGB, [png(RGB)], {}, id="RGB"),
        pytest.param(RGBA, [png(RGBA)], {}, id="RGBA"),
        pytest.param(RGB, [webp(RGB)], {}, id="WebP"),
        pytest.param(RGBA, [webp(RGBA)], {}, id="WebP with alpha"),
        pytest.param(OPAQUE, [webp(RGB)], {}, id="opaque WebP"),
        pytest.param(GRAY, [webp(GRAY_AS_RGB)], {}, id="WebP of gray"),
        pytest.param(GRAY & 15, [webp(GRAY_AS_RGB & 15)], {"bit_depth": 4}, id="WebP of 4 bits"),
        pytest.param(
            GRAY_ALPHA,
            [webp(np.dstack([GRAY_AS_RGB, GRAY_ALPHA[:, :, 1:]]))],
            {},
            id="WebP of gray, alpha",
        ),
        pytest.param(
            GRAY_ALPHA,
            [PNG_OF_GRAY, png(GRAY_ALPHA[:, :, 1:])],
            {"flags": 2, "ids": bytes(16)},
            id="two components",
        ),
        pytest.param(GRAY, [PNG_OF_GRAY], {"metadata": raw(PALETTE, TEXT)}, id="palette"),
        pytest.param(RGB, [webp(RGB) + b"more"], {}, id="bytes after a WebP"),
        pytest.param(RGB, [PNG_OF_RGB], {"metadata": raw(PALETTE, PIXELS, TEXT)}, id="after"),
        pytest.param(RGBA, [png(RGBA)], {"metadata": raw(PALETTE)}, id="suggested palette"),
        pytest.param(RGB, [PNG_OF_RGB], {"metadata": raw(), "flags": 4}, id="empty metadata"),
        pytest.param(RGB, [PNG_OF_RGB], {"metadata": raw(TEXT, PIXELS)}, id="none after"),
        pytest.param(
            RGB,
            [PNG_OF_RGB],
            {"metadata": chunk(b"Z", zlib.compress(record(b"prVt", LONG)))},
            id="longest metadata",
        ),
        pytest.param(
            RGB, [PNG_OF_RGB], {"metadata": raw(TEXT) + chunk(b"x", b"")}, id="ancillary chunk"
        ),
    ],
)
def test_both_take(samples: Samples, strip: list[bytes], how: dict[str, Any]) -> None:
    data = stream_of(samples, *strip, **how)
    picture = pixelcodec.decode_picture(data)
    np.testing.assert_array_equal(picture.samples, samples)
    check_picture(data, picture)


BAD_HEADERS = {
    "changes of no model": {"flags": 8},
    "levels of 8 bits": {"bit_depth": 0x88},
    "levels of 4 bits": {"bit_depth": 0x84},
    "flag 4": {"flags": 16},
    "flag 7": {"flags": 128},
    "alpha of RGB": {"flags": 2, "ids": bytes(16)},
    "alpha without its id": {"flags": 2, "colour": 4},
    "an id of no alpha": {"ids": bytes(16)},
    "no colour": {"colour": 0},
    "5 colours": {"colour": 5},
    "no bits": {"bit_depth": 0},
    "3 bits": {"bit_depth": 3},
    "4 bits of RGB": {"bit_depth": 4},
    "32 bits": {"bit_depth": 32},
}

BAD_METADATA = {
    "the strip first": {"flags": 4},
    "an ancillary chunk first": {"metadata": chunk(b"x", b"") + raw(TEXT)},
    "no flag": {"metadata": raw(TEXT), "flags": 0},
    "twice": {"metadata": 2 * raw(TEXT)},
    "not deflated": {"metadata": chunk(b"Z", TEXT)},
    "a tail": {"metadata": chunk(b"Z", zlib.compress(TEXT) + b"\0")},
    "cut off": {"metadata": chunk(b"Z", zlib.compress(TEXT)[:-1])},
    "too long": {"metadata": chunk(b"Z", zlib.compress(record(b"prVt", LONG + b"\0")))},
    "half a head": {"metadata": raw(TEXT, TEXT[:7])},
    "half its data": {"metadata": raw(TEXT, TEXT[:-1])},
    "IHDR": {"metadata": raw(record(b"IHDR", bytes(13)))},
    "IEND": {"metadata": raw(record(b"IEND"))},
    "pixels": {"metadata": raw(record(b"IDAT", b"\0"))},
    "the place of the pixels twice": {"metadata": raw(PIXELS, TEXT, PIXELS)},
    "a type with a digit": {"metadata": raw(record(b"tEX1"))},
    "a type beyond ASCII": {"metadata": raw(record(b"tEX\xd6"))},
    "an animation": {"metadata": raw(record(b"acTL", bytes(8)))},
    "something critical": {"metadata": raw(record(b"QRSt"))},
    "something critical after": {"metadata": raw(PIXELS, record(b"QRSt"))},
    "two palettes": {"metadata": raw(PALETTE, PALETTE)},
    "a late palette": {"metadata": raw(PIXELS, PALETTE)},
    "an empty palette": {"metadata": raw(record(b"PLTE"))},
    "a palette of 257": {"metadata": raw(record(b"PLTE", bytes(771)))},
    "half a colour": {"metadata": raw(record(b"PLTE", bytes(4)))},
}

BAD_IMAGES: dict[str, tuple[Samples, list[bytes], dict[str, Any]]] = {
    "a palette of gray with alpha": (GRAY_ALPHA, [png(GRAY_ALPHA)], {"metadata": raw(PALETTE)}),
    "another height": (RGB, [png(RGBA[:4, :, :3])], {}),
    "another width": (RGB, [png(RGBA[:, :6, :3])], {}),
    "another WebP": (RGB, [webp(RGBA[:4, :, :3])], {}),
    "gray as RGB": (GRAY, [png(GRAY_AS_RGB)], {}),
    "RGB as gray": (GRAY_AS_RGB, [PNG_OF_GRAY], {}),
    "RGB with alpha": (RGB, [png(RGBA)], {}),
    "RGBA without alpha": (OPAQUE, [PNG_OF_RGB], {}),
    "8 bits of 16": (SIXTEEN_BITS, [PNG_OF_GRAY], {"bit_depth": 16}),
    "8 bits of 4": (GRAY & 15, [png(GRAY & 15)], {"bit_depth": 4}),
    "1 bit of 8": (GRAY & 1, [png((GRAY & 1).astype(bool))], {}),
    "a PNG cut off": (RGB, [PNG_OF_RGB[:-3]], {}),
    "a PNG of a row more": (RGB, [rows_of_rgb(lambda rows: rows + rows[-25:])], {}),
    "a PNG of a byte less": (RGB, [rows_of_rgb(lambda rows: rows[:-1])], {}),
    "a PNG of an unknown filter": (RGB, [rows_of_rgb(lambda rows: b"\5" + rows[1:])], {}),
    "a PNG that does not unfold": (RGB, [PNG_OF_RGB[:9] + bytes(9)], {}),
    "a whole PNG": (RGB, [file_of(RGB, "PNG")], {}),
    "a whole WebP": (RGB, [file_of(RGB, "WEBP", lossless=True)], {}),
    "a WebP with losses": (RGB, [file_of(RGB, "WEBP")[20:]], {}),
    "a WebP with alpha": (RGB, [webp(RGBA)], {}),
    "a WebP of colours as gray": (GRAY, [webp(RGB)], {}),
    "a WebP of colours as gray with alpha": (GRAY_ALPHA, [webp(RGBA)], {}),
    "a WebP with alpha as gray": (GRAY, [webp(np.dstack([GRAY_AS_RGB, GRAY]))], {}),
    "a WebP of 8 bits as 4": (GRAY, [webp(GRAY_AS_RGB)], {"bit_depth": 4}),
    "a WebP of 16 bits": (RGB.astype(np.uint16), [webp(RGB)], {"bit_depth": 16}),
    "a WebP cut off": (RGB, [webp(RGB)[:-20]], {}),
    "a WebP that is of no version": (RGB, [webp(RGB)[:4] + b"\xff" + webp(RGB)[5:]], {}),
    "a byte after a PNG": (RGB, [PNG_OF_RGB + b"\0"], {}),
    "a TIFF": (RGB, [file_of(RGB, "TIFF")], {}),
    "nothing": (RGB, [b""], {}),
    "two parts": (RGB, [PNG_OF_RGB, PNG_OF_RGB], {}),
    "one part of two components": (RGBA, [png(RGBA)], {"flags": 2, "ids": bytes(16)}),
    "alpha first": (
        RGBA,
        [png(RGBA[:, :, 3:]), PNG_OF_RGB],
        {"flags": 2, "ids": bytes(16)},
    ),
    "a palette of 16 bits": (
        SIXTEEN_BITS,
        [png(SIXTEEN_BITS)],
        {"bit_depth": 16, "metadata": raw(PALETTE)},
    ),
}


@pytest.mark.parametrize(
    ("samples", "strip", "how"),
    [
        pytest.param(*case, id=name)
        for name, case in {
            **{name: (RGB, [PNG_OF_RGB], how) for name, how in BAD_HEADERS.items()},
            **{name: (RGB, [PNG_OF_RGB], how) for name, how in BAD_METADATA.items()},
            **BAD_IMAGES,
        }.items()
    ],
)
def test_both_refuse(samples: Samples, strip: list[bytes], how: dict[str, Any]) -> None:
    data = stream_of(samples, *strip, **how)
    with pytest.raises(FormatError) as found:
        pixelcodec.decode_picture(data)
    errors = ValueError, IndexError, struct.error, zlib.error, OSError
    with pytest.raises(errors) as found_by_reference:
        reference.decode(data)
    assert "do not have the checksum" not in str(found.value)
    assert str(found_by_reference.value) != "CRC of the samples"
