"""Where the time of decoding goes: microseconds a wave by kind of work, as Markdown.

    python bench/profile_wave.py photo-m examples/kodim23.png

What decoding calls (the program, its canvas, the back end of its products, the range decoder) is
wrapped in a stopwatch that always runs for exactly one stage. The stopwatch itself takes time: the
last line compares with decoding as it is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

import click
import numpy as np
import torch

from pixelcodec import coder
from pixelcodec.engine import Engine, StripDecoder, StripEncoder
from pixelcodec.models import zoo
from pixelcodec.models.program import Conditionals, Program
from pixelcodec.pictures import read_picture
from pixelcodec.runtime import make_engine
from pixelcodec.schedule import Canvas, waves

PRODUCTS = "matrix products"
CANVAS = "canvas: store activations, gather taps"
LOOK = "the rest of looking: context, trunk"
DISTRIBUTION = "the rest of distributions: heads, parameters"
REVEAL = "samples to later channels and pixels"
DECODER = "cumulative distributions, frequencies, range decoder"
REST = "waves, samples out"
STAGES = (PRODUCTS, CANVAS, LOOK, DISTRIBUTION, REVEAL, DECODER, REST)


class Stopwatch:
    """Shares out time among stages; at each moment it runs for one."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self.reset()

    def reset(self) -> None:
        """Forget all, and run for :data:`REST`."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._stage, self._since = REST, time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Book the time until now: the seconds of each stage."""
        self._switch(REST)
        return self.seconds

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, during which the stopwatch runs for ``stage``."""

        def timed_call(*arguments: Any, **options: Any) -> Any:
            before = self._stage
            self._switch(stage)
            try:
                return call(*arguments, **options)
            finally:
                self._switch(before)

        return timed_call

    def _switch(self, stage: str) -> None:
        if self._on_gpu:  # else the time of a stage falls to the next one that waits
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now


class TimedConditionals:
    """Those of the pixels in hand."""

    def __init__(self, conditionals: Conditionals, watch: Stopwatch) -> None:
        self.distribution = watch.timed(DISTRIBUTION, conditionals.distribution)
        self.reveal = watch.timed(REVEAL, conditionals.reveal)


@contextmanager
def timed(engine: Engine, watch: Stopwatch) -> Iterator[None]:
    """Have the parts of decoding timed."""
    program, backend = engine.program, engine.arithmetic.backend
    look = watch.timed(LOOK, program.look)
    with (
        mock.patch.object(program, "look", lambda canvas: TimedConditionals(look(canvas), watch)),
        mock.patch.object(program, "remember", watch.timed(REVEAL, program.remember)),
        mock.patch.object(backend, "matmul", watch.timed(PRODUCTS, backend.matmul)),
        _timed_methods(Canvas, ("store", "taps"), CANVAS, watch),
        _timed_methods(coder.RangeDecoder, ("decode",), DECODER, watch),
    ):
        yield


@contextmanager
def _timed_methods(
    kind: type, names: tuple[str, ...], stage: str, watch: Stopwatch
) -> Iterator[None]:
    methods = {name: watch.timed(stage, getattr(kind, name)) for name in names}
    with mock.patch.multiple(kind, **cast(dict[str, Any], methods)):
        yield


def wave_sizes(program: Program, rows: int, width: int) -> list[int]:
    return [wave.end - wave.first for wave in waves(rows, width, program.slope)]


@click.command()
@click.argument("model")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--device", default="cpu", show_default=True)
@click.option("--backend", help="Arithmetic of the matrix products.")
@click.option("-T", "--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(
    model: str, image: Path, device: str, backend: str | None, threads: int, repeats: int
) -> None:
    """Decode IMAGE with MODEL, as one strip, and print where the time went."""
    torch.set_num_threads(threads)
    pixels = read_picture(image).to_array()
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width, -1)
    engine = make_engine(zoo.load(model), backend, device)
    parts = StripEncoder(engine, width, rows.shape[2]).encode(rows, lambda done: None)
    watch = Stopwatch(engine.device)

    def decode() -> float:
        watch.reset()
        start = time.perf_counter()
        decoder = StripDecoder(engine, width, rows.shape[2])
        decoded = decoder.decode(parts, height, lambda done: None)
        seconds = time.perf_counter() - start
        assert np.array_equal(decoded, rows)
        return seconds

    undisturbed = min(decode() for _ in range(repeats))
    runs = []
    with timed(engine, watch):
        for _ in range(repeats):
            decode()
            runs.append(watch.stop())
    seconds = min(runs, key=lambda run: sum(run.values()))

    sizes = wave_sizes(engine.program, height, width)
    click.echo(
        f"{Path(model).stem} on {image.name}, {width}x{height}: {len(sizes):,} waves of "
        f"{sum(sizes) / len(sizes):.0f} pixels; {device}, {engine.arithmetic.backend.name}, "
        f"{threads} thread{'s' * (threads > 1)}, torch {torch.__version__}; best of {repeats}\n"
    )
    click.echo("| stage | µs a wave | share |\n|---|---:|---:|")
    total = sum(seconds.values())
    for stage in STAGES:
        spent = seconds[stage]
        click.echo(f"| {stage} | {1e6 * spent / len(sizes):.0f} | {spent / total:.1%} |")
    click.echo(f"| **all** | **{1e6 * total / len(sizes):.0f}** | {total:.2f} s |")
    click.echo(
        f"| without the stopwatch | {1e6 * undisturbed / len(sizes):.0f} | {undisturbed:.2f} s |"
    )


if __name__ == "__main__":
    main()
