"""Encode or decode one image in this process, and print as JSON what it took.

    python bench/peak_memory.py MODEL encode image.npy image.pxc
    python bench/peak_memory.py MODEL decode image.pxc image.npy

``peak_mb``: the most memory this process ever held, less what it had held when the libraries were
imported and the model had coded a tiny image. The image itself counts.
"""

import json
import resource
import sys
import time

import numpy as np

import pixelcodec


def peak_mb() -> float:
    """The most resident memory so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def encode(model: str, device: str, source: str, target: str) -> None:
    with open(target, "wb") as stream:
        pixelcodec.encode_to(stream, np.load(source), model=model, device=device)


def decode(model: str, device: str, source: str, target: str) -> None:
    with open(source, "rb") as stream:
        samples = pixelcodec.decode_from(stream, model=model, device=device)
    np.save(target, samples)


def main(model: str, direction: str, source: str, target: str, device: str = "cpu") -> None:
    tiny = pixelcodec.encode(np.zeros((8, 8, 3), np.uint8), model=model, device=device)
    pixelcodec.decode(tiny, model=model, device=device)
    before, start = peak_mb(), time.perf_counter()
    {"encode": encode, "decode": decode}[direction](model, device, source, target)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb() - before, "before_mb": before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
