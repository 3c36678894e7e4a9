"""Files and folders that a command is given: what is to be done, found out before any of it."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pixelcodec.cli.common import errors_about
from pixelcodec.cli.files import STANDARD_STREAM, default_output, files_below, is_folder
from pixelcodec.cli.work import Task


@dataclass(frozen=True)
class Source:
    """A file to work on, and its ``place`` in the folder that was named: ``sub/photo.png``."""

    path: Path
    place: Path


def check_output(paths: Sequence[Path], output: Path | None, out_dir: Path | None) -> None:
    """Refuse ``-o`` where there may be several outputs."""
    if output is None:
        return
    if out_dir is not None:
        raise click.UsageError("give -o or --out-dir, not both")
    if len(paths) > 1 or is_folder(paths[0]):
        raise click.UsageError("-o names the output of one file; --out-dir takes those of several")


def find_sources(
    paths: Sequence[Path], suffixes: Collection[str], *, recursive: bool
) -> tuple[list[Source], dict[Path, str]]:
    """Find the files that ``paths`` mean, each once, and what cannot be taken and why.

    Args:
        paths: Files, taken as they are, and folders; or ``-``, alone.
        suffixes: Of the files that are taken from folders.
        recursive: Whether folders are taken at all.
    """
    if STANDARD_STREAM in paths and len(paths) > 1:
        raise click.UsageError("- is standard input; it goes alone")
    found: dict[str, Source] = {}
    refused: dict[Path, str] = {}
    for path in paths:
        if not is_folder(path):
            sources = [Source(path, Path(path.name))]
        elif recursive:
            inside = files_below(path, suffixes)
            sources = [Source(each, each.relative_to(path)) for each in inside]
            if not inside:
                refused[path] = f"no file in this folder ends in {_any_of(suffixes)}"
        else:
            sources = []
            refused[path] = "this is a folder; -r takes the files in it"
        for source in sources:
            found.setdefault(os.path.abspath(source.path), source)
    return list(found.values()), refused


def plan_outputs(
    sources: Sequence[Source], suffix: str, *, output: Path | None, out_dir: Path | None
) -> list[Task]:
    """Give each file its output, and refuse as wrong usage what could lose one.

    Args:
        sources: What is to be worked on.
        suffix: Of outputs that are not named.
        output: The output; there must be one source only.
        out_dir: The folder below which the outputs have the places of their sources.
    """
    if out_dir is not None and any(source.path == STANDARD_STREAM for source in sources):
        raise click.UsageError("standard input has no name for a file in --out-dir; use -o")
    if output is not None:
        tasks = [Task(source.path, output) for source in sources]
    elif out_dir is not None:
        tasks = [Task(each.path, out_dir / each.place.with_suffix(suffix)) for each in sources]
    else:
        tasks = [Task(source.path, default_output(source.path, suffix)) for source in sources]
    _refuse_collisions(tasks)
    return tasks


def make_folders(tasks: Iterable[Task], out_dir: Path) -> None:
    """Make the folders of the outputs."""
    with errors_about(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        for folder in {task.target.parent for task in tasks if task.target}:
            folder.mkdir(parents=True, exist_ok=True)


def _refuse_collisions(tasks: Iterable[Task]) -> None:
    tasks = [task for task in tasks if STANDARD_STREAM not in (task.source, task.target)]
    inputs = {os.path.realpath(task.source) for task in tasks}
    writers: dict[str, Path] = {}
    for task in tasks:
        assert task.target is not None
        target = os.path.realpath(task.target)
        if target in inputs:
            raise click.UsageError(
                f"{task.source} would be written to {task.target}, which is an input; "
                "name another output with -o or --out-dir"
            )
        if other := writers.get(target):
            raise click.UsageError(
                f"{other} and {task.source} would both be written to {task.target}; "
                "name their outputs one by one with -o"
            )
        writers[target] = task.source


def _any_of(suffixes: Collection[str]) -> str:
    *others, last = sorted(suffixes)
    return f"{', '.join(others)} or {last}" if others else last
