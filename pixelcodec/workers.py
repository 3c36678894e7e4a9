"""Worker processes: each does one piece of work after the other, until nobody wants more of it.

A worker may die at any time, and only who waits for it is told. Ctrl-C, which a terminal sends to
all processes, does not reach workers: the process that started them ends them.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, Self, TypeVar

from pixelcodec.errors import PixelcodecError

Result = TypeVar("Result")
Item = TypeVar("Item")

Tell = Callable[[Any], None]
"""Takes a message."""

Work = Callable[[Tell], Result]
"""What a worker does. It can be pickled, like all that it tells meanwhile and returns."""


class WorkerDiedError(PixelcodecError):
    """A worker died in the middle of its work, or before it."""


class UnexpectedError(PixelcodecError):
    """Work raised an error that it should not; the message says its kind."""


class Workers:
    """Processes that wait for work, at most as many as there are threads that call."""

    def __init__(self) -> None:
        """Start none: each starts with the first call that finds none idle."""
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        self._lock = Lock()

    def __enter__(self) -> Self:
        """Return these workers."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all of them, whatever they do. Calls under way then fail."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.end()

    def run(self, work: Work[Result], hear: Tell) -> Result:
        """Do ``work`` in a process of its own, and return what it returns.

        Args:
            work: told where to send messages.
            hear: called with each message, in this thread.

        Raises:
            WorkerDiedError: its process died, or these workers have ended.
            PixelcodecError: what the work raised.
            OSError: likewise.
            MemoryError: likewise.
            UnexpectedError: the work raised anything else.
        """
        worker = self._take()
        try:
            outcome = worker.ask(work, hear)
        except (EOFError, ConnectionError) as error:
            self._end(worker)
            raise WorkerDiedError("a worker process died, maybe of lack of memory") from error
        except BaseException:
            self._end(worker)  # it is in the middle of a conversation
            raise
        with self._lock:
            self._idle.append(worker)
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome.value

    def _take(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise WorkerDiedError("the workers have ended")
            if self._idle:
                return self._idle.pop()
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _end(self, worker: "_Worker") -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()


def next_of(queue: "SimpleQueue[Item]") -> Item:
    """Wait for the next of what other threads put into a queue, and for Ctrl-C."""
    while True:
        # Ctrl-C that another thread takes is noticed when this one wakes up.
        with suppress(Empty):
            return queue.get(timeout=0.2)


@dataclass(frozen=True)
class _Told:
    message: Any


@dataclass(frozen=True)
class _Returned(Generic[Result]):
    value: Result


@dataclass(frozen=True)
class _Raised:
    error: Exception


class _Worker:
    """One process, and this end of the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end,), daemon=True)
        with _ctrl_c_blocked():
            self._process.start()
        far_end.close()  # else nothing would tell of the other's death

    def ask(self, work: Work[Result], hear: Tell) -> _Returned[Result] | _Raised:
        self._connection.send(work)
        while True:
            match self._connection.recv():
                case _Told(message):
                    hear(message)
                case _Returned() | _Raised() as outcome:
                    return outcome

    def end(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Let processes that are started inside never see Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # up to Python 3.12 its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the worker -----------------------------------------------------------------------------------


def _serve(connection: "Connection[object, Work[object]]") -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            work = connection.recv()
            connection.send(_outcome(work, lambda message: connection.send(_Told(message))))


def _outcome(work: Work[Result], tell: Tell) -> _Returned[Result] | _Raised:
    try:
        return _Returned(work(tell))
    except (PixelcodecError, OSError, MemoryError) as error:
        return _Raised(error)
    except Exception as error:  # maybe one that cannot be pickled
        return _Raised(UnexpectedError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
