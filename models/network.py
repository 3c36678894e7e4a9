"""An integer network as data: layers of int8 weights, tables, a configuration, and its identity.

What codes is an :class:`IntegerNetwork`; what trains is a float module that converts to one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pixelcodec.errors import ModelError

ID_BYTES = 8


@dataclass(frozen=True)
class IntegerLayer:
    """``(activations @ weight + bias) >> shift``, all integers.

    Attributes:
        weight: int8 [inputs, outputs], -127..127.
        bias: int32 [outputs]; holds the half that makes the shift round to nearest.
        shift: uint8 [outputs], 0..31.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor


@dataclass(frozen=True)
class IntegerNetwork:
    """A network that codes.

    Attributes:
        architecture: name of the program that runs it (see :mod:`pixelcodec.models`).
        config: the architecture's hyperparameters, JSON values.
        layers: by name.
        tables: integer tables by name.
    """

    architecture: str
    config: Mapping[str, Any]
    layers: Mapping[str, IntegerLayer]
    tables: Mapping[str, Tensor]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of architecture, configuration and all integers, in hexadecimal."""
        digest = hashlib.sha256()
        digest.update(json.dumps([self.architecture, self.config], sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            shape = list(tensor.shape)
            digest.update(json.dumps([name, str(tensor.dtype)[6:], shape]).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def model_id(self) -> bytes:
        """The first 8 bytes of the SHA-256: how files name the network that wrote them."""
        return bytes.fromhex(self.sha256)[:ID_BYTES]

    @property
    def parameters(self) -> int:
        """Count of weights and biases in the layers, the zeros of masks among them."""
        return sum(layer.weight.numel() + layer.bias.numel() for layer in self.layers.values())

    @property
    def macs_per_pixel(self) -> int:
        """Count of weights: multiply-accumulates for a pixel, where each is used once for it.

        Two kinds of networks are not like that: the one for graphics uses the weights of its
        choice for each candidate, and one of several scales runs each for its own pixels alone.
        """
        return sum(layer.weight.numel() for layer in self.layers.values())

    def tensors(self) -> dict[str, Tensor]:
        """All integers by name: ``layers.NAME.weight`` and so on, and ``tables.NAME``."""
        found = {f"tables.{name}": table for name, table in self.tables.items()}
        for name, layer in self.layers.items():
            for part in ("weight", "bias", "shift"):
                found[f"layers.{name}.{part}"] = getattr(layer, part)
        return found

    def check_like(self, template: "IntegerNetwork") -> None:
        """Refuse a network whose layers and tables are not those of ``template``, in shape.

        Raises:
            ModelError: a tensor is missing, unknown, or of another shape or type.
        """
        found, needed = self._shapes(), template._shapes()
        for name in sorted(found.keys() | needed.keys()):
            if found.get(name) != needed.get(name):
                raise ModelError(
                    f"a network of {self.architecture} whose {name} is {found.get(name)}; "
                    f"its configuration needs {needed.get(name)}"
                )

    def _shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {
            name: (tuple(tensor.shape), tensor.dtype) for name, tensor in self.tensors().items()
        }

    @classmethod
    def from_tensors(
        cls, architecture: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "IntegerNetwork":
        """Inverse of :meth:`tensors`.

        Raises:
            ValueError: a part of a layer is missing, or a name or dtype is not of this kind.
        """
        tables: dict[str, Tensor] = {}
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "tables":
                tables[rest] = tensor
            elif kind == "layers":
                layer, _, part = rest.rpartition(".")
                parts.setdefault(layer, {})[part] = tensor
            else:
                raise ValueError(f"unexpected tensor {name!r}")
        layers = {name: _layer(name, found) for name, found in parts.items()}
        return cls(architecture, dict(config), layers, tables)


_DTYPES = {"weight": torch.int8, "bias": torch.int32, "shift": torch.uint8}


def _layer(name: str, parts: Mapping[str, Tensor]) -> IntegerLayer:
    dtypes = {part: tensor.dtype for part, tensor in parts.items()}
    if dtypes != _DTYPES:
        raise ValueError(f"layer {name!r} holds {dtypes}, not {_DTYPES}")
    return IntegerLayer(**parts)
