"""Memory and time of streaming images of 1, 10 and 100 megapixels: a table, and a plot.

    python bench/streaming.py photo.png -o docs/streaming

Rows of the photograph, again and again, go through ``pixelcodec.Encoder`` some at a time, and the
bytes through ``pixelcodec.Decoder``; nothing else is held. The model is named, as one for graphics
would be chosen for what repeats so. Each pass is a process of its own, of which is noted after
every block how much memory it held at most so far; all rows that come out are compared.
"""

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt

import pixelcodec
import pixelcodec.api  # loads torch, which `import pixelcodec` puts off
from pixelcodec.pictures import read_picture

ROWS = 64
"""Rows that are given at a time."""

PIECE = 2**16
"""Bytes that are given at a time."""

WIDTH = 4096


def memory_mb(field: str) -> float:
    """Memory of this process (Linux): VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


def blocks(photograph: npt.NDArray[np.uint8], height: int) -> Iterator[npt.NDArray[np.uint8]]:
    """``height`` rows of :data:`WIDTH` columns: the photograph side by side and over again."""
    across = -(-WIDTH // photograph.shape[1])
    page = np.tile(photograph, (1, across, 1))[:, :WIDTH]
    for top in range(0, height, ROWS):
        rows = np.arange(top, min(top + ROWS, height)) % len(page)
        yield np.ascontiguousarray(page[rows])


class Watch:
    """The most memory so far, as rows pass."""

    def __init__(self) -> None:
        """Start now."""
        self._start, self._rows = time.perf_counter(), 0
        self.before = memory_mb("VmRSS")
        self._seen: list[tuple[int, float]] = []

    def look(self, rows: int) -> None:
        """So many more ``rows`` are done."""
        self._rows += rows
        self._seen.append((self._rows, memory_mb("VmHWM")))

    def found(self) -> dict[str, Any]:
        """All of it."""
        seconds, peak = time.perf_counter() - self._start, memory_mb("VmHWM")
        return {"seconds": seconds, "before": self.before, "peak": peak, "seen": self._seen}


def encode(photograph: npt.NDArray[np.uint8], height: int, model: str, path: Path) -> Any:
    watch, crc = Watch(), 0
    with path.open("wb") as file:
        encoder = pixelcodec.Encoder(WIDTH, height, model=model, effort=1)
        for rows in blocks(photograph, height):
            file.write(encoder.write(rows))
            crc = zlib.crc32(rows.data, crc)
            watch.look(len(rows))
        file.write(encoder.finish())
    return {**watch.found(), "bytes": path.stat().st_size, "crc": crc}


def decode(path: Path) -> Any:
    watch, crc = Watch(), 0
    decoder = pixelcodec.Decoder()
    with path.open("rb") as file:
        while data := file.read(PIECE):
            for rows in decoder.write(data):
                crc = zlib.crc32(np.ascontiguousarray(rows).data, crc)
                watch.look(len(rows))
    decoder.finish()
    return {**watch.found(), "crc": crc}


def elsewhere(*arguments: str) -> Any:
    """Run this script in a process of its own, as a pass."""
    command = [sys.executable, __file__, "--pass", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def plot(passes: dict[str, Any], path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, direction in zip(axes, ("encode", "decode"), strict=True):
        for megapixels, found in passes.items():
            rows, memory = np.array(found[direction]["seen"]).T
            name = f"{megapixels} megapixel{'s' * (megapixels != '1')}"
            axis.plot(100 * rows / rows[-1], memory, label=name, marker="o", markevery=[-1])
        axis.set(title=direction, xlabel="rows done, %", xlim=(0, 103), ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("most memory so far, MB")
    axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=150)


@click.command()
@click.argument("photograph", type=click.Path(path_type=Path, exists=True))
@click.option("-m", "--model", default="photo-s", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="STEM")
@click.option("--megapixels", multiple=True, type=int, default=(1, 10, 100), show_default=True)
def main(photograph: Path, model: str, output: Path, megapixels: tuple[int, ...]) -> None:
    """Stream PHOTOGRAPH over and over; write STEM.json and STEM.png."""
    passes = {}
    for count in (0, *megapixels):  # at first a small one: loops are compiled in it
        height, path = max(ROWS, count * 10**6 // WIDTH), output.with_suffix(".pxc")
        encoded = elsewhere("encode", str(photograph), str(height), model, str(path))
        decoded = elsewhere("decode", str(path))
        path.unlink()
        assert encoded["crc"] == decoded["crc"], "other rows came out"
        if count == 0:
            continue
        passes[str(count)] = {"encode": encoded, "decode": decoded}
        bpsp = 8 * encoded["bytes"] / (3 * WIDTH * height)
        for direction, found in (("encode", encoded), ("decode", decoded)):
            click.echo(
                f"{count:4} megapixels, {direction}: {found['seconds']:6.1f} s, at most "
                f"{found['peak']:.0f} MB ({found['before']:.0f} MB before), {bpsp:.3f} bpsp"
            )
    output.with_suffix(".json").write_text(json.dumps(passes) + "\n")
    plot(passes, output.with_suffix(".png"))


def one_pass(direction: str, *arguments: str) -> Any:
    """The pass that the arguments of :func:`elsewhere` say."""
    if direction == "decode":
        return decode(Path(arguments[0]))
    photograph, height, model, path = arguments
    return encode(read_picture(photograph).samples, int(height), model, Path(path))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        print(json.dumps(one_pass(*sys.argv[2:])))
    else:
        main()
