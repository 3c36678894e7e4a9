"""The softmax head: one distribution, in float for training and in integers for coding."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixelcodec.errors import ModelError
from pixelcodec.models import softmax

EXP = softmax.integer_tables()["exp"].numpy()
LEVELS = [2, 256]
LOWEST, HIGHEST = -(2**31), 2**31 - 1

Integers = npt.NDArray[Any]


def masses(logits: Integers) -> Integers:
    """Mass below each edge: int64 [n, levels + 1]."""
    edges = np.arange(logits.shape[1] + 1, dtype=np.int32)
    distribution = softmax.Softmax(logits, EXP)
    assert len(distribution) == len(logits)
    found = distribution.cumulative(np.tile(edges, (len(logits), 1)))
    assert found.dtype == np.int32
    return found.astype(np.int64)


@st.composite
def many_logits(draw: st.DrawFn) -> Integers:
    """Int32 [n, levels] of any spread, a few of them as large or small as int32 allows."""
    shape = (draw(st.integers(1, 4)), draw(st.sampled_from(LEVELS)))
    spread = draw(st.sampled_from([1, 30, 300, 3000, 2**20]))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    logits = random.normal(0, spread, shape).astype(np.int32)
    for place in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 255)), max_size=3)):
        logits[place[0] % shape[0], place[1] % shape[1]] = draw(st.sampled_from([LOWEST, HIGHEST]))
    return logits


ALIKE = [np.full((1, levels), value, np.int32) for levels in LEVELS for value in (LOWEST, 0)]


# Float -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("spread", [0.1, 1, 10, 1000])
def test_float_probabilities_sum_to_1(levels: int, spread: float) -> None:
    logits = torch.randn(5, 1, levels, generator=torch.Generator().manual_seed(1)) * spread
    samples = torch.arange(levels).expand(5, levels)

    bits = softmax.bits_of_samples(logits.expand(5, levels, levels), samples)

    np.testing.assert_allclose(torch.exp2(-bits.double()).sum(1), 1, atol=1e-5)
    assert (bits >= 0).all()


# Integers ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(logits=many_logits())
@example(logits=ALIKE[0])
@example(logits=ALIKE[1])
@example(logits=ALIKE[2])
@example(logits=ALIKE[3])
def test_masses_start_at_0_never_fall_and_reach_what_the_coder_expects(logits: Integers) -> None:
    found = masses(logits)

    assert not found[:, 0].any()
    assert (np.diff(found) >= 0).all()
    assert (found[:, -1] >= 2**27).all()
    assert (found[:, -1] < 2**28).all()


@settings(deadline=None)
@given(logits=many_logits())
def test_masses_are_those_of_the_exact_softmax(logits: Integers) -> None:
    scaled = logits.astype(np.float64) / 2**softmax.LOGIT_BITS
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    exact = powers / powers.sum(1, keepdims=True)

    found = np.diff(masses(logits)) / masses(logits)[:, -1:]

    # An entry of the table is wrong by half of 2**-16 of the largest, as are all that share with it
    allowed = 2.0**-17 * (1 + exact * logits.shape[1])
    assert (np.abs(found - exact) <= allowed + 1e-12).all()


def test_the_table_is_finer_than_what_coding_could_gain_from() -> None:
    logits = np.random.default_rng(1).normal(0, 64, (2000, 256)).astype(np.int32)
    exact = torch.log_softmax(torch.from_numpy(logits / 2.0**softmax.LOGIT_BITS), 1).numpy()
    found = np.diff(masses(logits)).astype(np.float64) + 64  # What the coder adds
    excess = (np.exp(exact) * (exact - np.log(found / found.sum(1, keepdims=True)))).sum(1)
    assert excess.max() / np.log(2) < 0.002  # bits a sample


@settings(deadline=None)
@given(logits=many_logits(), shift=st.integers(-(2**20), 2**20))
def test_only_differences_of_logits_count(logits: Integers, shift: int) -> None:
    near = np.clip(logits, -(2**20), 2**20)
    np.testing.assert_array_equal(masses(near), masses(near + np.int32(shift)))


@settings(deadline=None)
@given(logits=many_logits(), edges=st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_levels_above_the_last_hold_no_mass(logits: Integers, edges: list[int]) -> None:
    expected = masses(logits)[:, np.minimum(edges, logits.shape[1])]
    rows = np.tile(np.array(edges, np.int32), (len(logits), 1))
    np.testing.assert_array_equal(softmax.Softmax(logits, EXP).cumulative(rows), expected)


# Tables that cannot be ---------------------------------------------------------------------------


def test_the_shipped_table_is_accepted() -> None:
    softmax.check_tables(softmax.integer_tables())


@pytest.mark.parametrize(("index", "value"), [(0, 2**16 - 1), (0, 2**16 + 1), (7, 2**16), (-1, -1)])
def test_a_table_by_which_masses_could_overflow_or_fall_is_refused(index: int, value: int) -> None:
    exp = torch.from_numpy(EXP.copy())
    exp[index] = value
    with pytest.raises(ModelError, match=r"the table exp of a softmax must fall"):
        softmax.check_tables({"exp": exp})


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"exp": torch.from_numpy(EXP[:-1].copy())},
        {"exp": torch.from_numpy(EXP[None].copy())},
        {"exp": torch.from_numpy(EXP.astype(np.int64))},
    ],
    ids=["none", "short", "shape", "type"],
)
def test_a_table_of_another_shape_or_type_is_refused(tables: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError, match=r"the table exp of a softmax must be 512 int32"):
        softmax.check_tables(tables)
