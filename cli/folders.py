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


def data_option(
    help_text: str, *, needs_kind: bool, multiple: bool = False
) -> Callable[[Command], Command]:
    """Add ``--data KIND:FOLDER``; where the kind need not be given, ``FOLDER`` will do.

    ``multiple``: it may be given several times, and gives a tuple.
    """

    def take_all(
        ctx: click.Context, param: click.Parameter, value: Any
    ) -> DataFolder | tuple[DataFolder, ...] | None:
        if multiple:
            return tuple(map(take_apart, value))
        return None if value is None else take_apart(value)

    def take_apart(value: str) -> DataFolder:
        from pixelcodec.models.datasets import DATA_SETS

        kind, _, folder = value.partition(":")
        if kind in DATA_SETS and folder:
            return DataFolder(kind, Path(folder))
        if needs_kind:
            kinds = ", ".join(DATA_SETS)
            raise click.BadParameter(f"{value} is not KIND:FOLDER, KIND one of {kinds}")
        return DataFolder(None, Path(value))

    metavar = "KIND:FOLDER" if needs_kind else "[KIND:]FOLDER"
    return click.option(
        "--data", callback=take_all, multiple=multiple, metavar=metavar, help=help_text
    )
