"""Where the time of decoding goes: microseconds a wave by kind of work, as Markdown.

    python bench/profile_wave.py photo-m examples/kodim23.png

What decoding calls (the canvas, the network, the back end of its products, the distributions, the
coder) is wrapped in a stopwatch that always runs for exactly one stage. The stopwatch itself takes
time: the last line compares with decoding as it is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from torch import Tensor

from pixelcodec import api, coder, exact
from pixelcodec.engine import Engine, Samples, StripDecoder, StripEncoder
from pixelcodec.images import read_image
from pixelcodec.models import zoo
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.pixelcnn import IntegerPixelCNN
from pixelcodec.schedule import Canvas, waves

TRUNK_PRODUCTS = "trunk: matrix products"
TRUNK_TAPS = "trunk: store activations, gather taps"
TRUNK_REST = "trunk: requantise, ReLU, add"
HEAD_PRODUCTS = "heads: matrix products"
HEAD_REST = "heads: requantise, ReLU, show residuals"
CONTEXT = "context: gather, centre"
MIXTURES = "mixtures from parameters"
CUMULATIVE = "cumulative distributions"
CODER = "frequencies, range decoder"
REST = "waves, samples in and out"
STAGES = (
    *(CONTEXT, TRUNK_PRODUCTS, TRUNK_TAPS, TRUNK_REST, HEAD_PRODUCTS, HEAD_REST),
    *(MIXTURES, CUMULATIVE, CODER, REST),
)


class Stopwatch:
    """Shares out time among stages; at each moment it runs for one."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self.reset()

    def reset(self) -> None:
        """Forget all, and run for :data:`REST`."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.stage, self._since = REST, time.perf_counter()
        self._before: list[str] = []

    def stop(self) -> dict[str, float]:
        """Book the time until now: the seconds of each stage."""
        self._switch(REST)
        return self.seconds

    def during(self, stage: str) -> "Stopwatch":
        """Run for ``stage`` (``with`` this), then go on with the stage before."""
        self._before.append(self.stage)
        self._switch(stage)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._switch(self._before.pop())

    def _switch(self, stage: str) -> None:
        if self._on_gpu:  # else the time of a stage falls to the next one that waits
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self.stage] += now - self._since
        self.stage, self._since = stage, now


class Wrapper:
    """Something that decoding calls, some of its methods timed; the others are its own."""

    def __init__(self, wrapped: Any, watch: Stopwatch) -> None:
        self._wrapped, self._watch = wrapped, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class TimedCanvas(Wrapper):
    """A :class:`Canvas`."""

    def neighbourhoods(self, plane: str, values: Tensor) -> Tensor:
        with self._watch.during(TRUNK_TAPS):
            return self._wrapped.neighbourhoods(plane, values)


class TimedBackend(Wrapper):
    """An :class:`exact.Backend`."""

    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:
        in_trunk = self._watch.stage == TRUNK_REST
        with self._watch.during(TRUNK_PRODUCTS if in_trunk else HEAD_PRODUCTS):
            return self._wrapped.matmul(activations, prepared)


class TimedMixture(Wrapper):
    """A :class:`coder.Distribution`."""

    def cumulative(self, edges: Any) -> Any:
        with self._watch.during(CUMULATIVE):
            return self._wrapped.cumulative(edges)


class TimedStrip(Wrapper):
    """A :class:`coder.StripDecoder`."""

    def decode(self, distribution: coder.Distribution, count: int) -> Any:
        with self._watch.during(CODER):
            return self._wrapped.decode(distribution, count)


class TimedProgram(Wrapper):
    """An :class:`IntegerPixelCNN`."""

    def trunk(self, features: Tensor, canvas: Canvas) -> Tensor:
        with self._watch.during(TRUNK_REST):
            return self._wrapped.trunk(features, canvas)

    def parameters(self, seen: Tensor, channel: int) -> Tensor:
        with self._watch.during(HEAD_REST):
            return self._wrapped.parameters(seen, channel)

    def show(self, *arguments: Any) -> None:
        with self._watch.during(HEAD_REST):
            self._wrapped.show(*arguments)

    def mixture(self, *arguments: Any) -> TimedMixture:
        with self._watch.during(MIXTURES):
            return TimedMixture(self._wrapped.mixture(*arguments), self._watch)


@dataclass
class TimedEngine:
    """An :class:`Engine` whose parts are timed."""

    device: torch.device
    program: TimedProgram

    @classmethod
    def of(cls, network: IntegerNetwork, backend: str | None, watch: Stopwatch, device: str) -> Any:
        arithmetic = exact.Arithmetic(torch.device(device), backend)
        arithmetic.backend = cast(exact.Backend, TimedBackend(arithmetic.backend, watch))
        program = TimedProgram(IntegerPixelCNN(network, arithmetic), watch)
        return cls(torch.device(device), program)


class TimedDecoder(StripDecoder):
    """A decoder that hands out timed parts."""

    def __init__(self, engine: Engine, width: int, channels: int, watch: Stopwatch) -> None:
        super().__init__(engine, width, channels)
        self._watch = watch

    def _look(self, canvas: Canvas) -> tuple[Any, Tensor]:
        with self._watch.during(CONTEXT):
            return super()._look(canvas)

    def _wave(self, canvas: Canvas, strip: coder.StripDecoder, count: int) -> Samples:
        timed_canvas = cast(Canvas, TimedCanvas(canvas, self._watch))
        return super()._wave(
            timed_canvas, cast(coder.StripDecoder, TimedStrip(strip, self._watch)), count
        )


def best(repeats: int, work: Callable[[], float]) -> float:
    return min(work() for _ in range(repeats))


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
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width, -1)
    network = zoo.load(model)
    plain = api.make_engine(network, backend, device)
    payload = StripEncoder(plain, width, rows.shape[2]).encode(rows, lambda done: None)

    def decode(decoder: StripDecoder) -> float:
        start = time.perf_counter()
        decoded = decoder.decode(payload, height, lambda done: None)
        seconds = time.perf_counter() - start
        assert np.array_equal(decoded, rows)
        return seconds

    watch = Stopwatch(plain.device)
    timed = TimedEngine.of(network, backend, watch, device)
    decode(TimedDecoder(timed, width, rows.shape[2], watch))  # warms up
    undisturbed = best(repeats, lambda: decode(StripDecoder(plain, width, rows.shape[2])))
    runs = []
    for _ in range(repeats):
        watch.reset()
        decode(TimedDecoder(timed, width, rows.shape[2], watch))
        runs.append(watch.stop())
    seconds = min(runs, key=lambda run: sum(run.values()))

    sizes = [wave.end - wave.first for wave in waves(height, width, plain.program.slope)]
    click.echo(
        f"{Path(model).stem} on {image.name}, {width}x{height}: {len(sizes):,} waves of "
        f"{sum(sizes) / len(sizes):.0f} pixels; {device}, {plain.arithmetic.backend.name}, "
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
