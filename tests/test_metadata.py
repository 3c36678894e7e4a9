"""Metadata in a file: chunks come back as they were, and anything else is damage."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelcodec
from pixelcodec import metadata
from pixelcodec.container import METADATA_MOST
from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.metadata import CHUNKS_MOST
from pixelcodec.pictures import Chunk, Picture

TYPES = [b"iCCP", b"eXIf", b"tEXt", b"iTXt", b"pHYs", b"prVt"]


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Chunk, ...]:
    """Some before the pixels, some after."""
    found = st.lists(st.tuples(st.sampled_from(TYPES), st.binary(max_size=20)), max_size=3)
    before, after = draw(found), draw(found)
    return (
        *(Chunk(*chunk) for chunk in before),
        *(Chunk(*chunk, after=True) for chunk in after),
    )


@given(chunks())
def test_chunks_come_back(found: tuple[Chunk, ...]) -> None:
    assert metadata.unpack(metadata.pack(found), 3, 8) == found


def test_no_chunks_are_no_bytes() -> None:
    assert metadata.pack(()) == b""


@settings(deadline=None)
@given(chunks())
def test_they_go_with_the_picture(found: tuple[Chunk, ...]) -> None:
    picture = Picture(np.zeros((2, 3, 1), np.uint16), 16, found)
    assert pixelcodec.decode_picture(pixelcodec.encode(picture)) == picture


@pytest.mark.parametrize("model", ["standard", "photo-s", None])
def test_more_than_a_file_holds_are_refused(model: str | None) -> None:
    half = Chunk(b"tEXt", bytes(METADATA_MOST // 2 - 7))
    picture = Picture(np.zeros((2, 3, 3), np.uint8), 8, (half, half))
    stream = io.BytesIO()
    message = "67,108,866 bytes of metadata; a file holds 67,108,864"
    with pytest.raises(UnsupportedImageError, match=message):
        pixelcodec.encode_to(stream, picture, model=model)
    assert stream.getvalue() == b""


def test_more_chunks_than_a_file_holds_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="65,537 chunks of metadata; a file holds 65,5"):
        metadata.pack([Chunk(b"tEXt", b"")] * (CHUNKS_MOST + 1))
    most = metadata.pack([Chunk(b"tEXt", b"")] * CHUNKS_MOST)
    assert len(metadata.unpack(most, 1, 8)) == CHUNKS_MOST
    with pytest.raises(FormatError, match="more than 65,536 chunks of metadata"):
        metadata.unpack(most + record(b"tEXt"), 1, 8)


def record(kind: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<I4s", len(data) if length is None else length, kind) + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\0tEX", "end inside a chunk, at byte 0"),
        (record(b"tEXt", b"ab") + b"\0", "end inside a chunk, at byte 10"),
        (record(b"tEXt", b"ab", 3), "b'tEXt' claim 3 bytes"),
        (record(b"IDAT", b"ab"), "the metadata have pixels"),
        (2 * record(b"IDAT"), "the metadata have pixels"),
        (record(b"IHDR"), "chunk IHDR belongs to the pixels"),
        (record(b"a\xff12"), "4 letters"),
        (record(b"PLTE", b"1234"), "a palette .PLTE. of 4 bytes"),
        (record(b"QRST"), "unknown meaning"),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        metadata.unpack(data, 1, 8)
