"""Refuse networks that are not what their hyperparameters call for."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from pixelcodec.errors import ModelError
from pixelcodec.models.network import IntegerNetwork

Config = TypeVar("Config")

Ranges = Mapping[str, Sequence[int]]
"""By hyperparameter, the values that it can have."""


def check_ranges(config: object, allowed: Ranges) -> None:
    """Refuse hyperparameters that cannot be coded, or not exactly.

    Raises:
        ModelError: one is not among those ``allowed``, or of another type.
    """
    for name, values in allowed.items():
        value = getattr(config, name)
        if type(value) is not type(values[0]) or value not in values:
            ends = f"{values[0]}..{values[-1]}" if isinstance(values, range) else values
            raise ModelError(f"a network of {name} {value!r}; it must be in {ends}")


def config_of(network: IntegerNetwork, architecture: str, make: Callable[..., Config]) -> Config:
    """Hyperparameters of ``network``, as ``make`` takes them.

    Raises:
        ModelError: it is of another architecture, or a parameter is not known or out of range.
    """
    if network.architecture != architecture:
        raise ModelError(f"architecture {network.architecture!r} needs a newer pixelcodec")
    unknown = network.config.keys() - inspect.signature(make).parameters.keys()
    if unknown:
        raise ModelError(f"parameters {sorted(unknown)} need a newer pixelcodec")
    return make(**network.config)


def check_integers(
    network: IntegerNetwork, shapes: Mapping[str, tuple[int, int]], tables: Collection[str]
) -> None:
    """Refuse a network that has other integers than it needs.

    Args:
        network: is checked.
        shapes: inputs and outputs of each layer.
        tables: names of all.

    Raises:
        ModelError: a layer or table is missing or unknown, or a layer misshapen.
    """
    found = {name: tuple(layer.weight.shape) for name, layer in network.layers.items()}
    if found != shapes:
        raise ModelError(f"the layers of a network are not those of its configuration: {found}")
    for name, layer in network.layers.items():
        outputs = layer.weight.shape[1:]
        if layer.bias.shape != outputs or layer.shift.shape != outputs:
            raise ModelError(f"layer {name} has other counts of weights, biases and shifts")
    if set(network.tables) != set(tables):
        raise ModelError(f"a network with the tables {sorted(network.tables)}; needs {tables}")
