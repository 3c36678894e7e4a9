"""``pixelcodec decode``: .pxc files to image files."""

import re
from functools import partial as bound
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec import suffixes
from pixelcodec.cli.batch import Batch, conversion_options
from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    errors_about,
    examples,
    path_argument,
    written_by_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, binary_input, explained, is_folder, not_pxc
from pixelcodec.cli.progress import Report, Step
from pixelcodec.cli.suggestions import pxc_files
from pixelcodec.cli.work import Loss, Sink, Task, Work

if TYPE_CHECKING:  # they import NumPy and torch
    from pixelcodec.api import Region
    from pixelcodec.pictures import Chunk, Picture
    from pixelcodec.stream import Coding


def _region(ctx: click.Context, param: click.Parameter, value: str | None) -> "Region | None":
    """Read ``X,Y,W,H``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,10}),(\d{1,10}),([1-9]\d{0,9}),([1-9]\d{0,9})", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not X,Y,W,H, such as 100,0,640,480")
    left, top, width, height = map(int, found.groups())
    return left, top, width, height


@click.command(
    epilog=examples(
        "pixelcodec decode photo.pxc",
        "pixelcodec decode photo.pxc -o part.png --region 8,4,16,12",
        "pixelcodec decode -r archive --out-dir restored -j 2",
        "cat photo.pxc | pixelcodec decode - > photo.png",
    )
)
@path_argument("paths", nargs=-1, required=True, metavar="FILES...", shell_complete=pxc_files)
@conversion_options(
    "Output image, its format by its suffix; by default the file's name with the suffix .png.",
    "Of one file: its strips at a time, if they need no other, as `encode --restart` makes them.",
)
@written_by_option
@click.option(
    "--region",
    callback=_region,
    metavar="X,Y,W,H",
    help="Write only this part: left column, top row, width and height, in pixels.",
)
@click.option(
    "--preview",
    is_flag=True,
    help="Decode only the small image that files of multi-scale models begin with.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Of damaged files write what is whole; lost rows get stripes, and the exit status is 1.",
)
@compute_options
def decode(
    *,
    batch: Batch,
    model: str | None,
    region: "Region | None",
    preview: bool,
    partial: bool,
    **compute: Unpack[Compute],
) -> None:
    """Write the images in FILES, bit for bit, with their metadata.

    On standard output an image is a PNG file. Other formats (tif, webp, ppm and their like) may not
    hold all kinds of images, or all metadata: what cannot be held is said.
    """
    from pixelcodec.pictures import check_format

    if sum((preview, partial, region is not None)) > 1:
        raise click.UsageError("give one of --region, --preview and --partial")
    output = batch.output
    if output is not None and not is_folder(output):
        with errors_about(output):  # now, not after the work
            check_format(output, _format(output))
    work: Work
    if partial:
        work = alone = bound(salvage_file, model=model, compute=compute)
    else:
        work = bound(decode_file, model=model, region=region, preview=preview, compute=compute)
        alone = bound(work, jobs=batch.jobs)
    batch.convert(work, {suffixes.PXC}, ".png", alone)


def decode_file(
    task: Task,
    sink: Sink,
    report: Report | None,
    *,
    model: str | None,
    region: "Region | None",
    preview: bool,
    compute: Compute,
    jobs: int = 1,
) -> str | None:
    """Decode one file, write its image, and say what the image's format cannot hold of it.

    ``jobs``: processes for the strips of the file.
    """
    picture = read_pxc(
        task.source, report, model, compute, region=region, preview=preview, jobs=jobs
    )
    return _not_held(_write(picture, task, sink), task)


def salvage_file(
    task: Task, sink: Sink, report: Report | None, *, model: str | None, compute: Compute
) -> str | None:
    """Write what is whole of one file, and say which rows are lost."""
    from pixelcodec.salvaging import salvage

    progress = None if report is None else lambda done, total: report(Step(done, total))
    source = task.source
    with errors_about(source), explained(source, not_pxc), binary_input(source) as stream:
        found = salvage(stream, model=model, progress=progress, **compute)
    lost = _not_held(_write(found.picture, task, sink), task)
    if not found.damage:
        return lost
    height = found.picture.height
    rows = ", ".join(f"{rows.start} to {rows.stop - 1}" for rows in found.lost)
    what = f"rows {rows} (of 0 to {height - 1}) are lost" if rows else "no row is lost"
    return Loss(f"{task.source}: {what}: {'; '.join(found.damage[:3])}")


def _write(picture: "Picture", task: Task, sink: Sink) -> "tuple[Chunk, ...]":
    """Write an image in the format of its target, and return the metadata which that lacks."""
    from pixelcodec.pictures import write_picture

    assert task.target is not None
    with errors_about(task.target):
        file = BytesIO()
        lost = write_picture(picture, file, _format(task.target))
        sink.write(file.getvalue())
    return lost


def _not_held(lost: "tuple[Chunk, ...]", task: Task) -> str | None:
    if not lost:
        return None
    names = ", ".join(sorted({chunk.name for chunk in lost}))
    return f"{task.target}: all pixels, but without the metadata {names}, which png can hold"


def read_pxc(
    file: Path,
    report: Report | None,
    model: str | None,
    compute: Compute,
    *,
    region: "Region | None" = None,
    preview: bool = False,
    jobs: int = 1,
) -> "Picture":
    """Decode a .pxc file, or standard input for ``-``: all of it, a region, or its preview."""
    from pixelcodec import api
    from pixelcodec.pictures import Picture

    progress = None if report is None else lambda done, total: report(Step(done, total))
    coding: Coding = {"model": model, "progress": progress, **compute}
    with errors_about(file), explained(file, not_pxc), binary_input(file) as stream:
        if preview:
            return Picture.from_array(api.preview_from(stream, **coding))
        try:
            return api.decode_picture(stream, region=region, jobs=jobs, **coding)
        except ValueError as error:
            raise Failure(file, error) from error


def _format(target: Path) -> str:
    return "png" if target == STANDARD_STREAM else target.suffix
