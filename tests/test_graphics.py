"""The network for graphics: any image comes back, and what repeats costs next to nothing."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_decoder
from coding import Samples, encode, ignore, masses, randomised
from pictures import noise, scene
from pixelcodec.engine import Engine, StripDecoder, StripEncoder
from pixelcodec.errors import ModelError
from pixelcodec.models import zoo
from pixelcodec.models.candidates import logarithm
from pixelcodec.models.graphics import Config
from pixelcodec.models.graphics_training import Graphics
from pixelcodec.models.memory import COUNT_MOST, Memory, colour_of, count_of
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.palette import MOST_COLOURS, Palette, count_levels, is_known
from places import PLACES

SMALL = Config(hidden=8, head=8, components=2)
FLOAT = randomised(lambda: Graphics(SMALL), seed=1, gain=1.5)
NETWORK = FLOAT.integer_network()
KINDS = pytest.mark.parametrize("channels", [1, 2, 3, 4])


@cache
def engine(backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(NETWORK, backend, device)


def strips_of(
    image: Samples, engine: Engine, learning: int = 0, rows: int = 999, restart: bool = False
) -> list[bytes]:
    """The payloads of the strips of an image [height, width, channels]."""
    _, width, channels = image.shape
    encoder = StripEncoder(engine, width, channels, restart, learning=learning)
    tops = range(0, len(image), rows)
    return [encoder.encode(image[top : top + rows], ignore)[0] for top in tops]


def decoded(
    payloads: list[bytes], shape: tuple[int, ...], engine: Engine, learning: int, rows: int = 999
) -> Samples:
    """The image of these strips."""
    height, width, channels = shape
    decoder = StripDecoder(engine, width, channels, learning=learning)
    tops = range(0, height, rows)
    return np.concatenate(
        [
            decoder.decode([payload], min(rows, height - top), ignore)
            for top, payload in zip(tops, payloads, strict=True)
        ]
    )


def drawing(height: int, width: int, channels: int, seed: int = 0) -> Samples:
    """Rectangles of few colours, some of them shaded."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, channels), 255, np.uint8)
    colours = rng.integers(0, 256, (4, channels))
    for number in range(5):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        part = image[top : top + int(rng.integers(1, 9)), left : left + int(rng.integers(1, 9))]
        shades = np.arange(part.shape[1])[:, None] * (number == 4)
        part[:] = (colours[number % 4] + shades) % 256
    return image


# Images come back --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_image_comes_back(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    channels, learning = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([0, 3]))
    make = data.draw(st.sampled_from([noise, drawing]))
    rows = data.draw(st.integers(1, 21))
    image = make(height, width, channels, seed=data.draw(st.integers(0, 99)))
    payloads = strips_of(image, engine(), learning, rows)
    np.testing.assert_array_equal(decoded(payloads, image.shape, engine(), learning, rows), image)


@pytest.mark.parametrize("restart", [False, True], ids=["joined", "restart"])
@pytest.mark.parametrize("tile", [0, 8], ids=["whole", "tiles"])
@pytest.mark.parametrize("learning", [0, 3], ids=["still", "learning"])
@KINDS
def test_the_reference_decodes_it(
    channels: int, learning: int, tile: int, restart: bool, model_file: bytes
) -> None:
    image = drawing(13, 17, channels)
    written = encode(image, NETWORK, engine(), 8, restart, tile, learning=learning)
    found = reference_decoder.decode(written, model_file)
    np.testing.assert_array_equal(np.reshape(found, image.shape), image)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "graphics.safetensors"
    zoo.save_network(NETWORK, path)
    return path.read_bytes()


@pytest.mark.parametrize(("backend", "device"), PLACES)
def test_every_place_writes_the_same(backend: str, device: str) -> None:
    image = drawing(24, 31, 4)
    expected = strips_of(image, engine(), learning=3)
    assert strips_of(image, engine(backend, device), learning=3) == expected


def test_images_leave_nothing_behind() -> None:
    image = drawing(24, 31, 3)
    before = strips_of(image, engine())
    strips_of(noise(9, 9, 3), engine())
    assert strips_of(image, engine()) == before


def test_strips_that_restart_are_those_of_an_image_of_their_own() -> None:
    image = drawing(24, 31, 3)
    _, second = strips_of(image, engine(), learning=3, rows=12, restart=True)
    assert [second] == strips_of(image[12:], engine(), learning=3)


# What it costs -----------------------------------------------------------------------------------


def installed() -> Engine:
    return _installed()


@cache
def _installed() -> Engine:
    return Engine(zoo.load("graphics"))


def bits(image: Samples, learning: int = 0) -> int:
    return 8 * sum(map(len, strips_of(image, installed(), learning)))


@KINDS
def test_flat_pixels_cost_a_hundredth_of_a_bit_at_most(channels: int) -> None:
    image = np.full((100, 100, channels), 200, np.uint8)
    assert bits(image) < 0.01 * 100 * 100


def test_what_was_seen_costs_little_when_it_comes_again() -> None:
    glyph = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (16, 16, 1))
    line = np.tile(glyph, (1, 8, 1))
    assert bits(np.concatenate([line] * 4)) < 2 * bits(line)


def test_colours_that_were_seen_cost_less_than_new_ones() -> None:
    rng = np.random.default_rng(2)
    few = rng.integers(0, 256, (40, 3), dtype=np.uint8)[rng.integers(0, 40, (32, 32))]
    assert bits(few) < 0.6 * bits(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def test_learning_saves_bits() -> None:
    image = scene(48, 64, 3)
    assert bits(image, learning=3) < 0.98 * bits(image)


@KINDS
def test_the_mass_of_a_sample_is_what_a_coder_takes(channels: int) -> None:
    found = masses(drawing(9, 11, channels)[None], engine()).astype(np.int64)
    assert found.min() >= 0
    assert found.sum(-1).min() > 0
    assert found.sum(-1).max() < 2**28


# Two forms, one network --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [noise, drawing])
def test_the_float_network_foresees_the_size_of_the_file(make: type) -> None:
    image = make(24, 31, 4)
    FLOAT.quantise(True)
    expected = float(FLOAT(torch.from_numpy(image[None])).sum())
    FLOAT.quantise(False)
    found = 8 * len(strips_of(image, engine())[0])
    assert found == pytest.approx(expected, rel=0.1, abs=64)


# Memory and palette ------------------------------------------------------------------------------


def test_a_slot_holds_the_latest_colours_first_and_halves_the_counts_of_others() -> None:
    memory = Memory()
    context = np.full((1, 8), 5 << 50, np.int64)
    for colour in (1, 1, 1, 1, 1, 2, 3, 2, 4):
        memory.take_in(context, np.array([colour]))
    (slot,) = memory.slots[0, memory.slots[0, :, 0] != 0]
    entries = [(int(colour_of(entry)), int(count_of(entry))) for entry in slot[1:]]
    assert entries == [(4, 1), (2, 2), (3, 1)]


def test_counts_have_an_end() -> None:
    memory = Memory()
    contexts = np.full((COUNT_MOST + 5, 8), 7 << 50, np.int64)
    memory.take_in(contexts, np.full(len(contexts), 9))
    assert count_of(memory.slots[0, :, 1].max()) == COUNT_MOST


def test_a_context_drives_another_out_of_its_slot() -> None:
    memory = Memory()
    for key in (1, 2):
        memory.take_in(np.full((1, 8), key << 12, np.int64), np.array([key]))
    (slot,) = memory.slots[0, memory.slots[0, :, 0] != 0]
    assert [int(colour_of(entry)) for entry in slot[1:]] == [2, 0, 0]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_levels_are_counted_of_colours_that_go_on_from_a_pixel(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    samples = rng.integers(0, 3, (40, 4))
    colours = (samples << (10 * np.arange(4))).sum(1)
    palette = Palette()
    palette.take_in(colours)
    channel, left_out = data.draw(st.integers(0, 3)), np.unique(colours[:3])
    own = samples[data.draw(st.integers(0, 39))]
    counts = np.empty(256, np.int64)
    begins = np.int64((own[:channel] << (10 * np.arange(channel))).sum())
    count_levels(palette.colours, palette.chains, left_out, begins, channel, counts)
    rest = set(map(tuple, samples.tolist())) - set(map(tuple, samples[:3].tolist()))
    expected = [0] * 256
    for colour in rest:
        if list(colour[:channel]) == own[:channel].tolist():
            expected[colour[channel]] += 1
    assert counts.tolist() == expected


def test_a_palette_takes_so_many_colours_and_no_more() -> None:
    palette = Palette()
    palette.take_in(np.arange(MOST_COLOURS + 1))
    known = [
        bool(is_known(np.int64(colour), palette.colours, palette.chains))
        for colour in (0, MOST_COLOURS - 1, MOST_COLOURS)
    ]
    assert known == [True, True, False]


@given(number=st.integers(0, 2**18))
def test_logarithms_are_close(number: int) -> None:
    assert logarithm(number) == pytest.approx(min(8 * np.log2(number + 1), 127), abs=1.7)


# What is refused ---------------------------------------------------------------------------------


def changed(**tables: torch.Tensor) -> IntegerNetwork:
    return IntegerNetwork(
        NETWORK.architecture, NETWORK.config, NETWORK.layers, {**NETWORK.tables, **tables}
    )


@pytest.mark.parametrize(
    "exp", [torch.zeros(5, dtype=torch.int32), NETWORK.tables["choice_exp"].flip(0)]
)
def test_tables_that_could_overflow_are_refused(exp: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"^the table choice_exp must"):
        Engine(changed(choice_exp=exp))


def test_layers_of_another_shape_are_refused() -> None:
    layers = {**NETWORK.layers, "logit": NETWORK.layers["choice"]}
    network = IntegerNetwork(NETWORK.architecture, NETWORK.config, layers, NETWORK.tables)
    with pytest.raises(ModelError, match=r"^the layers of a network"):
        Engine(network)


def test_layers_with_too_many_biases_are_refused() -> None:
    layer = NETWORK.layers["logit"]
    longer = IntegerLayer(layer.weight, torch.zeros(2, dtype=torch.int32), layer.shift)
    layers = {**NETWORK.layers, "logit": longer}
    network = IntegerNetwork(NETWORK.architecture, NETWORK.config, layers, NETWORK.tables)
    with pytest.raises(ModelError, match=r"^layer logit has other counts"):
        Engine(network)


@pytest.mark.parametrize("values", [{"hidden": 0}, {"components": 8}, {"head": 1025}])
def test_sizes_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=r"^a network of "):
        Config(**values)
