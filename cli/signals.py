"""Signals that ask the command to end: each ends it as Ctrl-C does, leaving nothing behind."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_PATIENCE = 10.0
"""Seconds for cleaning up."""


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit inside, with the status that a shell reports.

    One that is ignored, as SIGHUP is by nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone has handlers
        yield
        return
    handled = [each for each in _ENDING if signal.getsignal(each) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for each in handled:  # another must not stop what cleans up
            signal.signal(each, signal.SIG_IGN)
        # Python drops what is raised inside a destructor: then, too, this must come to an end.
        watchdog = threading.Timer(_PATIENCE, os._exit, (128 + number,))
        watchdog.daemon = True
        watchdog.start()
        sys.exit(128 + number)

    for each in handled:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


def leave_to_main_thread() -> None:
    """Keep these signals from this thread, and from all processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
