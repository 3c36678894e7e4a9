"""A decoder of ``.pxc`` streams, written from ``docs/FORMAT.md`` and from nothing else.

It is a witness, not a tool: it shares no line of code with the package, knows neither PyTorch nor
constriction, and works in Python integers and NumPy's int64, one pixel after the other. What it
decodes to the same samples as the codec does, the page describes well enough. It is slow: images
should have a thousand pixels at most. Its parts stand in the order of the page; an architecture is
one class. It reads strips of PNG itself, those of WebP with Pillow.
"""

import hashlib
import io
import json
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import isqrt, log
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "Decoder",
    "Header",
    "MetadataChunk",
    "Network",
    "RangeDecoder",
    "Stream",
    "decode",
    "read_chunks",
    "read_stream",
]

Vector = npt.NDArray[np.int64]
Samples = npt.NDArray[Any]
"""uint8 or uint16."""
Place = tuple[int, int]
"""Column and row of a pixel."""

MAGIC = b"\x89PXC\r\n\x1a\n"


# Container


@dataclass(frozen=True)
class Header:
    """What the first 36 or 44 bytes of a stream say."""

    colour: int
    bit_depth: int
    independent: bool
    width: int
    height: int
    strip_rows: int
    tile: int
    model_id: bytes
    alpha_id: bytes | None
    has_metadata: bool
    has_changes: bool
    has_levels: bool
    learning: int
    planes: int
    by_palette: bool
    crc: int

    @property
    def size(self) -> int:
        """The bytes of the header."""
        return 36 if self.alpha_id is None else 44

    @property
    def dtype(self) -> str:
        """NumPy's code for the samples, as they go into the CRC."""
        return "<u2" if self.bit_depth == 16 else "<u1"

    @property
    def components(self) -> list["Header"]:
        """Of each component a header, that of an image of its own."""
        colours = self.colour - (self.alpha_id is not None)
        one = replace(self, colour=colours, alpha_id=None)
        found = [replace(one, colour=1)] * 3 if self.planes else [one]
        if self.alpha_id is not None:
            found.append(replace(one, colour=1, model_id=self.alpha_id))
        return found

    @property
    def strips(self) -> list[range]:
        """The rows of each strip, from top to bottom."""
        return [
            range(top, min(top + self.strip_rows, self.height))
            for top in range(0, self.height, self.strip_rows)
        ]


def read_header(data: bytes) -> Header:
    """Return the header of the stream ``data``."""
    if len(data) < 36 or data[:8] != MAGIC:
        raise ValueError("not a .pxc stream")
    if data[8] != 1:
        raise ValueError(f"version {data[8]}")
    has_alpha_id = bool(data[11] & 2)
    end = 40 if has_alpha_id else 32
    crc = zlib.crc32(data[:end])
    if data[end : end + 4] != struct.pack("<I", crc):
        raise ValueError("CRC of the header")
    colour, depth, flags, width, height, strip_rows, tile, model_id = struct.unpack(
        "<BBBIIHH8s", data[9:32]
    )
    colour, planes = colour & 7, colour >> 3
    depth, has_ranks = depth & 127, depth > 127
    by_palette = has_ranks and (colour, depth) == (1, 8)
    has_levels = has_ranks and not by_palette
    if has_levels and not (depth == 16 and any(model_id)):
        raise ValueError("levels of what is not of 16 bits by a model")
    if planes not in (0, 1, 3, 5, 7):
        raise ValueError(f"planes {planes}")
    if planes and not (depth == 16 and colour - has_alpha_id == 3 and any(model_id)):
        raise ValueError("planes of what is no colour of 16 bits by a model")
    if has_alpha_id and colour not in (2, 4):
        raise ValueError(f"flags {flags}, colour {colour}")
    if flags & 8 and (not any(model_id) or (has_alpha_id and model_id == data[32:40])):
        raise ValueError("changes of no model, or of that of alpha, too")
    if flags >> 4 and not any(model_id) and not (has_alpha_id and any(data[32:40])):
        raise ValueError("no model that could learn")
    if colour not in (1, 2, 3, 4) or depth not in ((1, 2, 4, 8, 16) if colour == 1 else (8, 16)):
        raise ValueError(f"colour {colour}, bit depth {depth}")
    if not (1 <= width <= 2**18 and 1 <= height < 2**31 and strip_rows >= 1):
        raise ValueError(f"width {width}, height {height}, strip rows {strip_rows}")
    if tile and strip_rows % tile:
        raise ValueError(f"tile {tile} in strips of {strip_rows} rows")
    return Header(
        *(colour, depth, bool(flags & 1), width, height, strip_rows, tile, model_id),
        alpha_id=data[32:40] if has_alpha_id else None,
        has_metadata=bool(flags & 4),
        has_changes=bool(flags & 8),
        has_levels=has_levels,
        learning=flags >> 4,
        planes=planes,
        by_palette=by_palette,
        crc=crc,
    )


class MetadataChunk(NamedTuple):
    """A chunk of PNG; ``after`` tells that it stood after the pixels."""

    type: bytes
    data: bytes
    after: bool


def read_metadata(tag: bytes, payload: bytes, header: Header) -> list[MetadataChunk]:
    """Return the metadata in a chunk ``M`` or ``Z`` after the ``header``."""
    if tag not in (b"M", b"Z"):
        raise ValueError("no metadata after the header")
    if len(payload) > 2**26:
        raise ValueError("metadata that are too long")
    if tag == b"Z":
        inflating = zlib.decompressobj()
        payload = inflating.decompress(payload, 2**26 + 1)
        if not inflating.eof or inflating.unused_data or len(payload) > 2**26:
            raise ValueError("metadata whose zlib stream ends elsewhere")
    found: list[MetadataChunk] = []
    place, after = 0, False
    while place < len(payload):
        n, kind = struct.unpack_from("<I4s", payload, place)
        data = payload[place + 8 : place + 8 + n]
        place += 8 + n
        if len(data) < n or kind in (b"IHDR", b"IEND") or not kind.isalpha():
            raise ValueError(f"a chunk {kind!r} of {n} bytes in the metadata")
        if kind == b"acTL":
            raise ValueError("an animation in the metadata")
        if kind != b"IDAT":
            found.append(MetadataChunk(kind, data, after))
        elif n or after:
            raise ValueError("pixels in the metadata")
        else:
            after = True
    if len(found) > 2**16:
        raise ValueError("metadata in too many chunks")
    critical = [chunk for chunk in found if chunk.type[:1].isupper()]
    if critical and not (len(critical) == 1 and fits(critical[0], header)):
        raise ValueError("metadata with a palette that does not fit, or with something unknown")
    return found


def fits(palette: MetadataChunk, header: Header) -> bool:
    """Tell whether a critical chunk is a palette that the image may have."""
    return (
        palette.type == b"PLTE"
        and not palette.after
        and len(palette.data) in range(3, 769, 3)
        and header.colour != 2
        and (header.colour, header.bit_depth) != (1, 16)
    )


def read_changes(tag: bytes, payload: bytes) -> bytes:
    """Return the changes of the model in a chunk ``A``."""
    if tag != b"A":
        raise ValueError("no changes of the model where they should be")
    if not 1 <= len(payload) <= 2**24:
        raise ValueError("no changes, or too many")
    return payload


def read_levels(tag: bytes, payload: bytes) -> list[int]:
    """Return the levels in a chunk ``L``, from the lowest up."""
    inflater = zlib.decompressobj()
    bits = inflater.decompress(payload)
    if tag != b"L" or len(payload) > 2**14 or inflater.unused_data or not inflater.eof:
        raise ValueError("no levels where they should be")
    if len(bits) != 8192 or not any(bits):
        raise ValueError("levels of another count")
    return [level for level in range(2**16) if bits[level // 8] >> level % 8 & 1]


def palette_order(metadata: list[MetadataChunk]) -> list[int]:
    """Return all indices in the order of their colours."""
    palette = next((chunk.data for chunk in metadata if chunk.type == b"PLTE"), b"")
    if not palette:
        raise ValueError("the order of a palette that there is not")
    told = next((chunk.data for chunk in metadata if chunk.type == b"tRNS"), b"")

    def key(index: int) -> tuple[int, ...]:
        red, green, blue = palette[3 * index : 3 * index + 3]
        return told[index] if index < len(told) else 255, green, red, blue, index

    colours = len(palette) // 3
    return [*sorted(range(colours), key=key), *range(colours, 256)]


class Stream(NamedTuple):
    """All that a stream has, with the samples as they are coded."""

    header: Header
    metadata: list[MetadataChunk]
    changes: bytes
    levels: list[int]
    """By rank; none: samples are coded as they are."""
    strips: list[list[bytes]]
    """Of each strip its parts."""
    samples_crc: int


def read_chunks(data: bytes, header: Header) -> Iterator[tuple[bytes, bytes]]:
    """Tag and payload of each chunk of ``data``, and of the end mark."""
    tag, at, parts = b"", header.size, 0
    while tag != b"E":
        tag, length = struct.unpack_from("<cI", data, at)
        end = at + 5 + length
        (crc,) = struct.unpack_from("<I", data, end)
        place = struct.pack("<II", header.crc, parts % 2**32)
        if zlib.crc32(place + data[at:end]) != crc or not tag.isalpha():
            raise ValueError(f"CRC of the chunk at byte {at}")
        yield tag, data[at + 5 : end]
        at = end + 4
        parts += tag in (b"P", b"S")
    if at != len(data):
        raise ValueError("bytes after the end mark")


def read_stream(data: bytes) -> Stream:
    """Return what the stream ``data`` has."""
    header = read_header(data)
    chunks = read_chunks(data, header)
    metadata = read_metadata(*next(chunks), header) if header.has_metadata else []
    changes = read_changes(*next(chunks)) if header.has_changes else b""
    levels = read_levels(*next(chunks)) if header.has_levels else []
    if header.by_palette:
        levels = palette_order(metadata)
    strips: list[list[bytes]] = []
    parts: list[bytes] = []
    samples_crc = 0
    for tag, payload in chunks:
        if tag in (b"P", b"S"):
            if len(strips) == len(header.strips):
                raise ValueError("more strips than the image has")
            samples = header.width * len(header.strips[len(strips)]) * header.colour
            if len(payload) > 16 * samples + 256:
                raise ValueError("a strip that is too long")
            parts.append(payload)
            if len(parts) > (7 if tag == b"P" else 8):
                raise ValueError("more parts than a strip has")
            if tag == b"S":
                strips.append(parts)
                parts = []
        elif tag == b"E":
            if len(payload) != 4:
                raise ValueError("end mark of another length")
            (samples_crc,) = struct.unpack("<I", payload)
        elif tag.isupper():
            raise ValueError(f"critical chunk {tag!r}")
    if len(strips) < len(header.strips):
        raise ValueError("fewer strips than the image has")
    return Stream(header, metadata, changes, levels, strips, samples_crc)


# Standard strips


class StandardDecoder:
    """A component that no model codes, so far."""

    parts = 1
    """Of each strip."""

    def __init__(self, header: Header) -> None:
        """Start with no strip decoded."""
        self.header = header
        self.strips: list[Samples] = []

    def strip(self, rows: range, parts: list[bytes]) -> None:
        """Decode the strip of ``rows``, which comes next."""
        if len(parts) != 1:
            raise ValueError("other parts than one standard strip")
        (payload,) = parts
        if len(rows) * self.header.width > 2**26:
            raise ValueError("a standard strip that is too large")
        shape = len(rows), self.header.width, self.header.colour
        read = read_webp if payload[:1] == b"\x2f" else read_png
        samples = read(payload, *shape, self.header.bit_depth)
        if samples.shape != shape:
            raise ValueError("a standard strip of another size")
        self.strips.append(samples)

    def image(self) -> Samples:
        """Return all samples, [height, width, colour]."""
        return np.concatenate(self.strips)


def read_webp(data: bytes, height: int, width: int, colour: int, bit_depth: int) -> Samples:
    """Return the samples, [height, width, ``colour``], of the ``VP8L`` chunk of a WebP."""
    whole = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    file = io.BytesIO(b"RIFF" + struct.pack("<I", len(whole)) + whole)
    with Image.open(file, formats=["WEBP"]) as image:
        if image.size != (width, height):
            raise ValueError("a WebP of another size")
        if image.mode not in (("RGB",) if colour % 2 else ("RGB", "RGBA")):
            raise ValueError("a WebP of another kind of pixels")
        samples: Samples = np.array(image.convert("RGB" if colour % 2 else "RGBA"))
    if colour < 3:
        if (samples[:, :, :2] != samples[:, :, 1:3]).any():
            raise ValueError("a WebP of colours that are not gray")
        samples = samples[:, :, 2:]
    if bit_depth > 8 or samples.max() >> bit_depth:
        raise ValueError("a WebP of another bit depth")
    return samples


def read_png(data: bytes, height: int, width: int, colour: int, bit_depth: int) -> Samples:
    """Return the samples, [height, width, ``colour``], of the ``IDAT`` chunks of a PNG."""
    inflating = zlib.decompressobj()
    filtered = inflating.decompress(data)
    pitch = -(-width * colour * bit_depth // 8)
    if not inflating.eof or inflating.unused_data or len(filtered) != height * (1 + pitch):
        raise ValueError("a PNG of other rows")
    step = max(1, colour * bit_depth // 8)
    rows = [bytes(pitch)]
    for place in range(0, len(filtered), 1 + pitch):
        row = filtered[place + 1 : place + 1 + pitch]
        rows.append(unfiltered(filtered[place], row, rows[-1], step))
    packed = np.frombuffer(b"".join(rows[1:]), np.uint8).reshape(height, pitch)
    if bit_depth == 16:
        samples: Samples = packed.view(">u2").astype(np.uint16)
    else:
        bits = np.unpackbits(packed, axis=1).reshape(height, -1, bit_depth)
        powers = 2 ** np.arange(bit_depth)[::-1]
        samples = (bits @ powers).astype(np.uint8)[:, : width * colour]
    return samples.reshape(height, width, colour)


def unfiltered(how: int, row: bytes, above: bytes, step: int) -> bytes:
    """Return the ``row`` of a PNG as it was before the filter ``how``."""
    found = bytearray(row)
    for i, b in enumerate(above):
        a, c = (found[i - step], above[i - step]) if i >= step else (0, 0)
        found[i] = (found[i] + (0, a, b, (a + b) // 2, paeth(a, b, c))[how]) % 256
    return bytes(found)


def paeth(a: int, b: int, c: int) -> int:
    """Return which of ``a``, ``b`` and ``c`` is closest to a + b - c, the first if several are."""
    return min((a, b, c), key=lambda each: abs(a + b - c - each))


# The model file

DTYPES = {
    "I8": ("int8", "<i1"),
    "U8": ("uint8", "<u1"),
    "I16": ("int16", "<i2"),
    "I32": ("int32", "<i4"),
}
"""Of each dtype of a safetensors file: its name on the page, and NumPy's code for it."""


def relu(values: Vector) -> Vector:
    """Limit ``values`` to 0 ... 127."""
    return np.minimum(np.maximum(values, 0), 127)


def zeros(n: int) -> Vector:
    """Return ``n`` zeros."""
    return np.zeros(n, np.int64)


@dataclass(frozen=True)
class Layer:
    """One layer: a matrix of weights, and a bias and a shift for each output."""

    name: str
    weight: Vector
    bias: Vector
    shift: Vector

    def __call__(self, a: Vector) -> Vector:
        """Return the layer's outputs for the inputs ``a``."""
        out: Vector = (a @ self.weight + self.bias) >> self.shift
        return out


class Network:
    """The integer network of a model file."""

    architecture: str
    config: dict[str, int]
    sha256: bytes
    prefix = ""
    """Of the names of all layers."""

    def __init__(self, data: bytes) -> None:
        """Read the safetensors file ``data`` and check its SHA-256."""
        (length,) = struct.unpack_from("<Q", data)
        entries: dict[str, Any] = json.loads(data[8 : 8 + length])
        metadata = entries.pop("__metadata__")
        self.architecture = metadata["architecture"]
        self.config = json.loads(metadata["config"])

        digest = hashlib.sha256(canonical([self.architecture, self.config]))
        self.tensors: dict[str, Vector] = {}
        for name in sorted(entries):
            dtype, code = DTYPES[entries[name]["dtype"]]
            shape = entries[name]["shape"]
            begin, end = entries[name]["data_offsets"]
            elements = data[8 + length + begin : 8 + length + end]
            digest.update(canonical([name, dtype, shape]))
            digest.update(elements)
            array = np.frombuffer(elements, dtype=code).reshape(shape)
            self.tensors[name] = array.astype(np.int64)
        self.sha256 = digest.digest()
        if self.sha256.hex() != metadata["sha256"]:
            raise ValueError("SHA-256 of the model")

    def table(self, name: str, length: int) -> list[int]:
        """Return the table ``name``."""
        table: list[int] = self.tensors[f"tables.{name}"].tolist()
        if len(table) != length:
            raise ValueError(f"length of the table {name}")
        return table

    def layer(self, name: str) -> Layer:
        """Return the layer ``name``."""
        weight, bias, shift = (
            self.tensors[f"layers.{self.prefix}{name}.{part}"]
            for part in ("weight", "bias", "shift")
        )
        return Layer(name, weight, bias, shift)

    def part(self, name: str) -> "Network":
        """Return the network of the layers whose names begin with ``NAME.``, without that."""
        part = copy(self)
        part.prefix = f"{name}."
        return part


def canonical(value: Any) -> bytes:
    """Return the JSON of ``value`` as it goes into the SHA-256 of a model."""
    return json.dumps(value, sort_keys=True).encode()


# From pixels to probabilities


class Distribution(ABC):
    """The distribution of one sample, as a growing function of edges."""

    floor = 64

    @abstractmethod
    def below(self, e: int) -> int:
        """Return F(e), which the architecture gives."""

    def mass(self, e: int) -> int:
        """Return M(e), the mass below edge ``e``."""
        return self.floor * e + self.below(e)


@dataclass
class Pixel:
    """A pixel in hand; each architecture adds what it knows of it."""

    x: int
    y: int
    samples: list[int] = field(default_factory=list, init=False)
    """Those of the channels that are decoded."""


class Architecture(ABC):
    """A network and what it has seen of one image: the whole of it, or all that is not outside.

    Columns and rows count from the top left corner of that. An image of another scale than the last
    has its own.
    """

    slope: ClassVar[int]
    above = 0
    """Rows above the strip in hand."""

    @classmethod
    def scales(cls, network: Network) -> list[tuple[int, "type[Architecture]", Network]]:
        """Return of each scale of ``network``: step, architecture, and network of that."""
        return [(1, cls, network)]

    @abstractmethod
    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image of ``width`` columns."""

    def begin(self, above: int, known: dict[Place, list[int]]) -> None:
        """Begin a strip, or tile, below ``above`` rows of the image.

        ``known`` are the samples that scales before decoded; places count from its top left corner.
        """
        self.above = above

    @abstractmethod
    def look(self, x: int, y: int) -> Any:
        """Return the pixel in hand, a :class:`Pixel`."""

    @abstractmethod
    def distribution(self, pixel: Any, c: int) -> Distribution:
        """Return the distribution of channel ``c`` of a ``pixel`` in hand."""

    @abstractmethod
    def decoded(self, pixel: Any, c: int) -> None:
        """Take in channel ``c`` of ``pixel``, the last of its samples so far."""

    @staticmethod
    def learner(network: Network, header: Header) -> Any:
        """Return what learns, a :class:`Learner`, begun anew; None if nothing does."""
        if header.learning:
            raise ValueError("a model that cannot learn")
        return None

    def learn_by(self, learner: Any) -> None:  # noqa: B027
        """Share a ``learner`` with others; there is none."""


# The architecture wavefront-pixelcnn-1


@dataclass
class WavefrontPixel(Pixel):
    """A pixel as ``wavefront-pixelcnn-1`` knows it."""

    centre: list[int]
    features: Vector
    seen: Vector
    residuals: list[int] = field(default_factory=list)
    lessons: list["Lesson"] = field(default_factory=list)
    splits: list[Distribution] = field(default_factory=list)
    """Of each channel."""
    passed: dict[int, tuple[Vector, Vector]] = field(default_factory=dict)
    """Taps and hidden units of each block that learns."""


@dataclass(frozen=True)
class Mixture(Distribution):
    """A mixture of logistics."""

    weights: list[int]
    means: list[int]
    scales: list[int]
    sigmoid: list[int]
    inverse_scale: list[int]

    def below(self, e: int) -> int:
        """Return F(e)."""
        return sum(w * self.logistic(e, k) for k, w in enumerate(self.weights))

    def logistic(self, e: int, k: int) -> int:
        """Return the logistic of component ``k`` at edge ``e``."""
        u = 16 * e - 8 - self.means[k]
        i = min((abs(u) * self.inverse_scale[self.scales[k]]) >> 12, 4095)
        return self.sigmoid[i] if u >= 0 else 65535 - self.sigmoid[i]

    def slope(self, e: int, k: int) -> int:
        """Return g(e) of component ``k``."""
        u, logistic = 16 * e - 8 - self.means[k], self.logistic(e, k)
        angle = min((abs(u) * self.inverse_scale[self.scales[k]]) >> 8, 65535)
        return ((logistic * (65535 - logistic)) >> 4) * (angle if u >= 0 else -angle)

    def between(self, low: int, high: int, k: int) -> tuple[int, int, int]:
        """Return mass, lean and spread of component ``k`` between two edges."""
        below, above = self.logistic(low, k), self.logistic(high, k)
        weight, spread = self.weights[k], self.slope(high, k) - self.slope(low, k)
        return weight * (above - below), 65535 - below - above, weight * spread

    def gradient(self, sample: int, parameters: list[int], residuals: list[int]) -> list[int]:
        """Return D of all parameters."""
        components = range(len(self.weights))
        here = [self.between(sample, sample + 1, k) for k in components]
        whole = [self.between(0, 256, k) for k in components]
        total = 64 + sum(mass for mass, _, _ in here)
        total_of_whole = 64 * 256 + sum(mass for mass, _, _ in whole)
        logits, means, scales = [], [], []
        for k in components:
            after = (here[k][0] << 15) // total
            before = (whole[k][0] << 15) // total_of_whole
            logits.append(before - after)
            pull = after * here[k][1] - before * whole[k][1]
            moves = self.means[k] not in (-128, 4208)
            means.append((pull * self.inverse_scale[self.scales[k]]) >> 31 if moves else 0)
            spread = here[k][2] // total - whole[k][2] // total_of_whole
            within = 0 <= parameters[2 * len(components) + k] <= 79
            scales.append((spread * 45426) >> 23 if within else 0)
        slopes = [(sum(means) * residual) >> 4 for residual in residuals]
        return [limit(d, 2**19) for d in (*logits, *means, *scales, *slopes)]


def limit(value: int, most: int) -> int:
    """Return ``value``, limited."""
    return max(-most, min(value, most))


class LearningLayer:
    """A layer that learns."""

    def __init__(self, layer: Layer, places: list[int], inputs: int) -> None:
        """Begin as ``layer``, whose inputs have these ``places`` among those here."""
        self.v = np.zeros((inputs + 1, layer.weight.shape[1]), np.int64)
        self.v[places] = layer.weight << 16
        self.v[-1] = np.clip(layer.bias << 10, -(2**38), 2**38)
        self.v0, self.shift = self.v.copy(), layer.shift
        self.m, self.q, self.p, self.sums = (np.zeros_like(self.v) for _ in range(4))

    @property
    def w(self) -> Vector:
        """The weights as they are seen."""
        seen: Vector = (self.v + 512) >> 10
        return seen

    def __call__(self, a: Vector) -> Vector:
        """Return the layer's outputs for the inputs ``a``."""
        out: Vector = (np.append(a, 64) @ self.w) >> (self.shift + 6)
        return out

    def back(self, inputs: Vector, gradients: Vector) -> Vector:
        """Return the gradients of ``inputs``, which a relu gave."""
        g = np.clip((gradients << 4) >> self.shift, -(2**19), 2**19)
        high = (self.w[:-1] + 64) >> 7
        found = np.clip((high @ g) >> 3, -(2**19), 2**19)
        return np.where((inputs > 0) & (inputs < 127), found, 0)

    def take_in(self, inputs: Vector, gradients: Vector) -> None:
        """Add to the sums what a pixel tells."""
        self.sums += np.outer(np.append(inputs, 64), gradients)

    def update(self, t: int, rate: int) -> None:
        """Make the ``t``-th step."""
        for (i, j), total in np.ndenumerate(self.sums):
            g = limit(int(total) >> 6, 2**26 - 1)
            m, q = int(self.m[i, j]), int(self.q[i, j])
            self.m[i, j] = m = m + ((16 * g - m) >> 2)
            self.q[i, j] = q = q + ((g * g - q) >> 7)
            if i % 8 == t % 8:
                self.p[i, j] = 2**30 // (isqrt(q) + 2**8)
            step = limit((m * int(self.p[i, j])) >> 18, 2**16)
            most = 127 << 16 if i < len(self.v) - 1 else 2**38
            v, fall = int(self.v[i, j]), (int(self.v[i, j]) - int(self.v0[i, j])) >> 11
            self.v[i, j] = limit(v - ((step * rate) >> 8) - fall, most)
        self.sums[:] = 0


@dataclass(frozen=True)
class Split(Distribution):
    """A mixture, split by the colours that were seen."""

    masses: list[int]
    bucket: int

    def below(self, e: int) -> int:
        """Return F'(e)."""
        return self.masses[e]


class SeenColours:
    """The colours that were seen."""

    def __init__(self, colour: int) -> None:
        """Begin an image of 1 or 3 samples a pixel, no colour being seen."""
        self.channels = range(colour)[-2:]
        odds = [2 ** ((i - 32) / 2) for i in range(65)]
        first = [min(max(round(2**16 * o / (1 + o)), 32), 65504) for o in odds]
        self.shares = {c: first.copy() for c in self.channels}
        self.counts: dict[tuple[int, ...], int] = {}

    def count(self, before: list[int], v: int) -> int:
        """Return n(v) of a pixel with these samples ``before``."""
        return min(self.counts.get((*before, v), 0), 255)

    def split(self, mixture: Mixture, c: int, before: list[int]) -> Distribution:
        """Return the distribution of channel ``c`` of a pixel with these samples ``before``."""
        if c not in self.channels:
            return mixture
        n = [self.count(before, v) for v in range(256)]
        p = [mixture.below(v + 1) - mixture.below(v) + 64 for v in range(256)]
        w = [min(round(8 * (1 + 1.2 * log(k))), 63) if k else 0 for k in n]
        a = sum(part for part, k in zip(p, n, strict=True) if k)
        u = sum(p) - a
        z = sum(part * worth for part, worth in zip(p, w, strict=True))
        bucket = limit((octaves(a + 1) - octaves(u + 1)) >> 2, 32) + 32
        q = self.shares[c][bucket] << 11
        if a == 0 or u == 0:
            q = 0 if a == 0 else 2**27
        cut_z, cut_u = (max(sum_.bit_length() - 30, 0) for sum_ in (z, u))
        of_seen = (q << 30) // max(z >> cut_z, 1)
        of_unseen = ((2**27 - q) << 30) // max(u >> cut_u, 1)
        parts = [
            (((p[v] * w[v]) >> cut_z) * of_seen if n[v] else (p[v] >> cut_u) * of_unseen) >> 30
            for v in range(256)
        ]
        return Split([0, *accumulate(parts)], bucket)

    def take_in(self, pixels: list["WavefrontPixel"]) -> None:
        """Take in a wave."""
        for pixel in pixels:
            for c in self.channels:
                found = pixel.splits[c]
                assert isinstance(found, Split)
                seen = 2**16 if self.count(pixel.samples[:c], pixel.samples[c]) else 0
                share = self.shares[c][found.bucket]
                share = min(max(share + ((seen - share) >> 6), 32), 65504)
                self.shares[c][found.bucket] = share
        for pixel in pixels:
            for c in self.channels:
                key = tuple(pixel.samples[: c + 1])
                self.counts[key] = self.counts.get(key, 0) + 1


def octaves(n: int) -> int:
    """Return octaves(n)."""
    e = n.bit_length() - 1
    return 8 * e + (((8 * n) >> e) % 8)


class Lesson(NamedTuple):
    """What a head saw and gave."""

    inputs: Vector
    hidden: Vector
    parameters: list[int]
    mixture: Mixture


class Seer:
    """Seen colours, beside layers that stay."""

    learning = range(0)

    def __init__(self, colour: int) -> None:
        """Begin an image of ``colour`` samples a pixel."""
        self.seen_colours = SeenColours(colour)

    def learn(self, pixels: list["WavefrontPixel"]) -> None:
        """Take in a wave."""
        self.seen_colours.take_in(pixels)


class Learner(Seer):
    """All layers that learn."""

    def __init__(self, network: Network, learning: int, colour: int) -> None:
        """Begin as ``network``, for an image of ``colour`` samples a pixel."""
        super().__init__(colour)
        depth, rate = divmod(learning - 1, 3)
        self.rate, self.t, self.pixels = (8, 16, 32)[rate], 0, 0
        self.width = width = network.config["width"]
        inputs = width + 69 + 2
        places = [*range(width), inputs - 2, inputs - 1]
        self.head = [LearningLayer(network.layer(f"head.{c}"), places, inputs) for c in range(3)]
        self.parameters = [self.whole(network.layer(f"parameters.{c}")) for c in range(3)]
        blocks = network.config["blocks"]
        self.learning = range(max(0, blocks - depth), blocks)
        self.spatial = {i: self.whole(network.layer(f"spatial.{i}")) for i in self.learning}
        self.mix = {i: self.whole(network.layer(f"mix.{i}")) for i in self.learning}

    def whole(self, layer: Layer) -> LearningLayer:
        """Return ``layer``, with the inputs that it has."""
        inputs = len(layer.weight)
        return LearningLayer(layer, list(range(inputs)), inputs)

    def learn(self, pixels: list["WavefrontPixel"]) -> None:
        """Take in a wave."""
        super().learn(pixels)
        for pixel in pixels:
            self.take_in(pixel)
        self.pixels += len(pixels)
        if self.pixels >= 128:
            coded = range(len(pixels[0].samples))
            for layers in (self.head, self.parameters):
                for c in coded:
                    layers[c].update(self.t, self.rate)
            for blocks in (self.spatial, self.mix):
                for layer in blocks.values():
                    layer.update(self.t, self.rate // 2)
            self.t, self.pixels = self.t + 1, 0

    def take_in(self, pixel: "WavefrontPixel") -> None:
        """Add to all sums what a ``pixel`` tells."""
        of_activations = zeros(self.width)
        for c, sample in enumerate(pixel.samples):
            inputs, hidden, parameters, mixture = pixel.lessons[c]
            gradient = np.array(mixture.gradient(sample, parameters, pixel.residuals[:c]))
            self.parameters[c].take_in(hidden, gradient)
            of_hidden = self.parameters[c].back(hidden, gradient)
            self.head[c].take_in(inputs, of_hidden)
            of_activations += self.head[c].back(inputs, of_hidden)[: self.width]
        of_stream = of_activations >> 4
        for i in reversed(self.learning):
            taps, hidden = pixel.passed[i]
            self.mix[i].take_in(hidden, of_stream)
            of_hidden = self.mix[i].back(hidden, of_stream)
            self.spatial[i].take_in(taps, of_hidden)
            of_own = self.spatial[i].back(taps, of_hidden)[-self.width :]
            of_stream = of_stream + (of_own >> 4)


class WavefrontPixelCNN(Architecture):
    """The architecture ``wavefront-pixelcnn-1``."""

    slope = 2
    learner_in_hand: Seer | None = None

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        if header.colour not in (1, 3) or header.bit_depth != 8:
            raise ValueError("a colour or bit depth of which the model codes no images")
        self.layer, self.config = network.layer, network.config
        self.width, self.colour = width, header.colour
        self.companding = network.table("companding", 1024)
        self.sigmoid = network.table("sigmoid", 4096)
        self.inverse_scale = network.table("inverse_scale", 80)
        self.exp = network.table("exp", 256)
        self.samples: dict[Place, list[int]] = {}
        self.kept: list[dict[Place, Vector]] = [{} for _ in range(self.config["blocks"])]

    def samples_of(self, x: int, y: int) -> list[int]:
        """Return the three samples of a pixel."""
        return self.samples[x, y] if 0 <= x < self.width and y >= 0 else [640] * 3

    def centre(self, x: int, y: int) -> list[int]:
        """Return the three centres of the pixel in hand."""
        west, north = self.samples_of(x - 1, y), self.samples_of(x, y - 1)
        north_west = self.samples_of(x - 1, y - 1)
        return [
            max(min(w, n), min(max(w, n), w + n - nw)) & 255
            for w, n, nw in zip(west, north, north_west, strict=True)
        ]

    def features(self, x: int, y: int, centre: list[int]) -> Vector:
        """Return the 69 features of the pixel in hand."""
        neighbours = [
            *((x + dx, y - 3) for dx in range(-3, 4)),
            *((x + dx, y - 2) for dx in range(-3, 4)),
            *((x + dx, y - 1) for dx in range(-3, 2)),
            *((x + dx, y) for dx in range(-3, 0)),
        ]
        features = [
            self.companding[255 + sample - centre[c]]
            for neighbour in neighbours
            for c, sample in enumerate(self.samples_of(*neighbour))
        ]
        features += [max(centre[c] - 128, -127) for c in range(3)]
        return np.array(features, dtype=np.int64)

    def look(self, x: int, y: int) -> WavefrontPixel:
        """Return the pixel in hand, with all that the network sees of its neighbours."""
        centre = self.centre(x, y)
        features = self.features(x, y, centre)
        stream = self.layer("input")(features)
        learner, passed = self.learner_in_hand, {}
        for i, kept in enumerate(self.kept):
            kept[x, y] = relu(stream >> 4)
            places = [(x - 1, y - 1), (x, y - 1), (x + 1, y - 1), (x - 1, y), (x, y)]
            taps = np.concatenate(
                [
                    kept[place]
                    if 0 <= place[0] < self.width and place[1] >= 0
                    else zeros(len(stream))
                    for place in places
                ]
            )
            if isinstance(learner, Learner) and i in learner.learning:
                spatial = relu(learner.spatial[i](taps))
                stream = stream + learner.mix[i](spatial)
                passed[i] = taps, spatial
            else:
                spatial = relu(self.layer(f"spatial.{i}")(taps))
                stream = stream + self.layer(f"mix.{i}")(spatial)
        seen = np.concatenate([relu(stream >> 4), zeros(2)])
        return WavefrontPixel(x, y, centre, features, seen, passed=passed)

    @staticmethod
    def learner(network: Network, header: Header) -> Seer | None:
        """Return what learns, begun anew."""
        colour = min(header.colour, 3)
        if header.learning > 1:
            return Learner(network, header.learning, colour)
        return Seer(colour) if header.learning else None

    def learn_by(self, learner: Seer | None) -> None:
        """Share a ``learner`` with others."""
        self.learner_in_hand = learner

    def parameters(self, pixel: WavefrontPixel, c: int) -> list[int]:
        """Return the parameters of the mixture of channel ``c``."""
        hidden = relu(self.layer(f"head.{c}")(pixel.seen))
        parameters: list[int] = self.layer(f"parameters.{c}")(hidden).tolist()
        return parameters

    def distribution(self, pixel: WavefrontPixel, c: int) -> Distribution:
        """Return the distribution of channel ``c`` of ``pixel``."""
        k, learner = self.config["components"], self.learner_in_hand
        if isinstance(learner, Learner):
            width = self.config["width"]
            inputs = np.concatenate([pixel.seen[:width], pixel.features, pixel.seen[width:]])
            hidden = relu(learner.head[c](inputs))
            parameters = learner.parameters[c](hidden).tolist()
        else:
            parameters = self.parameters(pixel, c)
        logits, means, scales = parameters[:k], parameters[k : 2 * k], parameters[2 * k : 3 * k]
        slopes = parameters[3 * k :]
        shift = sum(slope * r for slope, r in zip(slopes, pixel.residuals, strict=True)) >> 4
        found = Mixture(
            weights=[self.exp[min(max(logits) - logit, 255)] for logit in logits],
            means=[min(max(mean + 16 * pixel.centre[c] + shift, -128), 4208) for mean in means],
            scales=[min(max(scale, 0), 79) for scale in scales],
            sigmoid=self.sigmoid,
            inverse_scale=self.inverse_scale,
        )
        if isinstance(learner, Learner):
            pixel.lessons.append(Lesson(inputs, hidden, parameters, found))
        if learner is None:
            return found
        pixel.splits.append(learner.seen_colours.split(found, c, pixel.samples))
        return pixel.splits[-1]

    def decoded(self, pixel: WavefrontPixel, c: int) -> None:
        """Take in channel ``c`` of ``pixel``."""
        sample = pixel.samples[c]
        if self.colour == 1:
            self.samples[pixel.x, pixel.y] = [sample] * 3
            return
        self.samples.setdefault((pixel.x, pixel.y), []).append(sample)
        if c < 2:
            residual = sample - pixel.centre[c]
            pixel.residuals.append(residual)
            pixel.seen[self.config["width"] + c] = self.companding[255 + residual]


# The architecture wavefront-gray-1


@dataclass
class GrayPixel(Pixel):
    """A pixel as ``wavefront-gray-1`` knows it."""

    centre: int
    unit: int
    features: Vector
    activations: Vector
    lesson: "GrayLesson | None" = None
    passed: dict[int, tuple[Vector, Vector]] = field(default_factory=dict)
    """Taps and hidden units of each block that learns."""


class GrayLesson(NamedTuple):
    """What the head saw and gave."""

    inputs: Vector
    hidden: Vector
    to_output: Vector
    parameters: list[int]
    mixture: "GrayMixture"


@dataclass(frozen=True)
class GrayMixture(Distribution):
    """A mixture of logistics in units of a pixel."""

    weights: list[int]
    means: list[int]
    scales: list[int]
    sigmoid: list[int]
    inverse_scale: list[int]
    levels: int
    floor: int

    def below(self, e: int) -> int:
        """Return F(e)."""
        return sum(w * self.logistic(e, k) for k, w in enumerate(self.weights)) >> 6

    def place(self, e: int, k: int) -> tuple[int, int]:
        """Return v and p of component ``k`` at edge ``e``."""
        v = 16 * e - 8 - self.means[k]
        return v, min((abs(v) * self.inverse_scale[self.scales[k]]) >> 10, 2**24 - 1)

    def logistic(self, e: int, k: int) -> int:
        """Return the logistic of component ``k`` at edge ``e``."""
        v, p = self.place(e, k)
        i = p >> 12
        upper = self.sigmoid[i] + (((self.sigmoid[i + 1] - self.sigmoid[i]) * (p & 4095)) >> 12)
        return upper if v >= 0 else 2**22 - 1 - upper

    def spread(self, e: int, k: int) -> int:
        """Return g(e) of component ``k``."""
        (v, p), logistic = self.place(e, k), self.logistic(e, k)
        angle = p >> 4 if v >= 0 else -(p >> 4)
        return ((logistic * (2**22 - 1 - logistic)) >> 22) * angle

    def between(self, low: int, high: int, k: int) -> tuple[int, int, int]:
        """Return mass, lean and spread of component ``k`` between two edges."""
        below, above = self.logistic(low, k), self.logistic(high, k)
        weight, spread = self.weights[k], self.spread(high, k) - self.spread(low, k)
        return weight * (above - below), (2**22 - 1 - below - above) >> 6, weight * spread

    def gradient(self, sample: int, parameters: list[int], unit: int, size: int) -> list[int]:
        """Return D of all parameters; ``size`` is the element of the table for the ``unit``."""
        components = range(len(self.weights))
        here = [self.between(sample, sample + 1, k) for k in components]
        whole = [self.between(0, self.levels, k) for k in components]
        total = 64 * self.floor + sum(mass for mass, _, _ in here)
        total_of_whole = 64 * self.floor * self.levels + sum(mass for mass, _, _ in whole)
        logits, means, scales = [], [], []
        for k in components:
            after = (here[k][0] << 15) // total
            before = (whole[k][0] << 15) // total_of_whole
            logits.append(before - after)
            pull = after * here[k][1] - before * whole[k][1]
            moves = self.means[k] not in (-1024, 16 * (self.levels + 63))
            found = (((pull * self.inverse_scale[self.scales[k]]) >> 28) * size) >> 23
            means.append(found if moves else 0)
            spread = here[k][2] // total - whole[k][2] // total_of_whole
            within = 0 <= parameters[2 * len(components) + k] + 2 * unit <= 159
            scales.append((spread * 45426) >> 15 if within else 0)
        return [limit(d, 2**19) for d in (*logits, *means, *scales)]


class GrayLearner:
    """All layers that learn."""

    def __init__(self, network: Network, learning: int) -> None:
        """Begin as ``network``."""
        depth, rate = divmod(learning - 1, 3)
        self.rate, self.t, self.pixels = (8, 16, 32)[rate], 0, 0
        self.unit = network.table("unit", 65)
        self.head, self.parameters = self.whole(network, "head"), self.whole(network, "parameters")
        blocks = network.config["blocks"]
        self.learning = range(max(0, blocks - depth), blocks)
        self.spatial = {i: self.whole(network, f"spatial.{i}") for i in self.learning}
        self.mix = {i: self.whole(network, f"mix.{i}") for i in self.learning}

    def whole(self, network: Network, name: str) -> LearningLayer:
        """Return the layer ``name``, with the inputs that it has."""
        layer = network.layer(name)
        inputs = len(layer.weight)
        return LearningLayer(layer, list(range(inputs)), inputs)

    def learn(self, pixels: list[GrayPixel]) -> None:
        """Take in a wave."""
        for pixel in pixels:
            self.take_in(pixel)
        self.pixels += len(pixels)
        if self.pixels >= 128:
            for layer in (self.head, self.parameters):
                layer.update(self.t, self.rate)
            for layer in (*self.spatial.values(), *self.mix.values()):
                layer.update(self.t, self.rate // 2)
            self.t, self.pixels = self.t + 1, 0

    def take_in(self, pixel: GrayPixel) -> None:
        """Add to all sums what a ``pixel`` tells."""
        assert pixel.lesson is not None
        inputs, hidden, to_output, parameters, mixture = pixel.lesson
        size = self.unit[pixel.unit]
        gradient = np.array(mixture.gradient(pixel.samples[0], parameters, pixel.unit, size))
        self.parameters.take_in(to_output, gradient)
        of_hidden = self.parameters.back(to_output, gradient)[: len(hidden)]
        self.head.take_in(inputs, of_hidden)
        of_stream = self.head.back(inputs, of_hidden)[: len(pixel.activations)] >> 4
        for i in reversed(self.learning):
            taps, inside = pixel.passed[i]
            self.mix[i].take_in(inside, of_stream)
            of_inside = self.mix[i].back(inside, of_stream)
            self.spatial[i].take_in(taps, of_inside)
            of_own = self.spatial[i].back(taps, of_inside)[-len(of_stream) :]
            of_stream = of_stream + (of_own >> 4)


Weights = dict[Place, int]
PREDICTORS: list[Weights] = [
    {(-1, 0): 2, (0, -1): 2, (-1, -1): -2},
    {(-1, 0): 4, (-2, 0): -2},
    {(0, -1): 4, (0, -2): -2},
    {(-1, 0): 2, (1, -1): 2, (0, -1): -2},
    {(0, -1): 2, (1, -1): 2, (1, -2): -2},
    {(-1, 0): 2, (1, -1): 1, (-1, -1): -1},
    {(-1, 0): 6, (-2, 0): -6, (-3, 0): 2},
    {(0, -1): 6, (0, -2): -6, (0, -3): 2},
    {(-1, 0): 4, (0, -1): 4, (-1, -1): -4, (-2, 0): -2, (-2, -1): 2, (0, -2): -2, (-1, -2): 2},
    {(-1, 0): 2, (0, -1): 1, (1, -1): 1, (-1, -1): -2},
]
"""Of differences at columns and rows from the pixel."""


def unit_of(total: int, n: int) -> int:
    """Return the unit of a sum of differences that counts ``n`` of them."""
    mean = max(total * 256 // max(n, 1), 1)
    o = mean.bit_length() - 1
    return min(max(4 * o + ((4 * mean >> o) & 3) - 32, 0), 64)


class WavefrontGray(Architecture):
    """The architecture ``wavefront-gray-1``."""

    slope = 2
    learner_in_hand: GrayLearner | None = None

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        self.layer, self.config, self.width = network.layer, network.config, width
        if (header.colour, header.bit_depth) != (1, self.config["bit_depth"]):
            raise ValueError("a colour or bit depth of which the model codes no images")
        self.highest = 2**header.bit_depth - 1
        self.companding = network.table("companding", 2048)
        self.inverse_unit, self.unit = (network.table(n, 65) for n in ("inverse_unit", "unit"))
        self.sigmoid, self.exp = network.table("sigmoid", 4097), network.table("exp", 256)
        self.inverse_scale = network.table("inverse_scale", 160)
        self.samples: dict[Place, int] = {}
        self.kept: list[dict[Place, Vector]] = [{} for _ in range(self.config["blocks"])]

    def sample(self, x: int, y: int) -> int:
        """Return the sample of a pixel."""
        inside = 0 <= x < self.width and y >= 0
        return self.samples[x, y] if inside else 5 * (self.highest + 1) // 2

    def companded(self, v: int, unit: int) -> int:
        """Return a difference as the network sees it."""
        found = self.companding[min((abs(v) * self.inverse_unit[unit]) >> 12, 2047)]
        return -found if v < 0 else found

    def context(self, x: int, y: int) -> tuple[int, int, Vector]:
        """Return centre, unit and features of the pixel in hand."""
        w, n, nw = self.sample(x - 1, y), self.sample(x, y - 1), self.sample(x - 1, y - 1)
        centre = max(min(w, n), min(max(w, n), w + n - nw)) & self.highest
        places = [
            *((dx, -3) for dx in range(-3, 4)),
            *((dx, -2) for dx in range(-3, 4)),
            *((dx, -1) for dx in range(-3, 2)),
            *((dx, 0) for dx in range(-3, 0)),
        ]
        d, total, count = {}, 0, 0
        for dx, dy in places:
            sample, away = self.sample(x + dx, y + dy), dx**2 + dy**2
            inside = sample <= self.highest
            d[dx, dy] = sample - centre if inside else 0
            weight = (2 if away <= 2 else 1 if away <= 5 else 0) if inside else 0
            total, count = total + weight * abs(d[dx, dy]), count + weight
        activity = unit_of(total, count)
        found = [sum(k * d[place] for place, k in each.items()) >> 1 for each in PREDICTORS]
        unit = unit_of(sum(map(abs, found[:6])), 6)
        features = [self.companded(d[place], activity) for place in places]
        features += [self.companded(v, unit) for v in (*found, centre, self.highest - centre)]
        features += [2 * unit - 63, limit(4 * (activity - unit), 127)]
        return centre, unit, np.array(features, np.int64)

    def look(self, x: int, y: int) -> GrayPixel:
        """Return the pixel in hand, with all that the network sees of its neighbours."""
        centre, unit, features = self.context(x, y)
        stream = self.layer("input")(features)
        learner, passed = self.learner_in_hand, {}
        for i, kept in enumerate(self.kept):
            kept[x, y] = relu(stream >> 4)
            places = [(x - 1, y - 1), (x, y - 1), (x + 1, y - 1), (x - 1, y), (x, y)]
            vectors = [
                kept[a, b] if 0 <= a < self.width and b >= 0 else zeros(len(stream))
                for a, b in places
            ]
            taps = np.concatenate(vectors)
            if learner is not None and i in learner.learning:
                inside = relu(learner.spatial[i](taps))
                stream = stream + learner.mix[i](inside)
                passed[i] = taps, inside
            else:
                inside = relu(self.layer(f"spatial.{i}")(taps))
                stream = stream + self.layer(f"mix.{i}")(inside)
        return GrayPixel(x, y, centre, unit, features, relu(stream >> 4), passed=passed)

    @staticmethod
    def learner(network: Network, header: Header) -> GrayLearner | None:
        """Return layers that learn, begun anew."""
        return GrayLearner(network, header.learning) if header.learning > 1 else None

    def learn_by(self, learner: GrayLearner | None) -> None:
        """Share the layers of a ``learner`` with others."""
        self.learner_in_hand = learner

    def distribution(self, pixel: GrayPixel, c: int) -> GrayMixture:
        """Return the distribution of the one channel of ``pixel``."""
        learner, k = self.learner_in_hand, self.config["components"]
        head = self.layer("head") if learner is None else learner.head
        output = self.layer("parameters") if learner is None else learner.parameters
        inputs = np.concatenate([pixel.activations, pixel.features])
        hidden = relu(head(inputs))
        to_output = np.concatenate([hidden, pixel.features])
        parameters = output(to_output).tolist()
        logits, means, scales = parameters[:k], parameters[k : 2 * k], parameters[2 * k :]
        size, most = self.unit[pixel.unit], 16 * (self.highest + 64)
        of_levels = [((mean * size) >> 10) + 16 * pixel.centre for mean in means]
        found = GrayMixture(
            weights=[self.exp[min(max(logits) - logit, 255)] for logit in logits],
            means=[min(max(mean, -1024), most) for mean in of_levels],
            scales=[min(max(scale + 2 * pixel.unit, 0), 159) for scale in scales],
            sigmoid=self.sigmoid,
            inverse_scale=self.inverse_scale,
            levels=self.highest + 1,
            floor=1 if self.highest > 255 else 64,
        )
        pixel.lesson = GrayLesson(inputs, hidden, to_output, parameters, found)
        return found

    def decoded(self, pixel: GrayPixel, c: int) -> None:
        """Take in the sample of ``pixel``."""
        self.samples[pixel.x, pixel.y] = pixel.samples[0]


# The networks of the paper


# The architecture graphics-1


@dataclass
class GraphicsPixel(Pixel):
    """A pixel as ``graphics-1`` knows it."""

    contexts: list[int]
    colours: list[int]
    rows: list[Vector]
    centre: list[int]
    seen: list[int]
    weights: list[int]
    first: list[int] = field(init=False)
    lessons: dict[int, tuple[Vector, Vector, list[int], Mixture]] = field(default_factory=dict)
    whole: list[int] = field(default_factory=lambda: [0, 0, 0, 255])

    def __post_init__(self) -> None:
        """Keep the weights that it had at first."""
        self.first = self.weights


@dataclass(frozen=True)
class ColourMixture(Distribution):
    """What candidates, new and seen colours give."""

    levels: list[int]
    weights: list[int]
    new: list[int] | None
    seen: list[int]

    def below(self, e: int) -> int:
        """Return F(e)."""
        of_candidates = zip(self.levels, self.weights, strict=False)
        return self.spread(0, e) + sum(weight for level, weight in of_candidates if level < e)

    def spread(self, low: int, high: int) -> int:
        """Return what new and seen colours have between two edges."""
        if self.new is None:
            return (sum(self.weights[-2:]) * high >> 8) - (sum(self.weights[-2:]) * low >> 8)
        return self.part(self.new, -2, low, high) + self.part(self.seen, -1, low, high)

    def part(self, masses: list[int], which: int, low: int, high: int) -> int:
        """Return what one of the two has between two edges."""
        if masses[256] == 0:
            return 0
        return self.weights[which] * (masses[high] - masses[low]) // masses[256]

    def after(self, sample: int) -> list[int]:
        """Return the weights once the ``sample`` is known."""
        if self.new is None:
            new, seen = (weight >> 8 for weight in self.weights[-2:])
        else:
            new = self.part(self.new, -2, sample, sample + 1)
            seen = self.part(self.seen, -1, sample, sample + 1)
        of_candidates = zip(self.levels, self.weights, strict=False)
        left = [weight if level == sample else 0 for level, weight in of_candidates]
        return filled([*left, max(new, 1), seen])


def filled(weights: list[int]) -> list[int]:
    """Return ``weights``, doubled as often as they may be."""
    shift = 0
    while sum(weights) << (shift + 1) < 2**28:
        shift += 1
    return [weight << shift for weight in weights]


def logarithm(n: int) -> int:
    """Return log(n)."""
    e = (n + 1).bit_length() - 1
    return min(8 * e + ((8 * (n + 1) >> e) % 8), 127)


def colour_of(samples: list[int]) -> int:
    """Return the colour of four samples."""
    return sum(sample << 10 * c for c, sample in enumerate(samples))


def level_of(colour: int, c: int) -> int:
    """Return channel ``c`` of a colour."""
    return (colour >> 10 * c) & 1023


def distance(one: int, other: int) -> int:
    """Return the distance of two colours."""
    return sum(abs(level_of(one, c) - level_of(other, c)) for c in range(4))


def stirred(*numbers: int) -> int:
    """Return the numbers stirred one after the other."""
    state = 0
    for number in numbers:
        state = (state + number + 1) * 11400714819323198485 % 2**64
    return state


class Memory:
    """Memory and palette, and the layers, which may learn."""

    def __init__(self, network: Network, learning: int, colour: int) -> None:
        """Begin with nothing."""
        self.slots: list[dict[int, tuple[int, list[tuple[int, int]]]]] = [{} for _ in range(8)]
        self.palette: set[int] = set()
        self.coded = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[colour]
        self.rate = 64 if learning else 0
        self.t, self.surprises = 0, 0
        self.choice, self.logit = self.layer(network, "choice"), self.layer(network, "logit")
        self.head = [self.layer(network, f"head.{c}") for c in range(4)]
        self.parameters = [self.layer(network, f"parameters.{c}") for c in range(4)]

    def layer(self, network: Network, name: str) -> LearningLayer:
        """Return the layer ``name``."""
        layer = network.layer(name)
        return LearningLayer(layer, list(range(len(layer.weight))), len(layer.weight))

    def entries(self, i: int, context: int) -> list[tuple[int, int]]:
        """Return colours and counts of a context."""
        key, entries = self.slots[i].get((context >> 46) % 65536, (0, []))
        return entries if key == (context >> 12) % 2**32 + 1 else []

    def learn(self, pixels: list[GraphicsPixel]) -> None:
        """Take in a wave."""
        if self.rate:
            for pixel in pixels:
                self.take_in(pixel)
            if self.surprises >= 64:
                heads = [layers[c] for layers in (self.head, self.parameters) for c in self.coded]
                for layer in (self.choice, self.logit, *heads):
                    layer.update(self.t, self.rate)
                self.t, self.surprises = self.t + 1, 0
        for pixel in pixels:
            self.remember(pixel)
        for pixel in pixels:
            if len(self.palette) < 4096:
                self.palette.add(colour_of(pixel.whole))

    def remember(self, pixel: GraphicsPixel) -> None:
        """Take in the colour of a ``pixel`` at all its contexts."""
        colour = colour_of(pixel.whole)
        for i, context in enumerate(pixel.contexts):
            entries = self.entries(i, context)
            n = sum(count for other, count in entries if other == colour)
            others = [entry for entry in entries if entry[0] != colour][:2]
            halved = [(other, k // 2 + 1 if k > 2 else k) for other, k in others]
            found = [(colour, min(n + 1, 65535)), *halved]
            self.slots[i][(context >> 46) % 65536] = (context >> 12) % 2**32 + 1, found

    def take_in(self, pixel: GraphicsPixel) -> None:
        """Add to all sums what a ``pixel`` tells."""
        colour = colour_of(pixel.whole)
        known = [*pixel.colours, None, colour if colour in self.palette else None]
        target = known.index(colour) if colour in known else len(known) - 2
        total = sum(pixel.first)
        if (total - pixel.first[target]) * 256 >= total:
            self.surprises += 1
            for i, (row, weight) in enumerate(zip(pixel.rows, pixel.first, strict=True)):
                d = np.array([(weight << 15) // total - (2**15 if i == target else 0)])
                self.pass_back(self.choice, self.logit, row, relu(self.choice(row)), d)
        if target != len(known) - 2:
            return
        for c, (inputs, hidden, parameters, mixture) in pixel.lessons.items():
            residuals = [pixel.whole[d] - pixel.centre[d] for d in range(c)]
            d = np.array(mixture.gradient(pixel.whole[c], parameters, residuals))
            self.pass_back(self.head[c], self.parameters[c], inputs, hidden, d)

    def pass_back(
        self, one: LearningLayer, two: LearningLayer, inputs: Vector, hidden: Vector, d: Vector
    ) -> None:
        """Add to the sums of two layers."""
        two.take_in(hidden, d)
        one.take_in(inputs, two.back(hidden, d))


class Graphics(Architecture):
    """The architecture ``graphics-1``."""

    slope = 2
    memory: Memory
    NEIGHBOURS: ClassVar = [
        *((-1, 0), (0, -1), (-1, -1), (1, -1), (-2, 0), (0, -2), (1, -2), (-2, -1)),
        *((-1, -2), (2, -2), (-2, -2), (-3, 0), (0, -3), (3, -2), (1, -3), (-1, -3)),
    ]

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        self.network, self.width, self.colour = network, width, header.colour
        if header.bit_depth != 8:
            raise ValueError("a bit depth of which the model codes no images")
        self.companding, self.sigmoid = (
            network.table("companding", 1024),
            network.table("sigmoid", 4096),
        )
        self.inverse_scale, self.exp = network.table("inverse_scale", 80), network.table("exp", 256)
        self.choice_exp = network.table("choice_exp", 512)
        self.pixels: dict[Place, GraphicsPixel] = {}

    @staticmethod
    def learner(network: Network, header: Header) -> Memory:
        """Return memory, palette and layers, begun anew."""
        return Memory(network, header.learning, header.colour)

    def learn_by(self, learner: Memory) -> None:
        """Share them."""
        self.memory = learner

    def samples_of(self, x: int, y: int) -> list[int]:
        """Return the four channels of a pixel."""
        return self.pixels[x, y].whole if 0 <= x < self.width and y >= 0 else [640] * 4

    def novel(self, x: int, y: int) -> bool:
        """Return whether a pixel was no candidate."""
        pixel = self.pixels[x, y] if 0 <= x < self.width and y >= 0 else None
        return pixel is None or colour_of(pixel.whole) not in pixel.colours

    def look(self, x: int, y: int) -> GraphicsPixel:
        """Return the pixel in hand."""
        places = [(x + dx, y + dy) for dx, dy in self.NEIGHBOURS]
        near = [self.samples_of(*place) for place in places]
        w, n, nw = near[:3]
        centre = [
            max(min(w[c], n[c]), min(max(w[c], n[c]), w[c] + n[c] - nw[c])) & 255 for c in range(4)
        ]
        neighbours = [colour_of(samples) for samples in near]
        coarse = [colour_of([sample & ~31 for sample in samples]) for samples in near[:4]]
        contexts = [stirred(*neighbours[:k], i) for i, k in enumerate((16, 10, 6, 4, 2, 1))]
        contexts += [stirred(*coarse, 6), stirred(7)]
        colours = self.candidates(near, contexts)
        of_pixel = [
            *(16 * (neighbours[i] == neighbours[j]) for i, j in PAIRS),
            *(16 * self.novel(*place) for place in places[:6]),
            *(logarithm(distance(neighbours[i], neighbours[j])) for i, j in PAIRS[:4]),
            *(8 * len(colours), logarithm(len(self.memory.palette))),
        ]
        rows = []
        for own in [*colours, None, None]:
            away = 0 if own is None else logarithm(distance(own, colour_of(centre)))
            row = [*(16 * (colour == own) for colour in neighbours)]
            row += [v for i, h in enumerate(contexts) for v in self.known(i, h, own)]
            is_new, is_seen = len(rows) == len(colours), len(rows) > len(colours)
            rows.append(np.array([*row, away, *of_pixel, 16 * is_new, 16 * is_seen]))
        seen = [
            self.companding[255 + samples[c] - centre[c]] for samples in near for c in range(4)
        ] + [max(value - 128, -127) for value in centre]
        logits = [int(self.memory.logit(relu(self.memory.choice(row)))[0]) for row in rows]
        weights = [self.choice_exp[min(max(logits) - logit, 511)] for logit in logits]
        weights[-2] = max(weights[-2], 1)
        pixel = GraphicsPixel(x, y, contexts, colours, rows, centre, seen, filled(weights))
        self.pixels[x, y] = pixel
        return pixel

    def candidates(self, near: list[list[int]], contexts: list[int]) -> list[int]:
        """Return the candidates of a pixel."""
        found = [colour_of(samples) for samples in near[:6] if samples[0] != 640]
        for i, context in enumerate(contexts):
            entries = self.memory.entries(i, context)
            found += [colour for colour, _ in entries]
            if sum(count for _, count in entries) >= 20:
                break
        found = found or [colour_of(s) for s in ([0] * 4, [255] * 4, [0, 0, 0, 255])]
        return list(dict.fromkeys(found))[:12]

    def known(self, i: int, context: int, colour: int | None) -> tuple[int, int, int]:
        """Return three features that tell what the memory knows of a colour in a context."""
        entries = self.memory.entries(i, context)
        n = sum(count for other, count in entries if other == colour)
        rest = sum(count for _, count in entries) - n
        return logarithm(n), logarithm(rest), 16 * (entries[:1] == [(colour, n)])

    def distribution(self, pixel: GraphicsPixel, c: int) -> ColourMixture:
        """Return the distribution of the next channel."""
        c = self.memory.coded[c]
        levels = [level_of(colour, c) for colour in pixel.colours]
        if sum(pixel.weights[-2:]) < 2**16:
            return ColourMixture(levels, pixel.weights, None, [])
        residuals = [pixel.whole[d] - pixel.centre[d] for d in range(c)]
        inputs = np.array([*pixel.seen, *(self.companding[255 + r] for r in residuals)])
        hidden = relu(self.memory.head[c](inputs))
        parameters = self.memory.parameters[c](hidden).tolist()
        k = self.network.config["components"]
        logits, means, scales, slopes = (
            parameters[a:b] for a, b in ((0, k), (k, 2 * k), (2 * k, 3 * k), (3 * k, None))
        )
        moved = sum(slope * r for slope, r in zip(slopes, residuals, strict=True)) >> 4
        mixture = Mixture(
            [self.exp[min(max(logits) - logit, 255)] for logit in logits],
            [min(max(m + moved + 16 * pixel.centre[c], -128), 4208) for m in means],
            [min(max(s, 0), 79) for s in scales],
            self.sigmoid,
            self.inverse_scale,
        )
        pixel.lessons[c] = inputs, hidden, parameters, mixture
        new = [e + mixture.below(e) - mixture.below(0) for e in range(257)]
        begins = pixel.whole[:c]
        times = [0] * 256
        for colour in self.memory.palette - set(pixel.colours):
            if [level_of(colour, d) for d in range(c)] == begins:
                times[level_of(colour, c)] += 1
        masses = [t * (1 + ((new[v + 1] - new[v]) >> 10)) for v, t in enumerate(times)]
        return ColourMixture(levels, pixel.weights, new, [0, *accumulate(masses)])

    def decoded(self, pixel: GraphicsPixel, c: int) -> None:
        """Take in a channel."""
        found, sample, c = self.distribution(pixel, c), pixel.samples[-1], self.memory.coded[c]
        pixel.whole[c] = sample
        if c == 0 and self.colour < 3:
            pixel.whole[1:3] = sample, sample
        pixel.weights = found.after(sample)


PAIRS = [(0, 1), (0, 2), (1, 2), (1, 3), (0, 4), (1, 5), (3, 6), (2, 7)]
"""Neighbours that are compared."""


@dataclass(frozen=True)
class Softmax(Distribution):
    """A distribution that may have any shape: the masses below all levels, and below the end."""

    masses: list[int]

    def below(self, e: int) -> int:
        """Return F(e)."""
        return self.masses[min(e, len(self.masses) - 1)]


def group(n: int, g: int, groups: int) -> slice:
    """Return which of ``n`` features group ``g`` has."""
    return slice(-(-n * g // groups), -(-n * (g + 1) // groups))


class Plane:
    """A feature vector for each pixel, filled group by group."""

    def __init__(self, width: int, n: int, groups: int) -> None:
        """Begin an image of ``width`` columns with no pixel known, of ``n`` features each."""
        self.width, self.n, self.groups = width, n, groups
        self.vectors: dict[Place, Vector] = {}

    def __getitem__(self, place: Place) -> Vector:
        """Return the vector of the pixel at ``place``."""
        x, y = place
        return self.vectors[place] if 0 <= x < self.width and y >= 0 else zeros(self.n)

    def begin(self, x: int, y: int) -> None:
        """Begin a pixel with zeros."""
        self.vectors[x, y] = zeros(self.n)

    def put(self, place: Place, g: int, values: Vector) -> Vector:
        """Make ``values`` group ``g`` of the vector at ``place``, which is returned."""
        vector = self.vectors[place]
        vector[group(self.n, g, self.groups)] = values
        return vector

    def taps(self, *places: Place) -> Vector:
        """Return the vectors at ``places``, one after the other."""
        return np.concatenate([self[place] for place in places])


class PaperNetwork(Architecture):
    """What the networks of "Pixel Recurrent Neural Networks" have in common."""

    slope = 4

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        self.layer, self.config = network.layer, network.config
        self.groups, self.bit_depth = self.config["channels"], self.config["bit_depth"]
        if (header.colour, header.bit_depth) != (self.groups, self.bit_depth):
            raise ValueError("a colour or bit depth of which the model codes no images")
        self.width, self.features = width, self.config["hidden"]
        self.exp = network.table("exp", 512)
        self.planes: list[Plane] = []
        self.samples = self.plane(self.groups)
        self.seen = self.plane_of_each_layer(2 * self.features)
        self.after = self.plane_of_each_layer(2 * self.features)
        self.last, self.hidden = self.plane(2 * self.features), self.plane(self.config["head"])

    def plane(self, n: int) -> Plane:
        """Return a new plane of ``n`` features."""
        self.planes.append(Plane(self.width, n, self.groups))
        return self.planes[-1]

    def plane_of_each_layer(self, n: int) -> list[Plane]:
        """Return as many planes of ``n`` features as there are layers."""
        return [self.plane(n) for _ in range(self.config["layers"])]

    @abstractmethod
    def change(self, i: int, x: int, y: int, g: int) -> Vector:
        """Return what layer ``i`` makes of group ``g`` of what it sees at (x, y)."""

    def look(self, x: int, y: int) -> Pixel:
        """Return the pixel in hand, of which nothing is known."""
        for plane in self.planes:
            plane.begin(x, y)
        return Pixel(x, y)

    def logits(self, pixel: Pixel, g: int) -> list[int]:
        """Return the logits of channel ``g`` of ``pixel``."""
        x, y = here = pixel.x, pixel.y
        runs = {-3: range(-3, 4), -2: range(-3, 4), -1: range(-3, 4), 0: range(-3, 1)}
        taps = self.samples.taps(*((x + dx, y + dy) for dy, run in runs.items() for dx in run))
        stream = self.layer(f"input.{g}")(taps)
        skipped = zeros(len(stream))
        for i in range(self.config["layers"]):
            self.seen[i].put(here, g, relu(stream >> 4))
            change = self.change(i, x, y, g)
            stream = stream + change if self.config["residual"] else change
            if self.config["skip"]:
                after = self.after[i].put(here, g, relu(stream >> 4))
                skipped = skipped + self.layer(f"skip.{i}.{g}")(after)
        if self.config["skip"] and self.config["layers"] > 0:
            stream = skipped
        last = self.last.put(here, g, relu(stream >> 4))
        hidden = self.hidden.put(here, g, relu(self.layer(f"head.{g}")(last)))
        logits: list[int] = self.layer(f"logits.{g}")(hidden).tolist()
        return logits

    def distribution(self, pixel: Pixel, c: int) -> Softmax:
        """Return the distribution of channel ``c`` of ``pixel``."""
        logits = self.logits(pixel, c)
        largest = max(logits)
        weights = [self.exp[min(largest - logit, 511)] for logit in logits]
        below = list(accumulate(weights, initial=0))
        s = 0
        while 2 ** (s + 1) * below[-1] < 2**28:
            s += 1
        return Softmax([2**s * mass for mass in below])

    def feature(self, sample: int) -> int:
        """Return ``sample`` as the network sees it."""
        return max(sample - 128, -127) if self.bit_depth == 8 else 128 * sample - 64

    def decoded(self, pixel: Pixel, c: int) -> None:
        """Take in channel ``c`` of ``pixel``."""
        self.samples[pixel.x, pixel.y][c] = self.feature(pixel.samples[c])


# The architecture pixelcnn-1


class PixelCNN(PaperNetwork):
    """The architecture ``pixelcnn-1``."""

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        super().__init__(network, header, width)
        self.reduced = self.plane_of_each_layer(self.features)
        self.inside = self.plane_of_each_layer(self.features)

    def change(self, i: int, x: int, y: int, g: int) -> Vector:
        """Return what layer ``i`` makes of group ``g`` of what it sees at (x, y)."""
        reduced = relu(self.layer(f"layer.{i}.reduce.{g}")(self.seen[i][x, y]))
        self.reduced[i].put((x, y), g, reduced)
        taps = self.reduced[i].taps((x - 1, y - 1), (x, y - 1), (x + 1, y - 1), (x - 1, y), (x, y))
        inside = relu(self.layer(f"layer.{i}.spatial.{g}")(taps))
        return self.layer(f"layer.{i}.expand.{g}")(self.inside[i].put((x, y), g, inside))


# LSTM cells


class Cells:
    """The step of LSTM cells."""

    def __init__(self, network: Network) -> None:
        """Take the tables of ``network``."""
        self.sigmoid, self.tanh = (network.table(name, 2048) for name in ("sigmoid", "tanh"))

    def __call__(self, gates: Vector, before: Vector) -> tuple[Vector, Vector]:
        """Return cell values and states, of ``gates`` and the cell values ``before``."""
        n = len(before)
        steps = [self.step(gates[j::n].tolist(), int(before[j])) for j in range(n)]
        values, states = np.array(steps, np.int64).T
        return values, states

    def step(self, gates: list[int], before: int) -> tuple[int, int]:
        """Return the value and the state of one cell."""

        def at(v: int) -> int:
            return min(max(v, -1024), 1023) + 1024

        o, f, i = (self.sigmoid[at(gate)] for gate in gates[:3])
        g = self.tanh[at(gates[3])]
        value = min(max((f * before + i * g + 2048) >> 12, -32767), 32767)
        state = (o * self.tanh[at((value + 16) >> 5)] + 65536) >> 17
        return value, min(max(state, -127), 127)


# The architecture row-lstm-1


class RowLSTM(PaperNetwork):
    """The architecture ``row-lstm-1``."""

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        super().__init__(network, header, width)
        self.cells = Cells(network)
        self.values = self.plane_of_each_layer(self.features)
        self.states = self.plane_of_each_layer(self.features)

    def taps(self, i: int, x: int, y: int) -> Vector:
        """Return what the gates of layer ``i`` see at (x, y)."""
        seen = self.seen[i].taps((x - 1, y), (x, y))
        above = self.states[i].taps((x - 1, y - 1), (x, y - 1), (x + 1, y - 1))
        return np.concatenate([seen, above])

    def change(self, i: int, x: int, y: int, g: int) -> Vector:
        """Return what layer ``i`` makes of group ``g`` of what it sees at (x, y)."""
        gates = self.layer(f"layer.{i}.gates.{g}")(self.taps(i, x, y))
        own = group(self.features, g, self.groups)
        values, states = self.cells(gates, self.values[i][x, y - 1][own])
        self.values[i].put((x, y), g, values)
        return self.layer(f"layer.{i}.expand.{g}")(self.states[i].put((x, y), g, states))


# The architecture diagonal-bilstm-1


class DiagonalBiLSTM(PaperNetwork):
    """The architecture ``diagonal-bilstm-1``."""

    slope = 0

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        super().__init__(network, header, width)
        self.cells = Cells(network)
        self.left_values, self.left, self.right_values, self.right = (
            self.plane_of_each_layer(self.features) for _ in range(4)
        )

    def change(self, i: int, x: int, y: int, g: int) -> Vector:
        """Return what layer ``i`` makes of group ``g`` of what it sees at (x, y)."""
        states = self.left[i].taps((x, y - 1), (x - 1, y))
        taps = np.concatenate([self.seen[i][x, y], states])
        gates = self.layer(f"layer.{i}.left.{g}")(taps)
        own = group(self.features, g, self.groups)
        values, left = self.cells(gates, self.left_values[i][x - 1, y][own])
        self.left_values[i].put((x, y), g, values)
        both = self.left[i].put((x, y), g, left) + self.right[i][x, y - 1]
        return self.layer(f"layer.{i}.expand.{g}")(both)

    def decoded(self, pixel: Pixel, c: int) -> None:
        """Take in channel ``c`` of ``pixel``; the last of a row lets cells run from the right."""
        super().decoded(pixel, c)
        if pixel.x == self.width - 1 and c == self.groups - 1:
            for i in range(self.config["layers"]):
                self.run_from_right(i, pixel.y)

    def run_from_right(self, i: int, y: int) -> None:
        """Run the cells of layer ``i`` from the right through row ``y``."""
        for x in reversed(range(self.width)):
            states = self.right[i].taps((x, y - 1), (x + 1, y))
            gates = self.layer(f"layer.{i}.right")(np.concatenate([self.seen[i][x, y], states]))
            values, right = self.cells(gates, self.right_values[i][x + 1, y])
            self.right_values[i].vectors[x, y] = values
            self.right[i].vectors[x, y] = right


# The architecture multi-scale-row-lstm-1


class MultiScaleRowLSTM(RowLSTM):
    """The second scale of the architecture ``multi-scale-row-lstm-1``; the first is a Row LSTM."""

    def __init__(self, network: Network, header: Header, width: int) -> None:
        """Begin an image with no pixel known."""
        super().__init__(network.part("large"), header, width)
        self.upsampler, self.step = network.part("upsampler").layer, self.config["step"]

    @classmethod
    def scales(cls, network: Network) -> list[tuple[int, type[Architecture], Network]]:
        """Return of each scale of ``network``: step, architecture, and network of that."""
        return [(network.config["step"], RowLSTM, network.part("small")), (1, cls, network)]

    def begin(self, above: int, known: dict[Place, list[int]]) -> None:
        """Begin a strip, or tile, below ``above`` rows, with the maps of the ``known`` pixels."""
        super().begin(above, known)
        small = {
            (x // self.step, y // self.step): np.array([self.feature(sample) for sample in samples])
            for (x, y), samples in known.items()
        }
        context = self.convolved("context", self.convolved("samples", small))
        enlarge = self.upsampler("enlarge")
        self.enlarged = {place: relu(enlarge(values)) for place, values in context.items()}

    def convolved(self, name: str, vectors: dict[Place, Vector]) -> dict[Place, Vector]:
        """Return what the layer ``name`` of 3x3 makes of ``vectors``, zeros beyond all of them."""
        layer, outside = self.upsampler(name), zeros(len(vectors[0, 0]))
        found = {}
        for x, y in vectors:
            square = [(x + dx, y + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            taps = [vectors.get(place, outside) for place in square]
            found[x, y] = relu(layer(np.concatenate(taps)))
        return found

    def maps(self, x: int, y: int) -> Vector:
        """Return the maps of the pixel at (x, y)."""
        step, y = self.step, y - self.above
        return self.enlarged[x // step, y // step][step * (y % step) + x % step :: step**2]

    def taps(self, i: int, x: int, y: int) -> Vector:
        """Return what the gates of layer ``i`` see at (x, y)."""
        return np.concatenate([super().taps(i, x, y), self.maps(x, y)])


ARCHITECTURES: dict[str, type[Architecture]] = {
    "wavefront-pixelcnn-1": WavefrontPixelCNN,
    "wavefront-gray-1": WavefrontGray,
    "graphics-1": Graphics,
    "pixelcnn-1": PixelCNN,
    "row-lstm-1": RowLSTM,
    "diagonal-bilstm-1": DiagonalBiLSTM,
    "multi-scale-row-lstm-1": MultiScaleRowLSTM,
}


# Symbols and range coder


class RangeDecoder:
    """The range coder of one part of a strip."""

    def __init__(self, payload: bytes) -> None:
        """Start with the first two words of ``payload``."""
        if len(payload) % 4:
            raise ValueError("a part of a word")
        self.words = list(struct.unpack(f"<{len(payload) // 4}I", payload))
        self.lower = 0
        self.range = 2**64 - 1
        self.point = self.next_word() << 32
        self.point += self.next_word()

    def next_word(self) -> int:
        """Take the next word, or zero if there is none left."""
        return self.words.pop(0) if self.words else 0

    def symbol(self, frequencies: list[int]) -> int:
        """Decode a symbol, of which there are as many as ``frequencies``."""
        scale = self.range >> 24
        q = (self.point - self.lower) % 2**64 // scale
        if q >= 2**24:
            raise ValueError("a damaged strip")
        symbol = left = 0
        while q >= left + frequencies[symbol]:
            left += frequencies[symbol]
            symbol += 1
        self.lower = (self.lower + scale * left) % 2**64
        self.range = scale * frequencies[symbol]
        if self.range < 2**32:
            self.lower = self.lower * 2**32 % 2**64
            self.range = self.range * 2**32
            self.point = self.point * 2**32 % 2**64 + self.next_word()
        return symbol


def frequencies(distribution: Distribution, edges: range) -> list[int]:
    """Return the frequencies of the 18 symbols of a choice between the 17 ``edges``."""
    masses = [distribution.mass(e) for e in edges]
    lowest, highest = masses[0], masses[-1]
    shares = [(mass - lowest) * (2**24 - 18) // (highest - lowest) for mass in masses]
    return [1, *(shares[i + 1] - shares[i] + 1 for i in range(16)), 1]


def choose(coder: RangeDecoder, distribution: Distribution, edges: range) -> int:
    """Decode one choice among the 16 branches between 17 ``edges``."""
    symbol = coder.symbol(frequencies(distribution, edges))
    if not 1 <= symbol <= 16:
        raise ValueError("a symbol that never occurs")
    return symbol - 1


def decode_samples(
    coder: RangeDecoder, distributions: list[Distribution], bit_depth: int
) -> list[int]:
    """Decode a sample of each of ``distributions``."""
    samples = [0] * len(distributions)
    for width in {1: [1], 8: [16, 1], 16: [4096, 256, 16, 1]}[bit_depth]:
        samples = [
            s + width * choose(coder, distribution, range(s, s + 16 * width + 1, width))
            for s, distribution in zip(samples, distributions, strict=True)
        ]
    if any(s >= 2**bit_depth for s in samples):
        raise ValueError("a branch that never occurs")
    return samples


@dataclass(frozen=True)
class Tile:
    """A tile, or a whole strip, at one scale.

    ``left`` and ``top`` are where it begins in the last scale, ``width`` and ``height`` its size in
    this one.
    """

    left: int
    top: int
    width: int
    height: int
    step: int
    image: Architecture

    def place(self, x: int, y: int) -> Place:
        """Return where in the last scale the pixel at (x, y) of the tile lies."""
        return self.left + self.step * x, self.top + self.step * y


def lengths(whole: int, tile: int) -> list[tuple[list[int], int]]:
    """Where tiles begin along a side of ``whole`` pixels, and their length: first the full ones."""
    full = list(range(0, whole - tile + 1, tile))
    return [(full, tile), ([len(full) * tile] if whole % tile else [], whole % tile)]


def waves(width: int, height: int, slope: int) -> Iterator[list[Place]]:
    """The places of each wave of a tile, from the top row down."""
    if slope == 0:
        yield from ([(x, y)] for y in range(height) for x in range(width))
        return
    for t in range((width - 1) + slope * (height - 1) + 1):
        yield [(t - slope * y, y) for y in range(height) if 0 <= t - slope * y < width]


class Scale:
    """One scale of an image: every ``step``-th pixel of every ``step``-th row."""

    def __init__(
        self, header: Header, step: int, make: type[Architecture], network: Network
    ) -> None:
        """Start with no pixel decoded."""
        self.header, self.step, self.make, self.network = header, step, make, network
        self.slope = make.slope
        self.whole = self.image(header.width)
        self.learner = make.learner(network, header)

    def image(self, width: int) -> Architecture:
        """Return the network, begun anew; the image has ``width`` columns in the last scale."""
        return self.make(self.network, self.header, -(-width // self.step))

    def tile(self, left: int, top: int, width: int, height: int, image: Architecture) -> Tile:
        """Return the tile of that place and size in the last scale."""
        step = self.step
        return Tile(left, top, -(-width // step), -(-height // step), step, image)

    def stacks(self, rows: range) -> Iterator[list[Tile]]:
        """The stacks of the strip of ``rows``."""
        width, tile = self.header.width, self.header.tile
        if tile == 0:
            image = self.image(width) if self.header.independent else self.whole
            yield [self.tile(0, rows.start, width, len(rows), image)]
            return
        for tops, height in lengths(len(rows), tile):
            for lefts, breadth in lengths(width, tile):
                tiles = [
                    self.tile(left, rows.start + top, breadth, height, self.image(breadth))
                    for top in tops
                    for left in lefts
                ]
                most = max(1, min(512, 2**19 // tile**2))
                for first in range(0, len(tiles), most):
                    yield tiles[first : first + most]

    def learner_of(self, stack: list[Tile]) -> Any:
        """Return what learns from ``stack``: that of the whole image, or one begun anew."""
        if stack[0].image is self.whole:
            return self.learner
        return self.make.learner(self.network, self.header)

    def above(self, tile: Tile) -> int:
        """Return the rows above ``tile`` that its network has seen."""
        return tile.top // self.step if tile.image is self.whole else 0


class Decoder:
    """A component that a model codes, so far."""

    def __init__(self, header: Header, network: Network) -> None:
        """Start with no pixel decoded."""
        if network.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {network.architecture}")
        scales = ARCHITECTURES[network.architecture].scales(network)
        if header.strip_rows % scales[0][0] or header.tile % scales[0][0]:
            raise ValueError("strip rows or tile that the model does not have")
        self.header = header
        self.scales = [Scale(header, *scale) for scale in scales]
        self.parts = len(scales)
        self.samples: dict[Place, list[int]] = {}

    def strip(self, rows: range, parts: list[bytes]) -> None:
        """Decode the strip of ``rows``, which comes next."""
        if len(parts) != self.parts:
            raise ValueError("other parts than the model has scales")
        for scale, payload in zip(self.scales, parts, strict=True):
            coder = RangeDecoder(payload)
            for stack in scale.stacks(rows):
                learner = scale.learner_of(stack)
                for tile in stack:
                    tile.image.learn_by(learner)
                    tile.image.begin(scale.above(tile), self.known(tile))
                for places in waves(stack[0].width, stack[0].height, scale.slope):
                    pixels = self.wave(stack, places, coder)
                    if learner is not None:
                        learner.learn(pixels)

    def known(self, tile: Tile) -> dict[Place, list[int]]:
        """Return the samples of the pixels of ``tile`` that are decoded already."""
        places = {(x, y): tile.place(x, y) for x in range(tile.width) for y in range(tile.height)}
        return {k: self.samples[place] for k, place in places.items() if place in self.samples}

    def wave(self, stack: list[Tile], places: list[Place], coder: RangeDecoder) -> list[Any]:
        """Decode the pixels at ``places`` in all tiles of ``stack``, and return them."""
        pixels = [
            (tile, tile.place(x, y), tile.image.look(x, tile.image.above + y))
            for tile in stack
            for x, y in places
        ]
        for c in range(self.header.colour):
            found = {place: tile.image.distribution(pixel, c) for tile, place, pixel in pixels}
            due = [place for place in found if place not in self.samples]
            samples = decode_samples(coder, [found[place] for place in due], self.header.bit_depth)
            decoded = dict(zip(due, samples, strict=True))
            for tile, place, pixel in pixels:
                known = self.samples.get(place)
                pixel.samples.append(known[c] if known else decoded[place])
                tile.image.decoded(pixel, c)
        for _, place, pixel in pixels:
            self.samples[place] = pixel.samples
        return [pixel for _, _, pixel in pixels]

    def image(self) -> Samples:
        """Return all samples, [height, width, colour]."""
        rows, columns = range(self.header.height), range(self.header.width)
        return np.array([[self.samples[x, y] for x in columns] for y in rows])


# Changes of a model


@dataclass
class Values(Distribution):
    """The distribution of a value of a change, by its two codes."""

    zeros: int
    ratio: int

    def __post_init__(self) -> None:
        """Sum up the masses of the values -128 to 127."""
        of_distance = [(8 + self.zeros % 8) << self.zeros // 8, 2**20]
        while len(of_distance) < 129:
            of_distance.append(of_distance[-1] * self.ratio >> 8)
        masses = [of_distance[abs(sample - 128)] for sample in range(256)]
        self.sums = [0, *accumulate(masses)]

    def below(self, e: int) -> int:
        """Return F(e)."""
        return self.sums[e]


def changed(network: Network, changes: bytes) -> Network:
    """Return ``network`` with the ``changes`` of a stream."""
    names = sorted({name.split(".", 1)[1].rsplit(".", 1)[0] for name in network.tensors})
    layers = [name for name in names if f"layers.{name}.weight" in network.tensors]
    parts = [f"layers.{name}.{part}" for name in sorted(layers) for part in ("bias", "weight")]
    heads, place = [], 0
    for part in parts:
        if changes[place]:
            code, zeros, ratio = changes[place : place + 3]
            if code > 16 or zeros >= 200:
                raise ValueError("codes that are not used")
            heads.append((part, code - 1, Values(zeros, ratio)))
        place += 3 if changes[place] else 1
    coder = RangeDecoder(changes[place:])
    new = copy(network)
    new.tensors = dict(network.tensors)
    for part, shift, distribution in heads:
        old = network.tensors[part]
        samples = decode_samples(coder, [distribution] * old.size, 8)
        steps = np.array(samples, np.int64).reshape(old.shape) - 128
        new.tensors[part] = old + (steps << shift)
        most = 127 if part.endswith("weight") else 2**31 - 1
        if abs(new.tensors[part]).max() > most:
            raise ValueError("a change that leads too far")
    return new


# The whole


def component_decoder(
    header: Header, networks: list[Network], changes: bytes
) -> Decoder | StandardDecoder:
    """Return a decoder of the component of that ``header``, which one of ``networks`` wrote."""
    if header.model_id == bytes(8):
        return StandardDecoder(header)
    for network in networks:
        if network.sha256[:8] == header.model_id:
            return Decoder(header, changed(network, changes) if changes else network)
    raise ValueError("another model wrote this stream")


def decode(data: bytes, *model_files: bytes | Path) -> Samples:
    """Return the samples of the stream ``data``, which the models in ``model_files`` wrote.

    They have the shape [height, width] if the colour is 1, else [height, width, colour], and are
    uint16 if they have 16 bits, else uint8. Whatever is not as the page says ends in a
    ``ValueError``, ``IndexError``, ``struct.error`` or ``zlib.error``, or an ``OSError`` of Pillow.
    """
    header, _, changes, levels, strips, samples_crc = read_stream(data)
    networks = [
        Network(file if isinstance(file, bytes) else file.read_bytes()) for file in model_files
    ]
    decoders = [
        component_decoder(component, networks, changes if i < (3 if header.planes else 1) else b"")
        for i, component in enumerate(header.components)
    ]
    for rows, parts in zip(header.strips, strips, strict=True):
        if len(parts) != sum(decoder.parts for decoder in decoders):
            raise ValueError("other parts than the model has scales")
        left = iter(parts)
        for decoder in decoders:
            decoder.strip(rows, [next(left) for _ in range(decoder.parts)])
    image = np.concatenate([decoder.image() for decoder in decoders], axis=2)
    for colour, flag in ((0, 2), (2, 4)):
        if header.planes & flag:
            image[:, :, colour] = (image[:, :, colour].astype(int) + image[:, :, 1] - 2**15) % 2**16
    if levels:
        colours = image[:, :, : header.colour - (header.alpha_id is not None)]
        colours[:] = np.array(levels)[colours]
    image = image.astype(header.dtype)
    if zlib.crc32(image.tobytes()) != samples_crc:
        raise ValueError("CRC of the samples")
    return image[:, :, 0] if header.colour == 1 else image
