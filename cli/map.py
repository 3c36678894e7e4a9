"""``pixelcodec map``: a picture of where the bits of an image go."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Unpack

import click

from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    ModelName,
    compute_options,
    errors_about,
    examples,
    force_option,
    output_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.encode import EffortNumber
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
    type=ModelName(),
    metavar="NAME",
    shell_complete=model_names,
    help=f"{MODEL_NAMES} [default: what makes the smallest file, or what a .pxc file names]",
)
@click.option(
    "-e",
    "--effort",
    type=EffortNumber(),
    metavar="1..9|max",
    help="Of an image, as `encode` has it. [default: 5]",
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
    effort: int | None,
    channels: bool,
    width: int | None,
    top: int | None,
    no_legend: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Draw how many bits each pixel of IMAGE takes.

    Black is none, pale yellow many. IMAGE is a .pxc file, or an image: then the map is of the file
    that `encode` makes of it, by the model that makes it smallest. The bits are the exact
    information under the model; the file is as long as their sum, and some bytes.
    """
    from pixelcodec.cli import panels
    from pixelcodec.cli.heat import scale_of
    from pixelcodec.pictures import Picture, check_format, write_picture

    output = output or default_output(image, ".map.png")
    image_format = "png" if output == STANDARD_STREAM else output.suffix
    with errors_about(output):
        check_format(output, image_format)
        with atomic_output(output, force=force) as stream:
            found = _bits_of(image, model, effort, quiet, compute)
            shown = _panels(found, channels, width)
            scale = scale_of([panel.bits for panel in shown], top)
            summary = _summary(found, channels)
            if no_legend:
                pixels = panels.bare(shown, scale)
            else:
                pixels = panels.with_legend(shown, scale, summary)
            write_picture(Picture.from_array(pixels), stream, image_format)
    if not quiet:
        click.echo(f"{output}: {summary}", err=True)


class _Found(NamedTuple):
    """Bits of each sample of a file, the names of its channels, and the model that coded it."""

    bits: "BitMap"
    channels: list[str]
    model: str


def _bits_of(
    image: Path, model: str | None, effort: int | None, quiet: bool, compute: Compute
) -> _Found:
    """Where the bits go of a .pxc file, or of the one that ``encode`` makes of an image."""
    from pixelcodec import api
    from pixelcodec.cli.heat import bits_in
    from pixelcodec.container import MAGIC, STANDARD, Reader
    from pixelcodec.errors import UnsupportedImageError
    from pixelcodec.pictures import read_picture

    with errors_about(image):
        data = read_bytes(image).getvalue()
        if data.startswith(MAGIC):
            if effort is not None:
                raise click.UsageError(f"-e is for images; {image} is a .pxc file already")
            with progress_bar(f"{image.name}: decoding", quiet=quiet) as progress:
                picture = api.decode_picture(data, model=model, progress=progress, **compute)
            otherwise = "decode it, and draw the map of the image with -m"
        else:
            picture = read_picture(BytesIO(data))
            with progress_bar(f"{image.name}: encoding", quiet=quiet) as progress:
                data = api.encode(picture, model=model, effort=effort, progress=progress, **compute)
            otherwise = "-m draws the map of the file that a model makes"
        start = Reader(BytesIO(data)).start
        if start.header.model_id == STANDARD:
            raise UnsupportedImageError(f"no model codes it best, but PNG or WebP; {otherwise}")
        with progress_bar(image.name, quiet=quiet) as progress:
            bits, name = bits_in(start, picture.to_array(), model, compute, progress)
        channels = ["index"] if picture.is_palette else channel_names(bits.shape[2])
        return _Found(bits, channels, name)


def _panels(found: _Found, apart: bool, width: int | None) -> list["Panel"]:
    """The map of all channels together, or of each ``apart``, ``width`` pixels wide."""
    from pixelcodec.cli.heat import resized
    from pixelcodec.cli.panels import Panel

    across = width or found.bits.shape[1]
    if not apart:
        return [Panel("", resized(found.bits.sum(2), across))]
    return [
        Panel(f"{name}, {channel.mean():.2f} bits a sample", resized(channel, across))
        for name, channel in zip(found.channels, found.bits.transpose(2, 0, 1), strict=True)
    ]


def _summary(found: _Found, apart: bool) -> str:
    bits = found.bits
    total = bits.sum(dtype="f8")
    unit, units = ("sample", bits.size) if apart else ("pixel", bits[..., 0].size)
    name = Path(found.model).name
    mean, size = f"{total / units:.3f} on average", f"{total / 8:,.0f} bytes in all"
    return f"bits a {unit} under {name}: {mean}, {size}"
