"""What a file may cost: bytes of memory, estimated from its header before any of them are taken.

A header of 36 bytes can claim anything, with checksums that are right. Pixels are not all that it
costs to decode: networks hold activations of a strip, which of narrow and tall strips are a
thousand times as large as their samples. Programs that learn or remember hold copies of all their
weights, or a table of what they saw, however small the image is.
"""

from collections.abc import Mapping
from typing import Any

from pixelcodec.container import STANDARD, Header, Start
from pixelcodec.engine import WAVE_COLUMNS, Engine
from pixelcodec.errors import FormatError
from pixelcodec.models import context, memory, seen_colours
from pixelcodec.models.architectures import remembers
from pixelcodec.models.program import MAPS, Program
from pixelcodec.runtime import Compute, engines_of
from pixelcodec.schedule import columns_of, rows_above, tiles_together
from pixelcodec.strips import Engines

MAX_PIXELS = 2**28
"""Images that are claimed to be larger are decoded only where the caller allows it."""

MAX_BYTES = 2**32
"""Files that are estimated to need more are decoded only where the caller allows it."""

_STANDARD_COPIES = 4
"""Of a strip's samples, while a library decodes them."""

_COPIES = 2
"""Of all samples that a caller gets: strips, and the image that is made of them."""

_PIXEL_IN_HAND = 2**14
"""Bytes that a pixel takes while its wave is coded: taps, products, distributions."""

_MAP_COPIES = 12
"""Bytes for each map of a pixel, while a finer scale makes them."""

_INDEX_BYTES = 32
"""For each tile of a strip: where it lies."""

_TABLES_MADE = 2**24
"""Bytes that a program of one image takes while it makes its tables."""

_TABLE_BYTES = 2**21
"""Of those tables."""

LEARNING_BYTES = 64
"""Of a weight that learns: six int64, digits, and its share of what a layer has once."""

_MEMORY_BYTES = 8 * memory.CONTEXTS * memory.SLOTS * (1 + memory.WAYS) + 2**17
"""Of what is remembered of an image: slots, and a palette."""


def engines_within(start: Start, how: Mapping[str, Any]) -> Engines:
    """What decodes the components of a file that keeps to the limits.

    Args:
        start: of the file.
        how: keywords of :func:`pixelcodec.decode`.

    Raises:
        FormatError: it claims more than the limits, or as :func:`pixelcodec.runtime.engines_of`.
        ModelError: a model is not installed, or did not write the file.
        BackendError: the back end or device cannot be used.
    """
    _check_claim(start.header, how.get("max_pixels", MAX_PIXELS))
    engines = engines_of(start, how.get("model"), Compute.of(how))
    check_memory(start.header, engines, how.get("max_bytes", MAX_BYTES))
    return engines


def _check_claim(header: Header, max_pixels: int) -> None:
    pixels = header.height * header.width
    if pixels > max_pixels:
        raise FormatError(f"the header claims {pixels:,} pixels, the limit is {max_pixels:,}")


def check_memory(header: Header, engines: Engines, max_bytes: int) -> None:
    """Refuse a file of which one strip takes more than ``max_bytes`` to decode.

    Raises:
        FormatError: it does.
    """
    _check(strip_bytes(header, engines), header, max_bytes)


def check_memory_of_rows(header: Header, rows: int, max_bytes: int) -> None:
    """Refuse to hold the samples of so many ``rows`` where they take more than ``max_bytes``.

    Raises:
        FormatError: they do.
    """
    _check(_COPIES * _sample_bytes(header, rows), header, max_bytes)


def strip_bytes(header: Header, engines: Engines) -> int:
    """Bytes that decoding holds for one strip, besides what libraries and models take: no less.

    Args:
        header: of the file.
        engines: of its models.
    """
    rows = header.strip_height(0)
    samples = _sample_bytes(header, rows)
    of_components = [
        _STANDARD_COPIES * samples
        if component.model_id == STANDARD
        else _engine_bytes(engines[component.model_id], rows, header)
        for component in header.components
    ]
    return samples * (1 + len(of_components)) + sum(of_components)


def _check(needed: int, header: Header, max_bytes: int) -> None:
    if needed > max_bytes:
        raise FormatError(
            f"the header claims {header.width:,} x {header.height:,} pixels in strips of "
            f"{header.strip_rows:,} rows: to decode them takes up to {needed:,} bytes of memory, "
            f"the limit is {max_bytes:,}"
        )


def _sample_bytes(header: Header, rows: int) -> int:
    return rows * header.width * header.channels * (2 if header.bit_depth == 16 else 1)


def _engine_bytes(engine: Engine, rows: int, header: Header) -> int:
    """Of the scales of a network, for a strip: those that are done keep what the next ones see."""
    width, tile = header.width, header.tile
    tiles = -(-rows // tile) * -(-width // tile) if tile else 1
    side_by_side = min(tiles, tiles_together(tile)) if tile else 1
    shape = (min(rows, tile), min(width, tile)) if tile else (rows, width)
    of_scales = (
        canvas_bytes(program, side_by_side, -(-shape[0] // step), -(-shape[1] // step))
        for step, program in engine.scales
    )
    return sum(of_scales) + _INDEX_BYTES * tiles + _own_bytes(engine, header)


def _own_bytes(engine: Engine, header: Header) -> int:
    """Of a program that one image has for itself, as it learns or remembers; none of others."""
    remembered = remembers(engine.network)
    if not header.learning and not remembered:
        return 0
    shapes = (layer.weight.shape for layer in engine.network.layers.values())
    # Heads that learn see the features of the context, too; one more input is the bias.
    weights = sum((inputs + context.FEATURES + 1) * outputs for inputs, outputs in shapes)
    kept = _MEMORY_BYTES if remembered else seen_colours.BYTES
    own = _TABLE_BYTES + LEARNING_BYTES * weights + kept
    # Where a strip starts anew, the next program is made before the last is gone.
    return _TABLES_MADE + 2 * own


def canvas_bytes(program: Program, images: int, rows: int, width: int) -> int:
    """Bytes that a network holds for a stack of ``images`` while it decodes them: no less.

    That is what :class:`pixelcodec.schedule.Canvas` stores, what it carries from strip to strip,
    and the pixels in hand.
    """
    slope = program.slope
    band, window = (rows, WAVE_COLUMNS) if slope else (1, None)
    columns = sum(columns_of(program.planes, band, width, slope, window))
    stored = carried = 0
    for plane in program.planes.values():
        size, above = plane.channels * plane.dtype.itemsize, rows_above(plane)
        stored += (above + band) * columns * size
        carried += 3 * above * width * size
    in_hand = min(rows, -(-width // slope)) if slope else 1
    maps = program.planes[MAPS].channels if program.coarser else 0
    return images * (
        2 * stored + carried + in_hand * _PIXEL_IN_HAND + _MAP_COPIES * maps * rows * width
    )
