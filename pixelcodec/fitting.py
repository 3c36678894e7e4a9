"""Fitting the model to the image in hand, before it is encoded."""

from math import sqrt

import numpy as np
import numpy.typing as npt
import torch

from pixelcodec import adaptation, exact
from pixelcodec.engine import Engine, Scale
from pixelcodec.models.fine_tuning import Budget, Seen, fit_heads
from pixelcodec.models.program import Samples
from pixelcodec.models.wavefront_pixelcnn import IntegerWavefrontPixelCNN
from pixelcodec.progress import Count

LEAST_PIXELS = 2**16
"""The changes of a model take about two kilobytes: more than they save on a smaller image."""

LOOKED_AT = 2**19
"""Pixels to look at; of a larger image tiles that lie evenly."""

TILE = 64
"""Columns and rows of a tile."""

MARGIN = 8
"""Pixels at the top and at the sides of a tile see that others are missing, which are not in the
image: nothing is learnt from them."""


def can_fit(engine: Engine, pixels: int) -> bool:
    """Whether the model can be fitted to images of so many pixels."""
    return isinstance(engine.program, IntegerWavefrontPixelCNN) and pixels >= LEAST_PIXELS


def fitted(engine: Engine, rows: Samples, samples: int, budget: Budget, tell: Count) -> bytes:
    """Changes of the engine's model that suit an image, packed.

    Args:
        engine: see :func:`can_fit`.
        rows: of the image, uint8 [rows, width, 1 or 3].
        samples: of the whole image.
        budget: how long to learn.
        tell: called with the count of pixels that were learnt from since the last call.

    Returns:
        As :func:`pixelcodec.adaptation.pack` gives it; none where it would not pay.
    """
    network = engine.network
    with exact.undisturbed(engine.device):
        seen = look(engine, rows)
    fit = fit_heads(network, seen, samples, budget, tell)
    changes = adaptation.pack(network, fit.changes)
    return changes if fit.saved * samples > 8 * len(changes) else b""


def look(engine: Engine, rows: Samples) -> Seen:
    """What the heads see of ``rows``, or of parts of them."""
    program = engine.program
    assert isinstance(program, IntegerWavefrontPixelCNN)
    tiles = _tiles(rows)
    usual = _usual(tiles, rows)
    channels = rows.shape[2]
    scale = Scale(lambda: program, 1, channels, engine.device, restart=True)
    # Of several tiles, samples and features come in an order of their own, the same.
    found = []
    for taken, samples, conditionals in scale.looks(tiles):
        kept = torch.from_numpy(usual[:, taken].ravel())
        known = torch.from_numpy(samples.copy()).expand(-1, 3)  # rows may be read-only
        found.append([each[kept] for each in (*program.seen(conditionals, samples), known)])
    features, centre, known = map(torch.cat, zip(*found, strict=True))
    return Seen(features, known, centre, channels)


def _tiles(rows: Samples) -> Samples:
    """Parts to look at: uint8 [tiles, rows, width, channels]."""
    height, width = rows.shape[:2]
    if height * width <= LOOKED_AT:
        return rows[np.newaxis]
    apart = TILE * sqrt(height * width / LOOKED_AT)
    tops, lefts = (
        np.linspace(0, max(0, length - TILE), max(1, int(length / apart))).astype(int)
        for length in (height, width)
    )
    return np.stack([rows[y : y + TILE, x : x + TILE] for y in tops for x in lefts])


def _usual(tiles: Samples, rows: Samples) -> npt.NDArray[np.bool_]:
    """Pixels of ``tiles`` that see what they see in the image: [tiles, rows, width]."""
    usual = np.ones(tiles.shape[:3], np.bool_)
    if tiles.shape[1] < rows.shape[0]:
        usual[:, :MARGIN] = False
    if tiles.shape[2] < rows.shape[1]:
        usual[:, :, :MARGIN] = usual[:, :, -MARGIN:] = False
    return usual
