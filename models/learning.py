"""Layers that learn from each wave as it is coded: backward adaptation, in exact integers.

Encoder and decoder both know the samples of a wave once it is coded. Both then move the weights by
a step against the gradient of the wave's bits, so nothing needs to be told: the file holds no
changes, and the network suits the image better from wave to wave ("dynamic evaluation", Krause et
al. 2018). The step is that of Adam (Kingma and Ba 2015), each weight at its own pace, with a limit.
As in the former, weights fall back to where they began: on large, smooth images they would drift.

All of it is integers, so that every machine learns the same. A weight has 16 fractional bits below
a step of the layer's int8 weights, of which products see six. Products with what has more than 8
bits are products of int8 digits to base 128, so that the back ends of :mod:`pixelcodec.exact` do
them. docs/FORMAT.md ("Learning") defines every step.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.models.layers import STREAM_TO_ACTIVATION
from pixelcodec.models.mixture_gradient import MOST, limited
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import MAX_FAN_IN, Arithmetic

Integers = npt.NDArray[Any]

RATES = (8, 16, 32)

SEEING = 1
"""What a file calls that the layers of wavefront networks stay, and colours are seen alone."""

LEAST_PIXELS = 128
"""An update waits for so many pixels, at least."""

CONSTANT = 64
"""Biases are the weights of an input that is always this."""

SEEN_BITS = 6
_FRACTION_BITS = 16
_UNSEEN_BITS = _FRACTION_BITS - SEEN_BITS
_WEIGHT_MOST = 127 << _FRACTION_BITS
_BIAS_BITS = _FRACTION_BITS - 6
_BIAS_MOST = 2**28 << _BIAS_BITS

_BASE_BITS = 7
_HALF = 1 << (_BASE_BITS - 1)
_BACK_BITS = 4
"""Fractional bits that gradients get on their way back, to be shifted as outputs were."""

_DIGITS = 3
"""Of a gradient; a weight has two."""

_SUM_SHIFT = 6
_SUM_MOST = 2**26 - 1
_STEP_ONE = 2**16
_LEAST_ROOT = 2**8
"""Added to the root of a weight's squared gradients, so that tiny gradients make small steps."""

_FALL_BITS = 11
"""In an update a weight falls back by this share, as a shift, of how far it has come."""

_TURNS = 8
"""The pace of an input's weights is renewed in one of so many updates."""


class Learning(NamedTuple):
    """How a network learns.

    Attributes:
        rate: the most a weight of a head moves in an update, in 1/256 of a step of the int8
            weights; one of a block moves half as much.
        depth: how many of the last blocks learn, beside the heads.
    """

    rate: int
    depth: int

    @classmethod
    def of(cls, code: int) -> Self:
        """What a file calls ``code``, 2 to 15."""
        depth, rate = divmod(code - 1, len(RATES))
        return cls(RATES[rate], depth)


class LearningLayer:
    """A layer ``(activations @ weight + bias) >> shift`` whose weights and biases learn."""

    def __init__(
        self,
        layer: IntegerLayer,
        arithmetic: Arithmetic,
        rows: Integers | None = None,
        inputs: int | None = None,
    ) -> None:
        """Start from ``layer``.

        Args:
            layer: what it is at first.
            arithmetic: of the host.
            rows: int64 [inputs of the layer], the place of each among the inputs here. The others
                start with weights of 0. None: the inputs are those of the layer.
            inputs: count.
        """
        own, outputs = layer.weight.shape
        rows, inputs = np.arange(own) if rows is None else rows, inputs or own
        self._arithmetic = arithmetic
        self._shifts = layer.shift.numpy().astype(np.int64)
        weights = np.zeros((outputs, inputs + 1), np.int64)  # the last column are biases
        weights[:, rows] = layer.weight.t().numpy().astype(np.int64) << _FRACTION_BITS
        biases = layer.bias.numpy().astype(np.int64) << _BIAS_BITS
        weights[:, -1] = biases.clip(-_BIAS_MOST, _BIAS_MOST)
        self._weights, self._first = weights, weights.copy()
        self._sums, self._means, self._squares, self._paces = np.zeros(
            (4, *weights.shape), np.int64
        )
        self._digits = torch.empty((2 * outputs, inputs), dtype=torch.int8)
        self._by_inputs, self._on_host = self._digits.t(), self._digits.numpy()
        self._biases = np.empty(outputs, np.int64)
        _see(self._weights, self._on_host, self._biases)

    def __call__(self, activations: Tensor) -> npt.NDArray[np.int32]:
        """Int8 [n, inputs] -> int32 [n, outputs]."""
        products = self._arithmetic.products(activations, self._by_inputs)
        out = np.empty((activations.shape[0], len(self._shifts)), np.int32)
        _join(products.numpy(), self._biases, self._shifts, out)
        return out

    def relu(self, activations: Tensor) -> Tensor:
        """The same, limited to 0..127: int8."""
        products = self._arithmetic.products(activations, self._by_inputs)
        out = torch.empty((activations.shape[0], len(self._shifts)), dtype=torch.int8)
        _join_relu(products.numpy(), self._biases, self._shifts, out.numpy())
        return out

    def pass_back(self, gradients: Integers, inputs: Tensor, first: int = 0) -> Integers:
        """Gradients of outputs -> of inputs that came out of a ReLU.

        Args:
            gradients: int32 [n, outputs].
            inputs: int8 [n, m], those from ``first`` on.
            first: of the inputs.

        Returns:
            int32 [n, m]; 0 where an input is at a limit of the ReLU.
        """
        n, outputs = gradients.shape
        digits = torch.empty((_DIGITS * n, outputs), dtype=torch.int8)
        _scale(gradients, self._shifts, digits.numpy())
        high = self._digits[:outputs, first : first + inputs.shape[1]].contiguous()
        products = self._arithmetic.products(digits, high)
        out = np.empty(inputs.shape, np.int32)
        _join_back(products.numpy(), inputs.numpy(), out)
        return out

    def take_in(self, activations: Tensor, gradients: Integers) -> None:
        """Add up what a wave tells.

        Args:
            activations: int8 [n, inputs], contiguous.
            gradients: int32 [n, outputs], within -:data:`MOST` .. :data:`MOST`.
        """
        for start in range(0, len(gradients), MAX_FAN_IN):  # pixels are the inputs of this product
            part = slice(start, start + MAX_FAN_IN)
            own = gradients[part]
            digits = torch.empty((_DIGITS * own.shape[1], len(own)), dtype=torch.int8)
            _split(own, digits.numpy())
            products = self._arithmetic.products(digits, activations[part])
            _add(products.numpy(), own, self._sums)

    def update(self, turn: int, rate: int) -> None:
        """Make a step by what was added up since the last one; ``turn`` is their number."""
        _update(
            self._weights,
            self._first,
            self._sums,
            self._means,
            self._squares,
            self._paces,
            turn % _TURNS,
            rate,
        )
        _see(self._weights, self._on_host, self._biases)


@compiled
def _see(weights: Integers, digits: Integers, biases: Integers) -> None:
    outputs, inputs = len(biases), digits.shape[1]
    half = 1 << (_UNSEEN_BITS - 1)
    for j in range(outputs):
        for i in range(inputs):
            seen = (weights[j, i] + half) >> _UNSEEN_BITS
            high = (seen + _HALF) >> _BASE_BITS
            digits[j, i] = high
            digits[outputs + j, i] = seen - (high << _BASE_BITS)
        biases[j] = ((weights[j, inputs] + half) >> _UNSEEN_BITS) * CONSTANT


@compiled
def _join(products: Integers, biases: Integers, shifts: Integers, out: Integers) -> None:
    outputs = len(shifts)
    for n in range(len(out)):
        for j in range(outputs):
            high, low = np.int64(products[n, j]), np.int64(products[n, outputs + j])
            value = (high << _BASE_BITS) + low + biases[j]
            out[n, j] = value >> (shifts[j] + SEEN_BITS)


@compiled
def _join_relu(products: Integers, biases: Integers, shifts: Integers, out: Integers) -> None:
    outputs = len(shifts)
    for n in range(len(out)):
        for j in range(outputs):
            high, low = np.int64(products[n, j]), np.int64(products[n, outputs + j])
            value = (high << _BASE_BITS) + low + biases[j]
            out[n, j] = min(max(value >> (shifts[j] + SEEN_BITS), 0), 127)


@compiled
def _scale(gradients: Integers, shifts: Integers, digits: Integers) -> None:
    """Gradients of outputs to those of sums, in digits [3 n, outputs], the low ones first."""
    count = len(gradients)
    for n in range(count):
        for j in range(len(shifts)):
            scaled = limited((np.int64(gradients[n, j]) << _BACK_BITS) >> shifts[j], MOST)
            low, middle, high = _digits_of(scaled)
            digits[n, j], digits[count + n, j], digits[2 * count + n, j] = low, middle, high


@compiled
def _digits_of(value: Any) -> Any:
    rest = (value + _HALF) >> _BASE_BITS
    high = (rest + _HALF) >> _BASE_BITS
    return value - (rest << _BASE_BITS), rest - (high << _BASE_BITS), high


@compiled
def _join_back(products: Integers, inputs: Integers, out: Integers) -> None:
    count = len(out)
    for n in range(count):
        for i in range(out.shape[1]):
            value = np.int64(products[2 * count + n, i])
            value = (value << _BASE_BITS) + products[count + n, i]
            value = (value << _BASE_BITS) + products[n, i]
            inside = 0 < inputs[n, i] < 127
            out[n, i] = limited(value >> (_BACK_BITS - 1), MOST) if inside else 0


@compiled
def _split(gradients: Integers, digits: Integers) -> None:
    """Gradients to digits, [3 outputs, n], the low ones first."""
    outputs = gradients.shape[1]
    for j in range(outputs):
        for n in range(len(gradients)):
            low, middle, high = _digits_of(gradients[n, j])
            digits[j, n], digits[outputs + j, n], digits[2 * outputs + j, n] = low, middle, high


@compiled
def _add(products: Integers, gradients: Integers, sums: Integers) -> None:
    inputs, outputs = products.shape[1], gradients.shape[1]
    for j in range(outputs):
        for i in range(inputs):
            value = np.int64(products[2 * outputs + j, i])
            value = (value << _BASE_BITS) + products[outputs + j, i]
            sums[j, i] += (value << _BASE_BITS) + products[j, i]
    for n in range(len(gradients)):
        for j in range(outputs):
            sums[j, inputs] += CONSTANT * np.int64(gradients[n, j])


@compiled
def _update(
    weights: Integers,
    first: Integers,
    sums: Integers,
    means: Integers,
    squares: Integers,
    paces: Integers,
    turn: int,
    rate: int,
) -> None:
    inputs = weights.shape[1] - 1
    for j in range(len(weights)):
        for i in range(inputs + 1):
            gradient = limited(sums[j, i] >> _SUM_SHIFT, _SUM_MOST)
            sums[j, i] = 0
            means[j, i] += (16 * gradient - means[j, i]) >> 2
            squares[j, i] += (gradient * gradient - squares[j, i]) >> 7
        for i in range(turn, inputs + 1, _TURNS):
            # Exact: the root of a whole number below 2**52 is never rounded up to another.
            root = np.int64(math.sqrt(np.float64(squares[j, i])))
            paces[j, i] = np.int64(np.float64(2**30) / np.float64(root + _LEAST_ROOT))
        for i in range(inputs + 1):
            step = limited((means[j, i] * paces[j, i]) >> 18, _STEP_ONE)
            most = _WEIGHT_MOST if i < inputs else _BIAS_MOST
            fall = (weights[j, i] - first[j, i]) >> _FALL_BITS
            weights[j, i] = limited(weights[j, i] - ((step * rate) >> 8) - fall, most)


class LearningPair:
    """Two layers, with a ReLU between them, that learn: a head, or a block."""

    def __init__(
        self,
        hidden: IntegerLayer,
        output: IntegerLayer,
        arithmetic: Arithmetic,
        rows: Integers | None = None,
        inputs: int | None = None,
    ) -> None:
        """Start from two layers; ``rows`` and ``inputs``: see :class:`LearningLayer`."""
        self._hidden = LearningLayer(hidden, arithmetic, rows, inputs)
        self._output = LearningLayer(output, arithmetic)

    def __call__(self, inputs: Tensor) -> tuple[Tensor, npt.NDArray[np.int32]]:
        """Run: int8 [n, inputs] -> hidden units, int8 [n, units], and int32 [n, outputs]."""
        units = self._hidden.relu(inputs)
        return units, self._output(units)

    def take_in(self, inputs: Tensor, units: Tensor, gradients: Integers) -> Integers:
        """Add up what a wave tells: what came in and between, gradients of what came out.

        Returns:
            int32 [n, units], gradients of the hidden units.
        """
        self._output.take_in(units, gradients)
        of_units = self._output.pass_back(gradients, units)
        self._hidden.take_in(inputs, of_units)
        return of_units

    def pass_back(self, of_units: Integers, inputs: Tensor, first: int = 0) -> Integers:
        """Gradients of hidden units -> of inputs, see :meth:`LearningLayer.pass_back`."""
        return self._hidden.pass_back(of_units, inputs, first)

    def update(self, turn: int, rate: int) -> None:
        """Make a step."""
        self._hidden.update(turn, rate)
        self._output.update(turn, rate)


class LearningBlock:
    """A block that learns, on the host. It keeps what went through it last."""

    def __init__(self, spatial: IntegerLayer, mix: IntegerLayer, arithmetic: Arithmetic) -> None:
        """Start from two layers; ``arithmetic``: of the layers around."""
        self._pair = LearningPair(spatial, mix, arithmetic.host)
        self._device = arithmetic.device
        self._own = len(spatial.weight) - mix.weight.shape[1]  # the last tap is the pixel's own

    def __call__(self, taps: Tensor) -> Tensor:
        """Int8 [pixels, 5 * width] -> what is added to the stream, int32 [pixels, width]."""
        self._taps = taps.cpu()
        self._units, change = self._pair(self._taps)
        return torch.from_numpy(change).to(self._device)

    def take_in(self, of_stream: Integers) -> Integers:
        """Add up what gradients of the stream (int32 [pixels, width]) tell.

        Returns:
            int32 [pixels, hidden], gradients of the hidden units.
        """
        return self._pair.take_in(self._taps, self._units, of_stream)

    def pass_back(self, of_units: Integers) -> Integers:
        """Gradients of the hidden units -> of the stream, where the block sees it."""
        own = self._taps[:, self._own :].contiguous()
        found: Integers = self._pair.pass_back(of_units, own, self._own) >> STREAM_TO_ACTIVATION
        return found

    def update(self, turn: int, rate: int) -> None:
        """Make a step, half as long as those of heads."""
        self._pair.update(turn, rate // 2)


def last_blocks(
    layers: Mapping[str, IntegerLayer], arithmetic: Arithmetic, count: int, depth: int
) -> dict[str, LearningBlock]:
    """The last ``depth`` of ``count`` blocks, if they are fewer all, by their planes."""
    return {
        f"spatial.{i}": LearningBlock(layers[f"spatial.{i}"], layers[f"mix.{i}"], arithmetic)
        for i in range(max(0, count - depth), count)
    }


def teach(blocks: Sequence[LearningBlock], of_activations: Integers) -> None:
    """Tell ``blocks`` of gradients of the trunk's activations, int32 [pixels, width]."""
    of_stream = of_activations >> STREAM_TO_ACTIVATION
    for block in reversed(blocks):
        of_units = block.take_in(of_stream)
        if block is not blocks[0]:  # what is below stays
            of_stream = of_stream + block.pass_back(of_units)


class Updates:
    """Makes the steps of a network's layers, once they were told of enough pixels."""

    def __init__(
        self,
        learners: Sequence[LearningLayer | LearningPair | LearningBlock],
        rate: int,
        least_pixels: int = LEAST_PIXELS,
    ) -> None:
        """Take what learns.

        Args:
            learners: the layers, in the order of their steps.
            rate: the most that a weight of a head moves in a step, see :class:`Learning`.
            least_pixels: a step waits for so many pixels, at least.
        """
        self._learners, self._rate, self._least_pixels = learners, rate, least_pixels
        self._turn, self._pixels = 0, 0

    def count(self, pixels: int) -> None:
        """All were told of so many more ``pixels``."""
        self._pixels += pixels
        if self._pixels >= self._least_pixels:
            for learner in self._learners:
                learner.update(self._turn, self._rate)
            self._turn, self._pixels = self._turn + 1, 0
