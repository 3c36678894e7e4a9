"""Choices, frequencies and words: whatever a distribution says, its samples come back."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import reference_decoder as reference
from pixelcodec import coder
from pixelcodec.coder import RangeDecoder, RangeEncoder, describe
from pixelcodec.errors import FormatError
from pixelcodec.models.program import FLOOR

Samples = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int32]

SHARED = 2**24 - 18
MOST = int(2**28.9) - 1
"""The largest mass."""

MIXTURE_MOST = 7 * 1024 * 65535
"""The largest mass that a mixture has."""


@dataclass(frozen=True)
class Table:
    """Distributions of n samples by the mass below each edge, int32 [n, 257]."""

    masses: Integers

    def __len__(self) -> int:
        return len(self.masses)

    def __getitem__(self, part: slice) -> "Table":
        return Table(self.masses[part])

    def cumulative(self, edges: Integers) -> Integers:
        assert edges.dtype == np.int32
        return np.take_along_axis(self.masses, edges, 1)

    def frequencies(self, n: int, edges: range) -> list[int]:
        """Frequencies of the 18 symbols of a choice, by the formula of docs/FORMAT.md."""
        mass = [int(self.masses[n, e]) + 64 * e for e in edges]
        share = [(m - mass[0]) * SHARED // (mass[-1] - mass[0]) for m in mass]
        return [1, *(share[i + 1] - share[i] + 1 for i in range(16)), 1]


FIRST = range(0, 257, 16)


def second(high: int) -> range:
    return range(16 * high, 16 * high + 17)


@st.composite
def mass_of_levels(draw: st.DrawFn) -> list[int]:
    """The mass of each level: flat, zero in places or all over, or heaped up to the limit."""
    if draw(st.booleans()):
        return draw(st.lists(st.integers(0, MOST // 256), min_size=256, max_size=256))
    mass = [0] * 256
    heaps = draw(st.lists(st.integers(0, 255), max_size=4))
    for level in heaps:
        most = MOST - sum(mass)
        mass[level] += draw(st.integers(0, most) | st.just(most) | st.integers(0, min(most, 99)))
    return mass


@st.composite
def tables(draw: st.DrawFn, most: int = 12) -> Table:
    rows = draw(st.lists(mass_of_levels(), min_size=1, max_size=most))
    below = draw(st.integers(0, MOST - max(map(sum, rows))))  # a mixture's is not 0 either
    masses = np.zeros((len(rows), 257), np.int64)
    np.cumsum(rows, 1, out=masses[:, 1:])
    return Table((masses + below).astype(np.int32))


@st.composite
def tables_and_samples(draw: st.DrawFn) -> tuple[Table, Samples]:
    table = draw(tables())
    n = len(table)
    levels = st.integers(0, 255) | st.sampled_from([0, 15, 16, 240, 255])
    samples = draw(st.lists(levels, min_size=n, max_size=n))
    return table, np.array(samples, np.uint8)


def encode(table: Table, samples: Samples, waves: list[slice]) -> bytes:
    encoder = RangeEncoder()
    for wave in waves:
        choices = describe(table[wave], samples[wave])
        for choice in range(choices.shape[1]):
            encoder.encode(choices[:, choice])
    return encoder.finish()


def decode(table: Table, payload: bytes, waves: list[slice]) -> Samples:
    decoder = RangeDecoder(payload)
    return np.concatenate([decoder.decode(table[wave]) for wave in waves])


def split(table: Table, at: int) -> list[slice]:
    """Two waves, of which neither is empty, or one."""
    at %= len(table)
    return [slice(0, at), slice(at, None)] if at else [slice(None)]


# Round trip --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(case=tables_and_samples(), at=st.integers(0, 99))
def test_what_is_coded_comes_back(case: tuple[Table, Samples], at: int) -> None:
    table, samples = case
    payload = encode(table, samples, split(table, at))

    np.testing.assert_array_equal(decode(table, payload, split(table, at)), samples)


@settings(max_examples=60, deadline=None)
@given(case=tables_and_samples())
def test_words_hold_the_information_of_the_choices_and_little_more(
    case: tuple[Table, Samples],
) -> None:
    table, samples = case
    bits = 0.0
    for n, sample in enumerate(samples.tolist()):
        high, low = divmod(sample, 16)
        bits += 24 - math.log2(table.frequencies(n, FIRST)[high + 1])
        bits += 24 - math.log2(table.frequencies(n, second(high))[low + 1])

    payload = encode(table, samples, [slice(None)])

    assert len(payload) % 4 == 0
    assert bits - 1 < 8 * len(payload) <= bits + 64


def test_a_strip_of_nothing_has_no_words() -> None:
    assert RangeEncoder().finish() == b""


# Frequencies -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(case=tables_and_samples())
def test_the_encoder_takes_the_frequencies_of_the_formula(case: tuple[Table, Samples]) -> None:
    table, samples = case
    choices = describe(table, samples).astype(int) + 1

    for n, sample in enumerate(samples.tolist()):
        high, low = divmod(sample, 16)
        for i, (edges, branch) in enumerate([(FIRST, high), (second(high), low)]):
            found = table.frequencies(n, edges)
            left, own, right = sum(found[: branch + 1]), found[branch + 1], sum(found[branch + 2 :])
            assert choices[n, i].tolist() == [left, own, right]


@settings(max_examples=60, deadline=None)
@given(table=tables(), data=st.data())
def test_the_decoder_takes_the_frequencies_of_the_formula(
    table: Table, data: st.DataObject
) -> None:
    edges = data.draw(st.sampled_from([FIRST, *map(second, range(16))]))
    choices = np.zeros((len(table), 18), np.float32)
    coder._tabulate(table.masses[:, list(edges)], edges.step * FLOOR, choices)

    frequencies = choices.astype(int) + 1
    assert frequencies.tolist() == [table.frequencies(n, edges) for n in range(len(table))]
    assert (frequencies.sum(1) == 2**24).all()
    assert (frequencies >= 1).all()


large_totals = st.integers(MOST - 10**7, MOST)
totals = large_totals | st.integers(1, MOST) | st.integers(1, 99)

DIVISORS = [d for d in range(1, 35) if SHARED % d == 0]
DIVISORS += [SHARED // d for d in DIVISORS]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), total=totals)
def test_a_share_is_the_floor_of_the_quotient(data: st.DataObject, total: int) -> None:
    part = data.draw(st.integers(0, total) | st.sampled_from([0, total - 1, total]))
    assert coder._share(part, total) == part * SHARED // total


@settings(max_examples=300, deadline=None)
@given(data=st.data(), common=st.sampled_from(DIVISORS))
def test_a_share_is_exact_where_the_quotient_is_whole_or_just_below(
    data: st.DataObject, common: int
) -> None:
    step = data.draw(st.integers(1, MOST // common) | st.just(MOST // common))
    total = step * common
    part = step * data.draw(st.integers(1, common))
    assert part * SHARED % total == 0
    assert coder._share(part, total) == part * SHARED // total
    assert coder._share(part - 1, total) == (part - 1) * SHARED // total


@settings(max_examples=300, deadline=None)
@given(total=large_totals | totals)
@example(total=MOST)
@example(total=MIXTURE_MOST)
def test_a_share_is_exact_where_the_quotient_comes_closest_to_the_next_whole_number(
    total: int,
) -> None:
    assume(total > 1)
    assume(math.gcd(total, SHARED) == 1)
    part = -pow(SHARED, -1, total) % total
    assert (part * SHARED + 1) % total == 0  # It is 1 / total below
    assert coder._share(part, total) == part * SHARED // total


# Damage ------------------------------------------------------------------------------------------


def by_the_page(table: Table, payload: bytes) -> list[int] | None:
    """The samples that docs/FORMAT.md says are in ``payload``; None if it calls it damaged."""
    try:
        words = reference.RangeDecoder(payload)
        highs = [choose(words, table.frequencies(n, FIRST)) for n in range(len(table))]
        lows = [choose(words, table.frequencies(n, second(h))) for n, h in enumerate(highs)]
    except ValueError:
        return None
    return [16 * high + low for high, low in zip(highs, lows, strict=True)]


def choose(words: reference.RangeDecoder, frequencies: list[int]) -> int:
    symbol = words.symbol(frequencies)
    if not 1 <= symbol <= 16:
        raise ValueError("a symbol that is never coded")
    return symbol - 1


WORDS = st.lists(
    st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1), max_size=12
).map(lambda words: np.array(words, "<u4").tobytes())


def check_damaged(table: Table, payload: bytes) -> None:
    expected = by_the_page(table, payload)
    if expected is None:
        with pytest.raises(FormatError, match="damaged"):
            decode(table, payload, [slice(None)])
    else:
        found = decode(table, payload, [slice(None)])
        assert found.dtype == np.uint8
        assert found.tolist() == expected


@settings(max_examples=80, deadline=None)
@given(table=tables(), payload=WORDS)
def test_any_words_give_the_samples_of_the_page_or_an_error(table: Table, payload: bytes) -> None:
    check_damaged(table, payload)


@settings(max_examples=50, deadline=None)
@given(case=tables_and_samples(), data=st.data())
def test_damaged_words_give_the_samples_of_the_page_or_an_error(
    case: tuple[Table, Samples], data: st.DataObject
) -> None:
    table, samples = case
    payload = bytearray(encode(table, samples, [slice(None)]))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    check_damaged(table, bytes(payload))


FLAT = Table(np.arange(257, dtype=np.int32)[None].repeat(3, 0))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(bytes(8), id="the lower dummy branch"),
        pytest.param(b"\xff" * 8, id="the upper dummy branch"),
        pytest.param(b"", id="no words, which count as zero"),
    ],
)
def test_what_no_encoder_writes_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError, match="no encoder writes"):
        RangeDecoder(payload).decode(FLAT)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_a_part_of_a_word_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"{size} bytes, which are no 32-bit words"):
        RangeDecoder(bytes(size))


@settings(max_examples=30, deadline=None)
@given(case=tables_and_samples(), words=st.binary(min_size=4, max_size=4))
def test_words_left_over_are_ignored(case: tuple[Table, Samples], words: bytes) -> None:
    table, samples = case
    payload = encode(table, samples, [slice(None)])
    assert by_the_page(table, payload + words) is not None or len(payload) < 8
    check_damaged(table, payload + words)
