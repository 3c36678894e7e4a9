"""Work for worker processes, which import it by name."""

import os
import signal
import time

from pixelcodec.cli.common import Failure
from pixelcodec.cli.progress import Report, Step
from pixelcodec.cli.work import Sink, Task
from pixelcodec.parallel import StripTask
from pixelcodec.pictures import Samples
from pixelcodec.progress import Count


def copy(task: Task, sink: Sink, report: Report | None) -> str:
    """Write the source in two pieces, report both, and say who did it."""
    data = task.source.read_bytes()
    half = len(data) // 2
    for done, piece in ((half, data[:half]), (len(data), data[half:])):
        sink.write(piece)
        if report is not None:
            report(Step(done, len(data)))
    return str(os.getpid())


def fail(task: Task, sink: Sink, report: Report | None) -> str:
    raise Failure(task.source, f"process {os.getpid()} does not like it")


def break_down(task: Task, sink: Sink, report: Report | None) -> str:
    raise ValueError(f"process {os.getpid()} did not expect it")


def die(task: Task, sink: Sink, report: Report | None) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never said"


def sleep(task: Task, sink: Sink, report: Report | None) -> str:
    sink.write(b"asleep")
    time.sleep(600)
    return "never said"


def blocked_signals(task: Task, sink: Sink, report: Report | None) -> str:
    return " ".join(each.name for each in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def die_at_b(task: Task, sink: Sink, report: Report | None) -> str:
    return (die if task.source.name == "b" else copy)(task, sink, report)


def die_decoding(task: StripTask, progress: Count) -> Samples:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
