"""A progress bar on standard error, for those who are there to see it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

Progress = Callable[[int, int], None]


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

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.{0 if speed > 10 else 2}f} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield show
