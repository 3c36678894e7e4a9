"""What several tests share: small random networks, and images to bytes and back with any model."""

import io
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pixelcodec.container import Header, Reader, Writer
from pixelcodec.engine import Choose, Engine, Places, StripCoder, StripDecoder, StripEncoder
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Distribution
from pixelcodec.models.wavefront_pixelcnn import Config, WavefrontPixelCNN

Samples = npt.NDArray[Any]
"""uint8; those of one bit may be bool."""

Network = TypeVar("Network", bound=torch.nn.Module)

TINY = Config(width=8, hidden=8, blocks=1, head=4, components=1)
"""A network that takes no time."""

WEIGHT_LIMIT = 7.5
"""Float weights beyond this have no place in the integer network."""


def random_network(config: Config, seed: int, gain: float = 1.0) -> IntegerNetwork:
    """A random network; the larger ``gain``, the more of its values meet their limits."""
    return randomised(lambda: WavefrontPixelCNN(config), seed, gain).integer_network()


def randomised(make: Callable[[], Network], seed: int, gain: float = 1.0) -> Network:
    """The random float network that ``make`` makes, with larger weights, and biases that vary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        with torch.no_grad():
            for parameter in network.parameters():
                spread = torch.randn_like(parameter) * (gain - 1) / 8 if parameter.dim() == 1 else 0
                parameter.mul_(gain).add_(spread).clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return network.requires_grad_(False)


def encode(
    image: Samples,
    network: IntegerNetwork,
    engine: Engine,
    strip_rows: int,
    restart: bool = False,
    tile: int = 0,
    changes: bytes = b"",
    learning: int = 0,
) -> bytes:
    """The stream of ``image`` [height, width] or [height, width, 3] by any ``network``.

    ``engine``: made of the network, with its changes.
    """
    height, width = image.shape[:2]
    rows = image.reshape(height, width, -1)
    rows = rows.view(np.uint8) if rows.dtype == np.bool_ else rows
    channels, bit_depth = rows.shape[2], engine.program.bit_depth
    header = Header(
        *(width, height, channels, bit_depth, strip_rows, network.model_id, restart, tile),
        learning=learning,
    )
    encoder = StripEncoder(engine, width, channels, restart, tile, header.learning)
    stream = io.BytesIO()
    writer = Writer(stream, header, changes=changes)
    for top in range(0, height, strip_rows):
        writer.strip(*encoder.encode(rows[top : top + strip_rows], ignore))
    writer.close(zlib.crc32(rows.tobytes()))
    return stream.getvalue()


def decode(data: bytes, engine: Engine) -> Samples:
    """The image in the stream ``data``, by the ``engine`` of the network that wrote it."""
    reader = Reader(io.BytesIO(data))
    header = reader.header
    decoder = StripDecoder(
        engine, header.width, header.channels, header.restart, header.tile, header.learning
    )
    strips = []
    parts = []
    for payload, last in reader:
        parts.append(payload)
        if last:
            strips.append(decoder.decode(parts, header.strip_height(len(strips)), ignore))
            parts = []
    image = np.concatenate(strips)
    assert zlib.crc32(image.tobytes()) == reader.samples_crc
    return image if header.channels == 3 else image[:, :, 0]


def masses(images: Samples, engine: Engine, strip_rows: int = 999) -> npt.NDArray[np.int32]:
    """What the ``engine`` gives all levels of each sample, in strips that are joined.

    ``images``: [images, height, width, channels].

    Returns:
        int32 [images, height, width, channels, levels].
    """
    count, height, width, channels = images.shape
    levels = 1 << engine.program.bit_depth
    found = np.zeros((*images.shape, levels), np.int32)
    coder = StripCoder(engine, width, channels)
    for top in range(0, height, strip_rows):
        rows = slice(top, top + strip_rows)
        strip, masses_of_strip = images[:, rows], found[:, rows]

        def known(
            distribution: Distribution,
            places: Places,
            channel: int,
            strip: Samples = strip,
            into: npt.NDArray[np.int32] = masses_of_strip,
        ) -> Samples:
            y, x = places
            edges = np.tile(np.arange(levels + 1, dtype=np.int32), (len(distribution), 1))
            of_levels = np.diff(distribution.cumulative(edges))
            into[:, y, x, channel] = of_levels.reshape(count, len(y), levels)
            samples: Samples = strip[:, y, x, channel].reshape(-1)
            return samples

        coder.scales[-1].walk(strip.copy(), known, ignore)
    return found


def walked(engine: Engine, shape: tuple[int, ...], choose: Choose) -> Samples:
    """What ``choose`` chooses of all pixels of a stack, uint8 [images, height, width, channels]."""
    images = np.zeros(shape, np.uint8)
    for scale in StripCoder(engine, shape[2], shape[3]).scales:
        scale.walk(scale.of(images), choose, ignore)
    return images


def ignore(*_: Any) -> None:
    """Take any report of progress."""
