"""Images to bytes and back: what a program calls.

>>> import numpy as np, pixelcodec
>>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
>>> data = pixelcodec.encode(image, model="photo-s")
>>> bool((pixelcodec.decode(data) == image).all())
True
"""

import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pixelcodec import container
from pixelcodec.engine import Engine, StripDecoder, StripEncoder
from pixelcodec.errors import BackendError, FormatError, ModelError, UnsupportedImageError
from pixelcodec.exact import ENVIRONMENT_VARIABLE
from pixelcodec.images import as_samples, bit_depth_of
from pixelcodec.models import zoo
from pixelcodec.models.network import IntegerNetwork

Samples = npt.NDArray[Any]
"""uint8, or bool where they are of one bit."""

Progress = Callable[[int, int], None]
"""Called with the pixels done and the pixels in all."""

DEFAULT_MODEL = "photo-m"

STRIP_PIXELS = 2**20
"""By default a strip has about this many pixels, of 1 bit 8 times as many, in as few rows."""

MAX_PIXELS = 2**28
"""Images that are claimed to be larger are decoded only where the caller allows it."""

_STRIP_ROWS_MAX = 65535


def encode(
    image: Samples | Image.Image,
    *,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    strip_rows: int | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compress an image without loss.

    Args:
        image: uint8 [height, width] (gray) or [height, width, 3] (RGB), bool [height, width]
            (bilevel, for models of such images), or a Pillow image of mode L, RGB or 1. Metadata
            of a Pillow image is not kept.
        model: name of an installed model, or path of a ``.safetensors`` file.
        device: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is one).
        threads: CPU threads; one by default, as the pieces of work are too small for more.
        backend: arithmetic of the network, see :func:`pixelcodec.exact.select_backend`.
        strip_rows: rows of a strip, 1..65535: the unit of memory, and of streaming. By default
            about a million pixels. Larger strips decode faster.
        tile: side of square tiles that are coded independently, side by side: for models that
            see small images alone, and for mosaics of images. By default what the model needs.
        progress: called with pixels done and pixels in all.

    Returns:
        A ``.pxc`` file. Its bytes depend on image, model, ``strip_rows`` and ``tile`` alone.

    Raises:
        UnsupportedImageError: the image is of another kind.
        ModelError: there is no such model, it is damaged, or ``strip_rows`` does not fit its tiles.
        BackendError: the back end or device cannot be used.
    """
    stream = io.BytesIO()
    encode_to(
        stream,
        image,
        model=model,
        device=device,
        threads=threads,
        backend=backend,
        strip_rows=strip_rows,
        tile=tile,
        progress=progress,
    )
    return stream.getvalue()


def decode(
    data: bytes,
    *,
    model: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Samples:
    """Restore the image from a ``.pxc`` file.

    Args:
        data: the file.
        model: name of a model, or path of a ``.safetensors`` file, that wrote the file; by
            default the installed model that the file names.
        device: as in :func:`encode`; any device decodes any file.
        threads: as in :func:`encode`.
        backend: as in :func:`encode`.
        max_pixels: refuse files that claim to hold more, before memory is taken for them.
        progress: called with pixels done and pixels in all.

    Returns:
        uint8 [height, width] (gray) or [height, width, 3] (RGB), or bool [height, width], the
        very samples encoded.

    Raises:
        FormatError: the data is not a whole, undamaged ``.pxc`` file.
        ModelError: the model that wrote it is not installed, or is not ``model``.
        BackendError: the back end or device cannot be used.
    """
    return decode_from(
        io.BytesIO(data),
        model=model,
        device=device,
        threads=threads,
        backend=backend,
        max_pixels=max_pixels,
        progress=progress,
    )


def encode_to(
    stream: container.Writable,
    image: Samples | Image.Image,
    *,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    strip_rows: int | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> None:
    """:func:`encode` into a binary stream, strip by strip; nothing is sought or read back."""
    samples = as_samples(image)
    height, width = samples.shape[:2]
    if width > container.WIDTH_MAX:
        raise UnsupportedImageError(
            f"the image has {width} columns; the widest image has {container.WIDTH_MAX}"
        )
    rows = samples.reshape(height, width, -1).view(np.uint8)
    network = zoo.load(model)
    count = pixel_counter(progress, height * width)
    with cpu_threads(threads):
        engine = make_engine(network, backend, device)
        program = engine.program
        check_bit_depth(samples, program.bit_depth, model)
        side = program.tile if tile is None else tile
        unit = strip_unit(engine, side)
        if strip_rows is not None and strip_rows % unit:
            raise ModelError(
                f"strips of {strip_rows} rows do not fit the model or its tiles; "
                f"give a multiple of {unit}, or none"
            )
        header = container.Header(
            width=width,
            height=height,
            channels=rows.shape[2],
            bit_depth=program.bit_depth,
            strip_rows=default_strip_rows(height, width, unit, program.bit_depth)
            if strip_rows is None
            else strip_rows,
            model_id=network.model_id,
            tile=side,
        )
        encoder = StripEncoder(engine, width, header.channels, tile=side)
        writer = container.Writer(stream, header)
        for top in range(0, height, header.strip_rows):
            writer.strip(*encoder.encode(rows[top : top + header.strip_rows], count))
        writer.close(zlib.crc32(samples.data))


def decode_from(
    stream: container.Readable,
    *,
    model: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Samples:
    """:func:`decode` from a binary stream, which is read front to back and to its end."""
    reader = container.Reader(stream)
    header = reader.header
    _check_claim(header, max_pixels)
    network = _network_of(header, model)
    count = pixel_counter(progress, header.height * header.width)
    strips = []
    with cpu_threads(threads):
        engine = make_engine(network, backend, device)
        check_fits(header, engine)
        decoder = StripDecoder(engine, header.width, header.channels, header.restart, header.tile)
        for index, parts in enumerate(_strips(reader, len(engine.scales))):
            strips.append(decoder.decode(parts, header.strip_height(index), count))
    samples = np.concatenate(strips)
    crc = zlib.crc32(samples.data)
    if crc != reader.samples_crc:
        raise FormatError(
            "the decoded samples do not have the checksum of the original "
            f"(stored {reader.samples_crc:08x}, computed {crc:08x})"
        )
    return _as_image(samples, header)


def preview_from(
    stream: container.Readable,
    *,
    model: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Samples:
    """The small image that a file of a multi-scale model begins with.

    Nothing after the first part of the last strip is read, so a file may be cut off there; of an
    image of one strip, as all of up to a million pixels are, its first part is enough. Arguments
    are those of :func:`decode`.

    Returns:
        As :func:`decode`: every second (or fourth, as the model has it) pixel of every such row.

    Raises:
        UnsupportedImageError: the model has one scale only.
        FormatError: what is read is no part of a ``.pxc`` file, or is damaged.
        ModelError: as :func:`decode`.
        BackendError: as :func:`decode`.
    """
    reader = container.Reader(stream)
    header = reader.header
    _check_claim(header, max_pixels)
    network = _network_of(header, model)
    strips: list[Samples] = []
    with cpu_threads(threads):
        engine = make_engine(network, backend, device)
        check_fits(header, engine)
        step = engine.coarsest_step
        if step == 1:
            raise UnsupportedImageError(
                f"no preview: {zoo.find(header.model_id) or model} is no multi-scale model"
            )
        count = pixel_counter(progress, -(-header.height // step) * -(-header.width // step))
        decoder = StripDecoder(engine, header.width, header.channels, header.restart, header.tile)
        for payload in islice(_first_parts(reader), header.strips):
            strip = decoder.decode([payload], header.strip_height(len(strips)), count)
            strips.append(strip[::step, ::step])
    return _as_image(np.concatenate(strips), header)


def _first_parts(reader: container.Reader) -> Iterator[bytes]:
    """The first part of each strip, as soon as it is there."""
    begins = True
    for payload, last in reader:
        if begins:
            yield payload
        begins = last


def _strips(reader: container.Reader, parts: int) -> Iterator[list[bytes]]:
    """The parts of each strip.

    Raises:
        FormatError: a strip has not so many ``parts``, or as :class:`container.Reader` raises.
    """
    found: list[bytes] = []
    for payload, last in reader:
        found.append(payload)
        if last != (len(found) == parts):
            raise FormatError(
                f"damaged: a strip of {len(found)}{'' if last else ' or more'} parts; "
                f"those of its model have {parts}"
            )
        if last:
            yield found
            found = []


def check_fits(header: container.Header, engine: Engine) -> None:
    """Refuse a file whose header does not suit the model that it names.

    Raises:
        FormatError: it does not.
    """
    if engine.program.bit_depth != header.bit_depth:
        raise FormatError(f"the header says {header.bit_depth}-bit samples, the model not")
    step = engine.coarsest_step
    if header.tile % step or header.strip_rows % step:
        raise FormatError(
            f"strips of {header.strip_rows} rows, or tiles of {header.tile}, "
            f"do not suit the model, whose steps are of {step}"
        )


def _check_claim(header: container.Header, max_pixels: int) -> None:
    pixels = header.height * header.width
    if pixels > max_pixels:
        raise FormatError(f"the header claims {pixels:,} pixels, the limit is {max_pixels:,}")


def _as_image(samples: Samples, header: container.Header) -> Samples:
    samples = samples.view(np.bool_) if header.bit_depth == 1 else samples
    return samples[..., 0] if header.channels == 1 else samples


@dataclass(frozen=True)
class FileInfo:
    """What a ``.pxc`` file says of itself.

    Attributes:
        width: columns.
        height: rows.
        channels: 1 (gray) or 3 (RGB).
        bit_depth: bits of a sample.
        strip_rows: rows of a strip.
        tile: side of the tiles that strips are cut into, 0 where they are not.
        strips: bytes of each strip's payload, all parts together.
        preview_bytes: those of the parts but the last of all strips; 0 where each has but one.
        model_name: the model that wrote it; None when it is not installed.
        model_id: its identity, hexadecimal.
        samples_crc: CRC-32 of the samples.
        file_bytes: size of the file.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    strip_rows: int
    tile: int
    strips: tuple[int, ...]
    preview_bytes: int
    model_name: str | None
    model_id: str
    samples_crc: int
    file_bytes: int

    @property
    def bpsp(self) -> float:
        """Bits of the file for each sample of the image."""
        return 8 * self.file_bytes / (self.width * self.height * self.channels)


def inspect(stream: container.Readable) -> FileInfo:
    """Read a ``.pxc`` file without decoding it; all its checksums but the samples' are checked.

    Raises:
        FormatError: it is not a whole, undamaged ``.pxc`` file.
    """
    counting = _CountingReader(stream)
    reader = container.Reader(counting)
    parts = [(len(payload), last) for payload, last in reader]
    header = reader.header
    return FileInfo(
        width=header.width,
        height=header.height,
        channels=header.channels,
        bit_depth=header.bit_depth,
        strip_rows=header.strip_rows,
        tile=header.tile,
        strips=_strip_sizes(parts),
        preview_bytes=sum(size for size, last in parts if not last),
        model_name=zoo.find(header.model_id),
        model_id=header.model_id.hex(),
        samples_crc=reader.samples_crc,
        file_bytes=counting.count,
    )


def _strip_sizes(parts: list[tuple[int, bool]]) -> tuple[int, ...]:
    """Bytes of whole strips, from those of their parts and whether each is the last."""
    sums = np.cumsum([0, *(size for size, _ in parts)])
    ends = [0, *(index for index, (_, last) in enumerate(parts, 1) if last)]
    return tuple(np.diff(sums[ends]).tolist())


def strip_unit(engine: Engine, tile: int) -> int:
    """Strips have a multiple of so many rows: tiles, and pixels of all scales, are whole in them.

    ``tile``: 0, or a multiple of the coarsest step.
    """
    return tile or engine.coarsest_step


def default_strip_rows(height: int, width: int, unit: int = 1, bit_depth: int = 8) -> int:
    """Rows of a strip of about :data:`STRIP_PIXELS`: few strips, and bounded memory.

    A multiple of ``unit``.
    """
    most = min(STRIP_PIXELS * 8 // bit_depth // width, _STRIP_ROWS_MAX)
    return min(-(-height // unit), max(1, most // unit)) * unit


class _CountingReader:
    """Counts the bytes that pass."""

    def __init__(self, stream: container.Readable) -> None:
        self._stream, self.count = stream, 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


def make_engine(
    network: IntegerNetwork, backend: str | None = None, device: str = "auto"
) -> Engine:
    """Make ``network`` ready to run; the last few are kept.

    Raises:
        BackendError: the back end or device cannot be used.
        ModelError: sums of the network could overflow.
    """
    key = (network.sha256, backend or os.environ.get(ENVIRONMENT_VARIABLE), resolve_device(device))
    if key not in _engines:
        if len(_engines) >= _ENGINES_KEPT:
            _engines.pop(next(iter(_engines)))
        _engines[key] = Engine(network, backend, key[2])
    return _engines[key]


_ENGINES_KEPT = 8
_engines: dict[tuple[str, str | None, str], Engine] = {}


def _network_of(header: container.Header, model: str | None) -> IntegerNetwork:
    """The network that wrote a file: ``model`` where one is given, else an installed one."""
    name = model or zoo.find(header.model_id)
    if name is None:
        raise ModelError(
            f"model {header.model_id.hex()} that wrote this file is not installed; "
            f"installed are {', '.join(zoo.names())}"
        )
    network = zoo.load(name)
    if network.model_id != header.model_id:
        raise ModelError(
            f"model {name} is {network.model_id.hex()}; "
            f"the file was written by {header.model_id.hex()}"
        )
    return network


def check_bit_depth(samples: Samples, bit_depth: int, model: str) -> None:
    """Refuse an image for a ``model`` that codes samples of ``bit_depth``.

    Raises:
        UnsupportedImageError: its samples are of another.
    """
    if bit_depth_of(samples) != bit_depth:
        raise UnsupportedImageError(
            f"the image has {bit_depth_of(samples)}-bit samples; "
            f"model {model} codes {bit_depth}-bit samples"
        )


def resolve_device(name: str) -> str:
    """The torch device that ``auto``, ``cpu`` or ``cuda`` means here.

    Raises:
        BackendError: it is another, or CUDA is asked for and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in {"cpu", "cuda"}:
        raise BackendError(f"unknown device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendError("no CUDA device is available; use --device cpu")
    return name


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Run with ``count`` CPU threads, then as before.

    Threads that wait for work of microseconds spin. On a busy machine that costs a multiple of
    what they save, so the default is one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pixel_counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Turn counts of newly finished pixels into calls of ``progress``."""
    done = 0

    def count(pixels: int) -> None:
        nonlocal done
        done += pixels
        if progress is not None:
            progress(done, total)

    return count
