"""Images to bytes and back: what a program calls.

>>> import numpy as np, pixelcodec
>>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
>>> data = pixelcodec.encode(image, model="photo-s")
>>> bool((pixelcodec.decode(data) == image).all())
True

All functions here may be called by several threads at once.
"""

import collections
import io
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Unpack

import numpy as np
from PIL import Image

from pixelcodec import container, metadata
from pixelcodec.choice import Contest, candidates
from pixelcodec.container import STANDARD_NAME
from pixelcodec.effort import Effort, Level, effort_of
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.inspection import inspect
from pixelcodec.invisible import discarded
from pixelcodec.limits import MAX_BYTES, MAX_PIXELS, check_memory_of_rows, engines_within
from pixelcodec.models.architectures import remembers
from pixelcodec.palette_order import told_by
from pixelcodec.parallel import StripTask, StripWorker, decode_strips
from pixelcodec.pictures import Chunk, Picture, Samples
from pixelcodec.pictures.pillow import from_pillow, to_pillow
from pixelcodec.places import strip_named
from pixelcodec.plan import Plan, Shape, plans
from pixelcodec.runtime import Compute, Progress, pixel_counter
from pixelcodec.standard import rows_at_once
from pixelcodec.stream import (
    DECODING,
    Decoding,
    Encoding,
    RowReader,
    RowWriter,
    array_of,
    check_crc,
    check_keywords,
    check_parts,
    crc_of,
)
from pixelcodec.strips import ImageDecoder, independent, step_of
from pixelcodec.verification import Verifier


def encode(
    image: Samples | Picture | Image.Image,
    *,
    model: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    strip_rows: int | None = None,
    tile: int | None = None,
    restart: bool = False,
    effort: Level | Effort | None = None,
    discard_invisible: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> bytes:
    """Compress an image without loss.

    Args:
        image: an array, a Pillow image, or a :class:`pixelcodec.Picture`. Arrays are uint8 or
            uint16, [height, width] gray, or [height, width, channels] with 1 (gray), 2 (gray,
            alpha), 3 (RGB) or 4 (RGB, alpha); bool [height, width] is bilevel. Pillow images are of
            mode 1, L, LA, P, RGB, RGBA or I;16; their metadata are kept.
        model: name of an installed model, or path of a ``.safetensors`` file, for the colours;
            ``standard`` for PNG or WebP inside. By default what makes the smallest file.
        device: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is one).
        threads: CPU threads; one by default, as the pieces of work are too small for more.
        backend: arithmetic of the network: ``int8``, ``float32``, ``int64``, or ``auto``, the
            fastest that is exact here; by default what the environment variable
            ``PIXELCODEC_BACKEND`` says, else ``auto``.
        strip_rows: rows of a strip, 1..65535: the unit of memory, and of streaming. By default
            about a million pixels; all of the image where PNG or WebP code it. Larger strips
            decode faster.
        tile: side of square tiles that are coded independently, side by side: for models that
            see small images alone, and for mosaics of images. By default what the model needs.
        restart: whether strips are independent, so that each can be decoded by itself.
        effort: what is spent on the image, 1 (fastest) to 9 (smallest), or ``max``; 5 by default.
            At 1 the model codes it as it shipped. From 2 on colours that a photograph had so far
            are likelier than others, and the model for graphics learns while it codes. At 4 the
            model for photographs is fitted to the image first, too, and the file holds how it
            changed: a decoder takes no longer for that. From 5 on all models learn while they code,
            more the higher the number, and a decoder takes as long as the encoder. At ``max`` (10
            is the same) all models that may suit and several ways to learn are tried.
        discard_invisible: whether colours may change where alpha is 0, to what takes the fewest
            bytes. All that can be seen, and alpha, come back as they were.
        verify: whether the file is decoded as it is written, and compared with the image. That
            takes as long as decoding, and its pixels count in ``progress``.
        progress: called with pixels done and pixels in all. Those fitted to count, and those of
            a file that another turns out to be smaller than.

    Returns:
        A ``.pxc`` file. Where neither a model nor strips are asked for, it is at most 64 bytes
        larger than PNG, optimised by Pillow, or lossless WebP at its slowest, with the same
        metadata (measured, not proven: docs/LIBRARY.md). What it decodes to is always the same; its
        bytes depend on image, model, ``strip_rows``, ``tile``, ``restart`` and ``effort`` alone,
        but at an effort of 4 on the machine, too, as fitting is done in floats.

    Raises:
        UnsupportedImageError: the image is of another kind, or not of those that ``model`` codes.
        ModelError: there is no such model, it is damaged, or ``strip_rows`` does not fit its tiles.
        BackendError: the back end or device cannot be used.
        VerificationError: the file does not decode to the image.
        ValueError: a number is out of its range.
        TypeError: the image is a path: :func:`pixelcodec.pictures.read_picture` reads it.
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
        restart=restart,
        effort=effort,
        discard_invisible=discard_invisible,
        verify=verify,
        progress=progress,
    )
    return stream.getvalue()


def encode_to(
    stream: container.Writable, image: Samples | Picture | Image.Image, **how: Unpack[Encoding]
) -> None:
    """Do as :func:`encode`, into a binary stream; nothing is sought or read.

    Strips are written as they are made, unless it takes whole files to tell which is smallest.

    Raises:
        TypeError: the stream is none, such as a path.
    """
    container.check_writable(stream)
    picture = as_picture(image)
    if how.get("discard_invisible"):
        picture = replace(picture, samples=discarded(picture.samples))
        how = {**how, "discard_invisible": False}
    if how.get("verify"):
        height, width = picture.samples.shape[:2]
        verifier = Verifier(stream, picture.chunks, width * height, how)
        verifier.expect(picture.samples)
        _encode_to(verifier, picture, verifier.how)
        verifier.finish()
    else:
        _encode_to(stream, picture, how)


def _encode_to(stream: container.Writable, picture: Picture, how: Encoding) -> None:
    """Encode by the one model that is asked for, or by what makes the smallest file."""
    effort = effort_of(how.get("effort"))
    model = how.get("model")
    models = [model] if model else candidates(picture.kind, effort)
    if len(models) == 1 and not effort.also_learning:
        _write(stream, picture, models[0], how)
    else:
        container.write_all(stream, _smallest(picture, models, effort, how))


def _smallest(picture: Picture, models: Sequence[str], effort: Effort, how: Encoding) -> bytes:
    """The smallest file that one of the ``models`` makes of an image."""
    compute = Compute.of(how)
    cut = how.get("strip_rows"), how.get("tile"), how.get("restart", False)
    with compute.running():
        contest = Contest(
            plans(Shape.of(picture), models, compute, *cut, effort.learning), picture.samples
        )
    tell = _Sum(how.get("progress"))
    best: tuple[bytes, Plan] | None = None
    for plan in contest.plans:
        if best is None or effort.tries_all or contest.may_beat(plan, best[1], _payload(best[0])):
            for way in _ways(plan, effort):
                file = io.BytesIO()
                how = {**how, "effort": way, "progress": tell.next()}
                _write(file, picture, plan.model, how)
                if best is None or len(file.getvalue()) < len(best[0]):
                    best = file.getvalue(), plan
    assert best is not None
    return best[0]


def _ways(plan: Plan, effort: Effort) -> list[Effort]:
    """Efforts of which each makes another file by ``plan``."""
    ways = list(effort.ways())
    learns_alike = any(remembers(engine.network) for engine in plan.engines.values())
    return ways[:1] if learns_alike or not plan.header.learning else ways


def _write(stream: container.Writable, picture: Picture, model: str, how: Encoding) -> None:
    """Write an image by ``model``."""
    height, width, channels = picture.samples.shape
    how = {**how, "model": model}
    is_cut = how.get("strip_rows") is not None or how.get("tile") or how.get("restart")
    if model == STANDARD_NAME and not is_cut:
        how["strip_rows"] = rows_at_once(height, width, picture.bit_depth)
    with RowWriter(
        stream, width, height, channels, picture.bit_depth, picture.chunks, **how
    ) as writer:
        writer.adapt(picture.samples)
        writer.write(picture.samples)


def _payload(file: bytes) -> int:
    """Bytes of a file that depend on what coded it."""
    info = inspect(file)
    return sum(info.strips) + info.changes_bytes + info.levels_bytes


class _Sum:
    """Tells of several encodings of an image as if they were one."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._total = progress, 0

    def next(self) -> Progress | None:
        """What to tell of the next of them."""
        progress, before = self._progress, self._total
        if progress is None:
            return None

        def tell(done: int, total: int) -> None:
            self._total = before + total
            progress(before + done, self._total)

        return tell


def as_picture(image: Samples | Picture | Image.Image) -> Picture:
    """What :func:`encode` makes of its argument.

    Raises:
        UnsupportedImageError: it is no image, or one of another kind.
        TypeError: it is a path.
    """
    if isinstance(image, str | os.PathLike):
        raise TypeError(
            f"{os.fspath(image)!r} is a path, not an image: pixelcodec.pictures.read_picture(path) "
            "reads it"
        )
    if isinstance(image, Picture):
        return image
    return from_pillow(image) if isinstance(image, Image.Image) else Picture.from_array(image)


Region = tuple[int, int, int, int]
"""Left column, top row, width and height, in pixels."""


def decode(
    data: container.Source,
    *,
    model: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    region: Region | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Samples:
    """Restore the samples of the image in a ``.pxc`` file.

    Args:
        data: the file, in hand (bytes, or any other buffer) or a binary stream, which is read
            front to back and to its end.
        model: name of a model, or path of a ``.safetensors`` file, that wrote the file; by
            default the installed model that the file names.
        device: as in :func:`encode`; any device decodes any file.
        threads: as in :func:`encode`.
        backend: as in :func:`encode`.
        max_pixels: refuse files that claim to hold more, before memory is taken for them.
        max_bytes: refuse files that could take more memory to decode, likewise: samples, and what
            networks hold for a strip (in each process of ``jobs``). Libraries and models, the file
            itself, up to 64 MiB of metadata and 16 MiB of changes of the model come on top.
        region: decode this part of the image: left column, top row, width, height. Only the strips
            that it needs are decoded: where they are independent (``restart``) those that it
            touches, else also those above. The checksum of all samples is not checked then.
        jobs: processes that decode independent strips side by side: those of files written with
            ``restart``, in tiles, or by PNG or WebP inside. Their start takes seconds, and the
            program's main module must be guarded, see :mod:`multiprocessing`.
        progress: called with pixels done and pixels in all.

    Returns:
        The very samples encoded: uint8, of 16 bits uint16, [height, width] where there is one
        channel, else [height, width, channels]; bool [height, width] of bilevel images. Those of a
        palette image are indices: :func:`decode_picture` and :func:`decode_image` give the palette.

    Raises:
        FormatError: the data is not a whole, undamaged ``.pxc`` file.
        ModelError: the model that wrote it is not installed, or is not ``model``.
        BackendError: the back end or device cannot be used.
        PixelcodecError: a process of ``jobs`` died.
        ValueError: the region is not four whole numbers or not inside the image, or ``jobs`` is
            less than 1.
        TypeError: ``data`` is neither a file in hand nor a binary stream, such as a path.
    """
    return decode_from(
        data,
        region=region,
        jobs=jobs,
        model=model,
        device=device,
        threads=threads,
        backend=backend,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        progress=progress,
    )


def decode_from(
    stream: container.Source,
    *,
    region: Region | None = None,
    jobs: int = 1,
    **how: Unpack[Decoding],
) -> Samples:
    """Do as :func:`decode`, which takes streams, too."""
    return decode_picture(stream, region=region, jobs=jobs, **how).to_array()


def decode_picture(
    data: container.Source,
    *,
    region: Region | None = None,
    jobs: int = 1,
    **how: Unpack[Decoding],
) -> Picture:
    """Restore all of the image in a ``.pxc`` file: samples, palette and metadata.

    Arguments are those of :func:`decode`.

    Raises:
        FormatError: as :func:`decode`, like all that follow.
        ModelError: likewise.
        BackendError: likewise.
        PixelcodecError: likewise.
        ValueError: likewise.
    """
    if jobs < 1:
        raise ValueError(f"{jobs} jobs: there must be 1 or more")
    if region is not None:
        region = _checked(region)
    stream = container.stream_of(data)
    if region is not None or jobs > 1:
        return _decode_strips(stream, region, jobs, **how)
    reader = RowReader(stream, **how)
    header = reader.header
    check_memory_of_rows(header, header.height, how.get("max_bytes", MAX_BYTES))
    samples = reader.read()
    samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    shape = header.height, header.width, header.channels
    return Picture(samples.reshape(shape), header.bit_depth, reader.chunks)


def decode_image(
    data: container.Source,
    *,
    region: Region | None = None,
    jobs: int = 1,
    **how: Unpack[Decoding],
) -> Image.Image:
    """Restore it as a Pillow image, with the mode, palette and metadata of the original.

    Arguments are those of :func:`decode_picture`.

    Raises:
        UnsupportedImageError: Pillow has no such images: several channels of 16 bits.
        FormatError: as :func:`decode`, like all that follow.
        ModelError: likewise.
        BackendError: likewise.
        PixelcodecError: likewise.
        ValueError: likewise.
    """
    return to_pillow(decode_picture(data, region=region, jobs=jobs, **how))


def _decode_strips(
    stream: container.Readable, region: Region | None, jobs: int, **how: Unpack[Decoding]
) -> Picture:
    """Decode those strips that are needed; independent ones side by side."""
    check_keywords(how, DECODING)
    reader = container.Reader(stream)
    header, chunks = reader.header, _chunks(reader)
    whole = 0, 0, header.width, header.height
    left, top, width, height = whole if region is None else _inside(region, header)
    first, end = top // header.strip_rows, -(-(top + height) // header.strip_rows)
    begin = first if independent(header) else 0
    held = min(end * header.strip_rows, header.height) - first * header.strip_rows

    # Each process is told all that the worker knows, and metadata may be large.
    palette = metadata.pack(told_by(chunks) if header.by_palette else ())
    worker = StripWorker(reader.start._replace(metadata=palette), {**how, "progress": None})
    with Compute.of(how).running():
        decoder = worker.decoder()
        check_memory_of_rows(header, held, how.get("max_bytes", MAX_BYTES))
        strips = islice(_strips(reader, decoder.parts), begin, end)
        tasks = [
            StripTask(parts, header.strip_height(index), index)
            for index, parts in enumerate(strips, begin)
        ]
        if region is None:
            collections.deque(reader, maxlen=0)  # to the end mark
        count = pixel_counter(
            how.get("progress"), sum(task.height for task in tasks) * header.width
        )
        processes = min(jobs, len(tasks)) if independent(header) else 1
        if processes > 1:
            rows = decode_strips(worker, tasks, processes, count)
        else:
            rows = []
            for task in tasks:
                with strip_named(header, task.index):
                    strip = decoder.decode(task.parts, task.height, count)
                if task.index >= first:
                    rows.append(strip)

    samples = np.concatenate(rows)
    if region is None:
        check_crc(crc_of(samples), reader.samples_crc)
    skipped = top - first * header.strip_rows
    found = samples[skipped : skipped + height, left : left + width]
    return Picture(np.ascontiguousarray(found), header.bit_depth, chunks)


def _checked(region: Region) -> Region:
    """A region, which may be in any sequence of any integers."""
    try:
        left, top, width, height = map(operator.index, region)
    except (TypeError, ValueError):
        raise ValueError(
            f"region {region}: give four whole numbers: left, top, width, height"
        ) from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise ValueError(f"region {region}: left and top are 0 or more, width and height 1 or more")
    return left, top, width, height


def _inside(region: Region, header: container.Header) -> Region:
    left, top, width, height = region
    if left + width > header.width or top + height > header.height:
        raise ValueError(
            f"region {region} is not inside the image of {header.width} x {header.height} pixels"
        )
    return region


def _chunks(reader: container.Reader) -> tuple[Chunk, ...]:
    header = reader.header
    return metadata.unpack(reader.start.metadata, header.channels, header.bit_depth)


def _strips(reader: container.Reader, parts: int) -> Iterator[list[bytes]]:
    """The parts of each strip, as soon as they are there.

    Raises:
        FormatError: a strip has not so many ``parts``, or as :class:`container.Reader` raises.
    """
    found: list[bytes] = []
    for payload, last in reader:
        found.append(payload)
        check_parts(len(found), parts, last)
        if last:
            yield found
            found = []


def preview_from(data: container.Source, **how: Unpack[Decoding]) -> Samples:
    """The small image that a file of a multi-scale model begins with.

    Nothing after the first part of the last strip is read, so a file may be cut off there; of an
    image of one strip, as all of up to a million pixels are, its first part is enough. Arguments
    are those of :func:`decode`.

    Returns:
        Samples, as :func:`decode` gives them: of every second (or fourth, as the model has it)
        pixel of every such row.

    Raises:
        UnsupportedImageError: the model has one scale only.
        FormatError: what is read is no part of a ``.pxc`` file, or is damaged.
        ModelError: as :func:`decode`.
        BackendError: as :func:`decode`.
    """
    reader = container.Reader(container.stream_of(data))
    header = reader.header
    strips: list[Samples] = []
    with Compute.of(how).running():
        engines = engines_within(reader.start, how)
        step = step_of(engines)
        if step == 1 or len(header.components) > 1:
            raise UnsupportedImageError("no preview: the file was written by no multi-scale model")
        height, width = -(-header.height // step), -(-header.width // step)
        check_memory_of_rows(header, height, how.get("max_bytes", MAX_BYTES))
        count = pixel_counter(how.get("progress"), height * width)
        decoder = ImageDecoder(reader.start, engines)
        for payload in islice(_first_parts(reader), header.strips):
            with strip_named(header, len(strips)):
                strip = decoder.decode([payload], header.strip_height(len(strips)), count)
            strips.append(strip[::step, ::step].copy())
    return array_of(np.concatenate(strips), header, _chunks(reader))


def _first_parts(reader: container.Reader) -> Iterator[bytes]:
    """The first part of each strip, as soon as it is there."""
    begins = True
    for payload, last in reader:
        if begins:
            yield payload
        begins = last
