"""Strips coded by a standard format instead of a network: images that no model knows, or suits.

A strip is the pixels of one PNG, or of one lossless WebP where they are smaller, without their
frames, which say nothing that the header of the image does not. It depends on no other strip.
"""

import io
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.pictures import Picture, Samples, png
from pixelcodec.pictures.guards import image_errors
from pixelcodec.progress import Count

PARTS = 1
"""Of a strip."""

_WEBP = 0x2F
"""With this byte a lossless WebP's pixels begin; no zlib stream does."""

_WEBP_FRAME = 20
"""Bytes before them in a WebP file of the simple format."""

_WEBP_BYTES_MOST = 2**31 - 1
_WEBP_SIDE_MOST = 16383
_PNG_ROWS_MOST = 65535
PIXELS_MOST = 2**26
"""Of a strip."""

_SLOWEST = {"quality": 100, "method": 6}
_FAST = {"quality": 75, "method": 0}
_GOOD = {"quality": 75, "method": 2}
"""Now and then it finds a smaller file."""

_BETTER = {"quality": 75, "method": 4}


class StandardEncoder:
    """Encodes strips, as :class:`pixelcodec.engine.StripEncoder` does."""

    def __init__(self, bit_depth: int) -> None:
        """Of samples of ``bit_depth``."""
        self._bit_depth = bit_depth

    def encode(self, rows: Samples, progress: Count) -> list[bytes]:
        """Code the next strip: its one part.

        Args:
            rows: uint8 or, of 16 bits, uint16 [rows, width, channels].
            progress: told of finished pixels.
        """
        picture = Picture(np.ascontiguousarray(rows), self._bit_depth)
        smallest = min(_payloads(picture), key=len)
        progress(picture.height * picture.width)
        return [smallest]


def suits_webp(height: int, width: int, bit_depth: int) -> bool:
    """Whether WebP can hold such a strip."""
    return bit_depth <= 8 and max(height, width) <= _WEBP_SIDE_MOST


def rows_at_once(height: int, width: int, bit_depth: int) -> int:
    """Rows of a strip where all of an image is at hand: one strip, unless it is huge.

    What repeats anywhere in a strip is stored once, so the fewer the better.
    """
    most = _WEBP_SIDE_MOST if suits_webp(1, width, bit_depth) else _PNG_ROWS_MOST
    strips = -(-height // max(1, min(most, PIXELS_MOST // width)))
    return -(-height // strips)


def fast_size(rows: Samples, bit_depth: int) -> int:
    """Bytes that a strip takes in a hurry: more than coding takes, in a hundredth of its time.

    Args:
        rows: as :meth:`StandardEncoder.encode` takes them.
        bit_depth: of their samples.
    """
    return _quick_size(rows, bit_depth, _FAST, compress_level=1)


def good_size(rows: Samples, bit_depth: int) -> int:
    """The same, nearer to what coding takes, in four times as long; and no less than that."""
    return _quick_size(rows, bit_depth, _GOOD, compress_level=6)


def better_size(rows: Samples, bit_depth: int) -> int:
    """The same, mostly nearer still, in twice as long again."""
    return _quick_size(rows, bit_depth, _BETTER, compress_level=9)


class StandardDecoder:
    """Decodes them, as :class:`pixelcodec.engine.StripDecoder` does."""

    def __init__(self, width: int, channels: int, bit_depth: int) -> None:
        """Of an image of ``width`` columns, ``channels`` and samples of ``bit_depth``."""
        self._width, self._channels, self._bit_depth = width, channels, bit_depth

    def decode(self, parts: Sequence[bytes], height: int, progress: Count) -> Samples:
        """Decode the next strip.

        Args:
            parts: what :meth:`StandardEncoder.encode` gave for it.
            height: rows of the strip.
            progress: told of finished pixels.

        Returns:
            uint8 or, of 16 bits, uint16 [height, width, channels].

        Raises:
            FormatError: they are not those of such a strip.
        """
        (data,) = parts
        if height * self._width > PIXELS_MOST:
            raise FormatError(f"a strip of more than {PIXELS_MOST:,} pixels that no model codes")
        shape = (height, self._width, self._channels)
        if data[:1] == bytes([_WEBP]) and self._bit_depth <= 8:
            samples = _samples_of_webp(data, shape, self._bit_depth)
        else:
            samples = _samples_of_png(data, shape, self._bit_depth)
        progress(height * self._width)
        return samples


def _quick_size(rows: Samples, bit_depth: int, webp: Mapping[str, int], compress_level: int) -> int:
    picture = Picture(np.ascontiguousarray(rows), bit_depth)
    if suits_webp(picture.height, picture.width, bit_depth):
        return len(_webp(rows, **webp))
    return len(png.deflated(png.write(picture, compress_level)))


# Encoding ----------------------------------------------------------------------------------------


def _payloads(picture: Picture) -> Iterator[bytes]:
    """What codes a picture without metadata, of which nobody knows which is the smallest."""
    yield from map(png.deflated, _pngs(picture))
    if suits_webp(picture.height, picture.width, picture.bit_depth):
        yield _webp(picture.samples, **_SLOWEST)
        yield _webp(picture.samples, **_GOOD)


def _pngs(picture: Picture) -> Iterator[bytes]:
    if picture.bit_depth == 16:
        yield from _deep_pngs(picture)
        return
    yield png.write(picture)
    if picture.channels == 1 and picture.bit_depth == 8:  # indexes, masks, drawings
        yield png.write(picture, filtered=False)


def _deep_pngs(picture: Picture) -> Iterator[bytes]:
    """PNGs of 16 bits: rules that choose filters row by row often lose against one for all."""
    import imagecodecs

    filters, strategies = imagecodecs.PNG.FILTER, imagecodecs.PNG.STRATEGY
    array = picture.to_array().copy()  # as of one pixel it may have strides that are refused
    for filter in (filters.NONE, filters.SUB, filters.UP, filters.AVG, filters.PAETH, filters.ALL):
        for strategy in (strategies.DEFAULT, strategies.FILTERED):
            yield bytes(imagecodecs.png_encode(array, level=9, filter=filter, strategy=strategy))
    if picture.channels == 1:  # the one kind of 16 bits that Pillow writes
        buffer = io.BytesIO()
        Image.fromarray(picture.to_array()).save(buffer, "PNG", optimize=True)
        yield buffer.getvalue()


def _webp(rows: Samples, quality: int, method: int) -> bytes:
    if rows.shape[2] < 3:
        rows = np.concatenate([rows[..., :1].repeat(3, 2), rows[..., 1:]], 2)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rows)).save(
        buffer, "WEBP", lossless=True, quality=quality, method=method, exact=True
    )
    (length,) = struct.unpack_from("<I", buffer.getvalue(), _WEBP_FRAME - 4)
    return buffer.getvalue()[_WEBP_FRAME : _WEBP_FRAME + length]


# Decoding ----------------------------------------------------------------------------------------


def _samples_of_png(data: bytes, shape: tuple[int, int, int], bit_depth: int) -> Samples:
    """Samples of an image of this ``shape``: nothing larger is decoded."""
    try:
        return png.inflated(data, *shape, bit_depth)
    except UnsupportedImageError as error:
        raise FormatError(f"the PNG of a strip cannot be read: {error}") from error


def _samples_of_webp(data: bytes, shape: tuple[int, int, int], bit_depth: int) -> Samples:
    """Samples of an image, if it has this ``shape``: nothing larger is decoded."""
    height, width, channels = shape
    if len(data) > _WEBP_BYTES_MOST:
        raise FormatError(f"damaged: the WebP of a strip has {len(data):,} bytes")
    padded = data + bytes(len(data) % 2)
    frame = struct.pack("<4sI8sI", b"RIFF", 12 + len(padded), b"WEBPVP8L", len(data))
    has_alpha = channels in (2, 4)
    try:
        with image_errors(), Image.open(io.BytesIO(frame + padded), formats=["WEBP"]) as image:
            fits = image.size == (width, height) and (has_alpha or image.mode != "RGBA")
            # An opaque image has no alpha in WebP.
            samples = np.array(image.convert("RGBA") if has_alpha else image) if fits else None
    except UnsupportedImageError as error:
        raise FormatError(f"the WebP of a strip cannot be read: {error}") from error
    if samples is None:
        raise FormatError("damaged: the WebP of a strip has another size or kind")
    return samples if channels >= 3 else _gray(samples, bit_depth)


def _gray(samples: Samples, bit_depth: int) -> Samples:
    """Gray of [height, width, 3], or gray and alpha of [..., 4]."""
    gray = samples[..., :1]
    if (samples[..., :3] != gray).any() or int(gray.max()) >> bit_depth:
        raise FormatError("damaged: the WebP of a strip holds other samples than gray ones")
    return np.concatenate([gray, samples[..., 3:]], 2)
