"""Changes of a model to bytes and back: what chunk ``A`` of an adapted file holds.

For each part of each layer a byte: 0 where it stays, else 1 plus the shift of its change. Two more
say how its values are distributed: zeros so often, and each further value so much rarer. Then all
values, as the range coder codes samples of 8 bits (docs/FORMAT.md).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec import coder
from pixelcodec.errors import FormatError, ModelError
from pixelcodec.models.changes import SHIFT_MOST, Change, changed, parts_of
from pixelcodec.models.network import IntegerNetwork

Integers = npt.NDArray[Any]

_UNCHANGED = b"\0"
_HEAD = struct.Struct("<3B")
_ZERO = 128
"""The sample that stands for a value of 0."""

_ONE = 2**20
"""Mass of a value of 1, and of one of -1."""

_ZERO_CODES = 8 * 25
_RATIO_CODES = 256


@dataclass(frozen=True)
class _Values:
    """How the values of a change are distributed, for the coder.

    Attributes:
        count: of them.
        masses: int32 [257], cumulative, by edges between samples.
    """

    count: int
    masses: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return self.count

    def cumulative(self, edges: Integers) -> npt.NDArray[np.int32]:
        """Mass below ``edges``, int32 [n, m]."""
        return self.masses[edges]


def _masses(zeros: int, ratio: int) -> npt.NDArray[np.int32]:
    """Cumulative masses of the samples 0 to 255, which stand for -128 to 127."""
    of_distance = [(8 + zeros % 8) << zeros // 8, _ONE]
    while len(of_distance) <= _ZERO:
        of_distance.append(of_distance[-1] * ratio >> 8)
    mass = np.array(of_distance)[abs(np.arange(256) - _ZERO)]
    return np.concatenate([[0], np.cumsum(mass)]).astype(np.int32)


def pack(network: IntegerNetwork, changes: Iterable[Change]) -> bytes:
    """Changes of ``network`` to bytes."""
    found = {(change.layer, change.part): change for change in changes}
    head, words = b"", coder.RangeEncoder()
    for layer, part, _ in parts_of(network):
        change = found.get((layer, part))
        if change is None:
            head += _UNCHANGED
            continue
        values = change.values.astype(np.int64).ravel()
        zeros, ratio = _fitted(values)
        head += _HEAD.pack(1 + change.shift, zeros, ratio)
        distribution = _Values(values.size, _masses(zeros, ratio))
        choices = coder.describe(distribution, (values + _ZERO).astype(np.uint8))
        words.encode(choices.swapaxes(0, 1).reshape(-1, 3))
    return head + words.finish()


def adapted(network: IntegerNetwork, data: bytes) -> IntegerNetwork:
    """``network`` with the changes that :func:`pack` made ``data`` of.

    Raises:
        FormatError: no encoder writes such bytes for this network.
    """
    try:
        return changed(network, _unpacked(network, data))
    except (FormatError, ModelError) as error:
        reason = str(error).removeprefix("damaged: ")
        raise FormatError(f"damaged changes of the model: {reason}") from error


def _unpacked(network: IntegerNetwork, data: bytes) -> list[Change]:
    heads, offset = [], 0
    for layer, part, before in parts_of(network):
        length = 1 if data[offset : offset + 1] == _UNCHANGED else _HEAD.size
        if offset + length > len(data):
            raise FormatError("they are cut off")
        if length > 1:
            heads.append((layer, part, before.shape, *_HEAD.unpack_from(data, offset)))
        offset += length
    words = coder.RangeDecoder(data[offset:])
    changes = []
    for layer, part, shape, code, zeros, ratio in heads:
        if code > 1 + SHIFT_MOST or zeros >= _ZERO_CODES:
            raise FormatError(f"{layer} changes in a way that no encoder writes")
        distribution = _Values(shape.numel(), _masses(zeros, ratio))
        values = words.decode(distribution).astype(np.int16) - _ZERO
        changes.append(Change(layer, part, code - 1, values.astype(np.int8).reshape(shape)))
    return changes


def _fitted(values: Integers) -> tuple[int, int]:
    """The codes by which ``values`` take the fewest bits, nearly."""
    distance = abs(values)
    others = int((distance > 0).sum())
    if others == 0:
        return _ZERO_CODES - 1, 0
    # Of a geometric distribution: the share that goes on from each distance to the next.
    ratio = min(_RATIO_CODES - 1, round(256 * (1 - others / int(distance.sum()))))
    tail = 2 * int(_masses(0, ratio)[256] - _masses(0, ratio)[_ZERO + 1])
    wanted = max(8.0, tail * (values.size - others) / others)
    codes = np.arange(_ZERO_CODES)
    masses = (8 + codes % 8) * 2.0 ** (codes // 8)
    return int(abs(np.log(masses / wanted)).argmin()), ratio
