"""Layers that train in float and ship as integers.

Fixed point is built in from the first step of training, so that conversion only rounds:

* what enters a layer is int8 with :data:`ACTIVATION_BITS` fractional bits, at most 127/16;
* a layer's weights are int8 with a power-of-two scale for each output, its bias int32;
* what leaves a layer is rounded to ``out_bits`` fractional bits by an arithmetic shift.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATION_BITS = 4
ACTIVATION_LIMIT = 127 / 2**ACTIVATION_BITS
STREAM_BITS = 8
"""Fractional bits of the residual stream and of the parameters of the heads."""

HALF_ACTIVATION = 2.0 ** (STREAM_BITS - ACTIVATION_BITS - 1)
"""Added to a stream, in its last bits, so that shifting it down to an activation rounds."""

STREAM_TO_ACTIVATION = STREAM_BITS - ACTIVATION_BITS

WEIGHT_LIMIT = 127
_MAX_EXPONENT = 20
_BIAS_BITS = 22


class _QuantisedReLU(torch.autograd.Function):
    """Clamp to 0..127/16 and round to sixteenths; the gradient passes where it did not clamp."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        rounded: Tensor = torch.floor(values * 2**ACTIVATION_BITS + 0.5)
        return rounded.clamp_(0, 127).mul_(2.0**-ACTIVATION_BITS)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        (gradient,) = gradients
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, values, 0.0, ACTIVATION_LIMIT)
        return passed


def relu(values: Tensor, quantised: bool) -> Tensor:
    """ReLU clamped to what int8 activations hold; rounded like them where ``quantised``."""
    if quantised:
        rounded: Tensor = _QuantisedReLU.apply(values)  # type: ignore[no-untyped-call]
        return rounded
    limited: Tensor = nn.functional.hardtanh(values, 0.0, ACTIVATION_LIMIT)
    return limited


def weight_exponents(weight: Tensor, bias: Tensor) -> Tensor:
    """Largest exponents ``e`` for which ``weight * 2**e`` stays within -127..127.

    The bias has the same scale, and must leave room for a layer's sums: it stays within 2**22. That
    counts only where weights are next to nothing.

    Args:
        weight: float32 [outputs, ...].
        bias: float32 [outputs].

    Returns:
        float32 [outputs], whole numbers of at most 20.
    """
    smallest = 2.0**-_MAX_EXPONENT
    largest = weight.detach().flatten(1).abs().amax(1).clamp(min=smallest)
    of_weight = torch.floor(torch.log2(WEIGHT_LIMIT / largest))
    room = 2.0 ** (_BIAS_BITS - ACTIVATION_BITS)
    of_bias = torch.floor(torch.log2(room / bias.detach().abs().clamp(min=smallest)))
    return torch.minimum(of_weight, of_bias).clamp(max=_MAX_EXPONENT)


def round_weight(weight: Tensor, exponents: Tensor) -> Tensor:
    """``weight`` as whole numbers -127..127, to be divided by ``2**exponents``: float32."""
    scale = torch.exp2(exponents).view(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight * scale).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)


class MaskedConv2d(nn.Module):
    """A convolution with masked weights ("Pixel Recurrent Neural Networks", section 3.4).

    Data flow: float [n, inputs, h, w] -> conv2d with ``weight * mask``, zero padding
    -> float [n, outputs, h, w].

    Attributes:
        exponents: of the integer layer that it was made of; None where it was made anew.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, mask: Tensor, gain: float = math.sqrt(2)) -> None:
        """Make a layer; ``mask`` broadcasts against [outputs, inputs, kernel, kernel]."""
        super().__init__()
        mask = mask.to(torch.float32)
        shape = (outputs, inputs, *mask.shape[2:])
        fan_in = (mask.expand(shape) != 0).flatten(1).sum(1).clamp(min=1)
        scale = (gain / fan_in.sqrt()).view(-1, 1, 1, 1)
        self.weight = nn.Parameter(torch.randn(shape) * scale)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mask", mask, persistent=False)
        self.exponents: Tensor | None = None
        self.quantised = False

    def masked_weight(self) -> Tensor:
        """The weights that count, rounded to what int8 holds where ``quantised``."""
        weight = self.weight * self.mask
        if not self.quantised:
            return weight
        with torch.no_grad():
            exponents = self.exponents_of(weight)
            rounding = round_weight(weight, exponents)
            rounding = rounding / torch.exp2(exponents).view(-1, 1, 1, 1) - weight
        return weight + rounding

    def exponents_of(self, weight: Tensor) -> Tensor:
        """Exponents of its outputs, given the masked weight: those of an integer layer stay."""
        return weight_exponents(weight, self.bias) if self.exponents is None else self.exponents

    def forward(self, values: Tensor) -> Tensor:  # noqa: D102
        weight = self.masked_weight().to(values.dtype, memory_format=torch.channels_last)
        padding = (self.weight.shape[-2] // 2, self.weight.shape[-1] // 2)
        return nn.functional.conv2d(values, weight, self.bias.to(values.dtype), padding=padding)


class QuantisationAware(nn.Module):
    """A network of such layers."""

    def quantise(self, quantised: bool = True) -> None:
        """Switch rounding of weights and activations on or off (quantisation-aware training)."""
        for layer in self.modules():
            if isinstance(layer, MaskedConv2d):
                layer.quantised = quantised


def pointwise(inputs: int, outputs: int, gain: float = math.sqrt(2)) -> MaskedConv2d:
    """A 1x1 convolution."""
    return MaskedConv2d(inputs, outputs, torch.ones(1, 1, 1, 1), gain)


def mask_b(kernel: int) -> Tensor:
    """Mask B for one group of channels: rows above, pixels to the left, and the pixel itself."""
    mask = torch.zeros(1, 1, kernel, kernel)
    middle = kernel // 2
    mask[..., :middle, :] = 1
    mask[..., middle, : middle + 1] = 1
    return mask
