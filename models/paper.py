"""The frame that the networks of "Pixel Recurrent Neural Networks" have in common.

Van den Oord, Kalchbrenner, Kavukcuoglu, 2016, table 1::

    samples
      | 7x7, mask A
    stream, 2h -----------------------------------------+
      | ReLU, a layer of the architecture, 1x1 to 2h    |  x layers
    stream <-------------------- + ---------------------+
      | ReLU, 1x1, ReLU, 1x1 (all mask B)
    softmax over all levels of each channel

Every feature map belongs to a channel (:mod:`pixelcodec.models.grouped`). Without residual
connections the stream is what the last layer gave; with skip connections the output sees the sum of
a 1x1 convolution of the stream after every layer (the paper's table 2).

An architecture is a kind of :class:`Layer`, which trains, and of :class:`IntegerLayerProgram`,
which codes. :class:`PaperNetwork` and :class:`PaperProgram` are all else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from pixelcodec.errors import ModelError
from pixelcodec.models import softmax
from pixelcodec.models.checks import Ranges, check_ranges
from pixelcodec.models.grouped import (
    GroupedConv2d,
    Seen,
    causal_runs,
    make_ready,
    pointwise,
)
from pixelcodec.models.layers import (
    ACTIVATION_BITS,
    HALF_ACTIVATION,
    STREAM_BITS,
    STREAM_TO_ACTIVATION,
    QuantisationAware,
    relu,
)
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Coarser, Linear, Plane, Samples

SAMPLES = "samples"
INPUT_KERNEL = (7, 7)
INPUT_SLOPE = 4
"""A wave of this slope may see what mask A of 7x7 and then masks of 3x3 see."""


@dataclass(frozen=True)
class PaperConfig:
    """Hyperparameters.

    Attributes:
        channels: of an image, 1 or 3.
        bit_depth: bits of a sample, 1 or 8.
        hidden: feature maps of a layer, the paper's h; the stream has twice as many.
        layers: count.
        head: feature maps of the last layer but one.
        residual: whether a layer's output is added to its input.
        skip: whether the output sees all layers, not the last alone.

    Raises:
        ModelError: a value is out of its range.
    """

    allowed: ClassVar[Ranges] = {
        "channels": (1, 3),
        "bit_depth": (1, 8),
        "hidden": range(3, 205),
        "layers": range(127),
        "head": range(3, 1025),
        "residual": (False, True),
        "skip": (False, True),
    }

    channels: int = 3
    bit_depth: int = 8
    hidden: int = 32
    layers: int = 7
    head: int = 32
    residual: bool = True
    skip: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be coded, or not exactly."""
        check_ranges(self, self.allowed)

    @property
    def stream(self) -> int:
        """Feature maps of the stream."""
        return 2 * self.hidden

    @property
    def levels(self) -> int:
        """Of a sample."""
        return 1 << self.bit_depth


# Training ----------------------------------------------------------------------------------------


class Layer(nn.Module, ABC):
    """What an architecture puts between stream and stream."""

    @abstractmethod
    def forward(self, seen: Tensor) -> Tensor:
        """Activations (0..127/16) [n, 2h, height, width] -> what is added: the same shape.

        A layer that is biased by maps (activations too) takes them as a second argument.
        """

    @abstractmethod
    def integer_layers(self, name: str, offset: float) -> dict[str, IntegerLayer]:
        """Round to integers; the names of all begin with ``NAME.``.

        ``offset``: is added to the output, in units of its last bit.
        """


class PaperNetwork(QuantisationAware):
    """The float network."""

    architecture: str

    def __init__(self, config: PaperConfig, make_layer: Callable[[], Layer]) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.config = config
        groups, stream = config.channels, config.stream
        self.input = GroupedConv2d("A", INPUT_KERNEL, groups, stream, groups, gain=0.5)
        self.layers = nn.ModuleList(make_layer() for _ in range(config.layers))
        skips = config.layers if config.skip else 0
        self.skips = nn.ModuleList(pointwise(stream, stream, groups, 0.5) for _ in range(skips))
        self.head = pointwise(stream, config.head, groups)
        self.logits = pointwise(config.head, groups * config.levels, groups, gain=0.5)

    @property
    def output_layers(self) -> list[nn.Module]:
        """Those that give the logits."""
        return [self.head, self.logits]

    def forward(self, samples: Tensor, *maps: Tensor) -> Tensor:
        """Bits of each sample of whole images.

        Args:
            samples: uint8 [images, height, width, channels].
            maps: what the layers are biased by, where they are: [images, maps, height, width].

        Returns:
            float32 [images, height, width, channels], bits.
        """
        samples = samples.to(self.input.weight.device)
        return softmax.bits_of_samples(self.logits_of(samples, *maps), samples)

    def logits_of(self, samples: Tensor, *maps: Tensor) -> Tensor:
        """Uint8 [n, h, w, channels] -> float32 [n, h, w, channels, levels]."""
        seen = in_real_units(features_of(samples, self.config.bit_depth))
        logits: Tensor = self.head_of(self.trunk(seen, *maps))
        last: Tensor = logits.permute(0, 2, 3, 1).float()
        return last.view(*last.shape[:3], self.config.channels, -1)

    def trunk(self, seen: Tensor, *maps: Tensor) -> Tensor:
        """Samples in real units [n, channels, h, w] -> what the head sees, [n, 2h, h, w]."""
        quantised = self.input.quantised
        stream: Tensor = self.input(seen)
        skipped: Tensor | float = 0.0
        for index, layer in enumerate(self.layers):
            change = layer(relu(stream, quantised), *maps)
            stream = stream + change if self.config.residual else change
            if self.config.skip:
                skipped = skipped + self.skips[index](relu(stream, quantised))
        return cast(Tensor, skipped) if self.skips else stream

    def head_of(self, stream: Tensor) -> Tensor:
        """[n, 2h, h, w] -> logits, channel by channel, [n, channels * levels, h, w]."""
        quantised = self.input.quantised
        logits: Tensor = self.logits(relu(self.head(relu(stream, quantised)), quantised))
        return logits

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        layers = self.input.integer_layers("input", STREAM_BITS, HALF_ACTIVATION)
        offset = 0.0 if self.config.residual else HALF_ACTIVATION
        for index, layer in enumerate(self.layers):
            layers |= cast(Layer, layer).integer_layers(f"layer.{index}", offset)
        for index, skip in enumerate(self.skips):
            half = HALF_ACTIVATION if index == 0 else 0.0
            skip_layers = cast(GroupedConv2d, skip).integer_layers(
                f"skip.{index}", STREAM_BITS, half
            )
            layers |= skip_layers
        layers |= self.head.integer_layers("head", ACTIVATION_BITS)
        layers |= self.logits.integer_layers("logits", softmax.LOGIT_BITS)
        return IntegerNetwork(self.architecture, asdict(self.config), layers, self.tables())

    def tables(self) -> dict[str, Tensor]:
        """The integer tables that are shipped with the network."""
        return softmax.integer_tables()


def features_of(samples: Tensor, bit_depth: int) -> Tensor:
    """Samples as the networks see them: uint8 -> int8, same shape.

    Those of 8 bits minus 128, those of 1 bit as -64 and 64; a pixel outside the image is 0.
    """
    if bit_depth == 1:
        return (samples.to(torch.int16) * 128 - 64).to(torch.int8)
    return (samples.to(torch.int16) - 128).clamp(min=-127).to(torch.int8)


def in_real_units(features: Tensor) -> Tensor:
    """What a float network sees: int8 [n, h, w, channels] -> bfloat16 [n, channels, h, w]."""
    return features.permute(0, 3, 1, 2).to(torch.bfloat16) * 2.0**-ACTIVATION_BITS


# Coding ------------------------------------------------------------------------------------------


class IntegerLayerProgram(ABC):
    """A layer in integers."""

    planes: Mapping[str, Plane]
    """What it keeps on the canvas."""

    @abstractmethod
    def look(self, canvas: Canvas) -> "LayerRun":
        """Begin with the pixels in hand."""


LayerRun = Callable[[Tensor, int], Tensor]
"""The layer on some pixels, called group by group.

It takes what the layer sees, int8 [pixels, 2h] with the groups to this one known, and the group. It
gives what is added to the stream: int32 [pixels, stream features of the group].
"""


MakeLayerProgram = Callable[[Mapping[str, IntegerLayer], Arithmetic, str, int], IntegerLayerProgram]
"""From all layers of a network, the arithmetic, the name of the layer, and the count of groups."""


class PaperProgram:
    """The program that codes."""

    slope = INPUT_SLOPE
    sequential = True  # the last group of a pixel is seen by the first group of the next
    tile = 0
    coarser: Coarser | None = None

    def __init__(
        self,
        network: IntegerNetwork,
        arithmetic: Arithmetic,
        template: PaperNetwork,
        make_layer: MakeLayerProgram,
    ) -> None:
        """Make ``network`` ready to run by ``arithmetic``.

        ``template``: any float network of its configuration.

        Raises:
            ModelError: the network lacks integers, or has others than it needs.
        """
        network.check_like(template.integer_network())
        softmax.check_tables(network.tables)
        config = template.config
        self.config, self.arithmetic = config, arithmetic
        self.bit_depth, self.channels = config.bit_depth, (config.channels,)
        groups = config.channels

        def ready(name: str) -> Sequence[Linear]:
            return make_ready(network.layers, arithmetic, name, groups)

        self.input, self.head, self.logits = ready("input"), ready("head"), ready("logits")
        self.skips = [ready(f"skip.{i}") for i in range(config.layers if config.skip else 0)]
        self.layers = [
            make_layer(network.layers, arithmetic, f"layer.{index}", groups)
            for index in range(config.layers)
        ]
        self.exp = network.tables["exp"].numpy()
        samples = Plane(groups, torch.int8, 0, causal_runs(INPUT_KERNEL))
        self.planes: dict[str, Plane] = {SAMPLES: samples}
        for layer in self.layers:
            self.planes |= layer.planes

    def look(self, canvas: Canvas) -> "PaperConditionals":
        """Begin with the pixels in hand."""
        return PaperConditionals(self, canvas)

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples`` for later pixels."""
        known = torch.from_numpy(samples).to(self.arithmetic.device)
        canvas.store(SAMPLES, features_of(known, self.bit_depth))

    def relu(self, stream: Tensor) -> Tensor:
        """Of a stream, int32 -> int8."""
        return self.arithmetic.relu(stream, STREAM_TO_ACTIVATION)


class PaperConditionals:
    """The distributions of the pixels in hand: each channel is one more group of all layers."""

    def __init__(self, program: PaperProgram, canvas: Canvas) -> None:
        """Begin all layers."""
        self._program, self._canvas = program, canvas
        config = program.config

        def seen(features: int) -> Seen:
            return Seen(canvas.count, features, config.channels, program.arithmetic.device)

        self._layers = [layer.look(canvas) for layer in program.layers]
        self._before = [seen(config.stream) for _ in program.layers]
        self._after = [seen(config.stream) for _ in program.skips]
        self._stream, self._hidden = seen(config.stream), seen(config.head)

    def distribution(self, channel: int) -> softmax.Softmax:
        """Of ``channel``, given the channels before, which were revealed."""
        program = self._program
        stream = program.input[channel](self._canvas.taps(SAMPLES))
        skipped: Tensor | None = None
        for index, layer in enumerate(self._layers):
            seen = self._before[index].with_group(channel, program.relu(stream))
            change = layer(seen, channel)
            stream = stream + change if program.config.residual else change
            if program.skips:
                seen = self._after[index].with_group(channel, program.relu(stream))
                skip = program.skips[index][channel](seen)
                skipped = skip if skipped is None else skipped + skip
        seen = self._stream.with_group(
            channel, program.relu(stream if skipped is None else skipped)
        )
        hidden = self._hidden.with_group(channel, program.head[channel].relu(seen))
        return softmax.Softmax(program.logits[channel](hidden).cpu().numpy(), program.exp)

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let later groups see the ``samples`` of ``channel``."""
        known = torch.from_numpy(np.ascontiguousarray(samples)[:, None])
        features = features_of(known.to(self._program.arithmetic.device), self._program.bit_depth)
        self._canvas.store(SAMPLES, features, channel)


Config = TypeVar("Config", bound=PaperConfig)
Network = TypeVar("Network", bound=nn.Module)


def template_of(
    make: Callable[[Config], Network], config: type[Config], network: IntegerNetwork
) -> Network:
    """A float network, of random weights, of the configuration of ``network``.

    Raises:
        ModelError: the configuration cannot be.
    """
    try:
        values = config(**network.config)
    except TypeError as error:
        raise ModelError(f"parameters {dict(network.config)} need a newer pixelcodec") from error
    # Before memory is taken for what a small file may claim
    if (least := values.layers * values.stream * values.hidden) > network.parameters:
        raise ModelError(
            f"a network of {network.parameters:,} parameters; its configuration needs {least:,}"
        )
    with torch.random.fork_rng(devices=[]):
        return make(values)
