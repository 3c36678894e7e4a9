"""Effort: what an encoder spends on an image, and by learning the decoder, too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pixelcodec.models.fine_tuning import Budget
from pixelcodec.models.learning import SEEING


@dataclass(frozen=True)
class Effort:
    """How an image is encoded, where nothing else is asked for.

    Attributes:
        model: for photographs.
        learning: how models learn from what is coded, see
            :class:`pixelcodec.container.Header`; 0: not at all.
        budget: how long the heads are fitted to the image before; None: not at all.
        also_learning: other ways to learn, of which the one that makes the smallest file is taken,
            as it is of all models that may code the image. Streams, whose rows are not at hand,
            know the first way alone.
    """

    model: str
    learning: int = 0
    budget: Budget | None = None
    also_learning: tuple[int, ...] = ()

    @property
    def tries_all(self) -> bool:
        """Whether models are tried that are not likely to win."""
        return bool(self.also_learning)

    def ways(self) -> Iterator["Effort"]:
        """Efforts of one way to learn each."""
        for learning in (self.learning, *self.also_learning):
            yield replace(self, learning=learning, also_learning=())


Level = int | Literal["max"]
"""What callers say of effort: 1 (fastest) to 9 (smallest), or ``max``."""

MAX_EFFORT = 10
"""``max`` as a number."""

EFFORTS = {
    1: Effort("photo-s"),
    2: Effort("photo-s", learning=SEEING),
    3: Effort("photo-m", learning=SEEING),
    4: Effort("photo-m", learning=SEEING, budget=Budget(steps=100)),
    5: Effort("photo-m", learning=2),
    6: Effort("photo-m", learning=5),
    7: Effort("photo-m", learning=8),
    8: Effort("photo-m", learning=11),
    9: Effort("photo-m", learning=14),
    MAX_EFFORT: Effort("photo-m", learning=14, also_learning=(13, 15, 2)),
}

DEFAULT_EFFORT = 5

STATIC = 1
"""The one at which models stay as they shipped."""


def effort_of(level: Level | Effort | None) -> Effort:
    """The effort of a level, 1 to 9 or ``max``, which is 10, too; None: the default.

    Raises:
        ValueError: it is another.
    """
    if isinstance(level, Effort):
        return level
    number = MAX_EFFORT if level == "max" else DEFAULT_EFFORT if level is None else level
    found = EFFORTS.get(number)
    if found is None:
        raise ValueError(f"effort {level!r}: choose 1 (fastest) to 9 (smallest), or 'max'")
    return found
