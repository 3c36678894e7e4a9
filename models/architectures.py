"""Which architectures there are, by the name that model files carry."""

from collections.abc import Callable, Mapping
from typing import Any

from pixelcodec.errors import ModelError
from pixelcodec.models import (
    candidates,
    diagonal_bilstm,
    graphics,
    graphics_training,
    learning_gray,
    learning_pixelcnn,
    multi_scale,
    pixelcnn,
    row_lstm,
    wavefront_gray,
    wavefront_pixelcnn,
)
from pixelcodec.models.grow import grown
from pixelcodec.models.learning import Learning
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig, PaperNetwork
from pixelcodec.models.program import Arithmetic, Program

PROGRAMS: dict[str, Callable[[IntegerNetwork, Arithmetic], Program]] = {
    wavefront_pixelcnn.ARCHITECTURE: wavefront_pixelcnn.IntegerWavefrontPixelCNN,
    pixelcnn.ARCHITECTURE: pixelcnn.IntegerPixelCNN,
    row_lstm.ARCHITECTURE: row_lstm.IntegerRowLSTM,
    diagonal_bilstm.ARCHITECTURE: diagonal_bilstm.IntegerDiagonalBiLSTM,
    multi_scale.ARCHITECTURE: multi_scale.IntegerMultiScale,
    graphics.ARCHITECTURE: graphics.IntegerGraphics,
    wavefront_gray.ARCHITECTURE: wavefront_gray.IntegerWavefrontGray,
}
"""What makes an integer network of each architecture ready to run."""


def make_program(network: IntegerNetwork, arithmetic: Arithmetic) -> Program:
    """Make ``network`` ready to run by ``arithmetic``.

    Raises:
        ModelError: its architecture is not known, or its integers are not those that it needs.
    """
    if network.architecture not in PROGRAMS:
        raise ModelError(f"architecture {network.architecture!r} needs a newer pixelcodec")
    return PROGRAMS[network.architecture](network, arithmetic)


def can_learn(network: IntegerNetwork) -> bool:
    """Whether a network of this architecture can learn from what it has coded."""
    return network.architecture in (
        wavefront_pixelcnn.ARCHITECTURE,
        wavefront_gray.ARCHITECTURE,
        graphics.ARCHITECTURE,
    )


def remembers(network: IntegerNetwork) -> bool:
    """Whether a program of this architecture keeps more of an image than a canvas does.

    If so, each image has a program of its own, also where the network does not learn.
    """
    return network.architecture == graphics.ARCHITECTURE


def make_learning_program(
    network: IntegerNetwork, arithmetic: Arithmetic, learning: int, channels: int
) -> Program:
    """A program that begins as ``network`` and learns, for one image.

    Args:
        network: what it is at first.
        arithmetic: of the layers that stay.
        learning: how, see :meth:`pixelcodec.models.learning.Learning.of`; 0, not at all, for
            networks that remember.
        channels: of the image.

    Raises:
        ModelError: networks of its architecture do not learn.
    """
    if not can_learn(network):
        raise ModelError(f"networks of the architecture {network.architecture!r} do not learn")
    if remembers(network):
        return graphics.IntegerGraphics(network, arithmetic, learning, channels)
    if network.architecture == wavefront_gray.ARCHITECTURE:
        return learning_gray.LearningGray(network, arithmetic, Learning.of(learning))
    return learning_pixelcnn.LearningPixelCNN(network, arithmetic, Learning.of(learning))


# Training ----------------------------------------------------------------------------------------

Config = wavefront_pixelcnn.Config | wavefront_gray.Config | graphics.Config | PaperConfig
"""Hyperparameters of a network."""

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

TRAINABLE: dict[str, tuple[type[Config], Callable[[Any], FloatNetwork]]] = {
    wavefront_pixelcnn.ARCHITECTURE: (
        wavefront_pixelcnn.Config,
        wavefront_pixelcnn.WavefrontPixelCNN,
    ),
    wavefront_gray.ARCHITECTURE: (wavefront_gray.Config, wavefront_gray.WavefrontGray),
    pixelcnn.ARCHITECTURE: (PaperConfig, pixelcnn.PixelCNN),
    row_lstm.ARCHITECTURE: (row_lstm.RowConfig, row_lstm.RowLSTM),
    diagonal_bilstm.ARCHITECTURE: (
        diagonal_bilstm.DiagonalConfig,
        diagonal_bilstm.DiagonalBiLSTM,
    ),
    multi_scale.ARCHITECTURE: (multi_scale.MultiScaleConfig, multi_scale.MultiScale),
    graphics.ARCHITECTURE: (graphics.Config, graphics_training.Graphics),
}
"""Hyperparameters and float network of each architecture."""


def make_config(architecture: str, values: Mapping[str, Any]) -> Config:
    """Hyperparameters of ``architecture``: ``values``, JSON, and for the rest the defaults.

    Raises:
        ModelError: the architecture or a name is not known, or a value is out of its range.
    """
    if architecture not in TRAINABLE:
        raise ModelError(f"architecture {architecture!r} needs a newer pixelcodec")
    try:
        return TRAINABLE[architecture][0](**values)
    except TypeError as error:
        raise ModelError(f"{architecture} has no such parameters: {dict(values)}") from error


def make_float_network(architecture: str, config: Config) -> FloatNetwork:
    """A network with random weights."""
    return TRAINABLE[architecture][1](config)


def continued(network: FloatNetwork, architecture: str, config: Config) -> FloatNetwork:
    """A network of ``architecture`` and ``config`` that computes what ``network`` does.

    Raises:
        ModelError: ``network`` is of another architecture, or cannot grow to ``config``.
    """
    if type(network) is TRAINABLE[architecture][1]:
        if network.config == config:
            return network
        if isinstance(network, wavefront_pixelcnn.WavefrontPixelCNN):
            assert isinstance(config, wavefront_pixelcnn.Config)
            return grown(network, config)
    raise ModelError(f"a network of {network.config} cannot become {architecture} of {config}")


def images_of(config: Config) -> tuple[int, int]:
    """Channels, and bits of a sample, of the images that a network of ``config`` trains on."""
    if isinstance(config, PaperConfig):
        return config.channels, config.bit_depth
    if isinstance(config, wavefront_gray.Config):
        return 1, config.bit_depth
    if isinstance(config, graphics.Config):
        return candidates.CHANNELS, 8
    return wavefront_pixelcnn.CHANNELS, 8
