"""The network for gray images of 8 or 16 bits, whatever their amplitude.

What its trunk (:mod:`pixelcodec.models.wavefront`) sees, and what its one head gives, is in local
units. Both layers of the head see the features, too, so that predictions that are linear in them
come easily::

    22 neighbours and 10 predictors, from the median prediction, in local units
      |                     |   |
    trunk, 1x1 <------------+   |
      | ReLU                    |
    1x1 <-----------------------+
      |
    mixture of logistics

:class:`WavefrontGray` is the float network that trains, :class:`IntegerWavefrontGray` the program
that codes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixelcodec.models import gray_context, scaled_mixture
from pixelcodec.models.checks import check_integers, config_of
from pixelcodec.models.context import RUNS
from pixelcodec.models.gray_context import FEATURES
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d, pointwise
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Plane, Samples
from pixelcodec.models.wavefront import (
    EVERY,
    SAMPLES,
    IntegerWavefront,
    Rounding,
    Wavefront,
    WavefrontConfig,
    as_channels,
    trunk_shapes,
)

ARCHITECTURE = "wavefront-gray-1"


@dataclass(frozen=True)
class Config(WavefrontConfig):
    """Hyperparameters, those of all wavefront networks and one more.

    Attributes:
        channels: of an image.
        bit_depth: of samples, 8 or 16.
    """

    allowed: ClassVar = {
        **WavefrontConfig.allowed,
        "head": range(1, 1025 - FEATURES),
        "bit_depth": (8, 16),
    }
    channels: ClassVar = 1

    width: int = 32
    hidden: int = 32
    blocks: int = 3
    head: int = 32
    components: int = 5
    bit_depth: int = 16


class WavefrontGray(Wavefront):
    """The float network."""

    def __init__(self, config: Config) -> None:
        """Make a network with random weights."""
        super().__init__(FEATURES, config)
        self.config = config
        self.head = pointwise(config.width + FEATURES, config.head)
        self.parameters_of = pointwise(config.head + FEATURES, 3 * config.components, gain=0.2)
        with torch.no_grad():  # symmetric components would learn alike
            bias = self.parameters_of.bias.view(3, -1)
            bias[1] = torch.linspace(-0.5, 0.5, config.components)
            bias[2] = torch.linspace(-1.0, 0.5, config.components)
        self._tables = [table.numpy() for table in gray_context.integer_tables().values()]

    @property
    def output_layers(self) -> list[nn.Module]:
        """Those that give the parameters of distributions."""
        return [self.parameters_of]

    def forward(self, samples: Tensor) -> Tensor:
        """Bits of each sample of whole images.

        Args:
            samples: integer [images, height, width, 1], on the CPU.

        Returns:
            float32 [images, height, width, 1], bits.
        """
        device, bit_depth = self.input.weight.device, self.config.bit_depth
        companding, inverse_unit = self._tables
        seen = gray_context.context_of_images(samples.numpy(), companding, inverse_unit, bit_depth)
        features = torch.from_numpy(seen.features).to(device).view(*samples.shape[:3], FEATURES)
        real = as_channels(features)
        parameters = self.heads(real, self.trunk(real))
        centre, unit = (
            torch.from_numpy(found).to(device).view(samples.shape[:3])
            for found in (seen.centre, seen.unit)
        )
        values = samples.to(torch.int32).to(device)[..., 0]
        bits = scaled_mixture.bits_of_samples(parameters, values, centre, unit, bit_depth)
        return bits[..., None]

    def heads(self, features: Tensor, activations: Tensor) -> Tensor:
        """Features and activations, [n, ..., h, w], to float32 [n, h, w, parameters]."""
        units = self.relu(self.head(torch.cat([activations, features], 1)))
        parameters: Tensor = self.parameters_of(torch.cat([units, features], 1))
        return parameters.permute(0, 2, 3, 1).float()

    def integer_layers(self) -> Iterator[tuple[str, MaskedConv2d, Rounding, slice]]:  # noqa: D102
        yield from super().integer_layers()
        yield "head", self.head, Rounding(ACTIVATION_BITS), EVERY
        bits, offset = scaled_mixture.fixed_point(self.config.components)
        yield "parameters", self.parameters_of, Rounding(bits, offset=offset), EVERY

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        tables = {**gray_context.integer_tables(), **scaled_mixture.integer_tables()}
        return IntegerNetwork(ARCHITECTURE, asdict(self.config), self.rounded(), tables)


class IntegerWavefrontGray(IntegerWavefront):
    """The program that codes: :class:`WavefrontGray` in integers, on any set of pixels."""

    channels = (1,)

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``."""
        config = check(network)
        outside = gray_context.outside(config.bit_depth)
        samples = Plane(1, torch.int32, outside, RUNS, on_host=True)
        super().__init__(network, config, arithmetic, samples)
        self.bit_depth = config.bit_depth
        self._head, self._parameters = self._layers["head"], self._layers["parameters"]
        self._tables = [network.tables[name].numpy() for name in ("companding", "inverse_unit")]
        self.mixture = scaled_mixture.ScaledMixtureHead(
            network.tables, config.components, config.bit_depth
        )

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all that does not depend on the pixels' own samples."""
        seen = self.context(canvas)
        features = torch.from_numpy(seen.features).to(self._device)
        activations = self.activations(features, canvas)
        units = self._head.relu(torch.cat([activations, features], 1))
        parameters = self._parameters(torch.cat([units, features], 1)).cpu().numpy()
        return GrayMixtures(self.mixture(parameters, seen.centre, seen.unit))

    def context(self, canvas: Canvas) -> gray_context.Context:
        """Of the pixels in hand."""
        storage, block = canvas.on_host(SAMPLES)
        companding, inverse_unit = self._tables
        return gray_context.gray_context(storage, block, companding, inverse_unit, self.bit_depth)


class GrayMixtures:
    """The mixtures of the pixels in hand, of their one channel."""

    def __init__(self, found: scaled_mixture.ScaledMixture) -> None:
        """Take them."""
        self._found = found

    def distribution(self, channel: int) -> scaled_mixture.ScaledMixture:
        """That of the one channel."""
        return self._found

    def reveal(self, channel: int, samples: Samples) -> None:
        """No channel comes later."""


def check(network: IntegerNetwork) -> Config:
    """Its hyperparameters, if ``network`` holds just the integers that they call for.

    Raises:
        ModelError: it is of another architecture, or a layer or table is missing or misshapen.
    """
    config = config_of(network, ARCHITECTURE, Config)
    shapes = {
        **trunk_shapes(FEATURES, config),
        "head": (config.width + FEATURES, config.head),
        "parameters": (config.head + FEATURES, 3 * config.components),
    }
    tables = {"companding", "inverse_unit", "sigmoid", "inverse_scale", "exp", "unit"}
    check_integers(network, shapes, tables)
    gray_context.check_tables(network.tables["companding"], network.tables["inverse_unit"])
    scaled_mixture.check_tables(network.tables)
    return config
