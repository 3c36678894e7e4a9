"""Effort: what an encoder spends on an image. What a decoder pays depends on the model alone."""

from dataclasses import dataclass

from pixelcodec.errors import PixelcodecError
from pixelcodec.models.fine_tuning import Budget


@dataclass(frozen=True)
class Effort:
    """How an image is encoded, where nothing else is asked for.

    Attributes:
        model: for photographs.
        learning: how models learn from what is coded, see
            :class:`pixelcodec.container.Header`; 0: not at all.
        budget: how long the heads are fitted to the image before; None: not at all.
    """

    model: str
    learning: int = 0
    budget: Budget | None = None


EFFORTS = {
    1: Effort("photo-s"),
    2: Effort("photo-m"),
    3: Effort("photo-m", budget=Budget(steps=30)),
    4: Effort("photo-m", budget=Budget(steps=100)),
    5: Effort("photo-m", learning=2),
    6: Effort("photo-m", learning=5),
    7: Effort("photo-m", learning=8),
    8: Effort("photo-m", learning=11),
    9: Effort("photo-m", learning=14),
}

DEFAULT_EFFORT = 5

STATIC = 2
"""The highest at which models stay as they shipped."""


def effort_of(number: int | None) -> Effort:
    """The effort of a number, 1 to 9; None: the default.

    Raises:
        PixelcodecError: it is another number.
    """
    found = EFFORTS.get(DEFAULT_EFFORT if number is None else number)
    if found is None:
        raise PixelcodecError(f"effort {number}: choose 1 (fastest) to {max(EFFORTS)} (smallest)")
    return found
