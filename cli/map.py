"""``pixelcodec map``: a picture of where the bits of an image go."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    compute_options,
    errors_about,
    examples,
    force_option,
    output_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, atomic_output, default_output, read_bytes
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.suggestions import model_names
from pixelcodec.cli.tables import channel_names

if TYPE_CHECKING:  # they import NumPy, Pillow and torch
    from pixelcodec.cli.panels import Panel
    from pixelcodec.evaluation import BitMap


@click.command(
    epilog=examples(
        "pixelcodec map photo.png",
        "pixelcodec map photo.pxc --channels --width 400 -o channels.png",
    )
)
@path_argument("image")
@output_option("Output image, its format by its suffix; by default IMAGE with .map.png.")
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=model_names,
    help=f"{MODEL_NAMES} [default: photo-m, or the one that a .pxc file names]",
)
@click.option("--channels", is_flag=True, help="A panel for each channel, side by side.")
@click.option(
    "--width",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Pixels across a panel. Fewer than those of IMAGE show means. [default: as IMAGE]",
)
@click.option(
    "--max",
    "top",
    type=click.IntRange(min=1),
    metavar="BITS",
    help="Where the colours end, so that maps can be compared. "
    "[default: where next to no pixel has more]",
)
@click.option("--no-legend", is_flag=True, help="The map alone, without numbers.")
@compute_options
@force_option
@quiet_option
def map(
    *,
    image: Path,
    output: Path | None,
    model: str | None,
    channels: bool,
    width: int | None,
    top: int | None,
    no_legend: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Draw how many bits each pixel of IMAGE takes.

    Black is none, pale yellow many. IMAGE is an image, or a .pxc file, which is decoded first, and
    whose model, strips and tiles are those of the map. The bits are the exact information under the
    model; a .pxc file is as long as their sum, and some bytes.
    """
    from pixelcodec.cli import panels
    from pixelcodec.cli.heat import scale_of
    from pixelcodec.pictures import Picture, check_format, write_picture

    output = output or default_output(image, ".map.png")
    image_format = "png" if output == STANDARD_STREAM else output.suffix
    with errors_about(output):
        check_format(output, image_format)
        with atomic_output(output, force=force) as stream:
            bits, name = _bits(image, model, quiet, compute)
            shown = _panels(bits, channels, width)
            scale = scale_of([panel.bits for panel in shown], top)
            summary = _summary(bits, name, channels)
            if no_legend:
                pixels = panels.bare(shown, scale)
            else:
                pixels = panels.with_legend(shown, scale, summary)
            write_picture(Picture.from_array(pixels), stream, image_format)
    if not quiet:
        click.echo(f"{output}: {summary}", err=True)


def _bits(image: Path, model: str | None, quiet: bool, compute: Compute) -> tuple["BitMap", str]:
    """The bits of each sample of an image or of a .pxc file, and the model that they are of."""
    from pixelcodec.cli.heat import bits_of
    from pixelcodec.container import MAGIC
    from pixelcodec.effort import effort_of
    from pixelcodec.pictures import read_picture

    with errors_about(image):
        source = read_bytes(image)
        if source.getvalue().startswith(MAGIC):
            return _bits_of_file(source, image.name, model, quiet, compute)
        pixels = read_picture(source).in_colour().to_array()
        name = model or effort_of(None).model
        with progress_bar(image.name, quiet=quiet) as progress:
            return bits_of(pixels, name, compute, progress), name


def _bits_of_file(
    source: BytesIO, label: str, model: str | None, quiet: bool, compute: Compute
) -> tuple["BitMap", str]:
    """The same of a .pxc file: by the network that decodes it, in its own strips and tiles."""
    from pixelcodec import api
    from pixelcodec.cli.heat import bits_in
    from pixelcodec.container import STANDARD, Reader
    from pixelcodec.errors import UnsupportedImageError

    start = Reader(source).start
    if start.header.model_id == STANDARD:
        raise UnsupportedImageError(
            "no model wrote it, but PNG or WebP; decode it, and draw the map of the image"
        )
    with progress_bar(f"{label}: decoding", quiet=quiet) as progress:
        pixels = api.decode(source.getvalue(), model=model, progress=progress, **compute)
    with progress_bar(label, quiet=quiet) as progress:
        return bits_in(start, pixels, model, compute, progress)


def _panels(bits: "BitMap", channels: bool, width: int | None) -> list["Panel"]:
    """The map of all channels together, or of each, ``width`` pixels wide."""
    from pixelcodec.cli.heat import resized
    from pixelcodec.cli.panels import Panel

    across = width or bits.shape[1]
    if not channels:
        return [Panel("", resized(bits.sum(2), across))]
    return [
        Panel(f"{name}, {channel.mean():.2f} bits a sample", resized(channel, across))
        for name, channel in zip(channel_names(bits.shape[2]), bits.transpose(2, 0, 1), strict=True)
    ]


def _summary(bits: "BitMap", model: str, channels: bool) -> str:
    total = bits.sum(dtype="f8")
    unit, units = ("sample", bits.size) if channels else ("pixel", bits[..., 0].size)
    name = Path(model).name
    mean, size = f"{total / units:.3f} on average", f"{total / 8:,.0f} bytes in all"
    return f"bits a {unit} under {name}: {mean}, {size}"
