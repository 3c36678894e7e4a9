"""Row LSTM, as in "Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3.1.

Its layer runs LSTM cells (:mod:`pixelcodec.models.lstm`) down the rows (the paper's figure 5,
right); the frame around it is :mod:`pixelcodec.models.paper`::

    seen, 2h -- 3x1, mask B --+
    h, the row above -- 3x1 --+-> 4 gates -> h -> 1x1, mask B -> 2h
    maps -- 1x1, no mask -----+

A pixel sees a triangle: in each row further up one more column on either side. Maps there are in a
network that is conditioned on a coarser image (:mod:`pixelcodec.models.multi_scale`).

:class:`RowLSTM` is the float network that trains, :class:`IntegerRowLSTM` the program that codes.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

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
from pixelcodec.models.program import MAPS, Arithmetic, Canvas, LSTMTables, Plane

ARCHITECTURE = "row-lstm-1"
REACH = (1, 1)
"""How many columns left and right a pixel sees in the states of the row above."""


class RowConfig(PaperConfig):
    """Hyperparameters: as in any such network, with fewer feature maps, as gates see 7h."""

    allowed: ClassVar = {**PaperConfig.allowed, "hidden": range(3, 147)}


class RowLayer(Layer):
    """LSTM cells that run down the rows."""

    def __init__(self, config: RowConfig, maps: int = 0) -> None:
        """Make a layer with random weights, biased by so many ``maps``."""
        super().__init__()
        hidden, groups = config.hidden, config.channels
        self.gates = lstm.Gates(config.stream, hidden, groups, 2, 3, maps)
        self.expand = pointwise(hidden, config.stream, groups, gain=0.5)

    def forward(self, seen: Tensor, maps: Tensor | None = None) -> Tensor:  # noqa: D102
        of_input, of_states, of_maps = self.gates.kernels(seen.dtype)
        inputs = lstm.input_to_state(seen, of_input, self.gates.bias)
        if maps is not None:
            inputs = inputs + maps.permute(0, 2, 3, 1) @ of_maps
        by_row = inputs.transpose(0, 1).unsqueeze(1)
        states = lstm.scan(by_row, of_states[None], REACH, self.gates.quantised)
        change: Tensor = self.expand(states.squeeze(1).permute(1, 3, 0, 2))
        return change

    def integer_layers(self, name: str, offset: float) -> dict[str, IntegerLayer]:  # noqa: D102
        return {
            **self.gates.integer_layers(f"{name}.gates"),
            **self.expand.integer_layers(f"{name}.expand", STREAM_BITS, offset),
        }


class RowLSTM(PaperNetwork):
    """The float network."""

    architecture = ARCHITECTURE

    def __init__(self, config: RowConfig, maps: int = 0) -> None:
        """Make a network with random weights, its layers biased by so many ``maps``."""
        super().__init__(config, lambda: RowLayer(config, maps))

    def tables(self) -> dict[str, Tensor]:  # noqa: D102
        return super().tables() | lstm.integer_tables()


class RowLayerProgram(IntegerLayerProgram):
    """:class:`RowLayer` in integers."""

    def __init__(
        self,
        layers: Mapping[str, IntegerLayer],
        arithmetic: Arithmetic,
        name: str,
        groups: int,
        tables: LSTMTables,
        maps: bool = False,
    ) -> None:
        """Make the layer ``name`` ready to run; ``maps``: whether it is biased by them."""
        gates, self._expand = (
            make_ready(layers, arithmetic, f"{name}.{part}", groups) for part in ("gates", "expand")
        )
        hidden = layers[f"{name}.expand.0"].weight.shape[0]
        self._seen, states, cells = (f"{name}.{plane}" for plane in ("seen", "states", "cells"))
        inputs = [self._seen, states, *([MAPS] if maps else [])]
        self._cells = lstm.IntegerCells(gates, hidden, arithmetic, tables, inputs, states, cells)
        self._after = partial(Seen, features=hidden, groups=groups, device=arithmetic.device)
        self.planes = {
            self._seen: Plane(2 * hidden, torch.int8, 0, ((0, -1, 0),)),
            states: Plane(hidden, torch.int8, 0, ((1, -1, 1),)),
            cells: Plane(hidden, torch.int16, 0, ((1, 0, 0),)),
        }

    def look(self, canvas: Canvas) -> LayerRun:  # noqa: D102
        after, step = self._after(canvas.count), self._cells.look(canvas)

        def run(seen: Tensor, group: int) -> Tensor:
            canvas.store(self._seen, seen)
            return self._expand[group](after.with_group(group, step(group)))

        return run


class IntegerRowLSTM(PaperProgram):
    """The program that codes: :class:`RowLSTM` in integers."""

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``.

        Raises:
            ModelError: its integers are not those that its configuration needs.
        """
        template = template_of(RowLSTM, RowConfig, network)
        tables = lstm.ready_tables(network.tables, arithmetic.device)
        make_layer = partial(RowLayerProgram, tables=tables)
        super().__init__(network, arithmetic, template, make_layer)
