"""What an image looks like in a report: small, and beside it where its bits go."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from pixelcodec.cli.common import Compute
from pixelcodec.cli.heat import Bits, bits_of, resized
from pixelcodec.cli.progress import Progress
from pixelcodec.cli.rivals import Samples
from pixelcodec.cli.tables import channel_names
from pixelcodec.errors import PixelcodecError

SIDE = 360
"""Most pixels across and down."""


@dataclass(frozen=True)
class View:
    """An image in small.

    Attributes:
        size: width and height, at most :data:`SIDE` each.
        thumbnail: as WebP.
        bits: of each of the small image's pixels, a mean; None where the model does not code the
            image.
        channel_bits: all bits of each channel of the whole image, by its name.
    """

    size: tuple[int, int]
    thumbnail: bytes
    bits: Bits | None
    channel_bits: dict[str, float]


Look = Callable[[Samples, Progress | None], View]


def look_by(model: str, compute: Compute) -> Look:
    """What makes the :class:`View` of an image, its bits those under ``model``."""

    def look(pixels: Samples, progress: Progress | None) -> View:
        height, width = pixels.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        thumbnail = webp(_shown(pixels).resize(size, Image.Resampling.LANCZOS))
        try:
            bits = bits_of(pixels, model, compute, progress)
        except PixelcodecError:  # which is told where the model is measured
            return View(size, thumbnail, None, {})
        names = channel_names(bits.shape[2])
        totals = bits.sum((0, 1), dtype=np.float64).tolist()
        small = resized(bits.sum(2), size[0])
        return View(size, thumbnail, small, dict(zip(names, totals, strict=True)))

    return look


def webp(image: Image.Image, lossless: bool = False) -> bytes:
    """A picture to look at, in few bytes."""
    data = BytesIO()
    image.save(data, "WEBP", lossless=lossless, quality=80, method=6)
    return data.getvalue()


def _shown(pixels: Samples) -> Image.Image:
    """Samples as a screen shows them."""
    pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(pixels).convert("RGB")
