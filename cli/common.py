"""The options that commands share, and the one line that an error makes."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, TypedDict, TypeVar

import click

from pixelcodec.cli.suggestions import installed_models, model_names
from pixelcodec.errors import PixelcodecError

Command = TypeVar("Command", bound=Callable[..., Any])


class Compute(TypedDict):
    """Where and how the network runs; the keywords that every call of the library takes."""

    device: str
    threads: int | None
    backend: str | None


def compute_options(command: Command) -> Command:
    """Add the options that fill a :class:`Compute`. None of them changes a bit of the result."""
    for option in reversed(_COMPUTE_OPTIONS):
        command = option(command)
    return command


THREADS_MOST = 1024


def _zero_is_auto(ctx: click.Context, param: click.Parameter, value: int) -> int | None:
    return value or None


def _there(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value == "cuda" and not ctx.resilient_parsing:  # to look is to import torch
        from pixelcodec.errors import BackendError
        from pixelcodec.runtime import resolve_device

        try:
            resolve_device(value)
        except BackendError as error:
            raise click.BadParameter(str(error)) from error
    return value


_COMPUTE_OPTIONS = (
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        callback=_there,
        default="auto",
        show_default=True,
        help="Where the network runs.",
    ),
    click.option(
        "-T",
        "--threads",
        type=click.IntRange(0, THREADS_MOST),
        default=0,
        callback=_zero_is_auto,
        metavar="N",
        help="CPU threads; 0, the default, means one. More than one is usually slower, as the "
        "pieces of work are small; for many files use -j, where a command has it.",
    ),
    # No default here: the library reads the environment variable itself, for every caller.
    click.option(
        "--backend",
        type=click.Choice(["auto", "int8", "float32", "int64"]),
        help="Arithmetic of the matrix products; else PIXELCODEC_BACKEND, else auto.",
    ),
)


class ModelName(click.ParamType):  # type: ignore[type-arg]  # older clicks have none
    """The name of an installed model, ``standard``, or the path of a ``.safetensors`` file."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name as it is."""
        if value.endswith(".safetensors"):
            if not os.path.exists(value):
                self.fail(f"no model file {value}", param, ctx)
            return value
        names = [*installed_models(), "standard"]
        if value not in names:
            near = get_close_matches(value, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"installed are {', '.join(names[:-1])}"
            self.fail(f"no model {value!r}; {hint}", param, ctx)
        return value


MODEL_NAMES = "A name that `pixelcodec models` lists, or a .safetensors file."

model_option = click.option(
    "-m",
    "--model",
    type=ModelName(),
    default="photo-m",
    show_default=True,
    metavar="NAME",
    shell_complete=model_names,
    help=MODEL_NAMES,
)
written_by_option = click.option(
    "-m",
    "--model",
    type=ModelName(),
    metavar="NAME",
    shell_complete=model_names,
    help=f"What wrote FILE: {MODEL_NAMES[0].lower()}{MODEL_NAMES[1:]} "
    "[default: the installed model that FILE names]",
)


def _a_number(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which no range of click's keeps out
        raise click.BadParameter("not a number")
    return value


def count_option(default: int, help_text: str) -> Callable[[Command], Command]:
    """Add ``-n``, how many images to draw."""
    return click.option(
        "-n",
        "--count",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help=help_text,
    )


temperature_option = click.option(
    "--temperature",
    type=click.FloatRange(min=0, max=1000),
    callback=_a_number,
    default=1.0,
    show_default=True,
    help="How bold to draw: 1 as the model thinks, 0 always what is likeliest.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of chance: the same seed draws the same images.",
)
recursive_option = click.option(
    "-r", "--recursive", is_flag=True, help="Take the files in folders, and in folders in them."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
force_option = click.option("-f", "--force", is_flag=True, help="Overwrite the output file.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def examples(*lines: str) -> str:
    """Return the end of a help text: commands that can be typed as they stand."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def path_argument(name: str, **settings: Any) -> Callable[[Command], Command]:
    """Add an argument that is a path. Whether it can be read is for opening it to find out."""
    return click.argument(name, type=click.Path(path_type=Path, readable=False), **settings)


def output_option(help_text: str, **settings: Any) -> Callable[[Command], Command]:
    """Add ``-o``, the path of the output."""
    path = _OutputPath(path_type=Path)
    return click.option("-o", "--output", type=path, metavar="FILE", help=help_text, **settings)


class _OutputPath(click.Path):
    """The path of a file to write; a folder's, which ends in a slash, would lose the slash."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if not value:
            self.fail("the name of the file is empty", param, ctx)
        if str(value).endswith(("/", os.sep)):
            self.fail(f"{value} is a folder; name a file in it", param, ctx)
        return super().convert(value, param, ctx)


class Failure(click.ClickException):
    """An error in one line: which file, and what is wrong with it."""

    def __init__(self, path: object | None, what: object) -> None:
        """Say ``what`` is wrong with ``path``; None where ``what`` says it already."""
        line = " ".join(str(what).split())
        super().__init__(line if path is None else f"{path}: {line}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line, with the program's name where click has "Error"."""
        click.echo(f"pixelcodec: {self.message}", file=file or sys.stderr)


@contextmanager
def errors_about(path: object | None) -> Iterator[None]:
    """Turn an error that a user can meet while ``path`` is worked on into a :class:`Failure`.

    ``path``: None where the errors themselves say what they are about.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # click ends the process quietly, as its reader wishes
    except OSError as error:
        raise Failure(path, error.strerror or error) from error
    except MemoryError as error:
        raise Failure(path, "not enough memory") from error
    except PixelcodecError as error:
        raise Failure(path, error) from error
