"""The production network: a masked convolutional network that decodes by wavefronts of slope 2.

A PixelCNN ("Pixel Recurrent Neural Networks", van den Oord et al. 2016, section 3.5) with residual
blocks (its figure 5) whose masks never look further right than ``2*dy - 1`` columns in ``dy`` rows
above, so that all pixels of equal ``x + 2*y`` can be decoded at once (its skew, section 3.3)::

    22 neighbours, centred on their median prediction, companded ---- 69 features
      | 1x1
    stream ------------------------------+
      | ReLU, masked 3x3 (W, NW, N, NE   |  x blocks
      | and the pixel), ReLU, 1x1        |
    stream <--------------- + -----------+
      | ReLU
      +--> R: 1x1, ReLU, 1x1 -> mixture of logistics
      +--> G: the same, from R's residual too
      +--> B: the same, from R's and G's residuals too

:class:`WavefrontPixelCNN` is the float network that trains, :class:`IntegerWavefrontPixelCNN` the
program that codes; :meth:`WavefrontPixelCNN.integer_network` leads from one to the other.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelcodec.errors import ModelError
from pixelcodec.models import context, likelihood, mixture
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
from pixelcodec.models.program import (
    Arithmetic,
    Canvas,
    Coarser,
    Conditionals,
    Plane,
    Samples,
)
from pixelcodec.models.quantise import integer_layer, restore, select_inputs

ARCHITECTURE = "wavefront-pixelcnn-1"
CHANNELS = context.CHANNELS
SAMPLES = "samples"
SEEN = CHANNELS - 1
"""Inputs of a head for the residuals of R and G; those it must not see have weights of zero."""


@dataclass(frozen=True)
class Config:
    """Hyperparameters.

    Attributes:
        width: channels of the stream.
        hidden: channels inside a block.
        blocks: count of residual blocks.
        head: hidden units of each channel's head.
        components: logistics in each mixture, 1 to 7.

    Raises:
        ModelError: a value is out of its range: a layer has at most 1024 inputs, and the mass of
            a mixture of more than 7 components could pass what coding is exact for.
    """

    width: int = 64
    hidden: int = 64
    blocks: int = 4
    head: int = 32
    components: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be exact."""
        ranges = {
            "width": (1, 204),
            "hidden": (1, 1024),
            "blocks": (0, 126),
            "head": (1, 1024),
            "components": (1, mixture.MOST_COMPONENTS),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and least <= value <= most):
                raise ModelError(f"a network of {name} {value!r}; it must be in {least}..{most}")


Rounding = tuple[float | Tensor, slice, float | Tensor]
"""Fractional bits, outputs and offset, see :func:`pixelcodec.models.quantise.integer_layer`."""


class WavefrontPixelCNN(QuantisationAware):
    """The float network."""

    def __init__(self, config: Config) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.config = config
        self.input = pointwise(context.FEATURES, config.width)
        self.spatial = nn.ModuleList(
            MaskedConv2d(config.width, config.hidden, _slope_2_mask()) for _ in range(config.blocks)
        )
        self.mix = nn.ModuleList(
            pointwise(config.hidden, config.width, gain=0.5) for _ in range(config.blocks)
        )
        self.head = MaskedConv2d(config.width + SEEN, CHANNELS * config.head, _head_mask(config))
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
        residuals = (samples - centre)[..., :SEEN].numpy()
        companded = torch.from_numpy(self._table.take(residuals + context.ZERO_DIFFERENCE))
        features = torch.from_numpy(seen.features).view(*shape, -1)
        stream = relu(self.trunk(as_channels(features.to(device))), self.input.quantised)
        parameters = self.heads(torch.cat([stream, as_channels(companded.to(device))], 1))
        return likelihood.bits_of_samples(parameters, samples.to(device), centre.to(device))

    def bits_of_seen(self, features: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
        """Bits of each sample of pixels whose trunk was run already.

        Args:
            features: int8 [n, width + SEEN], see :meth:`IntegerWavefrontPixelCNN.seen`.
            samples: uint8 [n, 3].
            centre: int16 [n, 3].

        Returns:
            float32 [n, 3], bits.
        """
        parameters = self.heads(as_channels(features[None, :, None]))[0, :, 0]
        return likelihood.bits_of_samples(parameters, samples, centre)

    def trunk(self, features: Tensor) -> Tensor:
        """[n, FEATURES, h, w] -> stream, [n, width, h, w]."""
        stream: Tensor = self.input(features)
        for spatial, mix in self._blocks():
            inside = spatial(relu(stream, self.input.quantised))
            stream = stream + mix(relu(inside, self.input.quantised))
        return stream

    def heads(self, seen: Tensor) -> Tensor:
        """ReLU of the stream, and residuals of R and G, [n, width + 2, h, w], to parameters.

        Returns:
            float32 [n, h, w, 3, parameters].
        """
        parameters = self.parameters_of(relu(self.head(seen), self.input.quantised))
        last: Tensor = parameters.permute(0, 2, 3, 1).float()
        return last.view(*last.shape[:3], CHANNELS, -1)

    def _blocks(self) -> Iterator[tuple[MaskedConv2d, MaskedConv2d]]:
        for spatial, mix in zip(self.spatial, self.mix, strict=True):
            yield cast(MaskedConv2d, spatial), cast(MaskedConv2d, mix)

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        layers = {
            name: select_inputs(integer_layer(layer, *how), inputs)
            for name, layer, how, inputs in self.integer_layers()
        }
        tables = {"companding": torch.from_numpy(self._table), **mixture.integer_tables()}
        return IntegerNetwork(ARCHITECTURE, asdict(self.config), layers, tables)

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

    def integer_layers(self) -> Iterator[tuple[str, MaskedConv2d, Rounding, slice]]:
        """Each integer layer's name, what it is made of, how, and those of its inputs it keeps."""
        half_activation = 2.0 ** (STREAM_BITS - ACTIVATION_BITS - 1)  # so that >> rounds
        every = slice(None)
        yield "input", self.input, (STREAM_BITS, every, half_activation), every
        for i, (spatial, mix) in enumerate(self._blocks()):
            yield f"spatial.{i}", spatial, (ACTIVATION_BITS, every, 0.0), every
            yield f"mix.{i}", mix, (STREAM_BITS, every, 0.0), every
        config = self.config
        count = mixture.parameters_of(config.components)
        for channel in range(CHANNELS):
            own = slice(channel * config.head, (channel + 1) * config.head)
            yield f"head.{channel}", self.head, (ACTIVATION_BITS, own, 0.0), every
            unused = mixture.SLOPES - channel
            outputs = slice(channel * count, (channel + 1) * count - unused)
            bits, offset = mixture.fixed_point(config.components, channel)
            yield f"parameters.{channel}", self.parameters_of, (bits, outputs, offset), own


def _slope_2_mask() -> Tensor:
    """Mask B, 3x3: its taps are W, the pixel, and NW, N, NE: at most one column right per row."""
    return mask_b(3)


def _head_mask(config: Config) -> Tensor:
    """All of the stream for all heads; R's residual for G and B, G's residual for B."""
    mask = torch.ones(CHANNELS, config.head, config.width + SEEN)
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


def as_channels(features: Tensor) -> Tensor:
    """Int8 [n, h, w, c] -> bfloat16 [n, c, h, w] in real units, laid out channels last."""
    real: Tensor = features.to(torch.bfloat16) * 2.0**-ACTIVATION_BITS
    return real.permute(0, 3, 1, 2)


class IntegerWavefrontPixelCNN:
    """The program that codes: :class:`WavefrontPixelCNN` in integers, on any set of pixels."""

    slope = 2
    sequential = False
    coarser: Coarser | None = None
    bit_depth = 8
    channels = (1, CHANNELS)
    tile = 0

    def __init__(self, network: IntegerNetwork, arithmetic: Arithmetic) -> None:
        """Make ``network`` ready to run by ``arithmetic``."""
        config = check(network)
        layers = {name: arithmetic.linear(layer) for name, layer in network.layers.items()}
        self._device, self._relu = arithmetic.device, arithmetic.relu
        self._input = layers["input"]
        self._blocks = [
            (f"spatial.{i}", layers[f"spatial.{i}"], layers[f"mix.{i}"])
            for i in range(config.blocks)
        ]
        self._heads = [
            (layers[f"head.{channel}"], layers[f"parameters.{channel}"])
            for channel in range(CHANNELS)
        ]
        self.companding = network.tables["companding"].numpy()
        self.mixture = mixture.MixtureHead(network.tables, config.components)
        taps = ((1, -1, 1), (0, -1, 0))
        samples = Plane(CHANNELS, torch.int16, context.OUTSIDE, context.RUNS, on_host=True)
        blocks = {name: Plane(config.width, torch.int8, 0, taps) for name, _, _ in self._blocks}
        self.planes = {SAMPLES: samples, **blocks}

    def look(self, canvas: Canvas) -> Conditionals:
        """Run all that does not depend on the pixels' own samples."""
        seen = context.centred_context(*canvas.on_host(SAMPLES), self.companding)
        features = torch.from_numpy(seen.features).to(self._device)
        return PixelMixtures(self, seen.centre, self._trunk(features, canvas))

    def seen(self, conditionals: Conditionals, samples: Samples) -> tuple[Tensor, Tensor]:
        """What the heads see of pixels whose samples (uint8 [n, 1 or 3]) are known.

        Returns:
            Int8 [n, width + SEEN], and the centre, int16 [n, 3].
        """
        assert isinstance(conditionals, PixelMixtures)
        for channel in range(SEEN):
            conditionals.reveal(channel, samples[:, min(channel, samples.shape[1] - 1)])
        return conditionals.seen.cpu(), torch.from_numpy(conditionals.centre)

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, gray ones in all channels."""
        storage, block = canvas.on_host(SAMPLES)
        rows = slice(block.row, block.row + block.rows)
        columns = slice(block.column, block.column + block.span)
        shape = (len(storage), block.rows, block.span, samples.shape[1])
        storage[:, rows, columns] = samples.reshape(shape)

    def _trunk(self, features: Tensor, canvas: Canvas) -> Tensor:
        """Int8 [pixels, FEATURES] -> what the heads see, int8 [pixels, width + SEEN].

        The residuals are zero.
        """
        stream = self._input(features)
        for plane, spatial, mix in self._blocks:
            taps = canvas.neighbourhoods(plane, self._relu(stream, _STREAM_TO_ACTIVATION))
            stream += mix(spatial.relu(taps))
        return nn.functional.pad(self._relu(stream, _STREAM_TO_ACTIVATION), (0, SEEN))

    def parameters(self, seen: Tensor, channel: int) -> Tensor:
        """The mixture's parameters for ``channel``: int32 [pixels, parameters]."""
        head, parameters = self._heads[channel]
        return parameters(head.relu(seen))


class PixelMixtures:
    """The mixtures of the pixels in hand."""

    def __init__(
        self, program: IntegerWavefrontPixelCNN, centre: npt.NDArray[np.int16], seen: Tensor
    ) -> None:
        """Take the centre (int16 [pixels, 3]) and what the heads see."""
        self.centre, self.seen = centre, seen
        self._program = program
        self._residuals = np.empty_like(centre)

    def distribution(self, channel: int) -> mixture.Mixture:
        """Of ``channel``, given the channels before, which were revealed."""
        parameters = self._program.parameters(self.seen, channel).cpu().numpy()
        return self._program.mixture(parameters, channel, self.centre, self._residuals)

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let the heads of later channels see the residuals of ``channel``."""
        if channel == SEEN:
            return
        residuals = samples - self.centre[:, channel]
        self._residuals[:, channel] = residuals
        companded = self._program.companding.take(residuals + context.ZERO_DIFFERENCE)
        self.seen[:, channel - SEEN] = torch.from_numpy(companded)


def check(network: IntegerNetwork) -> Config:
    """Its hyperparameters, if ``network`` holds just the integers that they call for.

    Raises:
        ModelError: it is of another architecture, or a layer or table is missing or misshapen.
    """
    if network.architecture != ARCHITECTURE:
        raise ModelError(f"architecture {network.architecture!r} needs a newer pixelcodec")
    unknown = set(network.config) - {field.name for field in fields(Config)}
    if unknown:
        raise ModelError(f"parameters {sorted(unknown)} need a newer pixelcodec")
    config = Config(**network.config)
    shapes = {name: tuple(layer.weight.shape) for name, layer in network.layers.items()}
    if shapes != _layer_shapes(config):
        raise ModelError(f"the layers of a network are not those of its configuration: {shapes}")
    for name, layer in network.layers.items():
        outputs = layer.weight.shape[1:]
        if layer.bias.shape != outputs or layer.shift.shape != outputs:
            raise ModelError(f"layer {name} has other counts of weights, biases and shifts")
    if set(network.tables) != _TABLES:
        raise ModelError(f"a network with the tables {sorted(network.tables)}; needs {_TABLES}")
    context.check_table(network.tables["companding"])
    mixture.check_tables(network.tables)
    return config


def _layer_shapes(config: Config) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each layer."""
    shapes = {"input": (context.FEATURES, config.width)}
    for block in range(config.blocks):
        shapes[f"spatial.{block}"] = (5 * config.width, config.hidden)
        shapes[f"mix.{block}"] = (config.hidden, config.width)
    for channel in range(CHANNELS):
        shapes[f"head.{channel}"] = (config.width + SEEN, config.head)
        shapes[f"parameters.{channel}"] = (config.head, 3 * config.components + channel)
    return shapes


_TABLES = {"companding", "sigmoid", "inverse_scale", "exp"}

_STREAM_TO_ACTIVATION = STREAM_BITS - ACTIVATION_BITS
