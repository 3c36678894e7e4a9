"""The codecs that ``pixelcodec compare`` runs, all behind the same two functions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from pixelcodec import __version__
from pixelcodec.cli.common import Compute
from pixelcodec.cli.progress import Progress
from pixelcodec.pictures import Picture
from pixelcodec.pictures import png as png_file

Samples = npt.NDArray[Any]

PNG_OPTIMISED = "PNG optimised"
OURS = "pixelcodec"
"""The first word of the names of this project's codecs."""


def is_ours(codec: str) -> bool:
    """Whether the codec of this name is this project's."""
    return codec.split(maxsplit=1)[0] == OURS


def short_name(codec: str) -> str:
    """The name of a codec, of a model in a file without its folder.

    >>> short_name("pixelcodec /home/me/mine.safetensors e9")
    'pixelcodec mine.safetensors e9'
    """
    first, _, rest = codec.partition(" ")
    return f"{first} {Path(rest).name}" if first == OURS and rest else codec


def same_samples(decoded: Samples, picture: Picture) -> bool:
    """Whether these are the samples of ``picture``, type and shape too."""
    samples = picture.to_array()
    return decoded.dtype == samples.dtype and np.array_equal(decoded, samples)


def same_colours(decoded: Samples, picture: Picture) -> bool:
    """Whether these are the colours of ``picture``, maybe in more bits or channels.

    Hidden ones count, too: those that are transparent.
    """
    colours = picture.in_colour()
    given = _rgba(colours.samples, colours.bit_depth)
    return np.array_equal(_rgba(np.atleast_3d(decoded), 8 * decoded.itemsize), given)


def _rgba(samples: Samples, bit_depth: int) -> npt.NDArray[np.uint16]:
    """[height, width, 1 ... 4] to 16-bit RGBA; no two colours become one."""
    height, width, channels = samples.shape
    scaled = samples.astype(np.uint16) * np.uint16(65535 // ((1 << bit_depth) - 1))
    rgba = np.full((height, width, 4), 65535, np.uint16)
    rgba[..., :3] = scaled[..., :1] if channels < 3 else scaled[..., :3]
    if channels in (2, 4):
        rgba[..., 3] = scaled[..., -1]
    return rgba


@dataclass(frozen=True)
class Codec:
    """A lossless codec: what it decodes must be the ``same`` as a picture that it ``holds``.

    The first two functions take a ``progress`` to call, too; only pixelcodec does. ``about``: which
    library it is, and its settings.
    """

    name: str
    about: str
    encode: Callable[[Picture, Progress | None], bytes]
    decode: Callable[[bytes, Progress | None], Samples]
    holds: Callable[[Picture], bool] = lambda picture: True
    same: Callable[[Samples, Picture], bool] = same_samples


# Others ------------------------------------------------------------------------------------------


def png() -> Codec:
    """Return PNG as small as Pillow makes it; of several 16-bit channels, as imagecodecs does."""
    name = "zlib-ng" if features.check("zlib_ng") else "zlib"
    library = f"{name} {features.version(name.replace('-', '_'))}"
    return Codec(
        PNG_OPTIMISED,
        f"{library} by Pillow {PIL.__version__}, optimize",
        lambda picture, _: png_file.write(picture),
        lambda data, _: png_file.read(data).to_array(),
    )


def webp() -> Codec:
    """Return lossless WebP; quality, where nothing is lost, is the effort, and 100 the highest.

    It has no gray, and gives three equal channels; it gives no alpha where all is opaque.
    """

    def encode(picture: Picture, _: Progress | None) -> bytes:
        buffer = BytesIO()
        image = Image.fromarray(picture.to_array())
        image.save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
        return buffer.getvalue()

    def decode(data: bytes, _: Progress | None) -> Samples:
        with Image.open(BytesIO(data), formats=["WEBP"]) as image:
            return np.array(image)

    library = f"libwebp {features.version('webp')} by Pillow {PIL.__version__}"
    about = f"{library}, lossless, quality 100, method 6, exact"
    holds = partial(holds_plain, channels=(1, 3, 4), bit_depths=(8,))
    return Codec("WebP lossless", about, encode, decode, holds, same_colours)


def jpeg_xl(effort: int) -> Codec:
    """Return lossless JPEG XL."""
    return Codec(
        f"JPEG XL e{effort}",
        f"{imagecodecs.jpegxl_version()} {BY_IMAGECODECS}, effort {effort}, 1 thread",
        lambda picture, _: bytes(
            imagecodecs.jpegxl_encode(
                picture.to_array(),
                lossless=True,
                effort=effort,
                bitspersample=picture.bit_depth,
                numthreads=1,
            )
        ),
        lambda data, _: imagecodecs.jpegxl_decode(data, numthreads=1),
        holds_plain,
    )


BY_IMAGECODECS = f"by imagecodecs {imagecodecs.__version__}"


def holds_plain(
    picture: Picture,
    channels: tuple[int, ...] = (1, 2, 3, 4),
    bit_depths: tuple[int, ...] = (2, 4, 8, 16),
) -> bool:
    """Whether ``picture`` has no palette, and so many channels and bits."""
    return (
        not picture.is_palette and picture.channels in channels and picture.bit_depth in bit_depths
    )


# This project ------------------------------------------------------------------------------------


def pixelcodec(model: str | None, compute: Compute, effort: int | None = None) -> Codec:
    """Return this codec.

    Args:
        model: one of its models, for images that it codes; None for what makes the smallest
            file of the image at this effort.
        compute: how it runs.
        effort: of the encoder; None for the default.
    """
    from pixelcodec import api
    from pixelcodec.choice import CANDIDATES, candidates
    from pixelcodec.container import STANDARD_NAME
    from pixelcodec.effort import DEFAULT_EFFORT, MAX_EFFORT, effort_of
    from pixelcodec.models import zoo
    from pixelcodec.models.architectures import make_config

    def encode(picture: Picture, progress: Progress | None) -> bytes:
        return api.encode(picture, model=model, effort=effort, progress=progress, **compute)

    def decode(data: bytes, progress: Progress | None) -> Samples:
        return api.decode(data, model=model, progress=progress, **compute)

    def holds(picture: Picture) -> bool:
        if model in (None, STANDARD_NAME):
            return True
        network = zoo.load(model)
        config = make_config(network.architecture, network.config)
        colours = picture.channels - (picture.channels in (2, 4))
        fits = picture.bit_depth == config.bit_depth and colours <= config.channels
        return fits and not picture.is_palette

    def identity(name: str) -> str:
        if name == STANDARD_NAME:
            return "PNG or WebP inside"
        return f"{Path(name).name} {zoo.load(name).model_id.hex()}"

    of_kinds = (candidates(kind, effort_of(effort)) for kind in CANDIDATES)
    of_all = dict.fromkeys(chain.from_iterable(of_kinds))
    models = [model] if model else sorted(of_all, key=lambda name: name == STANDARD_NAME)
    settings = [f"{name} {value}" for name, value in compute.items() if value is not None]
    about = [
        f"pixelcodec {__version__}",
        f"effort {effort or DEFAULT_EFFORT}",
        " or ".join(map(identity, models)),
        *settings,
    ]
    names = [OURS, *filter(None, [model])]
    if effort is not None:
        names.append("max" if effort == MAX_EFFORT else f"e{effort}")
    return Codec(" ".join(names), ", ".join(about), encode, decode, holds)
