"""The container: what is written is read back, and no damage goes unnoticed."""

import io
import itertools
import os
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcodec import crc
from pixelcodec.container import (
    CHANGES_MOST,
    MAGIC,
    METADATA_MOST,
    STANDARD,
    Component,
    End,
    Header,
    Parser,
    Part,
    Readable,
    Reader,
    Record,
    Start,
    Writer,
)
from pixelcodec.errors import FormatError
from robustness.mutations import chunk, joined, sealed, split

# The example of docs/FORMAT.md: gray, 2 columns, 3 rows in strips of 2 rows and 1 row.
HEADER = Header(2, 3, 1, 8, 2, bytes.fromhex("0123456789abcdef"))
PAYLOADS = [bytes.fromhex("10111213"), bytes.fromhex("2021222324252627")]
SAMPLES_CRC = zlib.crc32(bytes([1, 2, 3, 4, 5, 6]))

FORMAT_PAGE = Path(__file__).parents[1] / "docs" / "FORMAT.md"
GOLDEN = Path(__file__).parent / "golden" / "alpha-dot.pxc"


def write(
    header: Header,
    payloads: Sequence[bytes],
    samples_crc: int = SAMPLES_CRC,
    metadata: bytes = b"",
    changes: bytes = b"",
) -> bytes:
    buffer = io.BytesIO()
    writer = Writer(buffer, header, metadata, changes)
    for payload in payloads:
        writer.strip(payload)
    writer.close(samples_crc)
    assert writer.bytes_written == len(buffer.getvalue())
    return buffer.getvalue()


def started(header: Header) -> bytes:
    buffer = io.BytesIO()
    Writer(buffer, header)
    return buffer.getvalue()


def read(fh: Readable) -> tuple[Header, list[bytes], int]:
    reader = Reader(fh)
    payloads = [payload for payload, last in reader if last]
    return reader.header, payloads, reader.samples_crc


def with_crc(record: bytes) -> bytes:
    return record + struct.pack("<I", zlib.crc32(record))


EXAMPLE = write(HEADER, PAYLOADS)
HEAD = EXAMPLE[:36]
STRIPS = [EXAMPLE[36:49], EXAMPLE[49:66]]
END = EXAMPLE[66:]


def head_with(offset: int, value: int) -> bytes:
    """Return HEAD with another byte at ``offset``, and the CRC right for it."""
    head = bytearray(HEAD[:-4])
    head[offset] = value
    return with_crc(bytes(head))


def tiled(tile: int, count: int) -> dict[str, int]:
    """A side of tiles, and strips of ``count`` rows of them, or as many as strips may have."""
    return {"tile": tile, "strip_rows": tile * min(count, 65535 // tile)}


class Dribble(io.RawIOBase):
    """A raw stream that gives and takes at most ``most`` bytes a call, and cannot seek."""

    def __init__(self, data: bytes = b"", most: int = 1) -> None:
        self._inner = io.BytesIO(data)
        self._most = most
        self.taken = b""
        self.largest_request = 0

    def read(self, size: int = -1, /) -> bytes:
        self.largest_request = max(self.largest_request, size)
        return self._inner.read(min(size, self._most))

    def write(self, data: Any, /) -> int:
        self.taken += data[: self._most]
        return min(len(data), self._most)


numbers = st.integers(0, 2**32 - 1)
ids = st.binary(min_size=8, max_size=8).filter(any)
depths = st.sampled_from([8, 16])
headers = st.builds(
    lambda strips, kind, **fields: Header(**strips, **kind, **fields),
    strips=st.one_of(
        st.fixed_dictionaries({"strip_rows": st.integers(1, 65535)}),
        st.builds(tiled, st.integers(1, 65535), st.integers(1, 40)),
    ),
    width=st.integers(1, 2**18),
    height=st.integers(1, 40),
    kind=st.one_of(
        st.fixed_dictionaries({"channels": st.just(1), "bit_depth": st.sampled_from([1, 2, 4])}),
        st.fixed_dictionaries({"channels": st.sampled_from([1, 3]), "bit_depth": depths}),
        st.fixed_dictionaries(
            {
                "channels": st.sampled_from([2, 4]),
                "bit_depth": depths,
                "alpha_id": st.none() | ids,
            }
        ),
    ),
    model_id=ids,
    restart=st.booleans(),
    learning=st.integers(0, 15),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Header, list[bytes], int]:
    header = draw(headers)
    payload = st.binary(max_size=64)
    payloads = draw(st.lists(payload, min_size=header.strips, max_size=header.strips))
    return header, payloads, draw(st.integers(0, 2**32 - 1))


class TestRoundTrip:
    @settings(deadline=None)
    @given(streams())
    def test_what_is_written_is_read(self, stream: tuple[Header, list[bytes], int]) -> None:
        assert read(io.BytesIO(write(*stream))) == stream

    @settings(deadline=None)
    @given(streams(), st.integers(1, 9))
    def test_short_reads_and_writes_change_nothing(
        self, stream: tuple[Header, list[bytes], int], most: int
    ) -> None:
        header, payloads, samples_crc = stream
        sink = Dribble(most=most)
        writer = Writer(sink, header)
        for payload in payloads:
            writer.strip(payload)
        writer.close(samples_crc)
        assert sink.taken == write(*stream)
        assert writer.bytes_written == len(sink.taken)
        assert read(Dribble(sink.taken, most)) == stream

    @settings(deadline=None)
    @given(streams(), st.lists(st.binary(max_size=9), max_size=7))
    def test_parts_are_read_before_the_last_of_their_strip(
        self, stream: tuple[Header, list[bytes], int], before: list[bytes]
    ) -> None:
        header, payloads, samples_crc = stream
        buffer = io.BytesIO()
        writer = Writer(buffer, header)
        for payload in payloads:
            writer.strip(*before, payload)
        writer.close(samples_crc)
        strip = [Part(part, last=False) for part in before]
        expected = [part for payload in payloads for part in (*strip, Part(payload, last=True))]
        buffer.seek(0)
        assert list(Reader(buffer)) == expected

    @settings(deadline=None)
    @given(streams(), st.binary(min_size=1, max_size=9), st.integers(0, 99))
    def test_metadata_come_first(
        self, stream: tuple[Header, list[bytes], int], seed: bytes, times: int
    ) -> None:
        metadata = seed * (times + 1)
        data = write(*stream, metadata)
        assert len(data) <= len(write(*stream)) + 9 + len(metadata)
        reader = Reader(io.BytesIO(data))
        assert reader.start.metadata == metadata
        assert [payload for payload, _ in reader] == stream[1]

    @settings(deadline=None)
    @given(streams(), st.binary(max_size=9), st.binary(min_size=1, max_size=99))
    def test_changes_of_the_model_come_next(
        self, stream: tuple[Header, list[bytes], int], metadata: bytes, changes: bytes
    ) -> None:
        header, payloads, samples_crc = stream
        header = replace(header, model_id=b"12345678")
        data = write(header, payloads, samples_crc, metadata, changes)
        assert len(data) == len(write(header, payloads, samples_crc, metadata)) + 9 + len(changes)
        reader = Reader(io.BytesIO(data))
        assert reader.start == Start(header, metadata, changes)
        assert [payload for payload, _ in reader] == payloads

    def test_where_no_model_codes_none_can_change(self) -> None:
        with pytest.raises(ValueError, match="bytes of changes"):
            write(replace(HEADER, model_id=STANDARD), PAYLOADS, changes=b"some")

    def test_a_model_that_codes_alpha_as_well_cannot_change(self) -> None:
        header = replace(HEADER, channels=2, alpha_id=HEADER.model_id)
        with pytest.raises(ValueError, match="bytes of changes"):
            write(header, PAYLOADS, changes=b"some")

    def test_long_metadata_are_deflated(self) -> None:
        metadata = bytes(METADATA_MOST)
        data = write(HEADER, PAYLOADS, metadata=metadata)
        assert len(data) < METADATA_MOST / 900
        assert Reader(io.BytesIO(data)).start.metadata == metadata

    @settings(deadline=None)
    @given(streams(), st.binary(max_size=99), st.integers(1, 50))
    def test_pieces_of_any_size_give_the_same_records(
        self, stream: tuple[Header, list[bytes], int], metadata: bytes, size: int
    ) -> None:
        header, payloads, samples_crc = stream
        data = write(*stream, metadata)
        parser = Parser()
        found: list[Record] = []
        for begin in range(0, len(data), size):
            found += parser.records(data[begin : begin + size])
        found += parser.records(b"")
        parts = [Part(payload, last=True) for payload in payloads]
        assert found == [Start(header, metadata), *parts, End(samples_crc)]

    def test_a_record_is_given_with_its_last_byte(self) -> None:
        parser = Parser()
        found = [len(list(parser.records(bytes([byte])))) for byte in EXAMPLE]
        ends = [index for index, count in enumerate(found, 1) if count]
        assert ends == [36, 49, 66]
        assert list(parser.records(b"")) == [End(SAMPLES_CRC)]

    def test_a_reader_takes_no_byte_before_it_is_needed(self) -> None:
        stream = io.BytesIO(write(HEADER, PAYLOADS, metadata=b"of 17 bytes, 26 in all"[:17]))
        reader = Reader(stream)
        assert stream.tell() == 36 + 9 + 17
        next(iter(reader))
        assert stream.tell() == 36 + 9 + 17 + 13

    def test_through_a_pipe(self) -> None:
        source, sink = os.pipe()
        with os.fdopen(source, "rb", buffering=0) as reading:
            with os.fdopen(sink, "wb", buffering=0) as writing:
                writing.write(EXAMPLE)
            assert read(reading) == (HEADER, PAYLOADS, SAMPLES_CRC)

    def test_a_strip_of_many_pieces(self) -> None:
        header = Header(2**18, 1, 1, 8, 1, bytes(8))
        payload = bytes(range(256)) * 2**13
        source = Dribble(write(header, [payload]), most=2**20)
        assert read(source) == (header, [payload], SAMPLES_CRC)
        assert source.largest_request == 2**20

    def test_a_strip_is_given_before_the_next_is_there(self) -> None:
        reader = Reader(io.BytesIO(HEAD + STRIPS[0]))
        assert next(iter(reader)) == Part(PAYLOADS[0], last=True)

    def test_one_strip_costs_at_most_60_bytes_besides_its_payload(self) -> None:
        assert len(write(Header(2, 2, 3, 8, 2, bytes(8)), [b""])) <= 60

    @pytest.mark.parametrize("where", [0, 1, 2], ids=["first", "between strips", "before the end"])
    def test_unknown_ancillary_chunks_are_skipped(self, where: int) -> None:
        chunks = [*STRIPS, END]
        chunks.insert(where, chunk(b"x", b"whatever"))
        assert read(io.BytesIO(joined([HEAD, *chunks]))) == (HEADER, PAYLOADS, SAMPLES_CRC)

    @given(headers)
    def test_fields_stand_where_the_format_page_says(self, header: Header) -> None:
        data = started(header)
        flags = header.restart + 2 * (header.alpha_id is not None) + 16 * header.learning
        assert (data[9], data[10], data[11]) == (header.channels, header.bit_depth, flags)
        assert data[32:-4] == (header.alpha_id or b"")
        assert struct.unpack_from("<2I2H8s", data, 12) == (
            *(header.width, header.height, header.strip_rows, header.tile),
            header.model_id,
        )

    def test_the_examples_of_the_format_page(self) -> None:
        page = FORMAT_PAGE.read_text(encoding="utf-8")
        lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+)", page, re.MULTILINE)
        documented: list[bytes] = []
        for offset, digits in lines:
            if int(offset, 16) == 0:
                documented.append(b"")
            assert int(offset, 16) == len(documented[-1])
            documented[-1] += bytes.fromhex(digits)
        assert documented == [EXAMPLE, GOLDEN.read_bytes()]


class TestHeader:
    @given(headers)
    def test_strips_cover_the_rows(self, header: Header) -> None:
        heights = [header.strip_height(i) for i in range(header.strips)]
        assert sum(heights) == header.height
        assert set(heights[:-1]) <= {header.strip_rows}
        assert 1 <= heights[-1] <= header.strip_rows

    @given(headers)
    def test_components_are_all_channels(self, header: Header) -> None:
        components = header.components
        channels = [first + n for first, count, _ in components for n in range(count)]
        assert channels == list(range(header.channels))
        assert [each.model_id for each in components] == [
            each for each in (header.model_id, header.alpha_id) if each is not None
        ]
        assert len(components) == 1 or components[1] == Component(
            header.channels - 1, 1, components[1].model_id
        )

    @pytest.mark.parametrize("index", [-1, 2])
    def test_there_are_no_other_strips(self, index: int) -> None:
        with pytest.raises(IndexError, match=f"strip {index} of an image of 2 strips"):
            HEADER.strip_height(index)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("width", 0),
            ("width", 2**18 + 1),
            ("height", 0),
            ("height", 2**31),
            ("channels", 0),
            ("channels", 5),
            ("bit_depth", 0),
            ("bit_depth", 3),
            ("bit_depth", 32),
            ("strip_rows", 0),
            ("strip_rows", 65536),
            ("tile", -1),
            ("tile", 3),
            ("tile", 4),
            ("tile", 65536),
            ("model_id", bytes(7)),
            ("alpha_id", bytes(8)),
            ("learning", -1),
            ("learning", 16),
        ],
    )
    def test_fields_out_of_range_are_refused(self, field: str, value: Any) -> None:
        with pytest.raises(ValueError, match=field):
            replace(HEADER, **{field: value})

    @pytest.mark.parametrize("channels", [2, 3, 4])
    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_fewer_than_8_bits_are_for_gray_alone(self, channels: int, depth: int) -> None:
        with pytest.raises(ValueError, match=f"bit_depth {depth}, allowed: 8 or 16"):
            replace(HEADER, channels=channels, bit_depth=depth)

    @given(strip_rows=st.integers(1, 65535), tile=st.integers(1, 65535))
    def test_a_tile_divides_the_rows_of_a_strip(self, strip_rows: int, tile: int) -> None:
        if strip_rows % tile:
            with pytest.raises(ValueError, match=f"tile {tile}, allowed: 0, or a divisor"):
                replace(HEADER, strip_rows=strip_rows, tile=tile)
        else:
            assert replace(HEADER, strip_rows=strip_rows, tile=tile).tile == tile

    def test_largest_image(self) -> None:
        header = Header(2**18, 2**31 - 1, 3, 8, 65535, bytes(8), tile=65535)
        assert Reader(io.BytesIO(started(header))).header == header


class TestPlaces:
    """Each chunk tells its place: it passes for no other, of this stream or of another."""

    @given(payloads=st.lists(st.binary(max_size=2), min_size=2, max_size=5), data=st.data())
    def test_chunks_that_changed_places_are_found(
        self, payloads: list[bytes], data: st.DataObject
    ) -> None:
        header = replace(HEADER, height=len(payloads), strip_rows=1)
        head, *strips, end = split(write(header, payloads))
        order = data.draw(st.permutations(range(len(strips))))
        moved = b"".join([head, *(strips[at] for at in order), end])
        if order == sorted(order):
            assert read(io.BytesIO(moved)) == (header, payloads, SAMPLES_CRC)
        else:
            with pytest.raises(FormatError, match="CRC mismatch in strip"):
                read(io.BytesIO(moved))

    def test_before_anything_is_given_of_them(self) -> None:
        reader = Reader(io.BytesIO(HEAD + STRIPS[1] + STRIPS[0] + END))
        with pytest.raises(FormatError, match="CRC mismatch in strip 1 of 2 at byte 36"):
            next(iter(reader))

    @pytest.mark.parametrize("change", [{"width": 3}, {"learning": 1}, {"model_id": b"12345678"}])
    def test_chunks_of_streams_with_another_header_are_found(self, change: Any) -> None:
        other = write(replace(HEADER, **change), PAYLOADS)
        with pytest.raises(FormatError, match="CRC mismatch in strip 2 of 2"):
            read(io.BytesIO(HEAD + STRIPS[0] + other[49:]))

    @given(chunk=st.binary(max_size=99), head=numbers, place=numbers)
    def test_the_place_is_read_from_the_crc(self, chunk: bytes, head: int, place: int) -> None:
        assert crc.place_of(head, zlib.crc32(chunk, crc.begun(head, place)), chunk) == place

    @pytest.mark.parametrize("size", [0, 1, 40, 2**16 + 3])
    def test_few_damaged_bits_lead_to_no_place_that_a_file_has(self, size: int) -> None:
        chunk = bytes(size)
        stored = zlib.crc32(chunk, crc.begun(1, 2))
        for first, second in itertools.combinations_with_replacement(range(32), 2):
            damaged = stored ^ (1 << first | 1 << second)
            assert crc.place_of(1, damaged, chunk) > 2**20


class TestDamage:
    @pytest.mark.parametrize("offset", range(len(EXAMPLE)))
    def test_every_flipped_bit_is_found(self, offset: int) -> None:
        for bit in range(8):
            damaged = bytearray(EXAMPLE)
            damaged[offset] ^= 1 << bit
            with pytest.raises(FormatError):
                read(io.BytesIO(damaged))

    @pytest.mark.parametrize("size", range(1, len(EXAMPLE)))
    def test_every_truncation_is_found_and_placed(self, size: int) -> None:
        with pytest.raises(FormatError, match=rf"^truncated at byte {size}: "):
            read(io.BytesIO(EXAMPLE[:size]))

    @pytest.mark.parametrize(
        ("tag", "limit"), [(b"S", 2**20), (b"x", 2**22)], ids=["strip", "ancillary"]
    )
    def test_a_lying_length_costs_no_memory(self, tag: bytes, limit: int) -> None:
        header = Header(2**18, 65535, 3, 8, 65535, bytes(8))
        lie = tag + struct.pack("<I", 2**32 - 1) + bytes(1000)
        reader = Reader(io.BytesIO(started(header) + lie))
        tracemalloc.start()
        try:
            with pytest.raises(FormatError, match="truncated at byte 1041"):
                list(reader)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < limit

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            pytest.param(b"", "^empty", id="empty"),
            pytest.param(
                b"\x89PNG\r\n\x1a\n" + bytes(90), r"^not a .pxc stream.*PNG", id="foreign"
            ),
            pytest.param(
                EXAMPLE.replace(b"\r\n", b"\n"), "^damaged at byte 0.*text mode", id="CRLF to LF"
            ),
            pytest.param(
                EXAMPLE.replace(b"\n", b"\r\n"), "^damaged at byte 0.*text mode", id="LF to CRLF"
            ),
            pytest.param(
                bytes(byte & 0x7F for byte in EXAMPLE),
                "^damaged at byte 0.*text mode",
                id="7-bit transfer",
            ),
            pytest.param(
                EXAMPLE.decode("latin-1").encode(), "^damaged at byte 0.*text mode", id="as UTF-8"
            ),
            pytest.param(
                head_with(8, 2), "^format version 2 at byte 8: a newer pixelcodec", id="version"
            ),
            pytest.param(
                HEAD[:12] + b"\7" + EXAMPLE[13:],
                "^damaged: CRC mismatch in the header at byte 8",
                id="header CRC",
            ),
            pytest.param(
                with_crc(head_with(11, 16)[:24] + bytes(8)),
                "^the header at byte 8 says learning 1, allowed: 0 to 0.*newer",
                id="learning of no model",
            ),
            pytest.param(
                head_with(9, 5), "^the header at byte 8 says channels 5.*newer", id="channels"
            ),
            pytest.param(
                head_with(10, 12), "^the header at byte 8 says bit_depth 12.*newer", id="bit depth"
            ),
            pytest.param(
                with_crc(head_with(11, 2)[:-4] + bytes(8)),
                "^the header at byte 8 says channels 1, allowed: 2 or 4, with an alpha_id.*newer",
                id="alpha of a gray image",
            ),
            pytest.param(
                head_with(11, 4) + STRIPS[0],
                "^damaged at byte 36: strip 1 of 2 where metadata should be",
                id="no metadata",
            ),
            pytest.param(
                head_with(11, 4) + chunk(b"M", b"", METADATA_MOST + 1),
                f"^damaged at byte 36: the metadata claims {METADATA_MOST + 1} bytes",
                id="too much metadata",
            ),
            pytest.param(
                head_with(11, 8) + STRIPS[0],
                "^damaged at byte 36: strip 1 of 2 where the changes of the model should be",
                id="no changes",
            ),
            pytest.param(
                head_with(11, 8) + chunk(b"A", b"", CHANGES_MOST + 1),
                f"^damaged at byte 36: the changes of the model claims {CHANGES_MOST + 1} bytes",
                id="too many changes",
            ),
            pytest.param(
                sealed(head_with(11, 8) + chunk(b"A", b"") + STRIPS[0]),
                "^damaged at byte 36: the changes of the model have no bytes",
                id="empty changes",
            ),
            pytest.param(
                with_crc(head_with(11, 8)[:24] + bytes(8)),
                "^the header at byte 8 says that changes of the model follow.*newer",
                id="changes of no model",
            ),
            pytest.param(
                with_crc(HEAD[:9] + b"\2\10\12" + HEAD[12:32] + HEAD[24:32]),
                "^the header at byte 8 says that changes of the model follow.*newer",
                id="changes of a model of all components",
            ),
            pytest.param(
                head_with(10, 0x84),
                "^the header at byte 8 says that levels follow.*newer",
                id="levels of 4 bits",
            ),
            pytest.param(
                sealed(HEAD + chunk(b"A", b"some") + STRIPS[0]),
                "^the changes of the model out of place, at byte 36: a newer pixelcodec",
                id="changes in the wrong place",
            ),
            pytest.param(
                sealed(head_with(11, 4) + chunk(b"Z", b"of no kind")),
                "^damaged at byte 36: the metadata: .*header check",
                id="metadata not deflated",
            ),
            pytest.param(
                sealed(head_with(11, 4) + chunk(b"Z", zlib.compress(bytes(METADATA_MOST + 1)))),
                "^damaged at byte 36: the metadata does not end where it should",
                id="metadata that explode",
            ),
            pytest.param(
                sealed(head_with(11, 4) + chunk(b"Z", zlib.compress(b"some") + b"more")),
                "^damaged at byte 36: the metadata does not end where it should",
                id="metadata with a tail",
            ),
            pytest.param(
                sealed(head_with(11, 4) + chunk(b"Z", zlib.compress(b"some")[:-1])),
                "^damaged at byte 36: the metadata does not end where it should",
                id="metadata cut off",
            ),
            pytest.param(
                sealed(HEAD + chunk(b"M", b"late")),
                "^the metadata out of place, at byte 36: a newer pixelcodec",
                id="metadata in the wrong place",
            ),
            pytest.param(
                head_with(14, 5), "^the header at byte 8 says width 327682.*newer", id="width"
            ),
            pytest.param(head_with(22, 3), "^the header at byte 8 says tile 3.*newer", id="tile"),
            pytest.param(
                HEAD + STRIPS[0] + b"!" + STRIPS[1][1:] + END,
                "^damaged at byte 49: b'!' is no chunk tag",
                id="no tag",
            ),
            pytest.param(
                HEAD + STRIPS[0] + STRIPS[1].replace(b"\x24", b"\x42", 1) + END,
                "^damaged: CRC mismatch in strip 2 of 2 at byte 49",
                id="strip CRC",
            ),
            pytest.param(
                sealed(HEAD + chunk(b"x", b"note")).replace(b"note", b"nope"),
                "^damaged: CRC mismatch in chunk 'x' at byte 36",
                id="ancillary CRC",
            ),
            pytest.param(
                sealed(HEAD + chunk(b"B", b"weights")),
                "^unknown critical chunk 'B' at byte 36: a newer pixelcodec",
                id="critical",
            ),
            pytest.param(
                HEAD + chunk(b"S", bytes(321)),
                "^damaged at byte 36: strip 1 of 2 claims 321 bytes, it can have 320",
                id="implausible strip",
            ),
            pytest.param(
                sealed(HEAD + STRIPS[0] + END),
                "^missing strips: the end mark at byte 49 comes after 1 of 2 strips",
                id="missing strip",
            ),
            pytest.param(
                HEAD + b"".join(STRIPS) + STRIPS[0],
                "^extra strip at byte 66: the image has 2 strips",
                id="extra strip",
            ),
            pytest.param(
                sealed(HEAD + b"".join(STRIPS) + chunk(b"P", b"") + END),
                "^extra strip at byte 66: the image has 2 strips",
                id="part of an extra strip",
            ),
            pytest.param(
                sealed(HEAD + STRIPS[0] + chunk(b"P", b"") + END),
                "^missing strips: the end mark at byte 58 comes after 1 of 2 strips",
                id="strip without its last part",
            ),
            pytest.param(
                sealed(HEAD + 8 * chunk(b"P", b"") + STRIPS[0]),
                "^damaged at byte 99: a strip has at most 8 parts",
                id="too many parts",
            ),
            pytest.param(
                HEAD + b"".join(STRIPS) + chunk(b"E", b"12345"),
                "^damaged at byte 66: the end mark claims 5 bytes, it has 4",
                id="end mark of another length",
            ),
            pytest.param(
                HEAD + STRIPS[0], "^truncated at byte 49: strip 2 of 2 is missing", id="no strip 2"
            ),
            pytest.param(
                HEAD + b"".join(STRIPS),
                "^truncated at byte 66: the end mark is missing",
                id="no end mark",
            ),
            pytest.param(
                EXAMPLE + b"\0", "^bytes after the end mark, from byte 79 on", id="trailing bytes"
            ),
            pytest.param(EXAMPLE + EXAMPLE, "^bytes after the end mark", id="two streams"),
        ],
    )
    def test_errors_say_what_and_where(self, data: bytes, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            read(io.BytesIO(data))

    def test_after_an_error_there_is_no_end(self) -> None:
        reader = Reader(io.BytesIO(EXAMPLE[:-1]))
        with pytest.raises(FormatError):
            list(reader)
        assert list(reader) == []
        with pytest.raises(RuntimeError, match="once all strips are read"):
            _ = reader.samples_crc


class TestMisuse:
    def writer(self, strips: int) -> Writer:
        writer = Writer(io.BytesIO(), HEADER)
        for payload in PAYLOADS[:strips]:
            writer.strip(payload)
        return writer

    @pytest.mark.parametrize(
        ("strips", "act", "message"),
        [
            (0, lambda writer: writer.strip(bytes(321)), "strip of 321 bytes; .* can have 320"),
            (2, lambda writer: writer.strip(b""), "all 2 strips are written"),
            (1, lambda writer: writer.strip(), "0 parts; a strip has 1 to 8"),
            (1, lambda writer: writer.strip(*9 * [b""]), "9 parts; a strip has 1 to 8"),
            (1, lambda writer: writer.close(0), "1 of 2 strips are written"),
            (2, lambda writer: writer.close(2**32), "samples_crc"),
            (2, lambda writer: [writer.close(0), writer.close(0)], "closed"),
        ],
        ids=["too long", "too many", "no parts", "9 parts", "too few", "no CRC-32", "closed twice"],
    )
    def test_the_writer_refuses(
        self, strips: int, act: Callable[[Writer], object], message: str
    ) -> None:
        writer = self.writer(strips)
        with pytest.raises(ValueError, match=message):
            act(writer)

    def test_streams_that_would_block_are_refused(self) -> None:
        class Blocked:
            def read(self, size: int) -> Any:
                return None

            def write(self, data: bytes) -> Any:
                return None

        with pytest.raises(BlockingIOError, match="input"):
            Reader(Blocked())
        with pytest.raises(BlockingIOError, match="output"):
            Writer(Blocked(), HEADER)

    def test_the_magic_tells_text_mode_damage(self) -> None:
        assert len(MAGIC) == 8
        assert MAGIC[0] >= 0x80
        assert b"\r\n" in MAGIC
        assert MAGIC.endswith(b"\x1a\n")
