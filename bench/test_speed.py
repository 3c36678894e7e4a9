"""How long coding takes: whole images, and each kind of work that one wave of decoding is made of.

``make bench`` runs what takes minutes, ``make bench-large`` what is marked ``slow``. Each model
has coded something before the clock starts: loading it and compiling are not counted.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pixelcodec import api
from pixelcodec.effort import STATIC
from pixelcodec.engine import BAND_PIXELS, StripEncoder
from pixelcodec.models import zoo
from pixelcodec.runtime import make_engine

Samples = npt.NDArray[np.uint8]

MOST_MEGABYTES = 600
"""Memory that coding 12 megapixels may take, beyond what importing and loading take."""


# Whole images ------------------------------------------------------------------------------------


def settings_of(model: str, device: str, threads: int) -> dict[str, Any]:
    """How to code."""
    if device == "cuda" and threads > 1:
        pytest.skip("a GPU is timed once: its work does not depend on threads of the CPU")
    return {"model": model, "device": device, "threads": threads}


def warm_up(kodim: Samples, settings: dict[str, Any]) -> None:
    """Have all loops compiled."""
    api.decode(api.encode(np.ascontiguousarray(kodim[:64, :64]), **settings), **settings)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.benchmark(group="encode 768x512")
def test_encode(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str, threads: int
) -> None:
    settings = settings_of(model, device, threads)
    warm_up(kodim, settings)

    data = benchmark.pedantic(api.encode, (kodim,), {**settings, "effort": STATIC}, rounds=3)

    benchmark.extra_info["bpsp"] = 8 * len(data) / kodim.size


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.benchmark(group="decode 768x512")
def test_decode(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str, threads: int
) -> None:
    settings = settings_of(model, device, threads)
    data = api.encode(kodim, effort=STATIC, **settings)
    warm_up(kodim, settings)

    samples = benchmark.pedantic(api.decode, (data,), settings, rounds=3)

    assert np.array_equal(samples, kodim)


@pytest.mark.slow
def test_12_megapixels_take_bounded_memory(
    large: Samples, model: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, data, restored = (str(tmp_path / name) for name in ("a.npy", "a.pxc", "b.npy"))
    np.save(image, large[:8, :8])
    coded_elsewhere(model, "encode", image, data, device)  # compiles
    coded_elsewhere(model, "decode", data, restored, device)
    np.save(image, large)

    encoding = coded_elsewhere(model, "encode", image, data, device)
    decoding = coded_elsewhere(model, "decode", data, restored, device)

    size = Path(data).stat().st_size
    with capsys.disabled():
        print(f"\n12 megapixels, {Path(model).stem}, {device}: {8 * size / large.size:.3f} bpsp")
        for name, took in (("encode", encoding), ("decode", decoding)):
            print(f"  {name}  {took['seconds']:.1f} s, peak {took['peak_mb']:.0f} MB", end="")
            print(f" beyond the {took['before_mb']:.0f} MB of the libraries")
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


@pytest.fixture
def one_thread() -> Iterable[None]:
    """Run as coding does by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.benchmark(group=f"a band of about {BAND_PIXELS} pixels")
def test_encoding_a_band(
    benchmark: BenchmarkFixture, kodim: Samples, model: str, device: str
) -> None:
    width = kodim.shape[1]
    engine = make_engine(zoo.load(model), device=device)
    encoder = StripEncoder(engine, width, 3)
    band = kodim[: BAND_PIXELS // width]

    benchmark(encoder.encode, band, lambda pixels: None)
