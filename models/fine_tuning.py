"""Fitting an integer network to one image: the encoder's part of adaptation.

What changes are whole steps of the integers themselves, so nothing is lost when they are written to
a file. A network is restored to float (:meth:`WavefrontPixelCNN.from_integers`), each weight and
bias becomes what it was plus a number of steps, and these numbers are trained, rounded on the way
forward (straight through), with a price on each that is not zero. Adam moves all at the same pace;
those that the price holds near zero cost next to nothing.

Heads learn from what the trunk sees of each pixel, computed once. docs/DESIGN.md has measurements.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pixelcodec.models.changes import SHIFT_MOST, Change, changes_between
from pixelcodec.models.layers import ACTIVATION_BITS, MaskedConv2d
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.wavefront_pixelcnn import WavefrontPixelCNN

WARM_UP = 5
"""Steps of the optimiser before it moves at its full rate."""

PRICE = 4.0
"""Bits that a step of an integer is taken to cost, about."""

BIAS_BITS = 2
"""A bias changes in quarters of the last bit of what its layer gives."""

JUDGED = 2**16
"""Pixels at most that tell how much was gained; nothing is learnt from them."""

_JUDGED_PART = 8
"""One of so many pixels is among them."""


@dataclass(frozen=True)
class Budget:
    """How long to learn.

    Attributes:
        steps: of the optimiser.
        pixels: in each of them.
        rate: integer steps that a number moves in each, at most, about.
    """

    steps: int
    pixels: int = 8192
    rate: float = 0.5

    def rate_at(self, step: int) -> float:
        """Rate of ``step``: full in the first half, then falling to nothing."""
        return self.rate * min(1.0, (step + 1) / WARM_UP, 2 * (1 - step / self.steps))


@dataclass(frozen=True)
class Seen:
    """Pixels as the heads see them.

    Attributes:
        features: int8 [n, width of the stream + 2], the trunk's activations and the residuals of
            R and G.
        samples: uint8 [n, 3].
        centre: int16 [n, 3].
        channels: how many of them are coded: 1 of gray images, whose channels are all the same.
    """

    features: Tensor
    samples: Tensor
    centre: Tensor
    channels: int

    def __len__(self) -> int:
        """Count of pixels."""
        return len(self.features)


@dataclass(frozen=True)
class Fit:
    """What was learnt.

    Attributes:
        changes: of the network.
        saved: bits of each sample, estimated, without what the changes cost.
    """

    changes: list[Change]
    saved: float


def fit_heads(
    network: IntegerNetwork,
    seen: Seen,
    samples: int,
    budget: Budget,
    tell: Callable[[int], None] = lambda pixels: None,
) -> Fit:
    """Fit the heads of ``network`` to pixels.

    Args:
        network: of the architecture ``wavefront-pixelcnn-1``.
        seen: pixels to learn from.
        samples: of the image that is coded: the bits of a change are weighed against theirs.
        budget: how long to learn.
        tell: called with the count of pixels that were learnt from since the last call.
    """
    tuned = WavefrontPixelCNN.from_integers(network)

    def bits(own: Tensor) -> Tensor:
        found = tuned.bits_of_seen(seen.features[own], seen.samples[own], seen.centre[own])
        return found[:, : seen.channels].mean()

    fitting = _Fitting(tuned, [tuned.head, tuned.parameters_of], network)
    chosen = np.random.default_rng(0)
    shuffled = torch.from_numpy(chosen.permutation(len(seen)))
    judged, known = shuffled.tensor_split([min(max(1, len(seen) // _JUDGED_PART), JUDGED)])
    with torch.no_grad():
        before = float(bits(judged))
    for step in range(budget.steps):
        own = known[torch.from_numpy(chosen.integers(0, len(known), budget.pixels))]
        fitting.step(bits(own), budget.rate_at(step), samples)
        tell(budget.pixels)
    with torch.no_grad():
        after = float(bits(judged))
    return Fit(fitting.changes(), before - after)


class _Fitting:
    """Numbers of steps that the integers of some layers take, and their optimiser."""

    def __init__(
        self, tuned: WavefrontPixelCNN, layers: list[MaskedConv2d], network: IntegerNetwork
    ) -> None:
        """Let ``layers`` of ``tuned``, restored from ``network``, change by whole steps."""
        self._tuned, self._network = tuned, network
        self._shifts: dict[tuple[str, str], int] = {}
        units = {layer: torch.ones_like(layer.bias) for layer in layers}
        for name, layer, (_, outputs, _), _ in tuned.integer_layers():
            if layer in units:
                least = int(network.layers[name].shift.min())
                shift = min(max(least - BIAS_BITS, 0), SHIFT_MOST)
                self._shifts[name, "bias"] = shift
                units[layer][outputs] = 2.0 ** (shift - ACTIVATION_BITS)
        tuned.requires_grad_(False)
        self._steps: list[nn.Parameter] = []
        for layer, unit in units.items():
            assert layer.exponents is not None
            scale = torch.exp2(-layer.exponents)
            for name, size in (("weight", scale.view(-1, 1, 1, 1)), ("bias", scale * unit)):
                base = getattr(layer, name).detach()
                parametrize.register_parametrization(layer, name, _InSteps(base, size))
                steps = layer.parametrizations[name].original  # type: ignore[union-attr, index]
                self._steps.append(steps.requires_grad_(True))
        self._optimiser = torch.optim.Adam(self._steps, betas=(0.9, 0.99), fused=True)

    def step(self, loss: Tensor, rate: float, samples: int) -> None:
        """Make a step of the optimiser: the loss is in bits a sample."""
        loss.backward()  # type: ignore[no-untyped-call]
        for steps in self._steps:
            assert steps.grad is not None
            steps.grad.add_(torch.round(steps.detach()).sign_(), alpha=PRICE / samples)
        self._optimiser.param_groups[0]["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad()

    def changes(self) -> list[Change]:
        """What the steps add up to."""
        return changes_between(self._network, self._tuned.integer_network(), self._shifts)


class _InSteps(nn.Module):
    """Whole steps from what integers were: numbers of steps -> weights or biases."""

    base: Tensor
    size: Tensor

    def __init__(self, base: Tensor, size: Tensor) -> None:
        super().__init__()
        self.register_buffer("base", base)
        self.register_buffer("size", size)

    def forward(self, steps: Tensor) -> Tensor:
        """The gradient passes the rounding as if it were none."""
        rounding = (torch.round(steps) - steps).detach()
        return self.base + (steps + rounding) * self.size

    def right_inverse(self, values: Tensor) -> Tensor:
        """No steps: the start."""
        return torch.zeros_like(values)
