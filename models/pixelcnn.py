"""PixelCNN, as in "Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3.5.

Its layer is the residual block of the paper's figure 5, left; the frame around it is
:mod:`pixelcodec.models.paper`::

    seen, 2h -> 1x1 -> h -> ReLU -> 3x3 -> h -> ReLU -> 1x1 -> 2h    (all mask B)

:class:`PixelCNN` is the float network that trains, :class:`IntegerPixelCNN` the program that codes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pixelcodec.models.grouped import (
    GroupedConv2d,
    Seen,
    causal_runs,
    group_slices,
    make_ready,
    pointwise,
)
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS, relu
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
from pixelcodec.models.program import Arithmetic, Canvas, Plane

ARCHITECTURE = "pixelcnn-1"
KERNEL = (3, 3)


class Bottleneck(Layer):
    """The residual block without the residual connection."""

    def __init__(self, config: PaperConfig) -> None:
        """Make a layer with random weights."""
        super().__init__()
        hidden, groups = config.hidden, config.channels
        self.reduce = pointwise(config.stream, hidden, groups)
        self.spatial = GroupedConv2d("B", KERNEL, hidden, hidden, groups)
        self.expand = pointwise(hidden, config.stream, groups, gain=0.5)

    def forward(self, seen: Tensor) -> Tensor:  # noqa: D102
        quantised = self.reduce.quantised
        hidden = self.spatial(relu(self.reduce(seen), quantised))
        change: Tensor = self.expand(relu(hidden, quantised))
        return change

    def integer_layers(self, name: str, offset: float) -> dict[str, IntegerLayer]:  # noqa: D102
        return {
            **self.reduce.integer_layers(f"{name}.reduce", ACTIVATION_BITS),
            **self.spatial.integer_layers(f"{name}.spatial", ACTIVATION_BITS),
            **self.expand.integer_layers(f"{name}.expand", STREAM_BITS, offset),
        }


class PixelCNN(PaperNetwork):
    """The float network."""

    architecture = ARCHITECTURE

    def __init__(self, config: PaperConfig) -> None:
        """Make a network with random weights."""
        super().__init__(config, lambda: Bottleneck(config))


class BottleneckProgram(IntegerLayerProgram):
    """:class:`Bottleneck` in integers."""

    def __init__(
        self, layers: Mapping[str, IntegerLayer], arithmetic: Arithmetic, name: str, groups: int
    ) -> None:
        """Make the layer ``name`` ready to run."""
        self._reduce, self._spatial, self._expand = (
            make_ready(layers, arithmetic, f"{name}.{part}", groups)
            for part in ("reduce", "spatial", "expand")
        )
        hidden = sum(layers[f"{name}.reduce.{group}"].weight.shape[1] for group in range(groups))
        self._name, self._slices = name, group_slices(hidden, groups)
        self._hidden, self._groups, self._device = hidden, groups, arithmetic.device
        self.planes = {name: Plane(hidden, torch.int8, 0, causal_runs(KERNEL))}

    def look(self, canvas: Canvas) -> LayerRun:  # noqa: D102
        after = Seen(canvas.count, self._hidden, self._groups, self._device)

        def run(seen: Tensor, group: int) -> Tensor:
            reduced = self._reduce[group].relu(seen)
            canvas.store(self._name, reduced, self._slices[group].start)
            hidden = self._spatial[group].relu(canvas.taps(self._name))
            return self._expand[group](after.with_group(group, hidden))

        return run


class IntegerPixelCNN(PaperProgram):
    """The program that codes: :class:`PixelCNN` in integers."""

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``.

        Raises:
            ModelError: its integers are not those that its configuration needs.
        """
        template = template_of(PixelCNN, PaperConfig, network)
        super().__init__(network, arithmetic, template, BottleneckProgram)
