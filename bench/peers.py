"""Codecs of others that compare.py runs, beside those that ``pixelcodec compare`` does.

They stand here, not in the package, as the program itself starts no other program.
"""

import importlib
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib import metadata

import imagecodecs

from pixelcodec.cli import rivals
from pixelcodec.cli.rivals import BY_IMAGECODECS, Codec, holds_plain, same_colours
from pixelcodec.pictures import png as png_file

ONE_THREAD = {"RAYON_NUM_THREADS": "1"}
"""Variables of the environment that keep codecs to one thread whose functions cannot be told."""


def oxipng() -> Codec | None:
    """Return PNG as small as oxipng makes it: a Python package of that name, or the command.

    It may choose another kind of PNG that shows the same colours, such as a palette.
    """
    found = _oxipng_package() or _oxipng_command()
    if found is None:
        return None
    library, optimise = found
    return Codec(
        "PNG oxipng",
        f"{library}, level 6, 1 thread",
        lambda picture, _: optimise(png_file.write(picture, compress_level=1)),
        lambda data, _: imagecodecs.png_decode(data),
        same=same_colours,
    )


_Optimise = Callable[[bytes], bytes]


def _oxipng_package() -> tuple[str, _Optimise] | None:
    try:
        module = importlib.import_module("oxipng")
    except ImportError:
        return None
    packages = metadata.packages_distributions().get("oxipng", [])
    versions = (f"by {package} {metadata.version(package)}" for package in packages)
    library = " ".join(["oxipng", *versions])
    return library, lambda data: bytes(module.optimize_from_memory(data, level=6))


def _oxipng_command() -> tuple[str, _Optimise] | None:
    command = shutil.which("oxipng")
    if command is None:
        return None

    def run(*arguments: str, data: bytes = b"") -> bytes:
        return subprocess.run(
            [command, *arguments], input=data, capture_output=True, check=True
        ).stdout

    options = ("--quiet", "--opt", "6", "--threads", "1", "--stdout", "-")
    return f"the command {run('--version').decode().strip()}", lambda data: run(*options, data=data)


def jpeg_ls() -> Codec | None:
    """Return JPEG-LS, channel by channel: the library's functions transform no colours."""
    if not imagecodecs.JPEGLS.available:
        return None
    return Codec(
        "JPEG-LS",
        f"{imagecodecs.jpegls_version()} {BY_IMAGECODECS}, no transform of colours",
        lambda picture, _: bytes(imagecodecs.jpegls_encode(picture.to_array(), level=0)),
        lambda data, _: imagecodecs.jpegls_decode(data),
        partial(holds_plain, channels=(1, 3, 4), bit_depths=(8, 16)),
    )


def jpeg_2000() -> Codec | None:
    """Return JPEG 2000 by its reversible wavelet."""
    if not imagecodecs.JPEG2K.available:
        return None
    return Codec(
        "JPEG 2000",
        f"{imagecodecs.jpeg2k_version()} {BY_IMAGECODECS}, reversible, 1 thread",
        lambda picture, _: bytes(
            imagecodecs.jpeg2k_encode(
                picture.to_array(),
                level=0,
                reversible=True,
                bitspersample=picture.bit_depth,
                numthreads=1,
            )
        ),
        lambda data, _: imagecodecs.jpeg2k_decode(data, numthreads=1),
        holds_plain,
    )


def qoi() -> Codec | None:
    """Return QOI."""
    if not imagecodecs.QOI.available:
        return None
    return Codec(
        "QOI",
        f"{imagecodecs.qoi_version()} {BY_IMAGECODECS}",
        lambda picture, _: bytes(imagecodecs.qoi_encode(picture.to_array())),
        lambda data, _: imagecodecs.qoi_decode(data),
        partial(holds_plain, channels=(3, 4), bit_depths=(8,)),
    )


def avif(speed: int = 4) -> Codec | None:
    """Return lossless AVIF, which gives no alpha where all is opaque.

    At the slowest speed it takes ten times as long as at the default here for 1% less.
    """
    if not imagecodecs.AVIF.available:
        return None
    quality = imagecodecs.AVIF.QUALITY.LOSSLESS
    return Codec(
        "AVIF lossless",
        f"{imagecodecs.avif_version()} {BY_IMAGECODECS}, lossless, speed {speed}, 1 thread",
        lambda picture, _: bytes(
            imagecodecs.avif_encode(picture.to_array(), level=quality, speed=speed, numthreads=1)
        ),
        lambda data, _: imagecodecs.avif_decode(data, numthreads=1),
        partial(holds_plain, bit_depths=(8,)),
        same_colours,
    )


PEERS: dict[str, Callable[[], Codec | None]] = {
    "png": rivals.png,
    "oxipng": oxipng,
    "webp": rivals.webp,
    "jxl7": partial(rivals.jpeg_xl, 7),
    "jxl9": partial(rivals.jpeg_xl, 9),
    "jpegls": jpeg_ls,
    "jpeg2000": jpeg_2000,
    "qoi": qoi,
    "avif": avif,
}
"""What makes each codec of others, by short names; it gives None where that is not installed."""
