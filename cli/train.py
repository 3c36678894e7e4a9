"""``pixelcodec train``: folders of images to a model, with its card."""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pixelcodec.cli.common import Failure, errors_about, path_argument, quiet_option
from pixelcodec.cli.files import atomic_output
from pixelcodec.cli.progress import is_terminal

if TYPE_CHECKING:  # all import torch
    from collections.abc import Callable

    from pixelcodec.models.network import IntegerNetwork
    from pixelcodec.models.train import Report, Run

    Tell = Callable[[Report], None]

PRESETS = {
    "photo-s": {"width": 32, "hidden": 32, "blocks": 3, "head": 24, "components": 3},
    "photo-m": {"width": 64, "hidden": 64, "blocks": 4, "head": 32, "components": 5},
}
"""Networks by the names of the models that ship."""


@click.command()
@path_argument("folders", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The model, .safetensors; its card goes beside it as .json.",
)
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where checkpoint, log and plot go. [default: runs/NAME]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run's folder.")
@click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    default="photo-m",
    show_default=True,
    help="Size of the network; the options below change it.",
)
@click.option("--width", type=click.IntRange(min=8), help="Channels of the stream.")
@click.option("--hidden", type=click.IntRange(min=8), help="Channels inside a block.")
@click.option("--blocks", type=click.IntRange(min=0), help="Residual blocks.")
@click.option("--head", type=click.IntRange(min=4), help="Hidden units of a channel's head.")
@click.option("--components", type=click.IntRange(1, 7), help="Logistics in a mixture.")
@click.option(
    "--megapixels",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    help="Length of the whole run, what was trained before --resume included.",
)
@click.option("--rate", type=float, default=3e-3, show_default=True, help="Learning rate.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Patches.")
@click.option("--patch", type=click.IntRange(min=8), default=64, show_default=True, help="Pixels.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network trains.",
)
@click.option("-T", "--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: all.")
@quiet_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    *,
    folders: tuple[Path, ...],
    output: Path,
    run_folder: Path | None,
    resume: bool,
    preset: str,
    megapixels: float,
    rate: float,
    batch: int,
    patch: int,
    seed: int,
    device: str,
    threads: int,
    quiet: bool,
    **sizes: int | None,
) -> None:
    """Train a model on the lossless images in FOLDERS.

    Every twentieth image is held out. A run that was stopped, by whatever, goes on where it was
    with --resume. For several GPUs or machines start it by torchrun.
    """
    import torch

    from pixelcodec.api import resolve_device
    from pixelcodec.models import data
    from pixelcodec.models.pixelcnn import Config
    from pixelcodec.models.train import Plan, Run

    if threads:
        torch.set_num_threads(threads)
    folder = run_folder or Path("runs") / output.stem
    config = Config(**{**PRESETS[preset], **{k: v for k, v in sizes.items() if v is not None}})
    plan = Plan(config, megapixels, rate, patch=patch, batch=batch, seed=seed)
    with errors_about(None):
        images = data.load_images(data.find_images(folders))
        training, held_out = data.split(images)
    with errors_about(folder), _explained(folder):
        run = Run(plan, training, held_out, folder, resolve_device(device), resume=resume)
        with _reports(plan.megapixels, quiet=quiet or run.rank != 0) as tell:
            run.train(tell)
    if run.rank == 0:
        _finish(run, held_out, output, len(images), _command(ctx), quiet)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What does not fit together is the user's to mend: one line, no traceback."""
    from safetensors import SafetensorError

    from pixelcodec.models.train import CHECKPOINT

    try:
        yield
    except SafetensorError as error:
        raise Failure(folder / CHECKPOINT, error) from error
    except (FileNotFoundError, FileExistsError, ValueError) as error:  # they say what they mean
        raise Failure(None, error) from error


def _command(ctx: click.Context) -> str:
    """Say the command as it was given, but of the folders outside this one no more than the name.

    Where somebody keeps things is nobody's business who reads the card.
    """
    words = ["pixelcodec", "train"]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        if isinstance(parameter, click.Argument):
            words += map(_without_folders, value)
        elif value is True:
            words.append(parameter.opts[-1])
        else:
            words += [parameter.opts[-1], _without_folders(value)]
    return shlex.join(words)


def _without_folders(value: object) -> str:
    if not isinstance(value, Path) or not value.is_absolute():
        return str(value)
    here = Path.cwd()
    return str(value.relative_to(here)) if value.is_relative_to(here) else value.name


@contextmanager
def _reports(megapixels: float, *, quiet: bool) -> Iterator["Tell"]:
    """Show how the run goes: a bar for those who watch, else a line for each line of the log."""
    if quiet:
        yield lambda report: None
    elif not is_terminal(sys.stderr):
        yield _print_line
    else:
        with _bar(megapixels) as tell:
            yield tell


def _print_line(report: "Report") -> None:
    if report.held_out_bpsp is not None:
        whole = report.steps * report.megapixels / report.step
        speed = report.megapixels / report.seconds
        click.echo(
            f"{report.megapixels:.1f} of {whole:.1f} megapixels, "
            f"{report.seconds:.0f} s, {speed:.3f} megapixels/s, "
            f"training {report.training_bpsp:.4f}, held out {report.held_out_bpsp:.4f} bpsp",
            err=True,
        )


@contextmanager
def _bar(megapixels: float) -> Iterator["Tell"]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=megapixels, state="")
        held_out = ""

        def tell(report: "Report") -> None:
            nonlocal held_out
            if report.held_out_bpsp is not None:
                held_out = f", held out {report.held_out_bpsp:.4f}"
            speed = 1e6 * report.megapixels / report.seconds
            state = f"{report.training_bpsp:.4f} bpsp{held_out}, {speed:,.0f} pixels/s"
            bar.update(task, completed=report.megapixels, state=state)

        yield tell


def _finish(
    run: "Run", held_out: list[Any], output: Path, images: int, command: str, quiet: bool
) -> None:
    """Convert, measure what rounding costs, and write model, card and plot."""
    from pixelcodec.evaluation import held_out_bpsp
    from pixelcodec.models import zoo

    with errors_about(output), _explained(output):
        run.network.quantise(False)
        float_bpsp = run.validate()
        network = run.network.cpu().integer_network()
        integer_bpsp = held_out_bpsp(network, held_out)
        card = _card(run, network, output.stem, images, command, float_bpsp, integer_bpsp)
        output.parent.mkdir(parents=True, exist_ok=True)
        zoo.save_network(network, output)
        with atomic_output(output.with_suffix(".json"), force=True) as stream:
            stream.write((json.dumps(card, indent=2) + "\n").encode())
    _plot(run.folder)
    if not quiet:
        click.echo(
            f"{output}: {integer_bpsp:.4f} bpsp on the held-out images, "
            f"{float_bpsp:.4f} before rounding",
            err=True,
        )


def _card(
    run: "Run",
    network: "IntegerNetwork",
    name: str,
    images: int,
    command: str,
    float_bpsp: float,
    integer_bpsp: float,
) -> dict[str, Any]:
    import torch

    return {
        "name": name,
        "summary": f"{network.architecture}, trained {time.strftime('%Y-%m-%d')}",
        "architecture": network.architecture,
        "config": dict(network.config),
        "parameters": network.parameters,
        "macs_per_pixel": network.macs_per_pixel,
        "data": f"{images} images; every twentieth held out",
        "command": command,
        "training": {
            "megapixels": round(run.step * run.plan.pixels_per_step * run.processes / 1e6, 1),
            "hours": round(run.seconds / 3600, 2),
            "device": str(run.device),
            "torch": torch.__version__,
            "seed": run.plan.seed,
        },
        "held_out_bpsp": {
            "float": round(float_bpsp, 4),
            "integer": round(integer_bpsp, 4),
        },
        "sha256": network.sha256,
    }


def _plot(folder: Path) -> None:
    from pixelcodec.models.curve import plot_curve
    from pixelcodec.models.train import LOG

    try:
        plot_curve(folder / LOG, folder / "curve.png")
    except ImportError:
        click.echo("no plot of the curve: install pixelcodec[train]", err=True)
