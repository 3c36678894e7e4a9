"""Strips without a model: the pixels of one standard file each, the smallest that was found."""

import io
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_kinds import KINDS, Kind
from pictures import noise, scene
from pixelcodec.errors import FormatError
from pixelcodec.pictures import Picture, Samples, png
from pixelcodec.standard import (
    StandardDecoder,
    StandardEncoder,
    fast_size,
    good_size,
    rows_at_once,
)

SMOOTH = np.add.outer(np.arange(60), np.arange(60)).astype(np.uint8)[..., None]
INDEXES = np.random.default_rng(0).integers(0, 40, (4, 6, 1), np.uint8).repeat(12, 0).repeat(10, 1)
GRAY = scene(40, 50)[..., None]
GRAY_ALPHA = np.dstack([GRAY, SMOOTH[:40, :50]])
RGB = scene(40, 50, 3)
RGBA = np.dstack([RGB, SMOOTH[:40, :50]])
DEEP = GRAY.astype(np.uint16) * 257

IMAGES = {
    "bilevel": (GRAY >> 7, 1),
    "4-bit gray": (GRAY >> 4, 4),
    "8-bit gray": (GRAY, 8),
    "8-bit indexes": (INDEXES, 8),
    "8-bit gray with alpha": (GRAY_ALPHA, 8),
    "8-bit RGB": (RGB, 8),
    "8-bit RGB with alpha": (RGBA, 8),
    "noise": (noise(9, 13, 3), 8),
    "a pixel": (noise(1, 1, 1), 8),
}
EACH_IMAGE = pytest.mark.parametrize(("rows", "bit_depth"), IMAGES.values(), ids=IMAGES)


def encoded(rows: Samples, bit_depth: int = 8) -> bytes:
    (data,) = StandardEncoder(bit_depth).encode(rows, lambda pixels: None)
    return data


def decoded(data: bytes, like: Samples, bit_depth: int = 8) -> Samples:
    height, width, channels = like.shape
    decoder = StandardDecoder(width, channels, bit_depth)
    return decoder.decode([data], height, lambda pixels: None)


def saved_by_pillow(array: Any, format: str, **options: Any) -> int:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return len(buffer.getvalue())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_strips_come_back(kind: Kind, data: st.DataObject) -> None:
    rows = data.draw(kind.samples())
    found = decoded(encoded(rows, kind.bit_depth), rows, kind.bit_depth)
    np.testing.assert_array_equal(found, rows, strict=True)


@EACH_IMAGE
def test_a_strip_is_no_larger_than_the_png_that_pillow_optimises(
    rows: Samples, bit_depth: int
) -> None:
    files = [png.write(Picture(rows, bit_depth), filtered=filtered) for filtered in (True, False)]
    assert len(encoded(rows, bit_depth)) <= min(map(len, files)) - 57  # bytes of the frame


@EACH_IMAGE
def test_a_strip_is_no_larger_than_the_webp_that_pillow_makes_of_it(
    rows: Samples, bit_depth: int
) -> None:
    slowest = {"lossless": True, "quality": 100, "method": 6, "exact": True}
    image: Any = Image.fromarray(rows.squeeze(2) if rows.shape[2] == 1 else rows)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **slowest)
    assert len(encoded(rows, bit_depth)) <= len(buffer.getvalue()) - 20  # bytes of the frame


@pytest.mark.parametrize("tail", [1, 2**14, 2**25])
def test_bytes_after_a_png_are_refused_at_once(tail: int) -> None:
    sparse = np.zeros((1, 2**14, 1), np.uint8)
    data = encoded(sparse) + bytes(tail)
    begin = time.perf_counter()
    with pytest.raises(FormatError, match=r"the PNG of a strip .* other rows"):
        decoded(data, sparse)
    assert time.perf_counter() - begin < 2


def test_the_smaller_format_is_taken() -> None:
    assert encoded(RGBA).startswith(b"\x2f")
    sparse = np.zeros((1, 2**14, 1), np.uint8)  # WebP has no such long sides
    assert zlib.decompress(encoded(sparse)) == bytes(1 + 2**14)
    np.testing.assert_array_equal(decoded(encoded(sparse), sparse), sparse)


class TestSixteenBits:
    def test_gray_is_no_larger_than_the_png_that_pillow_optimises(self) -> None:
        smooth = (scene(50, 60).astype(np.uint16) << 4) + noise(50, 60)
        size = saved_by_pillow(smooth, "PNG", optimize=True) - 57
        assert len(encoded(smooth[..., None], 16)) <= size

    def test_one_filter_for_all_rows_is_tried(self) -> None:
        columns = noise(1, 40, 1).astype(np.uint16).repeat(60, 0) * 257
        columns[::2] += 1
        assert len(encoded(columns, 16)) < len(png.write(Picture(columns, 16))) - 57


@given(
    height=st.integers(1, 2**31 - 1),
    width=st.integers(1, 2**18),
    bit_depth=st.sampled_from([1, 8, 16]),
)
def test_where_all_is_at_hand_strips_are_as_few_as_can_be(
    height: int, width: int, bit_depth: int
) -> None:
    rows = rows_at_once(height, width, bit_depth)
    most = 16383 if bit_depth <= 8 and width <= 16383 else 65535
    assert 1 <= rows <= most
    assert rows == 1 or rows * width <= 2**26
    strips = -(-height // rows)
    assert strips == 1 or -(-height // (strips - 1)) * width > 2**26 or height > most * (strips - 1)


@pytest.mark.parametrize("rows", [GRAY, RGBA, DEEP], ids=["gray", "RGBA", "16 bits"])
def test_quick_sizes_are_somewhat_larger_than_that_of_the_strip(rows: Samples) -> None:
    bit_depth = 8 * rows.itemsize
    size = len(encoded(rows, bit_depth))
    assert size <= good_size(rows, bit_depth) < 1.5 * size
    assert size <= fast_size(rows, bit_depth) < 2 * size
