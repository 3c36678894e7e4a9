"""The float network of :mod:`pixelcodec.models.graphics`, which trains."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelcodec.compiled import compiled
from pixelcodec.models import context, mixture
from pixelcodec.models.candidates import (
    CHANNELS,
    CONTEXT_FEATURES,
    EXTRA,
    FEATURES,
    MOST,
    NOVELTY,
    OUTSIDE,
    TAPS,
    gather,
)
from pixelcodec.models.graphics import ARCHITECTURE, Config, integer_tables
from pixelcodec.models.layers import (
    ACTIVATION_BITS,
    MaskedConv2d,
    QuantisationAware,
    pointwise,
    relu,
)
from pixelcodec.models.memory import CONTEXTS, Memory, pack, take_in
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.palette import Palette, add, count_levels, is_known
from pixelcodec.models.quantise import integer_layer

Samples = npt.NDArray[np.uint8]
Integers = npt.NDArray[Any]

SLOPE = 2
LOGIT_BITS = 5
_MARGIN = 3
_NEVER = -1e9
_SLOTS = 2**15
"""Of a context: patches are small, and a large memory takes long to make."""


@dataclass(frozen=True)
class Seen:
    """What the network sees of n pixels, in the order of waves.

    Attributes:
        places: int64 [n, 2], row and column.
        counts: int64 [n], of candidates.
        targets: int64 [n], which row the pixel is: a candidate; their count for a new colour; one
            more for a seen one.
        rows: see :class:`pixelcodec.models.candidates.Candidates`, like centre and context.
        centre: likewise.
        context: likewise.
        levels: uint16 [m, 4, 256], of the first m pixels of seen colours: how many seen colours
            that go on from the channels before have each level of a channel.
    """

    places: Integers
    counts: Integers
    targets: Integers
    rows: Integers
    centre: Integers
    context: Integers
    levels: Integers


def seen_of(image: Samples, companding: Integers, slots: int = _SLOTS) -> Seen:
    """Walk over ``image``, uint8 [height, width, 4], as coding does."""
    height, width = image.shape[:2]
    pixels = height * width
    columns = width + SLOPE * height + 4 * _MARGIN + 2
    storage = np.full((1, height + _MARGIN, columns, CHANNELS + 1), OUTSIDE, np.int16)
    places = np.empty((pixels, 2), np.int64)
    counts, targets = np.empty((2, pixels), np.int64)
    rows = np.zeros((pixels * 6 + 1000, FEATURES), np.int8)
    centre = np.empty((pixels, CHANNELS), np.int16)
    seen = np.empty((pixels, CONTEXT_FEATURES), np.int8)
    levels = np.empty((pixels // 2 + 100, CHANNELS, 256), np.uint16)
    while True:
        memory, palette = Memory(slots), Palette()
        used, listed = _walk(
            image, storage, memory.slots, palette.colours, palette.chains, companding, places,
            counts, targets, rows, centre, seen, levels,
        )  # fmt: skip
        if used >= 0:
            return Seen(places, counts, targets, rows[:used], centre, seen, levels[:listed])
        rows = np.zeros((2 * len(rows), FEATURES), np.int8)
        storage[:] = OUTSIDE


@compiled
def _walk(
    image: Integers,
    storage: Integers,
    memory: Integers,
    known: Integers,
    chains: Integers,
    companding: Integers,
    places: Integers,
    counts: Integers,
    targets: Integers,
    rows: Integers,
    centre: Integers,
    seen: Integers,
    levels: Integers,
) -> tuple[int, int]:
    height, width = image.shape[:2]
    shifts = np.empty_like(TAPS)
    shifts[:, 0] = -TAPS[:, 0]
    shifts[:, 1] = TAPS[:, 1] - SLOPE * TAPS[:, 0]
    colours = np.empty((height, MOST), np.int64)
    hashes = np.empty((height, CONTEXTS), np.int64)
    of_pixels = np.empty(height, np.int64)
    margin = 3 * _MARGIN
    n, used, listed = 0, 0, 0
    of_level = np.empty(256, np.int64)
    for time in range(width + SLOPE * (height - 1)):
        first = max(0, -((width - 1 - time) // SLOPE))
        end = min(height, time // SLOPE + 1)
        count = end - first
        if count <= 0:
            continue
        if used + count * (MOST + EXTRA) > len(rows):
            return -1, 0
        stop = n + count
        used += gather(
            storage, first + _MARGIN, time + margin, count, 1, shifts, memory, int(chains[0]),
            companding, counts[n:stop], colours, rows[used:], hashes, centre[n:stop], seen[n:stop],
        )  # fmt: skip
        for i in range(count):
            y = first + i
            x = time - SLOPE * y
            for c in range(CHANNELS):
                storage[0, y + _MARGIN, time + margin, c] = image[y, x, c]
            colour = pack(storage[0], y + _MARGIN, time + margin)
            target = 0
            while target < counts[n + i] and colours[i, target] != colour:
                target += 1
            storage[0, y + _MARGIN, time + margin, NOVELTY] = target == counts[n + i]
            if target == counts[n + i] and is_known(colour, known, chains):
                target += 1
                if listed < len(levels):
                    own = colours[i, : counts[n + i]]
                    for c in range(CHANNELS):
                        count_levels(known, chains, own, colour, c, of_level)
                        levels[listed, c] = of_level
                listed += 1
            targets[n + i], of_pixels[i] = target, colour
            places[n + i, 0], places[n + i, 1] = y, x
        take_in(hashes[:count], of_pixels, memory)
        add(of_pixels[:count], known, chains)
        n = stop
    return used, listed


class Graphics(QuantisationAware):
    """The float network.

    Attributes:
        most_known: pixels of seen colours whose channels are looked at, of an image.
    """

    most_known = 300

    def __init__(self, config: Config) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.config = config
        self.hidden = pointwise(FEATURES, config.hidden)
        self.logit = pointwise(config.hidden, 1, gain=0.3)
        heads = [pointwise(CONTEXT_FEATURES + c, config.head) for c in range(CHANNELS)]
        count = config.components
        parameters = [pointwise(config.head, 3 * count + c, gain=0.3) for c in range(CHANNELS)]
        with torch.no_grad():  # different means and scales, as symmetric ones learn alike
            for layer in parameters:
                layer.bias[count : 2 * count] = torch.linspace(-0.5, 0.5, count)
                layer.bias[2 * count : 3 * count] = torch.linspace(-0.5, 1.5, count)
        self.heads, self.parameters_of = nn.ModuleList(heads), nn.ModuleList(parameters)
        self._companding = context.companding_table()

    @property
    def output_layers(self) -> list[nn.Module]:
        """All layers: they are small, and their rows mean different things."""
        return [self.hidden, self.logit, *self.heads, *self.parameters_of]

    def integer_network(self) -> IntegerNetwork:
        """Round to the network that codes."""
        config = self.config
        layers = {
            "choice": integer_layer(self.hidden, ACTIVATION_BITS),
            "logit": integer_layer(self.logit, LOGIT_BITS),
        }
        for c, (head, parameters) in enumerate(zip(self.heads, self.parameters_of, strict=True)):
            assert isinstance(head, MaskedConv2d)
            assert isinstance(parameters, MaskedConv2d)
            bits, offset = mixture.fixed_point(config.components, c)
            layers[f"head.{c}"] = integer_layer(head, ACTIVATION_BITS)
            layers[f"parameters.{c}"] = integer_layer(parameters, bits, offset=offset)
        return IntegerNetwork(ARCHITECTURE, asdict(config), layers, integer_tables())

    def forward(self, samples: Tensor) -> Tensor:
        """Bits of each sample of whole images; what tells a pixel's candidate counts as channel 0.

        Args:
            samples: uint8 [images, height, width, 4], on the CPU.

        Returns:
            float32 [images, height, width, 4], bits.
        """
        images = [self._bits(seen_of(image, self._companding), image) for image in samples.numpy()]
        return torch.stack(images)

    def _bits(self, seen: Seen, image: Samples) -> Tensor:
        y, x = torch.from_numpy(seen.places).t()
        choices, colours, others = self.parts(seen, image)
        bits = torch.zeros(image.shape, device=choices.device)
        bits = bits.index_put((y[others], x[others]), colours)
        choice = torch.zeros_like(bits).index_put((y, x, torch.zeros_like(x)), choices)
        return bits + choice

    def parts(self, seen: Seen, image: Samples) -> tuple[Tensor, Tensor, Tensor]:
        """Bits of what a pixel's row is, of the channels of those that are no candidates.

        Returns:
            float32 [n], float32 [m, 4], and which pixels these are, int64 [m].
        """
        logits = self._run(self.hidden, self.logit, self._real(seen.rows))[:, 0]
        counts, targets = torch.from_numpy(seen.counts), torch.from_numpy(seen.targets)
        pixel = torch.repeat_interleave(torch.arange(len(counts)), counts + EXTRA)
        first = torch.cumsum(counts + EXTRA, 0) - counts - EXTRA
        row = torch.arange(len(pixel)) - first[pixel]
        of_pixels = torch.full((len(counts), MOST + EXTRA), _NEVER, device=logits.device)
        of_pixels = of_pixels.index_put((pixel, row), logits)
        chosen = of_pixels.log_softmax(1).gather(1, targets[:, None].to(logits.device))
        new = np.flatnonzero(seen.targets == seen.counts)
        known = np.flatnonzero(seen.targets > seen.counts)
        bits = [self._channels(seen, image, new, None), self._known(seen, image, known)]
        others = torch.from_numpy(np.concatenate([new, known]))
        return -chosen[:, 0] / math.log(2), torch.cat(bits), others

    def _known(self, seen: Seen, image: Samples, at: Integers) -> Tensor:
        """Bits of the channels of seen colours; where many are, those of some stand for all."""
        if len(at) <= self.most_known:
            return self._channels(seen, image, at, seen.levels)
        chosen = np.random.default_rng(len(at)).permutation(len(seen.levels))[: self.most_known]
        found = self._channels(seen, image, at[chosen], seen.levels[chosen])
        return found.mean(0).expand(len(at), -1)

    def _channels(
        self, seen: Seen, image: Samples, at: Integers, levels: Integers | None
    ) -> Tensor:
        """Bits of the channels of some pixels, new ones, or seen ones of which ``levels`` tell."""
        own = image[seen.places[at, 0], seen.places[at, 1]]
        centre, residuals = seen.centre[at], own - seen.centre[at]
        companded = self._companding[context.ZERO_DIFFERENCE + residuals[:, : CHANNELS - 1]]
        inputs = self._real(np.concatenate([seen.context[at], companded], 1))
        bits = []
        for c in range(CHANNELS):
            parameters = self._run(
                *(self.heads[c], self.parameters_of[c], inputs[:, : CONTEXT_FEATURES + c])
            )
            numbers = residuals[:, c], centre[:, c], residuals[:, :c]
            residual, middle, before = (
                torch.from_numpy(each.astype(np.float32)).to(inputs) for each in numbers
            )
            if levels is None:
                bits.append(bits_of_new(parameters, residual, middle, before))
            else:
                times = torch.from_numpy(levels[:, c].astype(np.float32)).to(inputs)
                bits.append(bits_of_seen(parameters, residual, middle, before, times))
        return torch.stack(bits, 1)

    def _run(self, hidden: nn.Module, output: nn.Module, values: Tensor) -> Tensor:
        """Two layers on rows of values, float32 [n, inputs] -> [n, outputs]."""
        assert isinstance(hidden, MaskedConv2d)
        assert isinstance(output, MaskedConv2d)
        inside = nn.functional.linear(values, hidden.masked_weight().flatten(1), hidden.bias)
        inside = relu(inside, hidden.quantised)
        return nn.functional.linear(inside, output.masked_weight().flatten(1), output.bias)

    def _real(self, features: Integers) -> Tensor:
        """Int8 features in real units."""
        real = torch.from_numpy(features).to(self.logit.weight.device, torch.float32)
        return real * 2.0**-ACTIVATION_BITS


def _mixture(parameters: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means relative to the centre, and inverse scales, each float32 [n, components]."""
    slopes = before.shape[-1]
    count = (parameters.shape[-1] - slopes) // 3
    logits, means, scales, slope = torch.split(parameters, [count, count, count, slopes], -1)
    means = mixture.SUBLEVELS * means + (slope * before).sum(-1, keepdim=True)
    smallest = mixture.LOG2_SMALLEST_SCALE
    largest = smallest + (mixture.SCALES - 1) / mixture.SCALE_STEPS
    inverse = torch.exp2(-nn.functional.hardtanh(2 * scales, smallest, largest))
    return torch.softmax(logits, -1), means, inverse


def bits_of_new(parameters: Tensor, residual: Tensor, centre: Tensor, before: Tensor) -> Tensor:
    """Information of a channel of new colours.

    Args:
        parameters: float32 [n, 3 * components + channel].
        residual: float32 [n], of the sample from the centre.
        centre: float32 [n].
        before: float32 [n, channel], residuals of the channels before.

    Returns:
        float32 [n], bits.
    """
    weights, means, inverse = _mixture(parameters, before)
    low = (-0.5 - centre)[:, None]
    means = torch.minimum(torch.maximum(means, low - 7.5), low + 263.5)
    offset = -((residual[:, None] - means) * inverse).abs()  # symmetric; precise in the tail
    inside = torch.sigmoid(offset + inverse / 2) - torch.sigmoid(offset - inverse / 2)
    lowest = (low - means) * inverse
    total = torch.sigmoid(lowest + mixture.LEVELS * inverse) - torch.sigmoid(lowest)
    whole = (weights * total).sum(-1) + mixture.LEVELS * mixture.LEVEL_LEAST
    return torch.log2(whole) - torch.log2((weights * inside).sum(-1) + mixture.LEVEL_LEAST)


def bits_of_seen(
    parameters: Tensor, residual: Tensor, centre: Tensor, before: Tensor, times: Tensor
) -> Tensor:
    """The same of seen colours, given how many of these have each level: float32 [n, 256]."""
    weights, means, inverse = _mixture(parameters, before)
    edges = torch.arange(mixture.LEVELS + 1, device=means.device) - 0.5
    from_means = edges[None, :, None] - (means + centre[:, None])[:, None]
    mass = (torch.sigmoid(from_means * inverse[:, None]).diff(dim=1) * weights[:, None]).sum(-1)
    spread = times * (mass + 2.0**-18)
    level = (residual + centre).long()[:, None]
    return torch.log2(spread.sum(1)) - torch.log2(spread.gather(1, level)[:, 0])
