"""Strips without a model: one standard file each, the smallest that was found."""

import numpy as np
import pytest

from pixelcodec.pictures import Picture, png
from pixelcodec.standard import StandardDecoder, StandardEncoder

RANDOM = np.random.default_rng(0)
SMOOTH = np.add.outer(np.arange(60), np.arange(60)).astype(np.uint8)[..., None]
INDEXES = RANDOM.integers(0, 40, (4, 6, 1), np.uint8).repeat(12, 0).repeat(10, 1)


def encoded(rows: np.ndarray, bit_depth: int = 8) -> bytes:
    (data,) = StandardEncoder(bit_depth).encode(rows, lambda pixels: None)
    return data


@pytest.mark.parametrize("rows", [SMOOTH, INDEXES], ids=["smooth", "indexes"])
def test_the_smaller_png_is_taken(rows: np.ndarray) -> None:
    sizes = [len(png.write(Picture(rows, 8), filtered=filtered)) for filtered in (True, False)]
    assert len(encoded(rows)) == min(sizes)


def test_each_way_is_the_smaller_one_somewhere() -> None:
    def filtered_is_smaller(rows: np.ndarray) -> bool:
        picture = Picture(rows, 8)
        return len(png.write(picture)) < len(png.write(picture, filtered=False))

    assert filtered_is_smaller(SMOOTH)
    assert not filtered_is_smaller(INDEXES)


def test_webp_is_taken_where_it_is_smaller() -> None:
    rows = np.dstack([SMOOTH, SMOOTH, SMOOTH[::-1]])
    data = encoded(rows)
    assert data.startswith(b"RIFF")
    assert len(data) < len(png.write(Picture(np.ascontiguousarray(rows), 8)))


@pytest.mark.parametrize("rows", [SMOOTH, INDEXES], ids=["smooth", "indexes"])
def test_strips_come_back(rows: np.ndarray) -> None:
    decoder = StandardDecoder(rows.shape[1], 1, 8)
    found = decoder.decode([encoded(rows)], len(rows), lambda pixels: None)
    np.testing.assert_array_equal(found, rows, strict=True)
