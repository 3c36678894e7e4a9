"""Which architectures there are, by the name that model files carry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pixelcodec.errors import ModelError
from pixelcodec.models import (
    diagonal_bilstm,
    graphics,
    graphics_training,
    learning_gray,
    learning_pixelcnn,
    multi_scale,
    pixelcnn,
    row_lstm,
    seeing_pixelcnn,
    wavefront_gray,
    wavefront_pixelcnn,
)
from pixelcodec.models.grow import grown
from pixelcodec.models.learning import SEEING, Learning
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig, PaperNetwork
from pixelcodec.models.program import Arithmetic, Program

Config = wavefront_pixelcnn.Config | wavefront_gray.Config | graphics.Config | PaperConfig
"""Hyperparameters of a network, with ``channels`` and ``bit_depth`` of images it trains on."""

FloatNetwork = (
    wavefront_pixelcnn.WavefrontPixelCNN
    | wavefront_gray.WavefrontGray
    | PaperNetwork
    | multi_scale.MultiScale
    | graphics_training.Graphics
)
"""A network that trains.

It gives the bits of each sample of whole images, float32 [n, h, w, channels], of uint8 of the same
shape; it rounds to an :class:`IntegerNetwork`.
"""

Learner = Callable[[IntegerNetwork, Arithmetic, int, int], Program]
"""Makes a program for one image: of a network, arithmetic, how it learns, channels."""


@dataclass(frozen=True)
class Architecture:
    """What a kind of network consists of.

    Attributes:
        config: its hyperparameters.
        float_network: trains.
        program: the integer network, ready to run.
        learner: begins as the integer network and learns from what it has coded; None: it cannot.
        least_learning: ways to learn below this one are none for it.
        remembers: whether a program keeps more of an image than a canvas does. If so, each image
            has a program of its own, also where the network does not learn.
        grow: makes a larger float network, of a configuration, that computes what a smaller one
            does; None: it cannot.
    """

    config: type[Config]
    float_network: Callable[[Any], FloatNetwork]
    program: Callable[[IntegerNetwork, Arithmetic], Program]
    learner: Learner | None = None
    least_learning: int = 1
    remembers: bool = False
    grow: Callable[[Any, Any], FloatNetwork] | None = None


def _pixelcnn_that_learns(
    network: IntegerNetwork, arithmetic: Arithmetic, learning: int, channels: int
) -> Program:
    if learning == SEEING:
        return seeing_pixelcnn.SeeingPixelCNN(network, arithmetic, channels)
    how = Learning.of(learning)
    return learning_pixelcnn.LearningPixelCNN(network, arithmetic, how, channels)


def _gray_that_learns(
    network: IntegerNetwork, arithmetic: Arithmetic, learning: int, _: int
) -> Program:
    if learning == SEEING:
        return wavefront_gray.IntegerWavefrontGray(network, arithmetic)
    return learning_gray.LearningGray(network, arithmetic, Learning.of(learning))


ARCHITECTURES = {
    wavefront_pixelcnn.ARCHITECTURE: Architecture(
        wavefront_pixelcnn.Config,
        wavefront_pixelcnn.WavefrontPixelCNN,
        wavefront_pixelcnn.IntegerWavefrontPixelCNN,
        _pixelcnn_that_learns,
        grow=grown,
    ),
    wavefront_gray.ARCHITECTURE: Architecture(
        wavefront_gray.Config,
        wavefront_gray.WavefrontGray,
        wavefront_gray.IntegerWavefrontGray,
        _gray_that_learns,
        least_learning=SEEING + 1,
    ),
    graphics.ARCHITECTURE: Architecture(
        graphics.Config,
        graphics_training.Graphics,
        graphics.IntegerGraphics,
        graphics.IntegerGraphics,
        remembers=True,
    ),
    pixelcnn.ARCHITECTURE: Architecture(PaperConfig, pixelcnn.PixelCNN, pixelcnn.IntegerPixelCNN),
    row_lstm.ARCHITECTURE: Architecture(
        row_lstm.RowConfig, row_lstm.RowLSTM, row_lstm.IntegerRowLSTM
    ),
    diagonal_bilstm.ARCHITECTURE: Architecture(
        diagonal_bilstm.DiagonalConfig,
        diagonal_bilstm.DiagonalBiLSTM,
        diagonal_bilstm.IntegerDiagonalBiLSTM,
    ),
    multi_scale.ARCHITECTURE: Architecture(
        multi_scale.MultiScaleConfig, multi_scale.MultiScale, multi_scale.IntegerMultiScale
    ),
}
"""By the names that model files carry."""


def architecture_of(network: IntegerNetwork) -> Architecture:
    """That of ``network``.

    Raises:
        ModelError: it is not known.
    """
    return _named(network.architecture)


def _named(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture {name!r} needs a newer pixelcodec")
    return ARCHITECTURES[name]


def make_program(network: IntegerNetwork, arithmetic: Arithmetic) -> Program:
    """Make ``network`` ready to run by ``arithmetic``.

    Raises:
        ModelError: its architecture is not known, or its integers are not those that it needs.
    """
    return architecture_of(network).program(network, arithmetic)


def make_learning_program(
    network: IntegerNetwork, arithmetic: Arithmetic, learning: int, channels: int
) -> Program:
    """A program that begins as ``network`` and learns, for one image.

    Args:
        network: what it is at first.
        arithmetic: of the layers that stay.
        learning: how, :data:`pixelcodec.models.learning.SEEING` or see
            :meth:`pixelcodec.models.learning.Learning.of`; 0, not at all, for networks that
            remember.
        channels: of the image.

    Raises:
        ModelError: networks of its architecture do not learn.
    """
    learner = architecture_of(network).learner
    if learner is None:
        raise ModelError(f"networks of the architecture {network.architecture!r} do not learn")
    return learner(network, arithmetic, learning, channels)


def can_learn(network: IntegerNetwork) -> bool:
    """Whether a network of this architecture can learn from what it has coded."""
    return architecture_of(network).learner is not None


def learning_of(network: IntegerNetwork, learning: int) -> int:
    """``learning``, or 0 where this architecture does not learn so."""
    learns_so = learning >= architecture_of(network).least_learning
    return learning if can_learn(network) and learns_so else 0


def remembers(network: IntegerNetwork) -> bool:
    """Whether each image needs a program of its own, see :class:`Architecture`."""
    return architecture_of(network).remembers


def make_config(architecture: str, values: Mapping[str, Any]) -> Config:
    """Hyperparameters of ``architecture``: ``values``, JSON, and for the rest the defaults.

    Raises:
        ModelError: the architecture or a name is not known, or a value is out of its range.
    """
    made = _named(architecture).config
    try:
        return made(**values)
    except TypeError as error:
        raise ModelError(f"{architecture} has no such parameters: {dict(values)}") from error


def make_float_network(architecture: str, config: Config) -> FloatNetwork:
    """A network with random weights."""
    return ARCHITECTURES[architecture].float_network(config)


def continued(network: FloatNetwork, architecture: str, config: Config) -> FloatNetwork:
    """A network of ``architecture`` and ``config`` that computes what ``network`` does.

    Raises:
        ModelError: ``network`` is of another architecture, or cannot grow to ``config``.
    """
    kind = ARCHITECTURES[architecture]
    if type(network) is kind.float_network:
        if network.config == config:
            return network
        if kind.grow is not None:
            return kind.grow(network, config)
    raise ModelError(f"a network of {network.config} cannot become {architecture} of {config}")
