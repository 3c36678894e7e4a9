"""What can be had of a damaged file: all strips that are whole, and a mark where others were.

The CRC of a chunk tells its place. So where bytes are missing, or a length is damaged, the next
whole chunk is searched, and what is found goes where it belongs.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from pixelcodec import container, crc, metadata
from pixelcodec.container import (
    CHANGES,
    CHUNK_HEAD,
    DEFLATED,
    END,
    LEVELS,
    METADATA,
    PART,
    PARTS_MOST,
    STRIP,
    U32,
    Head,
    Header,
    Start,
)
from pixelcodec.errors import FormatError
from pixelcodec.limits import MAX_BYTES, check_memory_of_rows, engines_within
from pixelcodec.palette_order import told_by
from pixelcodec.pictures import Chunk, Picture, Samples
from pixelcodec.places import strip_named
from pixelcodec.progress import Count
from pixelcodec.runtime import Compute, pixel_counter
from pixelcodec.stream import Decoding, check_crc, crc_of
from pixelcodec.strips import Engines, ImageDecoder, independent

STRIPE = 8
"""Pixels across each stripe of the mark."""

_PLACED = (STRIP, PART, END)
"""What stands anywhere; all else that must be known stands before the first strip."""

_KNOWN = (*_PLACED, METADATA, DEFLATED, CHANGES, LEVELS)

_SEARCHED = 2**20
"""Bytes that are searched at once."""

_CHECKED_MOST = 64
"""How often a byte is looked at, on average, before the search for chunks is given up."""

_CHECK = 2**10
"""What looking at a chunk costs besides its bytes."""


@dataclass(frozen=True)
class Salvaged:
    """What :func:`salvage` found.

    Attributes:
        picture: the image. Lost rows have diagonal stripes, :data:`STRIPE` pixels wide, of the
            least and the greatest sample in all channels but alpha, which is opaque.
        lost: the rows that are lost, from top to bottom.
        damage: what is wrong with the file, in the order of its bytes; nothing if it is whole.
    """

    picture: Picture
    lost: tuple[range, ...]
    damage: tuple[str, ...]


def salvage(data: container.Source, **how: Unpack[Decoding]) -> Salvaged:
    """Restore what is whole of the image in a ``.pxc`` file that may be damaged.

    Of a file with restart points, in tiles, or of PNG and WebP inside, that is every strip that is
    undamaged itself; of others those above the first damage. Rows that are given are those encoded:
    each has passed the checksum of its strip, which tells its place. (A strip of another image with
    the same header, at the same place, passes, too. If no row is lost the checksum of all samples
    finds it.) Metadata that are damaged are left out.

    Args:
        data: the file, in hand or a binary stream, which is read to its end.
        how: keywords of :func:`pixelcodec.decode`, see :class:`pixelcodec.stream.Decoding`.

    Raises:
        FormatError: nothing can be had: the header, changes of the model, or all strips are
            damaged; or it claims more than the limits, or needs a newer pixelcodec.
        ModelError: the model that wrote it is not installed, or is not ``model``.
        BackendError: the back end or device cannot be used.
    """
    file = _read(container.stream_of(data))
    head = container.read_head(file)
    header = head.header
    pieces, damage = _pieces(file, head)
    changes = _first(pieces, CHANGES) if head.has_changes else b""
    if changes is None:
        raise FormatError("the changes of the model are damaged: no strip can be decoded")
    levels = _first(pieces, LEVELS) if head.has_levels else b""
    if levels is None:
        raise FormatError("the levels are damaged: no strip can be decoded")
    chunks, why = _chunks(pieces, header) if head.has_metadata else ((), "")
    if why and header.by_palette:
        raise FormatError("the palette is damaged: no strip can be decoded")
    with Compute.of(how).running():
        palette = metadata.pack(told_by(chunks) if header.by_palette else ())
        start = Start(header, palette, changes, levels)
        engines = engines_within(start, how)
        check_memory_of_rows(header, header.height, how.get("max_bytes", MAX_BYTES))
        count = pixel_counter(how.get("progress"), header.width * header.height)
        strips, wrong = _decoded(_parts(pieces), start, engines, count)
    if not strips:
        reasons = (*damage, *wrong, f"no strip of {header.strips} is whole")
        raise FormatError(f"nothing can be had: {'; '.join(reasons[:3])}")
    samples, lost = _whole(strips, header, chunks)
    damage += [each for each in (why, *wrong) if each]
    if not lost:
        damage += _checked(pieces, samples)
    if not damage:
        damage += _refused(file)
    if lost and not damage:
        damage.append("strips have other parts than those of their model")
    return Salvaged(Picture(samples, header.bit_depth, chunks), lost, tuple(damage))


def draw_mark(rows: Samples, top: int, greatest: int, has_alpha: bool) -> None:
    """Draw the stripes of lost rows.

    Args:
        rows: uint8 or uint16 [rows, width, channels], written to.
        top: the first of them in the image: stripes go on from one block to the next.
        greatest: sample.
        has_alpha: whether the last channel is alpha.
    """
    width, period = rows.shape[1], 2 * STRIPE
    stripes = (np.arange(width + period) // STRIPE % 2 * greatest).astype(rows.dtype)
    for phase in range(period):
        shift = (phase + top) % period
        rows[phase::period] = stripes[shift : shift + width, np.newaxis]
    if has_alpha:
        rows[..., -1] = greatest


# Chunks ------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """A whole chunk.

    Attributes:
        tag: of the chunk.
        payload: of the chunk.
        place: parts of strips that stand before it.
    """

    tag: bytes
    payload: bytes
    place: int


def _pieces(file: bytes, head: Head) -> tuple[list[_Piece], list[str]]:
    """Whole chunks, but for those that need not be known, and what is wrong: gaps between them."""
    search, pieces, damage = _Search(file, head), list[_Piece](), list[str]()
    at, place = head.size, 0
    while at < len(file):
        begin = at
        at, found = search.next_whole(at, place)
        if at > begin:
            damage.append(f"damaged: no whole chunks from byte {begin} to byte {at}")
        elif found != place:
            damage.append(f"damaged: chunks before byte {at} are missing, or out of order")
        if found is None:
            break
        end = search.end(at)
        tag, payload = file[at : at + 1], file[at + CHUNK_HEAD.size : end - U32.size]
        if tag in _KNOWN:
            pieces.append(_Piece(tag, payload, found))
        elif tag.isupper():
            raise container.newer_chunk(tag, at)
        at, place = end, found + (tag in (PART, STRIP))
    if search.is_given_up:
        damage.append("the search for chunks was given up: too much looks like them")
    if not pieces or pieces[-1].tag != END:
        damage.append(f"truncated at byte {len(file)}")
    return pieces, damage


class _Search:
    """Finds whole chunks, with a limit on the work: files may be made to take long."""

    def __init__(self, file: bytes, head: Head) -> None:
        self._file, self._view, self._head = file, memoryview(file), head
        self._left = _CHECKED_MOST * (len(file) + 2**16)
        # A part takes some bytes: where a header claims more strips than these could be, more
        # places would let more bytes pass for a chunk by chance.
        self._places = min(PARTS_MOST * head.header.strips, len(file))
        self._longest = container.payload_limit(head.header, 0)
        self._block, self._heads = -1, np.zeros(0, np.int64)

    def next_whole(self, at: int, expected: int) -> tuple[int, int | None]:
        """Where the next whole chunk begins, at this byte or later, and its place.

        A chunk that is damaged inside still says where the next begins. What it holds may look like
        chunks, so bytes are searched for one only if none follows so. If there is none, this is the
        end of the file, and None.
        """
        framed = at
        while framed < len(self._file):
            if (place := self._place(framed, expected)) is not None:
                return framed, place
            framed = self.end(framed)
        if framed == len(self._file):
            return framed, None
        for found in self._heads_from(at + 1):
            if (place := self._place(found, expected)) is not None:
                return found, place
        return len(self._file), None

    @property
    def is_given_up(self) -> bool:
        """Whether the limit was reached."""
        return self._left < 0

    def end(self, at: int) -> int:
        """Where the chunk at a byte ends by what it says; beyond the file if that is cut off."""
        if at + CHUNK_HEAD.size > len(self._file):
            return len(self._file) + 1
        _, length = CHUNK_HEAD.unpack_from(self._file, at)
        return int(at + CHUNK_HEAD.size + length + U32.size)

    def _place(self, at: int, expected: int) -> int | None:
        """The place of the chunk at a byte; None if there is none that is whole."""
        end, tag = self.end(at), self._file[at : at + 1]
        if end > len(self._file) or not tag.isalpha() or self._left < 0:
            return None
        self._left -= end - at + _CHECK
        body = end - U32.size
        chunk, (stored,) = self._view[at:body], U32.unpack_from(self._file, body)
        if stored == zlib.crc32(chunk, crc.begun(self._head.crc, expected)):
            return expected
        if tag not in _PLACED:
            return None
        place = crc.place_of(self._head.crc, stored, chunk)
        return place if place <= self._places else None

    def _heads_from(self, at: int) -> Iterator[int]:
        """From a byte on, those that could begin a part of a strip, or the end mark."""
        for block in range(at // _SEARCHED, -(-len(self._file) // _SEARCHED)):
            if block != self._block:
                self._block, self._heads = block, self._heads_in(block * _SEARCHED)
            first = int(np.searchsorted(self._heads, at))
            yield from map(int, self._heads[first:])

    def _heads_in(self, start: int) -> npt.NDArray[np.int64]:
        """Those of a block, by tag and length."""
        run = np.frombuffer(self._file[start : start + _SEARCHED + CHUNK_HEAD.size], np.uint8)
        count = max(0, min(_SEARCHED, len(run) - CHUNK_HEAD.size))
        tags = np.isin(run[:count], list(b"".join(_PLACED)))
        lengths = np.zeros(count, np.int64)
        for byte in range(4):
            lengths += run[byte + 1 : byte + 1 + count].astype(np.int64) << 8 * byte
        ends = start + np.arange(count) + lengths + CHUNK_HEAD.size + U32.size
        return start + np.flatnonzero(tags & (lengths <= self._longest) & (ends <= len(self._file)))


def _first(pieces: Iterable[_Piece], *tags: bytes) -> bytes | None:
    """What the first chunk of one of ``tags`` holds; None if it is not there, or has nothing."""
    return next((piece.payload for piece in pieces if piece.tag in tags), None) or None


def _chunks(pieces: Iterable[_Piece], header: Header) -> tuple[tuple[Chunk, ...], str]:
    """Metadata, or why there are none."""
    found = next((piece for piece in pieces if piece.tag in (METADATA, DEFLATED)), None)
    if found is None:
        return (), "the metadata are lost"
    try:
        deflated = found.tag == DEFLATED
        data = container.inflated_metadata(found.payload) if deflated else found.payload
        return metadata.unpack(data, header.channels, header.bit_depth), ""
    except FormatError as error:
        return (), f"the metadata are lost: {error}"


# Strips ------------------------------------------------------------------------------------------


def _parts(pieces: Iterable[_Piece]) -> dict[int, _Piece]:
    """The parts of strips, by their places; where two claim to be the same, neither."""
    found: dict[int, _Piece] = {}
    disputed = set[int]()
    for piece in pieces:
        if piece.tag in (PART, STRIP) and found.setdefault(piece.place, piece) != piece:
            disputed.add(piece.place)
    return {place: piece for place, piece in found.items() if place not in disputed}


def _decoded(
    parts: Mapping[int, _Piece], start: Start, engines: Engines, count: Count
) -> tuple[dict[int, Samples], list[str]]:
    """Samples of strips that can be decoded, and what is wrong with others that seem whole."""
    found: dict[int, Samples] = {}
    wrong: list[str] = []
    header = start.header
    decoder = ImageDecoder(start, engines)
    for index, strip in _strips(parts, header.strips, decoder.parts):
        if independent(header):
            decoder = ImageDecoder(start, engines)
        elif index > len(found):
            break
        try:
            with strip_named(header, index):
                found[index] = decoder.decode(strip, header.strip_height(index), count)
        except FormatError as error:
            wrong.append(str(error))
    return found, wrong


def _strips(
    parts: Mapping[int, _Piece], strips: int, each: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Number and payloads of the strips, from the top, of which ``each`` part is there."""
    tags = [PART] * (each - 1) + [STRIP]
    for index in sorted({place // each for place in parts if place // each < strips}):
        own = [parts.get(place) for place in range(index * each, (index + 1) * each)]
        found = [part for part in own if part is not None]
        if [part.tag for part in found] == tags:
            yield index, [part.payload for part in found]


def _whole(
    strips: Mapping[int, Samples], header: Header, chunks: tuple[Chunk, ...]
) -> tuple[Samples, tuple[range, ...]]:
    """All rows of the image, and which of them are lost, and marked."""
    dtype = np.uint16 if header.bit_depth == 16 else np.uint8
    samples = np.empty((header.height, header.width, header.channels), dtype)
    lost: list[range] = []
    end = 0
    for index in (*sorted(strips), header.strips):
        top = min(index * header.strip_rows, header.height)
        if top > end:
            lost.append(range(end, top))
        if index in strips:
            end = top + len(strips[index])
            samples[top:end] = strips[index]
    greatest = (1 << header.bit_depth) - 1
    palette = next((chunk.data for chunk in chunks if chunk.type == b"PLTE"), b"")
    if palette and header.channels == 1:
        greatest = min(greatest, len(palette) // 3 - 1)
    for rows in lost:
        block = samples[rows.start : rows.stop]
        draw_mark(block, rows.start, greatest, header.channels in (2, 4))
    return samples, tuple(lost)


def _checked(pieces: Iterable[_Piece], samples: Samples) -> list[str]:
    """What the checksum of all samples says against them."""
    stored = _first(pieces, END)
    if stored is None or len(stored) != U32.size:
        return ["the checksum of all samples is lost"]
    try:
        check_crc(crc_of(samples), *U32.unpack(stored))
    except FormatError as error:
        return [str(error)]
    return []


def _refused(file: bytes) -> list[str]:
    """What a reader says against a file whose chunks are all whole."""
    try:
        for _ in container.Reader(container.stream_of(file)):
            pass
    except FormatError as error:
        return [str(error)]
    return []


def _read(stream: container.Readable) -> bytes:
    """All of a stream."""
    return b"".join(iter(lambda: container.read_some(stream, sys.maxsize), b""))
