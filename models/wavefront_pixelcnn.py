"""The production network: a masked convolutional network that decodes by wavefronts of slope 2.

Its trunk is that of :mod:`pixelcodec.models.wavefront`; each channel has a head::

    22 neighbours, centred on their median prediction, companded: 69 features
      |
    trunk
      +--> R: 1x1, ReLU, 1x1 -> mixture of logistics
      +--> G: the same, from R's residual too
      +--> B: the same, from R's and G's residuals too

:class:`WavefrontPixelCNN` is the float network that trains, :class:`IntegerWavefrontPixelCNN` the
program that codes; :meth:`WavefrontPixelCNN.integer_network` leads from one to the other.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelcodec.models import context, likelihood, mixture
from pixelcodec.models.checks import check_integers, config_of
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Arithmetic, Canvas, Conditionals, Distribution, Plane, Samples
from pixelcodec.models.quantise import restore
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

ARCHITECTURE = "wavefront-pixelcnn-1"
CHANNELS = context.CHANNELS
RESIDUALS = CHANNELS - 1
"""Inputs of a head for the residuals of R and G; those it must not see have weights of zero."""


@dataclass(frozen=True)
class Config(WavefrontConfig):
    """Hyperparameters, those of all wavefront networks: each channel has a head and a mixture.

    Attributes:
        channels: of an image.
        bit_depth: of a sample.
    """

    channels: ClassVar = CHANNELS
    bit_depth: ClassVar = 8

    width: int = 64
    hidden: int = 64
    blocks: int = 4
    head: int = 32
    components: int = 5


class WavefrontPixelCNN(Wavefront):
    """The float network."""

    def __init__(self, config: Config) -> None:
        """Make a network with random weights."""
        super().__init__(context.FEATURES, config)
        self.config = config
        self.head = MaskedConv2d(
            config.width + RESIDUALS, CHANNELS * config.head, _head_mask(config)
        )
        self.parameters_of = MaskedConv2d(
            CHANNELS * config.head,
            CHANNELS * mixture.parameters_of(config.components),
            _parameter_mask(config),
            gain=0.3,
        )
        _spread_components(self.parameters_of)
        self._table = context.companding_table()

    @property
    def output_layers(self) -> list[nn.Module]:
        """Those that give the parameters of distributions."""
        return [self.head, self.parameters_of]

    def forward(self, samples: Tensor) -> Tensor:
        """Bits of each sample of whole images.

        Args:
            samples: uint8 [images, height, width, 3], on the CPU.

        Returns:
            float32 [images, height, width, 3], bits.
        """
        device = self.input.weight.device
        seen = context.context_of_images(samples.numpy(), self._table)
        shape = samples.shape[:3]
        centre = torch.from_numpy(seen.centre).view(samples.shape)
        residuals = (samples - centre)[..., :RESIDUALS].numpy()
        companded = torch.from_numpy(self._table.take(residuals + context.ZERO_DIFFERENCE))
        features = torch.from_numpy(seen.features).view(*shape, -1)
        activations = self.trunk(as_channels(features.to(device)))
        parameters = self.heads(torch.cat([activations, as_channels(companded.to(device))], 1))
        return likelihood.bits_of_samples(parameters, samples.to(device), centre.to(device))

    def bits_of_seen(self, features: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
        """Bits of each sample of pixels whose trunk was run already.

        Args:
            features: int8 [n, width + RESIDUALS], see :meth:`IntegerWavefrontPixelCNN.seen`.
            samples: uint8 [n, 3].
            centre: int16 [n, 3].

        Returns:
            float32 [n, 3], bits.
        """
        parameters = self.heads(as_channels(features[None, :, None]))[0, :, 0]
        return likelihood.bits_of_samples(parameters, samples, centre)

    def heads(self, seen: Tensor) -> Tensor:
        """Activations, and residuals of R and G, [n, width + 2, h, w], to parameters.

        Returns:
            float32 [n, h, w, 3, parameters].
        """
        parameters = self.parameters_of(self.relu(self.head(seen)))
        last: Tensor = parameters.permute(0, 2, 3, 1).float()
        return last.view(*last.shape[:3], CHANNELS, -1)

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        tables = {"companding": torch.from_numpy(self._table), **mixture.integer_tables()}
        return IntegerNetwork(ARCHITECTURE, asdict(self.config), self.rounded(), tables)

    @classmethod
    def from_integers(cls, network: IntegerNetwork) -> Self:
        """The float network that rounds to ``network``; rounding stays on, its scales stay.

        Raises:
            ModelError: it is of another architecture, or damaged.
        """
        found = cls(check(network))
        for layer in (found.head, found.parameters_of):
            nn.init.zeros_(layer.weight)  # of what no integer layer holds
            nn.init.zeros_(layer.bias)
        for name, layer, how, inputs in found.integer_layers():
            restore(layer, network.layers[name], *how, inputs=inputs)
        found.quantise()
        return found

    def integer_layers(self) -> Iterator[tuple[str, MaskedConv2d, Rounding, slice]]:  # noqa: D102
        yield from super().integer_layers()
        config = self.config
        count = mixture.parameters_of(config.components)
        for channel in range(CHANNELS):
            own = slice(channel * config.head, (channel + 1) * config.head)
            yield f"head.{channel}", self.head, Rounding(ACTIVATION_BITS, own), EVERY
            unused = mixture.SLOPES - channel
            outputs = slice(channel * count, (channel + 1) * count - unused)
            bits, offset = mixture.fixed_point(config.components, channel)
            yield f"parameters.{channel}", self.parameters_of, Rounding(bits, outputs, offset), own


def _head_mask(config: Config) -> Tensor:
    """All of the stream for all heads; R's residual for G and B, G's residual for B."""
    mask = torch.ones(CHANNELS, config.head, config.width + RESIDUALS)
    for channel in range(CHANNELS):
        mask[channel, :, config.width + channel :] = 0
    return mask.flatten(0, 1)[..., None, None]


def _parameter_mask(config: Config) -> Tensor:
    """Each head's parameters from its own hidden units."""
    count = mixture.parameters_of(config.components)
    mask = torch.zeros(CHANNELS, count, CHANNELS, config.head)
    for channel in range(CHANNELS):
        mask[channel, :, channel] = 1
    return mask.flatten(2).flatten(0, 1)[..., None, None]


def _spread_components(layer: MaskedConv2d) -> None:
    """Start the mixture with different means and scales, as symmetric ones learn alike."""
    with torch.no_grad():
        bias = layer.bias.view(CHANNELS, -1)
        count = (bias.shape[1] - mixture.SLOPES) // 3
        bias[:, count : 2 * count] = torch.linspace(-0.5, 0.5, count)
        bias[:, 2 * count : 3 * count] = torch.linspace(-0.5, 1.5, count)


class IntegerWavefrontPixelCNN(IntegerWavefront):
    """The program that codes: :class:`WavefrontPixelCNN` in integers, on any set of pixels."""

    bit_depth = 8
    channels = (1, CHANNELS)

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``."""
        config = check(network)
        samples = Plane(CHANNELS, torch.int16, context.OUTSIDE, context.RUNS, on_host=True)
        super().__init__(network, config, arithmetic, samples)
        self._heads = [
            (self._layers[f"head.{channel}"], self._layers[f"parameters.{channel}"])
            for channel in range(CHANNELS)
        ]
        self.companding = network.tables["companding"].numpy()
        self.mixture = mixture.MixtureHead(network.tables, config.components)

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all that does not depend on the pixels' own samples."""
        seen, activations = self.trunk(canvas)
        return PixelMixtures(self, seen.centre, inputs_of_heads(activations))

    def trunk(self, canvas: Canvas) -> tuple[context.Context, Tensor]:
        """The context of the pixels in hand, and the trunk's activations, int8 [pixels, width]."""
        seen = context.centred_context(*canvas.on_host(SAMPLES), self.companding)
        features = torch.from_numpy(seen.features).to(self._device)
        return seen, self.activations(features, canvas)

    def seen(self, conditionals: Conditionals, samples: Samples) -> tuple[Tensor, Tensor]:
        """What the heads see of pixels whose samples (uint8 [n, 1 or 3]) are known.

        Returns:
            Int8 [n, width + RESIDUALS], and the centre, int16 [n, 3].
        """
        assert isinstance(conditionals, PixelMixtures)
        for channel in range(RESIDUALS):
            conditionals.reveal(channel, samples[:, min(channel, samples.shape[1] - 1)])
        return conditionals.seen.cpu(), torch.from_numpy(conditionals.centre)

    def parameters(self, seen: Tensor, channel: int) -> Tensor:
        """The mixture's parameters for ``channel``: int32 [pixels, parameters]."""
        head, parameters = self._heads[channel]
        return parameters(head.relu(seen))


def inputs_of_heads(activations: Tensor) -> Tensor:
    """Activations of the trunk, int8 [pixels, width], and residuals that are not known yet."""
    return nn.functional.pad(activations, (0, RESIDUALS))


class PixelMixtures:
    """The mixtures of the pixels in hand."""

    def __init__(
        self, program: IntegerWavefrontPixelCNN, centre: npt.NDArray[np.int16], seen: Tensor
    ) -> None:
        """Take the centre (int16 [pixels, 3]) and what the heads see, with residuals of zero."""
        self.centre, self.seen = centre, seen
        self._program = program
        self._residuals = np.empty_like(centre)

    def distribution(self, channel: int) -> Distribution:
        """Of ``channel``, given the channels before, which were revealed."""
        return self.mixture(channel)

    def mixture(self, channel: int) -> mixture.Mixture:
        """What the network says of ``channel``."""
        parameters = self._program.parameters(self.seen, channel).cpu().numpy()
        return self._program.mixture(parameters, channel, self.centre, self._residuals)

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let the heads of later channels see the residuals of ``channel``."""
        if channel == RESIDUALS:
            return
        residuals = samples - self.centre[:, channel]
        self._residuals[:, channel] = residuals
        companded = self._program.companding.take(residuals + context.ZERO_DIFFERENCE)
        self.seen[:, channel - RESIDUALS] = torch.from_numpy(companded)


def check(network: IntegerNetwork) -> Config:
    """Its hyperparameters, if ``network`` holds just the integers that they call for.

    Raises:
        ModelError: it is of another architecture, or a layer or table is missing or misshapen.
    """
    config = config_of(network, ARCHITECTURE, Config)
    shapes = trunk_shapes(context.FEATURES, config)
    for channel in range(CHANNELS):
        shapes[f"head.{channel}"] = (config.width + RESIDUALS, config.head)
        shapes[f"parameters.{channel}"] = (config.head, 3 * config.components + channel)
    check_integers(network, shapes, {"companding", "sigmoid", "inverse_scale", "exp"})
    context.check_table(network.tables["companding"])
    mixture.check_tables(network.tables)
    return config
