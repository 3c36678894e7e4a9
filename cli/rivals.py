"""The codecs that ``pixelcodec compare`` runs, all behind the same two functions."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelcodec.cli.common import Compute
from pixelcodec.cli.progress import Progress

Samples = npt.NDArray[np.uint8]

PNG_OPTIMISED = "PNG optimised"


@dataclass(frozen=True)
class Codec:
    """A lossless codec: ``decode(encode(pixels))`` must be the pixels.

    Both take a ``progress`` to call, too; only pixelcodec does.
    """

    name: str
    encode: Callable[[Samples, Progress | None], bytes]
    decode: Callable[[bytes, Progress | None], Samples]


def png() -> Codec:
    """Return PNG as small as Pillow makes it."""
    return _pillow(PNG_OPTIMISED, "PNG", optimize=True)


def webp() -> Codec:
    """Return lossless WebP; quality, where nothing is lost, is the effort, and 100 the highest."""
    return _pillow("WebP lossless", "WEBP", lossless=True, quality=100, method=6, exact=True)


def jpeg_xl(effort: int) -> Codec | None:
    """Return lossless JPEG XL by imagecodecs or by the Pillow plug-in; None without either."""
    name = f"JPEG XL e{effort}"
    if find_spec("imagecodecs"):
        import imagecodecs

        return Codec(
            name,
            lambda pixels, _: bytes(
                imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort)
            ),
            lambda data, _: imagecodecs.jpegxl_decode(data),
        )
    if find_spec("pillow_jxl"):
        import_module("pillow_jxl")  # registers the format with Pillow
        return _pillow(name, "JXL", lossless=True, effort=effort)
    return None


def pixelcodec(model: str, compute: Compute) -> Codec:
    """Return this codec with one of its models."""
    from pixelcodec import api

    def encode(pixels: Samples, progress: Progress | None) -> bytes:
        return api.encode(pixels, model=model, progress=progress, **compute)

    def decode(data: bytes, progress: Progress | None) -> Samples:
        return api.decode(data, model=model, progress=progress, **compute)

    return Codec(f"pixelcodec {model}", encode, decode)


def _pillow(name: str, image_format: str, **options: Any) -> Codec:
    def encode(pixels: Samples, _: Progress | None) -> bytes:
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, image_format, **options)
        return buffer.getvalue()

    def decode(data: bytes, _: Progress | None) -> Samples:
        with Image.open(BytesIO(data), formats=[image_format]) as image:
            return np.array(image)

    return Codec(name, encode, decode)
