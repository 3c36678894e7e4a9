"""Changes of an integer network: what a file that adapts its model says beside the model's name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.errors import ModelError
from pixelcodec.models.network import IntegerLayer, IntegerNetwork

LARGEST_WEIGHT = 127
SHIFT_MOST = 15
PARTS = ("bias", "weight")


@dataclass(frozen=True)
class Change:
    """What is added to the biases or weights of a layer: ``values << shift``.

    Attributes:
        layer: name.
        part: ``bias`` or ``weight``.
        shift: 0 to 15.
        values: int8, of the shape of the layer's part.
    """

    layer: str
    part: str
    shift: int
    values: npt.NDArray[np.int8]


def parts_of(network: IntegerNetwork) -> Iterator[tuple[str, str, Tensor]]:
    """All that can change, in the order of files: layer, part and integers."""
    for name in sorted(network.layers):
        for part in PARTS:
            yield name, part, getattr(network.layers[name], part)


def changed(network: IntegerNetwork, changes: Iterable[Change]) -> IntegerNetwork:
    """``network`` with ``changes``.

    Raises:
        ModelError: a weight would leave -127..127, or a bias 32 bits.
    """
    layers = dict(network.layers)
    for change in changes:
        layers[change.layer] = _changed(layers[change.layer], change)
    return replace(network, layers=layers)


def _changed(layer: IntegerLayer, change: Change) -> IntegerLayer:
    before: Tensor = getattr(layer, change.part)
    steps = torch.from_numpy(change.values.astype(np.int64))
    after = before.to(torch.int64) + (steps << change.shift)
    most = LARGEST_WEIGHT if change.part == "weight" else 2**31 - 1
    if after.numel() and int(after.abs().max()) > most:
        raise ModelError(f"a {change.part} of layer {change.layer} changes to more than {most}")
    return replace(layer, **{change.part: after.to(before.dtype)})


def changes_between(
    network: IntegerNetwork, other: IntegerNetwork, shifts: Mapping[tuple[str, str], int]
) -> list[Change]:
    """What makes ``other`` of ``network``, as far as changes can say it.

    Args:
        network: what is changed.
        other: one of the same layers.
        shifts: by layer and part; differences are rounded to multiples of ``1 << shift``, and
            limited to what 8 bits hold. Where there is none, 0.
    """
    found = []
    for (layer, part, before), (_, _, after) in zip(
        parts_of(network), parts_of(other), strict=True
    ):
        shift = shifts.get((layer, part), 0)
        difference = (after.to(torch.int64) - before.to(torch.int64)).numpy()
        values = np.clip((difference + (1 << shift >> 1)) >> shift, -127, 127).astype(np.int8)
        if values.any():
            found.append(Change(layer, part, shift, values))
    return found
