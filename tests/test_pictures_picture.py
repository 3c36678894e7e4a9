"""Pictures: arrays come and go bit for bit, and what PNG could not hold is refused by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from picture_kinds import BY_NAME, KINDS, Kind
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Chunk, Picture

Samples = npt.NDArray[Any]

GRAY: Samples = np.arange(35, dtype=np.uint8).reshape(7, 5) * 7
PALETTE = Chunk(b"PLTE", bytes(range(12)))
TEXT = Chunk(b"tEXt", b"Title\0x")

sides = st.integers(1, 6)
shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.integers(2, 4)))
images = st.one_of(
    st.tuples(sides, sides).flatmap(lambda shape: arrays(np.bool_, shape)),
    shapes.flatmap(lambda shape: arrays(np.uint8, shape)),
    shapes.flatmap(lambda shape: arrays(np.uint16, shape)),
)


def pixel(channels: int = 1, dtype: type = np.uint8) -> Samples:
    return np.zeros((1, 1, channels), dtype)


class TestArrays:
    @given(array=images)
    def test_what_goes_in_comes_out(self, array: Samples) -> None:
        np.testing.assert_array_equal(Picture.from_array(array).to_array(), array, strict=True)

    @pytest.mark.parametrize(
        ("array", "kind"),
        [
            (np.zeros((2, 3), np.bool_), "bilevel"),
            (np.zeros((2, 3), np.uint8), "8-bit gray"),
            (np.zeros((2, 3, 1), np.uint16), "16-bit gray"),
            (np.zeros((2, 3, 2), np.uint8), "8-bit gray with alpha"),
            (np.zeros((2, 3, 3), np.uint16), "16-bit RGB"),
            (np.zeros((2, 3, 4), np.uint8), "8-bit RGB with alpha"),
        ],
    )
    def test_shape_and_type_make_the_kind(self, array: Samples, kind: str) -> None:
        picture = Picture.from_array(array)
        assert picture.kind == kind
        assert (picture.height, picture.width) == (2, 3)
        assert picture.chunks == ()

    @pytest.mark.parametrize(
        "view",
        [
            np.asfortranarray,
            np.flipud,
            lambda array: array[::2, 1:],
            lambda array: array.astype(">u2"),
            lambda array: array.astype("<u2"),
            lambda array: array % 3 == 0,
            lambda array: np.flipud(array % 3 == 0),
        ],
        ids=["columns", "upside down", "part", "big-endian", "little-endian", "bool", "bool view"],
    )
    def test_any_memory_layout(self, view: Callable[[Samples], Samples]) -> None:
        picture = Picture.from_array(view(GRAY))
        assert picture.samples.flags.c_contiguous
        assert picture.samples.dtype.isnative
        np.testing.assert_array_equal(picture.to_array(), view(GRAY))

    def test_contiguous_arrays_are_not_copied(self) -> None:
        picture = Picture.from_array(GRAY)
        assert np.shares_memory(picture.samples, GRAY)
        assert np.shares_memory(picture.to_array(), GRAY)

    @pytest.mark.parametrize("true", [1, 2, 255])
    def test_bools_are_0_and_1_whatever_they_were_in_memory(self, true: int) -> None:
        bilevel = GRAY % 3 == 0
        picture = Picture.from_array((bilevel * np.uint8(true)).view(np.bool_))
        np.testing.assert_array_equal(picture.samples[..., 0], np.where(bilevel, 1, 0))

    def test_indexes_are_no_bools(self) -> None:
        picture = Picture(pixel(), 1, (PALETTE,))
        assert picture.to_array().dtype == np.uint8

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (GRAY / 255.0, "samples of type float64; supported: bool"),
            (GRAY.astype(np.int8), "samples of type int8"),
            (GRAY.astype(np.uint32), "samples of type uint32"),
            ((GRAY > 3)[..., None], r"one bit in an array of shape \(7, 5, 1\)"),
            (GRAY[0], r"shape \(5,\)"),
            (GRAY[:0], "has no pixels"),
            (GRAY[:, :0, None], "has no pixels"),
            (np.zeros((2, 2, 0), np.uint8), r"shape \(2, 2, 0\)"),
            (np.zeros((2, 2, 5), np.uint8), r"shape \(2, 2, 5\)"),
            (np.zeros((1, 2, 2, 3), np.uint8), r"shape \(1, 2, 2, 3\)"),
            ([[1, 2], [3, 4]], "a list is no image"),
            (np.ma.masked_equal(GRAY, 0), r"a masked array, .*: give array\.filled\(value\)"),
            (np.ma.array(GRAY > 3), "a masked array"),
        ],
    )
    def test_everything_else_is_refused(self, array: Any, message: str) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            Picture.from_array(array)


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    def test_a_picture_knows_what_it_is(self, kind: Kind) -> None:
        picture = kind.picture(height=2, width=3)
        assert picture.kind == kind.name
        assert (picture.height, picture.width, picture.channels) == (2, 3, kind.channels)
        assert picture.colour_type == kind.colour_type
        assert picture.is_palette == (kind.colour_type == 3)

    def test_a_palette_is_colours(self) -> None:
        palette = Picture(pixel(), 2, (PALETTE,)).palette
        assert palette is not None
        assert palette.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]

    @pytest.mark.parametrize("chunks", [(), (TEXT,)])
    def test_without_plte_there_is_none(self, chunks: tuple[Chunk, ...]) -> None:
        assert Picture(pixel(), 8, chunks).palette is None

    def test_colours_suggested_for_rgb_are_no_palette(self) -> None:
        picture = Picture(pixel(3), 8, (PALETTE,))
        assert picture.palette is None
        assert picture.kind == "8-bit RGB"

    def test_an_index_may_lie_beyond_the_palette(self) -> None:
        assert Picture(pixel() + np.uint8(9), 8, (PALETTE,)).is_palette

    def test_the_first_chunk_of_a_type_is_found(self) -> None:
        second = replace(TEXT, data=b"Author\0y")
        picture = Picture(pixel(), 8, (TEXT, second))
        assert picture.find(b"tEXt") == TEXT
        assert picture.find(b"gAMA") is None


class TestEquality:
    PICTURE = BY_NAME["8-bit gray"].picture(TEXT)

    def test_equal_parts_make_equal_pictures(self) -> None:
        assert replace(self.PICTURE, samples=self.PICTURE.samples.copy()) == self.PICTURE

    @pytest.mark.parametrize(
        "change",
        [
            {"samples": PICTURE.samples ^ 1},
            {"samples": PICTURE.samples[:1]},
            {"chunks": ()},
            {"chunks": (replace(TEXT, after=True),)},
            {"samples": pixel(), "bit_depth": 4},
        ],
    )
    def test_any_difference_counts(self, change: dict[str, Any]) -> None:
        assert replace(self.PICTURE, **change) != self.PICTURE

    def test_bits_count_where_samples_are_equal(self) -> None:
        assert Picture(pixel(), 4) != Picture(pixel(), 8)

    def test_other_things_are_never_equal(self) -> None:
        assert self.PICTURE != "8-bit gray"


class TestRefused:
    @pytest.mark.parametrize(
        ("samples", "bit_depth", "chunks", "message"),
        [
            (pixel(), 3, (), "samples of 3 bits; supported: 1, 2, 4, 8 and 16"),
            (pixel(), 16, (), "16-bit samples in an array of type uint8; it must be uint16"),
            (pixel(dtype=np.uint16), 8, (), "array of type uint16; it must be uint8"),
            (pixel()[0], 8, (), r"samples of shape \(1, 1\)"),
            (pixel(5), 8, (), r"samples of shape \(1, 1, 5\)"),
            (pixel()[:0], 8, (), "no pixels"),
            (np.zeros((4, 4, 1), np.uint8)[:, ::2], 8, (), "C-contiguous"),
            (pixel(3), 4, (), "4-bit samples in 3 channels"),
            (pixel() + np.uint8(4), 2, (), "a sample of 4 does not fit into 2 bits"),
            (pixel(2), 8, (PALETTE,), "gray with alpha cannot have a palette"),
            (pixel(dtype=np.uint16), 16, (PALETTE,), "at most 8 bits, not 16"),
            (pixel(), 8, (PALETTE, PALETTE), "must stand alone and before the pixels"),
            (pixel(), 8, (replace(PALETTE, after=True),), "must stand alone and before"),
            (pixel(), 8, (Chunk(b"PLTE", bytes(4)),), r"\(PLTE\) of 4 bytes"),
            (pixel(), 8, (Chunk(b"PLTE", b""),), r"\(PLTE\) of 0 bytes"),
            (pixel(), 8, (Chunk(b"PLTE", bytes(771)),), r"\(PLTE\) of 771 bytes"),
            (pixel(), 8, (Chunk(b"acTL", bytes(8)),), "chunk acTL makes an animation"),
            (pixel(), 8, (Chunk(b"NEWs", b""),), "chunk NEWs of unknown meaning"),
            (pixel(), 8, (replace(TEXT, after=True), TEXT), "follows one after the pixels"),
        ],
    )
    def test_no_png_could_hold_it(
        self, samples: Samples, bit_depth: int, chunks: tuple[Chunk, ...], message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            Picture(samples, bit_depth, chunks)

    @pytest.mark.parametrize(
        ("type", "message"),
        [
            (b"tEX", "is 4 letters, not b'tEX'"),
            (b"tEXts", "is 4 letters"),
            (b"tE t", "is 4 letters"),
            (b"t\xc4Xt", "is 4 letters"),
            (b"IHDR", "chunk IHDR belongs to the pixels"),
            (b"IDAT", "chunk IDAT belongs to the pixels"),
            (b"IEND", "chunk IEND belongs to the pixels"),
        ],
    )
    def test_no_such_chunk(self, type: bytes, message: str) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            Chunk(type, b"")
