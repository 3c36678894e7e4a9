"""PNG files to pictures and back: every kind of pixels, and all other chunks verbatim.

Libraries code nothing but the pixels, in PNGs stripped of all that could make them change samples:
a palette, transparent colours, gamma. imagecodecs reads, since Pillow cuts 16 bits down to 8 and
takes missing rows for black; it writes 16 bits. Pillow writes the rest, which imagecodecs cannot.
What interlacing there was, how the file was compressed, and bytes after its end are not kept; of
these only the last are named.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import ClassVar

from PIL import Image

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures.guards import after_the_end, image_errors, refuse_bomb, several, silence
from pixelcodec.pictures.picture import COLOUR_TYPES, Chunk, Picture, Samples, as_samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PALETTE = 3
_CHANNELS = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
_BIT_DEPTHS = {
    0: (1, 2, 4, 8, 16),
    2: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    4: (8, 16),
    6: (8, 16),
}
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

silence("imagecodecs")  # which logs a warning of every interlaced image

_FRAME = 12
"""Bytes of a chunk beside its data."""

_BODY_MOST = 2**31 - 1
"""Bytes of its data."""

_INFLATED_TOGETHER = 2**14
"""Bytes, of which come at most a thousand times as many."""

# Of a chunk, the type and the data.
_Part = tuple[bytes, bytes]


@image_errors()
def read(data: bytes) -> Picture:
    """Read a PNG.

    Returns:
        Its picture: samples of 1, 2 and 4 bits unscaled, chunks in their order.

    Raises:
        UnsupportedImageError: It is no PNG, is damaged or truncated, is animated, or has more
            pixels than Pillow's guard against decompression bombs allows: a warning up to twice
            ``PIL.Image.MAX_IMAGE_PIXELS``, this error above.
    """
    parts = list(_split(data))
    if not parts or parts[0][0] != b"IHDR":
        raise UnsupportedImageError("damaged PNG: the first chunk is not IHDR")
    header = _Header.unpack(parts[0][1])
    begin, end = _find_pixels(parts)
    chunks = (
        *(Chunk(*part) for part in parts[1:begin]),
        *(Chunk(*part, after=True) for part in parts[end:]),
    )
    _check_chunks(header, chunks)
    size = len(SIGNATURE) + sum(_FRAME + len(body) for _, body in (*parts, (b"IEND", b"")))
    samples = _decode(header, parts[begin:end])
    return Picture(samples, header.bit_depth, chunks, after_the_end(len(data) - size))


def write(picture: Picture, compress_level: int | None = None, filtered: bool = True) -> bytes:
    """Write a PNG, from which :func:`read` gives an equal picture.

    Args:
        picture: Any picture.
        compress_level: 0 (none, to hand pixels on) to 9; None for the smallest file, slowest.
        filtered: Whether rows of 8-bit gray are predicted from others, which helps where levels
            are smooth. Those of fewer bits, and indexes into a palette, never are.

    Raises:
        UnsupportedImageError: A side is longer than the PNG library accepts.
    """
    header = _Header(picture.width, picture.height, picture.bit_depth, picture.colour_type)
    return _join(
        [
            (b"IHDR", header.pack()),
            *((chunk.type, chunk.data) for chunk in picture.chunks if not chunk.after),
            *_encode(picture, compress_level, filtered),
            *((chunk.type, chunk.data) for chunk in picture.chunks if chunk.after),
            (b"IEND", b""),
        ]
    )


def deflated(file: bytes) -> bytes:
    """The pixels of a PNG as it holds them: the zlib stream in its IDAT chunks.

    Raises:
        UnsupportedImageError: It is no PNG, or damaged.
    """
    parts = list(_split(file))
    begin, end = _find_pixels(parts)
    return b"".join(body for _, body in parts[begin:end])


@image_errors()
def inflated(pixels: bytes, height: int, width: int, channels: int, bit_depth: int) -> Samples:
    """Samples [height, width, channels] of what :func:`deflated` gives of a PNG of that kind.

    Raises:
        UnsupportedImageError: It is damaged, or that of another kind.
    """
    row = 1 + -(-width * channels * bit_depth // 8)
    if len(pixels) > _BODY_MOST or not _unfolds_to(height * row, pixels):
        raise UnsupportedImageError("damaged PNG: it has other rows")
    header = _Header(width, height, bit_depth, COLOUR_TYPES[channels])
    return _decode(header, [(b"IDAT", pixels)])


def _unfolds_to(size: int, stream: bytes) -> bool:
    """Whether a zlib stream unfolds to so many bytes, with none after its end."""
    inflating = zlib.decompressobj()
    try:
        for at in range(0, len(stream), _INFLATED_TOGETHER):
            if size < 0 or inflating.eof:
                return False
            size -= len(inflating.decompress(stream[at : at + _INFLATED_TOGETHER]))
    except zlib.error:
        return False
    return size == 0 and inflating.eof and not inflating.unused_data


@dataclass(frozen=True)
class _Header:
    """IHDR."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: int = 0

    _STRUCT: ClassVar = struct.Struct(">2I5B")

    @classmethod
    def unpack(cls, data: bytes) -> "_Header":
        if len(data) != cls._STRUCT.size:
            raise UnsupportedImageError(f"damaged PNG: IHDR of {len(data)} bytes, not 13")
        width, height, bit_depth, colour_type, compression, filters, interlaced = (
            cls._STRUCT.unpack(data)
        )
        if not width or not height:
            raise UnsupportedImageError(f"damaged PNG: IHDR says {width}x{height} pixels")
        if bit_depth not in _BIT_DEPTHS.get(colour_type, ()):
            raise UnsupportedImageError(
                f"damaged PNG: IHDR says {bit_depth} bits and colour type {colour_type}, which do "
                "not go together"
            )
        if compression or filters or interlaced > 1:
            raise UnsupportedImageError(
                f"damaged PNG: IHDR says compression {compression}, filter {filters}, interlace "
                f"{interlaced}; known are 0, 0 and 0 or 1"
            )
        return cls(width, height, bit_depth, colour_type, interlaced)

    def pack(self) -> bytes:
        return self._STRUCT.pack(
            *(self.width, self.height, self.bit_depth, self.colour_type, 0, 0, self.interlaced)
        )


def _split(data: bytes) -> Iterator[_Part]:
    """Yield all chunks before IEND, with their CRCs checked."""
    if not data.startswith(SIGNATURE):
        raise UnsupportedImageError("not a PNG, or its signature is damaged")
    at = len(SIGNATURE)
    while True:
        head = data[at : at + 8]
        if len(head) < 8:
            raise UnsupportedImageError(
                f"truncated PNG: the file ends at byte {len(data)}, before the chunk IEND"
            )
        length, type = struct.unpack(">I4s", head)
        name = type.decode("latin-1")
        body, crc = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(crc) < 4:
            raise UnsupportedImageError(
                f"truncated PNG: the file ends at byte {len(data)}, inside the chunk {name!r}, "
                f"which begins at byte {at}"
            )
        if zlib.crc32(body, zlib.crc32(type)) != int.from_bytes(crc, "big"):
            raise UnsupportedImageError(
                f"damaged PNG: wrong checksum of the chunk {name!r} at byte {at}"
            )
        if type == b"IEND":
            return
        yield type, body
        at += 12 + length


def _find_pixels(parts: list[_Part]) -> tuple[int, int]:
    """Return where the IDAT chunks begin and end."""
    found = [index for index, (type, _) in enumerate(parts) if type == b"IDAT"]
    if not found:
        raise UnsupportedImageError("damaged PNG: no pixels (IDAT)")
    if found[-1] - found[0] >= len(found):
        raise UnsupportedImageError("damaged PNG: another chunk stands among the pixels (IDAT)")
    return found[0], found[-1] + 1


def _check_chunks(header: _Header, chunks: tuple[Chunk, ...]) -> None:
    types = {chunk.type: chunk for chunk in chunks}
    if animation := types.get(b"acTL"):
        raise several(int.from_bytes(animation.data[:4], "big"))
    if header.colour_type == _PALETTE and b"PLTE" not in types:
        raise UnsupportedImageError("damaged PNG: a palette image without a palette (PLTE)")
    if header.colour_type == 0 and b"PLTE" in types:
        raise UnsupportedImageError("damaged PNG: a gray image with a palette (PLTE)")


def _decode(header: _Header, pixels: list[_Part]) -> Samples:
    """Decode IDAT chunks to [height, width, channels]."""
    import imagecodecs

    refuse_bomb(header.width, header.height)
    channels = _CHANNELS[header.colour_type]
    if channels == 1:
        # Indexes are the same rows as gray, and would be exchanged for colours.
        header = replace(header, colour_type=0)
    array = imagecodecs.png_decode(_join([(b"IHDR", header.pack()), *pixels, (b"IEND", b"")]))
    if header.bit_depth < 8:
        array //= 255 // ((1 << header.bit_depth) - 1)  # libpng gives 0 ... 255
    return as_samples(array.reshape(header.height, header.width, channels), header.bit_depth)


def _encode(picture: Picture, compress_level: int | None, filtered: bool) -> list[_Part]:
    """Encode the samples to IDAT chunks."""
    if picture.bit_depth == 16:
        data = _with_imagecodecs(picture, compress_level)
    else:
        data = _with_pillow(picture, compress_level, filtered)
    return [part for part in _split(data) if part[0] == b"IDAT"]


def _with_imagecodecs(picture: Picture, compress_level: int | None) -> bytes:
    import imagecodecs

    level = 9 if compress_level is None else compress_level
    try:
        # A copy, as arrays of one pixel may have any strides, which imagecodecs refuses.
        return bytes(imagecodecs.png_encode(picture.to_array().copy(), level=level))
    except imagecodecs.PngError as error:
        raise UnsupportedImageError(f"PNG does not hold this image: {error}") from error


def _with_pillow(picture: Picture, compress_level: int | None, filtered: bool) -> bytes:
    as_indexes = picture.is_palette or picture.bit_depth < 8 or not filtered
    mode = "P" if as_indexes and picture.channels == 1 else _MODES[picture.channels]
    image = Image.frombuffer(mode, (picture.width, picture.height), picture.samples)
    if mode == "P":
        image.putpalette(_all_black(picture.bit_depth))  # of its length come the bits of a sample
    buffer = BytesIO()
    image.save(buffer, "PNG", **_compression(compress_level))
    return buffer.getvalue()


def _compression(compress_level: int | None) -> dict[str, int]:
    return {"optimize": 1} if compress_level is None else {"compress_level": compress_level}


def _all_black(bit_depth: int) -> bytes:
    return bytes(3 << bit_depth)


def _join(parts: Iterable[_Part]) -> bytes:
    """Make a PNG file of chunks."""
    file = BytesIO()
    file.write(SIGNATURE)
    for type, body in parts:
        crc = zlib.crc32(body, zlib.crc32(type))
        file.writelines((struct.pack(">I4s", len(body), type), body, struct.pack(">I", crc)))
    return file.getvalue()
