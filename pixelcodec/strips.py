"""Strips of an image <-> their parts in a file, whatever codes each component of the image."""

from collections.abc import Callable, Mapping, Sequence
from math import lcm
from typing import Protocol

import numpy as np

from pixelcodec import standard
from pixelcodec.container import NEWER, STANDARD, Component, Header, Start
from pixelcodec.engine import Engine, StripDecoder, StripEncoder
from pixelcodec.errors import FormatError
from pixelcodec.models.architectures import can_learn
from pixelcodec.pictures import Samples
from pixelcodec.progress import Count
from pixelcodec.standard import StandardDecoder, StandardEncoder
from pixelcodec.transform import NONE, Transform

Engines = Mapping[bytes, Engine]
"""By the id of their model; :data:`pixelcodec.container.STANDARD` has none."""


def step_of(engines: Engines) -> int:
    """Strips have a multiple of so many rows: pixels of all scales are whole in them."""
    return lcm(*(engine.coarsest_step for engine in engines.values()))


def independent(header: Header) -> bool:
    """Whether each strip can be decoded by itself."""
    by_models = any(component.model_id != STANDARD for component in header.components)
    return header.restart or header.tile > 0 or not by_models


def check_fits(header: Header, engines: Engines) -> None:
    """Refuse a file whose header does not suit the models that it names.

    Raises:
        FormatError: it does not.
    """
    for component in header.components:
        engine = engines.get(component.model_id)
        if engine is None:
            continue
        if engine.program.bit_depth != header.bit_depth:
            raise FormatError(f"the header says {header.bit_depth}-bit samples, the model not")
        if component.channels not in engine.program.channels:
            raise FormatError(f"the header says {component.channels} channels, the model not")
        if header.learning and not can_learn(engine.network):
            raise FormatError(f"the header says that the model learns, which it cannot: {NEWER}")
    step = step_of(engines)
    if header.tile % step or header.strip_rows % step:
        raise FormatError(
            f"strips of {header.strip_rows} rows, or tiles of {header.tile}, "
            f"do not suit the model, whose steps are of {step}"
        )


class _Encoder(Protocol):
    def encode(self, rows: Samples, progress: Count, /) -> list[bytes]: ...


class _Decoder(Protocol):
    def decode(self, parts: Sequence[bytes], height: int, progress: Count, /) -> Samples: ...


class ImageEncoder:
    """Encodes the strips of an image, from the top."""

    def __init__(self, header: Header, engines: Engines, transform: Transform = NONE) -> None:
        """Start at the top of an image, to whose colours ``transform`` is done.

        Raises:
            ModelError: a model does not code such images.
        """
        self._colours, self._transform = header.colours, transform
        self._coders = [
            (component, _encoder(component, header, engines)) for component in header.components
        ]

    def encode(self, rows: Samples, progress: Count) -> list[bytes]:
        """Code the next strip: its parts.

        Args:
            rows: uint8 or uint16 [rows, width, channels].
            progress: told of finished pixels.

        Raises:
            ValueError: a sample has a level that is not used.
        """
        count = _shared(progress, len(self._coders))
        rows = applied(self._transform.forward, rows, self._colours)
        return [
            part
            for component, encoder in self._coders
            for part in encoder.encode(rows[..., component.slice], count)
        ]


class ImageDecoder:
    """Decodes the strips of an image, from the top.

    Attributes:
        parts: of a strip.
    """

    def __init__(self, start: Start, engines: Engines) -> None:
        """Start at the top of an image.

        Raises:
            FormatError: the header does not suit the models, or levels or palette are damaged.
        """
        header = start.header
        check_fits(header, engines)
        self._colours, self._transform = header.colours, Transform.of(start)
        self._coders = [
            (_parts(component, engines), _decoder(component, header, engines))
            for component in header.components
        ]
        self.parts = sum(parts for parts, _ in self._coders)

    def decode(self, parts: Sequence[bytes], height: int, progress: Count) -> Samples:
        """Decode the next strip.

        Args:
            parts: what :meth:`ImageEncoder.encode` gave for it; of an image of one component the
                first of them will do.
            height: rows of the strip.
            progress: told of finished pixels.

        Returns:
            uint8 or uint16 [height, width, channels]; pixels of parts that were not given are 0.

        Raises:
            FormatError: they are not those of such a strip.
        """
        count, rest, found = _shared(progress, len(self._coders)), parts, []
        for own, decoder in self._coders:
            found.append(decoder.decode(rest[:own], height, count))
            rest = rest[own:]
        samples = found[0] if len(found) == 1 else np.concatenate(found, 2)
        return applied(self._transform.back, samples, self._colours)


def applied(change: Callable[[Samples], Samples], rows: Samples, colours: slice) -> Samples:
    """``rows`` with their colours changed, and alpha as it is."""
    changed = change(rows[..., colours])
    if changed.shape == rows.shape:
        return changed
    return np.concatenate([changed, rows[..., colours.stop :]], -1)


def _shared(tell: Count, components: int) -> Count:
    """Count pixels of several components: one is finished once it is in all of them."""
    left = 0

    def count(pixels: int) -> None:
        nonlocal left
        finished, left = divmod(left + pixels, components)
        tell(finished)

    return count


def _parts(component: Component, engines: Engines) -> int:
    if component.model_id == STANDARD:
        return standard.PARTS
    return len(engines[component.model_id].scales)


def _encoder(component: Component, header: Header, engines: Engines) -> _Encoder:
    if component.model_id == STANDARD:
        return StandardEncoder(header.bit_depth)
    engine = engines[component.model_id]
    return StripEncoder(engine, header.width, component.channels, *_ways(header))


def _decoder(component: Component, header: Header, engines: Engines) -> _Decoder:
    if component.model_id == STANDARD:
        return StandardDecoder(header.width, component.channels, header.bit_depth)
    engine = engines[component.model_id]
    return StripDecoder(engine, header.width, component.channels, *_ways(header))


def _ways(header: Header) -> tuple[bool, int, int]:
    """Whether strips are independent, the side of tiles, and how models learn."""
    return header.restart, header.tile, header.learning
