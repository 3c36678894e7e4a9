"""Whole files that mutations begin with: small images of every kind, by every architecture.

Those that can learn while they code do so in some.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

import coding
import pixelcodec
from golden.make import FOLDER, MODELS, PICTURES, STREAMS, model_named
from picture_kinds import BY_NAME, KINDS
from pixelcodec import Picture
from pixelcodec.engine import Engine
from pixelcodec.models.zoo import load_file
from pixelcodec.pictures import Chunk, read_picture

TEXT = Chunk(b"tEXt", b"Title\0a few words, ")
LONG_TEXT = Chunk(b"tEXt", b"Comment\0" + 20 * b"the same words, ", after=True)

LEARNERS = {
    "tiny": "8-bit RGB",
    "gray-8": "8-bit gray",
    "gray-16": "16-bit gray",
    "graphics": "8-bit gray with alpha",
}
"""Golden models that can learn, and a kind of image that each codes."""

LEARNING = (((12, False, 0), 11), ((6, True, 0), 15), ((12, False, 12), 2))
"""How images are cut (rows of a strip, restart, tile), and how models learn."""


@dataclass(frozen=True)
class Seed:
    """A whole file.

    Attributes:
        name: of it.
        data: its bytes.
        model: what :func:`pixelcodec.decode` needs to be told, if anything.
        picture: what it holds.
    """

    name: str
    data: bytes
    model: str | None
    picture: Picture


@cache
def seeds() -> list[Seed]:
    """The golden files, and files of the encoder as it is now."""
    return [*_golden(), *_made()]


def _golden() -> list[Seed]:
    found = []
    for name, how in {**STREAMS, **PICTURES}.items():
        picture = read_picture(FOLDER / f"{how.image}.png")
        model = model_named(how.model) if how.model in MODELS else None
        found.append(Seed(name, (FOLDER / f"{name}.pxc").read_bytes(), model, picture))
    return found


def _made() -> list[Seed]:
    tiny = model_named("tiny")
    found = [
        _seed(kind.name, kind.picture(TEXT, LONG_TEXT), None, strip_rows=rows)
        for kind in KINDS
        for rows in (2, None)
    ]
    for channels in (1, 2, 3, 4):
        samples = np.random.default_rng(channels).integers(0, 256, (9, 4, channels), np.uint8)
        picture = Picture(samples // 64 * 64, 8, (TEXT,))
        for how in ({"strip_rows": 3, "restart": True}, {"strip_rows": 4, "tile": 2}):
            found.append(_seed(f"{channels} channels {how}", picture, tiny, **how))
    return [*found, *_learning()]


def _learning() -> Iterator[Seed]:
    """Of so many pixels that models learn from them."""
    for name, kind in LEARNERS.items():
        noise = BY_NAME[kind].picture(height=12, width=24)
        network = load_file(FOLDER / f"{name}.safetensors")
        engine = Engine(network, "int64")
        for cut, learning in LEARNING:
            data = coding.encode(noise.samples, network, engine, *cut, learning=learning)
            yield Seed(f"{name} learns, {learning}, {cut}", data, model_named(name), noise)


def _seed(name: str, picture: Picture, model: str | None, **how: int | bool | None) -> Seed:
    stream = io.BytesIO()
    pixelcodec.encode_to(stream, picture, model=model, **how)  # type: ignore[arg-type]
    return Seed(name, stream.getvalue(), model, picture)
