"""What an image looks like in a report: small, and beside it where its bits go."""

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixelcodec.cli.common import Compute
from pixelcodec.cli.heat import Bits, bits_in, resized
from pixelcodec.cli.progress import Progress
from pixelcodec.cli.tables import channel_names
from pixelcodec.container import STANDARD, Reader
from pixelcodec.pictures import Picture

SIDE = 360
"""Most pixels across and down."""


class File(NamedTuple):
    """A ``.pxc`` file, and the picture in it."""

    data: bytes
    picture: Picture


@dataclass(frozen=True)
class View:
    """An image in small.

    Attributes:
        size: width and height, at most :data:`SIDE` each.
        thumbnail: as WebP.
        model: whose bits they are; None where no model coded the image.
        bits: of each of the small image's pixels, a mean; None likewise.
        channel_bits: all bits of each channel of the whole image, by its name.
    """

    size: tuple[int, int]
    thumbnail: bytes
    model: str | None = None
    bits: Bits | None = None
    channel_bits: dict[str, float] = field(default_factory=dict)


Look = Callable[[Picture, File | None, Progress | None], View]


def look_by(compute: Compute) -> Look:
    """What makes the :class:`View` of an image in colour, its bits those in its file."""

    def look(image: Picture, file: File | None, progress: Progress | None) -> View:
        scale = min(1.0, SIDE / max(image.height, image.width))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        thumbnail = webp(_shown(image).resize(size, Image.Resampling.LANCZOS))
        start = Reader(BytesIO(file.data)).start if file else None
        if file is None or start is None or start.header.model_id == STANDARD:
            return View(size, thumbnail)
        picture = file.picture
        bits, name = bits_in(start, picture.to_array(), None, compute, progress)
        names = ["index"] if picture.is_palette else channel_names(bits.shape[2])
        totals = bits.sum((0, 1), dtype=np.float64).tolist()
        small = resized(bits.sum(2), size[0])
        return View(size, thumbnail, name, small, dict(zip(names, totals, strict=True)))

    return look


def webp(image: Image.Image, lossless: bool = False) -> bytes:
    """A picture to look at, in few bytes."""
    data = BytesIO()
    image.save(data, "WEBP", lossless=lossless, quality=80, method=6)
    return data.getvalue()


def _shown(image: Picture) -> Image.Image:
    """An image as a screen shows it."""
    shades = np.arange(1 << image.bit_depth) * 255 // ((1 << image.bit_depth) - 1)
    shown = Picture(shades.astype(np.uint8)[image.samples], 8)
    return Image.fromarray(shown.to_array()).convert("RGB")
