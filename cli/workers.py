"""Work on files in worker processes. They compute; only this process writes files."""

from functools import partial

from pixelcodec.cli.common import Failure
from pixelcodec.cli.progress import Report, Step, now_and_then
from pixelcodec.cli.work import Sink, Task, Work
from pixelcodec.workers import Tell, UnexpectedError, WorkerDiedError, Workers


class FileWorkers(Workers):
    """Processes that work on files."""

    def call(self, work: Work, task: Task, sink: Sink, report: Report | None) -> str | None:
        """Do ``work`` in a process of its own, and return what it returns.

        Raises:
            Failure: That of the work; or it raised something else, or its process died.
        """

        def hear(message: bytes | Step) -> None:
            if isinstance(message, bytes):
                sink.write(message)
            elif report is not None:
                report(message)

        try:
            said = self.run(partial(_said, work, task, report is not None), hear)
        except (UnexpectedError, WorkerDiedError) as error:
            raise Failure(task.source, error) from error
        if isinstance(said, _Failed):
            raise Failure(None, said)
        return said


# In the worker -----------------------------------------------------------------------------------


class _Failed(str):
    """What a failure says; it cannot be pickled itself."""


class _Remote:
    """A sink in the other process."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def write(self, data: bytes, /) -> int:
        self._tell(bytes(data))
        return len(data)


def _said(work: Work, task: Task, watched: bool, tell: Tell) -> str | None:
    try:
        return work(task, _Remote(tell), now_and_then(tell) if watched else None)
    except Failure as failure:
        return _Failed(failure.message)
