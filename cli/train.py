"""``pixelcodec train``: folders of images, or a recipe and its data, to a model and its card."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pixelcodec.cli.common import (
    THREADS_MOST,
    Failure,
    errors_about,
    examples,
    force_option,
    path_argument,
    quiet_option,
)
from pixelcodec.cli.files import atomic_output, refuse_overwriting
from pixelcodec.cli.folders import DataFolder, data_option
from pixelcodec.cli.progress import is_terminal
from pixelcodec.cli.tables import table

if TYPE_CHECKING:  # all import torch
    from collections.abc import Callable

    from pixelcodec.models.datasets import Training
    from pixelcodec.models.network import IntegerNetwork
    from pixelcodec.models.recipes import Recipe
    from pixelcodec.models.train import Report, Run

    Tell = Callable[[Report], None]

PRESETS = {
    "photo-s": {"width": 32, "hidden": 96, "blocks": 3, "head": 32, "components": 4},
    "photo-m": {"width": 64, "hidden": 192, "blocks": 4, "head": 64, "components": 5},
}
"""Networks by the names of the models that ship."""


_OF_PHOTOGRAPHS = ("folders", "preset", "patch", "width", "hidden", "blocks", "head", "components")
"""Parameters that have no place beside a recipe."""


def _list_recipes(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from pixelcodec.models import recipes

    found = [recipes.load(name) for name in recipes.names()]
    rows = [[each.name, each.data, each.description] for each in found]
    click.echo(table(["recipe", "data", "what it trains"], rows, left=(0, 1, 2)))
    ctx.exit()


def _model_file(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise click.BadParameter(f"{path} does not end in .safetensors")
    return path


@click.command(
    epilog=examples(
        "pixelcodec train photos -o mine.safetensors --preset photo-s --megapixels 100",
        "pixelcodec train photos -o mine.safetensors --preset photo-s --megapixels 200 --resume -f",
        "pixelcodec train --list",
        "pixelcodec train --recipe mnist-row-lstm --data mnist -o digits.safetensors",
    )
)
@path_argument("folders", nargs=-1)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_recipes,
    help="Show the recipes, and do nothing else.",
)
@click.option("--recipe", "recipe_name", metavar="NAME", help="What to train, and on what data.")
@data_option(
    "The data set of the recipe, or of another KIND. Of several each gives its share of a batch.",
    needs_kind=False,
    multiple=True,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    callback=_model_file,
    required=True,
    metavar="FILE",
    help="The model, .safetensors; its card goes beside it as .json.",
)
@force_option
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where checkpoint, log and plot go. [default: runs/NAME]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run's folder.")
@click.option(
    "--start",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CHECKPOINT",
    help="Begin with the weights of another run, whose network may be smaller.",
)
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
    help="Length of the whole run, what was trained before --resume included. "
    "[default: 1000, or the recipe's]",
)
@click.option("--rate", type=float, help="Learning rate. [default: 0.003, or the recipe's]")
@click.option(
    "--cool-down",
    type=click.FloatRange(0, 1),
    help="Share of the run in which the rate falls to nothing. [default: 0.6, or the recipe's]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Images of a step of each process. [default: 8, or the recipe's]",
)
@click.option("--patch", type=click.IntRange(min=8), default=64, show_default=True, help="Pixels.")
@click.option("--seed", type=int, help="[default: 0, or the recipe's]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network trains.",
)
@click.option(
    "-T",
    "--threads",
    type=click.IntRange(0, THREADS_MOST),
    default=0,
    help="CPU threads; 0, the default, means all.",
)
@quiet_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    *,
    folders: tuple[Path, ...],
    recipe_name: str | None,
    data: tuple[DataFolder, ...],
    output: Path,
    force: bool,
    run_folder: Path | None,
    resume: bool,
    start: Path | None,
    preset: str,
    megapixels: float | None,
    rate: float | None,
    cool_down: float | None,
    batch: int | None,
    patch: int,
    seed: int | None,
    device: str,
    threads: int,
    quiet: bool,
    **sizes: int | None,
) -> None:
    """Train a model on lossless images in FOLDERS, or by a recipe.

    Of the images in FOLDERS every twentieth is held out. Or: --recipe NAME --data FOLDER. A run
    that was stopped, by whatever, goes on where it was with --resume. For several GPUs or machines
    start it by torchrun.
    """
    _check_usage(ctx, folders, recipe_name, data)
    import torch

    from pixelcodec.models.train import Plan, Run
    from pixelcodec.runtime import resolve_device

    if threads:
        torch.set_num_threads(threads)
    for path in (output, output.with_suffix(".json")):
        with errors_about(path):
            refuse_overwriting(path, force)
    folder = run_folder or Path("runs") / output.stem
    with errors_about(folder), _explained(folder):
        options = {
            "megapixels": megapixels,
            "rate": rate,
            "cool_down": cool_down,
            "batch": batch,
            "seed": seed,
        }
        recipe = _recipe(recipe_name, preset, sizes, options)
        training = _training(recipe, data, folders, patch)
        plan = Plan(
            recipe.architecture,
            recipe.config,
            recipe.megapixels,
            recipe.rate,
            recipe.cool_down,
            recipe.seed,
        )
        run = Run(
            *(plan, training.source, training.held_out, folder),
            *(resolve_device(device), resume, start),
        )
        with _reports(plan.megapixels, quiet=quiet or run.rank != 0) as tell:
            run.train(tell)
    if run.rank == 0:
        about = {
            **({"recipe": recipe.name} if recipe_name else {}),
            "data": training.summary,
            "command": _command(ctx),
        }
        _finish(run, training, output, about, quiet)


def _check_usage(
    ctx: click.Context, folders: tuple[Path, ...], recipe: str | None, data: tuple[DataFolder, ...]
) -> None:
    """Either folders or a recipe, each with what belongs to it."""
    if (recipe is None) != (not data):
        raise click.UsageError("--recipe and --data go together")
    if recipe is None and not folders:
        raise click.UsageError("give folders of images, or --recipe and --data")
    if recipe is not None:
        for name in _OF_PHOTOGRAPHS:
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                word = name.upper() if name == "folders" else f"--{name}"
                raise click.UsageError(f"a recipe takes no {word}")


def _recipe(
    name: str | None,
    preset: str,
    sizes: dict[str, int | None],
    options: dict[str, Any],
) -> "Recipe":
    """What to train: a recipe, or a preset as one, and what the command line says otherwise."""
    from pixelcodec.models import recipes
    from pixelcodec.models.wavefront_pixelcnn import ARCHITECTURE, Config

    if name is None:
        config = Config(**{**PRESETS[preset], **_given(sizes)})
        chosen = recipes.Recipe(preset, "", ARCHITECTURE, config, "photographs", 1000.0, 3e-3, 8)
    else:
        chosen = recipes.load(name)
    return replace(chosen, **_given(options))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _training(
    recipe: "Recipe", data: tuple[DataFolder, ...], folders: tuple[Path, ...], patch: int
) -> "Training":
    from pixelcodec.models import datasets, recipes

    if not data:
        return datasets.photographs(folders, patch, recipe.batch, recipe.seed)
    share = max(1, recipe.batch // len(data))
    found = []
    for each in data:
        kind = each.kind or recipe.data
        recipes.check_data(kind, recipe.config)
        training = datasets.DATA_SETS[kind].training(each.folder, share, recipe.seed)
        found.append(replace(training, summary=f"{kind}, {training.summary}"))
    return datasets.mixed(found)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What does not fit together is the user's to mend: one line, no traceback."""
    from safetensors import SafetensorError

    from pixelcodec.errors import ModelError
    from pixelcodec.models.train import CHECKPOINT

    try:
        yield
    except SafetensorError as error:
        raise Failure(folder / CHECKPOINT, error) from error
    except (OSError, ValueError, ModelError) as error:  # they say what they mean
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
        elif name == "data":
            for each in value:
                kind = f"{each.kind}:" if each.kind else ""
                words += [parameter.opts[-1], kind + _without_folders(each.folder)]
        elif value is True:
            words.append(parameter.opts[-1])
        else:
            words += [parameter.opts[-1], _without_folders(value)]
    return shlex.join(words)


def _without_folders(value: object) -> str:
    if not isinstance(value, Path):
        return str(value)
    here, path = Path.cwd(), Path(os.path.abspath(value))  # ".." says where things are, too
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


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
    run: "Run", training: "Training", output: Path, about: dict[str, str], quiet: bool
) -> None:
    """Convert, measure what rounding costs, and write model, card and plot."""
    from pixelcodec.evaluation import held_out_bpsp
    from pixelcodec.models import zoo

    with errors_about(output), _explained(output):
        run.network.quantise(False)
        float_bpsp = run.validate()
        network = run.network.cpu().integer_network()
        integer_bpsp = held_out_bpsp(network, training.held_out)
        card = _card(run, network, output.stem, about, float_bpsp, integer_bpsp)
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_suffix(".partial")
        zoo.save_network(network, partial)
        partial.replace(output)
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
    about: dict[str, str],
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
        **about,
        "training": {
            "megapixels": round(run.megapixels, 1),
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
