"""``pixelcodec encode``: an image file to a .pxc file."""

from pathlib import Path
from typing import Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    compute_options,
    errors_about,
    force_option,
    model_option,
    output_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.files import atomic_output, default_output, read_bytes
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.tables import bits_per_sample


@click.command()
@path_argument("image")
@output_option("Output file; by default IMAGE with the suffix .pxc.")
@model_option
@click.option(
    "--strip-rows",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Rows a strip, the unit of memory and of streaming.",
)
@click.option(
    "--tile",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Side of tiles that are coded independently, side by side; 0: none. For mosaics.",
)
@compute_options
@force_option
@quiet_option
def encode(
    *,
    image: Path,
    output: Path | None,
    model: str,
    strip_rows: int | None,
    tile: int | None,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Compress IMAGE, 8-bit RGB or gray, without loss.

    A bilevel image needs a model that was trained for such images.
    """
    from pixelcodec import api
    from pixelcodec.images import read_image

    output = output or default_output(image, ".pxc")
    with errors_about(image):
        source = read_bytes(image)
        pixels = read_image(source)
    # The output is opened first: what is wrong with it should not be found out after the work.
    with errors_about(output), atomic_output(output, force=force) as stream:
        with errors_about(image), progress_bar(image.name, quiet=quiet) as progress:
            data = api.encode(
                pixels,
                model=model,
                strip_rows=strip_rows,
                tile=tile,
                progress=progress,
                **compute,
            )
        stream.write(data)
    if not quiet:
        click.echo(_summary(output, len(data), pixels.size, len(source.getbuffer())), err=True)


def _summary(output: Path, size: int, samples: int, source_size: int) -> str:
    return (
        f"{output}: {size:,} bytes, {bits_per_sample(size, samples):.3f} bpsp, "
        f"{size / source_size:.1%} of the source file"
    )
