"""A decoder of ``.pxc`` streams, written from ``docs/FORMAT.md`` and from nothing else.

It is a witness, not a tool: it shares no line of code with the package, knows neither PyTorch nor
constriction, and works in Python integers and NumPy's int64, one pixel after the other. What it
decodes to the same samples as the codec does, the page describes well enough. It is slow: images
should have a thousand pixels at most. Its parts stand in the order of the page.
"""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Header", "Network", "RangeDecoder", "Strip", "decode", "read_stream"]

Vector = npt.NDArray[np.int64]

MAGIC = b"\x89PXC\r\n\x1a\n"
ARCHITECTURE = "wavefront-pixelcnn-1"
OUTSIDE = 640
"""The samples of a pixel outside the image."""


# Container


@dataclass(frozen=True)
class Header:
    """What the first 34 bytes of a stream say."""

    colour: int
    independent: bool
    width: int
    height: int
    strip_rows: int
    model_id: bytes

    @property
    def strips(self) -> list[range]:
        """The rows of each strip, from top to bottom."""
        return [
            range(top, min(top + self.strip_rows, self.height))
            for top in range(0, self.height, self.strip_rows)
        ]


def read_header(data: bytes) -> Header:
    """Return the header of the stream ``data``."""
    if len(data) < 34 or data[:8] != MAGIC:
        raise ValueError("not a .pxc stream")
    if data[8] != 1:
        raise ValueError(f"version {data[8]}")
    fields, crc = data[:30], data[30:34]
    if struct.pack("<I", zlib.crc32(fields)) != crc:
        raise ValueError("CRC of the header")
    colour, depth, flags, width, height, strip_rows, model_id = struct.unpack(
        "<BBBIIH8s", fields[9:]
    )
    if colour not in (1, 3) or depth != 8 or flags not in (0, 1):
        raise ValueError(f"colour {colour}, bit depth {depth}, flags {flags}")
    if not (1 <= width < 2**31 and 1 <= height < 2**31 and strip_rows >= 1):
        raise ValueError(f"width {width}, height {height}, strip rows {strip_rows}")
    return Header(colour, flags == 1, width, height, strip_rows, model_id)


def read_stream(data: bytes) -> tuple[Header, list[bytes], int]:
    """Return the header of the stream ``data``, its strips and the CRC-32 of its samples."""
    header = read_header(data)
    payloads: list[bytes] = []
    place = 34
    while True:
        tag, length = struct.unpack_from("<cI", data, place)
        payload = data[place + 5 : place + 5 + length]
        (crc,) = struct.unpack_from("<I", data, place + 5 + length)
        if zlib.crc32(data[place : place + 5 + length]) != crc or not tag.isalpha():
            raise ValueError(f"CRC of the chunk at byte {place}")
        place += 9 + length
        if tag == b"S":
            if len(payloads) == len(header.strips):
                raise ValueError("more strips than the image has")
            samples = header.width * len(header.strips[len(payloads)]) * header.colour
            if length > 16 * samples + 64:
                raise ValueError("a strip that is too long")
            payloads.append(payload)
        elif tag == b"E":
            break
        elif tag.isupper():
            raise ValueError(f"critical chunk {tag!r}")
    if len(payloads) < len(header.strips):
        raise ValueError("fewer strips than the image has")
    if length != 4:
        raise ValueError("end mark of another length")
    if place != len(data):
        raise ValueError("bytes after the end mark")
    (samples_crc,) = struct.unpack("<I", payload)
    return header, payloads, samples_crc


# The model file

DTYPES = {"I8": ("int8", "<i1"), "U8": ("uint8", "<u1"), "I32": ("int32", "<i4")}
"""Of each dtype of a safetensors file: its name on the page, and NumPy's code for it."""

TABLES = {"companding": 1024, "sigmoid": 4096, "inverse_scale": 80, "exp": 256}
"""The length of each table."""


def relu(values: Vector) -> Vector:
    """Limit ``values`` to 0 ... 127."""
    return np.minimum(np.maximum(values, 0), 127)


@dataclass(frozen=True)
class Layer:
    """One layer: a matrix of weights, and a bias and a shift for each output."""

    weight: Vector
    bias: Vector
    shift: Vector

    def __call__(self, a: Vector) -> Vector:
        """Return the layer's outputs for the inputs ``a``."""
        out: Vector = (a @ self.weight + self.bias) >> self.shift
        return out


class Network:
    """The integer network of a model file."""

    config: dict[str, int]
    sha256: bytes

    def __init__(self, data: bytes) -> None:
        """Read the safetensors file ``data`` and check its SHA-256."""
        (length,) = struct.unpack_from("<Q", data)
        entries: dict[str, Any] = json.loads(data[8 : 8 + length])
        metadata = entries.pop("__metadata__")
        architecture = metadata["architecture"]
        if architecture != ARCHITECTURE:
            raise ValueError(f"architecture {architecture}")
        self.config = json.loads(metadata["config"])

        digest = hashlib.sha256(canonical([architecture, self.config]))
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

        self.tables = {name: self.tensors[f"tables.{name}"].tolist() for name in TABLES}
        if {name: len(table) for name, table in self.tables.items()} != TABLES:
            raise ValueError("lengths of the tables")

    def layer(self, name: str) -> Layer:
        """Return the layer ``name``."""
        weight, bias, shift = (
            self.tensors[f"layers.{name}.{part}"] for part in ("weight", "bias", "shift")
        )
        return Layer(weight, bias, shift)


def canonical(value: Any) -> bytes:
    """Return the JSON of ``value`` as it goes into the SHA-256 of a model."""
    return json.dumps(value, sort_keys=True).encode()


# From pixels to probabilities


@dataclass
class Pixel:
    """A pixel that is being decoded: what is known of it so far."""

    x: int
    y: int
    centre: list[int]
    seen: Vector
    residuals: list[int]


@dataclass(frozen=True)
class Distribution:
    """The distribution of one sample: a mixture of logistics, as a growing function of edges."""

    weights: list[int]
    means: list[int]
    scales: list[int]
    sigmoid: list[int]
    inverse_scale: list[int]

    def mass(self, e: int) -> int:
        """Return the mass below edge ``e``."""
        total = 64 * e
        for weight, mean, scale in zip(self.weights, self.means, self.scales, strict=True):
            u = 16 * e - 8 - mean
            i = min((abs(u) * self.inverse_scale[scale]) >> 12, 4095)
            total += weight * (self.sigmoid[i] if u >= 0 else 65535 - self.sigmoid[i])
        return total

    def frequencies(self, edges: range) -> list[int]:
        """Return the frequencies of the 18 symbols of a choice between the 17 ``edges``."""
        masses = [self.mass(e) for e in edges]
        lowest, highest = masses[0], masses[-1]
        shares = [(mass - lowest) * (2**24 - 18) // (highest - lowest) for mass in masses]
        return [1, *(shares[i + 1] - shares[i] + 1 for i in range(16)), 1]


# Symbols and range coder


class RangeDecoder:
    """The range coder of one strip."""

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


class Strip:
    """The image so far, and a strip of it that is being decoded."""

    def __init__(self, header: Header, network: Network) -> None:
        """Start with no pixel decoded."""
        self.header = header
        self.network = network
        self.blocks = network.config["blocks"]
        self.rows = range(0)
        self.seen_rows = range(0)
        self.samples: dict[tuple[int, int], list[int]] = {}
        self.kept: list[dict[tuple[int, int], Vector]] = [{} for _ in range(self.blocks)]

    def decode(self, rows: range, payload: bytes) -> None:
        """Decode the strip of ``rows``, which comes next, wave by wave."""
        self.rows = rows
        self.seen_rows = range(rows.start if self.header.independent else 0, rows.stop)
        coder = RangeDecoder(payload)
        width, height = self.header.width, len(rows)
        for t in range((width - 1) + 2 * (height - 1) + 1):
            places = [(t - 2 * y, rows.start + y) for y in range(height)]
            self.wave([self.trunk(x, y) for x, y in places if 0 <= x < width], coder)

    def wave(self, pixels: list[Pixel], coder: RangeDecoder) -> None:
        """Decode the ``pixels`` of one wave, which stand from the top row down."""
        for c in range(self.header.colour):
            distributions = [self.distribution(pixel, c) for pixel in pixels]
            first = [
                self.choice(coder, distribution, range(0, 257, 16))
                for distribution in distributions
            ]
            second = [
                self.choice(coder, distribution, range(16 * h, 16 * h + 17))
                for h, distribution in zip(first, distributions, strict=True)
            ]
            for pixel, h, low in zip(pixels, first, second, strict=True):
                self.decoded(pixel, c, 16 * h + low)

    def choice(self, coder: RangeDecoder, distribution: Distribution, edges: range) -> int:
        """Decode one choice among the 16 branches between 17 ``edges``."""
        symbol = coder.symbol(distribution.frequencies(edges))
        if not 1 <= symbol <= 16:
            raise ValueError("a symbol that never occurs")
        return symbol - 1

    def decoded(self, pixel: Pixel, c: int, sample: int) -> None:
        """Take in that channel ``c`` of ``pixel`` is ``sample``."""
        if self.header.colour == 1:
            self.samples[pixel.x, pixel.y] = [sample, sample, sample]
            return
        self.samples.setdefault((pixel.x, pixel.y), []).append(sample)
        if c < 2:
            residual = sample - pixel.centre[c]
            pixel.residuals.append(residual)
            place = self.network.config["width"] + c
            pixel.seen[place] = self.network.tables["companding"][255 + residual]

    def outside(self, x: int, y: int) -> bool:
        """Tell whether a pixel lies outside the image, or above an independent strip."""
        return not 0 <= x < self.header.width or y not in self.seen_rows

    def pixel(self, x: int, y: int) -> list[int]:
        """Return the three samples of a pixel."""
        return [OUTSIDE] * 3 if self.outside(x, y) else self.samples[x, y]

    def centre(self, x: int, y: int) -> list[int]:
        """Return the three centres of the pixel in hand."""
        west, north = self.pixel(x - 1, y), self.pixel(x, y - 1)
        north_west = self.pixel(x - 1, y - 1)
        return [
            max(min(w, n), min(max(w, n), w + n - nw)) & 255
            for w, n, nw in zip(west, north, north_west, strict=True)
        ]

    def features(self, x: int, y: int, centre: list[int]) -> Vector:
        """Return the 69 features of the pixel in hand."""
        companding = self.network.tables["companding"]
        neighbours = [
            *((x + dx, y - 3) for dx in range(-3, 4)),
            *((x + dx, y - 2) for dx in range(-3, 4)),
            *((x + dx, y - 1) for dx in range(-3, 2)),
            *((x + dx, y) for dx in range(-3, 0)),
        ]
        features = [
            companding[255 + sample - centre[c]]
            for neighbour in neighbours
            for c, sample in enumerate(self.pixel(*neighbour))
        ]
        features += [max(centre[c] - 128, -127) for c in range(3)]
        return np.array(features, dtype=np.int64)

    def trunk(self, x: int, y: int) -> Pixel:
        """Return the pixel in hand, with all that the network sees of its neighbours."""
        centre = self.centre(x, y)
        layer = self.network.layer
        width = self.network.config["width"]
        stream = layer("input")(self.features(x, y, centre))
        for i in range(self.blocks):
            self.kept[i][x, y] = relu(stream >> 4)
            taps = [
                np.zeros(width, dtype=np.int64) if self.outside(*place) else self.kept[i][place]
                for place in [(x - 1, y - 1), (x, y - 1), (x + 1, y - 1), (x - 1, y), (x, y)]
            ]
            spatial = relu(layer(f"spatial.{i}")(np.concatenate(taps)))
            stream = stream + layer(f"mix.{i}")(spatial)
        seen = np.concatenate([relu(stream >> 4), np.zeros(2, dtype=np.int64)])
        return Pixel(x, y, centre, seen, [])

    def distribution(self, pixel: Pixel, c: int) -> Distribution:
        """Return the distribution of channel ``c`` of ``pixel``."""
        layer, tables = self.network.layer, self.network.tables
        k = self.network.config["components"]
        parameters = layer(f"parameters.{c}")(relu(layer(f"head.{c}")(pixel.seen))).tolist()
        logits, means, scales = parameters[:k], parameters[k : 2 * k], parameters[2 * k : 3 * k]
        slopes = parameters[3 * k :]
        shift = sum(slope * r for slope, r in zip(slopes, pixel.residuals, strict=True)) >> 4
        return Distribution(
            weights=[tables["exp"][min(max(logits) - logit, 255)] for logit in logits],
            means=[min(max(mean + 16 * pixel.centre[c] + shift, -128), 4208) for mean in means],
            scales=[min(max(scale, 0), 79) for scale in scales],
            sigmoid=tables["sigmoid"],
            inverse_scale=tables["inverse_scale"],
        )


def decode(data: bytes, model_file: bytes | Path) -> npt.NDArray[np.uint8]:
    """Return the samples of the stream ``data``, which the model in ``model_file`` wrote.

    They have the shape (height, width) if the image is gray, (height, width, 3) if it is coloured.
    Whatever is not as the page says ends in a ``ValueError`` or a ``struct.error``.
    """
    header, payloads, samples_crc = read_stream(data)
    network = Network(model_file if isinstance(model_file, bytes) else model_file.read_bytes())
    if network.sha256[:8] != header.model_id:
        raise ValueError("another model wrote this stream")
    strip = Strip(header, network)
    for rows, payload in zip(header.strips, payloads, strict=True):
        strip.decode(rows, payload)
    samples = bytes(
        strip.samples[x, y][c]
        for y in range(header.height)
        for x in range(header.width)
        for c in range(header.colour)
    )
    if zlib.crc32(samples) != samples_crc:
        raise ValueError("CRC of the samples")
    shape = (header.height, header.width, header.colour)
    image = np.frombuffer(samples, dtype=np.uint8).reshape(shape)
    return image if header.colour == 3 else image[:, :, 0]
