"""Streams written once decode for ever to the same samples, and are written again byte for byte.

A failure here means that files in the world no longer decode: the code is to be mended, never the
files. See ``golden/make.py``.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reference_decoder as reference
from coding import Samples, decode, encode
from golden.make import FOLDER, MODEL, STREAMS
from pixelcodec.engine import Engine
from pixelcodec.errors import BackendError
from pixelcodec.models.zoo import load_file

FORMAT_PAGE = Path(__file__).parents[1] / "docs" / "FORMAT.md"
MODEL_ID = "30f5ec9849dcbe6b"

CUDA = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PLACES = [
    pytest.param("int8", "cpu"),
    pytest.param("float32", "cpu"),
    pytest.param("int64", "cpu"),
    pytest.param("int8", "cuda", marks=CUDA),
    pytest.param("float32", "cuda", marks=CUDA),
]


def picture(stream: str) -> Samples:
    """The image that ``stream`` holds."""
    return np.asarray(Image.open(FOLDER / f"{STREAMS[stream][0]}.png"))


def data(stream: str) -> bytes:
    return (FOLDER / f"{stream}.pxc").read_bytes()


def engine_at(backend: str, device: str) -> Engine:
    """The network, made ready; where the back end is not exact there is nothing to test."""
    try:
        return Engine(load_file(MODEL), backend, device)
    except BackendError as error:
        pytest.skip(str(error))


def test_the_model_is_the_one_that_wrote_the_streams() -> None:
    assert load_file(MODEL).model_id.hex() == MODEL_ID
    assert reference.Network(MODEL.read_bytes()).sha256[:8].hex() == MODEL_ID


def test_every_stream_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.pxc")} == set(STREAMS)


@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize("stream", STREAMS)
def test_decodes_to_the_same_samples(stream: str, backend: str, device: str) -> None:
    decoded = decode(data(stream), engine_at(backend, device))
    np.testing.assert_array_equal(decoded, picture(stream))


@pytest.mark.parametrize(("backend", "device"), PLACES)
@pytest.mark.parametrize("stream", STREAMS)
def test_is_written_again_byte_for_byte(stream: str, backend: str, device: str) -> None:
    _, strip_rows, restart = STREAMS[stream]
    engine = engine_at(backend, device)
    written = encode(picture(stream), load_file(MODEL), engine, strip_rows, restart)
    assert written == data(stream)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_reference_decodes_the_same(stream: str) -> None:
    np.testing.assert_array_equal(reference.decode(data(stream), MODEL), picture(stream))


def worked_example() -> str:
    """What the reference decoder meets on its way through dot.pxc, as docs/FORMAT.md shows it."""
    header, (payload,), _ = reference.read_stream(data("dot"))
    strip = reference.Strip(header, reference.Network(MODEL.read_bytes()))
    strip.rows = strip.seen_rows = range(1)
    layer = strip.network.layer
    coder = reference.RangeDecoder(payload)
    pixel = strip.trunk(0, 0)
    lines = [
        line("payload", payload.hex(" ").split()),
        line("point", [f"{coder.point:#018x}"]),
        line("centre", pixel.centre),
        line("seen", pixel.seen.tolist()),
    ]
    for c in range(3):
        hidden = reference.relu(layer(f"head.{c}")(pixel.seen))
        found = strip.distribution(pixel, c)
        lines += [
            "",
            line(f"channel {c}", []),
            line("parameters", layer(f"parameters.{c}")(hidden).tolist()),
            line("weight", found.weights),
            line("mean", found.means),
            line("scale", found.scales),
        ]
        first = choice(strip, coder, found, range(0, 257, 16), lines)
        edges = range(16 * first, 16 * first + 17)
        sample = 16 * first + choice(strip, coder, found, edges, lines)
        lines.append(line("sample", [sample]))
        strip.decoded(pixel, c, sample)
    return "\n".join(lines)


def choice(
    strip: reference.Strip,
    coder: reference.RangeDecoder,
    found: reference.Distribution,
    edges: range,
    lines: list[str],
) -> int:
    """Decode a choice, and tell it in ``lines``."""
    q = (coder.point - coder.lower) % 2**64 // (coder.range >> 24)
    branch = strip.choice(coder, found, edges)
    lines += [
        line("M", [found.mass(e) for e in edges]),
        line("f", found.frequencies(edges)[1:-1]),
        line("q", [f"{q}, branch {branch}"]),
    ]
    return branch


def line(name: str, values: Iterable[object]) -> str:
    """One line of the worked example, or a few where it is long."""
    text = f"{name:12}{' '.join(map(str, values))}"
    return textwrap.fill(text, 96, subsequent_indent=" " * 12, drop_whitespace=True).rstrip()


def test_the_worked_example_of_the_format_page() -> None:
    assert f"\n```\n{worked_example()}\n```\n" in FORMAT_PAGE.read_text(encoding="utf-8")
