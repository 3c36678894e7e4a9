"""Trained models: a ``.safetensors`` file of integers and a ``.json`` card for each.

Names and cards are known without torch, which is imported when a model is first loaded.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelcodec.errors import ModelError

if TYPE_CHECKING:
    from pixelcodec.models.network import IntegerNetwork

_FOLDER = Path(str(files(__name__)))


def names() -> list[str]:
    """Names of the models that are installed."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def everyday() -> list[str]:
    """Names of those that are meant for people's images: not for study, as their cards say."""
    return [name for name in names() if not card(name).get("study")]


def card(name: str) -> dict[str, Any]:
    """The card of model ``name``: what it is, what it was trained on, what it measures.

    Raises:
        ModelError: there is no such model.
    """
    path = _FOLDER / f"{name}.json"
    if name not in names() or not path.exists():
        raise ModelError(f"no model {name!r}; installed are {', '.join(names())}")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def load(name: str) -> "IntegerNetwork":
    """The model called ``name``, or the one in the file ``name`` (ends in ``.safetensors``).

    Raises:
        ModelError: there is no such model, or its file is damaged.
    """
    if name.endswith(".safetensors"):
        return load_file(Path(name))
    if name not in names():
        raise ModelError(f"no model {name!r}; installed are {', '.join(names())}")
    return _installed(name)


@cache
def _installed(name: str) -> "IntegerNetwork":
    return load_file(_FOLDER / f"{name}.safetensors")


def find(model_id: bytes) -> str | None:
    """Name of the installed model whose files carry ``model_id``, or None."""
    beginning = model_id.hex()
    return next((name for name, sha256 in _hashes().items() if sha256.startswith(beginning)), None)


@cache
def _hashes() -> dict[str, str]:
    return {name: card(name)["sha256"] for name in names()}


def load_file(path: Path) -> "IntegerNetwork":
    """Read an integer network, and check that its integers have the hash they were saved with.

    Raises:
        ModelError: the file is missing, damaged, or not an integer network.
    """
    from safetensors import safe_open

    from pixelcodec.models.network import IntegerNetwork

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = IntegerNetwork.from_tensors(
            about["architecture"], json.loads(about["config"]), tensors
        )
    except FileNotFoundError:
        raise ModelError(f"no model file {path}") from None
    except Exception as error:  # safetensors raises its own and others for damage
        raise ModelError(f"{path} is not a pixelcodec model, or damaged: {error}") from error
    if network.sha256 != about.get("sha256"):
        raise ModelError(f"{path} is damaged: its integers do not have the hash it states")
    return network


def save_network(network: "IntegerNetwork", path: Path) -> None:
    """Write ``network`` as safetensors, its hash among the metadata."""
    from safetensors.torch import save_file

    about = {
        "architecture": network.architecture,
        "config": json.dumps(dict(network.config), sort_keys=True),
        "sha256": network.sha256,
    }
    save_file(network.tensors(), path, metadata=about)
