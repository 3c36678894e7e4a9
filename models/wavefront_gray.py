"""The network for gray images of 8 or 16 bits, whatever their amplitude.

The trunk is that of :mod:`pixelcodec.models.wavefront_pixelcnn`. What it sees, and what its one
head gives, is in local units. Both layers of the head see the features, too, so that predictions
that are linear in them come easily::

    22 neighbours and 10 predictors, from the median prediction, in local units ---+---+
      | 1x1                                                                        |   |
    stream ------------------------------+                                         |   |
      | ReLU, masked 3x3 (W, NW, N, NE   |  x blocks                               |   |
      | and the pixel), ReLU, 1x1        |                                         |   |
    stream <--------------- + -----------+                                         |   |
      | ReLU                                                                       |   |
    1x1 <--------------------------------------------------------------------------+   |
      | ReLU                                                                           |
    1x1 <------------------------------------------------------------------------------+
      |
    mixture of logistics

:class:`WavefrontGray` is the float network that trains, :class:`IntegerWavefrontGray` the program
that codes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelcodec.errors import ModelError
from pixelcodec.models import gray_context, scaled_mixture
from pixelcodec.models.context import RUNS
from pixelcodec.models.gray_context import FEATURES
from pixelcodec.models.layers import (
    ACTIVATION_BITS,
    STREAM_BITS,
    MaskedConv2d,
    QuantisationAware,
    mask_b,
    pointwise,
    relu,
)
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Coarser, Conditionals, Plane
from pixelcodec.models.quantise import integer_layer

ARCHITECTURE = "wavefront-gray-1"
SAMPLES = "samples"

Samples = npt.NDArray[Any]
"""uint8, of 16 bits uint16."""


@dataclass(frozen=True)
class Config:
    """Hyperparameters.

    Attributes:
        width: channels of the stream.
        hidden: channels inside a block.
        blocks: count of residual blocks.
        head: hidden units of the head.
        components: logistics in the mixture, 1 to 7.
        bit_depth: of samples, 8 or 16.

    Raises:
        ModelError: a value is out of its range: a layer has at most 1024 inputs, and the mass of
            a mixture of more than 7 components could pass what coding is exact for.
    """

    width: int = 32
    hidden: int = 32
    blocks: int = 3
    head: int = 32
    components: int = 5
    bit_depth: int = 16

    def __post_init__(self) -> None:
        """Refuse what cannot be exact."""
        ranges = {
            "width": range(1, 205),
            "hidden": range(1, 1025),
            "blocks": range(127),
            "head": range(1, 1025 - FEATURES),
            "components": range(1, 8),
            "bit_depth": (8, 16),
        }
        for name, allowed in ranges.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and value in allowed):
                raise ModelError(f"a network of {name} {value!r}; it must be in {allowed}")


class WavefrontGray(QuantisationAware):
    """The float network."""

    def __init__(self, config: Config) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.config = config
        width, hidden, count = config.width, config.hidden, 3 * config.components
        self.input = pointwise(FEATURES, width)
        self.spatial = nn.ModuleList(
            MaskedConv2d(width, hidden, mask_b(3)) for _ in range(config.blocks)
        )
        self.mix = nn.ModuleList(pointwise(hidden, width, gain=0.5) for _ in range(config.blocks))
        self.head = pointwise(width + FEATURES, config.head)
        self.parameters_of = pointwise(config.head + FEATURES, count, gain=0.2)
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
        real = features.to(torch.bfloat16).mul_(2.0**-ACTIVATION_BITS).permute(0, 3, 1, 2)
        parameters = self.heads(real, relu(self.trunk(real), self.input.quantised))
        centre, unit = (
            torch.from_numpy(found).to(device).view(samples.shape[:3])
            for found in (seen.centre, seen.unit)
        )
        values = samples.to(torch.int32).to(device)[..., 0]
        bits = scaled_mixture.bits_of_samples(parameters, values, centre, unit, bit_depth)
        return bits[..., None]

    def trunk(self, features: Tensor) -> Tensor:
        """[n, FEATURES, h, w] -> stream, [n, width, h, w]."""
        stream: Tensor = self.input(features)
        for spatial, mix in self._blocks():
            inside = spatial(relu(stream, self.input.quantised))
            stream = stream + mix(relu(inside, self.input.quantised))
        return stream

    def heads(self, features: Tensor, activations: Tensor) -> Tensor:
        """Features and ReLU of the stream, [n, ..., h, w], to float32 [n, h, w, parameters]."""
        units = relu(self.head(torch.cat([activations, features], 1)), self.input.quantised)
        parameters: Tensor = self.parameters_of(torch.cat([units, features], 1))
        return parameters.permute(0, 2, 3, 1).float()

    def _blocks(self) -> Iterator[tuple[MaskedConv2d, MaskedConv2d]]:
        for spatial, mix in zip(self.spatial, self.mix, strict=True):
            yield cast(MaskedConv2d, spatial), cast(MaskedConv2d, mix)

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        half_activation = 2.0 ** (STREAM_BITS - ACTIVATION_BITS - 1)  # so that >> rounds
        layers = {"input": integer_layer(self.input, STREAM_BITS, offset=half_activation)}
        for i, (spatial, mix) in enumerate(self._blocks()):
            layers[f"spatial.{i}"] = integer_layer(spatial, ACTIVATION_BITS)
            layers[f"mix.{i}"] = integer_layer(mix, STREAM_BITS)
        layers["head"] = integer_layer(self.head, ACTIVATION_BITS)
        bits, offset = scaled_mixture.fixed_point(self.config.components)
        layers["parameters"] = integer_layer(self.parameters_of, bits, offset=offset)
        tables = {**gray_context.integer_tables(), **scaled_mixture.integer_tables()}
        return IntegerNetwork(ARCHITECTURE, asdict(self.config), layers, tables)


class IntegerWavefrontGray:
    """The program that codes: :class:`WavefrontGray` in integers, on any set of pixels."""

    slope = 2
    sequential = False
    coarser: Coarser | None = None
    channels = (1,)
    tile = 0

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``."""
        config = check(network)
        layers = {name: arithmetic.linear(layer) for name, layer in network.layers.items()}
        self.bit_depth = config.bit_depth
        self._device, self._relu = arithmetic.device, arithmetic.relu
        self._input, self._head = layers["input"], layers["head"]
        self._parameters = layers["parameters"]
        self._blocks = [
            (f"spatial.{i}", layers[f"spatial.{i}"], layers[f"mix.{i}"])
            for i in range(config.blocks)
        ]
        self._tables = [network.tables[name].numpy() for name in ("companding", "inverse_unit")]
        self.mixture = scaled_mixture.ScaledMixtureHead(
            network.tables, config.components, config.bit_depth
        )
        outside = gray_context.outside(config.bit_depth)
        samples = Plane(1, torch.int32, outside, RUNS, on_host=True)
        taps = ((1, -1, 1), (0, -1, 0))
        blocks = {name: Plane(config.width, torch.int8, 0, taps) for name, _, _ in self._blocks}
        self.planes = {SAMPLES: samples, **blocks}

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

    def activations(self, features: Tensor, canvas: Canvas) -> Tensor:
        """The trunk: int8 [pixels, FEATURES] -> [pixels, width]."""
        stream = self._input(features)
        for plane, spatial, mix in self._blocks:
            taps = canvas.neighbourhoods(plane, self._relu(stream, _STREAM_TO_ACTIVATION))
            stream += mix(spatial.relu(taps))
        return self._relu(stream, _STREAM_TO_ACTIVATION)

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples`` [pixels, 1]."""
        storage, block = canvas.on_host(SAMPLES)
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        storage[:, rows, columns] = samples.reshape(len(storage), block.rows, block.span, 1)


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
    if network.architecture != ARCHITECTURE:
        raise ModelError(f"architecture {network.architecture!r} needs a newer pixelcodec")
    try:
        config = Config(**network.config)
    except TypeError as error:
        raise ModelError(f"parameters {sorted(network.config)} need a newer pixelcodec") from error
    network.check_like(WavefrontGray(config).integer_network())
    gray_context.check_tables(network.tables["companding"], network.tables["inverse_unit"])
    scaled_mixture.check_tables(network.tables)
    return config


_STREAM_TO_ACTIVATION = STREAM_BITS - ACTIVATION_BITS
