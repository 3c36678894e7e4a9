"""From trained float layers to integer layers, and back."""

import torch
from torch import Tensor

from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d, round_weight
from pixelcodec.models.network import IntegerLayer


def integer_layer(
    layer: MaskedConv2d,
    out_bits: float | Tensor,
    outputs: slice | Tensor = slice(None),
    offset: float | Tensor = 0.0,
    taps: Tensor | None = None,
) -> IntegerLayer:
    """Round ``layer`` to integers.

    Args:
        layer: a convolution of any kernel; its taps, in raster order, become inputs, tap by tap,
            each with all channels.
        out_bits: fractional bits of the outputs, of all or of each.
        outputs: which of the layer's outputs to take: a slice, or indices.
        offset: added to the outputs, in units of their last bit, beside the rounding half.
        taps: indices of the taps to take; by default those that are not masked for all.

    Raises:
        ValueError: an output's weights are too large for ``out_bits`` (a negative shift).
    """
    taps = _taps(layer) if taps is None else taps
    masked = (layer.weight * layer.mask).detach()
    weight, exponents = masked[outputs], layer.exponents_of(masked)[outputs]
    shift = exponents + ACTIVATION_BITS - out_bits
    if shift.min() < 0:
        raise ValueError(
            f"weights up to {weight.abs().max():.1f} leave no room for {out_bits} bits"
        )
    rounded = round_weight(weight, exponents)  # [outputs, inputs, kernel, kernel]
    by_tap = rounded.flatten(2)[..., taps].permute(2, 1, 0).flatten(0, 1)
    half = torch.where(shift > 0, torch.exp2(shift - 1), torch.zeros_like(shift))
    bias = layer.bias.detach()[outputs] * torch.exp2(exponents + ACTIVATION_BITS)
    bias = torch.round(bias + offset * torch.exp2(shift)) + half
    return IntegerLayer(
        _integers(by_tap, torch.int8), _integers(bias, torch.int32), _integers(shift, torch.uint8)
    )


def select_inputs(layer: IntegerLayer, inputs: slice | Tensor) -> IntegerLayer:
    """The part of ``layer`` that belongs to some of its inputs; bias and shift stay."""
    return IntegerLayer(layer.weight[inputs].contiguous(), layer.bias, layer.shift)


def restore(
    layer: MaskedConv2d,
    integers: IntegerLayer,
    out_bits: float | Tensor,
    outputs: slice = slice(None),
    offset: float | Tensor = 0.0,
    inputs: slice = slice(None),
) -> None:
    """Give ``layer`` the weights that :func:`integer_layer` rounds to ``integers``.

    Args:
        layer: is changed; its exponents stay as they were in the integer layer.
        integers: what :func:`integer_layer` gave for ``outputs`` and :func:`select_inputs` for
            ``inputs``.
        out_bits: as :func:`integer_layer` takes it, like all that follow.
        outputs: likewise.
        offset: likewise.
        inputs: as :func:`select_inputs` takes it.
    """
    taps = _taps(layer)
    shift = integers.shift.to(torch.float32)
    exponents = shift - ACTIVATION_BITS + out_bits
    half = torch.where(shift > 0, torch.exp2(shift - 1), torch.zeros_like(shift))
    bias = integers.bias.to(torch.float32) - half - offset * torch.exp2(shift)
    weight = integers.weight.to(torch.float32) * torch.exp2(-exponents)
    by_tap = weight.view(len(taps), -1, len(shift)).permute(2, 1, 0)
    with torch.no_grad():
        found = layer.weight.flatten(2)  # shares memory
        part = found[outputs, inputs]
        part[..., taps] = by_tap
        layer.bias[outputs] = bias * torch.exp2(-exponents - ACTIVATION_BITS)
        if layer.exponents is None:
            layer.exponents = torch.zeros_like(layer.bias)
        layer.exponents[outputs] = exponents


def _taps(layer: MaskedConv2d) -> Tensor:
    """Indices of the taps that are not masked for all."""
    return layer.mask.amax((0, 1)).flatten().nonzero().flatten()


def _integers(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.cpu().to(dtype).contiguous()
