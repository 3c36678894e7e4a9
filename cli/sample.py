"""``pixelcodec sample``: images that a model draws, in one image file."""

import re
from pathlib import Path
from typing import Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    compute_options,
    count_option,
    errors_about,
    examples,
    force_option,
    model_option,
    output_option,
    quiet_option,
    seed_option,
    temperature_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, atomic_output
from pixelcodec.cli.progress import progress_bar


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read ``28`` or ``WxH`` as height and width."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a size, such as 28 or 640x480")
    width, height = found[1], found[2] or found[1]
    return int(height), int(width)


@click.command(
    epilog=examples(
        "pixelcodec sample -m mnist-row-lstm -n 8 -o digits.png",
        "pixelcodec sample -m photo-s -n 1 --size 24x16 --seed 7 -o drawn.png",
    )
)
@model_option
@count_option(64, "How many images.")
@click.option(
    "--size",
    callback=_size,
    metavar="S|WxH",
    help="Size of each image. [default: that of the model's tiles, else 32, or 28 of bilevel]",
)
@output_option("Output image, its format by its suffix.", required=True)
@click.option(
    "--columns",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images in a row of the output.",
)
@temperature_option
@seed_option
@compute_options
@force_option
@quiet_option
def sample(
    *,
    model: str,
    count: int,
    size: tuple[int, int] | None,
    output: Path,
    columns: int,
    temperature: float,
    seed: int,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Draw images from a model, and write them as one.

    They stand row by row on gray; a single one is written as it is.
    """
    from pixelcodec import sampling
    from pixelcodec.pictures import Picture, check_format, write_picture

    image_format = "png" if output == STANDARD_STREAM else output.suffix
    with errors_about(output):
        check_format(output, image_format)
        with atomic_output(output, force=force) as stream:
            with errors_about(None), progress_bar(output.name, quiet=quiet) as progress:
                images = sampling.sample(
                    model,
                    count,
                    size,
                    temperature=temperature,
                    seed=seed,
                    progress=progress,
                    **compute,
                )
            page = images[0] if count == 1 else sampling.grid(images, columns)
            write_picture(Picture.from_array(page), stream, image_format)
