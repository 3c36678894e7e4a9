"""Strips coded by a standard format instead of a network: images that no model knows, or suits.

A strip is one PNG, or one lossless WebP where that is smaller. It depends on no other strip.
"""

import io
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.pictures import Picture, Samples, png
from pixelcodec.pictures.guards import image_errors
from pixelcodec.pictures.picture import COLOUR_TYPES
from pixelcodec.progress import Count

PARTS = 1
"""Of a strip."""

_WEBP = b"RIFF"
_WEBP_LOSSLESS = b"VP8L"
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
        smallest = min(_files(picture), key=len)
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
        if data.startswith(_WEBP) and self._bit_depth <= 8:
            samples = _samples_of_webp(data, shape, self._bit_depth)
        else:
            samples = self._samples_of_png(data, shape)
        progress(height * self._width)
        return samples

    def _samples_of_png(self, data: bytes, shape: tuple[int, int, int]) -> Samples:
        """Samples of an image, if it has this ``shape``: nothing larger is decoded."""
        height, width, channels = shape
        kind = COLOUR_TYPES[channels]
        header = struct.pack(">2I5B", width, height, self._bit_depth, kind, 0, 0, 0)
        if data[16:29] != header:  # before it costs memory
            raise FormatError("damaged: the PNG of a strip has another size or kind")
        try:
            picture = png.read(data)
        except UnsupportedImageError as error:
            raise FormatError(f"the PNG of a strip cannot be read: {error}") from error
        more = [*picture.not_kept, *(chunk.name for chunk in picture.chunks if chunk.is_critical)]
        if more:
            raise FormatError(f"damaged: the PNG of a strip has {' and '.join(more)}")
        return picture.samples


def _quick_size(rows: Samples, bit_depth: int, webp: Mapping[str, int], compress_level: int) -> int:
    picture = Picture(np.ascontiguousarray(rows), bit_depth)
    if suits_webp(picture.height, picture.width, bit_depth):
        return len(_webp(rows, **webp))
    return len(png.write(picture, compress_level))


# Encoding ----------------------------------------------------------------------------------------


def _files(picture: Picture) -> Iterator[bytes]:
    """Files of a picture without metadata, of which nobody knows which is the smallest."""
    if picture.bit_depth == 16:
        yield from _deep_pngs(picture)
        return
    yield png.write(picture)
    if picture.channels == 1 and picture.bit_depth == 8:  # indexes, masks, drawings
        yield png.write(picture, filtered=False)
    if suits_webp(picture.height, picture.width, picture.bit_depth):
        yield _webp(picture.samples, **_SLOWEST)
        yield _webp(picture.samples, **_GOOD)


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
    return buffer.getvalue()


# Decoding ----------------------------------------------------------------------------------------


def _samples_of_webp(data: bytes, shape: tuple[int, int, int], bit_depth: int) -> Samples:
    """Samples of an image, if it has this ``shape``: nothing larger is decoded."""
    height, width, channels = shape
    if len(data) < 20 or data[12:16] != _WEBP_LOSSLESS:
        raise FormatError("damaged: the WebP of a strip is not of the simple lossless format")
    whole, length = struct.unpack("<I8xI", data[4:20])
    if not len(data) == 8 + whole == 20 + length + length % 2:
        raise FormatError("damaged: the WebP of a strip is not one chunk, or is cut off")
    has_alpha = channels in (2, 4)
    try:
        with image_errors(), Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
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
