"""``pixelcodec compare``: the same images through several lossless codecs, each one decoded too."""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    Failure,
    compute_options,
    errors_about,
    force_option,
    path_argument,
)
from pixelcodec.cli.files import atomic_output, image_files, refuse_overwriting
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.tables import bits_per_sample, indented, shape_name, table
from pixelcodec.errors import UnsupportedImageError

if TYPE_CHECKING:  # both import NumPy and Pillow
    from pixelcodec.cli.measuring import Measured, Result, Watch
    from pixelcodec.cli.rivals import Codec

NO_JPEG_XL = "JPEG XL is left out: install imagecodecs, or the Pillow plug-in pillow-jxl-plugin"
CSV_HEAD = (
    *("file", "width", "height", "channels"),
    *("codec", "bytes", "bpsp", "ratio", "encode_seconds", "decode_seconds"),
)


@click.command()
@path_argument("paths", nargs=-1, required=True)
@click.option(
    "-m",
    "--model",
    "model_names",
    multiple=True,
    metavar="NAME",
    help=f"{MODEL_NAMES} Repeat for more. [default: all but those for study]",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the results of each image as CSV too.",
)
@click.option("--skip", is_flag=True, help="Images that pixelcodec cannot hold are no failure.")
@compute_options
@force_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def compare(
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    model_names: tuple[str, ...],
    csv_path: Path | None,
    skip: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Measure images with PNG, WebP, JPEG XL and pixelcodec.

    PATHS are images and folders of images. What a codec writes is decoded and must give the same
    pixels. bpsp: bits per sample (sub-pixel). ratio: size against the PNG that Pillow optimises.
    """
    from pixelcodec.cli.measuring import totals

    if csv_path is not None:  # found out now, not after the work
        with errors_about(csv_path):
            refuse_overwriting(csv_path, force)

    images, failures = _measure_all(paths, _codecs(model_names, compute), quiet)
    if len(images) > 1:
        click.echo(_text(f"total of {len(images)} images", totals(images), _samples(images)))
    if csv_path is not None:
        with errors_about(csv_path), atomic_output(csv_path, force=force) as stream:
            stream.write(_csv(images).encode())

    skipped = [failure for failure in failures if skip and _is_unsupported(failure)]
    for failure in skipped:
        click.echo(f"skipped: {failure.message}", err=True)
    for failure in failures:
        if failure not in skipped:
            failure.show()
    if len(failures) > len(skipped):
        ctx.exit(1)


def _codecs(model_names: Sequence[str], compute: Compute) -> list["Codec"]:
    from pixelcodec.cli import rivals
    from pixelcodec.models import zoo

    jpeg_xl = [codec for effort in (7, 9) if (codec := rivals.jpeg_xl(effort))]
    if not jpeg_xl:
        click.echo(NO_JPEG_XL, err=True)
    models = [rivals.pixelcodec(name, compute) for name in model_names or zoo.everyday()]
    return [rivals.png(), rivals.webp(), *jpeg_xl, *models]


def _measure_all(
    paths: Sequence[Path], codecs: Sequence["Codec"], quiet: bool
) -> tuple[list["Measured"], list[Failure]]:
    """Measure image by image, and show the table of each as soon as it is there."""
    from pixelcodec.cli.measuring import measure_image

    images, failures = [], []
    files = image_files(paths)
    for number, path in enumerate(files, 1):
        try:
            image = measure_image(path, codecs, _watch(path, number, len(files), quiet))
        except Failure as failure:
            failures.append(failure)
        else:
            images.append(image)
            failures += image.failures
            title = f"{path}: {shape_name(*image.shape)}"
            click.echo(_text(title, image.results, image.samples) + "\n")
    return images, failures


def _watch(path: Path, number: int, count: int, quiet: bool) -> "Watch":
    """Show the stages of one image, and which image of how many it is."""
    label = path.name if count == 1 else f"{number} of {count}, {path.name}"
    return lambda stage: progress_bar(f"{label}: {stage}", quiet=quiet)


def _is_unsupported(failure: Failure) -> bool:
    return isinstance(failure.__cause__, UnsupportedImageError)


def _samples(images: Sequence["Measured"]) -> int:
    return sum(image.samples for image in images)


def _text(title: str, results: Sequence["Result"], samples: int) -> str:
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
        for result, ratio in _with_ratios(results)
    ]
    return f"{title}\n{indented(table(head, rows))}"


def _with_ratios(
    results: Sequence["Result"],
) -> Iterator[tuple["Result", float | None]]:
    """Pair each result with its size against optimised PNG, where that one is there."""
    from pixelcodec.cli.rivals import PNG_OPTIMISED

    reference = next((each.size for each in results if each.codec == PNG_OPTIMISED), None)
    for result in results:
        yield result, result.size / reference if reference else None


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _csv(images: Sequence["Measured"]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for image in images:
        height, width, channels = image.shape
        for result, ratio in _with_ratios(image.results):
            bpsp = bits_per_sample(result.size, image.samples)
            facts = (image.path, width, height, channels, result.codec, result.size, bpsp, ratio)
            writer.writerow((*facts, result.encode_seconds, result.decode_seconds))
    return text.getvalue()
