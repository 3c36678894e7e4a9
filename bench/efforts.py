"""What each effort takes: bits a sample, seconds and memory, as a table.

    python bench/efforts.py examples/kodim23.png
    python bench/efforts.py -e 1 -e 5
    python bench/efforts.py -e 5 -e 9 --jobs 2 photo.png

Without an image: 12 megapixels, photographs mirrored side by side. Each file is made, and decoded,
in a process of its own, in which a small part of the image was coded before: loading models and
compiling do not count. Seconds of the processor tell more than seconds where other work runs beside
it. Memory is the most that the process held beyond what it held then; what comes out is compared.
Nothing is verified while it is encoded.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

import pixelcodec
from conftest import mosaic
from pixelcodec.cli.machine import peak_mb
from pixelcodec.cli.tables import table
from pixelcodec.effort import EFFORTS
from pixelcodec.pictures import read_picture

SMALL = 64
"""Side of the part that is coded before."""


def one_pass(effort: int, direction: str, image: Path, file: Path) -> dict[str, Any]:
    """Encode ``image`` (npy) into ``file``, or decode that and compare: seconds and megabytes."""
    samples = np.load(image)
    small = pixelcodec.encode(np.ascontiguousarray(samples[:SMALL, :SMALL]), effort=effort)
    pixelcodec.decode(small)
    before, start, processor = peak_mb(), time.perf_counter(), time.process_time()
    if direction == "encode":
        file.write_bytes(pixelcodec.encode(samples, effort=effort))
    else:
        found = pixelcodec.decode(file.read_bytes())
    seconds, megabytes = time.perf_counter() - start, peak_mb() - before
    busy = time.process_time() - processor
    assert direction == "encode" or np.array_equal(found, samples), "other samples came out"
    return {"seconds": seconds, "busy": busy, "megabytes": megabytes}


def row(effort: int, image: Path, samples: int) -> list[str]:
    """The row of an effort."""
    file = image.with_name(f"{effort}.pxc")
    passes = []
    for direction in ("encode", "decode"):
        command = [sys.executable, __file__, "--pass", str(effort), direction, image, file]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        passes.append(json.loads(output))
    click.echo(f"effort {effort} is measured", err=True)
    return [
        str(effort),
        f"{8 * file.stat().st_size / samples:.3f}",
        ", ".join(f"{found['seconds']:.1f}" for found in passes),
        ", ".join(f"{found['busy']:.1f}" for found in passes),
        " and ".join(f"{found['megabytes']:.0f} MB" for found in passes),
    ]


def rows(efforts: tuple[int, ...], samples: np.ndarray, jobs: int) -> Iterator[list[str]]:
    """The rows of all ``efforts``, some of them side by side."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as threads:
        image = Path(folder) / "image.npy"
        np.save(image, samples)
        yield from threads.map(lambda effort: row(effort, image, samples.size), efforts)


@click.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("-e", "--effort", "efforts", multiple=True, type=click.IntRange(1, max(EFFORTS)))
@click.option("--jobs", default=1, show_default=True, help="Efforts that are measured at a time.")
def main(image: Path | None, efforts: tuple[int, ...], jobs: int) -> None:
    """Measure IMAGE, or 12 megapixels, at each effort."""
    samples = mosaic() if image is None else read_picture(image).to_array()
    head = ["effort", "bpsp", "seconds: encode, decode", "of the processor", "memory"]
    found = rows(efforts or tuple(range(1, 10)), samples, jobs)
    click.echo(table(head, list(found)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        number, what, *paths = sys.argv[2:]
        print(json.dumps(one_pass(int(number), what, *map(Path, paths))))
    else:
        main()
