"""Strips coded by a standard format instead of a network: kinds of images that no model knows.

A strip is one PNG, or one lossless WebP where that is smaller. It depends on no other strip.
"""

import io
import struct
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.pictures import Picture, Samples, png

Count = Callable[[int], None]
"""Called with the count of pixels that were finished since the last call."""

PARTS = 1
"""Of a strip."""

_WEBP = b"RIFF"
_WEBP_LOSSLESS = b"VP8L"
_WEBP_SIDE_MOST = 16383


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
        height, width, channels = rows.shape
        files = [png.write(picture)]
        if channels == 1 and self._bit_depth == 8:  # indexes, masks, drawings
            files.append(png.write(picture, filtered=False))
        if rows.dtype == np.uint8 and channels >= 3 and max(height, width) <= _WEBP_SIDE_MOST:
            files.append(_webp(rows))
        progress(height * width)
        return [min(files, key=len)]


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
        shape = (height, self._width, self._channels)
        try:
            if data.startswith(_WEBP):
                samples, depth = _samples_of_webp(data, shape), 8
            else:
                if data[16:29] != self._header_of_png(height):  # before it costs memory
                    raise FormatError("damaged: the PNG of a strip has another size or kind")
                picture = png.read(data)
                samples, depth = picture.samples, picture.bit_depth
        except UnsupportedImageError as error:
            raise FormatError(f"damaged: the PNG of a strip: {error}") from error
        if samples.shape != shape or depth != self._bit_depth:
            raise FormatError(
                f"damaged: a strip of {shape} {self._bit_depth}-bit samples holds an image of "
                f"{samples.shape} {depth}-bit samples"
            )
        progress(height * self._width)
        return samples

    def _header_of_png(self, height: int) -> bytes:
        colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[self._channels]
        return struct.pack(">2I5B", self._width, height, self._bit_depth, colour_type, 0, 0, 0)


def _webp(rows: Samples) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
    return buffer.getvalue()


def _samples_of_webp(data: bytes, shape: tuple[int, int, int]) -> Samples:
    """Samples of an image, if it has the size of ``shape``: nothing larger is decoded."""
    if data[12:16] != _WEBP_LOSSLESS:
        raise FormatError("damaged: the WebP of a strip is not of the simple lossless format")
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            if image.size != (shape[1], shape[0]):
                raise FormatError(f"damaged: the WebP of a strip is of {image.size} pixels")
            # An opaque image has no alpha in WebP.
            return np.array(image.convert("RGBA") if shape[2] == 4 else image)
    except FormatError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        raise FormatError(f"damaged: the WebP of a strip: {error}") from error
