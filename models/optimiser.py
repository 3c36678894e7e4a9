"""The optimiser: Muon for the matrices inside a network, Adam for all else.

Muon (Jordan et al., 2024) makes the momentum of a matrix orthogonal before it steps, so that all
directions learn at the same pace; these matrices decay. Biases and the output layers, whose rows
mean different things, stay with Adam. docs/TRAINING.md has measurements.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pixelcodec.models.layers import MaskedConv2d

MUON_RATE = 2.0
"""Muon's learning rate, for one of Adam's of 1: both then change a weight by about as much."""


WEIGHT_DECAY = 0.2
"""Of the matrices. Orthogonal steps do not shrink: without it weights grow until activations meet
their limits."""


class Optimiser:
    """Changes the weights of a network by their gradients."""

    def __init__(self, network: nn.Module, output_layers: list[nn.Module]) -> None:
        """Take the parameters of ``network``; those of ``output_layers`` go to Adam.

        Raises:
            RuntimeError: this version of torch has no Muon.
        """
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError("training needs torch 2.9 or newer")
        outside = {id(parameter) for layer in output_layers for parameter in layer.parameters()}
        self._weights = [
            layer.weight
            for layer in network.modules()
            if isinstance(layer, MaskedConv2d) and id(layer.weight) not in outside
        ]
        # Muon takes matrices: these share the memory of the weights.
        self._matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in self._weights]
        inside = {id(weight) for weight in self._weights}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
        self._adam = torch.optim.Adam(rest, betas=(0.9, 0.99), fused=True)
        self._muon: torch.optim.Optimizer | None = None
        if self._matrices:
            self._muon = torch.optim.Muon(
                self._matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
            )
        self._parameters = list(network.parameters())

    def step(self, rate: float) -> None:
        """Change the weights by their gradients, at Adam's learning rate ``rate``."""
        for optimiser, factor in ((self._adam, 1.0), (self._muon, MUON_RATE)):
            if optimiser is not None:
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        self._adam.step()
        if self._muon is not None:
            self._muon.step()
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All that it remembers, by name."""
        found: dict[str, Tensor] = {}
        for kind, optimiser in self._named():
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                for name, value in optimiser.state[parameter].items():
                    found[f"{kind}.{index}.{name}"] = value
        return found

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        for kind, optimiser in self._named():
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                prefix = f"{kind}.{index}."
                values: dict[str, Any] = {
                    name.removeprefix(prefix): value
                    for name, value in state.items()
                    if name.startswith(prefix)
                }
                if values:
                    optimiser.state[parameter] = values

    def _named(self) -> list[tuple[str, torch.optim.Optimizer]]:
        named: list[tuple[str, torch.optim.Optimizer]] = [("adam", self._adam)]
        return [*named, ("muon", self._muon)] if self._muon is not None else named
