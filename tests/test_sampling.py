"""Drawing images, and completing them: decoding with dice."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from coding import random_network, randomised
from pictures import scene
from pixelcodec import evaluation, sampling
from pixelcodec.engine import Engine
from pixelcodec.errors import ModelError, UnsupportedImageError
from pixelcodec.models import zoo
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig, PaperProgram
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.program import FLOOR, floor_of
from pixelcodec.models.wavefront_pixelcnn import Config, IntegerWavefrontPixelCNN
from pixelcodec.sampling import complete, draw, grid, half, sample, with_hole
from places import PLACES

Masses = npt.NDArray[np.int32]


# One sample --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """Distributions of known masses, int32 [n, levels]."""

    masses: Masses

    def __len__(self) -> int:
        return len(self.masses)

    def cumulative(self, edges: npt.NDArray[Any]) -> Masses:
        below = np.pad(self.masses.cumsum(1), [(0, 0), (1, 0)]).astype(np.int32)
        found: Masses = np.take_along_axis(below, edges, 1)
        return found


THROWS = 20_000

masses_of_levels = st.lists(
    st.one_of(st.integers(0, 10**5), st.integers(0, 2**24)), min_size=2, max_size=8
)
temperatures = st.sampled_from([0.3, 0.7, 1.0, 1.5, 10.0])


def shares(masses: list[int], temperature: float) -> npt.NDArray[np.float64]:
    """What part of all throws draws each level, when all throws are as likely as each other."""
    every = Known(np.tile(np.array(masses, np.int32), (THROWS, 1)))
    dice = (np.arange(THROWS) + 0.5) / THROWS
    drawn = draw(every, dice, len(masses), temperature)
    assert drawn.dtype == np.uint8
    return np.bincount(drawn, minlength=len(masses)) / THROWS


@settings(max_examples=50, deadline=None)
@given(masses=masses_of_levels, temperature=temperatures)
def test_levels_are_drawn_as_often_as_they_are_likely(
    masses: list[int], temperature: float
) -> None:
    powers = (np.array(masses, np.float64) + FLOOR) ** (1 / temperature)
    np.testing.assert_allclose(
        shares(masses, temperature), powers / powers.sum(), atol=1.001 / THROWS
    )


@settings(max_examples=50, deadline=None)
@given(masses=masses_of_levels, temperature=st.sampled_from([0.0, 1e-300, 1e-9]))
def test_without_warmth_the_likeliest_level_is_drawn(masses: list[int], temperature: float) -> None:
    largest = np.array(masses) == max(masses)
    share = shares(masses, temperature)
    if temperature == 0:
        assert share[masses.index(max(masses))] == 1
    np.testing.assert_allclose(share[largest].sum(), 1)


@pytest.mark.parametrize(
    ("temperature", "first", "last"), [(0.01, 1, 1), (0.5, 0, 2), (1.0, 0, 2), (2.0, 0, 2)]
)
def test_the_ends_of_chance_draw_levels_that_can_be(
    temperature: float, first: int, last: int
) -> None:
    masses = Known(np.array([[0, 3 * 10**8, 0]], np.int32))
    for dice, level in ((0.0, first), (1 - 2.0**-53, last)):
        assert draw(masses, np.array([dice]), 3, temperature) == [level]


@pytest.mark.parametrize("levels", [2, 3, 16, 17, 256, 2**16])
def test_samples_are_found_by_digits_in_memory_that_levels_do_not_count_in(levels: int) -> None:
    masses = np.random.default_rng(levels).integers(0, 2**28 // levels, (5, levels))
    ends = masses.cumsum(1)

    class Uneven(Known):
        def cumulative(self, edges: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
            assert edges.shape[1] <= 17
            return super().cumulative(edges)

    throws = np.array([0.0, 0.3, 0.7, 0.99, 1 - 2.0**-53])
    bits = levels.bit_length() - 1
    ends = (masses + floor_of(bits)).cumsum(1)
    expected = [
        np.searchsorted(end, throw * end[-1], "right")
        for end, throw in zip(ends, throws, strict=True)
    ]
    np.testing.assert_array_equal(draw(Uneven(masses.astype(np.int32)), throws, levels), expected)


# Models ------------------------------------------------------------------------------------------


def pixelcnn(channels: int, bit_depth: int) -> IntegerNetwork:
    """A network of the paper; the paper's distributions are of any shape."""
    config = PaperConfig(channels, bit_depth, hidden=6, layers=2, head=6)
    return randomised(lambda: PixelCNN(config), seed=1, gain=1.7).integer_network()


NETWORKS = {
    "photo": random_network(Config(width=8, hidden=8, blocks=1, head=4, components=2), 1, 1.5),
    "rgb": pixelcnn(3, 8),
    "gray": pixelcnn(1, 8),
    "bilevel": pixelcnn(1, 1),
}
EACH_MODEL = pytest.mark.parametrize("model", NETWORKS, indirect=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    for name, network in NETWORKS.items():
        zoo.save_network(network, made / f"{name}.safetensors")
    return made


@pytest.fixture
def model(request: pytest.FixtureRequest, folder: Path) -> str:
    """Path of a model's file; that of photographs by default."""
    return str(folder / f"{getattr(request, 'param', 'photo')}.safetensors")


@cache
def engine(name: str) -> Engine:
    return Engine(NETWORKS[name], "int64")


# Samples -----------------------------------------------------------------------------------------

FORMS = {
    "photo": ((3,), np.uint8, 32),
    "rgb": ((3,), np.uint8, 32),
    "gray": ((), np.uint8, 32),
    "bilevel": ((), np.bool_, 28),
}
"""What each model draws: channels, type, and the side by default."""


@EACH_MODEL
@pytest.mark.parametrize("size", [None, (5, 7), (1, 1)])
def test_samples_are_images_of_the_size_asked_for(model: str, size: tuple[int, int] | None) -> None:
    channels, dtype, side = FORMS[Path(model).stem]
    images = sample(model, 2, size)
    assert images.shape == (2, *(size or (side, side)), *channels)
    assert images.dtype == dtype


def test_a_model_of_both_draws_gray_or_rgb(model: str) -> None:
    assert sample(model, 2, (4, 5), channels=1).shape == (2, 4, 5)
    assert sample(model, 2, (4, 5), channels=3).shape == (2, 4, 5, 3)


@EACH_MODEL
@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_place_draws_the_same_images(
    model: str, backend: str, device: str, threads: int
) -> None:
    expected = sample(model, 3, (6, 9), seed=4, backend="int64", device="cpu")
    found = sample(model, 3, (6, 9), seed=4, backend=backend, device=device, threads=threads)
    np.testing.assert_array_equal(found, expected, strict=True)


@EACH_MODEL
def test_an_image_is_the_same_alone_and_among_others(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = sample(model, 5, (6, 9))
    np.testing.assert_array_equal(sample(model, 2, (6, 9)), many[:2])
    monkeypatch.setattr(sampling, "STACK_PIXELS", 2 * 6 * 9)  # now two by two
    np.testing.assert_array_equal(sample(model, 5, (6, 9)), many)


@EACH_MODEL
def test_each_image_and_each_seed_is_another(model: str) -> None:
    images = [*sample(model, 3, (8, 8)), *sample(model, 3, (8, 8), seed=1)]
    assert len({image.tobytes() for image in images}) == 6


@EACH_MODEL
def test_without_warmth_all_images_are_one(model: str) -> None:
    images = [
        *sample(model, 2, (8, 8), temperature=0),
        *sample(model, 1, (8, 8), seed=1, temperature=0),
    ]
    assert len({image.tobytes() for image in images}) == 1


@EACH_MODEL
def test_the_colder_the_likelier(model: str) -> None:
    ready = engine(Path(model).stem)
    bits = []
    for temperature in (0.3, 1.0, 5.0):
        images = sample(model, 4, (12, 12), temperature=temperature)
        bits.append(sum(evaluation.model_bits(image, ready) for image in images))
    assert bits == sorted(bits)


@pytest.mark.parametrize("model", ["rgb"], indirect=True)
def test_a_model_of_tiles_draws_each_as_an_image_of_its_own(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PaperProgram, "tile", 4)
    (image,) = sample(model, 1, (6, 11), temperature=0)
    for top in range(0, 6, 4):
        for left in range(0, 11, 4):
            tile = image[top : top + 4, left : left + 4]
            (alone,) = sample(model, 1, tile.shape[:2], temperature=0)
            np.testing.assert_array_equal(tile, alone)
    assert len(np.unique(tile)) > 1
    assert sample(model, 3).shape == (3, 4, 4, 3)


@pytest.mark.parametrize("tile", [0, 4])
def test_progress_of_samples_counts_each_pixel_once(
    model: str, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IntegerWavefrontPixelCNN, "tile", tile)
    told: list[tuple[int, int]] = []
    sample(model, 3, (6, 9), progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {3 * 6 * 9}
    assert told[-1][0] == 3 * 6 * 9


# Completions -------------------------------------------------------------------------------------


@st.composite
def masks(draw: st.DrawFn) -> sampling.Mask:
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 9)))
    bits = draw(st.integers(0, 2 ** (shape[0] * shape[1]) - 1))
    return np.array([bits >> i & 1 for i in range(shape[0] * shape[1])], np.bool_).reshape(shape)


@EACH_MODEL
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mask=masks(), temperature=st.sampled_from([0.0, 0.7, 1.0]))
def test_with_the_same_dice_a_sample_completes_to_itself(
    model: str, mask: sampling.Mask, temperature: float
) -> None:
    dice: dict[str, Any] = {"temperature": temperature, "seed": 3}
    first, second = sample(model, 2, mask.shape, **dice)
    completed, other = complete(first, mask, model, 2, **dice)

    np.testing.assert_array_equal(completed, first, strict=True)
    np.testing.assert_array_equal(other[~mask], first[~mask])
    if mask.ravel()[0]:  # where neither has seen anything
        np.testing.assert_array_equal(other[0, 0], second[0, 0])


@pytest.mark.parametrize("name", sampling.HALVES)
def test_what_is_known_stays_and_what_is_drawn_follows_from_it(model: str, name: str) -> None:
    image = scene(12, 14, 3)
    mask = half(name, 12, 14)
    drawn = complete(image, mask, model, 3)
    np.testing.assert_array_equal(drawn[:, ~mask], np.broadcast_to(image[~mask], (3, 84, 3)))
    assert len({each[mask].tobytes() for each in drawn}) == 3
    others = complete(image[:, ::-1], mask, model, 3)
    follows = name in {"lower", "right"}  # of the others the first pixel is drawn
    assert (drawn[:, mask][:, 0] != others[:, mask][:, 0]).any() == follows


@pytest.mark.parametrize(
    ("name", "shape", "rows"),
    [
        ("lower", (3, 2), ["..", "##", "##"]),
        ("upper", (3, 2), ["##", "##", ".."]),
        ("left", (2, 3), ["##.", "##."]),
        ("right", (2, 3), [".##", ".##"]),
        ("lower", (4, 1), [".", ".", "#", "#"]),
        ("upper", (4, 1), ["#", "#", ".", "."]),
    ],
)
def test_halves(name: str, shape: tuple[int, int], rows: list[str]) -> None:
    assert half(name, *shape).tolist() == [[pixel == "#" for pixel in row] for row in rows]


def test_a_pillow_image_can_be_completed(model: str) -> None:
    image = scene(5, 6, 3)
    mask = half("lower", 5, 6)
    np.testing.assert_array_equal(
        complete(Image.fromarray(image), mask, model), complete(image, mask, model)
    )


# To be looked at ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "rgb"])
@given(count=st.integers(1, 7), columns=st.integers(1, 9))
def test_a_grid_shows_all_images_row_by_row_on_gray(
    channels: tuple[int, ...], count: int, columns: int
) -> None:
    images = np.arange(1, count + 1, dtype=np.uint8)
    images = np.broadcast_to(
        images.reshape(-1, *[1] * (2 + len(channels))), (count, 2, 3, *channels)
    )
    page = grid(images, columns)

    across = min(count, columns)
    assert page.shape == (-(-count // across) * 4 - 2, across * 5 - 2, *channels)
    for number in range(count):
        top, left = number // across * 4, number % across * 5
        np.testing.assert_array_equal(page[top : top + 2, left : left + 3], images[number])
    assert (page == sampling.GRAY).sum() == page.size - images.size


def test_bits_are_shown_as_black_and_white() -> None:
    images = np.array([[[True, False]], [[False, False]]])
    assert grid(images, 1).tolist() == [[255, 0], [128, 128], [128, 128], [0, 0]]
    assert with_hole(images[0], np.array([[False, True]])).tolist() == [[255, 128]]


def test_a_hole_is_gray_and_the_image_is_left_alone() -> None:
    image = scene(4, 5, 3)
    before = image.copy()
    shown = with_hole(image, half("right", 4, 5))
    assert (shown[:, 2:] == sampling.GRAY).all()
    np.testing.assert_array_equal(shown[:, :2], image[:, :2])
    np.testing.assert_array_equal(image, before)


# What cannot be ----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [-0.1, float("inf"), float("nan")])
def test_a_temperature_that_is_none_is_refused(model: str, temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        sample(model, 1, (2, 2), temperature=temperature)


@pytest.mark.parametrize(("count", "size"), [(0, (2, 2)), (1, (0, 2)), (1, (2, -1))])
def test_nothing_cannot_be_drawn(model: str, count: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        sample(model, count, size)


def test_nothing_cannot_be_completed(model: str) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        complete(scene(2, 2), half("left", 2, 2), model, 0)


@pytest.mark.parametrize("model", ["gray"], indirect=True)
def test_channels_that_the_model_does_not_code_are_refused(model: str) -> None:
    with pytest.raises(ModelError, match="1-channel images, not 3-channel"):
        sample(model, 1, (2, 2), channels=3)


@pytest.mark.parametrize(
    "mask", [np.ones((2, 3), np.bool_), np.ones((3, 2), np.uint8), np.ones((3, 2, 3), np.bool_)]
)
def test_a_mask_of_another_shape_or_type_is_refused(model: str, mask: sampling.Mask) -> None:
    with pytest.raises(UnsupportedImageError, match=r"mask .* the image needs bool \(3, 2\)"):
        complete(scene(3, 2, 3), mask, model)


@pytest.mark.parametrize("model", ["bilevel"], indirect=True)
def test_an_image_of_another_depth_is_refused(model: str) -> None:
    with pytest.raises(UnsupportedImageError, match=r"8-bit samples; model .* codes 1-bit"):
        complete(scene(4, 4), half("lower", 4, 4), model)
