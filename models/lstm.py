"""The LSTM cell of Row LSTM and Diagonal BiLSTM, in float for training and in integers for coding.

"Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3, equation 3::

    [o, f, i, g] = [sigmoid, sigmoid, sigmoid, tanh](K_ss * states before + K_is * input)
    c = f * cells before + i * g
    h = o * tanh(c)

Both layers run it line by line: of the image, or of the skewed image. Both convolutions together
are one product of all that a pixel sees, :class:`Gates`, so that their sum is exact.

In integers the gates are looked up: their arguments are multiples of 1/128, the entries of both
tables multiples of 1/4096, as the cells are. States are multiples of 1/128 in int8. To layers, for
which int8 counts sixteenths, they look eight times as large; so they do in the float network.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError
from pixelcodec.models.grouped import channel_mask, group_slices
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import Arithmetic, Canvas, Linear, LSTMTables
from pixelcodec.models.quantise import integer_layer

GATES = 4
"""In the order o, f, i, g."""

GATE_BITS = 7
"""Fractional bits of what the tables take."""

GATE_LIMIT = 8 << GATE_BITS
"""The tables take whole numbers from ``-GATE_LIMIT`` up to ``GATE_LIMIT - 1``."""

CELL_BITS = 12
"""Fractional bits of cells, and of what the tables give."""

CELL_LIMIT = 2**15 - 1

STATE_BITS = 7
STATE_LIMIT = 127
_STATE_SCALE = 2.0 ** (STATE_BITS - ACTIVATION_BITS)

Floats = npt.NDArray[np.float32]


# Tables ------------------------------------------------------------------------------------------


def integer_tables() -> dict[str, Tensor]:
    """The tables of the gates, shipped with each model.

    Returns:
        ``sigmoid`` and ``tanh``: int16 [2048], of -8, -8 + 1/128, ... in 1/4096.
    """
    values = torch.arange(-GATE_LIMIT, GATE_LIMIT, dtype=torch.float64) / 2**GATE_BITS
    return {
        name: torch.round(function(values) * 2**CELL_BITS).to(torch.int16)
        for name, function in (("sigmoid", torch.sigmoid), ("tanh", torch.tanh))
    }


def check_tables(tables: Mapping[str, Tensor]) -> None:
    """Refuse tables by which cells could overflow.

    Raises:
        ModelError: ``sigmoid`` or ``tanh`` is not int16 [2048], or does not rise from 0 or more, or
            -4096 or more, to at most 4096.
    """
    one = 2**CELL_BITS
    for name, lowest in (("sigmoid", 0), ("tanh", -one)):
        table = tables.get(name)
        if table is None or table.dtype != torch.int16 or table.shape != (2 * GATE_LIMIT,):
            raise ModelError(f"the table {name} of an LSTM must be {2 * GATE_LIMIT} int16 numbers")
        rises = bool((table[1:] >= table[:-1]).all())
        if not rises or table[0] < lowest or table[-1] > one:
            raise ModelError(f"the table {name} of an LSTM must rise from {lowest} to {one}")


def ready_tables(tables: Mapping[str, Tensor], device: torch.device) -> LSTMTables:
    """The tables on ``device``.

    Raises:
        ModelError: see :func:`check_tables`.
    """
    check_tables(tables)
    return LSTMTables(tables["sigmoid"].to(device), tables["tanh"].to(device))


# Layers ------------------------------------------------------------------------------------------


class Gates(MaskedConv2d):
    """Input-to-state and state-to-state convolution in one.

    Its inputs are taps: of the layer's input the pixels to the left, nearest last, and the pixel
    itself, then of the states of the line before, then of the maps that the layer is biased by, all
    in one row.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        groups: int,
        input_taps: int,
        state_taps: int,
        maps: int = 0,
    ) -> None:
        """Make them with random weights, and a bias of 1 that keeps forget gates open.

        Args:
            inputs: feature maps of the layer's input.
            hidden: feature maps of the states.
            groups: into which the feature maps of each gate are split: mask B.
            input_taps: count.
            state_taps: count.
            maps: by which the layer is biased, of a coarser image: all groups see all of them.
        """
        earlier = torch.ones(hidden, (input_taps - 1) * inputs)
        free = torch.ones(hidden, state_taps * hidden + maps)
        mask = torch.cat([earlier, channel_mask("B", inputs, hidden, groups), free], 1)
        super().__init__(mask.shape[1], GATES * hidden, mask.repeat(GATES, 1)[..., None, None], 1.0)
        self.hidden, self.groups = hidden, groups
        self._inputs, self._input_taps = inputs, input_taps
        self._widths = [input_taps * inputs, state_taps * hidden, maps]
        with torch.no_grad():
            torch.split(self.weight, self._widths, 1)[1].div_(_STATE_SCALE)
            self.bias[hidden : 2 * hidden] = 1.0

    def kernels(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """The convolutions.

        Returns:
            Of the input, [4h, inputs, 1, taps], of the states, tap by tap, [taps * h, 4h], and of
            the maps, [maps, 4h].
        """
        weight = self.masked_weight().to(dtype)[..., 0, 0]
        of_input, of_states, of_maps = torch.split(weight, self._widths, 1)
        kernel = of_input.reshape(-1, self._input_taps, self._inputs).transpose(1, 2)
        return kernel.unsqueeze(2), of_states.t(), of_maps.t()

    def integer_layers(self, name: str) -> dict[str, IntegerLayer]:
        """Round to a layer for each group, ``NAME.GROUP``: its maps of o, then of f, i and g."""
        maps = torch.arange(GATES * self.hidden).view(GATES, self.hidden)
        return {
            f"{name}.{group}": integer_layer(self, GATE_BITS, maps[:, own].flatten())
            for group, own in enumerate(group_slices(self.hidden, self.groups))
        }


class IntegerCells:
    """The cells of a layer in integers; they run group by group."""

    def __init__(
        self,
        gates: Sequence[Linear],
        hidden: int,
        arithmetic: Arithmetic,
        tables: LSTMTables,
        inputs: Sequence[str],
        states: str,
        cells: str,
    ) -> None:
        """Make cells.

        Args:
            gates: the layer of each group.
            hidden: feature maps of the states, of all groups.
            arithmetic: steps them.
            tables: of the gates.
            inputs: the planes whose taps the gates take.
            states: the plane of states, which they write.
            cells: the plane of cells, which they read and write.
        """
        self._gates, self._own = gates, group_slices(hidden, len(gates))
        self._arithmetic, self._tables = arithmetic, tables
        self._inputs, self._states, self._cells = inputs, states, cells

    def look(self, canvas: Canvas) -> Callable[[int], Tensor]:
        """Begin with the pixels in hand: a function that gives the states of a group.

        They are int8 [pixels, features of the group]; groups before, and the inputs, are known.
        """
        before = canvas.taps(self._cells)

        def step(group: int) -> Tensor:
            own = self._own[group]
            gates = self._gates[group](canvas.taps(*self._inputs))
            states, cells = self._arithmetic.lstm(gates, before[:, own], self._tables)
            canvas.store(self._states, states, own.start)
            canvas.store(self._cells, cells, own.start)
            return states

        return step


def input_to_state(seen: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The contribution of a layer's input to the gates.

    Args:
        seen: [n, inputs, height, width].
        kernel: of :meth:`Gates.kernels`.
        bias: [4h].

    Returns:
        [n, height, width, 4h].
    """
    padded = nn.functional.pad(seen, (kernel.shape[-1] - 1, 0))
    return nn.functional.conv2d(padded, kernel, bias.to(seen.dtype)).permute(0, 2, 3, 1)


def scan(inputs: Tensor, weight: Tensor, reach: tuple[int, int], quantised: bool) -> Tensor:
    """Run cells line by line, from states of zero.

    Args:
        inputs: what the gates have of the input, [lines, directions, n, length, 4h]. A place that
            lies outside the image has ``-inf``, which shuts its gates: its state is zero.
        weight: of the states of the line before, tap by tap, [directions, taps * h, 4h].
        reach: how many places before and after its own a place sees in the line before.
        quantised: whether cells and states are rounded as in integers.

    Returns:
        The states times 8, [lines, directions, n, length, h].
    """
    compilable = inputs.device.type == "cpu" and inputs.dtype in {torch.float32, torch.bfloat16}
    function = _CompiledScan if compilable else _Scan
    states: Tensor = function.apply(inputs, weight, reach, quantised)  # type: ignore[no-untyped-call]
    return states


def _taps(states: Tensor, count: int) -> Tensor:
    """[..., n, length + count - 1, h] -> [..., n * length, count * h]."""
    return states.unfold(-2, count, 1).transpose(-1, -2).flatten(-2).flatten(-3, -2)


def _limit(values: Tensor, bits: int, limit: int, quantised: bool) -> Tensor:
    """Limit ``values`` to ``limit / 2**bits``, and round them where ``quantised``; in place."""
    if quantised:
        values.mul_(2**bits).round_().mul_(2.0**-bits)
    return values.clamp_(-limit / 2**bits, limit / 2**bits)


class _Scan(torch.autograd.Function):
    """Backpropagation through time by hand: what is not recurrent is done for all lines at once.

    The gradient passes rounding and limits as if they were not there.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, reach: tuple[int, int], quantised: bool
    ) -> Tensor:
        lines, *places, features = inputs.shape
        hidden, length, (before, after) = features // GATES, places[-1], reach
        wide = torch.promote_types(inputs.dtype, torch.float32)
        gates = torch.empty(inputs.shape, dtype=wide, device=inputs.device)
        cells = gates.new_zeros(lines + 1, *places, hidden)
        states = inputs.new_zeros(lines + 1, *places[:-1], before + length + after, hidden)
        own = states[..., before : before + length, :]
        for line in range(lines):
            seen = _taps(states[line], before + 1 + after)
            sums = torch.baddbmm(inputs[line].flatten(1, 2), seen, weight)
            gates[line].copy_(sums.view_as(inputs[line]))
            gates[line, ..., : 3 * hidden].sigmoid_()
            gates[line, ..., 3 * hidden :].tanh_()
            o, f, i, g = gates[line].chunk(GATES, -1)
            cell = torch.mul(f, cells[line], out=cells[line + 1]).addcmul_(i, g)
            _limit(cell, CELL_BITS, CELL_LIMIT, quantised)
            state = _limit(torch.tanh(cell).mul_(o), STATE_BITS, STATE_LIMIT, quantised)
            own[line + 1] = state.mul_(_STATE_SCALE)
        ctx.save_for_backward(gates, cells, states, weight)
        ctx.reach = reach
        return own[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gates, cells, states, weight = ctx.saved_tensors
        before, after = ctx.reach
        taps = before + 1 + after
        o, f, i, g = gates.chunk(GATES, -1)
        bent = torch.tanh(cells[1:])
        of_state = _STATE_SCALE * bent * o * (1 - o)
        of_cell = torch.stack([cells[:-1] * f * (1 - f), g * i * (1 - i), i * (1 - g * g)], -2)
        state_to_cell = _STATE_SCALE * o * (1 - bent * bent)

        sums = torch.empty_like(gates)
        (given,) = gradients
        length, hidden = given.shape[-2:]
        shape = (*given.shape[1:-2], before + length + after, hidden)
        state, cell = (torch.zeros_like(o[0]) for _ in range(2))
        for line in reversed(range(len(given))):
            state = state + given[line]
            cell = cell.addcmul(state, state_to_cell[line])
            torch.mul(state, of_state[line], out=sums[line, ..., :hidden])
            own = sums[line, ..., hidden:].view_as(of_cell[line])
            torch.mul(cell.unsqueeze(-2), of_cell[line], out=own)
            cell = cell * f[line]
            seen = sums[line].to(weight.dtype).flatten(1, 2) @ weight.transpose(1, 2)
            by_tap = seen.view(*given.shape[1:-1], taps, hidden).unbind(-2)
            padded = sums.new_zeros(shape)
            for tap, values in enumerate(by_tap):
                padded[..., tap : tap + length, :] += values
            state = padded[..., before : before + length, :]

        sums = sums.to(weight.dtype)
        seen = _taps(states[:-1], taps).transpose(0, 1).flatten(1, 2)
        of_weight = seen.transpose(1, 2) @ sums.transpose(0, 1).flatten(1, 3)
        return sums, of_weight, None, None


# The same, compiled ------------------------------------------------------------------------------


class _CompiledScan(torch.autograd.Function):
    """:class:`_Scan` on the CPU: one pass over a line does all that lies between two products.

    Products, and what is kept of them, are in the precision of the inputs, all else is in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, reach: tuple[int, int], quantised: bool
    ) -> Tensor:
        lines, directions, n, length, features = inputs.shape
        places, hidden, taps = (directions * n, length), features // GATES, sum(reach) + 1
        sums = inputs.clone(memory_format=torch.contiguous_format)
        cells = inputs.new_empty(lines + 1, *places, hidden, dtype=torch.float32)
        seen = inputs.new_empty(lines + 1, directions, n * length, taps * hidden)
        cells[0], seen[0] = 0, 0
        gates = cells.new_empty(*places, GATES, hidden)
        states = cells.new_zeros(*places, taps, hidden)  # as the next line sees them
        for line in range(lines):
            sums[line].view(directions, n * length, features).baddbmm_(seen[line], weight)
            gates.copy_(sums[line].view(gates.shape))
            before, own = cells[line].numpy(), cells[line + 1].numpy()
            _step(gates.numpy(), before, own, states.numpy(), reach[0], quantised)
            seen[line + 1].copy_(states.view(seen.shape[1:]))
        ctx.save_for_backward(sums, cells, seen, weight)
        ctx.own = reach[0]
        return seen[1:].view(*inputs.shape[:-1], taps, hidden)[..., reach[0], :]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        sums, cells, seen, weight = ctx.saved_tensors
        (given,) = gradients
        places, hidden = cells.shape[1:-1], cells.shape[-1]
        found = torch.empty_like(sums).flatten(2, 3)
        gates = cells.new_empty(*places, GATES, hidden)
        of_states, of_cells = (cells.new_zeros(*places, hidden) for _ in range(2))
        of_seen = cells.new_zeros(*places, seen.shape[-1] // hidden, hidden)
        for line in reversed(range(len(sums))):
            # Activated again, as their arguments take half of the memory
            gates.copy_(sums[line].view(gates.shape))
            of_states.copy_(given[line].flatten(0, 1))
            before, own = cells[line].numpy(), cells[line + 1].numpy()
            of_line = of_states.numpy(), of_cells.numpy()
            _step_back(gates.numpy(), before, own, of_seen.numpy(), ctx.own, *of_line)
            found[line].copy_(gates.view(found.shape[1:]))
            of_seen.copy_((found[line] @ weight.transpose(1, 2)).view(of_seen.shape))
        of_weight = (seen[:-1].transpose(2, 3) @ found).sum(0)
        return found.view(sums.shape), of_weight, None, None


# Typed, as numba would compute in float64 with Python's numbers
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_CELL_STEPS, _CELL_STEP = np.float32(2**CELL_BITS), np.float32(2.0**-CELL_BITS)
_LARGEST_CELL = np.float32(CELL_LIMIT / 2**CELL_BITS)
_STATE_STEPS, _STATE_STEP = np.float32(2**STATE_BITS), np.float32(2.0**-STATE_BITS)
_LARGEST_STATE = np.float32(STATE_LIMIT / 2**STATE_BITS)
_SCALE = np.float32(_STATE_SCALE)
_TANH_IS_ONE = np.float32(9)
_NUMERATOR = tuple(
    np.float32(value)
    for value in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_DENOMINATOR = tuple(
    np.float32(value)
    for value in (
        1.19825839466702e-06,
        1.18534705686654e-04,
        2.26843463243900e-03,
        4.89352518554385e-03,
    )
)


@compiled
def _polynomial(coefficients: tuple[np.float32, ...], x: Any) -> Any:
    value = _ZERO
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


@compiled
def _tanh(x: Any) -> Any:
    """Tanh within 4e-7, as a quotient of polynomials, those of the library Eigen.

    It is exactly 1 from 9 on, and -1 up to -9, so that ``-inf`` shuts a gate. Unlike a call of the
    C library it runs on vectors. So does ``np.divide``, but not ``/``, which looks for zeros.
    """
    x = min(max(x, -_TANH_IS_ONE), _TANH_IS_ONE)
    odd = x * _polynomial(_NUMERATOR, x * x)
    return np.divide(odd, _polynomial(_DENOMINATOR, x * x))


@compiled
def _activate(gates: Floats, n: int, x: int) -> None:
    """From the arguments of the gates of a place to their values; in place."""
    for gate in range(3):
        for j in range(gates.shape[3]):
            gates[n, x, gate, j] = _HALF + _HALF * _tanh(_HALF * gates[n, x, gate, j])
    for j in range(gates.shape[3]):
        gates[n, x, 3, j] = _tanh(gates[n, x, 3, j])


@compiled
def _step(
    gates: Floats, before: Floats, cells: Floats, seen: Floats, own: int, quantised: bool
) -> None:
    """Step the cells of a line.

    Loops are short, as LLVM makes vectors of those alone that read and write few arrays.

    Args:
        gates: [images, length, 4, h], their arguments, which their values replace.
        before: cells of the line before, [images, length, h].
        cells: those of this line, to be written.
        seen: what the places of the next line see, [images, length, taps, h], to be written where
            it lies inside the image.
        own: the tap at which a place sees its own state.
        quantised: see :func:`scan`.
    """
    images, length, _, hidden = gates.shape
    for n in range(images):
        for x in range(length):
            _activate(gates, n, x)
            for j in range(hidden):
                cell = gates[n, x, 1, j] * before[n, x, j] + gates[n, x, 2, j] * gates[n, x, 3, j]
                if quantised:
                    cell = np.rint(cell * _CELL_STEPS) * _CELL_STEP
                cells[n, x, j] = min(max(cell, -_LARGEST_CELL), _LARGEST_CELL)
            for j in range(hidden):
                state = gates[n, x, 0, j] * _tanh(cells[n, x, j])
                if quantised:
                    state = np.rint(state * _STATE_STEPS) * _STATE_STEP
                seen[n, x, own, j] = _SCALE * min(max(state, -_LARGEST_STATE), _LARGEST_STATE)
        for tap in range(seen.shape[2]):
            shift = tap - own
            for x in range(max(-shift, 0), min(length - shift, length)):
                for j in range(hidden):
                    seen[n, x, tap, j] = seen[n, x + shift, own, j]


@compiled
def _step_back(
    gates: Floats,
    before: Floats,
    cells: Floats,
    of_seen: Floats,
    own: int,
    of_states: Floats,
    of_cells: Floats,
) -> None:
    """Gradients of a line by those of the next.

    Args:
        gates: their arguments, [images, length, 4, h], whose gradients replace them.
        before: cells of the line before.
        cells: those of this line.
        of_seen: gradient of what the next line saw, [images, length, taps, h].
        own: see :func:`_step`.
        of_states: gradient of the states, [images, length, h]; that of what the next line saw of
            them is added.
        of_cells: gradient of this line's cells, which that of the cells before replaces.
    """
    images, length, _, hidden = gates.shape
    for n in range(images):
        for tap in range(of_seen.shape[2]):
            shift = tap - own
            for x in range(max(-shift, 0), min(length - shift, length)):
                for j in range(hidden):
                    of_states[n, x + shift, j] += of_seen[n, x, tap, j]
        for x in range(length):
            _activate(gates, n, x)
            for j in range(hidden):
                o, bent = gates[n, x, 0, j], _tanh(cells[n, x, j])
                of_state = _SCALE * of_states[n, x, j]
                gates[n, x, 0, j] = of_state * bent * o * (_ONE - o)
                of_cells[n, x, j] += of_state * o * (_ONE - bent * bent)
            for j in range(hidden):
                i, g = gates[n, x, 2, j], gates[n, x, 3, j]
                gates[n, x, 2, j] = of_cells[n, x, j] * g * i * (_ONE - i)
                gates[n, x, 3, j] = of_cells[n, x, j] * i * (_ONE - g * g)
            for j in range(hidden):
                f = gates[n, x, 1, j]
                gates[n, x, 1, j] = of_cells[n, x, j] * before[n, x, j] * f * (_ONE - f)
                of_cells[n, x, j] *= f
