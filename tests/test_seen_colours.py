"""Colours that were seen: they get the share that they turn out to have, and no level is lost."""

from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelcodec
from coding import Samples
from pictures import scene
from pixelcodec.effort import DEFAULT_EFFORT, EFFORTS, STATIC
from pixelcodec.models.learning import SEEING
from pixelcodec.models.mixture import Mixture, MixtureHead, integer_tables
from pixelcodec.models.seen_colours import SeenColours, Split, first_shares, worths

EDGES = np.arange(257)
SEEING_EFFORT = next(level for level, effort in EFFORTS.items() if effort.learning == SEEING)
FORMAT_PAGE = Path(__file__).parents[1] / "docs" / "FORMAT.md"


def mixtures(count: int, channel: int, seed: int = 0) -> Mixture:
    """Mixtures of 3 logistics."""
    random = np.random.default_rng(seed)
    logits, means = random.integers(-90, 90, (2, count, 3))
    scales, slopes = random.integers(0, 80, (count, 3)), random.integers(-40, 40, (count, channel))
    parameters = np.concatenate([logits, means, scales, slopes], 1).astype(np.int32)
    centre = random.integers(0, 256, (count, 3)).astype(np.int16)
    return MixtureHead(integer_tables(), 3)(parameters, channel, centre, np.zeros_like(centre))


def masses(found: Mixture | Split) -> np.ndarray:
    return found.cumulative(np.broadcast_to(EDGES, (len(found), 257)).astype(np.int32))


def after(image: Samples) -> SeenColours:
    """What was seen once ``image`` (uint8 [pixels, channels]) was coded, as one wave."""
    seen = SeenColours(image.shape[1])
    splits = [seen.split(mixtures(len(image), c), c, image) for c in range(image.shape[1])]
    seen.take_in(image, splits)
    return seen


@settings(deadline=None)  # it compiles at first
@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 60), st.sampled_from([1, 3])), elements=st.integers(0, 3)
    ),
    st.integers(0, 99),
)
def test_masses_rise_to_about_one_total(image: Samples, seed: int) -> None:
    seen = after(image)
    for channel in range(image.shape[1]):
        found = seen.split(mixtures(len(image), channel, seed), channel, image)
        below = masses(found)
        assert (np.diff(below) >= 0).all()
        if isinstance(found, Split):
            assert (below[:, 0] == 0).all()
            np.testing.assert_allclose(below[:, -1], 2**27, rtol=1e-4)


@pytest.mark.parametrize(("channels", "split"), [(1, [True]), (3, [False, True, True])])
def test_the_first_of_three_channels_stays_as_it_is(channels: int, split: list[bool]) -> None:
    seen, before = SeenColours(channels), np.zeros((4, channels), np.uint8)
    found = [seen.split(mixtures(4, c), c, before) for c in range(channels)]
    assert [isinstance(each, Split) for each in found] == split


def test_no_machine_rounds_the_tables_otherwise() -> None:
    with localcontext(prec=50):
        exact = [8 * (1 + Decimal("1.2") * Decimal(n).ln()) for n in range(1, 256)]
        odds = [Decimal(2) ** (Decimal(i - 32) / 2) for i in range(65)]
        shares = [2**16 * each / (1 + each) for each in odds]
        for number in (*exact, *shares):
            assert abs(number % 1 - Decimal("0.5")) > Decimal("1e-6")
        assert worths().tolist() == [0, *(min(round(number), 63) for number in exact)]
        limited = [min(max(round(number), 32), 2**16 - 32) for number in shares]
        assert first_shares().tolist() == limited


def test_where_nothing_was_seen_the_network_says_it_all() -> None:
    mixture = mixtures(50, 2)
    found = SeenColours(3).split(mixture, 2, np.zeros((50, 3), np.uint8))
    parts = np.diff(masses(mixture)) + 64
    expected = parts / parts.sum(1, keepdims=True)
    np.testing.assert_allclose(np.diff(masses(found)) / 2**27, expected, rtol=1e-3, atol=1e-6)


def test_what_was_seen_more_often_is_likelier() -> None:
    image = np.array([[1, 2, 100]] * 30 + [[1, 2, 101]] * 2 + [[9, 9, 102]], np.uint8)
    seen = after(image)
    mixture = mixtures(1, 2)
    before, then = (
        np.diff(masses(each.split(mixture, 2, image[:1])))[0] for each in (SeenColours(3), seen)
    )
    gain = then / np.maximum(before, 1)
    assert gain[100] > gain[101] > 1
    assert gain[102] <= 1  # that was with other red and green


def test_shares_follow_what_turns_out() -> None:
    seen = SeenColours(1)
    first, image = first_shares(), np.full((8, 1), 7, np.uint8)
    for _ in range(200):  # what the network takes for unlikely turns out every time
        seen.take_in(image, [seen.split(mixtures(8, 0), 0, image)])
    found = np.diff(masses(seen.split(mixtures(8, 0), 0, image)))[:, 7] / 2**27
    assert (found > 0.9).all()
    assert first[0] == 32
    assert first[-1] == 2**16 - 32
    assert first[32] == 2**15


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("effort", [SEEING_EFFORT, DEFAULT_EFFORT], ids=["alone", "heads learn"])
def test_images_with_gaps_take_fewer_bits(channels: int, effort: int) -> None:
    image = scene(90, 120, channels) // 5 * 5
    image = image[..., 0] if channels == 1 else image
    learnt, still = (
        pixelcodec.encode(image, model="photo-s", effort=each) for each in (effort, STATIC)
    )
    assert len(learnt) < 0.75 * len(still)
    np.testing.assert_array_equal(pixelcodec.decode(learnt), image)


def test_networks_for_gray_see_none_and_stay() -> None:
    image = scene(40, 50)
    seeing, static = (
        pixelcodec.encode(image, model="science-8", effort=effort)
        for effort in (SEEING_EFFORT, STATIC)
    )
    assert seeing == static


def test_the_format_page_has_the_tables() -> None:
    """No decoder needs a logarithm."""
    numbers = " ".join(FORMAT_PAGE.read_text(encoding="utf-8").split())
    for table in (worths(), first_shares()):
        assert f": {' '.join(map(str, table))} " in numbers
