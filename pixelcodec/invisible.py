"""Colours under alpha 0, which nobody sees, made cheap to code. What they were is lost.

All get the colour of the first of them: graphics often have but one already. On icons, clip art,
plots and units of games this took 0.7% off all files, with black 0.05%; the colour to the left
made them larger, as edges of what is visible cost more than a change to one colour.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.pictures import Samples


class Discarder:
    """Discards the invisible colours of one image, whose rows come in blocks."""

    def __init__(self) -> None:
        """Begin at the top."""
        self._colour: Samples | None = None

    def __call__(self, rows: Samples) -> Samples:
        """The next rows, uint8 or uint16 [rows, width, channels], without them."""
        hidden = invisible(rows)
        if not hidden.any():
            return rows
        if self._colour is None:
            y, x = divmod(int(hidden.argmax()), hidden.shape[1])
            self._colour = rows[y, x, :-1].copy()
        found = rows.copy()
        found[hidden, :-1] = self._colour
        return found


def discarded(samples: Samples) -> Samples:
    """A whole image, as :class:`Discarder` takes its rows, without them."""
    return Discarder()(samples)


def changed_pixels(samples: Samples) -> int:
    """How many pixels :func:`discarded` changes."""
    return int((discarded(samples) != samples).any(2).sum())


def invisible(samples: Samples) -> npt.NDArray[np.bool_]:
    """Where alpha is 0: bool [rows, width], of samples [rows, width, channels]."""
    has_alpha = samples.shape[2] in (2, 4)
    found: npt.NDArray[Any] = samples[..., -1] == 0
    return found if has_alpha else np.zeros_like(found)
