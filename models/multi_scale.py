"""Multi-Scale PixelRNN, as in "Pixel Recurrent Neural Networks", van den Oord et al. 2016, 3.6.

One network draws the small image of every second (or fourth) pixel of every second (or fourth) row;
an upsampling network makes maps of it, which bias each layer of another network::

    small image -> Row LSTM
         | 3x3, ReLU, 3x3, ReLU (no masks)
         | deconvolution, ReLU
       maps, 1x1 -> each layer's gates
    image -> Row LSTM

Both are Row LSTMs of one size (:mod:`pixelcodec.models.row_lstm`). What the small image holds is
known where the large one is drawn or coded: no pixel counts twice.

:class:`MultiScale` is the float network that trains, :class:`IntegerMultiScale` the program that
codes.
"""

from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixelcodec.models import lstm
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d, QuantisationAware, relu
from pixelcodec.models.network import IntegerLayer, IntegerNetwork
from pixelcodec.models.paper import PaperProgram, features_of, in_real_units, template_of
from pixelcodec.models.program import MAPS, Arithmetic, Coarser, Linear, Plane, Samples
from pixelcodec.models.quantise import integer_layer
from pixelcodec.models.row_lstm import RowConfig, RowLayerProgram, RowLSTM

ARCHITECTURE = "multi-scale-row-lstm-1"
KERNEL = 3
"""Of the convolutions of the small image."""


@dataclass(frozen=True)
class MultiScaleConfig(RowConfig):
    """Hyperparameters of both Row LSTMs, and of what lies between them.

    Attributes:
        step: the small image is that of every ``step``-th pixel and row.
        maps: that bias the layers of the large network.
    """

    allowed: ClassVar = {
        **RowConfig.allowed,
        "hidden": range(3, 131),  # gates see 7h and the maps
        "step": (2, 4),
        "maps": range(3, 114),  # a kernel of 3x3 sees 9 times as many
    }

    step: int = 2
    maps: int = 32

    @property
    def of_rows(self) -> RowConfig:
        """Of each Row LSTM."""
        return RowConfig(**{f.name: getattr(self, f.name) for f in fields(RowConfig)})


# Training ----------------------------------------------------------------------------------------


class Upsampler(nn.Module):
    """From the small image to maps of the large one."""

    def __init__(self, config: MultiScaleConfig) -> None:
        """Make it with random weights."""
        super().__init__()
        everything = torch.ones(1, 1, KERNEL, KERNEL)
        self.step = config.step
        self.samples = MaskedConv2d(config.channels, config.maps, everything)
        self.context = MaskedConv2d(config.maps, config.maps, everything)
        # Of kernel and stride ``step``: each place of the small image gives step x step places
        enlarged = config.step**2 * config.maps
        self.enlarge = MaskedConv2d(config.maps, enlarged, torch.ones(1, 1, 1, 1))

    def forward(self, small: Tensor, height: int, width: int) -> Tensor:
        """The small image in real units [n, channels, h, w] -> [n, maps, height, width]."""
        quantised = self.enlarge.quantised
        maps = relu(self.samples(small), quantised)
        maps = relu(self.context(maps), quantised)
        enlarged = nn.functional.pixel_shuffle(self.enlarge(maps), self.step)
        return relu(enlarged[..., :height, :width], quantised)

    def integer_layers(self) -> dict[str, IntegerLayer]:
        """Round to integers."""
        return {name: integer_layer(getattr(self, name), ACTIVATION_BITS) for name in UPSAMPLING}


UPSAMPLING = ("samples", "context", "enlarge")
"""The layers of the upsampling network, in order."""


class MultiScale(QuantisationAware):
    """The float network."""

    architecture = ARCHITECTURE

    def __init__(self, config: MultiScaleConfig) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.config = config
        self.small = RowLSTM(config.of_rows)
        self.upsampler = Upsampler(config)
        self.large = RowLSTM(config.of_rows, config.maps)

    @property
    def output_layers(self) -> list[nn.Module]:
        """Those that give the logits."""
        return self.small.output_layers + self.large.output_layers

    def forward(self, samples: Tensor) -> Tensor:
        """Bits of each sample of whole images, those of the small image where its pixels lie.

        Args:
            samples: uint8 [images, height, width, channels].

        Returns:
            float32 [images, height, width, channels], bits.
        """
        samples = samples.to(self.upsampler.samples.weight.device)
        step, (height, width) = self.config.step, samples.shape[1:3]
        small = samples[:, ::step, ::step]
        seen = in_real_units(features_of(small, self.config.bit_depth))
        bits: Tensor = self.large(samples, self.upsampler(seen, height, width))
        bits[:, ::step, ::step] = self.small(small)
        return bits

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        parts = {
            "small": self.small.integer_network().layers,
            "upsampler": self.upsampler.integer_layers(),
            "large": self.large.integer_network().layers,
        }
        layers = {f"{part}.{name}": parts[part][name] for part in parts for name in parts[part]}
        return IntegerNetwork(ARCHITECTURE, asdict(self.config), layers, self.small.tables())


# Coding ------------------------------------------------------------------------------------------


class IntegerUpsampler:
    """:class:`Upsampler` in integers."""

    def __init__(
        self, network: IntegerNetwork, arithmetic: Arithmetic, config: MultiScaleConfig
    ) -> None:
        """Make the layers of ``network`` ready to run."""
        self._samples, self._context, self._enlarge = (
            arithmetic.linear(network.layers[name]) for name in UPSAMPLING
        )
        self._config, self._device = config, arithmetic.device

    def __call__(self, small: Samples, height: int, width: int) -> Tensor:
        """The small image, uint8 [n, h, w, channels] -> maps, int8 [n, height, width, maps]."""
        known = torch.from_numpy(small).to(self._device)
        maps = convolved(self._samples, features_of(known, self._config.bit_depth))
        maps = convolved(self._context, maps)
        enlarged = self._enlarge.relu(maps.flatten(0, 2))
        return shuffled(enlarged.view(*maps.shape[:3], -1), self._config.step)[:, :height, :width]


def convolved(layer: Linear, values: Tensor) -> Tensor:
    """A convolution of 3x3 and ReLU: int8 [n, h, w, inputs] -> int8 [n, h, w, outputs]."""
    images, height, width, inputs = values.shape
    margin = KERNEL // 2
    padded = nn.functional.pad(values, (0, 0, margin, margin, margin, margin))
    taps = padded.unfold(1, KERNEL, 1).unfold(2, KERNEL, 1).permute(0, 1, 2, 4, 5, 3)
    out = layer.relu(taps.reshape(-1, KERNEL * KERNEL * inputs))
    return out.view(images, height, width, -1)


def shuffled(values: Tensor, step: int) -> Tensor:
    """As torch's pixel_shuffle, channels last: [n, h, w, c * step**2] -> [n, h * step, ...]."""
    images, height, width, _ = values.shape
    split = values.view(images, height, width, -1, step, step).permute(0, 1, 4, 2, 5, 3)
    return split.reshape(images, height * step, width * step, -1)


class IntegerMultiScale(PaperProgram):
    """The program that codes: :class:`MultiScale` in integers."""

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``.

        Raises:
            ModelError: its integers are not those that its configuration needs.
        """
        template = template_of(MultiScale, MultiScaleConfig, network)
        network.check_like(template.integer_network())
        config = template.config
        make_layer = partial(
            RowLayerProgram, tables=lstm.ready_tables(network.tables, arithmetic.device)
        )
        large = partial(make_layer, maps=True)
        super().__init__(part(network, "large"), arithmetic, template.large, large)
        self.planes |= {MAPS: Plane(config.maps, torch.int8, 0, ((0, 0, 0),))}
        small = PaperProgram(part(network, "small"), arithmetic, template.small, make_layer)
        upsampler = IntegerUpsampler(part(network, "upsampler"), arithmetic, config)
        self.coarser = Coarser(config.step, small, upsampler)


def part(network: IntegerNetwork, name: str) -> IntegerNetwork:
    """The layers of ``network`` whose names begin with ``NAME.``, without that."""
    prefix = f"{name}."
    layers = {
        full.removeprefix(prefix): layer
        for full, layer in network.layers.items()
        if full.startswith(prefix)
    }
    return IntegerNetwork(network.architecture, network.config, layers, network.tables)
