"""Heat maps side by side, with a colour bar below: one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pixelcodec.cli.heat import COLOURS, Bits, Scale

Pixels = npt.NDArray[np.uint8]
"""[height, width, 3]."""

_PAPER, _INK = (255, 255, 255), (32, 32, 36)


@dataclass(frozen=True)
class Panel:
    """A heat map [height, width] and what is written above it."""

    title: str
    bits: Bits


def bare(panels: Sequence[Panel], scale: Scale) -> Pixels:
    """The maps alone, which are of one size."""
    return np.concatenate([scale.colours(panel.bits) for panel in panels], 1)


def with_legend(panels: Sequence[Panel], scale: Scale, caption: str) -> Pixels:
    """The maps, their titles, and below what the colours mean.

    Type grows with the maps. The picture is as wide as they are, or as its text needs.
    """
    height, width = panels[0].bits.shape
    size = min(max(12, width * len(panels) // 50), 48)
    font, gap = ImageFont.load_default(size), size // 2
    title_width = max(int(font.getlength(panel.title)) for panel in panels)
    across = max(width, title_width)
    inside = (across + gap) * len(panels) - gap
    whole = max(inside, int(font.getlength(caption)) + 2 * gap)
    top = 2 * size if title_width else 0
    image = Image.new("RGB", (whole, top + height + 5 * size + gap), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, panel in enumerate(panels):
        left = (whole - inside) // 2 + number * (across + gap)
        draw.text((left + across // 2, top // 2), panel.title, _INK, font, anchor="mm")
        pixels = Image.fromarray(scale.colours(panel.bits))
        image.paste(pixels, (left + (across - width) // 2, top))
    _draw_bar(image, scale, font, size, top + height + gap)
    draw.text((whole // 2, top + height + 4 * size), caption, _INK, font, anchor="mm")
    return np.asarray(image)


def _draw_bar(
    image: Image.Image,
    scale: Scale,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: int,
    top: int,
) -> None:
    """Draw the colours of ``scale`` and its numbers, in type of ``size``."""
    draw = ImageDraw.Draw(image)
    bar = Image.fromarray(COLOURS[None]).resize((min(30 * size, image.width - 3 * size), size))
    left = (image.width - bar.width) // 2
    image.paste(bar, (left, top))
    for place, number in scale.marks:
        x = left + round(place * (bar.width - 1))
        draw.line((x, top + size, x, top + size + size // 4), _INK)
        draw.text((x, top + 2 * size), number, _INK, font, anchor="mm")
