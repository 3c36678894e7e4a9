"""Worker processes. They compute; only this process writes files, so they may die at any time."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import Self

from pixelcodec.cli.common import Failure
from pixelcodec.cli.progress import Report, Step, now_and_then
from pixelcodec.cli.work import Sink, Task, Work


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

    def call(self, work: Work, task: Task, sink: Sink, report: Report | None) -> str | None:
        """Do ``work`` in a process of its own, and return what it returns.

        Raises:
            Failure: That of the work; or its process died.
        """
        worker = self._take()
        try:
            answer = worker.ask(work, task, sink, report)
        except (EOFError, ConnectionError) as error:
            self._end(worker)
            raise Failure(
                task.source, "its worker process died, maybe of lack of memory"
            ) from error
        except BaseException:
            self._end(worker)  # it is in the middle of a conversation
            raise
        with self._lock:
            self._idle.append(worker)
        if answer.failed:
            raise Failure(None, answer.text)
        return answer.text

    def _take(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise Failure(None, "the workers have ended")
            if self._idle:
                return self._idle.pop()
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _end(self, worker: "_Worker") -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()


@dataclass(frozen=True)
class _Answer:
    text: str | None
    failed: bool = False


class _Worker:
    """One process, and this end of the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end,), daemon=True)
        with _ctrl_c_blocked():
            self._process.start()
        far_end.close()  # else nothing would tell of the other's death

    def ask(self, work: Work, task: Task, sink: Sink, report: Report | None) -> _Answer:
        self._connection.send((work, task, report is not None))
        while True:
            message = self._connection.recv()
            match message:
                case bytes():
                    sink.write(message)
                case Step() if report is not None:
                    report(message)
                case _Answer():
                    return message

    def end(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Let processes that are started inside never see Ctrl-C, which a terminal sends to all.

    This process does, and ends them.
    """
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


class _Remote:
    """A sink at the other end of the pipe."""

    def __init__(self, connection: "Connection[object, object]") -> None:
        self._connection = connection

    def write(self, data: bytes, /) -> int:
        self._connection.send(bytes(data))
        return len(data)


def _serve(connection: "Connection[object, tuple[Work, Task, bool]]") -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            work, task, watched = connection.recv()
            report = now_and_then(connection.send) if watched else None
            try:
                answer = _Answer(work(task, _Remote(connection), report))
            except Failure as failure:
                answer = _Answer(failure.message, failed=True)
            connection.send(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
