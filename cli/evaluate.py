"""``pixelcodec eval``: bits per dimension of a model and of its files, side by side."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    errors_about,
    examples,
    json_option,
    model_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.files import image_files, read_image
from pixelcodec.cli.folders import DataFolder, data_option
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.tables import table

if TYPE_CHECKING:  # the library imports torch
    from pixelcodec import runtime
    from pixelcodec.evaluation import Evaluation
    from pixelcodec.models.architectures import FloatNetwork


@click.command(
    "eval",
    epilog=examples(
        "pixelcodec eval photo.png",
        "pixelcodec eval photos -m photo-s --json",
        "pixelcodec eval --data mnist:mnist -m mnist-row-lstm --images 100",
    ),
)
@path_argument("paths", nargs=-1)
@model_option
@data_option(
    "The test set of a data set, coded as one file, beside the paper's figure.", needs_kind=True
)
@click.option("--images", type=click.IntRange(min=1), help="Of --data, the first so many only.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of a training run: show the bits of its float network, too.",
)
@json_option
@compute_options
@quiet_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    paths: tuple[Path, ...],
    model: str,
    data: DataFolder | None,
    images: int | None,
    checkpoint: Path | None,
    as_json: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Show the bits of a model beside those of its files.

    PATHS are images and folders of images. Bits per sample (bits per dimension): of the float
    network where a checkpoint is given, of the integer network, and of the real file, made at
    effort 1, at which the model stays as it is. Or:
    --data KIND:FOLDER, KIND one of mnist (binarised; nats an image), cifar10, imagenet32,
    imagenet64, mosaic and photos32.
    """
    if bool(paths) == (data is not None):
        raise click.UsageError("give either images or --data")
    if images is not None and data is None:
        raise click.UsageError("--images goes with --data")
    import torch

    from pixelcodec.models import zoo
    from pixelcodec.runtime import Compute

    how = Compute(**compute)
    torch.set_num_threads(how.threads or 1)
    with errors_about(None):
        how.engine(zoo.load(model))  # what is wrong with it is told once, not of each image
    network = None if checkpoint is None else _float_network(checkpoint)
    if data is not None:
        _evaluate_data(data, images, model, how, network, as_json, quiet)
    elif _evaluate_images(paths, model, how, network, as_json, quiet):
        ctx.exit(1)


def _float_network(checkpoint: Path) -> "FloatNetwork":
    from safetensors import SafetensorError

    from pixelcodec.models.train import load_float_network

    with errors_about(checkpoint):
        try:
            return load_float_network(checkpoint)
        except SafetensorError as error:
            raise Failure(checkpoint, error) from error


# Images ------------------------------------------------------------------------------------------

Row = tuple[Path, "Evaluation", float | None]


def _evaluate_images(
    paths: tuple[Path, ...],
    model: str,
    compute: "runtime.Compute",
    network: "FloatNetwork | None",
    as_json: bool,
    quiet: bool,
) -> bool:
    """Show each image; whether one failed."""
    files = image_files(paths)
    rows, failed = [], False
    with progress_bar("eval", quiet=quiet, unit="images") as progress:
        for done, file in enumerate(files):
            try:
                rows.append((file, *_evaluate(file, model, compute, network)))
            except Failure as failure:
                failure.show()
                failed = True
            if progress:
                progress(done + 1, len(files))
    _print(rows, as_json, network is not None)
    return failed


def _evaluate(
    file: Path, model: str, compute: "runtime.Compute", network: "FloatNetwork | None"
) -> tuple["Evaluation", float | None]:
    from pixelcodec import evaluation
    from pixelcodec.models.train import float_bits

    with errors_about(file):
        image = read_image(file).to_array()
        found = evaluation.evaluate(image, model, compute)
    if network is None:
        return found, None
    return found, float_bits(network, image.reshape(1, *image.shape[:2], -1))


def _print(rows: list[Row], as_json: bool, with_float: bool) -> None:
    if as_json:
        click.echo(json.dumps([_as_dict(*row) for row in rows], indent=2))
        return
    if not rows:
        return
    head = ["image", *(["float bpsp"] if with_float else []), "model bpsp", "file bpsp", "overhead"]
    lines = [_line(str(path), found, bits) for path, found, bits in rows]
    if len(rows) > 1:
        lines.append(_line("all", *_total(rows)))
    click.echo(table(head, lines))


def _line(name: str, found: "Evaluation", float_bits: float | None) -> list[str]:
    overhead = 8 * found.file_bytes / found.model_bits - 1
    floats = [] if float_bits is None else [f"{float_bits / found.samples:.4f}"]
    return [name, *floats, f"{found.model_bpsp:.4f}", f"{found.file_bpsp:.4f}", f"{overhead:.3%}"]


def _total(rows: list[Row]) -> tuple["Evaluation", float | None]:
    from pixelcodec.evaluation import Evaluation

    total = Evaluation(
        sum(found.samples for _, found, _ in rows),
        sum(found.model_bits for _, found, _ in rows),
        sum(found.file_bytes for _, found, _ in rows),
    )
    floats = [bits for _, _, bits in rows if bits is not None]
    return total, sum(floats) if floats else None


def _as_dict(path: Path, found: "Evaluation", float_bits: float | None) -> dict[str, object]:
    return {
        "file": str(path),
        "samples": found.samples,
        "float_bpsp": None if float_bits is None else float_bits / found.samples,
        "model_bpsp": found.model_bpsp,
        "file_bpsp": found.file_bpsp,
        "file_bytes": found.file_bytes,
    }


# Data sets ---------------------------------------------------------------------------------------


def _evaluate_data(
    data: DataFolder,
    count: int | None,
    model: str,
    compute: "runtime.Compute",
    network: "FloatNetwork | None",
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the test set in the unit of the paper."""
    from pixelcodec import evaluation
    from pixelcodec.models.datasets import DATA_SETS
    from pixelcodec.models.train import float_bits

    assert data.kind is not None
    with errors_about(None):
        images = DATA_SETS[data.kind].test(data.folder)[:count]
    with (
        errors_about(data.folder),
        progress_bar("eval", quiet=quiet) as progress,
    ):
        found = evaluation.evaluate_data_set(data.kind, images, model, compute, progress)
    bits = None if network is None else float_bits(network, images)
    facts = {
        **dataclasses.asdict(found),
        "float": None if bits is None else bits * found.scale,
    }
    click.echo(json.dumps(facts, indent=2) if as_json else _data_table(facts))


def _data_table(facts: dict[str, Any]) -> str:
    names = {
        "float": "float network",
        "model": "integer network",
        "file": "file",
        "paper": "PixelRNN paper, all images",
    }
    digits = 2 if facts["unit"].startswith("nats") else 4
    rows = [
        [name, f"{facts[key]:.{digits}f}"] for key, name in names.items() if facts[key] is not None
    ]
    return table([f"{facts['data']}, {facts['images']:,} images", facts["unit"]], rows)
