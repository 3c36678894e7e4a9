"""The softmax over all levels of a sample, in float for training and in integers for coding.

"Pixel Recurrent Neural Networks", section 3.5: a discrete distribution without assumptions on its
shape. Samples of one bit have two levels.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError

LOGIT_BITS = 5
"""Integer logits are multiples of 1/32 in natural logarithm."""

_EXP_LENGTH = 512
_EXP_ONE = 2**16
_TOTAL_BITS = 28  # masses are scaled so that their sum is in 2**27..2**28

Integers = npt.NDArray[Any]


def bits_of_samples(logits: Tensor, samples: Tensor) -> Tensor:
    """Information of ``samples`` under the softmax: the training loss, in bits a sample.

    Args:
        logits: float32 [..., levels].
        samples: integer [...].

    Returns:
        float32 [...], bits.
    """
    chosen = torch.log_softmax(logits, -1).gather(-1, samples.long().unsqueeze(-1))
    return -chosen.squeeze(-1) / math.log(2)


def integer_tables() -> dict[str, Tensor]:
    """The table of the integer head, shipped with each model.

    Returns:
        ``exp``: int32 [512], ``round(2**16 * exp(-i / 32))``.
    """
    exp = np.round(_EXP_ONE * np.exp(-np.arange(_EXP_LENGTH) / 2**LOGIT_BITS))
    return {"exp": torch.from_numpy(exp.astype(np.int32))}


def check_tables(tables: Mapping[str, Tensor]) -> None:
    """Refuse a table by which masses could overflow.

    Raises:
        ModelError: ``exp`` is not int32 [512], falling from 2**16 to 0 or more.
    """
    exp = tables.get("exp")
    if exp is None or exp.dtype != torch.int32 or exp.shape != (_EXP_LENGTH,):
        raise ModelError(f"the table exp of a softmax must be {_EXP_LENGTH} int32 numbers")
    if exp[0] != _EXP_ONE or exp[-1] < 0 or bool((exp.diff() > 0).any()):
        raise ModelError("the table exp of a softmax must fall from 2**16 to 0 or more")


class Softmax:
    """Integer distributions of n samples, ready to be evaluated."""

    def __init__(self, logits: Integers, exp: Integers) -> None:
        """Make them of ``logits`` (int32 [n, levels], in 1/32) and the table ``exp``."""
        self._masses = np.empty((logits.shape[0], logits.shape[1] + 1), np.int32)
        _accumulate(logits, exp, self._masses)

    def __len__(self) -> int:
        """Count of samples."""
        return len(self._masses)

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Mass below each of ``edges`` (int32 [n, m]); above the last level it grows no more."""
        masses = np.empty_like(edges)
        _take(self._masses, edges, masses)
        return masses


@compiled
def _accumulate(logits: Integers, exp: Integers, masses: Integers) -> None:
    last = len(exp) - 1
    for n in range(logits.shape[0]):
        largest = logits[n, 0]
        for level in range(1, logits.shape[1]):
            largest = max(largest, logits[n, level])
        total = 0
        masses[n, 0] = 0
        for level in range(logits.shape[1]):
            total += exp[min(int(largest) - int(logits[n, level]), last)]
            masses[n, level + 1] = total
        shift = 0
        while total << (shift + 1) < 2**_TOTAL_BITS:
            shift += 1
        for level in range(1, logits.shape[1] + 1):
            masses[n, level] <<= shift


@compiled
def _take(table: Integers, edges: Integers, masses: Integers) -> None:
    last = np.int32(table.shape[1] - 1)
    for n in range(edges.shape[0]):
        for m in range(edges.shape[1]):
            masses[n, m] = table[n, min(edges[n, m], last)]
