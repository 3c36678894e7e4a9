"""Encode or decode one image in this process, and print as JSON what it took.

    python bench/peak_memory.py MODEL encode image.npy image.pxc
    python bench/peak_memory.py MODEL decode image.pxc image.npy

``peak_mb``: the most memory this process ever held, less what it had held when the libraries, torch
among them, were imported. Model and image count. Run it once before, for compiled loops to come
from the cache: compiling takes more memory than coding.
"""

import json
import sys
import time

import numpy as np

import pixelcodec
import pixelcodec.api  # loads torch, which `import pixelcodec` puts off
from pixelcodec.cli.machine import peak_mb
from pixelcodec.effort import STATIC


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
