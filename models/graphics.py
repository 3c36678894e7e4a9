"""The network for graphics: screens, icons, clip art, sprites, plots, text.

Each pixel has **candidates**, colours that it may repeat. A network of two layers weighs each of
them, "seen" (another colour of the image's palette) and "new", by what speaks for it::

    neighbours, memory --> candidates, each with 63 features
      | for each candidate, for "new" and for "seen": 1x1, ReLU, 1x1
    logits --- softmax --> weights of the candidates, of "new" and of "seen"

    "new", "seen": 16 neighbours, centred on their median prediction, companded
      +--> R: 1x1, ReLU, 1x1 -> mixture of logistics
      +--> G: the same, from R's residual too, and so on for B and alpha

What it saw, it remembers (:mod:`pixelcodec.models.memory`), and all layers can learn while they
code (:mod:`pixelcodec.models.learning`). So the program codes one image, once.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelcodec.compiled import compiled
from pixelcodec.errors import ModelError
from pixelcodec.models import context, mixture, mixture_gradient
from pixelcodec.models.candidates import (
    CHANNELS,
    CONTEXT_FEATURES,
    FEATURES,
    OUTSIDE,
    RUNS,
    Candidates,
    candidates,
)
from pixelcodec.models.checks import Ranges, check_integers, check_ranges, config_of
from pixelcodec.models.colour_mixture import (
    LEAST,
    NEW,
    SEEN,
    ColourMixture,
    choice_gradients,
    exp_table,
    spread,
    weigh,
)
from pixelcodec.models.learning import LearningPair, Updates
from pixelcodec.models.memory import Memory, pack
from pixelcodec.models.mixture import Mixture, MixtureHead
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.palette import Palette, is_known
from pixelcodec.models.program import Arithmetic, Canvas, Coarser, Conditionals, Plane, Samples

ARCHITECTURE = "graphics-1"
PIXELS = "pixels"

RATE = 64
"""At which it learns, see :class:`pixelcodec.models.learning.Learning`: alike at all efforts."""

LEAST_PIXELS = 64
"""An update waits for so many pixels, at least."""

_CHANNELS_OF = {1: (0,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}
"""Which channels of a pixel here those of an image are, by their count."""

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class Config:
    """Hyperparameters.

    Attributes:
        channels: of an image that it trains on.
        bit_depth: of a sample.
        hidden: units that weigh a candidate.
        head: hidden units of each channel's head.
        components: logistics in each mixture, 1 to 7.

    Raises:
        ModelError: a value is out of its range.
    """

    allowed: ClassVar[Ranges] = {
        "hidden": range(1, 1025),
        "head": range(1, 1025),
        "components": range(1, mixture.MOST_COMPONENTS + 1),
    }
    channels: ClassVar = CHANNELS
    bit_depth: ClassVar = 8

    hidden: int = 32
    head: int = 32
    components: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be exact."""
        check_ranges(self, self.allowed)


class IntegerGraphics:
    """The program that codes."""

    slope = 2
    sequential = True
    coarser: Coarser | None = None
    bit_depth = 8
    channels = (1, 2, 3, 4)
    tile = 0

    def __init__(
        self, network: IntegerNetwork, arithmetic: Arithmetic, learning: int = 0, channels: int = 4
    ) -> None:
        """Start from ``network``.

        Args:
            network: the integers.
            arithmetic: by which it runs, on the host.
            learning: whether it learns; 0: not at all.
            channels: of the image, 1 to 4.
        """
        config = check(network)
        for layer in network.layers.values():
            arithmetic.linear(layer)
        layers, host = network.layers, arithmetic.host
        self.channels_of = _CHANNELS_OF[channels]
        self._companding = network.tables["companding"].numpy()
        self._inverse_scale = network.tables["inverse_scale"].numpy().astype(np.int64)
        self._exp = network.tables["choice_exp"].numpy()
        self._mixture = MixtureHead(network.tables, config.components)
        self._memory, self.palette = Memory(), Palette()
        self._choice = LearningPair(layers["choice"], layers["logit"], host)
        self._heads = [
            LearningPair(layers[f"head.{c}"], layers[f"parameters.{c}"], host)
            for c in range(CHANNELS)
        ]
        learners = [self._choice, *(self._heads[c] for c in self.channels_of)]
        self._updates = Updates(learners, RATE, LEAST_PIXELS) if learning else None
        self.planes = {PIXELS: Plane(CHANNELS + 1, torch.int16, OUTSIDE, RUNS, on_host=True)}

    def look(self, canvas: Canvas) -> Conditionals:
        """Find and weigh the candidates."""
        seen = int(self.palette.chains[0])
        found = candidates(*canvas.on_host(PIXELS), self._memory, seen, self._companding)
        self._in_hand = PixelColours(self, found)
        return self._in_hand

    def remember(self, canvas: Canvas, samples: Samples) -> None:
        """Keep ``samples``, and learn from them."""
        found = self._in_hand.found
        pixels = np.empty((len(samples), CHANNELS + 1), np.int16)
        pixels[:, :3], pixels[:, 3] = samples[:, :1], 255
        pixels[:, self.channels_of] = samples
        colours, targets = np.empty((2, len(samples)), np.int64)
        _settle(
            *(pixels, found.colours, found.counts, self.palette.colours, self.palette.chains),
            *(colours, targets),
        )
        canvas.store(PIXELS, torch.from_numpy(pixels))
        self._memory.take_in(found.hashes, colours)
        self.palette.take_in(colours)
        if self._updates:
            self._updates.count(self._in_hand.learn(samples, targets))
        del self._in_hand  # refers to this program, which could not be freed at once

    def weigh(self, found: Candidates) -> tuple[Tensor, Integers]:
        """Hidden units of all rows, and the weights."""
        units, logits = self._choice(torch.from_numpy(found.rows))
        return units, weigh(logits[:, 0], found.counts, self._exp)

    def learn_choice(self, inputs: Tensor, units: Tensor, gradients: Integers) -> None:
        """Tell the layers that weigh of gradients of their logits."""
        self._choice.take_in(inputs, units, gradients)

    def logistics(
        self, c: int, found: Candidates, residuals: Integers, at: Integers
    ) -> "Logistics":
        """Of channel ``c`` of some pixels, given ``residuals`` (int16 [n, 4]) of those before."""
        own = residuals[at]
        companded = self._companding.take(255 + own[:, :c])
        inputs = torch.from_numpy(np.concatenate([found.context[at], companded], 1))
        units, parameters = self._heads[c](inputs)
        return Logistics(
            *(at, own, inputs, units, parameters),
            self._mixture(parameters, c, found.centre[at], own),
        )

    def learn_logistics(self, c: int, made: "Logistics", rows: Integers, samples: Samples) -> None:
        """Tell the head of channel ``c`` of the ``samples`` of some ``rows`` of what it made."""
        if len(rows) == 0:
            return
        found = Mixture(made.found.rows[rows], made.found.weights[rows], made.found.logistic)
        gradients = mixture_gradient.gradients(
            *(found, made.parameters[rows], made.residuals[rows], self._inverse_scale, samples)
        )
        at = torch.from_numpy(rows)
        self._heads[c].take_in(made.inputs[at], made.units[at], gradients.astype(np.int32))


@dataclass(frozen=True)
class Logistics:
    """What a head made of some pixels.

    Attributes:
        at: int64 [m], which pixels.
        residuals: int16 [m, 4], of the channels before.
        inputs: int8 [m, inputs], of the head.
        units: int8 [m, units], its hidden units.
        parameters: int32 [m, parameters].
        found: the mixtures.
    """

    at: Integers
    residuals: Integers
    inputs: Tensor
    units: Tensor
    parameters: Integers
    found: Mixture


class PixelColours:
    """The distributions of the pixels in hand."""

    def __init__(self, program: IntegerGraphics, found: Candidates) -> None:
        """Weigh the candidates."""
        self.found, self._program = found, program
        self._units, self._first = program.weigh(found)
        self._weights = self._first.copy()
        self._residuals = np.zeros((len(found.counts), CHANNELS), np.int16)
        self._begins = np.zeros(len(found.counts), np.int64)
        self._made: list[Logistics] = []

    def distribution(self, channel: int) -> ColourMixture:
        """Of ``channel``, given the channels before, which were revealed."""
        c = self._program.channels_of[channel]
        at = np.flatnonzero(self._weights[:, NEW] + self._weights[:, SEEN] >= LEAST)
        made = self._program.logistics(c, self.found, self._residuals, at)
        self._made.append(made)
        places = np.full(len(self._weights), -1)
        places[at] = np.arange(len(at))
        levels = (self.found.colours >> (10 * c)) & 1023
        begins = self._begins[at]
        own = self.found.colours[at], self.found.counts[at], begins, c
        of_others = spread(made.found, self._program.palette, *own)
        self._in_hand = ColourMixture(levels, self._weights, places, of_others)
        return self._in_hand

    def reveal(self, channel: int, samples: Samples) -> None:
        """Let later channels see the ``samples`` of ``channel``."""
        self._in_hand.reveal(samples)
        c = self._program.channels_of[channel]
        residuals = samples - self.found.centre[:, c]
        self._residuals[:, c] = residuals
        self._begins |= samples.astype(np.int64) << (10 * c)
        if self._program.channels_of == _CHANNELS_OF[2]:  # gray stands in three channels
            self._residuals[:, 1] = self._residuals[:, 2] = residuals
            self._begins *= 1 + 2**10 + 2**20

    def learn(self, samples: Samples, targets: Integers) -> int:
        """Tell the layers what the pixels turned out to be.

        Args:
            samples: uint8 [pixels, channels].
            targets: int64 [pixels], which candidate each is; their count for none.

        Returns:
            Count of pixels that were not foreseen.
        """
        rows = np.empty(len(self._units), np.int64)
        gradients = np.empty((len(rows), 1), np.int32)
        used, pixels = choice_gradients(self._first, self.found.counts, targets, rows, gradients)
        if used:
            at = torch.from_numpy(rows[:used])
            inputs = torch.from_numpy(self.found.rows)[at]
            self._program.learn_choice(inputs, self._units[at], gradients[:used])
        novel = targets == self.found.counts  # new ones
        for channel, made in enumerate(self._made):
            rows = np.flatnonzero(novel[made.at])
            own = np.ascontiguousarray(samples[made.at[rows], channel])
            self._program.learn_logistics(self._program.channels_of[channel], made, rows, own)
        return int(pixels)


@compiled
def _settle(
    pixels: Integers,
    candidates: Integers,
    counts: Integers,
    known: Integers,
    chains: Integers,
    colours: Integers,
    targets: Integers,
) -> None:
    """The colour of each of ``pixels``, which row it is, and whether it is no candidate."""
    row = pixels.reshape(1, len(pixels), pixels.shape[1])
    for n in range(len(pixels)):
        colours[n] = pack(row, 0, n)
        target = 0
        while target < counts[n] and candidates[n, target] != colours[n]:
            target += 1
        pixels[n, CHANNELS] = target == counts[n]
        if target == counts[n] and is_known(colours[n], known, chains):
            target += 1
        targets[n] = target


def check(network: IntegerNetwork) -> Config:
    """Its hyperparameters, if ``network`` holds just the integers that they call for.

    Raises:
        ModelError: it is of another architecture, or a layer or table is missing or misshapen.
    """
    config = config_of(network, ARCHITECTURE, Config)
    tables = {"companding", "sigmoid", "inverse_scale", "exp", "choice_exp"}
    check_integers(network, layer_shapes(config), tables)
    context.check_table(network.tables["companding"])
    mixture.check_tables(network.tables)
    _check_exp(network.tables["choice_exp"])
    return config


def layer_shapes(config: Config) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each layer."""
    shapes = {"choice": (FEATURES, config.hidden), "logit": (config.hidden, 1)}
    for c in range(CHANNELS):
        shapes[f"head.{c}"] = (CONTEXT_FEATURES + c, config.head)
        shapes[f"parameters.{c}"] = (config.head, 3 * config.components + c)
    return shapes


def integer_tables() -> dict[str, Tensor]:
    """The tables, shipped with each model."""
    return {
        "companding": torch.from_numpy(context.companding_table()),
        "choice_exp": torch.from_numpy(exp_table()),
        **mixture.integer_tables(),
    }


def _check_exp(exp: Tensor) -> None:
    """Refuse a table by which masses could overflow."""
    needed = exp_table()
    if exp.dtype != torch.int32 or exp.shape != needed.shape:
        raise ModelError(f"the table choice_exp must be {len(needed)} int32 numbers")
    if exp[0] != int(needed[0]) or exp[-1] < 0 or bool((exp.diff() > 0).any()):
        raise ModelError(f"the table choice_exp must fall from {needed[0]} to 0 or more")
