"""Encode or decode one image in this process, and print as JSON what it took.

    python bench/peak_memory.py MODEL encode image.npy image.pxc
    python bench/peak_memory.py MODEL decode image.pxc image.npy

``peak_mb``: the most memory this process ever held, less what it had held when the libraries, torch
among them, were imported. Model and image count. Run it once before, for compiled loops to come
from the cache: compiling takes more memory than coding.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

import pixelcodec
import pixelcodec.api  # loads torch, which `import pixelcodec` puts off
from pixelcodec.effort import STATIC


def peak_mb() -> float:
    """The most resident memory so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts what the parent held in ru_maxrss
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def encode(model: str, device: str, source: str, target: str) -> None:
    with open(target, "wb") as stream:
        pixelcodec.encode_to(stream, np.load(source), model=model, device=device, effort=STATIC)


def decode(model: str, device: str, source: str, target: str) -> None:
    with open(source, "rb") as stream:
        samples = pixelcodec.decode_from(stream, model=model, device=device)
    np.save(target, samples)


def main(model: str, direction: str, source: str, target: str, device: str = "cpu") -> None:
    before, start = peak_mb(), time.perf_counter()
    {"encode": encode, "decode": decode}[direction](model, device, source, target)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb() - before, "before_mb": before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
