"""Work on files, here or in worker processes: what is told of each, and of all."""

import functools
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click

from pixelcodec.cli.common import (
    Failure,
    errors_about,
    force_option,
    output_option,
    quiet_option,
    recursive_option,
)
from pixelcodec.cli.files import STANDARD_STREAM, atomic_output
from pixelcodec.cli.inputs import (
    check_output,
    find_sources,
    make_folders,
    passed_over,
    plan_outputs,
)
from pixelcodec.cli.progress import Report, Watch, files_bar
from pixelcodec.cli.signals import leave_to_main_thread
from pixelcodec.cli.work import Loss, Sink, Task, Work

Call = Callable[[Work, Task, Sink, Report | None], str | None]
"""Does work somewhere."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The files that a command was given, and what it was told about them.

    Attributes:
        paths: Files and folders.
        recursive: Whether the files in folders are taken.
        jobs: Worker processes; with 1 all is done in this one.
        quiet: Whether only errors are told.
        output: The one output.
        out_dir: The folder below which the outputs go.
        force: Whether existing outputs are replaced.
        skip_existing: Whether files whose outputs exist are left alone.
    """

    paths: tuple[Path, ...]
    recursive: bool
    jobs: int
    quiet: bool
    output: Path | None = None
    out_dir: Path | None = None
    force: bool = False
    skip_existing: bool = False

    def convert(
        self, work: Work, inputs: Collection[str], suffix: str, alone: Work | None = None
    ) -> None:
        """Make an output of each file, go on after failures, and exit with 1 if there were any.

        Args:
            work: What makes the outputs. What it says is a remark, for standard error.
            inputs: Suffixes of the files that are taken from folders.
            suffix: Of the outputs.
            alone: What makes the output of one file, which may have all :attr:`jobs` for itself.
        """
        check_output(self.paths, self.output, self.out_dir)
        if self.force and self.skip_existing:
            raise click.UsageError("give -f or --skip-existing, not both")
        sources, refused = find_sources(self.paths, inputs, recursive=self.recursive)
        tasks, colliding = plan_outputs(sources, suffix, output=self.output, out_dir=self.out_dir)
        if self.out_dir is not None:
            make_folders(tasks, self.out_dir)
        if alone is not None and len(tasks) == 1:
            work = alone
        self._run(work, tasks, refused | colliding, say=functools.partial(click.echo, err=True))

    def check(self, work: Work, inputs: Collection[str]) -> None:
        """Check each file, which has no output, and go on and exit as :meth:`convert` does.

        What the work says is the result, for standard output.
        """
        sources, refused = find_sources(self.paths, inputs, recursive=self.recursive)
        self._run(work, [Task(source.path) for source in sources], refused, say=click.echo)

    def _run(
        self,
        work: Work,
        tasks: Sequence[Task],
        refused: Mapping[Path, str],
        say: Callable[[str], None],
    ) -> None:
        sizes = {task.source: _size(task.source) for task in tasks}
        tally = _Tally(sizes, _silent if self.quiet else say)
        for path, why in refused.items():
            tally.add(Task(path), Failure(path, why))
        jobs = min(self.jobs, len(tasks))
        with files_bar(sizes, quiet=self.quiet) as watch:
            do = functools.partial(self._do, work, watch)
            if jobs > 1:
                _in_workers(tasks, do, jobs, tally.add)
            else:
                _here(tasks, do, tally.add)
        if tally.count > 1 and not self.quiet:
            click.echo(tally.summary(), err=True)
        if self.recursive and not self.quiet and (ignored := passed_over(self.paths)):
            click.echo(ignored, err=True)
        if tally.failed:
            click.get_current_context().exit(1)

    def _do(self, work: Work, watch: Watch, task: Task, call: Call) -> "Outcome":
        with watch(task.source) as report:
            if self.skip_existing and task.target is not None and os.path.exists(task.target):
                return Skipped()
            try:
                # Opened first: what is wrong with it should not be found out after the work.
                with _output(task.target, self.force) as sink:
                    text = call(work, task, sink, report)
            except Failure as failure:
                return failure
            return Done(text, sink.size)


# Options -----------------------------------------------------------------------------------------


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that takes ``paths`` the options of a batch, and hand it a :class:`Batch`."""
    return _with_batch(command, recursive_option, _jobs_option(_FILES_AT_A_TIME), quiet_option)


def conversion_options(
    output_help: str, jobs_help: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Do as :func:`batch_options`, and add the options about outputs.

    ``jobs_help``: what jobs do with one file, if anything.
    """
    return lambda command: _with_batch(
        command,
        output_option(output_help),
        _out_dir_option,
        recursive_option,
        _jobs_option(f"{_FILES_AT_A_TIME} {jobs_help}".rstrip()),
        force_option,
        _skip_existing_option,
        quiet_option,
    )


def _with_batch(
    command: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    names = Batch.__dataclass_fields__

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        batch = Batch(**{name: values.pop(name) for name in names if name in values})
        return command(batch=batch, **values)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _jobs_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help=help_text,
    )


_FILES_AT_A_TIME = "Files at a time, each in a process of its own."

_out_dir_option = click.option(
    "--out-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the outputs, with the folders inside those that were named.",
)
_skip_existing_option = click.option(
    "--skip-existing", is_flag=True, help="Leave files alone whose outputs exist."
)


# Running -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A file that was worked on: what the work says of it, and the bytes written."""

    text: str | None
    size: int


class Skipped:
    """A file that was left alone."""


Outcome = Done | Skipped | Failure
Do = Callable[[Task, Call], Outcome]
Tell = Callable[[Task, Outcome], None]


def _here(tasks: Sequence[Task], do: Do, tell: Tell) -> None:
    for task in tasks:
        tell(task, do(task, lambda work, *arguments: work(*arguments)))


def _in_workers(tasks: Sequence[Task], do: Do, jobs: int, tell: Tell) -> None:
    """Let each of ``jobs`` threads wait for a process of its own."""
    from concurrent.futures import Future, ThreadPoolExecutor

    from pixelcodec.cli.workers import FileWorkers
    from pixelcodec.workers import next_of

    finished: SimpleQueue[Future[tuple[Task, Outcome]]] = SimpleQueue()
    with (
        ThreadPoolExecutor(jobs, initializer=leave_to_main_thread) as threads,
        FileWorkers() as workers,
    ):
        try:
            for task in tasks:
                future = threads.submit(lambda task: (task, do(task, workers.call)), task)
                future.add_done_callback(finished.put)
            for _ in tasks:
                tell(*next_of(finished).result())
        except BaseException:  # signals too: the workers end now, and then the threads
            threads.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _output(target: Path | None, force: bool) -> Iterator["_Counter"]:
    if target is None:
        yield _Counter(None, None)
        return
    with errors_about(target), atomic_output(target, force=force) as stream:
        yield _Counter(stream, target)


class _Counter:
    """Counts the bytes on their way to a stream, whose errors are about ``path``."""

    def __init__(self, stream: Sink | None, path: Path | None) -> None:
        self._stream, self._path = stream, path
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.size += len(data)
        if self._stream is not None:
            with errors_about(self._path):
                self._stream.write(data)
        return len(data)


def _size(path: Path) -> int:
    """Return the bytes of a file, 0 where that cannot be told."""
    try:
        return 0 if path == STANDARD_STREAM else path.stat().st_size
    except OSError:
        return 0


# Telling -----------------------------------------------------------------------------------------


class _Tally:
    """Tells what came of each file when it is there, and of all of them in the end."""

    def __init__(self, sizes: Mapping[Path, int], say: Callable[[str], None]) -> None:
        self._sizes, self._say = sizes, say
        self._done = self._skipped = self._bytes_in = self._bytes_out = 0
        self._began = time.monotonic()
        self.failed: list[Path] = []

    @property
    def count(self) -> int:
        return self._done + self._skipped + len(self.failed)

    def add(self, task: Task, outcome: Outcome) -> None:
        match outcome:
            case Failure():
                outcome.show()
                self.failed.append(task.source)
            case Done(Loss() as text, _):
                Failure(None, text).show()
                self.failed.append(task.source)
            case Done(text, size):
                self._done += 1
                self._bytes_in += self._sizes[task.source]
                self._bytes_out += size
                if text is not None:
                    self._say(text)
            case Skipped():
                self._skipped += 1

    def summary(self) -> str:
        counts = {"done": self._done, "failed": len(self.failed), "skipped": self._skipped}
        files = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "done")
        size = f"; {self._bytes_in:,} bytes in" if self._bytes_in else ""
        if self._bytes_in and self._bytes_out:
            size += f", {self._bytes_out:,} out ({self._bytes_out / self._bytes_in:.1%})"
        seconds = time.monotonic() - self._began
        failed = [f"failed: {path}" for path in self.failed]
        return "\n".join([f"{files}{size}; {seconds:.1f} s", *failed])


def _silent(text: str) -> None:
    """Say nothing."""
