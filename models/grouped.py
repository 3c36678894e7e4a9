"""Masked convolutions whose feature maps are split among the channels of a pixel.

"Pixel Recurrent Neural Networks", section 3.4: the feature maps of every layer are split into as
many groups as there are channels (three: R, G, B). Of earlier pixels every group sees all; of the
pixel itself group g sees the groups before (mask A, the first layer) and itself too (mask B, all
others). So the distribution of G may depend on R, that of B on R and G.

The integer form runs group by group: once R is known, group 1 of all layers can be computed, and
group 0 is not computed again.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import Arithmetic, Linear
from pixelcodec.models.quantise import integer_layer


def group_slices(features: int, groups: int) -> list[slice]:
    """Where each group's feature maps lie: nearly equal parts, each after the other.

    >>> group_slices(8, 3)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """
    bounds = [-(-features * group // groups) for group in range(groups + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def channel_mask(kind: str, inputs: int, outputs: int, groups: int) -> Tensor:
    """What the pixel's own features see of one another: float32 [outputs, inputs], 0 or 1.

    Args:
        kind: ``A`` (the groups before), or ``B`` (and the own group).
        inputs: feature maps that are seen.
        outputs: feature maps that see.
        groups: into which each is split.
    """
    mask = torch.zeros(outputs, inputs)
    slices = list(zip(group_slices(outputs, groups), group_slices(inputs, groups), strict=True))
    for own, (seeing, _) in enumerate(slices):
        for group, (_, seen) in enumerate(slices):
            mask[seeing, seen] = float(group < own or (kind == "B" and group == own))
    return mask


def spatial_mask(
    kind: str, kernel: tuple[int, int], inputs: int, outputs: int, groups: int
) -> Tensor:
    """Mask A or B of a convolution: float32 [outputs, inputs, height, width], 0 or 1.

    All of the rows above, the pixels to the left, and of the pixel itself what
    :func:`channel_mask` allows. A kernel of one row is that of the row itself.

    Args:
        kind: ``A`` or ``B``.
        kernel: height and width, both odd.
        inputs: feature maps in.
        outputs: feature maps out.
        groups: into which each is split.
    """
    height, width = kernel
    mask = torch.zeros(outputs, inputs, height, width)
    mask[..., : height // 2, :] = 1
    mask[..., height // 2, : width // 2] = 1
    mask[..., height // 2, width // 2] = channel_mask(kind, inputs, outputs, groups)
    return mask


def causal_runs(kernel: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
    """The taps of such a convolution, the pixel itself among them, as a plane takes them."""
    height, width = kernel[0] // 2, kernel[1] // 2
    return (*((dy, -width, width) for dy in range(height, 0, -1)), (0, -width, 0))


class GroupedConv2d(MaskedConv2d):
    """A masked convolution of grouped feature maps.

    Data flow: float [n, inputs, h, w] -> masked conv2d, zero padding -> float [n, outputs, h, w].
    """

    def __init__(
        self,
        kind: str,
        kernel: tuple[int, int],
        inputs: int,
        outputs: int,
        groups: int,
        gain: float = 2**0.5,
    ) -> None:
        """Make a layer; arguments as :func:`spatial_mask` takes them."""
        super().__init__(inputs, outputs, spatial_mask(kind, kernel, inputs, outputs, groups), gain)
        self.groups = groups

    def integer_layers(
        self, name: str, out_bits: float, offset: float = 0.0
    ) -> dict[str, IntegerLayer]:
        """Round to a layer for each group, ``NAME.GROUP``.

        Its inputs are all taps of :func:`causal_runs`, where masked with weights of zero.

        Args:
            name: of the layer.
            out_bits: fractional bits of the outputs.
            offset: see :func:`pixelcodec.models.quantise.integer_layer`.
        """
        height, width = self.mask.shape[2:]
        taps = torch.arange(height // 2 * width + width // 2 + 1)
        outputs = self.weight.shape[0]
        return {
            f"{name}.{group}": integer_layer(self, out_bits, own, offset, taps)
            for group, own in enumerate(group_slices(outputs, self.groups))
        }


def pointwise(inputs: int, outputs: int, groups: int, gain: float = 2**0.5) -> GroupedConv2d:
    """A 1x1 convolution with mask B."""
    return GroupedConv2d("B", (1, 1), inputs, outputs, groups, gain)


def make_ready(
    layers: Mapping[str, IntegerLayer], arithmetic: Arithmetic, name: str, groups: int
) -> Sequence[Linear]:
    """The layers ``NAME.GROUP``, ready to run."""
    return [arithmetic.linear(layers[f"{name}.{group}"]) for group in range(groups)]


class Seen:
    """Activations of the pixels in hand, group after group: what 1x1 layers see."""

    def __init__(self, pixels: int, features: int, groups: int, device: torch.device) -> None:
        """Start with zeros."""
        self._values = torch.zeros(pixels, features, dtype=torch.int8, device=device)
        self._on_host = self._values.numpy() if device.type == "cpu" else None
        self._slices = group_slices(features, groups)

    def with_group(self, group: int, values: Tensor) -> Tensor:
        """Put in ``values`` (int8 [pixels, features of the group]): int8 [pixels, features]."""
        if self._on_host is None:
            self._values[:, self._slices[group]] = values
        else:  # a call of NumPy's takes a third of the time
            self._on_host[:, self._slices[group]] = values.numpy()
        return self._values
