"""Progress bars on standard error, for those who are there to see them."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Progress = Callable[[int, int], None]


class Step(NamedTuple):
    """How far the work on a file is.

    ``done`` of ``total`` pixels of the image; so many ``samples`` are written, in ``size`` bytes.
    """

    done: int
    total: int
    samples: int = 0
    size: int = 0


Report = Callable[[Step], None]

Watch = Callable[[Path], AbstractContextManager[Report | None]]
"""The work on a file of this name goes on inside; None where nobody is watching."""


class _Stream(Protocol):
    def isatty(self) -> bool: ...


def is_terminal(stream: _Stream) -> bool:
    """Return whether a person sees what is written to the stream."""
    return stream.isatty()


@contextmanager
def progress_bar(
    label: str, *, quiet: bool = False, unit: str = "pixels"
) -> Iterator[Progress | None]:
    """Show the progress of one call on standard error, and clear it away at the end.

    ``unit``: what the call counts. Yields the call's ``progress`` argument: None where nobody is
    watching.
    """
    if quiet or not is_terminal(sys.stderr):
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(label, total=None, rate="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=_rate(bar.tasks[0].speed, unit))

        yield show


@contextmanager
def files_bar(sizes: Mapping[Path, int], *, quiet: bool = False) -> Iterator[Watch]:
    """Show the progress of work on files on standard error, and clear it away at the end.

    ``sizes``: those of all the files. What is left is judged by them, since how many pixels a file
    has is known when it is opened.
    """
    if quiet or not is_terminal(sys.stderr):
        yield lambda path: nullcontext()
        return
    with _bar() as bar:
        yield _Files(sizes, bar).watch


def now_and_then(report: Report, seconds: float = 0.1) -> Report:
    """Pass on a step now and then, and the last of a file."""
    latest = -seconds

    def pass_on(step: Step) -> None:
        nonlocal latest
        now = time.monotonic()
        if step.done == step.total or now - latest >= seconds:
            latest = now
            report(step)

    return pass_on


class Remaining:
    """What remains of some work, which never grows where there turns out to be more to do.

    Attributes:
        part: 1 at first, 0 in the end.
    """

    def __init__(self) -> None:
        """Begin."""
        self.part, self._done = 1.0, 0

    def update(self, done: int, total: int) -> None:
        """Of all that is known of now, so much is done."""
        if total > self._done:
            self.part *= (total - done) / (total - self._done)
        self._done = done


class _Files:
    """Adds up the steps of files, which several threads may report, and shows the sum."""

    def __init__(self, sizes: Mapping[Path, int], bar: "Bar") -> None:
        self._sizes, self._bar = sizes, bar
        self._task = bar.add_task("", total=sum(map(self._weight, sizes)), rate="")
        self._running: dict[Path, Step] = {}
        self._finished, self._finished_weight = Step(0, 0), 0.0
        self._count = 0
        self._began: float | None = None
        self._lock = Lock()
        self._show()

    @contextmanager
    def watch(self, path: Path) -> Iterator[Report]:
        """Yield what is told of the steps of ``path``, until its work is over or has failed."""
        try:
            yield lambda step: self._step(path, step)
        finally:
            self._finish(path)

    def _step(self, path: Path, step: Step) -> None:
        with self._lock:
            # Not before: until the first pixels, processes start and models are loaded.
            self._began = self._began or time.monotonic()
            self._running[path] = step
            self._show()

    def _finish(self, path: Path) -> None:
        with self._lock:
            step = self._running.pop(path, Step(0, 0))
            self._finished = _sum((self._finished, step))
            self._finished_weight += self._weight(path)
            self._count += 1
            self._show()

    def _weight(self, path: Path) -> int:
        return self._sizes[path] or 1

    def _show(self) -> None:
        so_far = _sum((self._finished, *self._running.values()))
        weight = self._finished_weight + sum(
            self._weight(path) * step.done / step.total for path, step in self._running.items()
        )
        seconds = time.monotonic() - self._began if self._began else 0.0
        # Nobody can judge a speed by the first blink.
        facts = [_rate(so_far.done / seconds if seconds >= 1 else None, "pixels")]
        if so_far.samples:
            facts.append(f"{8 * so_far.size / so_far.samples:.3f} bpsp")
        if len(self._sizes) > 1:
            facts.insert(0, f"{so_far.done / 1e6:,.1f} megapixels")
        self._bar.update(
            self._task,
            description=self._label(),
            completed=weight,
            rate=", ".join(filter(None, facts)),
        )

    def _label(self) -> str:
        if len(self._sizes) == 1:
            (path,) = self._sizes
            return path.name
        return f"{self._count} of {len(self._sizes)} files"


def _sum(steps: tuple[Step, ...]) -> Step:
    return Step(*map(sum, zip(*steps, strict=True)))


def _rate(speed: float | None, unit: str) -> str:
    return f"{speed:,.{0 if speed > 10 else 2}f} {unit}/s" if speed else ""


def _bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        # Lines of others keep paths in one piece, to be copied.
        console=Console(stderr=True, soft_wrap=True),
        transient=True,
        # Lines on standard output go around the bar where both are on the same screen; elsewhere
        # they are somebody's data.
        redirect_stdout=is_terminal(sys.stdout),
    )
