"""Fitting the model to the image in hand, before it is encoded."""

from collections.abc import Callable

import numpy as np
import torch

from pixelcodec import adaptation, exact
from pixelcodec.engine import Engine, Scale
from pixelcodec.models.fine_tuning import Budget, Seen, fit_heads
from pixelcodec.models.program import Samples
from pixelcodec.models.wavefront_pixelcnn import IntegerWavefrontPixelCNN

LEAST_PIXELS = 2**16
"""The changes of a model take about two kilobytes: more than they save on a smaller image."""

LOOKED_AT = 2**19
"""Pixels to learn from; of a larger image bands that lie evenly."""

BAND_ROWS = 64


def can_fit(engine: Engine, pixels: int) -> bool:
    """Whether the model can be fitted to images of so many pixels."""
    return isinstance(engine.program, IntegerWavefrontPixelCNN) and pixels >= LEAST_PIXELS


def fitted(
    engine: Engine, rows: Samples, samples: int, budget: Budget, tell: Callable[[int], None]
) -> bytes:
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
    """What the heads see of ``rows``, or of bands of them."""
    program = engine.program
    assert isinstance(program, IntegerWavefrontPixelCNN)
    bands = _bands(rows)
    channels = rows.shape[2]
    scale = Scale(lambda: program, 1, channels, engine.device, restart=True)
    # Of several bands, samples and features come in an order of their own, the same.
    found = [
        (*program.seen(conditionals, samples), torch.from_numpy(samples).expand(-1, 3))
        for _, samples, conditionals in scale.looks(bands)
    ]
    features, centre, known = map(torch.cat, zip(*found, strict=True))
    return Seen(features, known, centre, channels)


def _bands(rows: Samples) -> Samples:
    """Bands to learn from: uint8 [bands, rows, width, channels]."""
    height, width = rows.shape[:2]
    if height * width <= LOOKED_AT:
        return rows[None]
    count = max(1, LOOKED_AT // (BAND_ROWS * width))
    tops = np.linspace(0, max(0, height - BAND_ROWS), count).astype(int)
    return np.stack([rows[top : top + BAND_ROWS] for top in tops])
