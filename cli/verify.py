"""``pixelcodec verify``: is a .pxc file whole, and is it this image?"""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    errors_about,
    path_argument,
    quiet_option,
    written_by_option,
)
from pixelcodec.cli.decode import decode_file
from pixelcodec.cli.files import read_bytes

if TYPE_CHECKING:
    from pixelcodec.images import Samples


@click.command()
@path_argument("file")
@path_argument("original", required=False)
@written_by_option
@compute_options
@quiet_option
def verify(
    *,
    file: Path,
    original: Path | None,
    model: str | None,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Check FILE by decoding it, against ORIGINAL if given.

    All of FILE is decoded and its CRCs are checked; with ORIGINAL every pixel is compared too.
    """
    pixels = decode_file(file, model, quiet, compute)
    verdict = "intact"
    if original is not None:
        if difference := first_difference(pixels, _read_original(original)):
            raise Failure(file, f"differs from {original}: {difference}")
        verdict = f"identical to {original}"
    if not quiet:
        click.echo(f"{file}: {verdict}")


def _read_original(path: Path) -> "Samples":
    from pixelcodec.images import read_image

    with errors_about(path):
        return read_image(read_bytes(path))


def first_difference(decoded: "Samples", original: "Samples") -> str | None:
    """Say where two images differ first, from top to bottom and left to right, if they do."""
    import numpy as np

    if decoded.shape != original.shape:
        return f"shape {decoded.shape}, not {original.shape}"
    different = np.argwhere(decoded != original)
    if len(different) == 0:
        return None
    y, x = map(int, different[0][:2])
    return f"first at x={x} y={y}: {decoded[y, x].tolist()}, not {original[y, x].tolist()}"
