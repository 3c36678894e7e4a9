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

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pixelcodec.errors import ModelError
from pixelcodec.models.grouped import channel_mask, group_slices
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerLayer
from pixelcodec.models.program import LSTMTables
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
    states: Tensor = _Scan.apply(inputs, weight, reach, quantised)  # type: ignore[no-untyped-call]
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
