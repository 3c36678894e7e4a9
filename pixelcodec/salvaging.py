"""What can be had of a damaged file: all strips that are whole, and a mark where others were.

Strips stand in order, but have no numbers. Where chunks no longer follow one another, as bytes are
missing or a length is damaged, the next whole chunk is searched, and strips behind the gap are
counted from the end mark. Strips that could be at several places are lost.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Unpack

import numpy as np

from pixelcodec import container, metadata
from pixelcodec.container import (
    CHANGES,
    CHUNK_HEAD,
    DEFLATED,
    END,
    LEVELS,
    METADATA,
    PART,
    STRIP,
    U32,
    Header,
    Start,
)
from pixelcodec.errors import FormatError
from pixelcodec.limits import MAX_BYTES, check_memory_of_rows, engines_within
from pixelcodec.pictures import Chunk, Picture, Samples
from pixelcodec.places import strip_named
from pixelcodec.progress import Count
from pixelcodec.runtime import Compute, pixel_counter
from pixelcodec.stream import Decoding, check_crc, check_parts, crc_of
from pixelcodec.strips import Engines, ImageDecoder, independent

STRIPE = 8
"""Pixels across each stripe of the mark."""

_KNOWN = (STRIP, PART, END, METADATA, DEFLATED, CHANGES, LEVELS)

_CHECKED_MOST = 64
"""How often a byte is looked at, on average, before the search for chunks is given up."""


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
    each has passed the checksum of its strip. Metadata that are damaged are left out.

    Args:
        data: the file, in hand or a binary stream, which is read to its end.
        how: keywords of :func:`pixelcodec.decode`, see :class:`pixelcodec.stream.Decoding`.

    Raises:
        FormatError: nothing can be had: the header, changes of the model, or all strips are
            damaged; or it claims more than the limits.
        ModelError: the model that wrote it is not installed, or is not ``model``.
        BackendError: the back end or device cannot be used.
    """
    file = _read(container.stream_of(data))
    head = container.read_head(file)
    header = head.header
    pieces = list(_pieces(file, head.size))
    damage = [piece.what for piece in pieces if piece.what]
    changes = _first(pieces, CHANGES) if head.has_changes else b""
    if changes is None:
        raise FormatError("the changes of the model are damaged: no strip can be decoded")
    levels = _first(pieces, LEVELS) if head.has_levels else b""
    if levels is None:
        raise FormatError("the levels are damaged: no strip can be decoded")
    chunks, why = _chunks(pieces, header) if head.has_metadata else ((), "")
    with Compute.of(how).running():
        start = Start(header, b"", changes, levels)
        engines = engines_within(start, how)
        check_memory_of_rows(header, header.height, how.get("max_bytes", MAX_BYTES))
        count = pixel_counter(how.get("progress"), header.width * header.height)
        strips, wrong = _decoded(_placed(pieces, header), start, engines, count)
    if not strips:
        reasons = (*damage, *wrong, f"no strip of {header.strips} is whole and has a place")
        raise FormatError(f"nothing can be had: {'; '.join(reasons[:3])}")
    samples, lost = _whole(strips, header, chunks)
    damage += [each for each in (why, *wrong) if each]
    if not lost:
        damage += _checked(pieces, samples)
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
    """A chunk, or bytes that are none.

    Attributes:
        tag: none of a gap.
        payload: None where it is damaged.
        what: is wrong with it.
    """

    tag: bytes
    payload: bytes | None
    what: str = ""


def _pieces(file: bytes, at: int) -> Iterator[_Piece]:
    """Chunks from byte ``at`` on, whole or damaged, and gaps between them."""
    search = _Search(file)
    tag = b""
    while at < len(file):
        if whole := search.whole(at):
            tag = file[at : at + 1]
            yield _Piece(tag, file[at + CHUNK_HEAD.size : whole - U32.size])
            at = whole
        elif ends := search.framed(at):
            for end in ends:
                tag, what = file[at : at + 1], f"damaged: CRC mismatch in a chunk at byte {at}"
                yield _Piece(tag if tag in _KNOWN else b"", None, what)
                at = end
        else:
            begin, at, tag = at, search.next_whole(at + 1), b""
            yield _Piece(b"", None, f"damaged: no chunks from byte {begin} to byte {at}")
    if tag != END:
        yield _Piece(b"", None, f"truncated at byte {len(file)}")


class _Search:
    """Finds chunks, with a limit on the work: files may be made to take long."""

    def __init__(self, file: bytes) -> None:
        self._file, self._view = file, memoryview(file)
        self._left = _CHECKED_MOST * (len(file) + 2**16)

    def whole(self, at: int) -> int | None:
        """Where the chunk at a byte ends; None if there is none with a right CRC."""
        end = self._end(at)
        if end is None or self._left < 0:
            return None
        self._left -= end - at
        body = end - U32.size
        right = U32.unpack_from(self._file, body)[0] == zlib.crc32(self._view[at:body])
        return end if right else None

    def framed(self, at: int) -> list[int]:
        """Ends of damaged chunks that lead to a whole one, or to the end; none if they do not."""
        ends: list[int] = []
        while at < len(self._file) and not (ends and self.whole(at)):
            end = self._end(at)
            if end is None:
                return []
            ends.append(end)
            at = end
        return ends

    def next_whole(self, at: int) -> int:
        """Where the next whole chunk begins, or the end of the file."""
        while at < len(self._file) and not self.whole(at):
            at += 1
        return at

    def _end(self, at: int) -> int | None:
        """Where the chunk at a byte ends by what it says; None if there can be none."""
        if at + CHUNK_HEAD.size > len(self._file):
            return None
        tag, length = CHUNK_HEAD.unpack_from(self._file, at)
        end = at + CHUNK_HEAD.size + length + U32.size
        return end if tag.isalpha() and end <= len(self._file) else None


def _first(pieces: Iterable[_Piece], *tags: bytes) -> bytes | None:
    """What the first chunk of one of ``tags`` holds; None if it is damaged or not there."""
    return next((piece.payload for piece in pieces if piece.tag in tags), None)


def _chunks(pieces: Iterable[_Piece], header: Header) -> tuple[tuple[Chunk, ...], str]:
    """Metadata, or why there are none."""
    found = next((piece for piece in pieces if piece.tag in (METADATA, DEFLATED)), None)
    if found is None or found.payload is None:
        return (), "the metadata are lost"
    try:
        deflated = found.tag == DEFLATED
        data = container.inflated_metadata(found.payload) if deflated else found.payload
        return metadata.unpack(data, header.channels, header.bit_depth), ""
    except FormatError as error:
        return (), f"the metadata are lost: {error}"


# Strips ------------------------------------------------------------------------------------------


def _placed(pieces: Iterable[_Piece], header: Header) -> dict[int, list[bytes | None]]:
    """The parts of strips, by their numbers from 0; None stands for a damaged part.

    A run of strips without a gap begins at the top, or ends at the end mark. Of other runs the
    place is known only where all strips are there.
    """
    runs = _runs(pieces)
    first, *middle = runs
    last = middle.pop() if middle else _Run([], False)
    missing = header.strips - sum(len(run.strips) for run in runs)
    if missing < 0 or (missing and len(runs) == 1):
        return {}
    placed = dict(enumerate(first.strips))
    if missing == 0:
        return dict(enumerate(strip for run in runs for strip in run.strips))
    if last.ends:
        placed |= dict(enumerate(last.strips, header.strips - len(last.strips)))
    return placed


class _Run(NamedTuple):
    """Strips that follow one another without a gap, and whether the end mark follows them."""

    strips: list[list[bytes | None]]
    ends: bool


def _runs(pieces: Iterable[_Piece]) -> list[_Run]:
    runs, parts = [_Run([], False)], list[bytes | None]()
    for tag, payload, _ in pieces:
        match tag:
            case b"":
                runs.append(_Run([], False))
                parts = []
            case container.PART:
                parts.append(payload)
            case container.STRIP:
                runs[-1].strips.append([*parts, payload])
                parts = []
            case container.END:
                runs[-1] = runs[-1]._replace(ends=True)
    return runs


def _decoded(
    placed: Mapping[int, Sequence[bytes | None]], start: Start, engines: Engines, count: Count
) -> tuple[dict[int, Samples], list[str]]:
    """Samples of strips that can be decoded, and what is wrong with others that seem whole."""
    found: dict[int, Samples] = {}
    wrong: list[str] = []
    header = start.header
    decoder = ImageDecoder(header, engines, start.levels)
    for index, parts in sorted(placed.items()):
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            continue
        if independent(header):
            decoder = ImageDecoder(header, engines, start.levels)
        elif index > len(found):
            break
        try:
            with strip_named(header, index):
                check_parts(len(whole), decoder.parts, last=True)
                found[index] = decoder.decode(whole, header.strip_height(index), count)
        except FormatError as error:
            wrong.append(str(error))
    return found, wrong


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


def _read(stream: container.Readable) -> bytes:
    """All of a stream."""
    return b"".join(iter(lambda: container.read_some(stream, sys.maxsize), b""))
