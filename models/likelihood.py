"""Bits of samples under mixtures of logistics, with their gradient, in one compiled loop.

The same as :func:`pixelcodec.models.mixture.bits_of_samples`, on the CPU a third of its time.
Floats: for training and adaptation, never for coding.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.models import mixture

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[Any]


def bits_of_samples(parameters: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
    """Information of ``samples``, see :func:`pixelcodec.models.mixture.bits_of_samples`."""
    if parameters.device.type != "cpu":
        return mixture.bits_of_samples(parameters, samples, centre)
    found: Tensor = _BitsOfSamples.apply(parameters, samples, centre)  # type: ignore[no-untyped-call]
    return found


class _BitsOfSamples(torch.autograd.Function):
    """Parameters float32 [..., 3, n], samples and centre integer [..., 3] -> bits [..., 3]."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
        """Bits; their gradient is computed on the way."""
        flat = parameters.detach().reshape(-1, *parameters.shape[-2:])
        bits, gradients = torch.empty(flat.shape[:-1]), torch.empty_like(flat)
        _bits_and_gradients(
            flat.numpy(),
            (samples - centre).reshape(-1, 3).to(torch.int16).numpy(),
            centre.reshape(-1, 3).to(torch.int16).numpy(),
            bits.numpy(),
            gradients.numpy(),
        )
        ctx.save_for_backward(gradients.view(parameters.shape))
        return bits.view(parameters.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Of the parameters alone."""
        (of_parameters,) = ctx.saved_tensors
        return of_parameters * gradients[0].unsqueeze(-1), None, None


_0, _HALF, _1, _2 = (np.float32(value) for value in (0, 0.5, 1, 2))
_LN2, _INVERSE_LN2 = np.float32(math.log(2)), np.float32(1 / math.log(2))
_SUBLEVELS, _LEVELS = np.float32(mixture.SUBLEVELS), np.float32(mixture.LEVELS)
_LEVEL_LEAST = np.float32(mixture.LEVEL_LEAST)
_LEAST_SCALE = np.float32(mixture.LOG2_SMALLEST_SCALE)
_MOST_SCALE = np.float32(mixture.LOG2_SMALLEST_SCALE + (mixture.SCALES - 1) / mixture.SCALE_STEPS)
_CERTAIN = np.float32(16)
"""A sigmoid of this is 1, as far as it matters."""


@compiled
def _sigmoid(argument: Any) -> Any:
    small = np.float32(math.exp(-abs(argument)))
    share = _1 / (_1 + small)
    return share if argument >= 0 else small * share


@compiled
def _bits_and_gradients(
    parameters: Floats, residuals: Integers, centre: Integers, bits: Floats, gradients: Floats
) -> None:
    count = (parameters.shape[2] - 2) // 3
    # Of each component: weight, mass on the level and inside the range, and their derivatives by
    # the mean and by the scale.
    weight, mass, total, mass_by_mean, total_by_mean, mass_by_scale, total_by_scale = np.empty(
        (7, count), np.float32
    )
    for n in range(len(parameters)):
        for c in range(3):
            of, to = parameters[n, c], gradients[n, c]
            residual = np.float32(residuals[n, c])
            below = -_HALF - np.float32(centre[n, c])
            first = np.float32(residuals[n, 0]) if c > 0 else _0
            second = np.float32(residuals[n, 1]) if c > 1 else _0
            shift = of[3 * count] * first + of[3 * count + 1] * second
            largest = of[:count].max()
            numerator, denominator = _LEVEL_LEAST, _LEVELS * _LEVEL_LEAST
            for k in range(count):
                weight[k] = math.exp(of[k] - largest)
                wanted = _SUBLEVELS * of[count + k] + shift
                mean = min(max(wanted, below - np.float32(7.5)), below + np.float32(263.5))
                moves = _1 if mean == wanted else _0
                wanted = _2 * of[2 * count + k]
                log_scale = min(max(wanted, _LEAST_SCALE), _MOST_SCALE)
                inverse = np.float32(math.exp(-_LN2 * log_scale))
                by_scale = -_2 * _LN2 * inverse if log_scale == wanted else _0

                distance = abs(residual - mean)  # symmetric; precise in the tail
                near, far = (_HALF - distance), (-_HALF - distance)
                upper, lower = _sigmoid(near * inverse), _sigmoid(far * inverse)
                at_upper, at_lower = upper * (_1 - upper), lower * (_1 - lower)
                mass[k] = upper - lower
                away = inverse if residual >= mean else -inverse
                mass_by_mean[k] = (at_upper - at_lower) * away * moves
                mass_by_scale[k] = (at_upper * near - at_lower * far) * by_scale

                low, high = below - mean, below - mean + _LEVELS
                total[k], total_by_mean[k], total_by_scale[k] = _1, _0, _0
                if low * inverse > -_CERTAIN or high * inverse < _CERTAIN:
                    upper, lower = _sigmoid(high * inverse), _sigmoid(low * inverse)
                    at_upper, at_lower = upper * (_1 - upper), lower * (_1 - lower)
                    total[k] = upper - lower
                    total_by_mean[k] = (at_lower - at_upper) * inverse * moves
                    total_by_scale[k] = (at_upper * high - at_lower * low) * by_scale
                numerator += weight[k] * mass[k]
                denominator += weight[k] * total[k]
            bits[n, c] = _INVERSE_LN2 * np.float32(math.log(denominator / numerator))
            of_mass, of_total = _INVERSE_LN2 / numerator, _INVERSE_LN2 / denominator
            by_shift = _0
            for k in range(count):
                to[k] = weight[k] * (total[k] * of_total - mass[k] * of_mass)
                by_mean = weight[k] * (total_by_mean[k] * of_total - mass_by_mean[k] * of_mass)
                to[count + k] = by_mean * _SUBLEVELS
                by_shift += by_mean
                to[2 * count + k] = weight[k] * (
                    total_by_scale[k] * of_total - mass_by_scale[k] * of_mass
                )
            to[3 * count], to[3 * count + 1] = by_shift * first, by_shift * second
