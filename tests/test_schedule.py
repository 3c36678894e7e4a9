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
from pixelcodec.models.pixelcnn import Plane
from pixelcodec.schedule import Canvas, Carry, Wave, symbol_positions, waves

SLOPE = 2

Array = npt.NDArray[np.int64]
Place = tuple[int, int]
"""Row and column of a pixel."""

sides = st.integers(1, 12)
slopes = st.integers(1, 9)


def pixels(wave: Wave, slope: int) -> list[Place]:
    """The pixels of ``wave``, from the top row down."""
    return [(y, wave.time - slope * y) for y in range(wave.first, wave.end)]


# Waves -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=sides, width=sides, slope=slopes)
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
@given(rows=sides, width=sides, slope=slopes, symbols=st.integers(1, 6))
def test_positions_follow_the_waves_symbol_by_symbol(
    rows: int, width: int, slope: int, symbols: int
) -> None:
    order = [
        (y, x, symbol)
        for wave in waves(rows, width, slope)
        for symbol in range(symbols)
        for y, x in pixels(wave, slope)
    ]
    positions = symbol_positions(rows, width, slope, symbols)

    assert positions.shape == (rows, width, symbols)
    assert sorted(positions.flat) == list(range(rows * width * symbols))
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


@dataclass(frozen=True)
class Case:
    """An image and its activations in each plane, to be visited in strips of some rows.

    ``window`` is how many columns a canvas of the slope holds at once.
    """

    samples: Samples
    planes: dict[str, Plane]
    activations: dict[str, Array]
    strip_rows: int
    window: int

    def taps(self, name: str, y: int, x: int) -> list[int]:
        """The taps of a pixel in a plane, as they are meant."""
        plane, (height, width) = self.planes[name], self.samples.shape[:2]
        found: list[int] = []
        for dy, first, last in plane.runs:
            for dx in range(first, last + 1):
                inside = 0 <= y - dy < height and 0 <= x + dx < width
                outside = [plane.outside] * plane.channels
                found += self.activations[name][y - dy, x + dx].tolist() if inside else outside
        return found

    def of(self, name: str, places: list[Place]) -> torch.Tensor:
        """The activations of the pixels ``places``."""
        chosen = np.stack([self.activations[name][place] for place in places])
        return torch.from_numpy(chosen).to(self.planes[name].dtype)

    def visit(
        self, layout: str, carried: list[Carry] | None = None
    ) -> Iterator[tuple[Canvas, list[Place]]]:
        """The canvas with some pixels in hand, and which they are, until all were.

        ``carried`` takes what each strip hands to the strip below.
        """
        height, width = self.samples.shape[:2]
        slope, columns = (SLOPE, self.window) if layout == "waves" else (0, None)
        samples = Plane(context.CHANNELS, torch.int16, context.OUTSIDE, context.RUNS)
        device = torch.device("cpu")
        canvas = Canvas(samples, self.planes, self.strip_rows, width, slope, device, columns)
        above = canvas.nothing_above()
        for top in range(0, height, self.strip_rows):
            rows = min(self.strip_rows, height - top)
            canvas.begin(rows, above)
            if layout == "waves":
                for wave in waves(rows, width, SLOPE):
                    canvas.select(wave)
                    yield canvas, [(top + y, x) for y, x in pixels(wave, SLOPE)]
            else:
                yield canvas, [(top + y, x) for y in range(rows) for x in range(width)]
            above = canvas.end()
            if carried is not None:
                carried.append(above)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 99))
    planes, activations = {}, {}
    for name in ("a", "b")[: draw(st.integers(1, 2))]:
        channels = draw(st.integers(1, 3))
        planes[name] = Plane(channels, torch.int8, draw(st.sampled_from([0, -5])), draw(runs()))
        activations[name] = noise(height, width, channels, seed=seed).astype(np.int64) % 127 + 1
    samples = noise(height, width, draw(st.sampled_from([1, 3])), seed=seed)
    strip_rows = draw(st.integers(1, height))
    return Case(samples, planes, activations, strip_rows, draw(st.integers(1, 40)))


LAYOUTS = pytest.mark.parametrize("layout", ["waves", "bands"])


@LAYOUTS
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_pixels_find_their_taps(layout: str, case: Case) -> None:
    for canvas, places in case.visit(layout):
        for name in case.planes:
            found = canvas.neighbourhoods(name, case.of(name, places))
            assert found.tolist() == [case.taps(name, *place) for place in places]


@LAYOUTS
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_a_strip_hands_its_last_rows_to_the_strip_below(layout: str, case: Case) -> None:
    carried: list[Carry] = []
    for canvas, places in case.visit(layout, carried):
        for name in case.planes:
            canvas.neighbourhoods(name, case.of(name, places))

    height = len(case.samples)
    ends = [min(top + case.strip_rows, height) for top in range(0, height, case.strip_rows)]
    for name, plane in case.planes.items():
        above = max(dy for dy, _, _ in plane.runs)
        padding = [(above, 0), (0, 0), (0, 0)]
        padded = np.pad(case.activations[name], padding, constant_values=plane.outside)
        for end, carry in zip(ends, carried, strict=True):
            np.testing.assert_array_equal(carry[name].numpy(), padded[end : end + above])


@LAYOUTS
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_the_context_is_that_of_the_whole_image(layout: str, case: Case) -> None:
    size = case.samples.shape[:2]
    table = context.companding_table()
    whole = context.context_of_images(np.broadcast_to(case.samples, (1, *size, 3)), table)
    centre, features = whole.centre.reshape(*size, -1), whole.features.reshape(*size, -1)

    for canvas, places in case.visit(layout):
        y, x = np.array(places).T
        if layout == "bands":  # where all samples are known
            canvas.put_samples(case.samples[y, x])
        found = context.centred_context(*canvas.samples_in_hand(), table)
        np.testing.assert_array_equal(found.centre, centre[y, x])
        np.testing.assert_array_equal(found.features, features[y, x])
        canvas.put_samples(case.samples[y, x])
