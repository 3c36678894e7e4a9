"""Heat maps: how many bits each pixel takes, in colours from black (none) to pale yellow (many).

The colours are matplotlib's inferno: equal steps look equal, to people who are colour-blind too,
and stay in order in gray.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelcodec.cli.common import Compute
from pixelcodec.cli.progress import Progress

if TYPE_CHECKING:  # they import torch
    from pixelcodec.container import Start
    from pixelcodec.evaluation import BitMap

Bits = npt.NDArray[np.float32]
"""[height, width]."""

Samples = npt.NDArray[Any]
"""[height, width] or [height, width, channels]."""

_INFERNO = (  # every eighth of its 256 colours
    "0000040403120b0724150b37210c4a2e0a5a3c09654a0c6b57106d63146e70196e"
    "7d1e6d89226a962766a32b61af315cbb3755c63e4dd14644db4f3be35932eb6528"
    "f1711ef67f14f98d0afb9c06fcab0ffbba1ff9ca32f5d949f2e865f3f586fcffa4"
)


def _interpolated(colours: str) -> npt.NDArray[np.uint8]:
    known = np.frombuffer(bytes.fromhex(colours), np.uint8).reshape(-1, 3)
    places = np.linspace(0, len(known) - 1, 256)
    channels = [np.interp(places, np.arange(len(known)), channel) for channel in known.T]
    return np.stack(channels, 1).round().astype(np.uint8)


COLOURS = _interpolated(_INFERNO)
"""uint8 [256, 3]."""


@dataclass(frozen=True)
class Scale:
    """What the colours stand for: from 0 to ``top`` bits.

    ``open_ended``: whether some pixels have more, which look as if they had ``top``.
    """

    top: float
    open_ended: bool

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Where round numbers lie, from 0 to 1, and the numbers.

        >>> Scale(12, open_ended=True).marks
        [(0.0, '0'), (0.16666666666666666, '2'), (0.3333333333333333, '4'), (0.5, '6'), \
(0.6666666666666666, '8'), (0.8333333333333334, '10'), (1.0, '12+')]
        """
        step = round_step(self.top / _MOST_STEPS)
        inner = np.arange(0, self.top - step / 2, step).tolist()
        last = f"{self.top:.6g}{'+' if self.open_ended else ''}"
        return [*((mark / self.top, f"{mark:.6g}") for mark in inner), (1.0, last)]

    def colours(self, bits: Bits) -> npt.NDArray[np.uint8]:
        """Colours of ``bits`` [height, width]: uint8 [height, width, 3]."""
        index = (bits * (255 / self.top) + 0.5).clip(0, 255)
        return COLOURS[index.astype(np.uint8)]


_MOST_STEPS = 6
_PERCENTILE = 99.5
_LEAST = 1e-3


def scale_of(maps: Sequence[Bits], top: float | None = None) -> Scale:
    """The scale that suits all ``maps`` together; ``top`` is where it ends, if that is given.

    Else it ends where next to no pixel has more: a few take many times as much as the rest, which
    would all be black.

    >>> scale_of([np.linspace(0, 17, 100, dtype=np.float32)])
    Scale(top=20.0, open_ended=False)
    """
    if top is None:
        high = max(_LEAST, *(float(np.percentile(bits, _PERCENTILE)) for bits in maps))
        step = round_step(high / _MOST_STEPS)
        top = step * math.ceil(round(high / step, 6))
    return Scale(top, any(float(bits.max()) > top for bits in maps))


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``least``.

    >>> [round_step(least) for least in (0.013, 0.2, 2.5, 7)]
    [0.02, 0.2, 5.0, 10.0]
    """
    power = math.floor(math.log10(least))
    steps = (float(f"{factor}e{power}") for factor in (1, 2, 5, 10))
    return next(step for step in steps if step >= least)


def resized(bits: Bits, width: int) -> Bits:
    """The map at another ``width``: smaller by means over pixels, larger by their repetition."""
    height = max(1, round(bits.shape[0] * width / bits.shape[1]))
    way = Image.Resampling.BOX if width < bits.shape[1] else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(bits).resize((width, height), way))


def bits_in(
    start: "Start",
    pixels: Samples,
    model: str | None,
    compute: Compute,
    progress: Progress | None,
) -> tuple["BitMap", str]:
    """Bits of each sample in a file, by the very network, strips and tiles that it has.

    Samples of alpha that the network does not code are left out.

    Args:
        start: of the file; a model wrote it.
        pixels: that it decodes to.
        model: as :func:`pixelcodec.decode` takes it.
        compute: how it runs.
        progress: called with pixels done and pixels in all.

    Returns:
        float32 [height, width, channels that it codes], and the name of the model.

    Raises:
        PixelcodecError: the model is not installed.
    """
    from pixelcodec import runtime
    from pixelcodec.evaluation import bit_map, coded_parts
    from pixelcodec.models import zoo

    header = start.header
    engine = runtime.engines_of(start, model, runtime.Compute(**compute))[header.model_id]
    name = zoo.find(header.model_id) or model
    assert name is not None  # else there would be no engine
    parts, cut = coded_parts(start, pixels)
    count = runtime.pixel_counter(progress, header.height * header.width * len(parts))
    found = [bit_map(part, engine, count, compute["threads"], **cut) for part in parts]
    return np.concatenate(found, 2), name
