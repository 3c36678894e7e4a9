"""What happens to files: by accident, with checksums as they were, and on purpose, made right.

A mutation takes a source of chance, a file, and another file, and gives what becomes of the first.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from random import Random

Mutation = Callable[[Random, bytes, bytes], bytes]

_U32 = struct.Struct("<I")
_CRC_BYTES = 4
_CHUNK_HEAD_BYTES = 5

_FIELDS = (("<I", 12), ("<I", 16), ("<H", 20), ("<H", 22), ("B", 9), ("B", 10), ("B", 11))
"""Types and places of the header's fields: size, strips, tiles, kind, flags and learning."""

EXTREMES = (0, 1, 2, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**18, 2**31 - 1, 2**31, 2**32 - 1)
"""Values that a lie may take."""


# Taking files apart ------------------------------------------------------------------------------


def head_of(data: bytes) -> bytes:
    """Magic and header with its CRC, of an undamaged file; the CRC tells where it ends.

    >>> head_of(b"head" + struct.pack("<I", zlib.crc32(b"head")) + b"rest")[:4]
    b'head'
    """
    for size in range(len(data)):
        if data[size : size + _CRC_BYTES] == _U32.pack(zlib.crc32(data[:size])) and size:
            return data[: size + _CRC_BYTES]
    raise ValueError("no header has a right CRC")


def split(data: bytes) -> list[bytes]:
    """The head of an undamaged file, and each of its chunks."""
    pieces = [head_of(data)]
    at = len(pieces[0])
    while at < len(data):
        (length,) = _U32.unpack_from(data, at + 1)
        end = at + _CHUNK_HEAD_BYTES + length + _CRC_BYTES
        pieces.append(data[at:end])
        at = end
    return pieces


def mended(head: bytes) -> bytes:
    """A head, whatever it says, with a right CRC."""
    body = head[:-_CRC_BYTES]
    return body + _U32.pack(zlib.crc32(body))


def chunk(tag: bytes, payload: bytes, length: int | None = None) -> bytes:
    """A chunk whose CRC is to be made right; ``length``: what it claims, if not the truth."""
    claimed = len(payload) if length is None else length
    return tag + _U32.pack(claimed) + payload + bytes(_CRC_BYTES)


def joined(pieces: Iterable[bytes]) -> bytes:
    """The file of a head and chunks, whatever they say, with right CRCs."""
    head, *chunks = pieces
    found, place = [mended(head)], 0
    for piece in chunks:
        body = piece[:-_CRC_BYTES]
        crc = zlib.crc32(found[0][-_CRC_BYTES:] + _U32.pack(place) + body)
        found.append(body + _U32.pack(crc))
        place += piece[:1] in (b"P", b"S")
    return b"".join(found)


def sealed(data: bytes) -> bytes:
    """A file whose head has a right CRC, with right CRCs of all its chunks."""
    return joined(split(data))


def payload_of(piece: bytes) -> bytes:
    """What a chunk holds."""
    return piece[_CHUNK_HEAD_BYTES:-_CRC_BYTES]


# Accidents ---------------------------------------------------------------------------------------


def flip_bits(random: Random, data: bytes, other: bytes) -> bytes:
    """One bit, or a few."""
    return _flipped(random, data, random.choice((1, 1, 2, 8)))


def overwrite(random: Random, data: bytes, other: bytes) -> bytes:
    """A run of bytes becomes zeros, ones, or noise."""
    begin, end = _range(random, len(data))
    size = end - begin
    filling = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
    return data[:begin] + filling + data[end:]


def truncate(random: Random, data: bytes, other: bytes) -> bytes:
    """The end is missing."""
    return data[: random.randrange(len(data))]


def delete(random: Random, data: bytes, other: bytes) -> bytes:
    """A run of bytes is missing."""
    begin, end = _range(random, len(data))
    return data[:begin] + data[end:]


def insert(random: Random, data: bytes, other: bytes) -> bytes:
    """Some bytes are too many: noise, or a run of the file once more."""
    at = random.randrange(len(data) + 1)
    begin, end = _range(random, len(data))
    more = random.choice((random.randbytes(random.randint(1, 16)), data[begin:end]))
    return data[:at] + more + data[at:]


def splice(random: Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def swap_chunks(random: Random, data: bytes, other: bytes) -> bytes:
    """Two chunks change places."""
    head, *chunks = split(data)
    first, second = random.choices(range(len(chunks)), k=2)
    chunks[first], chunks[second] = chunks[second], chunks[first]
    return b"".join([head, *chunks])


def repeat_chunk(random: Random, data: bytes, other: bytes) -> bytes:
    """A chunk stands once more, somewhere."""
    head, *chunks = split(data)
    chunks.insert(random.randint(0, len(chunks)), random.choice(chunks))
    return b"".join([head, *chunks])


def drop_chunk(random: Random, data: bytes, other: bytes) -> bytes:
    """A chunk is missing."""
    head, *chunks = split(data)
    del chunks[random.randrange(len(chunks))]
    return b"".join([head, *chunks])


def borrow_chunk(random: Random, data: bytes, other: bytes) -> bytes:
    """A chunk, or the head, is that of another file."""
    pieces = split(data)
    at, foreign = random.randrange(len(pieces)), split(other)
    pieces[at] = random.choice(foreign[1:]) if at else foreign[0]
    return b"".join(pieces)


BYTES_DAMAGED: Sequence[Mutation] = (flip_bits, overwrite, truncate, delete, insert)
"""Accidents that happen to bytes: whole chunks stay where they are."""

ACCIDENTS: Sequence[Mutation] = (
    *BYTES_DAMAGED,
    *(splice, swap_chunks, repeat_chunk, drop_chunk, borrow_chunk),
)


# Lies --------------------------------------------------------------------------------------------


def lie_in_header(random: Random, data: bytes, other: bytes) -> bytes:
    """A field, or some byte, of the header."""
    pieces = split(data)
    head = bytearray(pieces[0])
    kind, at = random.choice(_FIELDS)
    if random.random() < 0.5:
        largest = 2 ** (8 * struct.calcsize(kind)) - 1
        before = struct.unpack_from(kind, head, at)[0]
        near = (before + random.randint(-3, 3)) & largest
        struct.pack_into(kind, head, at, random.choice((near, random.choice(EXTREMES) & largest)))
    else:
        head[random.randrange(len(head) - _CRC_BYTES)] = random.randrange(256)
    return joined([bytes(head), *pieces[1:]])


def lie_of_the_model(random: Random, data: bytes, other: bytes) -> bytes:
    """The id is that of another model, of none, or noise."""
    pieces = split(data)
    ids = (other[24:32], bytes(8), random.randbytes(8))
    head = pieces[0][:24] + random.choice(ids) + pieces[0][32:]
    return joined([head, *pieces[1:]])


def lie_of_a_length(random: Random, data: bytes, other: bytes) -> bytes:
    """A chunk claims another length, with the CRC of what it has."""
    pieces = split(data)
    at = random.randrange(1, len(pieces))
    tag, payload = pieces[at][:1], payload_of(pieces[at])
    near = max(0, len(payload) + random.randint(-5, 5))
    pieces[at] = chunk(tag, payload, random.choice((near, random.choice(EXTREMES))))
    return joined(pieces)


def lie_of_a_tag(random: Random, data: bytes, other: bytes) -> bytes:
    """A chunk is said to be another."""
    pieces = split(data)
    at = random.randrange(1, len(pieces))
    tag = random.choice((*(bytes([each]) for each in b"SPMZAEXx"), random.randbytes(1)))
    pieces[at] = tag + pieces[at][1:]
    return joined(pieces)


def lie_in_a_payload(random: Random, data: bytes, other: bytes) -> bytes:
    """What a chunk holds is damaged, or another's, and its CRC is right."""
    pieces = split(data)
    at = random.randrange(1, len(pieces))
    tag, payload = pieces[at][:1], payload_of(pieces[at])
    foreign = payload_of(random.choice(split(other)[1:]))
    harm = random.choice(BYTES_DAMAGED)
    changed = random.choice((harm(random, payload, other) if payload else b"new", foreign, b""))
    pieces[at] = chunk(tag, changed)
    return joined(pieces)


def lie_in_metadata(random: Random, data: bytes, other: bytes) -> bytes:
    """Metadata that are damaged inside, that explode, or that nest."""
    pieces = [piece for piece in split(data) if piece[:1] not in (b"M", b"Z")]
    head = bytearray(pieces[0])
    head[11] |= 4
    inside = random.choice(
        (
            struct.pack("<I4s", random.choice(EXTREMES), b"tEXt") + b"Title\0short",
            struct.pack("<I4s", 3, random.randbytes(4)) + b"abc",
            struct.pack("<I4s", 0, b"IDAT") * random.randint(1, 3),
            struct.pack("<I4s", 6, b"PLTE") + random.randbytes(6),
            struct.pack("<I4s", 768, b"PLTE") + bytes(768) + struct.pack("<I4s", 1, b"tRNS") + b"x",
            bytes(random.choice((2**16, 2**20))),
            random.randbytes(random.randint(0, 40)),
        )
    )
    deflated = zlib.compress(inside)
    nested = zlib.compress(deflated)
    made = random.choice(
        (
            chunk(b"M", inside),
            chunk(b"Z", deflated),
            chunk(b"Z", nested),
            chunk(b"Z", _flipped(random, deflated, 1)),
            chunk(b"Z", deflated[:-1]),
            chunk(b"M", inside, random.choice(EXTREMES)),
        )
    )
    return joined([bytes(head), made, *pieces[1:]])


def lie_in_changes(random: Random, data: bytes, other: bytes) -> bytes:
    """Changes of the model that no encoder wrote, in a file that has some or not."""
    pieces = split(data)
    head = bytearray(pieces[0])
    head[11] |= 8
    before = next((payload_of(piece) for piece in pieces[1:] if piece[:1] == b"A"), bytes(40))
    harm = random.choice(BYTES_DAMAGED)
    changes = random.choice(
        (harm(random, before, other), random.randbytes(random.randint(0, 200)), bytes(2**12))
    )
    first = 2 if pieces[1][:1] in (b"M", b"Z") else 1
    rest = [piece for piece in pieces[first:] if piece[:1] != b"A"]
    return joined([bytes(head), *pieces[1:first], chunk(b"A", changes), *rest])


def lie_in_levels(random: Random, data: bytes, other: bytes) -> bytes:
    """Levels that no encoder wrote, in a file that has some or not."""
    pieces = [piece for piece in split(data) if piece[:1] != b"L"]
    head = bytearray(pieces[0])
    head[10] |= 0x80
    bits = random.choice(
        (
            bytes(random.choice((2**13, 2**20))),
            bytes(2**13 - 1) + bytes([random.randrange(1, 256)]),
            random.randbytes(random.choice((2**13 - 1, 2**13, 2**13 + 1))),
        )
    )
    deflated = zlib.compress(bits)
    levels = random.choice((deflated, deflated, bits, _flipped(random, deflated, 2)))
    first = next(at for at, piece in enumerate(pieces) if at and piece[:1] not in b"MZA")
    return joined([bytes(head), *pieces[1:first], chunk(b"L", levels), *pieces[first:]])


def lie_in_a_png(random: Random, data: bytes, other: bytes) -> bytes:
    """A strip that is a PNG has other rows or filters, and its checksums are right too."""
    pieces = split(data)
    strips = [at for at, piece in enumerate(pieces) if _is_zlib(payload_of(piece))]
    if not strips:
        return lie_in_a_payload(random, data, other)
    at = random.choice(strips)
    rows = zlib.decompress(payload_of(pieces[at]))
    place = random.randrange(len(rows))
    changed = random.choice(
        (
            rows[:place] + bytes([random.choice((0, 1, 5, 255))]) + rows[place + 1 :],
            rows[:place],
            rows + rows[place:],
        )
    )
    pieces[at] = chunk(pieces[at][:1], zlib.compress(changed))
    return joined(pieces)


def lie_of_order(random: Random, data: bytes, other: bytes) -> bytes:
    """Chunks stand elsewhere, once more, or not at all, and their CRCs are right there."""
    harm = random.choice((swap_chunks, repeat_chunk, drop_chunk, borrow_chunk))
    return sealed(harm(random, data, other))


LIES: Sequence[Mutation] = (
    *(lie_in_header, lie_in_header, lie_of_the_model, lie_of_a_length, lie_of_a_tag),
    *(
        lie_in_a_payload,
        lie_in_a_payload,
        lie_in_metadata,
        lie_in_changes,
        lie_in_levels,
        lie_in_a_png,
        lie_of_order,
    ),
)


def _is_zlib(payload: bytes) -> bool:
    try:
        return len(zlib.decompress(payload)) > 0
    except zlib.error:
        return False


def _flipped(random: Random, data: bytes, count: int) -> bytes:
    flipped = bytearray(data)
    for _ in range(count):
        flipped[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def _range(random: Random, length: int) -> tuple[int, int]:
    """Where some bytes begin and end: mostly a few."""
    begin = random.randrange(length)
    size = random.choice((1, 2, 4, random.randint(1, length)))
    return begin, min(length, begin + size)
