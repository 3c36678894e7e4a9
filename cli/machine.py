"""On what and under which circumstances something was measured: what makes seconds comparable."""

import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path

from pixelcodec import __version__
from pixelcodec.cli.common import Compute

_IDLE_LOAD = 0.5


def circumstances(compute: Compute) -> dict[str, str]:
    """Facts by their names, in words.

    Raises:
        BackendError: there is no such device.
    """
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "processor": f"{_processor()}, {_processors()} in use",
        "device of pixelcodec": _device(compute["device"]),
        "threads of pixelcodec": str(compute["threads"] or 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": _load(),
        "versions": _versions(),
    }


def peak_mb() -> float:
    """The most memory in megabytes that this process held, or one that it ran, since the start.

    On Linux: since :func:`forget_peak`; of the processes that it ran always since the start.
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts what the parent held in ru_maxrss
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        own = int(line.split()[1]) * 1024
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, others) / 1e6


def forget_peak() -> None:
    """Let :func:`peak_mb` begin anew with what this process holds now, on Linux."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _processor() -> str:
    """The name of the processor, which on Linux only /proc knows, on Windows the environment.

    ``platform.processor`` would run a program elsewhere.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, os.environ.get("PROCESSOR_IDENTIFIER", "")) or platform.machine()


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(name: str) -> str:
    import torch

    from pixelcodec.runtime import resolve_device

    device = resolve_device(name)
    return device if device == "cpu" else f"{device}, {torch.cuda.get_device_name()}"


def _load() -> str:
    """What else the machine did when the measuring began."""
    if not hasattr(os, "getloadavg"):
        return "not known"
    load = os.getloadavg()[0]
    if load < _IDLE_LOAD:
        return f"{load:.1f}, next to idle"
    return f"{load:.1f}, so other work was running, and seconds are more than they could be"


def _versions() -> str:
    import numpy
    import torch

    return (
        f"pixelcodec {__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, NumPy {numpy.__version__}"
    )
