"""Thousands of images through one program for as long as it is told: all come back, nothing grows.

In ``tests/``: ``python -m robustness.soak --minutes 10``. Each round takes images of any kind and
size through this thread, threads side by side, and a worker process, and compares every sample and
all metadata. Memory, the worker's too, and open files are measured after each round; once the first
third is over, neither may grow. The same seed makes the same images.
"""

import argparse
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import pixelcodec
from picture_kinds import KINDS
from pixelcodec import Picture
from pixelcodec.pictures import Chunk
from pixelcodec.workers import Tell, Workers

THREADS = 3
GROWTH_MOST = 32 * 2**20
"""Bytes by which more may be held in the last third of the rounds than in the second."""

_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Job:
    """An image, and how it is coded."""

    picture: Picture
    how: dict[str, Any]


@dataclass
class Measured:
    """What was seen after each round.

    Attributes:
        images: that came back, in all.
        memory: bytes that this process and its workers hold.
        files: that it has open.
    """

    images: int = 0
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


class DifferentError(Exception):
    """An image did not come back as it was."""


def job(random: Random) -> Job:
    """Make an image of any kind and size, and choose how to code it."""
    kind = random.choice(KINDS)
    height, width = (int(2 ** random.uniform(0, 5)) for _ in range(2))
    words = Chunk(b"tEXt", b"Title\0" + b"words " * random.randrange(20))
    picture = kind.picture(words, height=height, width=width)
    smooth = picture.samples >> random.randrange(kind.bit_depth)
    by_model = kind.bit_depth == 8 and random.random() < 0.5
    how = {
        "model": random.choice(("photo-s", "photo-s", "photo-m")) if by_model else None,
        "effort": random.choice((1, 1, 1, 1, 1, 2, 5)),
        "strip_rows": random.choice((None, random.randint(1, 64))),
        "restart": random.random() < 0.3,
        "verify": random.random() < 0.2,
    }
    return Job(Picture(np.ascontiguousarray(smooth), kind.bit_depth, picture.chunks), how)


def check(job: Job, tell: Tell | None = None) -> None:
    """Encode and decode.

    Raises:
        DifferentError: it is not the same image.
    """
    data = pixelcodec.encode(job.picture, **job.how)
    found = pixelcodec.decode_picture(data)
    if found != job.picture:
        raise DifferentError(f"{job.picture.kind} {job.picture.samples.shape} {job.how}")


def rounds(random: Random, size: int) -> Iterator[tuple[int, int]]:
    """Run round after round of ``size`` images; give what is then held, and open here."""
    with ThreadPoolExecutor(THREADS) as threads, Workers() as workers:
        while True:
            jobs = [job(random) for _ in range(size)]
            third = max(1, size // 3)
            for each in jobs[:third]:
                check(each)
            list(threads.map(check, jobs[third : 2 * third]))
            for each in jobs[2 * third :]:
                workers.run(partial(check, each), _ignore)
            yield _memory(), len(os.listdir("/proc/self/fd"))


def campaign(seconds: float, seed: int, size: int = 30, count: float = math.inf) -> Measured:
    """Run rounds of ``size`` images for ``seconds``, or ``count`` images."""
    found = Measured()
    end = time.monotonic() + seconds
    with one_thread():
        for memory, files in rounds(Random(seed), size):
            found.memory.append(memory)
            found.files.append(files)
            found.images += size
            if time.monotonic() > end or found.images >= count:
                return found
    return found


def growth(values: Sequence[int]) -> int:
    """By how much the middle of the last third is more than that of the second."""
    third = len(values) // 3
    return int(np.median(values[-third:]) - np.median(values[third : 2 * third])) if third else 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _memory() -> int:
    """Of this process and those that it started."""
    processes = ["self", *(str(child.pid) for child in active_children())]
    held = (Path("/proc", each, "statm").read_text(encoding="ascii") for each in processes)
    return sum(int(each.split()[1]) for each in held) * _PAGE


def _ignore(message: object) -> None:
    """Take any message."""


def main() -> None:
    """Run, and fail if an image differs or something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="to run")
    parser.add_argument("--seed", type=int, default=1, help="of chance")
    asked = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("it looks into /proc, which only Linux has")
    found = campaign(60 * asked.minutes, asked.seed)
    memory, files = growth(found.memory), growth(found.files)
    held = f"{min(found.memory) / 2**20:.0f} to {max(found.memory) / 2**20:.0f} MiB"
    print(f"{found.images:,} images, all identical; {len(found.memory):,} rounds")
    print(f"memory: {held}, growth {memory / 2**20:+.1f} MiB")
    print(f"open files: {min(found.files)} to {max(found.files)}, growth {files:+}")
    sys.exit(memory > GROWTH_MOST or files > 0)


if __name__ == "__main__":
    main()
