"""What several tests share: small random networks, and images to bytes and back with any model."""

import io
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pixelcodec.container import Header, Reader, Writer
from pixelcodec.engine import Engine, StripDecoder, StripEncoder
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.pixelcnn import Config, PixelCNN

Samples = npt.NDArray[np.uint8]

WEIGHT_LIMIT = 7.5
"""Float weights beyond this have no place in the integer network."""


def random_network(config: Config, seed: int, gain: float = 1.0) -> IntegerNetwork:
    """A random network; the larger ``gain``, the more of its values meet their limits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PixelCNN(config)
        with torch.no_grad():
            for parameter in network.parameters():
                spread = torch.randn_like(parameter) * (gain - 1) / 8 if parameter.dim() == 1 else 0
                parameter.mul_(gain).add_(spread).clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return network.integer_network()


def encode(
    image: Samples, network: IntegerNetwork, engine: Engine, strip_rows: int, restart: bool = False
) -> bytes:
    """The stream of ``image`` [height, width] or [height, width, 3] by any ``network``.

    ``engine``: made of the network.
    """
    height, width = image.shape[:2]
    rows = image.reshape(height, width, -1)
    channels = rows.shape[2]
    header = Header(width, height, channels, 8, strip_rows, network.model_id, restart)
    encoder = StripEncoder(engine, width, channels, restart)
    stream = io.BytesIO()
    writer = Writer(stream, header)
    for top in range(0, height, strip_rows):
        writer.strip(encoder.encode(rows[top : top + strip_rows], ignore))
    writer.close(zlib.crc32(rows.tobytes()))
    return stream.getvalue()


def decode(data: bytes, engine: Engine) -> Samples:
    """The image in the stream ``data``, by the ``engine`` of the network that wrote it."""
    reader = Reader(io.BytesIO(data))
    header = reader.header
    decoder = StripDecoder(engine, header.width, header.channels, header.restart)
    strips = [
        decoder.decode(payload, header.strip_height(index), ignore)
        for index, payload in enumerate(reader)
    ]
    image = np.concatenate(strips)
    assert zlib.crc32(image.tobytes()) == reader.samples_crc
    return image if header.channels == 3 else image[:, :, 0]


def ignore(*_: Any) -> None:
    """Take any report of progress."""
