"""What the wavefront networks have in common: all but what they see, and their heads.

A PixelCNN ("Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3.5) with residual
blocks (its figure 5) whose masks never look further right than ``2*dy - 1`` columns in ``dy`` rows
above, so that all pixels of equal ``x + 2*y`` can be decoded at once (its skew, section 3.3). The
trunk leads from features of the neighbourhood to activations, which heads see::

    features
      | 1x1
    stream ------------------------------+
      | ReLU, masked 3x3 (W, NW, N, NE   |  x blocks
      | and the pixel), ReLU, 1x1        |
    stream <--------------- + -----------+
      | ReLU
    activations

:class:`Wavefront` is the float network, :class:`IntegerWavefront` the program that codes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from pixelcodec.models.checks import Ranges, check_ranges
from pixelcodec.models.layers import (
    ACTIVATION_BITS,
    HALF_ACTIVATION,
    STREAM_BITS,
    STREAM_TO_ACTIVATION,
    MaskedConv2d,
    QuantisationAware,
    mask_b,
    pointwise,
    relu,
)
from pixelcodec.models.mixture import MOST_COMPONENTS
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Coarser, Linear, Plane, Samples
from pixelcodec.models.quantise import integer_layer, select_inputs

SAMPLES = "samples"
EVERY = slice(None)

_RUNS = ((1, -1, 1), (0, -1, 0))
"""The taps of a block; the last is the pixel itself."""


@dataclass(frozen=True)
class WavefrontConfig:
    """Hyperparameters.

    Attributes:
        width: channels of the stream.
        hidden: channels inside a block.
        blocks: count of residual blocks.
        head: hidden units of a head.
        components: logistics in a mixture, 1 to 7.

    Raises:
        ModelError: a value is out of its range: a layer has at most 1024 inputs, and the mass of
            a mixture of more than 7 components could pass what coding is exact for.
    """

    allowed: ClassVar[Ranges] = {
        "width": range(1, 205),
        "hidden": range(1, 1025),
        "blocks": range(127),
        "head": range(1, 1025),
        "components": range(1, MOST_COMPONENTS + 1),
    }

    width: int
    hidden: int
    blocks: int
    head: int
    components: int

    def __post_init__(self) -> None:
        """Refuse what cannot be exact."""
        check_ranges(self, self.allowed)


def trunk_shapes(features: int, config: WavefrontConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each integer layer of the trunk."""
    shapes = {"input": (features, config.width)}
    for i in range(config.blocks):
        shapes[f"spatial.{i}"] = (5 * config.width, config.hidden)
        shapes[f"mix.{i}"] = (config.hidden, config.width)
    return shapes


# Training ----------------------------------------------------------------------------------------


class Rounding(NamedTuple):
    """How a layer rounds, see :func:`pixelcodec.models.quantise.integer_layer`."""

    out_bits: float | Tensor
    outputs: slice = EVERY
    offset: float | Tensor = 0.0


class Wavefront(QuantisationAware):
    """The float network."""

    def __init__(self, features: int, config: WavefrontConfig) -> None:
        """Make a trunk with random weights."""
        super().__init__()
        width, hidden, blocks = config.width, config.hidden, range(config.blocks)
        self.input = pointwise(features, width)
        self.spatial = nn.ModuleList(MaskedConv2d(width, hidden, mask_b(3)) for _ in blocks)
        self.mix = nn.ModuleList(pointwise(hidden, width, gain=0.5) for _ in blocks)

    def trunk(self, features: Tensor) -> Tensor:
        """[n, features, h, w] -> activations, [n, width, h, w]."""
        stream: Tensor = self.input(features)
        for spatial, mix in self._blocks():
            stream = stream + mix(self.relu(spatial(self.relu(stream))))
        return self.relu(stream)

    def relu(self, values: Tensor) -> Tensor:
        """Rounded where layers round."""
        return relu(values, self.input.quantised)

    def _blocks(self) -> Iterator[tuple[MaskedConv2d, MaskedConv2d]]:
        for spatial, mix in zip(self.spatial, self.mix, strict=True):
            yield cast(MaskedConv2d, spatial), cast(MaskedConv2d, mix)

    def integer_layers(self) -> Iterator[tuple[str, MaskedConv2d, Rounding, slice]]:
        """Each integer layer's name, what it is made of, how, and those of its inputs it keeps."""
        yield "input", self.input, Rounding(STREAM_BITS, offset=HALF_ACTIVATION), EVERY
        for i, (spatial, mix) in enumerate(self._blocks()):
            yield f"spatial.{i}", spatial, Rounding(ACTIVATION_BITS), EVERY
            yield f"mix.{i}", mix, Rounding(STREAM_BITS), EVERY

    def rounded(self) -> dict[str, IntegerLayer]:
        """The integer layers, by name."""
        return {
            name: select_inputs(integer_layer(layer, *how), inputs)
            for name, layer, how, inputs in self.integer_layers()
        }


def as_channels(features: Tensor) -> Tensor:
    """Int8 [n, h, w, c] -> bfloat16 [n, c, h, w] in real units, laid out channels last."""
    return features.to(torch.bfloat16).mul_(2.0**-ACTIVATION_BITS).permute(0, 3, 1, 2)


# Coding ------------------------------------------------------------------------------------------

Block = Callable[[Tensor], Tensor]
"""From taps, int8 [pixels, 5 * width], to what is added to the stream, int32 [pixels, width]."""


class IntegerWavefront:
    """The program that codes: :class:`Wavefront` in integers, on any set of pixels."""

    slope = 2
    sequential = False
    coarser: Coarser | None = None
    tile = 0

    def __init__(
        self,
        network: IntegerNetwork,
        config: WavefrontConfig,
        arithmetic: Arithmetic,
        samples: Plane,
    ) -> None:
        """Make ``network`` ready to run by ``arithmetic``; ``samples`` are kept in that plane."""
        layers = {name: arithmetic.linear(layer) for name, layer in network.layers.items()}
        self._device, self._relu = arithmetic.device, arithmetic.relu
        self._layers, self._input = layers, layers["input"]
        self.blocks = {
            f"spatial.{i}": _block(layers[f"spatial.{i}"], layers[f"mix.{i}"])
            for i in range(config.blocks)
        }
        activations = Plane(config.width, torch.int8, 0, _RUNS)
        self.planes = {SAMPLES: samples, **dict.fromkeys(self.blocks, activations)}

    def activations(self, features: Tensor, canvas: Canvas) -> Tensor:
        """The trunk: int8 [pixels, features] -> [pixels, width]."""
        stream = self._input(features)
        for plane, block in self.blocks.items():
            stream += block(canvas.neighbourhoods(plane, self._relu(stream, STREAM_TO_ACTIVATION)))
        return self._relu(stream, STREAM_TO_ACTIVATION)

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples`` [pixels, channels]; those of one channel in all."""
        storage, block = canvas.on_host(SAMPLES)
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        shape = (len(storage), block.rows, block.span, samples.shape[1])
        storage[:, rows, columns] = samples.reshape(shape)


def _block(spatial: Linear, mix: Linear) -> Block:
    return lambda taps: mix(spatial.relu(taps))
