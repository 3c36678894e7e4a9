"""Recipes: which network to train on which data, and how. Each is a ``.json`` file here.

Their names begin with the data set; ``paper-`` are of the sizes of "Pixel Recurrent Neural
Networks", section 4.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pixelcodec.errors import ModelError
from pixelcodec.models.architectures import Config, make_config
from pixelcodec.models.datasets import DATA_SETS

_FOLDER = Path(str(files(__name__)))


@dataclass(frozen=True)
class Recipe:
    """All that determines a run, beside where the images lie.

    Attributes:
        name: of the recipe.
        description: a line.
        architecture: see :mod:`pixelcodec.models.architectures`.
        config: its hyperparameters.
        data: kind of data set, see :mod:`pixelcodec.models.datasets`.
        megapixels: how many million pixels to train on.
        rate: learning rate.
        batch: images of a step of each process.
        seed: of weights and batches.
        cool_down: share of the run in which the rate falls.
    """

    name: str
    description: str
    architecture: str
    config: Config
    data: str
    megapixels: float
    rate: float
    batch: int
    seed: int = 0
    cool_down: float = 0.6


def names() -> list[str]:
    """Names of all recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        ModelError: there is no such recipe.
    """
    if name not in names():
        raise ModelError(f"no recipe {name!r}; there are {', '.join(names())}")
    values = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    values["config"] = make_config(values["architecture"], values["config"])
    return Recipe(name, **values)


def check_data(kind: str, config: Config) -> None:
    """Refuse data that a network of ``config`` cannot learn.

    Raises:
        ModelError: its images have another count of channels, or of bits.
    """
    found = (DATA_SETS[kind].channels, DATA_SETS[kind].bit_depth)
    if found != (needed := (config.channels, config.bit_depth)):
        raise ModelError(
            f"{kind} has images of (channels, bits) {found}; the network takes {needed}"
        )
