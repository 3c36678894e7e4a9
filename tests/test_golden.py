"""Streams written once decode for ever to the same samples, and are written again byte for byte.

(Not those of pictures, of which other libraries write a part.) A failure here means that files in
the world no longer decode: the code is to be mended, never the files. See ``golden/make.py``.
"""

import struct
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pixelcodec
import reference_decoder as reference
from coding import Samples, decode, encode
from golden.make import FOLDER, MODELS, PICTURES, SHIPPED, STREAMS, model_named, network_of
from pixelcodec.adaptation import adapted
from pixelcodec.engine import Engine
from pixelcodec.models import zoo
from pixelcodec.models.zoo import load_file
from pixelcodec.pictures import read_picture
from places import PLACES

FORMAT_PAGE = Path(__file__).parents[1] / "docs" / "FORMAT.md"
MODEL_IDS = {
    "tiny": "30f5ec9849dcbe6b",
    "gray-16": "946f403e0e11ae9f",
    "gray-8": "8b9dd4cc2b0db220",
    "graphics": "93aa0f3232153b1b",
    "pixelcnn-rgb": "f5971ad9d892cbd6",
    "pixelcnn-bilevel": "e0835b4489ee2d13",
    "row-lstm-rgb": "b55e6ce5b33fcd7b",
    "row-lstm-bilevel": "e5a356e9988d6f43",
    "diagonal-bilstm-rgb": "73eb285acf1cf066",
    "diagonal-bilstm-bilevel": "f045f0a1d318ecd6",
    "multi-scale-rgb": "d8f21c0d51ecf8f3",
    "multi-scale-bilevel": "eca65f21b389807d",
}

EACH_PLACE = pytest.mark.parametrize(("backend", "device"), PLACES)


def model_file(name: str) -> Path:
    return FOLDER / f"{name}.safetensors"


def picture(stream: str) -> Samples:
    """The image that ``stream`` holds."""
    return read_picture(FOLDER / f"{STREAMS[stream].image}.png").to_array()


def data(stream: str) -> bytes:
    return (FOLDER / f"{stream}.pxc").read_bytes()


@cache
def engine(stream: str, backend: str, device: str) -> Engine:
    network, changes = network_of(STREAMS[stream])
    return Engine(adapted(network, changes) if changes else network, backend, device)


@pytest.mark.parametrize("model", MODELS)
def test_the_models_are_those_that_wrote_the_streams(model: str) -> None:
    assert load_file(model_file(model)).model_id.hex() == MODEL_IDS[model]
    assert reference.Network(model_file(model).read_bytes()).sha256[:8].hex() == MODEL_IDS[model]


def test_every_file_is_listed() -> None:
    streams = {**STREAMS, **PICTURES}
    shipped = {f"shipped-{model}" for model in SHIPPED}
    assert {path.stem for path in FOLDER.glob("*.pxc")} == {*streams, *shipped}
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(MODELS)
    pictures = {path.stem for path in FOLDER.glob("*.png")}
    assert pictures == {stream.image for stream in streams.values()}


@EACH_PLACE
@pytest.mark.parametrize("stream", STREAMS)
def test_decodes_to_the_same_samples(stream: str, backend: str, device: str) -> None:
    decoded = decode(data(stream), engine(stream, backend, device))
    np.testing.assert_array_equal(decoded, picture(stream))


@EACH_PLACE
@pytest.mark.parametrize("stream", STREAMS)
def test_is_written_again_byte_for_byte(stream: str, backend: str, device: str) -> None:
    how = STREAMS[stream]
    network, changes = network_of(how)
    ready = engine(stream, backend, device)
    written = encode(picture(stream), network, ready, *how.cut, changes, how.learning)
    assert written == data(stream)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_public_function_decodes_the_same(stream: str) -> None:
    decoded = pixelcodec.decode(data(stream), model=str(model_file(STREAMS[stream].model)))
    np.testing.assert_array_equal(decoded, picture(stream), strict=True)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_reference_decodes_the_same(stream: str) -> None:
    decoded = reference.decode(data(stream), model_file(STREAMS[stream].model))
    np.testing.assert_array_equal(decoded, picture(stream))


# Models that shipped ------------------------------------------------------------------------------


def test_each_model_that_shipped_has_a_stream() -> None:
    assert set(SHIPPED) == set(zoo.names())


@EACH_PLACE
@pytest.mark.parametrize("model", SHIPPED)
def test_models_that_shipped_decode_what_they_wrote(model: str, backend: str, device: str) -> None:
    written = data(f"shipped-{model}")
    decoded = pixelcodec.decode_picture(written, backend=backend, device=device)
    assert decoded == read_picture(FOLDER / f"{SHIPPED[model]}.png")


@pytest.mark.parametrize("model", SHIPPED)
def test_and_write_it_again(model: str) -> None:
    picture = read_picture(FOLDER / f"{SHIPPED[model]}.png")
    assert pixelcodec.encode(picture, model=model) == data(f"shipped-{model}")


@pytest.mark.parametrize("model", SHIPPED)
def test_the_reference_decodes_what_models_that_shipped_wrote(model: str) -> None:
    samples = read_picture(FOLDER / f"{SHIPPED[model]}.png").samples
    decoded = reference.decode(data(f"shipped-{model}"), zoo_file(model))
    np.testing.assert_array_equal(decoded.reshape(samples.shape), samples, strict=True)


def zoo_file(model: str) -> Path:
    return Path(zoo.__file__).parent / f"{model}.safetensors"


# Images of other kinds, with metadata -------------------------------------------------------------


def source_of(name: str) -> Path:
    """The PNG that the stream ``name`` holds."""
    return FOLDER / f"{PICTURES[name].image}.png"


def chunks_of_png(path: Path) -> list[reference.MetadataChunk]:
    """All chunks of a PNG but those that make its pixels, as metadata have them."""
    data, place, after = path.read_bytes(), 8, False
    found = []
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind not in (b"IHDR", b"IDAT", b"IEND"):
            body = data[place + 8 : place + 8 + length]
            found.append(reference.MetadataChunk(kind, body, after))
        after |= kind == b"IDAT"
        place += 12 + length
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_come_back(name: str) -> None:
    model = PICTURES[name].model
    decoded = pixelcodec.decode_picture(
        data(name), model=model_named(model) if model in MODELS else None
    )
    assert decoded == read_picture(source_of(name))


@pytest.mark.parametrize("name", PICTURES)
def test_the_reference_restores_pictures(name: str) -> None:
    networks = [*FOLDER.glob("*.safetensors"), zoo_file("photo-s")]
    samples = read_picture(source_of(name)).samples
    decoded = reference.decode(data(name), *networks)
    np.testing.assert_array_equal(decoded.reshape(samples.shape), samples, strict=True)
    assert reference.read_stream(data(name)).metadata == chunks_of_png(source_of(name))


def test_pictures_have_all_that_the_format_has() -> None:
    streams = [reference.read_stream(data(name)) for name in PICTURES]
    headers = [stream.header for stream in streams]
    payloads = [part for stream in streams for strip in stream.strips for part in strip]
    chunks = [chunk for stream in streams for chunk in stream.metadata]
    tags = {
        tag
        for name, header in zip(PICTURES, headers, strict=True)
        for tag, _ in reference.read_chunks(data(name), header)
    }
    assert tags == {b"M", b"Z", b"L", b"P", b"S", b"E"}
    assert {header.colour for header in headers} == {1, 2, 3, 4}
    assert {header.bit_depth for header in headers} == {1, 2, 4, 8, 16}
    assert {payload[:1] for payload in payloads} > {b"\x2f", b"\x78"}  # WebP and PNG
    assert {chunk.type for chunk in chunks} > {b"PLTE", b"tRNS", b"tEXt"}
    assert {chunk.after for chunk in chunks} == {False, True}


# The worked examples of docs/FORMAT.md -----------------------------------------------------------


def begun(stream: str) -> tuple[reference.Architecture, bytes]:
    """The reference decoder's network at the start of ``stream``, and the words of its strip."""
    header, *_, ((payload,),), _ = reference.read_stream(data(stream))
    network = reference.Network(model_file(STREAMS[stream].model).read_bytes())
    return reference.Decoder(header, network).scales[0].whole, payload


def example_of_wavefront_pixelcnn() -> str:
    """What the reference decoder meets on its way through dot.pxc."""
    image, payload = begun("dot")
    assert isinstance(image, reference.WavefrontPixelCNN)
    coder = reference.RangeDecoder(payload)
    pixel = image.look(0, 0)
    lines = [
        *start(payload, coder),
        line("centre", pixel.centre),
        line("seen", pixel.seen.tolist()),
    ]
    for c in range(3):
        found = image.distribution(pixel, c)
        lines += [
            "",
            line(f"channel {c}", []),
            line("parameters", image.parameters(pixel, c)),
            line("weight", found.weights),
            line("mean", found.means),
            line("scale", found.scales),
        ]
        first = choice(coder, found, range(0, 257, 16), lines)
        sample = 16 * first + choice(coder, found, range(16 * first, 16 * first + 17), lines)
        lines.append(line("sample", [sample]))
        pixel.samples.append(sample)
        image.decoded(pixel, c)
    return "\n".join(lines)


def example_of_pixelcnn(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the reference decoder meets on its way through pixelcnn-dots.pxc."""
    image, payload = begun("pixelcnn-dots")
    coder = reference.RangeDecoder(payload)
    lines = start(payload, coder)
    tell_of_layers(lines, monkeypatch)
    for x in range(2):
        lines += ["", line(f"x = {x}", [])]
        pixel = image.look(x, 0)
        found = image.distribution(pixel, 0)
        pixel.samples.append(choice(coder, found, range(17), lines))
        image.decoded(pixel, 0)
    return "\n".join(lines)


def example_of_lstm(stream: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the reference decoder meets on its way through the square of an LSTM."""
    lines: list[str] = []
    tell_of_layers(lines, monkeypatch)
    tell_of_pixels(lines, monkeypatch)
    reference.decode(data(stream), model_file(STREAMS[stream].model))
    return "\n".join(lines).lstrip()


def tell_of_pixels(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts of a strip tell in ``lines`` how they begin, and pixels their place and samples."""
    begin, look = reference.RangeDecoder.__init__, reference.PaperNetwork.look
    decoded = reference.PaperNetwork.decoded

    def spy_on_parts(self: reference.RangeDecoder, payload: bytes) -> None:
        begin(self, payload)
        lines.extend(["", *start(payload, self)])

    def spy_on_pixels(self: reference.PaperNetwork, x: int, y: int) -> reference.Pixel:
        lines.extend(["", line(f"x = {x}, y = {y}", [])])
        return look(self, x, y)

    def spy_on_samples(self: reference.PaperNetwork, pixel: reference.Pixel, c: int) -> None:
        lines.append(line("sample", pixel.samples))
        decoded(self, pixel, c)

    monkeypatch.setattr(reference.RangeDecoder, "__init__", spy_on_parts)
    monkeypatch.setattr(reference.PaperNetwork, "look", spy_on_pixels)
    monkeypatch.setattr(reference.PaperNetwork, "decoded", spy_on_samples)


def tell_of_layers(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers and LSTM cells tell in ``lines`` what they give."""
    run, step = reference.Layer.__call__, reference.Cells.__call__

    def spy_on_layer(self: reference.Layer, a: reference.Vector) -> reference.Vector:
        out = run(self, a)
        lines.append(line(self.name, out.tolist()))
        return out

    def spy_on_cells(
        self: reference.Cells, gates: reference.Vector, before: reference.Vector
    ) -> tuple[reference.Vector, reference.Vector]:
        values, states = step(self, gates, before)
        lines.extend([line("cell values", values.tolist()), line("states", states.tolist())])
        return values, states

    monkeypatch.setattr(reference.Layer, "__call__", spy_on_layer)
    monkeypatch.setattr(reference.Cells, "__call__", spy_on_cells)


def start(payload: bytes, coder: reference.RangeDecoder) -> list[str]:
    """Tell how decoding of a strip begins."""
    return [line("payload", payload.hex(" ").split()), line("point", [f"{coder.point:#018x}"])]


def choice(
    coder: reference.RangeDecoder, found: reference.Distribution, edges: range, lines: list[str]
) -> int:
    """Decode a choice, and tell it in ``lines``."""
    q = (coder.point - coder.lower) % 2**64 // (coder.range >> 24)
    branch = reference.choose(coder, found, edges)
    lines += [
        line("M", [found.mass(e) for e in edges]),
        line("f", reference.frequencies(found, edges)[1:-1]),
        line("q", [f"{q}, branch {branch}"]),
    ]
    return branch


def line(name: str, values: Iterable[object]) -> str:
    """One line of a worked example, or a few where it is long."""
    text = f"{name:{WIDTH_OF_NAMES}} {' '.join(map(str, values))}"
    indent = " " * (WIDTH_OF_NAMES + 1)
    return textwrap.fill(text, 96, subsequent_indent=indent, drop_whitespace=True).rstrip()


WIDTH_OF_NAMES = 17


def test_the_worked_example_of_wavefront_pixelcnn() -> None:
    example = example_of_wavefront_pixelcnn()
    assert f"\n```\n{example}\n```\n" in FORMAT_PAGE.read_text(encoding="utf-8")


def test_the_worked_example_of_pixelcnn(monkeypatch: pytest.MonkeyPatch) -> None:
    example = example_of_pixelcnn(monkeypatch)
    assert f"\n```\n{example}\n```\n" in FORMAT_PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "stream", ["row-lstm-square", "diagonal-bilstm-square", "multi-scale-square"]
)
def test_the_worked_examples_of_lstms(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    example = example_of_lstm(stream, monkeypatch)
    assert f"\n```\n{example}\n```\n" in FORMAT_PAGE.read_text(encoding="utf-8")
