"""Exact integer arithmetic: the GEMM back ends, their known-answer test, and integer layers.

Everything between pixels and probability tables is integers, so that a table depends on the
weights and the context alone, never on the device, the number of threads, the shape of a batch,
or the kernel that ran. A back end is a way to compute one thing, the product of an int8 matrix
of activations and an int8 matrix of weights in int32:

========  =====================================  ==============================================
name      runs as                                exact because
========  =====================================  ==============================================
int8      ``torch._int_mm``                      the hardware adds in int32
float32   ``matmul`` of whole numbers in float   every partial sum is below 2**24
int64     ``matmul`` in int64 (CPU only)         it is the definition
========  =====================================  ==============================================

A fast back end must prove itself on the machine at hand by :func:`known_answer_test` before it
is used: some kernels add int8 products in saturating int16, and others round to TF32 or bf16.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import BackendError, ModelError
from pixelcodec.models.lstm import (
    CELL_BITS,
    CELL_LIMIT,
    GATE_BITS,
    GATE_LIMIT,
    STATE_BITS,
    STATE_LIMIT,
)
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import MAX_FAN_IN, LSTMTables

Integers = npt.NDArray[Any]

ACTIVATION_MAX = 127
"""Activations are in -127..127 (after a ReLU in 0..127)."""

FLOAT32_EXACT = 2**24
"""Whole numbers of at most this magnitude are exact in float32."""

SMALL_PRODUCT = 2**15
"""On the CPU, products of so few multiply-accumulates are a compiled loop: back ends take longer to
call."""

ENVIRONMENT_VARIABLE = "PIXELCODEC_BACKEND"


class Backend(ABC):
    """A way to multiply int8 matrices exactly."""

    name: str

    @abstractmethod
    def prepare(self, weight: Tensor) -> Tensor:
        """Bring ``weight`` (int8, [inputs, outputs]) into the form that :meth:`matmul` takes."""

    def multiply(self, first: Tensor, second: Tensor) -> Tensor:
        """Multiply int8 matrices on the host, the first contiguous, the second in any layout."""
        return self.matmul(first, self.prepare(second))

    @abstractmethod
    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:
        """Multiply ``activations`` (int8, [rows, inputs], contiguous): int32 [rows, outputs]."""


class Int8Backend(Backend):
    """``torch._int_mm``: int8 x int8 -> int32 in hardware (VNNI, AMX, tensor cores)."""

    name = "int8"
    _cuda_multiple = 8  # CUDA wants inputs and outputs in multiples of 8
    _cuda_rows = 17  # and more than 16 rows

    def prepare(self, weight: Tensor) -> Tensor:  # noqa: D102
        if weight.is_cuda:
            inputs, outputs = weight.shape
            padding = (0, -outputs % self._cuda_multiple, 0, -inputs % self._cuda_multiple)
            weight = torch.nn.functional.pad(weight, padding)
        # Column-major weights are what the kernels of CPU and CUDA read fastest.
        return weight.t().contiguous().t()

    def multiply(self, first: Tensor, second: Tensor) -> Tensor:  # noqa: D102
        if first.shape[1] == 1:  # a column: torch takes its layout for another
            return first.to(torch.int32) * second.to(torch.int32)
        return torch._int_mm(first, second)

    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:  # noqa: D102
        if not activations.is_cuda:
            return self.multiply(activations, prepared)
        rows, inputs = activations.shape
        padding = (0, prepared.shape[0] - inputs, 0, max(0, self._cuda_rows - rows))
        if any(padding):
            activations = torch.nn.functional.pad(activations, padding)
        return torch._int_mm(activations, prepared)[:rows]


class Float32Backend(Backend):
    """Whole numbers in float32: exact in any order of summation below 2**24."""

    name = "float32"

    def prepare(self, weight: Tensor) -> Tensor:  # noqa: D102
        return weight.to(torch.float32)

    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:  # noqa: D102
        return (activations.to(torch.float32) @ prepared).to(torch.int32)


class Int64Backend(Backend):
    """The reference: int64 throughout. Slow, and for the CPU only."""

    name = "int64"

    def prepare(self, weight: Tensor) -> Tensor:  # noqa: D102
        if weight.is_cuda:
            raise BackendError("back end int64 runs on the CPU only; use --device cpu")
        return weight.to(torch.int64)

    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:  # noqa: D102
        return (activations.to(torch.int64) @ prepared).to(torch.int32)


BACKENDS: dict[str, Callable[[], Backend]] = {
    backend.name: backend for backend in (Int8Backend, Float32Backend, Int64Backend)
}


def known_answer_test(backend: Backend, device: torch.device) -> bool:
    """Whether ``backend`` multiplies exactly on ``device``.

    The operands hold the worst cases: rows of nothing but +127 or -127 against columns of the
    same (the largest sums, and the ones that saturate int16 pairs), alternating signs, and
    pseudo-random values, at fan-ins of 1 to :data:`MAX_FAN_IN` and odd numbers of rows.
    """
    for rows, inputs, outputs in _TESTED:
        activations, weight = _worst_case(rows, inputs, outputs)
        expected = activations.to(torch.int64) @ weight.to(torch.int64)
        try:
            prepared = backend.prepare(weight.to(device))
            found = [backend.matmul(activations.to(device), prepared)[:, :outputs]]
            if device.type == "cpu":
                layouts = weight, weight.t().contiguous().t()
                found += [backend.multiply(activations, layout) for layout in layouts]
        except (RuntimeError, BackendError):
            return False
        if any(each.dtype != torch.int32 for each in found):
            return False
        if not all(torch.equal(each.cpu().to(torch.int64), expected) for each in found):
            return False
    return True


_TESTED = (
    (1, 64, 32),
    (23, 320, 64),
    (61, 72, 96),
    (19, MAX_FAN_IN, 16),
    *((35, inputs, 24) for inputs in (1, 2, 3, 5, 7, 9, 69)),
)


def _worst_case(rows: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(inputs)
    activations = torch.randint(-127, 128, (rows, inputs), generator=generator, dtype=torch.int8)
    weight = torch.randint(-127, 128, (inputs, outputs), generator=generator, dtype=torch.int8)
    alternating = torch.where(torch.arange(inputs) % 2 == 0, 127, -127).to(torch.int8)
    activations[0] = 127
    activations[rows // 2] = alternating
    activations[-1] = -127 if rows > 1 else 127
    weight[:, 0], weight[:, 1], weight[:, 2] = 127, -127, alternating
    return activations, weight


def select_backend(name: str | None, device: torch.device) -> Backend:
    """The back end called ``name``, or the fastest that proves exact on ``device``.

    Args:
        name: ``int8``, ``float32``, ``int64``, ``auto``, or None for the value of the
            environment variable ``PIXELCODEC_BACKEND`` (``auto`` when unset).
        device: where it is to run.

    Raises:
        BackendError: ``name`` is unknown, or fails its known-answer test on ``device``.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE) or "auto"
    if name == "auto":
        return _fastest_backend(device)
    if name not in BACKENDS:
        choices = ", ".join(["auto", *BACKENDS])
        raise BackendError(f"unknown back end {name!r}; choose one of {choices}")
    backend = BACKENDS[name]()
    if not known_answer_test(backend, device):
        raise BackendError(
            f"back end {name} does not compute exactly on {device}; use another, or auto"
        )
    return backend


_fastest: dict[torch.device, Backend] = {}


def _fastest_backend(device: torch.device) -> Backend:
    """The fastest exact back end on ``device``, found once in a process.

    The reference is for where no other is exact: on a busy machine it may win a race of
    microseconds, and would lose all those after it.
    """
    if device not in _fastest:
        exact = [b for make in BACKENDS.values() if known_answer_test(b := make(), device)]
        if not exact:
            raise BackendError(f"no back end computes exactly on {device}")
        racers = [b for b in exact if not isinstance(b, Int64Backend)] or exact
        _fastest[device] = min(racers, key=lambda backend: _seconds(backend, device))
    return _fastest[device]


def _seconds(backend: Backend, device: torch.device) -> float:
    """Best of a few timings of a product of the size that decoding runs."""
    activations, weight = (t.to(device) for t in _worst_case(256, 320, 64))
    prepared = backend.prepare(weight)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        backend.matmul(activations, prepared).cpu()
        best = min(best, time.perf_counter() - start)
    return best


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Shut out what a caller may have set in torch: autocast, gradients, a default device."""
    # Entered only where needed: it sends every call through Python, half as slow again.
    on_host = torch.get_default_device().type == "cpu"
    default = nullcontext() if on_host else torch.device("cpu")
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), default:
        yield


class Arithmetic:
    """All that a network computes, on one device and by one back end.

    On the CPU the work between products is compiled to one pass over the numbers; waves are so
    small that calls, not numbers, take the time. Elsewhere it is a few calls of torch.
    """

    def __init__(self, device: torch.device, backend: str | None = None) -> None:
        """Select the back end, see :func:`select_backend`."""
        self.device = device
        self.backend = select_backend(backend, device)

    @property
    def host(self) -> "Arithmetic":
        """That of the CPU: itself, or one of its own."""
        return self if self.device.type == "cpu" else Arithmetic(torch.device("cpu"))

    def products(self, first: Tensor, second: Tensor) -> Tensor:
        """Multiply matrices that are used but once.

        Args:
            first: int8 [n, k], contiguous.
            second: int8 [k, m]; k at most :data:`MAX_FAN_IN`.

        Returns:
            int32 [n, m].
        """
        return self.backend.multiply(first, second)

    def linear(self, layer: IntegerLayer) -> "Linear":
        """Make ``layer`` ready to run.

        Raises:
            ModelError: sums of the layer could overflow a back end.
        """
        return Linear(layer, self.backend, self.device)

    def relu(self, values: Tensor, shift: int) -> Tensor:
        """``values >> shift`` (int32 [n, m]), limited to 0..127: int8."""
        if self.device.type != "cpu":
            return (values >> shift).clamp_(0, ACTIVATION_MAX).to(torch.int8)
        out = torch.empty(values.shape, dtype=torch.int8)
        _shift_relu(values.numpy(), shift, out.numpy())
        return out

    def lstm(self, gates: Tensor, cells: Tensor, tables: LSTMTables) -> tuple[Tensor, Tensor]:
        """Step LSTM cells, see :mod:`pixelcodec.models.lstm`.

        Nothing overflows int32: cells are below 2**15, what the tables give is at most 2**12, so
        ``f * c`` is below 2**27, ``i * g`` and ``o * tanh(c)`` are at most 2**24.

        Args:
            gates: int32 [n, 4h], in 1/128: o, f, i, g, each of h cells.
            cells: int16 [n, h], in 1/4096, above -2**15.
            tables: on the device.

        Returns:
            States, int8 [n, h], -127..127 in 1/128, and cells as above.
        """
        if self.device.type != "cpu":
            return _step_by_torch(gates, cells, tables)
        states = torch.empty(cells.shape, dtype=torch.int8)
        stepped = torch.empty(cells.shape, dtype=torch.int16)
        sigmoid, tanh = tables.sigmoid.numpy(), tables.tanh.numpy()
        _step(gates.numpy(), cells.numpy(), sigmoid, tanh, states.numpy(), stepped.numpy())
        return states, stepped


class Linear:
    """An integer layer that is ready to run, see :class:`IntegerLayer`."""

    def __init__(self, layer: IntegerLayer, backend: Backend, device: torch.device) -> None:
        check_no_overflow(layer)
        self._outputs = layer.weight.shape[1]
        self._backend, self._on_host = backend, device.type == "cpu"
        self._weight = backend.prepare(layer.weight.to(device))
        self._bias = layer.bias.to(device)
        self._shift = layer.shift.to(device, torch.int32)
        if self._on_host:
            wide = layer.weight.to(torch.int32)
            self._integers = wide.numpy(), self._bias.numpy(), self._shift.numpy()
            self._most_small = SMALL_PRODUCT // layer.weight.numel()

    def __call__(self, activations: Tensor) -> Tensor:
        """Int8 [n, inputs], contiguous -> int32 [n, outputs]."""
        if not self._on_host:
            return self._products(activations).add_(self._bias).bitwise_right_shift_(self._shift)
        if activations.shape[0] <= self._most_small:
            out = torch.empty(activations.shape[0], self._outputs, dtype=torch.int32)
            _small_product(activations.numpy(), *self._integers, out.numpy())
            return out
        sums = self._products(activations)
        _requantise(sums.numpy(), *self._integers[1:])
        return sums

    def relu(self, activations: Tensor) -> Tensor:
        """The same, limited to 0..127: int8 [n, outputs]."""
        if not self._on_host:
            return self(activations).clamp_(0, ACTIVATION_MAX).to(torch.int8)
        out = torch.empty(activations.shape[0], self._outputs, dtype=torch.int8)
        if activations.shape[0] <= self._most_small:
            _small_product_relu(activations.numpy(), *self._integers, out.numpy())
        else:
            sums = self._products(activations).numpy()
            _requantise_relu(sums, *self._integers[1:], out.numpy())
        return out

    def _products(self, activations: Tensor) -> Tensor:
        sums = self._backend.matmul(activations, self._weight)
        # Some back ends need padded outputs
        return sums if sums.shape[1] == self._outputs else sums[:, : self._outputs]


@compiled
def _sum_up(activations: Integers, weight: Integers, bias: Integers, sums: Integers) -> None:
    """Of one pixel."""
    for j in range(len(sums)):
        sums[j] = bias[j]
    for i in range(len(activations)):
        activation, row = np.int32(activations[i]), weight[i]
        if activation != 0:  # after a ReLU most are
            for j in range(len(sums)):
                sums[j] = np.int32(sums[j] + activation * row[j])


@compiled
def _small_product(
    activations: Integers, weight: Integers, bias: Integers, shift: Integers, out: Integers
) -> None:
    for n in range(len(out)):
        _sum_up(activations[n], weight, bias, out[n])
        for j in range(out.shape[1]):
            out[n, j] = out[n, j] >> shift[j]


@compiled
def _small_product_relu(
    activations: Integers, weight: Integers, bias: Integers, shift: Integers, out: Integers
) -> None:
    sums = np.empty(out.shape[1], np.int32)
    for n in range(len(out)):
        _sum_up(activations[n], weight, bias, sums)
        _limit(sums, shift, out[n])


@compiled
def _limit(sums: Integers, shift: Integers, out: Integers) -> None:
    low, high = np.int32(0), np.int32(ACTIVATION_MAX)  # numba widens to 64 bits where it can
    for j in range(len(out)):
        out[j] = min(max(np.int32(sums[j] >> shift[j]), low), high)


@compiled
def _requantise(sums: Integers, bias: Integers, shift: Integers) -> None:
    for n in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[n, j] = np.int32(sums[n, j] + bias[j]) >> shift[j]


@compiled
def _requantise_relu(sums: Integers, bias: Integers, shift: Integers, out: Integers) -> None:
    low, high = np.int32(0), np.int32(ACTIVATION_MAX)  # numba widens to 64 bits where it can
    for n in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            value = np.int32(np.int32(sums[n, j] + bias[j]) >> shift[j])
            out[n, j] = min(max(value, low), high)


@compiled
def _shift_relu(values: Integers, shift: int, out: Integers) -> None:
    low, high = np.int32(0), np.int32(ACTIVATION_MAX)
    for n in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[n, j] = min(max(np.int32(values[n, j] >> shift), low), high)


_CELL_HALF = 1 << (CELL_BITS - 1)
_CELL_TO_GATE = CELL_BITS - GATE_BITS
_CELL_TO_GATE_HALF = 1 << (_CELL_TO_GATE - 1)
_TO_STATE = 2 * CELL_BITS - STATE_BITS
_TO_STATE_HALF = 1 << (_TO_STATE - 1)


@compiled
def _look_up(table: Integers, value: Any) -> Any:
    return table[min(max(value, -GATE_LIMIT), GATE_LIMIT - 1) + GATE_LIMIT]


@compiled
def _step(
    gates: Integers,
    cells: Integers,
    sigmoid: Integers,
    tanh: Integers,
    states: Integers,
    stepped: Integers,
) -> None:
    h = cells.shape[1]
    for n in range(cells.shape[0]):
        for j in range(h):
            o = _look_up(sigmoid, gates[n, j])
            f = _look_up(sigmoid, gates[n, j + h])
            i = _look_up(sigmoid, gates[n, j + 2 * h])
            g = _look_up(tanh, gates[n, j + 3 * h])
            c = (f * cells[n, j] + i * g + _CELL_HALF) >> CELL_BITS
            c = min(max(c, -CELL_LIMIT), CELL_LIMIT)
            bent = _look_up(tanh, (c + _CELL_TO_GATE_HALF) >> _CELL_TO_GATE)
            state = (o * bent + _TO_STATE_HALF) >> _TO_STATE
            states[n, j] = min(max(state, -STATE_LIMIT), STATE_LIMIT)
            stepped[n, j] = c


def _step_by_torch(gates: Tensor, cells: Tensor, tables: LSTMTables) -> tuple[Tensor, Tensor]:
    """The same, by calls of torch."""

    def look_up(table: Tensor, values: Tensor) -> Tensor:
        return table[values.clamp(-GATE_LIMIT, GATE_LIMIT - 1) + GATE_LIMIT].to(torch.int32)

    h = cells.shape[1]
    o, f, i = look_up(tables.sigmoid, gates[:, : 3 * h]).chunk(3, 1)
    g = look_up(tables.tanh, gates[:, 3 * h :])
    c = (f * cells + i * g + _CELL_HALF) >> CELL_BITS
    c = c.clamp_(-CELL_LIMIT, CELL_LIMIT)
    bent = look_up(tables.tanh, (c + _CELL_TO_GATE_HALF) >> _CELL_TO_GATE)
    state = (o * bent + _TO_STATE_HALF) >> _TO_STATE
    return state.clamp_(-STATE_LIMIT, STATE_LIMIT).to(torch.int8), c.to(torch.int16)


def check_no_overflow(layer: IntegerLayer) -> None:
    """Refuse a layer whose sums could overflow a back end.

    Raises:
        ModelError: more than :data:`MAX_FAN_IN` inputs, a weight of -128, a shift above 31, or
            ``sum |w| * 127 + |b|`` of an output reaches 2**24.
    """
    if layer.weight.shape[0] > MAX_FAN_IN:
        raise ModelError(f"a layer has {layer.weight.shape[0]} inputs; exact are {MAX_FAN_IN}")
    magnitude = layer.weight.to(torch.int64).abs()
    if int(magnitude.max()) > ACTIVATION_MAX:
        raise ModelError("a weight is -128; int8 weights must be in -127..127")
    if int(layer.shift.max()) > 31:
        raise ModelError(f"a shift is {int(layer.shift.max())}; shifts must be in 0..31")
    largest = int((magnitude.sum(0) * ACTIVATION_MAX + layer.bias.to(torch.int64).abs()).max())
    if largest >= FLOAT32_EXACT:
        raise ModelError(f"sums of a layer could reach {largest}; exact are those below 2**24")
