"""What is done with one file: in this process, or in another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pixelcodec.cli.progress import Report


@dataclass(frozen=True)
class Task:
    """A file to work on, and where what is made of it goes, if anything is."""

    source: Path
    target: Path | None = None


class Sink(Protocol):
    """Takes the bytes of an output, front to back."""

    def write(self, data: bytes, /) -> int:
        """Take some more, and return how many."""


class Loss(str):
    """What is said of an output that is written, but is not all that it should be: a failure."""


Work = Callable[[Task, Sink, Report | None], str | None]
"""Works on one file, and returns what there is to say of it.

It can be pickled, loads what it needs itself, writes into the sink only, and raises
:class:`pixelcodec.cli.common.Failure` only.
"""
