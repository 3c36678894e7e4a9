"""``pixelcodec decode``: a .pxc file to an image file."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    compute_options,
    errors_about,
    force_option,
    output_option,
    path_argument,
    quiet_option,
    written_by_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, atomic_output, binary_input, default_output
from pixelcodec.cli.progress import progress_bar

if TYPE_CHECKING:
    from pixelcodec.images import Samples


@click.command()
@path_argument("file")
@output_option("Output image, its format by its suffix; by default FILE with the suffix .png.")
@written_by_option
@compute_options
@click.option(
    "--preview",
    is_flag=True,
    help="Decode only the small image that files of multi-scale models begin with.",
)
@force_option
@quiet_option
def decode(
    *,
    file: Path,
    output: Path | None,
    model: str | None,
    preview: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Write the image in FILE, bit for bit; to standard output as PNG."""
    from pixelcodec.images import check_format, write_image

    output = output or default_output(file, ".png")
    image_format = "png" if output == STANDARD_STREAM else output.suffix
    # What is wrong with the output should not be found out after the work.
    with errors_about(output):
        check_format(output, image_format)
        with atomic_output(output, force=force) as stream:
            image = decode_file(file, model, quiet, compute, preview=preview)
            write_image(image, stream, image_format)


def decode_file(
    file: Path, model: str | None, quiet: bool, compute: Compute, preview: bool = False
) -> "Samples":
    """Decode a .pxc file, or standard input for ``-``, and show the progress."""
    from pixelcodec import api

    with (
        errors_about(file),
        binary_input(file) as stream,
        progress_bar(file.name, quiet=quiet) as progress,
    ):
        decoded = api.preview_from if preview else api.decode_from
        return decoded(stream, model=model, progress=progress, **compute)
