"""Diagonal BiLSTM, as in "Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3.2.

Its layer runs LSTM cells (:mod:`pixelcodec.models.lstm`) along the diagonals, from either top
corner (the paper's figure 5, right); the frame around it is :mod:`pixelcodec.models.paper`::

    seen, 2h ---- 1x1, mask B ----+
                                  +-> 4 gates -> h of a direction
    h, the diagonal before -- 2x1 +

    h from the left + h from the right, one row further up -> 1x1, mask B -> 2h

From the left pixel (y, x) sees the states of (y, x - 1) and of (y - 1, x), and its cells go on from
those of (y, x - 1). In the skewed image, each of whose rows is shifted by one from the row above,
that is the column before. From the right all is mirrored; the row above has all that it needs. So a
sample sees every sample before it but one, the last of the row above: no feature of its row knows
it (mask A), and of the row below those of the last four columns only (7x7).

An encoder or decoder visits pixels one by one; those from the right it catches up on at the end of
each row. To have many pixels in hand at once an image is cut into tiles.

:class:`DiagonalBiLSTM` is the float network that trains, :class:`IntegerDiagonalBiLSTM` the program
that codes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from pixelcodec.models import lstm
from pixelcodec.models.grouped import Seen, make_ready, pointwise
from pixelcodec.models.layers import STREAM_BITS
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.paper import (
    IntegerLayerProgram,
    Layer,
    LayerRun,
    PaperConfig,
    PaperNetwork,
    PaperProgram,
    template_of,
)
from pixelcodec.models.program import Arithmetic, Canvas, LSTMTables, Plane, Samples
from pixelcodec.models.quantise import integer_layer

ARCHITECTURE = "diagonal-bilstm-1"
REACH = (1, 0)
"""In the diagonal before a pixel sees the row above and its own."""


@dataclass(frozen=True)
class DiagonalConfig(PaperConfig):
    """Hyperparameters.

    Attributes:
        tile: side of the tiles that images are cut into; 0: they are not.
    """

    allowed: ClassVar = {**PaperConfig.allowed, "tile": range(1025)}

    tile: int = 32


def skew(values: Tensor, outside: float) -> Tensor:
    """Shift each row by one from the row above: [n, h, w, features] -> [n, h, w + h - 1, features].

    What comes in at the sides is ``outside``.
    """
    images, height, width, features = values.shape
    skewed = width + height - 1
    padded = nn.functional.pad(values, (0, 0, 0, height), value=outside).flatten(1, 2)
    return padded[:, : height * skewed].reshape(images, height, skewed, features)


def unskew(values: Tensor) -> Tensor:
    """Inverse of :func:`skew`."""
    images, height, skewed, features = values.shape
    padded = nn.functional.pad(values.flatten(1, 2), (0, 0, 0, height))
    return padded.view(images, height, skewed + 1, features)[:, :, : skewed + 1 - height]


class DiagonalLayer(Layer):
    """LSTM cells that run along the diagonals, in two directions."""

    def __init__(self, config: DiagonalConfig) -> None:
        """Make a layer with random weights."""
        super().__init__()
        hidden, groups = config.hidden, config.channels
        self.left, self.right = (
            lstm.Gates(config.stream, hidden, groups, input_taps=1, state_taps=2) for _ in range(2)
        )
        self.expand = pointwise(hidden, config.stream, groups, gain=0.5)

    def forward(self, seen: Tensor) -> Tensor:  # noqa: D102
        directions = ((self.left, seen), (self.right, seen.flip(-1)))
        inputs, weights = [], []
        for gates, values in directions:
            of_input, of_states, _ = gates.kernels(seen.dtype)
            inputs.append(skew(lstm.input_to_state(values, of_input, gates.bias), -math.inf))
            weights.append(of_states)
        by_diagonal = torch.stack(inputs).permute(3, 0, 1, 2, 4)
        states = lstm.scan(by_diagonal, torch.stack(weights), REACH, self.left.quantised)
        left, right = unskew(states.permute(1, 2, 3, 0, 4).flatten(0, 1)).chunk(2)
        right_above = nn.functional.pad(right[:, :-1].flip(2), (0, 0, 0, 0, 1, 0))
        change: Tensor = self.expand((left + right_above).permute(0, 3, 1, 2))
        return change

    def integer_layers(self, name: str, offset: float) -> dict[str, IntegerLayer]:  # noqa: D102
        return {
            **self.left.integer_layers(f"{name}.left"),
            f"{name}.right": integer_layer(self.right, lstm.GATE_BITS),
            **self.expand.integer_layers(f"{name}.expand", STREAM_BITS, offset),
        }


class DiagonalBiLSTM(PaperNetwork):
    """The float network."""

    architecture = ARCHITECTURE
    config: DiagonalConfig

    def __init__(self, config: DiagonalConfig) -> None:
        """Make a network with random weights."""
        super().__init__(config, lambda: DiagonalLayer(config))

    def tables(self) -> dict[str, Tensor]:  # noqa: D102
        return super().tables() | lstm.integer_tables()


class DiagonalLayerProgram(IntegerLayerProgram):
    """:class:`DiagonalLayer` in integers."""

    def __init__(
        self,
        layers: Mapping[str, IntegerLayer],
        arithmetic: Arithmetic,
        name: str,
        groups: int,
        tables: LSTMTables,
    ) -> None:
        """Make the layer ``name`` ready to run."""
        self._right = arithmetic.linear(layers[f"{name}.right"])
        self._expand = [
            arithmetic.linear(_of_a_sum(layers[f"{name}.expand.{group}"]))
            for group in range(groups)
        ]
        self._arithmetic, self._tables = arithmetic, tables
        hidden = layers[f"{name}.expand.0"].weight.shape[0]
        self._seen, from_left, cells, self._from_right = (
            f"{name}.{plane}" for plane in ("seen", "from_left", "cells", "from_right")
        )
        left, inputs = (
            make_ready(layers, arithmetic, f"{name}.left", groups),
            (self._seen, from_left),
        )
        self._left = lstm.IntegerCells(left, hidden, arithmetic, tables, inputs, from_left, cells)
        self._after = partial(Seen, features=hidden, groups=groups, device=arithmetic.device)
        self.planes = {
            self._seen: Plane(2 * hidden, torch.int8, 0, ((0, 0, 0),)),
            from_left: Plane(hidden, torch.int8, 0, ((1, 0, 0), (0, -1, -1))),
            cells: Plane(hidden, torch.int16, 0, ((0, -1, -1),)),
            self._from_right: Plane(hidden, torch.int8, 0, ((1, 0, 0),)),
        }

    def look(self, canvas: Canvas) -> LayerRun:  # noqa: D102
        after, step = self._after(canvas.count), self._left.look(canvas)
        from_right = canvas.taps(self._from_right)

        def run(seen: Tensor, group: int) -> Tensor:
            canvas.store(self._seen, seen)
            both = torch.cat([after.with_group(group, step(group)), from_right], 1)
            return self._expand[group](both)

        return run

    def run_from_right(self, canvas: Canvas) -> None:
        """Run the cells from the right through the row in hand, all of which is known."""
        seen, above = canvas.row(self._seen), canvas.row_above(self._from_right)
        images, width, hidden = above.shape
        # Column by column what the gates see: of the input, of the row above, of the column before
        taps = torch.cat([seen, above, torch.zeros_like(above)], 2).transpose(0, 1).contiguous()
        cells = torch.zeros(images, hidden, dtype=torch.int16, device=taps.device)
        states = canvas.row(self._from_right).transpose(0, 1)
        for x in reversed(range(width)):
            states[x], cells = self._arithmetic.lstm(self._right(taps[x]), cells, self._tables)
            if x:
                taps[x - 1, :, -hidden:] = states[x]


def _of_a_sum(layer: IntegerLayer) -> IntegerLayer:
    """``layer`` of a sum of activations, as one of both parts, side by side."""
    return IntegerLayer(torch.cat([layer.weight, layer.weight]), layer.bias, layer.shift)


class IntegerDiagonalBiLSTM(PaperProgram):
    """The program that codes: :class:`DiagonalBiLSTM` in integers."""

    slope = 0

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``.

        Raises:
            ModelError: its integers are not those that its configuration needs.
        """
        template = template_of(DiagonalBiLSTM, DiagonalConfig, network)
        tables = lstm.ready_tables(network.tables, arithmetic.device)
        make_layer = partial(DiagonalLayerProgram, tables=tables)
        super().__init__(network, arithmetic, template, make_layer)
        self.tile = template.config.tile

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples`` for later pixels; at the end of a row catch up from the right."""
        super().remember(canvas, samples)
        if canvas.ends_row:
            for layer in self.layers:
                cast(DiagonalLayerProgram, layer).run_from_right(canvas)
