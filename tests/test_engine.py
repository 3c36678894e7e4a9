"""Strips: the same bytes and the same samples, however and wherever they are computed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec.engine
from coding import Samples, decode, encode, ignore, random_network, randomised, walked
from pictures import noise, scene
from pixelcodec.coder import Floats
from pixelcodec.container import Reader
from pixelcodec.engine import Engine, Places, StripDecoder, StripEncoder
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.program import Distribution
from pixelcodec.models.wavefront_pixelcnn import Config
from pixelcodec.sampling import draw
from pixelcodec.schedule import stacks, symbol_positions
from places import PLACES

NETWORK = random_network(
    Config(width=16, hidden=16, blocks=2, head=8, components=3), seed=1, gain=1.5
)

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 70), (70, 1), (3, 200), (17, 20), (5, 7)]
STRIP_ROWS = [1, 3, 16]


@cache
def engine(backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(NETWORK, backend, device)


def encoded(image: Samples, strip_rows: int, restart: bool = False) -> bytes:
    """What the reference back end writes."""
    return encode(image, NETWORK, engine(), strip_rows, restart)


def payloads(data: bytes) -> list[bytes]:
    return [payload for payload, _ in Reader(BytesIO(data))]


def half_and_half(*shape: int) -> Samples:
    """A scene whose right half is noise."""
    image = scene(*shape)
    middle = shape[1] // 2
    image[:, middle:] = noise(*shape)[:, middle:]
    return image


PICTURE = half_and_half(20, 37, 3)

CHANNELS = pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "rgb"])
EACH_PLACE = pytest.mark.parametrize(("backend", "device"), PLACES)
EACH_STRIP = pytest.mark.parametrize("strip_rows", STRIP_ROWS)


@pytest.fixture
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


EACH_THREADS = pytest.mark.parametrize("_threads", [1, 2], indirect=True, ids=["1", "2"])


# Round trip --------------------------------------------------------------------------------------


@CHANNELS
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("restart", [False, True], ids=["joined", "restart"])
@EACH_STRIP
def test_any_size_comes_back(
    strip_rows: int, restart: bool, size: tuple[int, int], channels: tuple[int, ...]
) -> None:
    image = half_and_half(*size, *channels)
    data = encoded(image, strip_rows, restart)
    np.testing.assert_array_equal(decode(data, engine()), image, strict=True)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_image_comes_back(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 40)))
    shape = (*size, *data.draw(st.sampled_from([(), (3,)])))
    content: Callable[..., Samples] = data.draw(st.sampled_from([noise, scene, half_and_half]))
    image = content(*shape)
    strip_rows, restart = data.draw(st.integers(1, 13)), data.draw(st.booleans())
    np.testing.assert_array_equal(decode(encoded(image, strip_rows, restart), engine()), image)


# One file ----------------------------------------------------------------------------------------


@EACH_THREADS
@EACH_STRIP
@EACH_PLACE
@pytest.mark.usefixtures("_threads")
def test_every_place_writes_the_same_bytes(backend: str, device: str, strip_rows: int) -> None:
    written = encode(PICTURE, NETWORK, engine(backend, device), strip_rows)
    assert written == encoded(PICTURE, strip_rows)


@EACH_THREADS
@EACH_STRIP
@EACH_PLACE
@pytest.mark.usefixtures("_threads")
def test_every_place_decodes_every_file(backend: str, device: str, strip_rows: int) -> None:
    data = encoded(PICTURE, strip_rows)
    np.testing.assert_array_equal(decode(data, engine(backend, device)), PICTURE)


@EACH_STRIP
@pytest.mark.parametrize("band_pixels", [1, 37, 100, 10**9])
def test_bands_do_not_show(
    monkeypatch: pytest.MonkeyPatch, band_pixels: int, strip_rows: int
) -> None:
    expected = encoded(PICTURE, strip_rows)
    monkeypatch.setattr(pixelcodec.engine, "BAND_PIXELS", band_pixels)
    assert encoded(PICTURE, strip_rows) == expected


@EACH_STRIP
@pytest.mark.parametrize("wave_columns", [1, 8, 32, 10**4])
def test_the_window_of_decoding_does_not_show(
    monkeypatch: pytest.MonkeyPatch, wave_columns: int, strip_rows: int
) -> None:
    monkeypatch.setattr(pixelcodec.engine, "WAVE_COLUMNS", wave_columns)
    np.testing.assert_array_equal(decode(encoded(PICTURE, strip_rows), engine()), PICTURE)


@contextmanager
def setting(
    read: Callable[[], object], write: Callable[[object], None], value: object
) -> Iterator[None]:
    """Have a global setting of torch at ``value``."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "nothing": nullcontext,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "another default device": lambda: torch.device("meta"),
    "coarse products": lambda: setting(
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,  # type: ignore[arg-type]
        "medium",
    ),
    "another default type": lambda: setting(
        torch.get_default_dtype,
        torch.set_default_dtype,  # type: ignore[arg-type]
        torch.float64,
    ),
    "determinism": lambda: setting(
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,  # type: ignore[arg-type]
        True,
    ),
}
"""What a program that calls the codec may have set."""


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@EACH_PLACE
def test_what_the_caller_has_set_does_not_show(
    backend: str, device: str, surroundings: str
) -> None:
    image, ready = PICTURE[:4], engine(backend, device)
    expected = encoded(image, 4)
    with SURROUNDINGS[surroundings]():
        written = encode(image, NETWORK, ready, 4)
        decoded = decode(expected, ready)
    assert written == expected
    np.testing.assert_array_equal(decoded, image)


# Strips ------------------------------------------------------------------------------------------


@EACH_STRIP
@pytest.mark.parametrize("restart", [False, True], ids=["joined", "restart"])
def test_a_strip_does_not_depend_on_what_follows(restart: bool, strip_rows: int) -> None:
    whole = payloads(encoded(PICTURE, strip_rows, restart))
    for strips in range(1, len(whole)):
        part = PICTURE[: strips * strip_rows]
        assert payloads(encoded(part, strip_rows, restart)) == whole[:strips]


@EACH_STRIP
def test_an_independent_strip_is_an_image_of_its_own(strip_rows: int) -> None:
    for index, payload in enumerate(payloads(encoded(PICTURE, strip_rows, restart=True))):
        part = PICTURE[index * strip_rows : (index + 1) * strip_rows]
        assert payloads(encoded(part, len(part))) == [payload]
        decoder = StripDecoder(engine(), PICTURE.shape[1], 3, restart=True)
        np.testing.assert_array_equal(decoder.decode([payload], len(part), ignore), part)


def test_a_joined_strip_depends_on_the_rows_above() -> None:
    other = PICTURE.copy()
    other[0] ^= 255
    first, second = (payloads(encoded(image, 16)) for image in (PICTURE, other))
    assert first[1] == second[1]  # Row 0 is out of the reach of row 16
    other[15] ^= 255
    assert payloads(encoded(other, 16))[1] != first[1]


def test_an_encoder_is_told_nothing_by_an_image_before() -> None:
    expected = payloads(encoded(PICTURE, 20))
    StripEncoder(engine(), 37, 3).encode(noise(20, 37, 3), ignore)
    assert payloads(encoded(PICTURE, 20)) == expected


# Tiles -------------------------------------------------------------------------------------------

NETWORKS = {
    "bands": NETWORK,
    "waves": randomised(
        lambda: PixelCNN(PaperConfig(hidden=6, layers=1, head=6)), seed=1, gain=1.5
    ).integer_network(),
}
"""An encoder takes bands of rows in hand, or waves as a decoder does."""

EACH_NETWORK = pytest.mark.parametrize("name", NETWORKS)


@cache
def engine_of(name: str, backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(NETWORKS[name], backend, device)


def tiled(image: Samples, name: str, strip_rows: int, tile: int) -> bytes:
    return encode(image, NETWORKS[name], engine_of(name), strip_rows, tile=tile)


def choices(image: Samples, name: str, tile: int = 0) -> Floats:
    """What the encoder codes of each pixel: [height, width, symbols, 3]."""
    height, width, channels = image.shape
    encoder = StripEncoder(engine_of(name), width, channels, tile=tile)
    (ordered,), symbols = encoder.choices(image, ignore), channels * 2
    found = np.empty((height, width, symbols, 3), np.float32)
    start, slope = 0, engine_of(name).program.slope
    for stack in stacks(height, width, tile):
        size = (len(stack.tops), stack.rows, stack.width)
        found[stack.index] = ordered[start + symbol_positions(*size, slope, symbols)]
        start += found[stack.index].size // 3
    assert start == len(ordered)
    return found


@EACH_NETWORK
def test_images_side_by_side_are_coded_as_tiles_are(name: str) -> None:
    rows = half_and_half(4, 12, 3)
    images = np.stack(np.split(rows, 3, axis=1))
    as_tiles = StripEncoder(engine_of(name), 12, 3, tile=4).encode(rows, ignore)
    assert StripEncoder(engine_of(name), 4, 3).encode_side_by_side(images) == as_tiles


@EACH_NETWORK
@pytest.mark.parametrize("size", [*SIZES, (8, 12)], ids=str)
@pytest.mark.parametrize(("strip_rows", "tile"), [(4, 4), (12, 4), (3, 1), (64, 64)])
def test_any_size_comes_back_in_tiles(
    strip_rows: int, tile: int, size: tuple[int, int], name: str
) -> None:
    image = half_and_half(*size, 3)
    data = tiled(image, name, strip_rows, tile)
    np.testing.assert_array_equal(decode(data, engine_of(name)), image, strict=True)


@EACH_NETWORK
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_tile_is_coded_as_an_image_of_its_own(name: str, data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))
    tile = data.draw(st.integers(1, 6))
    image = half_and_half(height, width, 3)
    found = choices(image, name, tile)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            place = np.s_[top : top + tile, left : left + tile]
            np.testing.assert_array_equal(found[place], choices(image[place], name))


@EACH_NETWORK
def test_a_strip_of_tiles_is_an_image_of_its_own(name: str) -> None:
    for index, payload in enumerate(payloads(tiled(PICTURE, name, 8, 4))):
        part = PICTURE[8 * index : 8 * (index + 1)]
        assert payloads(tiled(part, name, 8, 4)) == [payload]


@EACH_NETWORK
def test_a_single_tile_is_the_image(name: str) -> None:
    assert payloads(tiled(PICTURE, name, 40, 40)) == payloads(tiled(PICTURE, name, 40, 0))


@EACH_NETWORK
@EACH_PLACE
def test_every_place_codes_the_same_tiles(backend: str, device: str, name: str) -> None:
    ready, expected = engine_of(name, backend, device), tiled(PICTURE, name, 16, 8)
    assert encode(PICTURE, NETWORKS[name], ready, 16, tile=8) == expected
    np.testing.assert_array_equal(decode(expected, ready), PICTURE)


@pytest.mark.parametrize("band_pixels", [1, 37, 10**9])
def test_bands_do_not_show_in_tiles(monkeypatch: pytest.MonkeyPatch, band_pixels: int) -> None:
    expected = tiled(PICTURE, "bands", 16, 8)
    monkeypatch.setattr(pixelcodec.engine, "BAND_PIXELS", band_pixels)
    assert tiled(PICTURE, "bands", 16, 8) == expected


@EACH_NETWORK
@pytest.mark.parametrize("count", [2, 5])
def test_equal_images_side_by_side_get_the_samples_of_one_alone(name: str, count: int) -> None:
    def likeliest(distribution: Distribution, _: Places, channel: int) -> Samples:
        return draw(distribution, np.zeros(len(distribution)), levels=256, temperature=0)

    (alone,), *stack = (
        walked(engine_of(name), (images, 6, 11, 3), likeliest) for images in (1, count)
    )
    np.testing.assert_array_equal(stack[0], np.broadcast_to(alone, (count, 6, 11, 3)))
    assert len(np.unique(alone)) > 1


# Progress ----------------------------------------------------------------------------------------


@CHANNELS
@pytest.mark.parametrize("tile", [0, 1])
@EACH_STRIP
def test_progress_counts_each_pixel_once(
    strip_rows: int, tile: int, channels: tuple[int, ...]
) -> None:
    image = half_and_half(20, 37, *channels)
    rows = image.reshape(20, 37, -1)
    encoder = StripEncoder(engine(), 37, rows.shape[2], tile=tile)
    decoder = StripDecoder(engine(), 37, rows.shape[2], tile=tile)
    for top in range(0, 20, strip_rows):
        strip = rows[top : top + strip_rows]
        told: list[int] = []
        parts = encoder.encode(strip, told.append)
        assert sum(told) == len(strip) * 37
        told.clear()
        decoder.decode(parts, len(strip), told.append)
        assert sum(told) == len(strip) * 37
        assert min(told) >= 0
