"""``pixelcodec complete``: an image of which a model draws a part anew."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    count_option,
    errors_about,
    examples,
    force_option,
    model_option,
    output_option,
    path_argument,
    quiet_option,
    seed_option,
    temperature_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, atomic_output, read_image
from pixelcodec.cli.progress import progress_bar

if TYPE_CHECKING:
    from pixelcodec.sampling import Mask


@click.command(
    epilog=examples(
        "pixelcodec complete photo.png --mask lower -o whole.png",
        "pixelcodec complete photo.png --mask lower -n 2 -o sheet.png",
        "pixelcodec complete photo.png --mask hole.png -m photo-s --temperature 0.8 -o whole.png",
    )
)
@path_argument("image")
@click.option(
    "--mask",
    required=True,
    metavar="HALF|FILE",
    help="What to draw: lower, right, left or upper half, or where an image, gray or bilevel and "
    "of the same size, is white.",
)
@model_option
@count_option(1, "How many completions; several make a sheet.")
@click.option(
    "--sheet", is_flag=True, help="Show a single completion, too, between hole and image."
)
@output_option("Output image, its format by its suffix.", required=True)
@temperature_option
@seed_option
@compute_options
@force_option
@quiet_option
def complete(
    *,
    image: Path,
    mask: str,
    model: str,
    count: int,
    sheet: bool,
    output: Path,
    temperature: float,
    seed: int,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Draw a part of IMAGE anew, and write what it may have been.

    A model sees what lies above and to the left, not what lies below. A single completion is
    written as it is. A sheet shows, in a row, the image with a gray hole, the completions, and the
    image.
    """
    import numpy as np

    from pixelcodec import sampling
    from pixelcodec.pictures import Picture, check_format, write_picture

    image_format = "png" if output == STANDARD_STREAM else output.suffix
    with errors_about(image):
        picture = read_image(image)
        pixels = picture.to_array()
    hole = _mask(mask, *pixels.shape[:2])
    with errors_about(output):
        check_format(output, image_format)
        with atomic_output(output, force=force) as stream:
            with errors_about(image), progress_bar(image.name, quiet=quiet) as progress:
                drawn = sampling.complete(
                    picture,
                    hole,
                    model,
                    count,
                    temperature=temperature,
                    seed=seed,
                    progress=progress,
                    **compute,
                )
            if sheet or count > 1:
                given = sampling.with_hole(pixels, hole)
                row = [given, *map(sampling.as_bytes, [*drawn, pixels])]
                page = sampling.grid(np.stack(row), len(row))
            else:
                page = drawn[0]
            write_picture(Picture.from_array(page), stream, image_format)


def _mask(name: str, height: int, width: int) -> "Mask":
    """The mask of a half, or in a file, of which the levels of 128 and above are white."""
    from pixelcodec import sampling
    from pixelcodec.errors import UnsupportedImageError

    if name in sampling.HALVES:
        return sampling.half(name, height, width)
    if not os.path.exists(name):
        raise Failure(name, f"this is neither {', '.join(sampling.HALVES)} nor a file")
    with errors_about(name):
        samples = read_image(Path(name)).to_array()
        if samples.shape != (height, width):
            raise UnsupportedImageError(
                f"a mask must be gray or bilevel, {width} x {height} pixels as the image"
            )
        mask: Mask = sampling.as_bytes(samples) >= sampling.GRAY
        if not mask.any():
            raise UnsupportedImageError("the mask is white nowhere: nothing is to be drawn")
        return mask
