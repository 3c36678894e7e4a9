"""What the network sees of the image: the centred causal neighbourhood, in exact integers.

Training and coding call the same functions on the same integer windows, so there is one
definition of the network's input. A neighbour outside the image holds :data:`OUTSIDE`, a value
chosen so that no rule for borders is needed anywhere:

* the median predictor of a pixel whose N (or W) is outside is its W (or N), and of a pixel
  that has neither is ``OUTSIDE & 255 = 128``;
* a difference to an outside neighbour is above 255, where the companding table holds 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

OUTSIDE = 640
"""Sample value of a neighbour that is not in the image."""

RUNS: tuple[tuple[int, int, int], ...] = ((3, -3, 3), (2, -3, 3), (1, -3, 1), (0, -3, -1))
"""The neighbourhood: for each row ``dy`` above the pixel, columns ``first..last`` from it.

22 pixels. At most ``2*dy - 1`` columns reach right, so a wavefront of slope 2 decodes it.
"""

ROWS_ABOVE = max(dy for dy, _, _ in RUNS)
COLUMNS_AROUND = max(max(-first, last) for _, first, last in RUNS)
TAPS = [(dy, dx) for dy, first, last in RUNS for dx in range(first, last + 1)]
_W, _N, _NW = TAPS.index((0, -1)), TAPS.index((1, 0)), TAPS.index((1, -1))

COMPANDING_KNEE = 8
"""Differences well below this are spread, those above compressed (a mu-law)."""


def companding_table() -> Tensor:
    """Int8 [1024]: entry ``255 + d`` holds the companded difference ``d``.

    ``round(127 * log2(1 + |d|/8) / log2(1 + 255/8))`` with the sign of ``d``, and 0 where ``d``
    is above 255 (an outside neighbour). Small differences keep their resolution in 8 bits and
    large ones their order. Shipped with each model, so never recomputed by a decoder.
    """
    difference = np.arange(-255, 1024 - 255)
    companded = np.log2(1 + abs(difference) / COMPANDING_KNEE)
    companded = np.round(127 * companded / np.log2(1 + 255 / COMPANDING_KNEE))
    table = np.where(abs(difference) > 255, 0, np.sign(difference) * companded)
    return torch.from_numpy(table.astype(np.int8))


@dataclass(frozen=True)
class Context:
    """The network's view of a set of pixels.

    Attributes:
        centre: int16 [..., 3], the median (MED) prediction of each channel, 0..255.
        features: int8 [..., FEATURES], companded differences of the neighbours to the centre,
            then the centre itself minus 128.
    """

    centre: Tensor
    features: Tensor


FEATURES = 3 * (len(TAPS) + 1)
"""Inputs of the network: 22 neighbours and the centre, of three channels."""


def centred_context(windows: Tensor, table: Tensor) -> Context:
    """Centre the neighbourhoods ``windows`` on their median prediction.

    Args:
        windows: int16 [..., 22, 3], the neighbours in the order of :data:`TAPS`; samples
            0..255 or :data:`OUTSIDE`.
        table: int8 [1024] as :func:`companding_table` gives it.
    """
    west, north, north_west = (windows[..., tap, :] for tap in (_W, _N, _NW))
    low, high = torch.minimum(west, north), torch.maximum(west, north)
    plane = west + north - north_west
    centre = torch.maximum(low, torch.minimum(high, plane)).bitwise_and_(255)
    differences = compand(windows - centre.unsqueeze(-2), table).flatten(-2)
    level = (centre - 128).clamp_(min=-127).to(torch.int8)
    return Context(centre, torch.cat([differences, level], -1))


def compand(differences: Tensor, table: Tensor) -> Tensor:
    """Look ``differences`` (int16, -255..640) up in the companding ``table``: int8."""
    index = (differences + 255).to(torch.int32)
    return table.index_select(0, index.flatten()).view(differences.shape)


def windows_of(samples: Tensor) -> Tensor:
    """Neighbourhoods of all pixels of whole images, for training and evaluation.

    Args:
        samples: uint8 or int16 [images, height, width, 3].

    Returns:
        int16 [images, height, width, 22, 3].
    """
    around = (0, 0, COLUMNS_AROUND, COLUMNS_AROUND, ROWS_ABOVE, 0)
    padded = torch.nn.functional.pad(samples.to(torch.int16), around, value=OUTSIDE)
    height, width = samples.shape[1:3]
    rows = [padded[:, ROWS_ABOVE - dy : ROWS_ABOVE - dy + height] for dy in range(ROWS_ABOVE + 1)]
    taps = [rows[dy][:, :, COLUMNS_AROUND + dx : COLUMNS_AROUND + dx + width] for dy, dx in TAPS]
    return torch.stack(taps, -2)
