"""The option ``--data``: a folder that holds a data set, and of which kind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class DataFolder:
    """A folder, and the kind of data set in it (:mod:`pixelcodec.models.datasets`), if given."""

    kind: str | None
    folder: Path


def data_option(help_text: str, *, needs_kind: bool) -> Callable[[Command], Command]:
    """Add ``--data KIND:FOLDER``; where the kind need not be given, ``FOLDER`` will do."""

    def take_apart(
        ctx: click.Context, param: click.Parameter, value: str | None
    ) -> DataFolder | None:
        if value is None:
            return None
        from pixelcodec.models.datasets import DATA_SETS

        kind, _, folder = value.partition(":")
        if kind in DATA_SETS and folder:
            return DataFolder(kind, Path(folder))
        if needs_kind:
            kinds = ", ".join(DATA_SETS)
            raise click.BadParameter(f"{value} is not KIND:FOLDER, KIND one of {kinds}")
        return DataFolder(None, Path(value))

    metavar = "KIND:FOLDER" if needs_kind else "[KIND:]FOLDER"
    return click.option("--data", callback=take_apart, metavar=metavar, help=help_text)
