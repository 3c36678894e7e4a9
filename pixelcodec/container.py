"""The ``.pxc`` container: bytes to records and back. It knows nothing of networks.

Layout, little-endian, written front to back without seeking (docs/FORMAT.md has every byte)::

    stream   = magic 8 | header 24 | alpha id 0 or 8 | crc 4
               | metadata | changes | levels | strip ... | 'E'
    metadata = nothing | chunk 'M' | chunk 'Z'
    changes  = nothing | chunk 'A'
    levels   = nothing | chunk 'L'
    strip    = chunk 'P' ... | chunk 'S'
    chunk    = tag 1 | length 4 | payload | crc 4

Every byte is covered by the magic or by a CRC-32, so that damage is found before anything is
decoded from it; that of a chunk tells its place, too, so that none passes for another. One strip
costs 58 bytes besides its payload, each further strip 9.

A strip has one part, chunk ``S``, or several, those before the last ``P``.
"""

import io
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pixelcodec import crc
from pixelcodec.errors import FormatError

# As PNG's: a byte that is not ASCII, both kinds of line end, and the end of a DOS text file, so
# that a transfer in text mode changes it.
MAGIC = b"\x89PXC\r\n\x1a\n"
VERSION = 1

_FIELDS = struct.Struct("<4B2I2H8s")
CHUNK_HEAD = struct.Struct("<cI")  # tag, length of the payload
U32 = struct.Struct("<I")
_U32_MAX = 2**32 - 1
WIDTH_MAX = 2**18  # a decoder holds some rows of activations, a kilobyte a column
_HEIGHT_MAX = 2**31 - 1

_FLAG_RESTART = 0x01
_FLAG_ALPHA = 0x02
_FLAG_METADATA = 0x04
_FLAG_CHANGES = 0x08
_LEARNING_SHIFT = 4
LEARNING_MOST = 15

_RANKS_BIT = 0x80

_CHANNELS = 0x07
_PLANES_SHIFT = 3

SEPARATE, RED_LESS_GREEN, BLUE_LESS_GREEN = 1, 2, 4
"""Colours are coded plane by plane; and with that, two of them less green."""

PLANES = (1, 3, 5, 7)
"""All that :attr:`Header.planes` may be where it is not 0."""

STANDARD = bytes(8)
"""Stands for a model's id where no model codes a component, but PNG or WebP."""

STANDARD_NAME = "standard"
"""What PNG and WebP are called where a model could stand."""

METADATA_MOST = 2**26
"""Bytes of metadata."""

CHANGES_MOST = 2**24
"""Bytes of changes of the model."""

LEVELS_MOST = 2**14
"""Bytes that say which levels are used."""

METADATA = b"M"
DEFLATED = b"Z"
CHANGES = b"A"
LEVELS = b"L"
PART = b"P"
STRIP = b"S"
END = b"E"

PARTS_MOST = 8
"""Parts of a strip."""

# Lengths read from a file are claims. Reading in pieces keeps a false one from costing memory.
_PIECE = 2**20

NEWER = "a newer pixelcodec is needed"
"""Ends errors about what no damage explains."""


class Readable(Protocol):
    """A blocking source of bytes: a file opened in binary mode, a pipe, a socket file."""

    def read(self, size: int, /) -> bytes:
        """Return 1 to ``size`` bytes, or none at the end of the stream."""
        ...


Source = bytes | bytearray | memoryview | Readable
"""A file in hand, or a stream of it."""


class Writable(Protocol):
    """A blocking sink of bytes: a file opened in binary mode, a pipe, a socket file."""

    def write(self, data: bytes, /) -> int:
        """Take some of ``data`` and return the number of bytes taken."""
        ...


def stream_of(source: Source) -> Readable:
    """A stream of a file in hand, in any buffer; a stream as it is.

    Raises:
        TypeError: it is neither, such as a path.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    with suppress(TypeError):  # it is no buffer
        return io.BytesIO(memoryview(source).tobytes())  # type: ignore[arg-type]
    if hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        return source
    raise TypeError(
        f"{source!r:.60} is no .pxc file: give its bytes, or a file opened in binary mode; "
        "for a path: pixelcodec.open(path), or open(path, 'rb')"
    )


def check_writable(sink: Writable) -> None:
    """Refuse what takes no bytes.

    Raises:
        TypeError: it takes none, such as a path.
    """
    if not hasattr(sink, "write") or isinstance(sink, io.TextIOBase):
        raise TypeError(
            f"{sink!r:.60} cannot be written to: give a file opened in binary mode; "
            "for a path: pixelcodec.create(path, ...), or open(path, 'xb')"
        )


def read_some(fh: Readable, size: int) -> bytes:
    """Read 1 to ``size`` bytes, at most a mebibyte; none at the end of the stream.

    Raises:
        BlockingIOError: ``fh`` has no bytes yet.
    """
    data = fh.read(min(size, _PIECE))
    if data is None:  # what a raw stream in non-blocking mode returns
        raise BlockingIOError("the input has no bytes yet: it must be in blocking mode")
    return data


@dataclass(frozen=True)
class Header:
    """What a decoder must know before the first strip.

    Args:
        width: Columns of the image, 1 to 2**18.
        height: Rows of the image, 1 to 2**31 - 1.
        channels: Samples a pixel: 1 gray (or index of a palette), 2 gray and alpha, 3 RGB, 4 RGB
            and alpha.
        bit_depth: Bits a sample: 8 or 16, or of gray 1, 2 or 4.
        strip_rows: Rows a strip, 1 to 65535; the last strip holds what is left.
        model_id: The first 8 bytes of the SHA-256 of the integer model, or :data:`STANDARD`.
        restart: Whether each strip can be decoded without the strips before it.
        tile: Side of the square tiles that strips are cut into, each coded as an image of its
            own; it divides ``strip_rows``. 0: they are not cut.
        alpha_id: The same as ``model_id`` for alpha, where it is a component of its own; None
            where there is no alpha, or it is coded together with the colours.
        learning: How models learn from what is coded, 1 to 15; 0: not at all.
        planes: How colours of 16 bits are coded by a model of gray, one of :data:`PLANES`: each as
            a component of its own, see :mod:`pixelcodec.transform`. 0: they are coded together.
        by_palette: Whether ranks are coded in place of the indices of a palette, of 8 bits, see
            :mod:`pixelcodec.palette_order`.

    Raises:
        ValueError: A field is out of its range.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    strip_rows: int
    model_id: bytes
    restart: bool = False
    tile: int = 0
    alpha_id: bytes | None = None
    learning: int = 0
    planes: int = 0
    by_palette: bool = False

    def __post_init__(self) -> None:
        """Refuse what the format cannot say."""
        _require("width", self.width, 1 <= self.width <= WIDTH_MAX, "1 to 2**18")
        _require("height", self.height, 1 <= self.height <= _HEIGHT_MAX, "1 to 2**31 - 1")
        _require("channels", self.channels, 1 <= self.channels <= 4, "1 to 4")
        depths = (1, 2, 4, 8, 16) if self.channels == 1 else (8, 16)
        allowed = " or ".join(map(str, depths))
        _require("bit_depth", self.bit_depth, self.bit_depth in depths, allowed)
        _require("strip_rows", self.strip_rows, 1 <= self.strip_rows <= 65535, "1 to 65535")
        fits = 0 <= self.tile <= 65535 and (self.tile == 0 or self.strip_rows % self.tile == 0)
        _require("tile", self.tile, fits, "0, or a divisor of strip_rows")
        _require("model_id", self.model_id, len(self.model_id) == 8, "8 bytes long")
        if self.alpha_id is not None:
            _require("alpha_id", self.alpha_id, len(self.alpha_id) == 8, "8 bytes long")
            _require("channels", self.channels, self.channels in (2, 4), "2 or 4, with an alpha_id")
        most = LEARNING_MOST if self.model_ids - {STANDARD} else 0
        _require("learning", self.learning, 0 <= self.learning <= most, f"0 to {most}")
        has_planes = self.bit_depth == 16 and self.colours.stop == 3
        allowed_planes = (0, *PLANES) if has_planes and self.model_id != STANDARD else (0,)
        _require("planes", self.planes, self.planes in allowed_planes, f"one of {allowed_planes}")
        may_have_palette = (self.channels, self.bit_depth) == (1, 8)
        fits = may_have_palette or not self.by_palette
        _require("by_palette", self.by_palette, fits, "of 8-bit gray alone")

    @property
    def model_ids(self) -> set[bytes]:
        """Of all components."""
        return {self.model_id} if self.alpha_id is None else {self.model_id, self.alpha_id}

    @property
    def colours(self) -> slice:
        """All channels, but for alpha where it is a component of its own."""
        return slice(0, self.channels - (self.alpha_id is not None))

    @property
    def components(self) -> tuple["Component", ...]:
        """What the strips' samples are divided into, in the order of coding."""
        colours = self.colours.stop
        size = 1 if self.planes else colours
        found = [Component(first, size, self.model_id) for first in range(0, colours, size)]
        if self.alpha_id is not None:
            found.append(Component(colours, 1, self.alpha_id))
        return tuple(found)

    @property
    def may_have_changes(self) -> bool:
        """Whether a model codes the colours, and nothing else: alpha's does not change."""
        return self.model_id not in (STANDARD, self.alpha_id)

    @property
    def may_have_levels(self) -> bool:
        """Whether the colours are of 16 bits, and coded by a model."""
        return self.bit_depth == 16 and self.model_id != STANDARD

    @property
    def strips(self) -> int:
        """The number of strips, ``ceil(height / strip_rows)``."""
        return -(-self.height // self.strip_rows)

    def strip_height(self, index: int) -> int:
        """Return the rows of strip ``index``, 1 to ``strip_rows``.

        Args:
            index: 0 to ``strips - 1``, counted from the top.

        Raises:
            IndexError: There is no such strip.
        """
        if not 0 <= index < self.strips:
            raise IndexError(f"strip {index} of an image of {self.strips} strips (from 0)")
        return min(self.strip_rows, self.height - index * self.strip_rows)


class Component(NamedTuple):
    """Channels that are coded together.

    Attributes:
        first: the first of them.
        channels: how many they are.
        model_id: what codes them, or :data:`STANDARD`.
    """

    first: int
    channels: int
    model_id: bytes

    @property
    def slice(self) -> slice:
        """Of all channels."""
        return slice(self.first, self.first + self.channels)


class Part(NamedTuple):
    """A part of a strip.

    Attributes:
        payload: its bytes.
        last: whether it is the last of its strip.
    """

    payload: bytes
    last: bool


class Writer:
    """Write one image as a ``.pxc`` stream, front to back.

    Args:
        fh: Takes the bytes; it is neither sought, flushed nor closed.
        header: Written at once.
        metadata: Likewise; at most :data:`METADATA_MOST` bytes.
        changes: Of the model that codes the colours, likewise; at most :data:`CHANGES_MOST` bytes.
        levels: That the colours use, of 16 bits and coded by a model, likewise, see
            :mod:`pixelcodec.levels`; at most :data:`LEVELS_MOST` bytes.

    Attributes:
        header: The header given.
        bytes_written: Bytes written so far.
    """

    def __init__(
        self,
        fh: Writable,
        header: Header,
        metadata: bytes = b"",
        changes: bytes = b"",
        levels: bytes = b"",
    ) -> None:
        """Write the magic, the header, the metadata, the changes and the levels."""
        size = len(metadata)
        _require("bytes of metadata", size, size <= METADATA_MOST, f"up to {METADATA_MOST}")
        size = len(changes)
        most = CHANGES_MOST if header.may_have_changes else 0
        _require("bytes of changes", size, size <= most, f"up to {most}")
        size = len(levels)
        most = LEVELS_MOST if header.may_have_levels else 0
        _require("bytes of levels", size, size <= most, f"up to {most}")
        self.header = header
        self.bytes_written = 0
        self._fh = fh
        self._strips_written = 0
        self._parts_written = 0
        self._closed = False
        head = MAGIC + _pack_fields(header, bool(metadata), bool(changes), bool(levels))
        self._head_crc = zlib.crc32(head)
        self._write(head + U32.pack(self._head_crc))
        if metadata:
            deflated = zlib.compress(metadata, 9)
            smaller = len(deflated) < len(metadata)
            self._write_chunk(*(DEFLATED, deflated) if smaller else (METADATA, metadata))
        if changes:
            self._write_chunk(CHANGES, changes)
        if levels:
            self._write_chunk(LEVELS, levels)

    def strip(self, *parts: bytes) -> None:
        """Write the next strip.

        Args:
            parts: Its range-coder words as bytes, one part or up to 8, the coarsest first; each at
                most 16 bytes a sample of the strip + 256.

        Raises:
            ValueError: All strips are written, a part is too long, or they are too many.
        """
        if self._strips_written == self.header.strips:
            raise ValueError(f"all {self.header.strips} strips are written")
        if not 1 <= len(parts) <= PARTS_MOST:
            raise ValueError(f"{len(parts)} parts; a strip has 1 to {PARTS_MOST}")
        limit = payload_limit(self.header, self._strips_written)
        if (longest := max(map(len, parts))) > limit:
            raise ValueError(f"a strip of {longest} bytes; this one can have {limit}")
        for tag, part in zip([PART] * (len(parts) - 1) + [STRIP], parts, strict=True):
            self._write_chunk(tag, part)
            self._parts_written += 1
        self._strips_written += 1

    def close(self, samples_crc: int) -> None:
        """Write the end mark; the stream is then whole.

        Args:
            samples_crc: CRC-32 of all samples, 0 to 2**32 - 1: rows from top to bottom, channels
                interleaved, one byte a sample; of 16 bits two, the low one first.

        Raises:
            ValueError: Strips are missing, the value is out of range, or it is closed already.
        """
        if self._closed:
            raise ValueError("the stream is closed")
        if self._strips_written != self.header.strips:
            raise ValueError(f"{self._strips_written} of {self.header.strips} strips are written")
        _require("samples_crc", samples_crc, 0 <= samples_crc <= _U32_MAX, "0 to 2**32 - 1")
        self._write_chunk(END, U32.pack(samples_crc))
        self._closed = True

    def _write_chunk(self, tag: bytes, payload: bytes) -> None:
        chunk = CHUNK_HEAD.pack(tag, len(payload)) + payload
        begun = crc.begun(self._head_crc, self._parts_written)
        self._write(chunk + U32.pack(zlib.crc32(chunk, begun)))

    def _write(self, data: bytes) -> None:
        write_all(self._fh, data)
        self.bytes_written += len(data)


def write_all(fh: Writable, data: bytes) -> None:
    """Write ``data`` in as many calls as it takes.

    Raises:
        BlockingIOError: ``fh`` takes no bytes.
    """
    # An unbuffered pipe may take a part only; one that would block takes nothing.
    while data:
        taken = fh.write(data)
        if not taken:
            raise BlockingIOError("the output takes no bytes: it must be in blocking mode")
        data = data[taken:]


class Start(NamedTuple):
    """What a stream begins with.

    Attributes:
        header: of the image.
        metadata: of the image.
        changes: of the model that codes its colours.
        levels: that these use; none: any.
    """

    header: Header
    metadata: bytes = b""
    changes: bytes = b""
    levels: bytes = b""


class End(NamedTuple):
    """What a stream ends with.

    Attributes:
        samples_crc: CRC-32 of all samples, see :meth:`Writer.close`.
    """

    samples_crc: int


Record = Start | Part | End
Needs = Generator[None, None, bytes]
"""Gives None whenever more bytes must come, and at last returns those it takes."""


class Parser:
    """Take a ``.pxc`` stream apart, whose bytes come in pieces of any size.

    Attributes:
        wanted: So many bytes more are needed, at least, before there is another record.
    """

    def __init__(self) -> None:
        """Wait for the first bytes."""
        self._source = _Source()
        self._parsing = _parse(self._source)
        self.wanted = len(MAGIC)

    def records(self, data: bytes) -> Iterator[Record]:
        """Give the records that are complete with ``data``: a Start, Parts, an End.

        Args:
            data: The next bytes; none of them is the end of the stream.

        Raises:
            FormatError: This is not a ``.pxc`` stream, or it is damaged or truncated, goes on after
                its end, or needs a newer pixelcodec.
        """
        self._source.feed(data)
        for record in self._parsing:
            if record is None:
                self.wanted = self._source.wanted
                return
            yield record


class Reader:
    """Read one image from a ``.pxc`` stream, front to back, no byte further than needed.

    Iterating gives the parts of each strip, in order, each verified against its CRC; it can
    be done once. The stream is whole only when the iteration has ended by itself.

    Args:
        fh: Gives the bytes; it may give fewer than asked for, and is neither sought nor closed.

    Attributes:
        start: Header, metadata, changes and levels, read and verified at construction.
        header: That of ``start``.

    Raises:
        FormatError: At construction or while iterating, as :meth:`Parser.records` does.
    """

    def __init__(self, fh: Readable) -> None:
        """Read and verify magic, header and metadata."""
        self._fh = fh
        self._records = self._read()
        start = next(self._records)
        assert isinstance(start, Start)
        self.start, self.header = start, start.header
        self._samples_crc: int | None = None
        self._parts = self._read_parts()

    def __iter__(self) -> Iterator[Part]:
        """Return the one iterator over the parts of the strips."""
        return self._parts

    @property
    def samples_crc(self) -> int:
        """CRC-32 of all samples, from the end mark (see :meth:`Writer.close`).

        Raises:
            RuntimeError: The strips were not all read, so the end mark was not reached.
        """
        if self._samples_crc is None:
            raise RuntimeError("samples_crc is known once all strips are read")
        return self._samples_crc

    def _read_parts(self) -> Iterator[Part]:
        for record in self._records:
            if isinstance(record, Part):
                yield record
            elif isinstance(record, End):
                self._samples_crc = record.samples_crc

    def _read(self) -> Iterator[Record]:
        parser = Parser()
        ended = False
        while not ended:
            data = read_some(self._fh, parser.wanted)
            ended = not data
            yield from parser.records(data)


class Head(NamedTuple):
    """What stands before all chunks.

    Attributes:
        header: of the image.
        has_metadata: whether a chunk of metadata comes next.
        has_changes: whether a chunk of changes of the model comes then.
        has_levels: whether a chunk of levels comes then.
        crc: CRC-32 of both.
        size: bytes of magic and header, the CRC included.
    """

    header: Header
    has_metadata: bool
    has_changes: bool
    has_levels: bool
    crc: int
    size: int


def read_head(data: bytes) -> Head:
    """Read magic and header of a stream that may be damaged behind them.

    Raises:
        FormatError: They are damaged, or need a newer pixelcodec.
    """
    source = _Source()
    source.feed(data[: len(MAGIC) + _FIELDS.size + 8 + U32.size])
    source.feed(b"")
    try:
        next(_head(source))
    except StopIteration as done:
        found: Head = done.value
    return found


def inflated_metadata(payload: bytes) -> bytes:
    """What a chunk ``Z`` unfolds to.

    Raises:
        FormatError: It is damaged, or claims more than :data:`METADATA_MOST` bytes.
    """
    return _inflated(payload, _Chunk(DEFLATED, len(payload), 0, "the metadata", 0))


def newer_chunk(tag: bytes, offset: int) -> FormatError:
    """What to raise of a chunk, with a right CRC, that must be understood and is not."""
    return FormatError(f"unknown critical chunk '{tag.decode()}' at byte {offset}: {NEWER}")


@dataclass(frozen=True)
class _Chunk:
    """The head of a chunk.

    Attributes:
        tag: of the chunk.
        length: of its payload.
        offset: where it starts.
        name: how errors call it.
        head_crc: CRC-32 of its place, see :func:`pixelcodec.crc.begun`, tag and length.
    """

    tag: bytes
    length: int
    offset: int
    name: str
    head_crc: int


class _Source:
    """Bytes as they come; counts those taken, and says where they end too early."""

    def __init__(self) -> None:
        self.offset = 0
        self.wanted = 0
        self._held = bytearray()
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none are the end."""
        self._held += data
        self._ended = not data

    def some(self, most: int, enough: int = 1) -> Needs:
        """Return ``enough`` to ``most`` bytes; fewer at the end of the stream only."""
        while len(self._held) < enough and not self._ended:
            self.wanted = enough - len(self._held)
            yield
        data = bytes(self._held[:most])
        del self._held[:most]
        self.offset += len(data)
        return data

    def take(self, count: int, what: str) -> Needs:
        """Return exactly ``count`` bytes, which belong to ``what``."""
        data = yield from self.some(count, count)
        if len(data) < count:
            raise FormatError(f"truncated at byte {self.offset}: {what} is missing or cut off")
        return data

    def check_crc(self, computed: int, what: str) -> Generator[None, None, None]:
        """Compare the CRC ``computed`` over ``what`` with the stored one that comes next."""
        (stored,) = U32.unpack((yield from self.take(U32.size, what)))
        if stored != computed:
            raise FormatError(
                f"damaged: CRC mismatch in {what} (stored {stored:08x}, computed {computed:08x})"
            )


def _parse(source: _Source) -> Generator[Record | None, None, None]:
    """Give the records of a stream, and None whenever ``source`` must be fed."""
    head = yield from _head(source)
    header = head.header
    metadata = changes = levels = b""
    if head.has_metadata:
        chunk = yield from _chunk_head(source, head, 0, 0)
        metadata = yield from _metadata(source, chunk)
    if head.has_changes:
        chunk = yield from _chunk_head(source, head, 0, 0)
        changes = yield from _from_the_start(source, chunk, CHANGES, CHANGES_MOST)
    if head.has_levels:
        chunk = yield from _chunk_head(source, head, 0, 0)
        levels = yield from _from_the_start(source, chunk, LEVELS, LEVELS_MOST)
    yield Start(header, metadata, changes, levels)
    strip, part, place = 0, 0, 0
    while (chunk := (yield from _chunk_head(source, head, strip, place))).tag != END:
        if chunk.tag in (PART, STRIP):
            last = chunk.tag == STRIP
            _check_strip(chunk, header, strip, part)
            yield Part((yield from _payload(source, chunk)), last)
            strip, part = (strip + 1, 0) if last else (strip, part + 1)
            place += 1
        else:
            yield from _skip(source, chunk)
    yield (yield from _end(source, chunk, header, strip))


_STARTING = {CHANGES: "the changes of the model", LEVELS: "the levels"}


def _chunk_head(
    source: _Source, head: Head, index: int, place: int
) -> Generator[None, None, _Chunk]:
    """Read the head of a chunk; ``index`` strips, of ``place`` parts, were read before it."""
    header = head.header
    strip = _strip_name(header, index)
    offset = source.offset
    expected = strip if index < header.strips else "the end mark"
    fields = yield from source.take(CHUNK_HEAD.size, expected)
    tag, length = CHUNK_HEAD.unpack(fields)
    if not (tag.isascii() and tag.isalpha()):
        raise FormatError(f"damaged at byte {offset}: {tag!r} is no chunk tag")
    names = {
        **dict.fromkeys((METADATA, DEFLATED), "the metadata"),
        **_STARTING,
        STRIP: strip,
        PART: f"a part of {strip}",
        END: "the end mark",
    }
    name = names.get(tag, f"chunk '{tag.decode()}'")
    head_crc = zlib.crc32(fields, crc.begun(head.crc, place))
    return _Chunk(tag, length, offset, name, head_crc)


def _strip_name(header: Header, index: int) -> str:
    return f"strip {index + 1} of {header.strips}"


def _metadata(source: _Source, chunk: _Chunk) -> Needs:
    if chunk.tag not in (METADATA, DEFLATED):
        raise FormatError(f"damaged at byte {chunk.offset}: {chunk.name} where metadata should be")
    _check_claim(chunk, METADATA_MOST)
    payload = yield from _payload(source, chunk)
    return payload if chunk.tag == METADATA else _inflated(payload, chunk)


def _from_the_start(source: _Source, chunk: _Chunk, tag: bytes, limit: int) -> Needs:
    """The payload, not empty, of a chunk that must be the one with this ``tag``."""
    if chunk.tag != tag:
        raise FormatError(
            f"damaged at byte {chunk.offset}: {chunk.name} where {_STARTING[tag]} should be"
        )
    _check_claim(chunk, limit)
    payload = yield from _payload(source, chunk)
    if not payload:
        raise FormatError(f"damaged at byte {chunk.offset}: {chunk.name} have no bytes")
    return payload


def _check_claim(chunk: _Chunk, limit: int) -> None:
    if chunk.length > limit:
        raise FormatError(
            f"damaged at byte {chunk.offset}: {chunk.name} claims {chunk.length} bytes, "
            f"it can have {limit}"
        )


def _inflated(payload: bytes, chunk: _Chunk) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(payload, METADATA_MOST)
    except zlib.error as error:
        raise FormatError(f"damaged at byte {chunk.offset}: {chunk.name}: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise FormatError(
            f"damaged at byte {chunk.offset}: {chunk.name} does not end where it should"
        )
    return data


def _check_strip(chunk: _Chunk, header: Header, index: int, parts: int) -> None:
    if parts + (chunk.tag == PART) == PARTS_MOST:
        raise FormatError(f"damaged at byte {chunk.offset}: a strip has at most {PARTS_MOST} parts")
    if index == header.strips:
        raise FormatError(
            f"extra strip at byte {chunk.offset}: the image has {header.strips} strips"
        )
    _check_claim(chunk, payload_limit(header, index))


def _payload(source: _Source, chunk: _Chunk) -> Needs:
    payload = yield from source.take(chunk.length, chunk.name)
    whole = zlib.crc32(payload, chunk.head_crc)
    yield from source.check_crc(whole, f"{chunk.name} at byte {chunk.offset}")
    return payload


def _skip(source: _Source, chunk: _Chunk) -> Generator[None, None, None]:
    """Go past a chunk that may be larger than memory."""
    so_far, left = chunk.head_crc, chunk.length
    while left:
        piece = yield from source.take(min(left, _PIECE), chunk.name)
        so_far = zlib.crc32(piece, so_far)
        left -= len(piece)
    yield from source.check_crc(so_far, f"{chunk.name} at byte {chunk.offset}")
    # After the CRC: a damaged tag must not send anyone looking for a newer pixelcodec.
    if chunk.tag in (METADATA, DEFLATED, CHANGES, LEVELS):
        raise FormatError(f"{chunk.name} out of place, at byte {chunk.offset}: {NEWER}")
    if chunk.tag.isupper():
        raise newer_chunk(chunk.tag, chunk.offset)


def _end(source: _Source, chunk: _Chunk, header: Header, index: int) -> Generator[None, None, End]:
    if chunk.length != U32.size:
        raise FormatError(
            f"damaged at byte {chunk.offset}: the end mark claims {chunk.length} bytes, "
            f"it has {U32.size}"
        )
    (samples_crc,) = U32.unpack((yield from _payload(source, chunk)))
    if index < header.strips:
        raise FormatError(
            f"missing strips: the end mark at byte {chunk.offset} comes after {index} of "
            f"{header.strips} strips"
        )
    if (yield from source.some(1)):
        raise FormatError(f"bytes after the end mark, from byte {source.offset - 1} on")
    return End(samples_crc)


def _head(source: _Source) -> Generator[None, None, Head]:
    """Read magic and header."""
    yield from _magic(source)
    fields = yield from source.take(_FIELDS.size, "the header")
    # Before the CRC: another version may place it elsewhere.
    if fields[0] != VERSION:
        raise FormatError(f"format version {fields[0]} at byte {len(MAGIC)}: {NEWER}")
    flags = fields[3]
    alpha_id = b""
    if flags & _FLAG_ALPHA:
        alpha_id = yield from source.take(8, "the header")
    head_crc = zlib.crc32(MAGIC + fields + alpha_id)
    yield from source.check_crc(head_crc, f"the header at byte {len(MAGIC)}")
    header = _unpack_fields(fields, alpha_id or None)
    has_changes = bool(flags & _FLAG_CHANGES)
    has_levels = bool(fields[2] & _RANKS_BIT) and not header.by_palette
    for has, may_have, what in (
        (has_changes, header.may_have_changes, "changes of the model"),
        (has_levels, header.may_have_levels, "levels"),
    ):
        if has and not may_have:
            raise _newer_header(f"that {what} follow, of what has none")
    has_metadata = bool(flags & _FLAG_METADATA)
    return Head(header, has_metadata, has_changes, has_levels, head_crc, source.offset)


def _newer_header(says: str) -> FormatError:
    return FormatError(f"the header at byte {len(MAGIC)} says {says}: {NEWER}")


def _magic(source: _Source) -> Generator[None, None, None]:
    magic = yield from source.some(len(MAGIC), len(MAGIC))
    if magic == MAGIC:
        return
    if not magic:
        raise FormatError("empty: not a .pxc stream")
    if MAGIC.startswith(magic):
        raise FormatError(f"truncated at byte {len(magic)}: the magic is cut off")
    if MAGIC[1:4] in magic:
        raise FormatError(
            "damaged at byte 0, as by a transfer in text mode (line ends or the eighth bit are "
            "changed): transfer it again in binary mode"
        )
    raise FormatError(f"not a .pxc stream: it starts with {magic!r}")


def _pack_fields(header: Header, has_metadata: bool, has_changes: bool, has_levels: bool) -> bytes:
    flags = (
        _FLAG_RESTART * header.restart
        | _FLAG_ALPHA * (header.alpha_id is not None)
        | _FLAG_METADATA * has_metadata
        | _FLAG_CHANGES * has_changes
        | header.learning << _LEARNING_SHIFT
    )
    fields = _FIELDS.pack(
        VERSION,
        header.channels | header.planes << _PLANES_SHIFT,
        header.bit_depth | _RANKS_BIT * (has_levels or header.by_palette),
        flags,
        header.width,
        header.height,
        header.strip_rows,
        header.tile,
        header.model_id,
    )
    return fields + (header.alpha_id or b"")


def _unpack_fields(fields: bytes, alpha_id: bytes | None) -> Header:
    _, colour, depth, flags, width, height, strip_rows, tile, model_id = _FIELDS.unpack(fields)
    channels, bit_depth = colour & _CHANNELS, depth & ~_RANKS_BIT
    try:
        return Header(
            width,
            height,
            channels,
            bit_depth,
            strip_rows,
            model_id,
            restart=bool(flags & _FLAG_RESTART),
            tile=tile,
            alpha_id=alpha_id,
            learning=flags >> _LEARNING_SHIFT,
            planes=colour >> _PLANES_SHIFT,
            by_palette=bool(depth & _RANKS_BIT) and (channels, bit_depth) == (1, 8),
        )
    except ValueError as error:
        raise _newer_header(str(error)) from error


def payload_limit(header: Header, index: int) -> int:
    """Return the most bytes a strip can have: several times what the coder could ever write."""
    samples = header.width * header.strip_height(index) * header.channels
    return min(16 * samples + 256, _U32_MAX)


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} {value!r}, allowed: {allowed}")
