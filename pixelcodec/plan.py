"""How an image is going to be coded: by which models, in which strips. The header says it all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import lcm
from operator import index
from typing import NamedTuple, Self

import numpy as np

from pixelcodec import transform
from pixelcodec.container import PLANES, STANDARD, STANDARD_NAME, WIDTH_MAX, Header
from pixelcodec.engine import Engine
from pixelcodec.errors import ModelError, UnsupportedImageError
from pixelcodec.levels import Levels
from pixelcodec.models import zoo
from pixelcodec.models.architectures import learning_of
from pixelcodec.palette_order import PaletteOrder
from pixelcodec.pictures import Chunk, Picture, Samples
from pixelcodec.runtime import Compute
from pixelcodec.standard import PIXELS_MOST
from pixelcodec.strips import Engines
from pixelcodec.transform import NONE, Transform

STRIP_PIXELS = 2**20
"""By default a strip has about this many pixels, of 1 bit 8 times as many, in as few rows."""

_STRIP_ROWS_MAX = 65535


@dataclass(frozen=True)
class Shape:
    """What a model must suit.

    Attributes:
        width: columns.
        height: rows.
        channels: 1 gray or index, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        bit_depth: of a sample.
        chunks: palette and metadata.

    Raises:
        ValueError: a number is no whole number, or there are no columns or rows.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    chunks: tuple[Chunk, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no shape."""
        for name in ("width", "height", "channels", "bit_depth"):
            number = getattr(self, name)
            try:
                index(number)
            except TypeError:
                raise ValueError(f"{name} {number!r}: give a whole number") from None
        if min(self.width, self.height) < 1:
            raise ValueError(
                f"an image of {self.width} x {self.height} pixels: width and height are 1 or more"
            )

    @classmethod
    def of(cls, picture: Picture) -> Self:
        """That of a picture."""
        height, width, channels = picture.samples.shape
        return cls(width, height, channels, picture.bit_depth, picture.chunks)

    @property
    def is_palette(self) -> bool:
        """Whether samples are indices."""
        return has_palette(self.channels, self.chunks)

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.channels in (2, 4)

    @property
    def kind(self) -> str:
        """What kind of image it is, as :attr:`pixelcodec.pictures.Picture.kind` says it.

        Raises:
            UnsupportedImageError: there are no such images.
        """
        dtype = np.uint16 if self.bit_depth == 16 else np.uint8
        return Picture(np.zeros((1, 1, self.channels), dtype), self.bit_depth, self.chunks).kind


def has_palette(channels: int, chunks: Iterable[Chunk]) -> bool:
    """Whether samples are indices: in colour, PNG's palette is but a suggestion."""
    return channels == 1 and any(chunk.type == b"PLTE" for chunk in chunks)


class Plan(NamedTuple):
    """How an image may be coded.

    Attributes:
        model: name of what codes the colours.
        header: of the file.
        engines: of the models that it names.
        transform: what is done to the colours before.
    """

    model: str
    header: Header
    engines: Engines
    transform: Transform = NONE

    @property
    def is_settled(self) -> bool:
        """Whether it is the same whatever the samples are."""
        return not self.header.may_have_levels

    def suited(self, samples: Samples) -> Self:
        """The same for what ``samples`` [rows, width, channels] of the image, best all, show."""
        if self.is_settled:
            return self
        is_whole = len(samples) == self.header.height
        found = transform.suited(samples[..., self.header.colours], self.header.planes, is_whole)
        header = replace(self.header, planes=found.planes)
        return self._replace(header=header, transform=found)

    @property
    def levels(self) -> bytes:
        """That the colours use, packed; none: any, or indices of a palette."""
        found = self.transform.ranking
        return found.pack() if isinstance(found, Levels) else b""


def plans(
    shape: Shape,
    models: Sequence[str],
    compute: Compute,
    strip_rows: int | None,
    tile: int | None,
    restart: bool,
    learning: int = 0,
) -> list[Plan]:
    """Say how an image would be coded by each of some models. All cut it into the same strips.

    Args:
        shape: of the image.
        models: code the colours; :data:`pixelcodec.runtime.STANDARD_NAME` for none.
        compute: how they run.
        strip_rows: rows of a strip; None for the default.
        tile: side of the tiles; None for what the model needs.
        restart: whether strips are independent.
        learning: how models learn from what is coded, if they can.

    Raises:
        UnsupportedImageError: the image is too wide, or a model does not code such samples.
        ModelError: there is no such model, it codes no such channels, or ``strip_rows`` does not
            fit it or its tiles.
        BackendError: the back end or device cannot be used.
        ValueError: ``strip_rows`` or ``tile`` is out of its range.
    """
    if tile is not None and not 0 <= tile <= _STRIP_ROWS_MAX:
        raise ValueError(f"tile {tile}, allowed: 0 to {_STRIP_ROWS_MAX}")
    if shape.width > WIDTH_MAX:
        raise UnsupportedImageError(
            f"the image has {shape.width} columns; the widest image has {WIDTH_MAX}"
        )
    engines = {model: _engine(model, shape.bit_depth, compute) for model in models}
    sides = {model: _tile_of(engine) if tile is None else tile for model, engine in engines.items()}
    unit = lcm(*(sides[model] or _step_of(engine) for model, engine in engines.items()))
    if strip_rows is None:
        strip_rows = default_strip_rows(shape.height, shape.width, unit, shape.bit_depth)
    elif strip_rows % unit:
        raise ModelError(
            f"strips of {strip_rows} rows do not fit the model or its tiles; "
            f"give a multiple of {unit}, or none"
        )
    found = [
        _plan(shape, model, engine, strip_rows, sides[model], restart, learning)
        for model, engine in engines.items()
    ]
    possible = [plan for plan in found if not _is_too_large(plan.header)]
    if not possible:
        raise ModelError(
            f"strips of {strip_rows} rows of {shape.width} pixels are too large for the PNG or "
            f"WebP that codes colours or alpha: {PIXELS_MOST:,} pixels at most; give fewer rows"
        )
    return possible


def _is_too_large(header: Header) -> bool:
    """Whether no model codes a component, in strips that are too large for that."""
    by_none = any(component.model_id == STANDARD for component in header.components)
    return by_none and header.strip_height(0) * header.width > PIXELS_MOST


def _plan(
    shape: Shape,
    model: str,
    engine: Engine | None,
    strip_rows: int,
    tile: int,
    restart: bool,
    learning: int,
) -> Plan:
    model_id = STANDARD if engine is None else engine.network.model_id
    codes_all = engine is None or shape.channels in engine.program.channels
    has_colours = shape.channels >= 3 and shape.bit_depth == 16
    by_planes = engine is not None and has_colours and 3 not in engine.program.channels
    by_palette = shape.is_palette and shape.bit_depth == 8
    alpha_id = STANDARD if shape.has_alpha and not codes_all else None
    header = Header(
        width=shape.width,
        height=shape.height,
        channels=shape.channels,
        bit_depth=shape.bit_depth,
        strip_rows=strip_rows,
        model_id=model_id,
        restart=restart,
        tile=tile,
        alpha_id=alpha_id,
        learning=0 if engine is None else learning_of(engine.network, learning),
        planes=PLANES[-1] if by_planes else 0,
        by_palette=by_palette,
    )
    order = PaletteOrder(shape.chunks) if by_palette else None
    engines = {} if engine is None else {model_id: engine}
    return Plan(model, header, engines, Transform(header.planes, order))


def _engine(model: str, bit_depth: int, compute: Compute) -> Engine | None:
    if model == STANDARD_NAME:
        return None
    engine = compute.engine(zoo.load(model))
    check_bit_depth(bit_depth, engine.program.bit_depth, model)
    return engine


def _tile_of(engine: Engine | None) -> int:
    return 0 if engine is None else engine.program.tile


def _step_of(engine: Engine | None) -> int:
    return 1 if engine is None else engine.coarsest_step


def check_bit_depth(found: int, bit_depth: int, model: str) -> None:
    """Refuse an image for a ``model`` that codes samples of ``bit_depth``.

    Raises:
        UnsupportedImageError: its samples are of another.
    """
    if found != bit_depth:
        raise UnsupportedImageError(
            f"the image has {found}-bit samples; model {model} codes {bit_depth}-bit samples"
        )


def default_strip_rows(height: int, width: int, unit: int = 1, bit_depth: int = 8) -> int:
    """Rows of a strip of about :data:`STRIP_PIXELS`: few strips, and bounded memory.

    A multiple of ``unit``.
    """
    pixels = STRIP_PIXELS * 8 if bit_depth == 1 else STRIP_PIXELS
    most = min(pixels // width, _STRIP_ROWS_MAX)
    return min(-(-height // unit), max(1, most // unit)) * unit
