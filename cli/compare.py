"""``pixelcodec compare``: the same images through several lossless codecs, each one decoded too."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    Failure,
    ModelName,
    compute_options,
    errors_about,
    examples,
    force_option,
    json_option,
    path_argument,
)
from pixelcodec.cli.encode import EffortNumber
from pixelcodec.cli.files import atomic_output, image_files, refuse_overwriting
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.suggestions import model_names
from pixelcodec.cli.tables import bits_per_sample, indented, table
from pixelcodec.errors import UnsupportedImageError

if TYPE_CHECKING:  # they import NumPy and Pillow
    from pixelcodec.cli.measuring import Comparison, Result, Watch
    from pixelcodec.cli.views import Look


@click.command(
    epilog=examples(
        "pixelcodec compare photo.png",
        "pixelcodec compare photos --html report.html",
        "pixelcodec compare photo.png -e 1 -e 5 -e 9",
    )
)
@path_argument("paths", nargs=-1, required=True)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    type=ModelName(),
    metavar="NAME",
    shell_complete=model_names,
    help=f"Of pixelcodec, a column besides what makes the smallest file. {MODEL_NAMES} "
    "Repeat for more.",
)
@click.option(
    "-e",
    "--effort",
    "efforts",
    multiple=True,
    type=EffortNumber(),
    metavar="1..9|max",
    help="Of pixelcodec, as `encode` has it. Repeat for more. [default: 5]",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the results of each image as CSV too.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page with charts, and for each image where the bits of its file go.",
)
@json_option
@click.option("--skip", is_flag=True, help="Images that pixelcodec cannot hold are no failure.")
@compute_options
@force_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def compare(
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    models: tuple[str, ...],
    efforts: tuple[int, ...],
    csv_path: Path | None,
    html_path: Path | None,
    as_json: bool,
    skip: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Measure images with PNG, WebP, JPEG XL and pixelcodec.

    PATHS are images and folders of images. What a codec writes is decoded and must give the same
    pixels. bpsp: bits per sample (sub-pixel). ratio: size against the PNG that Pillow optimises.
    pixelcodec is what `encode` writes: by the model, or PNG or WebP, that makes the smallest file.
    """
    from pixelcodec.cli.report import report
    from pixelcodec.cli.results import csv_text, json_text
    from pixelcodec.cli.views import look_by

    for path in filter(None, (csv_path, html_path)):  # found out now, not after the work
        with errors_about(path):
            refuse_overwriting(path, force)

    comparison = _start(models, efforts, compute, described=as_json or html_path is not None)
    look = look_by(compute) if html_path else None
    _measure(comparison, image_files(paths), look, quiet=quiet, show=not as_json)
    if as_json:
        click.echo(json_text(comparison))
    if csv_path:
        _write(csv_path, csv_text(comparison), force)
    if html_path:
        _write(html_path, report(comparison), force)
    if _show_failures(comparison.failures, skip):
        ctx.exit(1)


def _start(
    models: Sequence[str], efforts: Sequence[int], compute: Compute, described: bool
) -> "Comparison":
    """A comparison of no images yet; ``described``: what it is measured on matters."""
    from pixelcodec.cli import rivals
    from pixelcodec.cli.machine import circumstances
    from pixelcodec.cli.measuring import Comparison

    theirs = [rivals.png(), rivals.webp(), rivals.jpeg_xl(7), rivals.jpeg_xl(9)]
    ours = [
        rivals.pixelcodec(model, compute, effort)
        for model in (None, *models)
        for effort in efforts or (None,)
    ]
    with errors_about(None):
        about = circumstances(compute) if described else {}
    return Comparison([*theirs, *ours], about)


def _measure(
    comparison: "Comparison",
    files: Sequence[Path],
    look: "Look | None",
    *,
    quiet: bool,
    show: bool,
) -> None:
    """Measure image by image; ``show`` the table of each as soon as it is there, then of all."""
    from pixelcodec.cli.measuring import totals

    for number, path in enumerate(files, 1):
        image = comparison.add(path, _watch(path, number, len(files), quiet), look)
        if image and show:
            title = f"{path}: {image.shape_name}"
            click.echo(_text(title, image.results, image.samples, image.why_left_out) + "\n")
    count = len(comparison.images)
    if count > 1 and show:
        of_all = totals(comparison.images)
        title = f"total of {count} images"
        click.echo(_text(title, of_all, comparison.samples, comparison.why_no_total))


def _write(path: Path, text: str, force: bool) -> None:
    with errors_about(path), atomic_output(path, force=force) as stream:
        stream.write(text.encode(errors="replace"))  # file names may be no text


def _show_failures(failures: Sequence[Failure], skip: bool) -> bool:
    """Show what went wrong; whether something did that may not be skipped."""
    skipped = [failure for failure in failures if skip and _is_unsupported(failure)]
    for failure in skipped:
        click.echo(f"skipped: {failure.message}", err=True)
    for failure in failures:
        if failure not in skipped:
            failure.show()
    return len(failures) > len(skipped)


def _watch(path: Path, number: int, count: int, quiet: bool) -> "Watch":
    """Show the stages of one image, and which image of how many it is."""
    label = path.name if count == 1 else f"{number} of {count}, {path.name}"
    return lambda stage: progress_bar(f"{label}: {stage}", quiet=quiet)


def _is_unsupported(failure: Failure) -> bool:
    return isinstance(failure.__cause__, UnsupportedImageError)


def _text(title: str, results: Sequence["Result"], samples: int, note: str | None) -> str:
    from pixelcodec.cli.measuring import with_ratios

    head = ["codec", "bytes", "bpsp", "ratio", "encode s", "decode s"]
    rows = [
        [
            result.codec,
            f"{result.size:,}",
            f"{bits_per_sample(result.size, samples):.3f}",
            "" if ratio is None else f"{ratio:.3f}",
            _seconds(result.encode_seconds),
            _seconds(result.decode_seconds),
        ]
        for result, ratio in with_ratios(results)
    ]
    text = "\n".join([table(head, rows), *filter(None, [note])])
    return f"{title}\n{indented(text)}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"
