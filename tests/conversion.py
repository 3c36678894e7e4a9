"""How tests compare a float layer with the integer layer that it converts to."""

import torch
from torch import Tensor

from pixelcodec.exact import Arithmetic
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerLayer

ARITHMETIC = Arithmetic(torch.device("cpu"), "int64")


def random_activations(*shape: int, low: int = 0, high: int = 127) -> Tensor:
    """Int8 that layers take."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(low, high + 1, shape, generator=generator, dtype=torch.int8)


def as_float(activations: Tensor) -> Tensor:
    """Int8 [n, inputs] -> float32 [n, inputs, 1, 1], what they stand for."""
    return (activations.to(torch.float32) * 2.0**-ACTIVATION_BITS)[..., None, None]


def quantised(layer: MaskedConv2d, values: Tensor, outputs: slice = slice(None)) -> Tensor:
    """What ``layer`` gives in training with rounding on: [n, outputs] or [n * h * w, outputs]."""
    layer.quantised = True
    found: Tensor = layer(values)[:, outputs].permute(0, 2, 3, 1).flatten(0, 2)
    layer.quantised = False
    return found.double()


def check_conversion(
    layer: IntegerLayer, activations: Tensor, expected: Tensor, bits: float | Tensor, offset: float
) -> None:
    """Assert that ``layer`` rounds what is ``expected`` to ``bits``, with ``offset`` added.

    It may be wrong by half a unit in the last place, and by what its rounded bias is wrong.
    """
    found = ARITHMETIC.linear(layer)(activations).double()
    exact = expected * torch.exp2(torch.as_tensor(bits).double()) + offset
    allowed = 0.5 + torch.exp2(-layer.shift.double() - 1) + 1e-3
    assert allowed.max() <= 1
    assert ((found - exact).abs() <= allowed).all()
    assert len(torch.unique(found)) > 20
