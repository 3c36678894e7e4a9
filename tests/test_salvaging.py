"""Damaged files: every strip that is whole comes back, in its place, and all others are marked."""

import io
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec
from pixelcodec import FormatError, Picture
from pixelcodec.pictures import Chunk
from pixelcodec.salvaging import STRIPE, draw_mark
from robustness.mutations import chunk, mended, sealed, split

STRIPS, ROWS = 6, 3
TEXT = Chunk(b"tEXt", b"Title\0six strips")
SAMPLES = np.random.default_rng(1).integers(0, 256, (STRIPS * ROWS - 1, 5, 3), np.uint8)

DEPENDENT = {"model": "photo-s", "effort": 1}
INDEPENDENT = {**DEPENDENT, "restart": True}
WITHOUT_A_MODEL = {"model": "standard"}
WAYS = {"joined": DEPENDENT, "restart": INDEPENDENT, "standard": WITHOUT_A_MODEL}

EACH_WAY = pytest.mark.parametrize("way", WAYS)
INDEPENDENT_WAYS = pytest.mark.parametrize("way", ["restart", "standard"])


@cache
def pieces(way: str) -> tuple[bytes, ...]:
    """Head, metadata, strips, end mark."""
    picture = Picture(SAMPLES, 8, (TEXT,))
    return tuple(split(pixelcodec.encode(picture, strip_rows=ROWS, **WAYS[way])))  # type: ignore[arg-type]


FIRST = 2
"""The piece that is the first strip."""


def file(way: str, **changed: bytes) -> bytes:
    """The file, some of its pieces changed: ``strip0`` to ``strip5``, ``metadata``, ``end``."""
    names = ["head", "metadata", *(f"strip{n}" for n in range(STRIPS)), "end"]
    return b"".join(
        changed.get(name, piece) for name, piece in zip(names, pieces(way), strict=True)
    )


def strip(way: str, index: int) -> bytes:
    return pieces(way)[FIRST + index]


def with_damaged_payload(piece: bytes) -> bytes:
    return piece[:7] + bytes([piece[7] ^ 1]) + piece[8:]


def with_damaged_length(piece: bytes) -> bytes:
    return piece[:2] + bytes([piece[2] ^ 0x40]) + piece[3:]


def rows_of(*strips: int) -> list[int]:
    rows = [row for n in strips for row in range(n * ROWS, (n + 1) * ROWS)]
    return [row for row in rows if row < len(SAMPLES)]


def check(found: pixelcodec.Salvaged, lost: list[int]) -> None:
    """That these rows, and no others, are lost, and all others right."""
    assert [row for rows in found.lost for row in rows] == lost
    kept = np.delete(np.arange(len(SAMPLES)), lost)
    np.testing.assert_array_equal(found.picture.samples[kept], SAMPLES[kept])
    assert bool(found.damage) or not lost


@EACH_WAY
def test_a_whole_file_is_the_image(way: str) -> None:
    found = pixelcodec.salvage(file(way))
    assert found == pixelcodec.Salvaged(Picture(SAMPLES, 8, (TEXT,)), (), ())


@EACH_WAY
def test_streams_are_taken_too(way: str) -> None:
    assert pixelcodec.salvage(io.BytesIO(file(way))) == pixelcodec.salvage(file(way))


@pytest.mark.parametrize("harm", [with_damaged_payload, with_damaged_length])
@pytest.mark.parametrize("index", range(STRIPS))
@INDEPENDENT_WAYS
def test_of_independent_strips_the_damaged_one_alone_is_lost(
    way: str, index: int, harm: object
) -> None:
    damaged = harm(strip(way, index))  # type: ignore[operator]
    check(pixelcodec.salvage(file(way, **{f"strip{index}": damaged})), rows_of(index))


@pytest.mark.parametrize("index", range(1, STRIPS))
def test_of_others_all_below_are_lost(index: int) -> None:
    damaged = with_damaged_payload(strip("joined", index))
    found = pixelcodec.salvage(file("joined", **{f"strip{index}": damaged}))
    check(found, rows_of(*range(index, STRIPS)))


@pytest.mark.parametrize("size", [0, 3, 10])
@INDEPENDENT_WAYS
def test_bytes_that_are_missing_or_too_many_do_not_shift_rows(way: str, size: int) -> None:
    short = strip(way, 2)[: -size or None][:-1]
    check(pixelcodec.salvage(file(way, strip2=short)), rows_of(2))
    long = strip(way, 2) + bytes(size + 1)
    check(pixelcodec.salvage(file(way, strip2=long)), [])


@INDEPENDENT_WAYS
def test_several_strips_are_lost_where_they_were(way: str) -> None:
    harmed = {f"strip{n}": with_damaged_payload(strip(way, n)) for n in (0, 3, 4)}
    check(pixelcodec.salvage(file(way, **harmed)), rows_of(0, 3, 4))


@INDEPENDENT_WAYS
def test_strips_between_gaps_are_where_they_were(way: str) -> None:
    gaps = {f"strip{n}": with_damaged_length(strip(way, n)) for n in (1, 4)}
    check(pixelcodec.salvage(file(way, **gaps)), rows_of(1, 4))


@INDEPENDENT_WAYS
def test_strips_that_are_missing_leave_no_trace_but_gaps(way: str) -> None:
    found = pixelcodec.salvage(file(way, strip0=b"", strip3=b""))
    check(found, rows_of(0, 3))
    assert sum("are missing, or out of order" in what for what in found.damage) == 2


@EACH_WAY
def test_what_is_cut_off_is_lost(way: str) -> None:
    data = file(way)
    ends = np.cumsum([len(piece) for piece in pieces(way)])
    for size in range(int(ends[FIRST]), len(data), 11):
        whole = int(np.searchsorted(ends[FIRST:-1], size, side="right"))
        check(pixelcodec.salvage(data[:size]), rows_of(*range(whole, STRIPS)))


@EACH_WAY
def test_without_a_right_end_mark_all_rows_come_back_unchecked(way: str) -> None:
    end = with_damaged_payload(pieces(way)[-1])
    found = pixelcodec.salvage(file(way, end=end))
    check(found, [])
    assert found.damage[-1] == "the checksum of all samples is lost"


@INDEPENDENT_WAYS
def test_strips_that_changed_places_go_back(way: str) -> None:
    found = pixelcodec.salvage(file(way, strip1=strip(way, 2), strip2=strip(way, 1)))
    check(found, [])
    assert "are missing, or out of order" in found.damage[0]


@INDEPENDENT_WAYS
def test_where_two_strips_claim_a_place_neither_has_it(way: str) -> None:
    other = split(sealed(file(way, strip2=strip(way, 3))))[FIRST + 2]
    check(pixelcodec.salvage(file(way, strip2=strip(way, 2) + other)), rows_of(2))
    check(pixelcodec.salvage(file(way, strip2=2 * strip(way, 2))), [])


@INDEPENDENT_WAYS
def test_strips_of_another_image_are_lost(way: str) -> None:
    how: dict[str, object] = {"strip_rows": ROWS, **WAYS[way]}
    other = split(pixelcodec.encode(Picture(255 - SAMPLES[:-1], 8), **how))  # type: ignore[arg-type]
    check(pixelcodec.salvage(file(way, strip1=other[2])), rows_of(1))


@INDEPENDENT_WAYS
def test_a_strip_that_no_encoder_wrote_is_lost(way: str) -> None:
    found = pixelcodec.salvage(sealed(file(way, strip2=chunk(b"S", b"123"))))
    check(found, rows_of(2))
    assert any(what.startswith("strip 3 of 6: ") for what in found.damage)


@pytest.mark.parametrize(
    "metadata",
    [
        with_damaged_payload(pieces("standard")[1]),
        with_damaged_length(pieces("standard")[1]),
        chunk(b"M", b"nonsense"),
        chunk(b"Z", b"nonsense"),
        b"",
    ],
    ids=["payload", "length", "inside", "not deflated", "missing"],
)
@EACH_WAY
def test_damaged_metadata_are_left_out(way: str, metadata: bytes) -> None:
    whole = file(way, metadata=metadata)
    seal = sealed if metadata[1:] == chunk(metadata[:1], b"nonsense")[1:] else bytes
    found = pixelcodec.salvage(seal(whole))
    check(found, [])
    assert found.picture.chunks == ()
    assert any(what.startswith("the metadata are lost") for what in found.damage)


@settings(deadline=None, max_examples=60)
@given(
    way=st.sampled_from(list(WAYS)),
    places=st.lists(st.integers(44, 10**6), min_size=1, max_size=4),
    cut=st.integers(0, 30),
)
def test_no_row_is_wrong_whatever_happens_to_bytes(way: str, places: list[int], cut: int) -> None:
    damaged = bytearray(file(way))
    for place in places:
        damaged[44 + place % (len(damaged) - 44)] ^= 1 << place % 8
    begin = 44 + places[0] % (len(damaged) - 44)
    del damaged[begin : begin + cut]
    with suppress(FormatError):  # that nothing can be had
        found = pixelcodec.salvage(bytes(damaged))
        check(found, [row for rows in found.lost for row in rows])


# What cannot be had ------------------------------------------------------------------------------


def test_without_a_header_there_is_nothing() -> None:
    for damaged in (b"", pieces("restart")[0][:20], b"\x89PNG" + file("restart")[4:]):
        with pytest.raises(FormatError):
            pixelcodec.salvage(damaged)


@EACH_WAY
def test_without_a_strip_there_is_nothing(way: str) -> None:
    with pytest.raises(FormatError, match=r"^nothing can be had: .*no strip of 6 is whole"):
        pixelcodec.salvage(file(way)[: len(b"".join(pieces(way)[:2]))])


@pytest.mark.parametrize("kept", range(1, STRIPS))
@INDEPENDENT_WAYS
def test_a_damaged_checksum_passes_for_no_other_place(way: str, kept: int) -> None:
    """Bits of it are not those of the place, of which another would be a strip of this file."""
    begin = b"".join(pieces(way)[:FIRST])
    strips = [strip(way, n) for n in range(kept)]
    for bit in range(32):
        damaged = bytearray(strips[-1])
        damaged[-4 + bit // 8] ^= 1 << bit % 8
        data = begin + b"".join([*strips[:-1], damaged])
        with suppress(FormatError):  # that nothing can be had of one strip
            check(pixelcodec.salvage(data), rows_of(*range(kept - 1, STRIPS)))


def large(way: str, size: int) -> tuple[list[bytes], Picture]:
    """The pieces of a file of six strips of noise, each of so many bytes or more."""
    samples = np.random.default_rng(2).integers(0, 256, (STRIPS, size // 3, 3), np.uint8)
    return split(pixelcodec.encode(samples, model=way, strip_rows=1)), Picture(samples, 8)


@pytest.mark.parametrize("harm", [with_damaged_payload, with_damaged_length])
def test_of_large_files_the_damaged_strip_alone_is_lost(harm: object) -> None:
    """Much in them looks like chunks: the search must not use up its limit."""
    found, picture = large("standard", 400_000)
    found[3] = harm(found[3])  # type: ignore[operator]
    salvaged = pixelcodec.salvage(b"".join(found))
    assert salvaged.lost == (range(2, 3),)
    kept = np.delete(picture.samples, 2, 0)
    np.testing.assert_array_equal(np.delete(salvaged.picture.samples, 2, 0), kept)


def test_what_is_kept_inside_a_damaged_chunk_is_not_the_files_own() -> None:
    """Another image with the same header, in a chunk for whatever a program wants to keep."""
    how: dict[str, object] = {"strip_rows": ROWS, **WITHOUT_A_MODEL}
    other = pixelcodec.encode(Picture(255 - SAMPLES, 8, (TEXT,)), **how)  # type: ignore[arg-type]
    *begin, first, second, third, fourth, fifth, last, end = pieces("standard")
    inside = chunk(b"x", other)
    before = split(
        sealed(b"".join([*begin, inside, first, second, third, fourth, fifth, last, end]))
    )
    before[2] = with_damaged_payload(before[2])
    for cut in (0, 60):
        data = b"".join(before)
        found = pixelcodec.salvage(data[: len(data) - cut])
        check(found, [row for rows in found.lost for row in rows])
        assert len(found.lost) == (cut > 0)


@INDEPENDENT_WAYS
def test_what_is_lost_is_told_even_if_all_checksums_are_right(way: str) -> None:
    for data in (
        sealed(file(way, **{f"strip{n}": b"" for n in range(2, STRIPS)})),
        sealed(file(way, strip5=strip(way, 5).replace(b"S", b"P", 1))),
        sealed(file(way, end=2 * pieces(way)[-1])),
        sealed(file(way, strip5=2 * strip(way, 5))),
    ):
        with pytest.raises(FormatError):
            pixelcodec.decode(data)
        assert pixelcodec.salvage(data).damage


@EACH_WAY
def test_what_a_newer_encoder_wrote_and_must_be_understood_is_refused(way: str) -> None:
    newer = sealed(file(way, metadata=pieces(way)[1] + chunk(b"B", b"anything")))
    for damaged in (newer, newer[:-20]):
        with pytest.raises(FormatError, match=r"unknown critical chunk 'B' at byte .* newer"):
            pixelcodec.salvage(damaged)
    ancillary = sealed(file(way, metadata=pieces(way)[1] + chunk(b"b", b"anything")))
    check(pixelcodec.salvage(ancillary), [])


def test_without_the_changes_of_its_model_nothing_can_be_decoded() -> None:
    head = bytearray(pieces("restart")[0])
    head[11] |= 8
    for changes in (b"", chunk(b"A", b"")):
        with pytest.raises(FormatError, match="changes of the model are damaged"):
            pixelcodec.salvage(sealed(mended(bytes(head)) + changes + file("restart")[36:]))


def test_limits_hold() -> None:
    with pytest.raises(FormatError, match="claims 85 pixels, the limit is 84"):
        pixelcodec.salvage(file("restart"), max_pixels=84)
    with pytest.raises(FormatError, match="bytes of memory, the limit is 1,000"):
        pixelcodec.salvage(file("restart"), max_bytes=1000)


def test_a_search_for_chunks_ends() -> None:
    """Heads without end, each of which could be a chunk: it is not quadratic."""
    endless = (b"S" + (900).to_bytes(4, "little")) * 10**5
    found = pixelcodec.salvage(file("restart", strip1=endless))
    assert found.lost
    np.testing.assert_array_equal(found.picture.samples[:ROWS], SAMPLES[:ROWS])
    assert any("was given up" in what for what in found.damage)


@pytest.mark.parametrize("tag", [b"x", b"S"])
def test_many_gaps_do_not_take_long(tag: bytes) -> None:
    """A byte too many after each of many chunks."""
    many = split(sealed(pieces("restart")[0] + 30_000 * chunk(tag, b"")))[1:]
    start = time.process_time()
    with suppress(FormatError):
        pixelcodec.salvage(pieces("restart")[0] + b"".join(piece + b"!" for piece in many))
    assert time.process_time() - start < 20


# The mark ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "greatest"), [(np.uint8, 11), (np.uint16, 65535)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_mark_is_stripes_that_go_on(dtype: type, greatest: int, channels: int) -> None:
    rows = np.zeros((20, 30, channels), dtype)
    has_alpha = channels in (2, 4)
    draw_mark(rows[:7], 100, greatest, has_alpha)
    draw_mark(rows[7:], 107, greatest, has_alpha)
    y, x = np.indices(rows.shape[:2])
    stripes = np.where((x + y + 100) // STRIPE % 2, greatest, 0)
    for channel in range(channels):
        is_alpha = has_alpha and channel == channels - 1
        expected = np.full_like(stripes, greatest) if is_alpha else stripes
        np.testing.assert_array_equal(rows[..., channel], expected)


def test_the_mark_of_a_palette_image_is_of_its_colours() -> None:
    palette = Chunk(b"PLTE", bytes(range(9)))
    picture = Picture(np.ones((6, 20, 1), np.uint8), 8, (palette,))
    head, metadata, first, second, end = split(pixelcodec.encode(picture, strip_rows=3))
    damaged = [head, metadata, first, with_damaged_payload(second), end]
    found = pixelcodec.salvage(b"".join(damaged))
    assert found.lost == (range(3, 6),)
    assert set(found.picture.samples[3:].ravel().tolist()) == {0, 2}
    assert found.picture == replace(picture, samples=found.picture.samples)
