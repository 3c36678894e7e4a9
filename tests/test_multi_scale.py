"""Multi-Scale PixelRNN: a small image first, then the rest of the large one, which knows it."""

import io
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec
from coding import decode, encode, ignore, masses, randomised, walked
from pictures import noise, scene
from pixelcodec import api, coder, evaluation, runtime, sampling
from pixelcodec.container import Reader, Writer
from pixelcodec.effort import STATIC
from pixelcodec.engine import Engine, Places, StripCoder, StripEncoder
from pixelcodec.errors import FormatError, ModelError, UnsupportedImageError
from pixelcodec.exact import MAX_FAN_IN
from pixelcodec.models import zoo
from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.multi_scale import MultiScale, MultiScaleConfig, Upsampler
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.optimiser import Optimiser
from pixelcodec.models.paper import features_of
from pixelcodec.models.program import Distribution, Samples
from pixelcodec.models.row_lstm import RowConfig, RowLSTM
from places import PLACES

SMALL = MultiScaleConfig(hidden=7, layers=2, head=8, maps=5)

EACH_STEP = pytest.mark.parametrize("step", [2, 4])
EACH_KIND = pytest.mark.parametrize(("channels", "bit_depth"), [(1, 1), (3, 8)])
EACH_PLACE = pytest.mark.parametrize(("backend", "device"), PLACES)


@cache
def float_network(config: MultiScaleConfig = SMALL) -> MultiScale:
    return randomised(lambda: MultiScale(config), seed=1, gain=1.5)


@cache
def network_of(config: MultiScaleConfig = SMALL) -> IntegerNetwork:
    return float_network(config).integer_network()


@cache
def engine(config: MultiScaleConfig = SMALL, backend: str = "int64", device: str = "cpu") -> Engine:
    return Engine(network_of(config), backend, device)


def picture(height: int, width: int, channels: int = 3, bit_depth: int = 8) -> Samples:
    """[height, width, channels], samples of ``bit_depth``."""
    image: Samples = scene(height, width, 3)[..., :channels].copy()
    return image if bit_depth == 8 else (image > 100).astype(np.uint8)


# What sees what ----------------------------------------------------------------------------------


def opened(network: torch.nn.Module) -> None:
    """Make all weights and biases positive: each path that the masks leave open lets through."""
    network.double().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.fill_(0.5 / layer.weight[0].numel())
            layer.bias.fill_(0.1)


@EACH_STEP
def test_a_map_depends_on_25_pixels_of_the_small_image(step: int) -> None:
    upsampler = Upsampler(replace(SMALL, step=step))
    opened(upsampler)
    small = torch.ones(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    y, x = 4 * step + 1, 5 * step

    maps = upsampler(small, 9 * step - 1, 9 * step)[0, :, y, x]

    (gradient,) = torch.autograd.grad(maps.sum(), small)
    assert (gradient[0] != 0).nonzero()[:, 1:].unique(dim=0).tolist() == [
        [row, column] for row in range(2, 7) for column in range(3, 8)
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_distribution_depends_on_the_maps_of_its_pixel_and_of_the_triangle(
    channels: int,
) -> None:
    network = RowLSTM(RowConfig(channels, 8, 7, 2, 8), maps=5)
    opened(network)
    y, x = 5, 12
    seen = torch.ones(1, channels, 7, 24, dtype=torch.float64)
    maps = torch.ones(1, 5, 7, 24, dtype=torch.float64, requires_grad=True)
    logits = network.head_of(network.trunk(seen, maps)).unflatten(1, (channels, 256))[0, :, :, y, x]

    for channel in range(channels):
        (gradient,) = torch.autograd.grad(logits[channel].sum(), maps, retain_graph=True)
        places = (gradient[0] != 0).nonzero()[:, 1:].unique(dim=0).tolist()
        # States come from a triangle; the second layer sees the pixel before, too
        triangle = {
            (y - dy, x + dx) for dy in range(y + 1) for dx in range(-dy - 1, dy + 1) if x + dx >= 0
        }
        assert {(row, column) for row, column in places} == triangle


def test_the_small_image_depends_on_nothing_between_its_pixels() -> None:
    image = picture(8, 10)
    changed = noise(8, 10, 3)
    changed[::2, ::2] = image[::2, ::2]
    first, second = (next(choices_of(each)) for each in (image, changed))
    np.testing.assert_array_equal(first, second)


def choices_of(image: Samples, tile: int = 0) -> Any:
    return StripEncoder(engine(), image.shape[1], 3, tile=tile).choices(image, ignore)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_sample_changes_what_comes_later_alone(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 14)))
    image = noise(height, width, 3, seed=data.draw(st.integers(0, 99)))
    y, x, channel = (data.draw(st.integers(0, side - 1)) for side in image.shape)
    changed = image.copy()
    changed[y, x, channel] ^= 255

    before, after = masses(np.stack([image, changed]), engine())

    for row, column, c in np.argwhere((before != after).any(-1)).tolist():
        coarse = y % 2 == 0 and x % 2 == 0
        assert coarse or (row, column, c) > (y, x, channel)


# Training and coding -----------------------------------------------------------------------------


@EACH_STEP
def test_maps_of_both_forms_are_the_same_but_for_rounding(step: int) -> None:
    config = replace(SMALL, step=step)
    small = picture(6, 7)
    upsampler = float_network(config).upsampler
    float_network(config).quantise()
    seen = features_of(torch.from_numpy(small[None]), 8).permute(0, 3, 1, 2).float() / 16
    expected = upsampler(seen, 6 * step - 1, 7 * step)[0].permute(1, 2, 0) * 16
    float_network(config).quantise(False)

    coarser = engine(config).program.coarser
    assert coarser is not None
    (found,) = coarser.maps(small[None], 6 * step - 1, 7 * step)

    assert found.dtype == torch.int8
    assert ((found - expected).abs() <= 4).all()  # rounding of one layer goes through the next
    assert (found == expected).float().mean() > 0.9
    assert found.float().std() > 1


@EACH_KIND
@EACH_STEP
def test_training_and_coding_count_the_same_bits(step: int, channels: int, bit_depth: int) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth, step=step)
    ready, random = engine(config), np.random.default_rng(1)
    coded = 0.0

    def by_chance(distribution: Distribution, _: Places, channel: int) -> Samples:
        nonlocal coded
        samples = sampling.draw(distribution, random.random(len(distribution)), 1 << bit_depth)
        frequencies = coder.describe(distribution, samples, bit_depth)[..., 1].astype(float) + 1
        coded += float((coder.PRECISION - np.log2(frequencies)).sum())
        return samples

    images = walked(ready, (12, 10, 13, channels), by_chance)
    network = float_network(config)
    network.quantise()
    bits = float(network(torch.from_numpy(images)).double().sum())
    network.quantise(False)

    assert coded < 0.98 * bit_depth * images.size
    assert bits == pytest.approx(coded, rel=0.01)


def test_a_network_learns_the_large_image_from_the_small_one() -> None:
    """Blocks of chance: what lies between pixels of the small image is what they are."""
    config = MultiScaleConfig(1, 1, hidden=8, layers=1, head=8, maps=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MultiScale(config)
    optimiser = Optimiser(network, network.output_layers)
    random = np.random.default_rng(1)
    for step in range(60):
        network.quantise(step >= 40)
        blocks = random.integers(0, 2, (8, 6, 6), np.uint8).repeat(2, 1).repeat(2, 2)
        bits = network(torch.from_numpy(blocks[..., None]))
        bits.mean().backward()
        optimiser.step(1e-2)
    small, whole = bits[:, ::2, ::2].mean().item(), bits.mean().item()
    assert small > 0.9  # nobody knows it
    assert whole - small / 4 < 0.15


# Coding ------------------------------------------------------------------------------------------


@EACH_STEP
@EACH_KIND
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (5, 13)], ids=str)
@pytest.mark.parametrize(("strip_rows", "tile"), [(16, 0), (4, 0), (8, 4)])
def test_any_size_comes_back(
    strip_rows: int, tile: int, size: tuple[int, int], channels: int, bit_depth: int, step: int
) -> None:
    config = replace(SMALL, channels=channels, bit_depth=bit_depth, step=step)
    image, ready = picture(*size, channels, bit_depth), engine(config)
    data = encode(image, network_of(config), ready, strip_rows, tile=tile)
    np.testing.assert_array_equal(decode(data, ready).reshape(image.shape), image, strict=True)


@EACH_PLACE
@pytest.mark.parametrize("tile", [0, 4])
def test_every_place_writes_and_reads_the_same_bytes(backend: str, device: str, tile: int) -> None:
    image, ready = picture(9, 11), engine(SMALL, backend, device)
    expected = encode(image, network_of(), engine(), 4, tile=tile)
    assert encode(image, network_of(), ready, 4, tile=tile) == expected
    np.testing.assert_array_equal(decode(expected, ready), image)


@pytest.mark.parametrize("tile", [0, 4])
def test_no_sample_is_coded_twice(tile: int) -> None:
    small, rest = choices_of(picture(9, 11), tile)
    assert len(small) == 5 * 6 * 3 * 2  # pixels, channels, nibbles
    assert len(small) + len(rest) == 9 * 11 * 3 * 2


def test_each_pixel_counts_once_in_the_progress() -> None:
    told: list[int] = []
    StripEncoder(engine(), 11, 3).encode(picture(9, 11), told.append)
    assert sum(told) == 9 * 11


def test_tiles_are_images_of_their_own() -> None:
    stack = np.stack([picture(8, 8), noise(8, 8, 3)])
    together = masses(stack, engine())
    for image, found in zip(stack, together, strict=True):
        np.testing.assert_array_equal(masses(image[None], engine())[0], found)


def test_tiles_in_which_the_small_image_lies_unevenly_are_refused() -> None:
    with pytest.raises(ModelError, match="tiles of 6 x 6: the model needs a multiple of 4"):
        StripCoder(engine(replace(SMALL, step=4)), 12, 3, tile=6)


def test_so_many_feature_maps_fit_the_gates() -> None:
    widest = MultiScale(MultiScaleConfig(hidden=130, maps=113, layers=1)).integer_network()
    inputs = {name: layer.weight.shape[0] for name, layer in widest.layers.items()}
    assert inputs["upsampler.context"] == 9 * 113
    assert inputs["large.layer.0.gates.0"] == 7 * 130 + 113
    assert max(inputs.values()) <= MAX_FAN_IN < 9 * 114
    for too_wide in ({"hidden": 131}, {"maps": 114}):
        with pytest.raises(ModelError, match="a network of"):
            MultiScaleConfig(**too_wide)


def test_another_shape_is_refused() -> None:
    network = network_of()
    with pytest.raises(ModelError, match="its configuration needs"):
        Engine(replace(network, config={**network.config, "maps": 6}), "int64")


# Files -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "scales.safetensors"
    zoo.save_network(network_of(), path)
    return str(path)


@pytest.fixture(scope="module")
def file(model: str) -> bytes:
    return api.encode(picture(30, 41), model=model)


def test_a_file_comes_back(model: str, file: bytes) -> None:
    np.testing.assert_array_equal(api.decode(file, model=model), picture(30, 41))


def test_a_file_has_its_model_s_bits(model: str) -> None:
    found = evaluation.evaluate(picture(30, 41), model, runtime.Compute())
    assert found.file_bytes == pytest.approx(found.model_bits / 8, rel=0.01, abs=90)


@pytest.mark.parametrize("strip_rows", [None, 8])
def test_a_preview_is_the_small_image(model: str, strip_rows: int | None) -> None:
    data = api.encode(picture(30, 41), model=model, strip_rows=strip_rows)
    found = api.preview_from(io.BytesIO(data), model=model)
    np.testing.assert_array_equal(found, picture(30, 41)[::2, ::2])


def test_a_preview_needs_the_first_part_alone(model: str, file: bytes) -> None:
    info = pixelcodec.inspect(io.BytesIO(file))
    assert 0 < info.preview_bytes < sum(info.strips) / 2
    enough = 36 + 9 + info.preview_bytes
    found = api.preview_from(file[:enough], model=model)
    np.testing.assert_array_equal(found, picture(30, 41)[::2, ::2])
    with pytest.raises(FormatError, match="truncated"):
        api.preview_from(io.BytesIO(file[: enough - 1]), model=model)


def test_a_preview_of_gray_images_is_gray(tmp_path: Any) -> None:
    path = tmp_path / "digits.safetensors"
    config = replace(SMALL, channels=1, bit_depth=1)
    zoo.save_network(network_of(config), path)
    image = picture(9, 9, 1, 1)[..., 0] > 0
    data = api.encode(image, model=str(path))
    found = api.preview_from(io.BytesIO(data), model=str(path))
    np.testing.assert_array_equal(found, image[::2, ::2], strict=True)


def test_previews_keep_to_the_limits(model: str, file: bytes) -> None:
    for limit in ({"max_pixels": 30 * 41 - 1}, {"max_bytes": 1000}):
        with pytest.raises(FormatError, match="the limit is"):
            api.preview_from(file, model=model, **limit)  # type: ignore[arg-type]
    tall = io.BytesIO()
    header = replace(Reader(io.BytesIO(file)).header, strip_rows=8, height=2**20)
    Writer(tall, header).strip(b"")
    with pytest.raises(FormatError, match="to decode them takes up to"):
        api.preview_from(tall.getvalue(), model=model, max_bytes=2**26)


def test_other_models_have_no_preview() -> None:
    data = api.encode(picture(8, 8), model="photo-s")
    with pytest.raises(UnsupportedImageError, match="no multi-scale model"):
        api.preview_from(io.BytesIO(data))


@pytest.mark.parametrize(("strip_rows", "tile"), [(7, 0), (6, 3)])
def test_a_file_whose_strips_do_not_suit_the_model_is_damaged(
    model: str, file: bytes, strip_rows: int, tile: int
) -> None:
    header = replace(Reader(io.BytesIO(file)).header, strip_rows=strip_rows, tile=tile)
    stream = io.BytesIO()
    Writer(stream, header)
    with pytest.raises(FormatError, match="do not suit the model"):
        api.decode(stream.getvalue(), model=model)


def test_strips_that_cut_pixels_of_the_small_image_are_refused(model: str) -> None:
    with pytest.raises(ModelError, match=r"strips of 5 rows .*; give a multiple of 2"):
        api.encode(picture(8, 8), model=model, strip_rows=5)


@pytest.mark.parametrize(("written", "read"), [("scales", "one"), ("one", "scales")])
def test_a_strip_of_another_count_of_parts_is_damaged(
    monkeypatch: pytest.MonkeyPatch, model: str, written: str, read: str
) -> None:
    models = {"scales": model, "one": "photo-s"}
    data = api.encode(picture(8, 8), model=models[written], effort=STATIC)
    network = zoo.load(models[read])
    monkeypatch.setattr(runtime, "_networks", lambda header, _: {header.model_id: network})
    with pytest.raises(FormatError, match="damaged: a strip of 1"):
        api.decode(data)


def test_parts_come_in_order(model: str, file: bytes) -> None:
    assert [last for _, last in Reader(io.BytesIO(file))] == [False, True]


# Drawing -----------------------------------------------------------------------------------------


def test_samples_depend_on_the_seed_alone(model: str) -> None:
    draw = partial(sampling.sample, model, size=(12, 10), seed=3)
    np.testing.assert_array_equal(draw(count=3)[:2], draw(count=2))
    assert (draw(count=2)[0] != draw(count=2)[1]).any()


def test_a_completion_keeps_what_is_given(model: str) -> None:
    image = picture(12, 10)
    mask = sampling.half("lower", 12, 10)
    (found,) = sampling.complete(image, mask, model)
    np.testing.assert_array_equal(found[:6], image[:6])
    assert (found[6:] != image[6:]).any()
