"""``pixelcodec eval``: bits per dimension of a model and of its files, side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    errors_about,
    json_option,
    model_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.files import image_files, read_bytes
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.tables import table

if TYPE_CHECKING:  # the library imports torch
    from pixelcodec.engine import Engine
    from pixelcodec.evaluation import Evaluation
    from pixelcodec.images import Samples


@click.command("eval")
@path_argument("paths", nargs=-1, required=True)
@model_option
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
    checkpoint: Path | None,
    as_json: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Show the bits of a model beside those of its files.

    PATHS are images and folders of images. Bits per sample (bits per dimension): of the float
    network where a checkpoint is given, of the integer network, and of the real file.
    """
    from pixelcodec import api
    from pixelcodec.models import zoo

    with errors_about(None):
        engine = api.make_engine(zoo.load(model), compute["backend"], compute["device"])
    files = image_files(paths)
    rows, failed = [], False
    with progress_bar("eval", quiet=quiet, unit="images") as progress:
        for done, file in enumerate(files):
            try:
                rows.append((file, *_evaluate(file, model, engine, checkpoint)))
            except Failure as failure:
                failure.show()
                failed = True
            if progress:
                progress(done + 1, len(files))
    _print(rows, as_json, checkpoint is not None)
    if failed:
        ctx.exit(1)


Row = tuple[Path, "Evaluation", float | None]


def _evaluate(
    file: Path, model: str, engine: "Engine", checkpoint: Path | None
) -> tuple["Evaluation", float | None]:
    from pixelcodec import evaluation
    from pixelcodec.images import read_image

    with errors_about(file):
        image = read_image(read_bytes(file))
        found = evaluation.evaluate(image, model, engine)
    if checkpoint is None:
        return found, None
    return found, _float_bits(checkpoint, image)


def _float_bits(checkpoint: Path, image: "Samples") -> float:
    from safetensors import SafetensorError

    from pixelcodec.models.train import float_bits

    with errors_about(checkpoint):
        try:
            return float_bits(checkpoint, image)
        except SafetensorError as error:
            raise Failure(checkpoint, error) from error


def _print(rows: list[Row], as_json: bool, with_float: bool) -> None:
    if as_json:
        click.echo(json.dumps([_as_dict(*row) for row in rows], indent=2))
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
