"""How many bits a network says an image holds, and how many its file takes."""

from dataclasses import dataclass

import numpy as np

from pixelcodec import api, coder
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.models.network import IntegerNetwork


@dataclass(frozen=True)
class Evaluation:
    """An image under a network.

    Attributes:
        samples: pixels times channels.
        model_bits: information of all samples under the integer network.
        file_bytes: size of the ``.pxc`` file.
    """

    samples: int
    model_bits: float
    file_bytes: int

    @property
    def model_bpsp(self) -> float:
        """Bits of the network for each sample (bits per dimension)."""
        return self.model_bits / self.samples

    @property
    def file_bpsp(self) -> float:
        """Bits of the file for each sample."""
        return 8 * self.file_bytes / self.samples


def evaluate(image: api.Samples, model: str, engine: Engine) -> Evaluation:
    """Compare the bits of ``model`` (made ready as ``engine``) with those of a real file.

    Args:
        image: uint8 [height, width] or [height, width, 3].
        model: name or path, as :func:`pixelcodec.encode` takes it.
        engine: the same model.
    """
    bits = model_bits(image, engine)
    return Evaluation(image.size, bits, len(api.encode(image, model=model)))


def model_bits(image: api.Samples, engine: Engine) -> float:
    """Information of ``image`` in bits under the integer network, exact to a millionth."""
    height, width = image.shape[:2]
    rows = image.reshape(height, width, -1)
    encoder = StripEncoder(engine, width, rows.shape[2])
    strip_rows = api.default_strip_rows(height, width)
    bits = 0.0
    for top in range(0, height, strip_rows):
        choices = encoder.choices(rows[top : top + strip_rows], lambda pixels: None)
        frequencies = choices[:, 1].astype(np.float64) + 1
        bits += float((coder.PRECISION - np.log2(frequencies)).sum())
    return bits


def held_out_bpsp(network: IntegerNetwork, images: list[api.Samples]) -> float:
    """Mean over ``images`` of the bits a sample under ``network``."""
    engine = Engine(network)
    return float(np.mean([model_bits(image, engine) / image.size for image in images]))
