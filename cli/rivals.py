"""The codecs that ``pixelcodec compare`` runs, all behind the same two functions."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from pixelcodec import __version__
from pixelcodec.cli.common import Compute
from pixelcodec.cli.progress import Progress

Samples = npt.NDArray[Any]

PNG_OPTIMISED = "PNG optimised"
OURS = "pixelcodec "
"""What the names of this project's codecs begin with."""


@dataclass(frozen=True)
class Codec:
    """A lossless codec: ``decode(encode(pixels))`` must be the pixels, if it ``holds`` such.

    The first two take a ``progress`` to call, too; only pixelcodec does. ``about``: which library
    it is, and its settings.
    """

    name: str
    about: str
    encode: Callable[[Samples, Progress | None], bytes]
    decode: Callable[[bytes, Progress | None], Samples]
    holds: Callable[[Samples], bool] = lambda pixels: True


def png() -> Codec:
    """Return PNG as small as Pillow makes it; of several 16-bit channels, as imagecodecs does."""
    from pixelcodec.pictures import Picture
    from pixelcodec.pictures import png as file

    name = "zlib-ng" if features.check("zlib_ng") else "zlib"
    library = f"{name} {features.version(name.replace('-', '_'))}"
    return Codec(
        PNG_OPTIMISED,
        f"{library} by Pillow {PIL.__version__}, optimize",
        lambda pixels, _: file.write(Picture.from_array(pixels)),
        lambda data, _: file.read(data).to_array(),
    )


def webp() -> Codec:
    """Return lossless WebP; quality, where nothing is lost, is the effort, and 100 the highest."""

    def encode(pixels: Samples, _: Progress | None) -> bytes:
        buffer = BytesIO()
        image = Image.fromarray(pixels)
        image.save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
        return buffer.getvalue()

    def decode(data: bytes, _: Progress | None) -> Samples:
        with Image.open(BytesIO(data), formats=["WEBP"]) as image:
            return np.array(image)

    library = f"libwebp {features.version('webp')} by Pillow {PIL.__version__}"
    about = f"{library}, lossless, quality 100, method 6, exact"
    return Codec("WebP lossless", about, encode, decode, _webp_holds)


def _webp_holds(pixels: Samples) -> bool:
    """Whether samples are of 8 bits, and no gray ones with alpha."""
    return _depth(pixels) == 8 and pixels.shape[2:] != (2,)


def jpeg_xl(effort: int) -> Codec:
    """Return lossless JPEG XL."""
    return Codec(
        f"JPEG XL e{effort}",
        f"{imagecodecs.jpegxl_version()} by imagecodecs {imagecodecs.__version__}, "
        f"effort {effort}, 1 thread",
        lambda pixels, _: bytes(
            imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort, numthreads=1)
        ),
        lambda data, _: imagecodecs.jpegxl_decode(data, numthreads=1),
        lambda pixels: pixels.dtype != np.bool_,
    )


def pixelcodec(model: str, compute: Compute) -> Codec:
    """Return this codec with one of its models, for images of as many bits a sample."""
    from pixelcodec import api
    from pixelcodec.models import zoo
    from pixelcodec.runtime import STANDARD_NAME

    def encode(pixels: Samples, progress: Progress | None) -> bytes:
        return api.encode(pixels, model=model, progress=progress, **compute)

    def decode(data: bytes, progress: Progress | None) -> Samples:
        return api.decode(data, model=model, progress=progress, **compute)

    settings = (f"{name} {value}" for name, value in compute.items() if value is not None)
    about = ", ".join([f"pixelcodec {__version__}", *settings])
    if model == STANDARD_NAME:  # for kinds that no model knows
        return Codec(f"{OURS}{model}", about, encode, decode, lambda pixels: _depth(pixels) != 8)
    depth = zoo.load(model).config.get("bit_depth", 8)
    return Codec(f"{OURS}{model}", about, encode, decode, lambda pixels: _depth(pixels) == depth)


def _depth(pixels: Samples) -> int:
    """Bits of a sample."""
    return 1 if pixels.dtype == np.bool_ else 8 * pixels.itemsize
