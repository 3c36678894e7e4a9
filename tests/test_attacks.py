"""Files made to harm, each known by name: they end in an error soon, and cost next to no memory.

All their checksums are right, where they have any. tests/robustness/ tries others by the thousand.
"""

import io
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelcodec
from golden.make import FOLDER, model_named
from pixelcodec import FormatError, Picture, UnsupportedImageError
from pixelcodec.container import Header, Reader, Writer
from pixelcodec.engine import Engine
from pixelcodec.limits import LEARNING_BYTES, canvas_bytes, strip_bytes
from pixelcodec.models.learning import LearningLayer
from pixelcodec.models.zoo import load_file
from pixelcodec.pictures import Chunk
from pixelcodec.runtime import Compute, engines_of
from pixelcodec.schedule import Canvas
from robustness.mutations import chunk, mended, sealed, split

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is limited on Linux alone"
)

TINY = model_named("tiny")
NETWORK = load_file(Path(TINY))
STANDARD = bytes(8)
ROOM = 2**28
"""Bytes of address space that an attack may take, beyond what is in use."""


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    pixelcodec.decode((FOLDER / "rgb.pxc").read_bytes(), model=TINY)  # all is loaded and compiled
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def highest_memory() -> int:
    """Bytes that this process held at most, since :func:`lower_the_mark`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def lower_the_mark() -> None:
    """Let the mark of :func:`highest_memory` be what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def crafted(*payloads: bytes, model_id: bytes = NETWORK.model_id, **fields: Any) -> bytes:
    """A file of these strips, whatever they hold."""
    stream = io.BytesIO()
    like = {"width": 4, "height": 4, "channels": 3, "bit_depth": 8, "strip_rows": 4}
    said = Header(**{**like, **fields}, model_id=model_id)
    writer = Writer(stream, said)
    for payload in payloads:
        writer.strip(payload)
    if len(payloads) == said.strips:
        writer.close(0)
    return stream.getvalue()


HEAD = split(crafted(b"word"))[0]
WITH_METADATA = mended(HEAD[:11] + b"\4" + HEAD[12:])


def assert_refused(data: bytes, message: str, **how: Any) -> None:
    for act in (pixelcodec.decode, pixelcodec.salvage):
        with pytest.raises(FormatError, match=message):
            act(data, model=TINY, device="cpu", **how)


# Sizes that are claimed --------------------------------------------------------------------------


def test_two_gibibytes_in_60_bytes() -> None:
    data = crafted(b"", width=2**15, height=21845, strip_rows=21845)
    assert len(data) < 60
    assert 2**31 - 2**17 < 2**15 * 21845 * 3 <= 2**31
    assert_refused(data, "claims 715,816,960 pixels", max_pixels=2**28)
    assert_refused(data, "bytes of memory, the limit is 4,294,967,296", max_pixels=2**30)


def test_activations_a_thousand_times_as_large_as_the_samples() -> None:
    """A column of pixels: few of them, but a network holds a wave's neighbourhood of each row."""
    data = crafted(bytes(60), width=1, height=65535, strip_rows=65535)
    engines = engines_of(Reader(io.BytesIO(data)).start, TINY, Compute("cpu"))
    assert strip_bytes(Reader(io.BytesIO(data)).header, engines) > 1000 * 65535 * 3
    assert_refused(data, "65,535 pixels in strips of 65,535 rows", max_bytes=2**27)


@pytest.mark.parametrize("max_pixels", [2**28, 2**60])
def test_more_pixels_than_32_and_64_bits_count(max_pixels: int) -> None:
    largest = {"width": 2**18, "height": 2**31 - 1, "channels": 4, "bit_depth": 16}
    data = crafted(b"", **largest, strip_rows=65535, model_id=STANDARD)
    assert 2**18 * (2**31 - 1) * 8 > 2**51
    with pytest.raises(FormatError, match="claims"):
        pixelcodec.decode(data, max_pixels=max_pixels)


@pytest.mark.parametrize(
    ("offset", "size"),
    [(9, 1), (10, 1), (12, 4), (16, 4), (20, 2)],
    ids=["channels", "bits", "width", "height", "rows of a strip"],
)
def test_sizes_of_zero(offset: int, size: int) -> None:
    head = mended(HEAD[:offset] + bytes(size) + HEAD[offset + size :])
    data = head + b"".join(split(crafted(b"word"))[1:])
    assert_refused(data, "the header at byte 8 says .* 0, allowed")


def test_two_thousand_million_strips() -> None:
    data = crafted(b"", b"", b"", width=1, height=2**31 - 1, strip_rows=1)
    assert_refused(data, "claims 2,147,483,647 pixels")
    with pytest.raises(FormatError, match="strip 1 of 2147483647"):
        pixelcodec.decode(data, model=TINY, max_pixels=2**31, max_bytes=2**40)


def test_tiles_of_one_pixel_by_the_hundred_million() -> None:
    side = {"width": 2**13, "height": 2**13, "strip_rows": 2**13, "tile": 1}
    assert_refused(crafted(bytes(2**14), **side), "bytes of memory", max_bytes=ROOM)


# Lengths and counts that are claimed -------------------------------------------------------------


@pytest.mark.parametrize("tag", [b"S", b"P", b"M", b"Z", b"A", b"E", b"x", b"X"])
@pytest.mark.parametrize("length", [2**31, 2**32 - 1])
def test_a_chunk_of_four_gibibytes(tag: bytes, length: int) -> None:
    lie = chunk(tag, b"few bytes", length)
    for head in (HEAD, WITH_METADATA, mended(HEAD[:11] + b"\10" + HEAD[12:])):
        with pytest.raises(FormatError, match=r"at byte (36|54)"):
            pixelcodec.decode(head + lie, model=TINY)


EMPTY = chunk(b"x", b"")


def test_chunks_without_end() -> None:
    """As many empty chunks as a 32-bit count holds could come: none of them is kept."""
    data = sealed(HEAD + 20_000 * EMPTY)
    lower_the_mark()
    before = highest_memory()
    with pytest.raises(FormatError, match=f"truncated at byte {len(data)}"):
        pixelcodec.decode_from(io.BytesIO(data), model=TINY)
    assert highest_memory() - before < 2**24


def test_more_parts_than_a_strip_has() -> None:
    assert_refused_by_decoding(sealed(HEAD + 1000 * chunk(b"P", b"")), "1 or more parts")


def assert_refused_by_decoding(data: bytes, message: str, **how: Any) -> None:
    with pytest.raises(FormatError, match=message):
        pixelcodec.decode(data, **{"model": TINY, **how})


# Bombs -------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """A zlib stream of that many zeros, a thousandth as long."""
    deflater = zlib.compressobj(9, wbits=-15)
    block = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack(">I", size % 65521 << 16 | 1)
    return b"\x78\xda" + block * (size // 2**20) + deflater.flush() + adler


def test_bombs_are_what_they_seem() -> None:
    assert zlib.decompress(bomb(2**22)) == bytes(2**22)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice deflated"])
def test_metadata_that_unfold_to_a_gibibyte(times: int) -> None:
    payload = bomb(2**30)
    for _ in range(times - 1):
        payload = zlib.compress(payload)
    data = sealed(WITH_METADATA + chunk(b"Z", payload))
    message = "the metadata does not end where it should" if times == 1 else "metadata .* claim"
    assert_refused_by_decoding(data, message)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_text_and_profiles_that_unfold_to_a_gibibyte_stay_folded(kind: bytes) -> None:
    head = b"Title\0\1\0\0\0" if kind == b"iTXt" else b"Title\0\0"
    packed = Chunk(kind, head + bomb(2**30))
    data = pixelcodec.encode(Picture(np.zeros((2, 2, 1), np.uint8), 8, (packed,)), model="standard")
    assert pixelcodec.decode_picture(data).chunks == (packed,)
    with pytest.raises(UnsupportedImageError, match="too large"):
        pixelcodec.decode_image(data)  # it is Pillow that unfolds them


GRAY: dict[str, Any] = {"channels": 1, "model_id": STANDARD}


def test_a_strip_whose_png_unfolds_to_a_thousand_times_its_size() -> None:
    strip = bomb(2**28)
    assert len(strip) < 300 * 300 * 16
    data = crafted(strip, width=300, height=300, strip_rows=300, **GRAY)
    assert_refused_by_decoding(data, "strip 1 of 1: .*PNG.* other rows", model=None)


def test_a_strip_whose_webp_says_another_size() -> None:
    pixels = Picture(np.zeros((1, 1, 3), np.uint8), 8)
    webp = io.BytesIO()
    pixelcodec.pictures.write_picture(pixels, webp, ".webp")
    data = bytearray(webp.getvalue()[20:])
    assert data[0] == 0x2F
    data[1:5] = (0x0FFFFFFF).to_bytes(4, "little")  # 16384 x 16384
    strip = crafted(bytes(data), model_id=STANDARD)
    assert_refused_by_decoding(strip, "strip 1 of 1: .*WebP", model=None)


def test_changes_of_the_model_that_overflow() -> None:
    parts = sum(1 for layer in NETWORK.layers for _ in ("bias", "weight"))
    changes = b"\x10\xc7\xff" * parts + bytes(2**16)
    head = mended(HEAD[:11] + b"\10" + HEAD[12:])
    assert_refused_by_decoding(sealed(head + chunk(b"A", changes)), "changes of the model:")


# The estimate of memory --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("tiny", "gray-8", "gray-16", "graphics"),
        *("pixelcnn-rgb", "row-lstm-rgb", "diagonal-bilstm-rgb"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 400, 3), (1, 3, 400), (5, 20, 20)])
def test_what_a_canvas_stores_is_less_than_the_estimate(
    name: str, shape: tuple[int, int, int]
) -> None:
    program = Engine(load_file(Path(model_named(name))), "int64").program
    images, rows, width = shape
    band, columns = (rows, 32) if program.slope else (1, None)
    device = Engine(NETWORK).device
    canvas = Canvas(program.planes, images, band, width, program.slope, device, columns)
    stored = sum(storage.nbytes for storage in canvas._storage.values())
    assert stored <= canvas_bytes(program, images, rows, width) <= 2**20 + 60 * stored


@pytest.mark.parametrize("name", ["tiny", "gray-16", "graphics"])
def test_what_layers_that_learn_store_is_less_than_the_estimate(name: str) -> None:
    for layer in load_file(Path(model_named(name))).layers.values():
        inputs, outputs = layer.weight.shape
        learning = LearningLayer(layer, Engine(NETWORK).arithmetic, np.arange(inputs), inputs)
        stored = sum(getattr(each, "nbytes", 0) for each in vars(learning).values())
        assert 50 * inputs * outputs <= stored <= LEARNING_BYTES * (inputs + 1) * outputs


@pytest.mark.parametrize(
    ("name", "learning"),
    [("graphics", 0), ("graphics", 2), ("gray-16", 15), ("tiny", 11), ("tiny", 0)],
)
def test_what_decoding_takes_is_less_than_the_estimate(name: str, learning: int) -> None:
    """Strips of noise, each of which starts anew: a program of its own, or two, and all it uses."""
    path = Path(model_named(name))
    network = load_file(path)
    kind = {"channels": 1, "bit_depth": 16} if name == "gray-16" else {}
    size = {"width": 60, "height": 48, "strip_rows": 24, "restart": True, "learning": learning}
    noise = np.random.default_rng(1).bytes(2000)
    data = crafted(noise, noise, model_id=network.model_id, **size, **kind)
    reader = Reader(io.BytesIO(data))
    needed = strip_bytes(reader.header, engines_of(reader.start, str(path), Compute("cpu")))

    def decode() -> None:
        with pytest.raises(FormatError):
            pixelcodec.decode(data, model=str(path), device="cpu", max_bytes=needed)

    lower_the_mark()
    before = highest_memory()
    decode()
    assert highest_memory() - before <= needed


def test_small_limits_keep_models_out_that_remember() -> None:
    """Eight tables of 2**16 contexts, for one pixel."""
    graphics = load_file(Path(model_named("graphics")))
    data = crafted(b"word", width=1, height=1, strip_rows=1, model_id=graphics.model_id)
    with pytest.raises(FormatError, match=r"1 x 1 pixels .* bytes of memory"):
        pixelcodec.decode(data, model=model_named("graphics"), max_bytes=2**24)


@pytest.mark.parametrize("decode", [pixelcodec.decode, pixelcodec.salvage])
def test_the_caller_limits_the_bytes(decode: Callable[..., Any]) -> None:
    data = (FOLDER / "rgb-strips.pxc").read_bytes()
    header = Reader(io.BytesIO(data)).header
    needed = strip_bytes(header, engines_of(Reader(io.BytesIO(data)).start, TINY, Compute("cpu")))
    decode(data, model=TINY, device="cpu", max_bytes=needed)
    with pytest.raises(FormatError, match=f"up to {needed:,} bytes .* limit is {needed - 1:,}"):
        decode(data, model=TINY, device="cpu", max_bytes=needed - 1)


def test_the_limit_is_about_rows_that_are_held() -> None:
    """A stream holds a strip, an image all of them."""
    data = pixelcodec.encode(np.zeros((60, 200, 3), np.uint8), model="standard", strip_rows=2)
    limit = 2**15
    with pixelcodec.stream_reader(io.BytesIO(data), max_bytes=limit) as reader:
        assert sum(map(len, reader)) == 60
    assert pixelcodec.decode(data, region=(0, 30, 9, 9), max_bytes=limit).shape == (9, 9, 3)
    with pytest.raises(FormatError, match="the limit is 32,768"):
        pixelcodec.decode(data, max_bytes=limit)
