"""The order of coding, and the storage of what earlier pixels left behind."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pictures import Samples, noise
from pixelcodec.models import context
from pixelcodec.models.program import Plane
from pixelcodec.schedule import (
    STACK_TILES,
    Canvas,
    Carry,
    Wave,
    stacks,
    symbol_positions,
    waves,
)

SLOPE = 2

Array = npt.NDArray[np.int64]
Place = tuple[int, int]
"""Row and column of a pixel."""

sides = st.integers(1, 12)
slopes = st.integers(1, 9)
slopes_and_none = st.integers(0, 9)


def pixels(wave: Wave, slope: int) -> list[Place]:
    """The pixels of ``wave``, from the top row down."""
    return [(y, wave.time - slope * y) for y in range(wave.first, wave.end)]


# Waves -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=sides, width=sides, slope=slopes_and_none)
def test_waves_take_each_pixel_once_and_are_never_empty(rows: int, width: int, slope: int) -> None:
    taken = [pixels(wave, slope) for wave in waves(rows, width, slope)]

    assert all(taken)
    places = [(y, x) for y in range(rows) for x in range(width)]
    assert sorted(place for wave in taken for place in wave) == places


@settings(deadline=None)
@given(rows=sides, width=sides, slope=slopes)
def test_waves_come_by_growing_time(rows: int, width: int, slope: int) -> None:
    assert all(a.time < b.time for a, b in pairwise(waves(rows, width, slope)))


@settings(deadline=None)
@given(rows=sides, width=sides, slope=slopes)
def test_what_a_context_of_the_slope_reaches_comes_in_earlier_waves(
    rows: int, width: int, slope: int
) -> None:
    wave_of = {
        pixel: wave.time for wave in waves(rows, width, slope) for pixel in pixels(wave, slope)
    }
    for (y, x), time in wave_of.items():
        for dy in range(y + 1):
            for tap in range(min(width, x + slope * dy)):  # columns to dx = slope * dy - 1
                assert wave_of[y - dy, tap] < time


def test_the_neighbourhood_is_one_of_the_slope() -> None:
    assert len(context.TAPS) == 22
    for dy, dx in context.TAPS:
        assert dx <= SLOPE * dy - 1


def test_a_strip_takes_its_width_and_the_slope_for_each_further_row() -> None:
    assert len(list(waves(rows=512, width=768, slope=2))) == 768 + 2 * 511


@settings(deadline=None)
@given(
    images=st.integers(1, 3),
    rows=sides,
    width=sides,
    slope=slopes_and_none,
    symbols=st.integers(1, 6),
)
def test_positions_follow_the_waves_symbol_by_symbol(
    images: int, rows: int, width: int, slope: int, symbols: int
) -> None:
    order = [
        (image, y, x, symbol)
        for wave in waves(rows, width, slope)
        for symbol in range(symbols)
        for image in range(images)
        for y, x in pixels(wave, slope)
    ]
    positions = symbol_positions(images, rows, width, slope, symbols)

    assert positions.shape == (images, rows, width, symbols)
    assert sorted(positions.flat) == list(range(images * rows * width * symbols))
    assert [int(positions[place]) for place in order] == list(range(len(order)))


# The canvas --------------------------------------------------------------------------------------


@st.composite
def runs(draw: st.DrawFn) -> tuple[tuple[int, int, int], ...]:
    """Taps that a wave of the slope may have, the pixel itself among them or not."""
    found = []
    for dy in sorted(draw(st.sets(st.integers(0, 3), min_size=1)), reverse=True):
        last = draw(st.integers(-3, max(0, SLOPE * dy - 1)))
        found.append((dy, draw(st.integers(-4, last)), last))
    return tuple(found)


Spot = tuple[int, int, int]
"""Image, row and column of a pixel."""

SAMPLES = Plane(context.CHANNELS, torch.int16, context.OUTSIDE, context.RUNS, on_host=True)


@dataclass(frozen=True)
class Case:
    """Images and their activations in each plane, to be visited in strips of some rows.

    ``samples`` and ``activations`` are [images, height, width, channels]. ``window`` is how many
    columns a canvas of the slope holds at once.
    """

    samples: Samples
    planes: dict[str, Plane]
    activations: dict[str, Array]
    strip_rows: int
    window: int

    def taps(self, name: str, image: int, y: int, x: int) -> list[int]:
        """The taps of a pixel in a plane, as they are meant."""
        plane, (height, width) = self.planes[name], self.samples.shape[1:3]
        found: list[int] = []
        for dy, first, last in plane.runs:
            for dx in range(first, last + 1):
                inside = 0 <= y - dy < height and 0 <= x + dx < width
                outside = [plane.outside] * plane.channels
                found += (
                    self.activations[name][image, y - dy, x + dx].tolist() if inside else outside
                )
        return found

    def of(self, name: str, spots: list[Spot]) -> torch.Tensor:
        """The activations of the pixels ``spots``."""
        chosen = np.stack([self.activations[name][spot] for spot in spots])
        return torch.from_numpy(chosen).to(self.planes[name].dtype)

    def visit(
        self, layout: str, carried: list[Carry] | None = None
    ) -> Iterator[tuple[Canvas, list[Spot]]]:
        """The canvas with some pixels in hand, and which they are, until all were.

        ``carried`` takes what each strip hands to the strip below.
        """
        images, height, width = self.samples.shape[:3]
        slope, columns = (SLOPE, self.window) if layout == "waves" else (0, None)
        planes = {"samples": SAMPLES, **self.planes}
        device = torch.device("cpu")
        canvas = Canvas(planes, images, self.strip_rows, width, slope, device, columns)
        above = canvas.nothing_above()
        for top in range(0, height, self.strip_rows):
            rows = min(self.strip_rows, height - top)
            canvas.begin(rows, above)
            if layout == "bands":
                places = [(y, x) for y in range(rows) for x in range(width)]
                yield canvas, self._spots(places, top)
            else:
                for wave in waves(rows, width, SLOPE if layout == "waves" else 0):
                    canvas.select(wave)
                    y, x = wave.places(SLOPE if layout == "waves" else 0)
                    yield canvas, self._spots(list(zip(y, x, strict=True)), top)
            above = canvas.end()
            if carried is not None:
                carried.append(above)

    def _spots(self, places: list[Place], top: int) -> list[Spot]:
        return [(image, top + y, x) for image in range(len(self.samples)) for y, x in places]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    images, height, width = (draw(st.integers(1, most)) for most in (3, 9, 40))
    seed = draw(st.integers(0, 99))
    planes, activations = {}, {}
    for name in ("a", "b")[: draw(st.integers(1, 2))]:
        channels = draw(st.integers(1, 3))
        planes[name] = Plane(channels, torch.int8, draw(st.sampled_from([0, -5])), draw(runs()))
        content = noise(images * height, width, channels, seed=seed).astype(np.int64) % 127 + 1
        activations[name] = content.reshape(images, height, width, channels)
    samples = noise(images * height, width, draw(st.sampled_from([1, 3])), seed=seed)
    strip_rows = draw(st.integers(1, height))
    stack = samples.reshape(images, height, width, -1)
    return Case(stack, planes, activations, strip_rows, draw(st.integers(1, 40)))


LAYOUTS = pytest.mark.parametrize("layout", ["waves", "bands", "pixels"])


@LAYOUTS
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_pixels_find_their_taps(layout: str, case: Case) -> None:
    for canvas, spots in case.visit(layout):
        assert canvas.count == len(spots)
        for name in case.planes:
            found = canvas.neighbourhoods(name, case.of(name, spots))
            assert found.tolist() == [case.taps(name, *spot) for spot in spots]


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_channels_can_be_stored_one_after_the_other(case: Case) -> None:
    for canvas, spots in case.visit("waves"):
        for name in case.planes:
            activations = case.of(name, spots)
            for channel in reversed(range(activations.shape[1])):
                canvas.store(name, activations[:, channel : channel + 1].contiguous(), channel)
            assert canvas.taps(name).tolist() == [case.taps(name, *spot) for spot in spots]


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_pixel_by_pixel_the_row_above_is_at_hand(case: Case) -> None:
    for canvas, spots in case.visit("pixels"):
        for name, plane in case.planes.items():
            if plane.runs[0][0] == 0:
                continue
            y = spots[0][1]
            found = canvas.row_above(name).numpy()
            expected = case.activations[name][:, y - 1] if y else np.full_like(found, plane.outside)
            np.testing.assert_array_equal(found, expected)
            canvas.store(name, case.of(name, spots))


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_pixel_by_pixel_the_row_so_far_is_at_hand_and_can_be_changed(case: Case) -> None:
    width = case.samples.shape[2]
    for canvas, spots in case.visit("pixels"):
        _, y, x = spots[0]
        assert canvas.ends_row == (x == width - 1)
        for name in case.planes:
            canvas.store(name, case.of(name, spots) + 1)
            canvas.row(name)[:, x] -= 1
            expected = case.activations[name][:, y, : x + 1]
            np.testing.assert_array_equal(canvas.row(name)[:, : x + 1].numpy(), expected)


@LAYOUTS
@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_taps_of_several_planes_stand_side_by_side(layout: str, case: Case) -> None:
    for canvas, spots in case.visit(layout):
        for name in case.planes:
            canvas.store(name, case.of(name, spots))
        alone = [canvas.taps(name) for name in case.planes]
        assert torch.equal(canvas.taps(*case.planes), torch.cat(alone, 1))


@LAYOUTS
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_a_strip_hands_its_last_rows_to_the_strip_below(layout: str, case: Case) -> None:
    carried: list[Carry] = []
    for canvas, spots in case.visit(layout, carried):
        for name in case.planes:
            canvas.store(name, case.of(name, spots))

    height = case.samples.shape[1]
    ends = [min(top + case.strip_rows, height) for top in range(0, height, case.strip_rows)]
    for name, plane in case.planes.items():
        above = max(dy for dy, _, _ in plane.runs)
        padding = [(0, 0), (above, 0), (0, 0), (0, 0)]
        padded = np.pad(case.activations[name], padding, constant_values=plane.outside)
        for end, carry in zip(ends, carried, strict=True):
            np.testing.assert_array_equal(carry[name].numpy(), padded[:, end : end + above])


@LAYOUTS
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_the_context_is_that_of_the_whole_image(layout: str, case: Case) -> None:
    shape = case.samples.shape[:3]
    table = context.companding_table()
    whole = context.context_of_images(np.broadcast_to(case.samples, (*shape, 3)), table)
    centre, features = whole.centre.reshape(*shape, -1), whole.features.reshape(*shape, -1)

    def remember(canvas: Canvas, samples: Samples) -> None:
        storage, block = canvas.on_host("samples")
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        storage[:, rows, columns] = samples.reshape(shape[0], block.rows, block.span, -1)

    for canvas, spots in case.visit(layout):
        image, y, x = np.array(spots).T
        if layout == "bands":  # where all samples are known
            remember(canvas, case.samples[image, y, x])
        found = context.centred_context(*canvas.on_host("samples"), table)
        np.testing.assert_array_equal(found.centre, centre[image, y, x])
        np.testing.assert_array_equal(found.features, features[image, y, x])
        remember(canvas, case.samples[image, y, x])


# Tiles -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=sides, width=sides, tile=st.integers(0, 5))
def test_stacks_take_each_pixel_once(rows: int, width: int, tile: int) -> None:
    taken = np.zeros((rows, width), int)
    for stack in stacks(rows, width, tile):
        assert taken[stack.index].shape == (len(stack.tops), stack.rows, stack.width)
        taken[stack.index] += 1
        if tile:
            assert not (stack.tops % tile).any()
            assert not (stack.lefts % tile).any()
            assert max(stack.rows, stack.width) <= tile
    assert (taken == 1).all()


def test_a_strip_that_is_not_cut_is_one_stack() -> None:
    (stack,) = stacks(5, 7, 0)
    assert (len(stack.tops), stack.rows, stack.width) == (1, 5, 7)


def test_a_stack_has_at_most_so_many_tiles() -> None:
    counts = [len(stack.tops) for stack in stacks(28 * 30, 28 * 40, 28)]
    assert counts == [STACK_TILES, STACK_TILES, 1200 - 2 * STACK_TILES]


@pytest.mark.parametrize(("tile", "count"), [(32, 512), (33, 481), (256, 8), (725, 1), (1000, 1)])
def test_a_stack_of_large_tiles_has_fewer(tile: int, count: int) -> None:
    first = next(stacks(tile * 30, tile * 30, tile))
    assert len(first.tops) == count
