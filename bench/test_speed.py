"""How long coding takes: whole images, and each kind of work that one wave of decoding is made of.

``make bench`` runs what takes minutes, ``make bench-large`` what is marked ``slow``. Each model
has coded something before the clock starts: loading it and compiling are not counted.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from pixelcodec import api, coder
from pixelcodec.engine import BAND_PIXELS, Engine, StripEncoder
from pixelcodec.models import zoo
from pixelcodec.models.context import Context, centred_context
from pixelcodec.schedule import Canvas, waves

Samples = npt.NDArray[np.uint8]

MOST_MEGABYTES = 600
"""Memory that coding 12 megapixels may take, beyond what importing and loading take."""


# Whole images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.benchmark(group="encode 768x512")
def test_encode(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str, threads: int
) -> None:
    if device == "cuda" and threads > 1:
        pytest.skip("CPU threads are for the CPU")
    settings = {"model": model, "device": device, "threads": threads}
    api.encode(np.ascontiguousarray(kodim[:64, :64]), **settings)

    data = benchmark.pedantic(api.encode, (kodim,), settings, rounds=3)

    benchmark.extra_info["bpsp"] = 8 * len(data) / kodim.size


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.benchmark(group="decode 768x512")
def test_decode(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str, threads: int
) -> None:
    if device == "cuda" and threads > 1:
        pytest.skip("CPU threads are for the CPU")
    settings = {"model": model, "device": device, "threads": threads}
    data = api.encode(kodim, **settings)
    api.decode(api.encode(np.ascontiguousarray(kodim[:64, :64]), **settings), **settings)

    samples = benchmark.pedantic(api.decode, (data,), settings, rounds=3)

    assert np.array_equal(samples, kodim)


@pytest.mark.slow
def test_12_megapixels_take_bounded_memory(
    large: Samples, model: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, data, restored = (str(tmp_path / name) for name in ("a.npy", "a.pxc", "b.npy"))
    np.save(image, large)

    encoding = coded_elsewhere(model, "encode", image, data, device)
    decoding = coded_elsewhere(model, "decode", data, restored, device)

    size = Path(data).stat().st_size
    with capsys.disabled():
        print(f"\n12 megapixels, {Path(model).stem}, {device}: {8 * size / large.size:.3f} bpsp")
        for name, took in (("encode", encoding), ("decode", decoding)):
            print(f"  {name}  {took['seconds']:.1f} s, peak {took['peak_mb']:.0f} MB", end="")
            print(f" beyond the {took['before_mb']:.0f} MB of a process that has coded")
    assert np.array_equal(np.load(restored), large)
    assert encoding["peak_mb"] <= MOST_MEGABYTES
    assert decoding["peak_mb"] <= MOST_MEGABYTES


def coded_elsewhere(*arguments: str) -> dict[str, float]:
    """Seconds and megabytes of a process of its own."""
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(output)
    return found


# Parts of the work -------------------------------------------------------------------------------

WAVE_PIXELS = 220
"""Pixels of a wave, on average over an image of 768 x 512: 393,216 pixels in 1,790 waves."""


@dataclass
class Wave:
    """A typical wave, with all that the stages of its decoding give to each other.

    The photograph is cut to as many rows as the wave has pixels, so that the waves in its middle
    meet every row.
    """

    engine: Engine
    canvas: Canvas
    samples: Samples
    context: Context
    seen: Tensor
    parameters: list[npt.NDArray[Any]]
    residuals: npt.NDArray[np.int16]
    payload: bytes

    @classmethod
    def of(cls, kodim: Samples, model: str, device: str) -> "Wave":
        engine = api.make_engine(zoo.load(model), device=device)
        program = engine.program
        rows, width = WAVE_PIXELS, kodim.shape[1]
        canvas = Canvas(program.samples, program.planes, rows, width, program.slope, engine.device)
        middle = (width + program.slope * rows) // 2
        for wave in waves(rows, width, program.slope):
            y = np.arange(wave.first, wave.end)
            samples = kodim[y, wave.time - program.slope * y]
            canvas.select(wave)
            if wave.time == middle:
                break
            canvas.put_samples(samples)
        assert len(samples) == WAVE_PIXELS
        context = centred_context(*canvas.samples_in_hand(), program.companding)
        residuals = samples.astype(np.int16) - context.centre
        seen = program.trunk(torch.from_numpy(context.features).to(engine.device), canvas)
        parameters, strip = [], coder.StripEncoder()
        for channel in range(3):
            parameters.append(program.parameters(seen, channel).cpu().numpy())
            mixture = program.mixture(parameters[channel], channel, context.centre, residuals)
            choices = coder.describe(mixture, samples[:, channel])
            strip.encode(choices.transpose(1, 0, 2).reshape(-1, 3))
            if channel < 2:
                program.show(seen, channel, residuals[:, channel])
        payload = strip.finish()
        return cls(engine, canvas, samples, context, seen, parameters, residuals, payload)

    def look(self) -> Context:
        """Gather and centre the context."""
        return centred_context(*self.canvas.samples_in_hand(), self.engine.program.companding)

    def trunk(self) -> Tensor:
        """Run the trunk."""
        features = torch.from_numpy(self.context.features).to(self.engine.device)
        return _finished(self.engine.program.trunk(features, self.canvas))

    def heads(self) -> None:
        """Run the three heads."""
        program = self.engine.program
        for channel in range(3):
            program.parameters(self.seen, channel).cpu().numpy()
            if channel < 2:
                program.show(self.seen, channel, self.residuals[:, channel])

    def decode(self, strip: coder.StripDecoder) -> Samples:
        """Make the tables and decode the samples."""
        program, centre = self.engine.program, self.context.centre
        samples = np.empty_like(self.samples)
        for channel in range(3):
            mixture = program.mixture(self.parameters[channel], channel, centre, self.residuals)
            samples[:, channel] = strip.decode(mixture, WAVE_PIXELS)
        return samples


def _finished(tensor: Tensor) -> Tensor:
    """Wait for what was started on a GPU."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return tensor


@pytest.fixture(scope="session")
def wave(kodim: Samples, model: str, device: str) -> Wave:
    return Wave.of(kodim, model, device)


@pytest.fixture
def one_thread() -> Iterable[None]:
    """Run as decoding does by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.benchmark(group=f"a wave of {WAVE_PIXELS} pixels")
class TestWave:
    """The stages of decoding one; ``python bench/profile_wave.py`` has them of a whole image."""

    def test_context(self, benchmark: BenchmarkFixture, wave: Wave) -> None:
        context = benchmark(wave.look)

        assert np.array_equal(context.features, wave.context.features)

    def test_trunk(self, benchmark: BenchmarkFixture, wave: Wave) -> None:
        benchmark(wave.trunk)

    def test_heads(self, benchmark: BenchmarkFixture, wave: Wave) -> None:
        benchmark(wave.heads)

    def test_tables_and_coder(self, benchmark: BenchmarkFixture, wave: Wave) -> None:
        samples = benchmark.pedantic(
            wave.decode, setup=lambda: ((coder.StripDecoder(wave.payload),), {}), rounds=500
        )

        assert np.array_equal(samples, wave.samples)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.benchmark(group=f"a band of about {BAND_PIXELS} pixels")
def test_encoding_a_band(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str
) -> None:
    width = kodim.shape[1]
    engine = api.make_engine(zoo.load(model), device=device)
    encoder = StripEncoder(engine, width, 3)
    band = kodim[: BAND_PIXELS // width]

    benchmark(encoder.encode, band, lambda pixels: None)
