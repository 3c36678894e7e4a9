"""Files and folders that a command is given: what is to be done, found out before any of it."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pixelcodec import suffixes
from pixelcodec.cli.common import Failure, errors_about
from pixelcodec.cli.files import (
    STANDARD_STREAM,
    default_output,
    files_below,
    is_folder,
    not_an_image,
    not_pxc,
    suffixes_passed_over,
)
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
    if is_folder(output):
        raise click.UsageError(f"-o {output} is a folder; --out-dir takes a folder")
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
) -> tuple[list[Task], dict[Path, str]]:
    """Give each file its output, and refuse what could lose one: as wrong usage, or file by file.

    Args:
        sources: What is to be worked on.
        suffix: Of outputs that are not named.
        output: The output; there must be one source only.
        out_dir: The folder below which the outputs have the places of their sources.

    Returns:
        What is to be done, and which files cannot be worked on and why: those that are of the kind
        that outputs are, and those that share an output.
    """
    if out_dir is not None and any(source.path == STANDARD_STREAM for source in sources):
        raise click.UsageError("standard input has no name for a file in --out-dir; use -o")
    if output is not None:
        tasks = [Task(source.path, output) for source in sources]
    elif out_dir is not None:
        tasks = [Task(each.path, out_dir / each.place.with_suffix(suffix)) for each in sources]
    else:
        tasks = [Task(source.path, default_output(source.path, suffix)) for source in sources]
    if output is None:
        _refuse_what_may_be_an_output(sources, suffix)
    mistake = not_an_image if suffix == suffixes.PXC else not_pxc
    refused = {
        task.source: what
        for task in tasks
        if _place(task.source) == _place(task.target) and (what := mistake(task.source))
    }
    tasks = [task for task in tasks if task.source not in refused]
    _refuse_overwriting_inputs(tasks)
    refused |= _collisions(tasks)
    return [task for task in tasks if task.source not in refused], refused


def passed_over(paths: Iterable[Path]) -> str | None:
    """Say how many files in the folders among ``paths`` are of no known kind, if any are."""
    found = [suffix for path in paths if is_folder(path) for suffix in suffixes_passed_over(path)]
    if not found:
        return None
    count = f"{len(found):,} file{'s' if len(found) > 1 else ''}"
    return f"{count} ignored: {', '.join(sorted({suffix or 'no suffix' for suffix in found}))}"


def make_folders(tasks: Iterable[Task], out_dir: Path) -> None:
    """Make the folders of the outputs."""
    for folder in (out_dir, *{task.target.parent for task in tasks if task.target}):
        with errors_about(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except FileExistsError as error:
                raise Failure(folder, "this is a file, not a folder") from error


def _refuse_what_may_be_an_output(sources: Iterable[Source], suffix: str) -> None:
    """Refuse inputs that are not there and are called as outputs are: other programs take those."""
    outputs = {suffixes.PXC} if suffix == suffixes.PXC else suffixes.IMAGES
    for source in sources:
        if source.path.suffix.lower() in outputs and not os.path.lexists(source.path):
            raise click.UsageError(f"{source.path} does not exist; an output is named by -o")


def _refuse_overwriting_inputs(tasks: Iterable[Task]) -> None:
    inputs = {_place(task.source) for task in tasks}
    for task in tasks:
        if STANDARD_STREAM not in (task.source, task.target) and _place(task.target) in inputs:
            raise click.UsageError(
                f"{task.source} would be written to {task.target}, which is an input; "
                "name another output with -o or --out-dir"
            )


def _collisions(tasks: Iterable[Task]) -> dict[Path, str]:
    """Find the files that share an output with others, and say with which."""
    writers: dict[str, list[Task]] = {}
    for task in tasks:
        writers.setdefault(_place(task.target), []).append(task)
    return {
        task.source: f"{', '.join(str(each.source) for each in same if each is not task)} would be "
        f"written to {task.target}, too; give one of them another name, or -o or --out-dir of its "
        "own"
        for same in writers.values()
        if len(same) > 1
        for task in same
    }


def _place(path: Path | None) -> str:
    assert path is not None
    return os.path.realpath(path)


def _any_of(suffixes: Collection[str]) -> str:
    *others, last = sorted(suffixes)
    return f"{', '.join(others)} or {last}" if others else last
