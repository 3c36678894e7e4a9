"""Layers that learn from each wave as it is coded: backward adaptation, in exact integers.

Encoder and decoder both know the samples of a wave once it is coded. Both then move the weights by
a step against the gradient of the wave's bits, so nothing needs to be told: the file holds no
changes, and the network suits the image better from wave to wave ("dynamic evaluation", Krause et
al. 2018). The step is that of Adam (Kingma and Ba 2015), each weight at its own pace, with a limit.

All of it is integers, so that every machine learns the same. A weight has 16 fractional bits below
a step of the layer's int8 weights, of which products see six. A bias is the weight of an input of
64. Matrix products are of whole numbers in float64: exact in any order, as all sums are below
2**53. docs/FORMAT.md ("Learning") defines every step.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.models.mixture_gradient import MOST, limited
from pixelcodec.models.network import IntegerLayer

Integers = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

RATE_MOST = 255
"""A rate is the most a weight moves in an update, in 1/256 of a step of the int8 weights."""

LEAST_PIXELS = 128
"""An update waits for so many pixels, at least."""

CONSTANT = 64
"""The input that biases are weights of."""

FRACTION_BITS = 16
SEEN_BITS = 6
_UNSEEN_BITS = FRACTION_BITS - SEEN_BITS
_BIAS_BITS = FRACTION_BITS - CONSTANT.bit_length() + 1

_WEIGHT_MOST = 127 << FRACTION_BITS
_BIAS_MOST = 2**28 << _BIAS_BITS

_SUM_SHIFT = 6
_SUM_MOST = 2**26 - 1
_PACE_BITS = 30
_STEP_ONE = 2**16
_TURNS = 8
"""The pace of a row is renewed in one of so many updates."""


class LearningLayer:
    """A layer ``(activations @ weight + bias) >> shift`` whose weights and biases learn.

    Activations are float64 [n, inputs + 1], whole numbers in -127..127; one of the inputs is always
    :data:`CONSTANT`.

    Attributes:
        seen: float64 [inputs + 1, outputs], whole numbers: weights in 1/64, and biases.
        shifts: int64 [outputs], of the sums of products of ``seen``.
    """

    def __init__(self, layer: IntegerLayer, rows: Integers, constant: int) -> None:
        """Start from ``layer``.

        Args:
            layer: what it is at first.
            rows: int64 [inputs of the layer], the place of each among the inputs here. The others
                start with weights of 0.
            constant: the place of the constant input, behind or between them.
        """
        size = (max(constant, *rows.tolist()) + 1, layer.weight.shape[1])
        self.shifts = layer.shift.numpy().astype(np.int64) + SEEN_BITS
        self._weights = np.zeros(size, np.int64)
        self._weights[rows] = layer.weight.numpy().astype(np.int64) << FRACTION_BITS
        biases = layer.bias.numpy().astype(np.int64) << _BIAS_BITS
        self._weights[constant] = biases.clip(-_BIAS_MOST, _BIAS_MOST)
        self._most = np.full(size[0], _WEIGHT_MOST)
        self._most[constant] = _BIAS_MOST
        self._means, self._squares, self._paces = np.zeros((3, *size), np.int64)
        self._sums = torch.zeros(size, dtype=torch.float64)
        self.seen = torch.from_numpy((self._weights >> _UNSEEN_BITS).astype(np.float64))

    def products(self, activations: Tensor) -> Tensor:
        """Float64 [n, inputs + 1] -> [n, outputs], whole numbers to be shifted by ``shifts``."""
        return activations @ self.seen

    def pass_back(self, gradients: Tensor) -> Tensor:
        """Gradients of outputs -> of inputs but the last: float64, whole numbers in 2**-20 nats."""
        scaled = torch.empty_like(gradients)
        _scale(gradients.numpy(), self.shifts, scaled.numpy())
        return scaled @ self.seen[:-1].t()

    def take_in(self, activations: Tensor, gradients: Tensor) -> None:
        """Add up what a wave tells.

        Args:
            activations: as for :meth:`products`.
            gradients: float64 [n, outputs], whole numbers of at most 2**22.
        """
        self._sums.addmm_(activations.t(), gradients)

    def update(self, turn: int, rate: int) -> None:
        """Make a step by what was added up since the last one; ``turn`` is their number."""
        _update(
            self._sums.numpy(),
            self._weights,
            self._means,
            self._squares,
            self._paces,
            self._most,
            turn % _TURNS,
            rate,
            self.seen.numpy(),
        )
        self._sums.zero_()


@compiled
def _update(
    sums: Floats,
    weights: Integers,
    means: Integers,
    squares: Integers,
    paces: Integers,
    most: Integers,
    turn: int,
    rate: int,
    seen: Floats,
) -> None:
    for i in range(len(weights)):
        for j in range(weights.shape[1]):
            gradient = limited(np.int64(sums[i, j]) >> _SUM_SHIFT, _SUM_MOST)
            means[i, j] += (16 * gradient - means[i, j]) >> 2
            squares[i, j] += (gradient * gradient - squares[i, j]) >> 7
        if i % _TURNS == turn:
            for j in range(weights.shape[1]):
                # Exact: the root of a whole number below 2**52 is never rounded up to another.
                root = np.int64(math.sqrt(np.float64(squares[i, j])))
                paces[i, j] = np.int64(np.float64(1 << _PACE_BITS) / np.float64(root + 1))
        for j in range(weights.shape[1]):
            step = limited((means[i, j] * paces[i, j]) >> 18, _STEP_ONE)
            weight = limited(weights[i, j] - ((step * rate) >> 8), most[i])
            weights[i, j] = weight
            seen[i, j] = np.float64((weight + (1 << _UNSEEN_BITS >> 1)) >> _UNSEEN_BITS)


@compiled
def _scale(gradients: Floats, shifts: Integers, scaled: Floats) -> None:
    """Those of outputs -> of sums of products of int8 weights, in 2**-28."""
    for n in range(len(gradients)):
        for j in range(len(shifts)):
            scaled[n, j] = np.float64((np.int64(gradients[n, j]) << 8) >> (shifts[j] - SEEN_BITS))


class LearningHead:
    """Two layers, with a ReLU between them, that learn.

    Attributes:
        inputs: count, the constant one included.
    """

    def __init__(
        self, hidden: IntegerLayer, output: IntegerLayer, rows: Integers, constant: int
    ) -> None:
        """Start from two layers; ``rows`` and ``constant``: see :class:`LearningLayer`."""
        units = hidden.weight.shape[1]
        self._hidden = LearningLayer(hidden, rows, constant)
        self._output = LearningLayer(output, np.arange(units), units)
        self.inputs = len(self._hidden.seen)

    def __call__(self, inputs: Tensor) -> tuple[Tensor, npt.NDArray[np.int32]]:
        """Run.

        Args:
            inputs: float64 [n, inputs], whole numbers.

        Returns:
            Hidden units, float64 [n, units + 1], whole numbers in 0..127, and the outputs, int32
            [n, outputs].
        """
        products = self._hidden.products(inputs)
        units = torch.empty((len(inputs), products.shape[1] + 1), dtype=torch.float64)
        _shift_relu(products.numpy(), self._hidden.shifts, units.numpy())
        products = self._output.products(units)
        outputs = np.empty(products.shape, np.int32)
        _shift(products.numpy(), self._output.shifts, outputs)
        return units, outputs

    def take_in(self, inputs: Tensor, units: Tensor, gradients: Tensor) -> None:
        """Add up what a wave tells: what it gave, and gradients of the outputs."""
        self._output.take_in(units, gradients)
        of_units = self._output.pass_back(gradients)
        _pass_relu(units.numpy(), of_units.numpy())
        self._hidden.take_in(inputs, of_units)

    def update(self, turn: int, rate: int) -> None:
        """Make a step."""
        self._hidden.update(turn, rate)
        self._output.update(turn, rate)


@compiled
def _shift_relu(products: Floats, shifts: Integers, units: Floats) -> None:
    for n in range(len(products)):
        for j in range(len(shifts)):
            units[n, j] = np.float64(min(max(np.int64(products[n, j]) >> shifts[j], 0), 127))
        units[n, len(shifts)] = np.float64(CONSTANT)


@compiled
def _shift(products: Floats, shifts: Integers, outputs: Integers) -> None:
    for n in range(len(products)):
        for j in range(len(shifts)):
            outputs[n, j] = np.int32(np.int64(products[n, j]) >> shifts[j])


@compiled
def _pass_relu(units: Floats, gradients: Floats) -> None:
    """Through the ReLU, where a unit is at no limit; from 2**-34 to 2**-20."""
    for n in range(len(gradients)):
        for j in range(gradients.shape[1]):
            gradient = limited(np.int64(gradients[n, j]) >> (8 + SEEN_BITS), MOST)
            gradients[n, j] = np.float64(gradient) if 0 < units[n, j] < 127 else 0.0
