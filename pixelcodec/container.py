"""The ``.pxc`` container: bytes to records and back. It knows nothing of networks.

Layout, little-endian, written front to back without seeking (docs/FORMAT.md has every byte)::

    stream = magic 8 | header 24 | crc 4 | strip ... | chunk 'E'
    strip  = chunk 'P' ... | chunk 'S'
    chunk  = tag 1 | length 4 | payload | crc 4

Every byte is covered by the magic or by a CRC-32, so that damage is found before anything is
decoded from it. One strip costs 58 bytes besides its payload, each further strip 9.

A strip has one part, chunk ``S``, or several, of which the first, ``P``, make a preview.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pixelcodec.errors import FormatError

# As PNG's: a byte that is not ASCII, both kinds of line end, and the end of a DOS text file, so
# that a transfer in text mode changes it.
MAGIC = b"\x89PXC\r\n\x1a\n"
VERSION = 1

_FIELDS = struct.Struct("<4B2I2H8s")
_CHUNK_HEAD = struct.Struct("<cI")
_U32 = struct.Struct("<I")
_U32_MAX = 2**32 - 1
WIDTH_MAX = 2**18  # a decoder holds some rows of activations, a kilobyte a column
_HEIGHT_MAX = 2**31 - 1

_FLAG_RESTART = 0x01

_PART = b"P"
_STRIP = b"S"
_END = b"E"

_PARTS_MOST = 8
"""Parts of a strip."""

# Lengths read from a file are claims. Reading in pieces keeps a false one from costing memory.
_PIECE = 2**20

_NEWER = "a newer pixelcodec is needed"


class Readable(Protocol):
    """A blocking source of bytes: a file opened in binary mode, a pipe, a socket file."""

    def read(self, size: int, /) -> bytes:
        """Return 1 to ``size`` bytes, or none at the end of the stream."""
        ...


class Writable(Protocol):
    """A blocking sink of bytes: a file opened in binary mode, a pipe, a socket file."""

    def write(self, data: bytes, /) -> int:
        """Take some of ``data`` and return the number of bytes taken."""
        ...


@dataclass(frozen=True)
class Header:
    """What a decoder must know before the first strip.

    Args:
        width: Columns of the image, 1 to 2**18.
        height: Rows of the image, 1 to 2**31 - 1.
        channels: Samples a pixel, 1 (gray) or 3 (RGB).
        bit_depth: Bits a sample, 1 or 8.
        strip_rows: Rows a strip, 1 to 65535; the last strip holds what is left.
        model_id: The first 8 bytes of the SHA-256 of the integer model.
        restart: Whether each strip can be decoded without the strips before it.
        tile: Side of the square tiles that strips are cut into, each coded as an image of its
            own; it divides ``strip_rows``. 0: they are not cut.

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

    def __post_init__(self) -> None:
        """Refuse what the format cannot say."""
        _require("width", self.width, 1 <= self.width <= WIDTH_MAX, "1 to 2**18")
        _require("height", self.height, 1 <= self.height <= _HEIGHT_MAX, "1 to 2**31 - 1")
        _require("channels", self.channels, self.channels in (1, 3), "1 (gray) or 3 (RGB)")
        _require("bit_depth", self.bit_depth, self.bit_depth in (1, 8), "1 or 8")
        _require("strip_rows", self.strip_rows, 1 <= self.strip_rows <= 65535, "1 to 65535")
        fits = 0 <= self.tile <= 65535 and (self.tile == 0 or self.strip_rows % self.tile == 0)
        _require("tile", self.tile, fits, "0, or a divisor of strip_rows")
        _require("model_id", self.model_id, len(self.model_id) == 8, "8 bytes long")

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

    Attributes:
        header: The header given.
        bytes_written: Bytes written so far.
    """

    def __init__(self, fh: Writable, header: Header) -> None:
        """Write the magic and the header."""
        self.header = header
        self.bytes_written = 0
        self._fh = fh
        self._strips_written = 0
        self._closed = False
        self._write_with_crc(MAGIC + _pack_fields(header))

    def strip(self, *parts: bytes) -> None:
        """Write the next strip.

        Args:
            parts: Its range-coder words as bytes, one part or up to 8, the coarsest first; each at
                most 16 bytes a sample of the strip + 64.

        Raises:
            ValueError: All strips are written, a part is too long, or they are too many.
        """
        if self._strips_written == self.header.strips:
            raise ValueError(f"all {self.header.strips} strips are written")
        if not 1 <= len(parts) <= _PARTS_MOST:
            raise ValueError(f"{len(parts)} parts; a strip has 1 to {_PARTS_MOST}")
        limit = _payload_limit(self.header, self._strips_written)
        if (longest := max(map(len, parts))) > limit:
            raise ValueError(f"a strip of {longest} bytes; this one can have {limit}")
        *before, last = parts
        for part in before:
            self._write_chunk(_PART, part)
        self._write_chunk(_STRIP, last)
        self._strips_written += 1

    def close(self, samples_crc: int) -> None:
        """Write the end mark; the stream is then whole.

        Args:
            samples_crc: CRC-32 of all samples, 0 to 2**32 - 1: rows from top to bottom, channels
                interleaved, one byte a sample.

        Raises:
            ValueError: Strips are missing, the value is out of range, or it is closed already.
        """
        if self._closed:
            raise ValueError("the stream is closed")
        if self._strips_written != self.header.strips:
            raise ValueError(f"{self._strips_written} of {self.header.strips} strips are written")
        _require("samples_crc", samples_crc, 0 <= samples_crc <= _U32_MAX, "0 to 2**32 - 1")
        self._write_chunk(_END, _U32.pack(samples_crc))
        self._closed = True

    def _write_chunk(self, tag: bytes, payload: bytes) -> None:
        self._write_with_crc(_CHUNK_HEAD.pack(tag, len(payload)) + payload)

    def _write_with_crc(self, record: bytes) -> None:
        self._write(record + _U32.pack(zlib.crc32(record)))

    def _write(self, data: bytes) -> None:
        # An unbuffered pipe may take a part only; one that would block takes nothing.
        while data:
            taken = self._fh.write(data)
            if not taken:
                raise BlockingIOError("the output takes no bytes: it must be in blocking mode")
            self.bytes_written += taken
            data = data[taken:]


class Reader:
    """Read one image from a ``.pxc`` stream, front to back.

    Iterating gives the parts of each strip, in order, each verified against its CRC; it can
    be done once. The stream is whole only when the iteration has ended by itself.

    Args:
        fh: Gives the bytes; it may give fewer than asked for, and is neither sought nor closed.

    Attributes:
        header: The image header, read and verified at construction.

    Raises:
        FormatError: At construction or while iterating: the stream is not a ``.pxc`` stream,
            is damaged or truncated, goes on after its end, or needs a newer pixelcodec.
    """

    def __init__(self, fh: Readable) -> None:
        """Read and verify the magic and the header."""
        self._source = _Source(fh)
        self.header = _read_header(self._source)
        self._samples_crc: int | None = None
        self._parts = self._read_strips()

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

    def _read_strips(self) -> Iterator[Part]:
        index, parts = 0, 0
        while (chunk := self._next_chunk(index)).tag != _END:
            if chunk.tag in (_PART, _STRIP):
                last = chunk.tag == _STRIP
                self._check_strip(chunk, index, parts)
                yield Part(self._payload(chunk), last)
                index, parts = (index + 1, 0) if last else (index, parts + 1)
            else:
                self._skip(chunk)
        self._finish(chunk, index)

    def _next_chunk(self, index: int) -> "_Chunk":
        """Read the head of a chunk; ``index`` strips were read before it."""
        offset = self._source.offset
        expected = self._strip_name(index) if index < self.header.strips else "the end mark"
        head = self._source.take(_CHUNK_HEAD.size, expected)
        tag, length = _CHUNK_HEAD.unpack(head)
        if not (tag.isascii() and tag.isalpha()):
            raise FormatError(f"damaged at byte {offset}: {tag!r} is no chunk tag")
        strip = self._strip_name(index)
        names = {_STRIP: strip, _PART: f"a part of {strip}", _END: "the end mark"}
        name = names.get(tag, f"chunk '{tag.decode()}'")
        return _Chunk(tag, length, offset, name, zlib.crc32(head))

    def _strip_name(self, index: int) -> str:
        return f"strip {index + 1} of {self.header.strips}"

    def _check_strip(self, chunk: "_Chunk", index: int, parts: int) -> None:
        if parts + (chunk.tag == _PART) == _PARTS_MOST:
            raise FormatError(
                f"damaged at byte {chunk.offset}: a strip has at most {_PARTS_MOST} parts"
            )
        if index == self.header.strips:
            raise FormatError(
                f"extra strip at byte {chunk.offset}: the image has {self.header.strips} strips"
            )
        limit = _payload_limit(self.header, index)
        if chunk.length > limit:
            raise FormatError(
                f"damaged at byte {chunk.offset}: {chunk.name} claims {chunk.length} bytes, "
                f"it can have {limit}"
            )

    def _payload(self, chunk: "_Chunk") -> bytes:
        return b"".join(self._verified_pieces(chunk))

    def _skip(self, chunk: "_Chunk") -> None:
        for _ in self._verified_pieces(chunk):
            pass
        # After the CRC: a damaged tag must not send anyone looking for a newer pixelcodec.
        if chunk.tag.isupper():
            raise FormatError(f"unknown critical {chunk.name} at byte {chunk.offset}: {_NEWER}")

    def _verified_pieces(self, chunk: "_Chunk") -> Iterator[bytes]:
        """Give the payload in pieces, and end without an error only if its CRC is right."""
        crc = chunk.head_crc
        for piece in self._source.pieces(chunk.length, chunk.name):
            crc = zlib.crc32(piece, crc)
            yield piece
        self._source.check_crc(crc, f"{chunk.name} at byte {chunk.offset}")

    def _finish(self, chunk: "_Chunk", index: int) -> None:
        if chunk.length != _U32.size:
            raise FormatError(
                f"damaged at byte {chunk.offset}: the end mark claims {chunk.length} bytes, "
                f"it has {_U32.size}"
            )
        (samples_crc,) = _U32.unpack(self._payload(chunk))
        if index < self.header.strips:
            raise FormatError(
                f"missing strips: the end mark at byte {chunk.offset} comes after {index} of "
                f"{self.header.strips} strips"
            )
        if self._source.read(1):
            raise FormatError(f"bytes after the end mark, from byte {self._source.offset - 1} on")
        self._samples_crc = samples_crc


@dataclass(frozen=True)
class _Chunk:
    """The head of a chunk: where it starts, how errors call it, the CRC-32 of tag and length."""

    tag: bytes
    length: int
    offset: int
    name: str
    head_crc: int


class _Source:
    """Count the bytes taken from a stream, and say where it ends too early."""

    def __init__(self, fh: Readable) -> None:
        self.offset = 0
        self._fh = fh

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes, or none at the end of the stream."""
        data = self._fh.read(size)
        if data is None:  # what a raw stream in non-blocking mode returns
            raise BlockingIOError("the input has no bytes yet: it must be in blocking mode")
        self.offset += len(data)
        return data

    def pieces(self, count: int, what: str) -> Iterator[bytes]:
        """Give exactly ``count`` bytes, which belong to ``what``, in pieces of bounded size."""
        while count > 0:
            piece = self.read(min(count, _PIECE))
            if not piece:
                raise FormatError(f"truncated at byte {self.offset}: {what} is missing or cut off")
            count -= len(piece)
            yield piece

    def take(self, count: int, what: str) -> bytes:
        """Return exactly ``count`` bytes, which belong to ``what``."""
        return b"".join(self.pieces(count, what))

    def check_crc(self, crc: int, what: str) -> None:
        """Compare ``crc``, computed over ``what``, with the stored one that comes next."""
        (stored,) = _U32.unpack(self.take(_U32.size, what))
        if stored != crc:
            raise FormatError(
                f"damaged: CRC mismatch in {what} (stored {stored:08x}, computed {crc:08x})"
            )


def _read_header(source: _Source) -> Header:
    _read_magic(source)
    fields = source.take(_FIELDS.size, "the header")
    # Before the CRC: another version may place it elsewhere.
    if fields[0] != VERSION:
        raise FormatError(f"format version {fields[0]} at byte {len(MAGIC)}: {_NEWER}")
    source.check_crc(zlib.crc32(MAGIC + fields), f"the header at byte {len(MAGIC)}")
    return _unpack_fields(fields)


def _read_magic(source: _Source) -> None:
    magic = b""
    while len(magic) < len(MAGIC) and (piece := source.read(len(MAGIC) - len(magic))):
        magic += piece
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


def _pack_fields(header: Header) -> bytes:
    return _FIELDS.pack(
        VERSION,
        header.channels,
        header.bit_depth,
        _FLAG_RESTART if header.restart else 0,
        header.width,
        header.height,
        header.strip_rows,
        header.tile,
        header.model_id,
    )


def _unpack_fields(fields: bytes) -> Header:
    _, channels, bit_depth, flags, width, height, strip_rows, tile, model_id = _FIELDS.unpack(
        fields
    )
    if flags & ~_FLAG_RESTART:
        raise FormatError(f"unknown flags 0x{flags:02x} at byte {len(MAGIC) + 3}: {_NEWER}")
    try:
        restart = bool(flags & _FLAG_RESTART)
        return Header(width, height, channels, bit_depth, strip_rows, model_id, restart, tile)
    except ValueError as error:
        raise FormatError(f"the header at byte {len(MAGIC)} says {error}: {_NEWER}") from error


def _payload_limit(header: Header, index: int) -> int:
    """Return the most bytes a strip can have: several times what the coder could ever write."""
    samples = header.width * header.strip_height(index) * header.channels
    return min(16 * samples + 64, _U32_MAX)


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} {value!r}, allowed: {allowed}")
