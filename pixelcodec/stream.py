"""Rows of pixels to bytes and back as they come, in memory that does not grow with the height.

:class:`RowWriter` and :class:`RowReader` work on a file, :class:`Encoder` and :class:`Decoder` on
bytes in hand. None of them may be used by two threads at once; two of them may.

>>> import numpy as np
>>> rows = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
>>> encoder = Encoder(width=4, height=4, model="photo-s", strip_rows=2)
>>> data = encoder.write(rows[:3]) + encoder.write(rows[3:]) + encoder.finish()
>>> decoder = Decoder()
>>> blocks = [block for piece in (data[:70], data[70:]) for block in decoder.write(piece)]
>>> decoder.finish()
>>> [block.shape for block in blocks], bool((np.concatenate(blocks) == rows).all())
([(2, 4, 3), (2, 4, 3)], True)
"""

import io
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Self, TypedDict, Unpack

import numpy as np

from pixelcodec import container, metadata
from pixelcodec.choice import Contest, candidates
from pixelcodec.effort import Effort, Level, effort_of
from pixelcodec.errors import FormatError, ModelError, UnsupportedImageError
from pixelcodec.fitting import can_fit, fitted
from pixelcodec.invisible import Discarder
from pixelcodec.limits import engines_within
from pixelcodec.models.fine_tuning import Budget
from pixelcodec.new_file import new_file
from pixelcodec.pictures import Chunk, Samples
from pixelcodec.pictures.picture import refuse_mask
from pixelcodec.places import strip_named
from pixelcodec.plan import Plan, Shape, has_palette, plans
from pixelcodec.runtime import Compute, Progress, pixel_counter
from pixelcodec.strips import ImageDecoder, ImageEncoder
from pixelcodec.verification import Verifier


class Coding(TypedDict, total=False):
    """Keywords that say where and how networks run, and who is told."""

    model: str | None
    device: str
    threads: int | None
    backend: str | None
    progress: Progress | None


class Encoding(Coding, total=False):
    """Keywords of all that encodes, none of them needed, as :func:`pixelcodec.encode` has them."""

    strip_rows: int | None
    tile: int | None
    restart: bool
    effort: Level | Effort | None
    discard_invisible: bool
    verify: bool


class Decoding(Coding, total=False):
    """Keywords of all that decodes, none of them needed, as :func:`pixelcodec.decode` has them."""

    max_pixels: int
    max_bytes: int


ENCODING, DECODING = Encoding.__optional_keys__, Decoding.__optional_keys__


def check_keywords(how: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuse keywords that nothing takes: a limit that is misspelt would limit nothing.

    Args:
        how: keywords of a call.
        known: those of :class:`Encoding` or :class:`Decoding`.

    Raises:
        TypeError: there are others.
    """
    for name in how:
        if name not in known:
            near = "".join(
                f"; did you mean {each!r}?" for each in get_close_matches(name, known, 1)
            )
            raise TypeError(f"unknown keyword {name!r}{near}")


class _GivenUpError(Exception):
    """Ends a file that nobody wants any longer."""


_CLOSED, _GIVEN_UP, _FAILED = "closed", "given up", "given up, as an earlier call failed"


class RowWriter:
    """Write an image to a file, rows as they come; :func:`stream_writer` makes one.

    As a context manager it closes itself, and leaves the file unfinished where an error ended
    the block. Where something fails that rows are not to blame for, as a full disk, the image is
    given up: what was written cannot become a whole file.

    Attributes:
        header: of the file; which model it names is not settled before the first strip is there,
            where none is asked for.
    """

    def __init__(
        self,
        fh: container.Writable,
        width: int,
        height: int,
        channels: int = 3,
        bit_depth: int = 8,
        chunks: Sequence[Chunk] = (),
        **how: Unpack[Encoding],
    ) -> None:
        """Write the header, if all of it is known.

        Args:
            fh: takes the bytes; neither sought, flushed nor closed.
            width: columns of the image.
            height: rows.
            channels: 1 gray or index of a palette, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
            bit_depth: of a sample: 8 or 16, of one channel also 1, 2 or 4.
            chunks: metadata and palette.
            how: keywords of :func:`pixelcodec.encode`, see :class:`Encoding`.

        Raises:
            UnsupportedImageError: there are no images of such a shape, or the model codes none.
            ModelError: as :func:`pixelcodec.encode`.
            BackendError: likewise.
            ValueError: a number is out of its range.
            TypeError: ``how`` has a keyword that is none, or ``fh`` takes no bytes.
        """
        container.check_writable(fh)
        check_keywords(how, ENCODING)
        self._verifier: Verifier | None = None
        if how.get("verify"):
            self._verifier = fh = Verifier(fh, chunks, width * height, how)
            how = self._verifier.how
        shape = Shape(width, height, channels, bit_depth, tuple(chunks))
        kind = shape.kind
        effort = effort_of(how.get("effort"))
        model = how.get("model")
        self._compute = Compute.of(how)
        with self._compute.running():
            self._plans = plans(
                shape,
                [model] if model else candidates(kind, effort),
                self._compute,
                how.get("strip_rows"),
                how.get("tile"),
                how.get("restart", False),
                effort.learning,
            )
        self.header = self._plans[0].header
        self._budget, self._progress = effort.budget, how.get("progress")
        self._discard = Discarder() if how.get("discard_invisible") else None
        self._fh, self._metadata, self._changes = fh, metadata.pack(chunks), b""
        self._settled = False
        self._begun: tuple[ImageEncoder, container.Writer] | None = None
        if len(self._plans) == 1 and self._plans[0].is_settled:
            self._settle(self._plans[0])
        self._owned = ExitStack()
        self._ended = ""
        self._held: list[Samples] = []
        self._rows = self._strips = self._crc = 0

    def adapt(self, rows: Samples) -> None:
        """Suit the file to an image like ``rows``, before any are written.

        The model is chosen, where none was asked for, and fitted to them as the effort allows.
        Otherwise the first strip decides.

        Args:
            rows: best all of the image; as :meth:`write` takes them.

        Raises:
            UnsupportedImageError: as :meth:`write`.
            ValueError: likewise.
        """
        self._check_open()
        samples = self._samples(rows)
        if self._begun is None:
            with self._whole_or_given_up():
                self._adapt(samples)

    def write(self, rows: Samples) -> None:
        """Take the next rows, and write those strips that are whole with them.

        Args:
            rows: [n, width] where there is one channel, or [n, width, channels], of any n; uint16
                for samples of 16 bits, uint8 for others, also bool for those of 1 bit.

        Raises:
            UnsupportedImageError: they are of another kind or shape.
            ValueError: the image has fewer rows, or is closed or given up.
            OSError: the file cannot be written.
        """
        self._check_open()
        samples = self._samples(rows)
        if self._rows + len(samples) > self.header.height:
            raise ValueError(f"all {self.header.height} rows are written, and more are given")
        with self._whole_or_given_up():
            self._write(samples)

    def close(self) -> None:
        """Write the end mark; the file is then whole, and to close it again does nothing.

        A file of :func:`create` gets its name now, or never where this raises.

        Raises:
            ValueError: rows are missing, or the image is given up.
            VerificationError: the file does not decode to them.
            OSError: the file cannot be written, or there is another of its name by now.
        """
        if self._ended == _CLOSED:
            return
        self._check_open()
        with self._whole_or_given_up(), self._owned:
            if self._rows != self.header.height:
                raise ValueError(f"{self._rows} of {self.header.height} rows are written")
            _, writer = self._begin()
            writer.close(self._crc)
            if self._verifier is not None:
                self._verifier.finish()
        self._ended = _CLOSED

    def abort(self) -> None:
        """Give up, unless it is closed: a file of :func:`create` goes away, and gets no name."""
        self._ended = self._ended or _GIVEN_UP
        with suppress(_GivenUpError), self._owned:
            raise _GivenUpError

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Close it, unless an error is on its way: that file never gets its name."""
        if kind is not None:
            self.abort()
        elif self._ended != _GIVEN_UP:
            self.close()

    def _check_open(self) -> None:
        if self._ended:
            raise ValueError(f"the image is {self._ended}")

    @contextmanager
    def _whole_or_given_up(self) -> Iterator[None]:
        """Give up where something fails: a file that lacks what was lost would look whole."""
        try:
            yield
        except BaseException:  # Ctrl-C too
            self._ended = _FAILED
            self.abort()
            raise

    def _write(self, samples: Samples) -> None:
        begin = 0
        while begin < len(samples):
            block = samples[begin : begin + self._missing()]
            self._rows += len(block)
            begin += len(block)
            if self._missing():
                self._held.append(block.copy())  # the caller may use its memory again
            else:
                self._held.append(block)
                self._strip()

    def _missing(self) -> int:
        """Rows that the strip in hand still needs."""
        header = self.header
        end = min((self._strips + 1) * header.strip_rows, header.height)
        return end - self._rows

    def _strip(self) -> None:
        rows = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        self._held = []
        self._crc = crc_of(rows, self._crc)
        if self._begun is None:
            self._adapt(rows)
        encoder, writer = self._begin()
        with self._compute.running():
            parts = encoder.encode(rows, self._count)
        if self._verifier is not None:
            self._verifier.expect(rows)
        writer.strip(*parts)
        self._strips += 1

    def _adapt(self, rows: Samples) -> None:
        with self._compute.running():
            if not self._settled:
                self._settle(Contest(self._plans, rows).plans[0])
            if self._budget is not None:
                self._fit(rows, self._budget)
                self._budget = None

    def _settle(self, plan: Plan) -> None:
        """Code the image so."""
        self.header, self._engines, self._settled = plan.header, plan.engines, True
        self._levels, self._transform = plan.levels, plan.transform
        self._budget = self._affordable(self._budget)
        learnt = self._budget.steps * self._budget.pixels if self._budget else 0
        pixels = self.header.width * self.header.height
        self._count = pixel_counter(self._progress, pixels + learnt)
        if self._budget is None:
            self._begin()

    def _fit(self, rows: Samples, budget: Budget) -> None:
        """Fit the model of the colours to ``rows``."""
        header = self.header
        colours = header.components[0]
        engine = self._engines[colours.model_id]
        samples = header.width * header.height * colours.channels
        found = fitted(engine, rows[..., colours.slice], samples, budget, self._count)
        if found:
            with suppress(ModelError):  # sums that could overflow: it stays as it is
                adapted = self._compute.adapted(engine.network, found)
                self._engines = {**self._engines, colours.model_id: adapted}
                self._changes = found

    def _begin(self) -> tuple[ImageEncoder, container.Writer]:
        """Write the header, once it is known how the model changes."""
        if self._begun is None:
            encoder = ImageEncoder(self.header, self._engines, self._transform)
            chunks = self._metadata, self._changes, self._levels
            writer = container.Writer(self._fh, self.header, *chunks)
            self._begun = encoder, writer
        return self._begun

    def _affordable(self, budget: Budget | None) -> Budget | None:
        """``budget``, if the model of the colours can be fitted to an image of this size."""
        header = self.header
        engine = self._engines.get(header.components[0].model_id)
        if engine is None or not can_fit(engine, header.width * header.height):
            return None
        return budget

    def _samples(self, rows: Samples) -> Samples:
        """``rows`` as uint8 or uint16 [n, width, channels]."""
        header = self.header
        refuse_mask(rows)
        array = np.asarray(rows)
        array = array[..., np.newaxis] if array.ndim == 2 else array
        if array.dtype == np.bool_ and header.bit_depth == 1:
            array = array.astype(np.uint8)
        dtype = np.uint16 if header.bit_depth == 16 else np.uint8
        if array.dtype != dtype or array.shape[1:] != (header.width, header.channels):
            raise UnsupportedImageError(
                f"rows of {array.dtype} {array.shape}; the image needs {np.dtype(dtype)} "
                f"(n, {header.width}, {header.channels})"
            )
        if array.size and header.bit_depth < 8 and array.max() >> header.bit_depth:
            raise UnsupportedImageError(
                f"a sample of {array.max()}; those of {header.bit_depth} bits are less"
            )
        return array if self._discard is None else self._discard(array)


class Encoder:
    """Turn rows into bytes. Its arguments, and errors, are those of :class:`RowWriter`."""

    def __init__(
        self,
        width: int,
        height: int,
        channels: int = 3,
        bit_depth: int = 8,
        chunks: Sequence[Chunk] = (),
        **how: Unpack[Encoding],
    ) -> None:
        """Begin."""
        self._sink = io.BytesIO()
        self._writer = RowWriter(self._sink, width, height, channels, bit_depth, chunks, **how)

    def write(self, rows: Samples) -> bytes:
        """Take the next rows, and give the bytes that are ready.

        Raises:
            UnsupportedImageError: as :meth:`RowWriter.write`.
            ValueError: likewise.
        """
        self._writer.write(rows)
        return self._drained()

    def finish(self) -> bytes:
        """Give the last bytes.

        Raises:
            ValueError: rows are missing.
        """
        self._writer.close()
        return self._drained()

    def _drained(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


class Decoder:
    """Turn bytes into rows. Its keywords are those of :func:`pixelcodec.decode`.

    Attributes:
        header: of the file, once it is known; None before.
        chunks: metadata and palette, known with the header.
    """

    def __init__(self, **how: Unpack[Decoding]) -> None:
        """Wait for the first bytes.

        Raises:
            TypeError: ``how`` has a keyword that is none.
        """
        check_keywords(how, DECODING)
        self.header: container.Header | None = None
        self.chunks: tuple[Chunk, ...] = ()
        self._parser = container.Parser()
        self._how, self._compute = how, Compute.of(how)
        self._failure: BaseException | None = None
        self._finished = False
        self._parts: list[bytes] = []
        self._strips = self._crc = 0

    @property
    def wanted(self) -> int:
        """Bytes that are needed, at least, before there is more to know."""
        return self._parser.wanted

    def write(self, data: bytes) -> list[Samples]:
        """Take the next bytes, of any count, and give the rows that can be had.

        Where they are damaged, rows before the damage are given, and the next call raises. What was
        once raised is raised again at each call that follows.

        Returns:
            Blocks of rows from top to bottom, often none: [n, width] where there is one channel,
            else [n, width, channels]; uint16 of 16 bits, bool of 1 bit (but uint8 where those are
            indices of a palette), uint8 of others.

        Raises:
            FormatError: this is not a ``.pxc`` file, or it is damaged.
            ModelError: the model that wrote it is not installed, or is not ``model``.
            BackendError: the back end or device cannot be used.
            ValueError: it was said that there are no more bytes.
        """
        return self._take(data) if data else []

    def finish(self) -> None:
        """Say that there are no more bytes.

        Raises:
            FormatError: the file is not whole, or the rows were not those encoded.
        """
        self._finished = True
        self._take(b"")

    def _take(self, data: bytes) -> list[Samples]:
        if self._failure is not None:
            raise self._failure
        if data and self._finished:
            raise ValueError("bytes after finish()")
        found: list[Samples] = []
        try:
            with self._compute.running():
                for record in self._parser.records(data):
                    rows = self._next(record)
                    if rows is not None:
                        found.append(rows)
        except BaseException as error:  # Ctrl-C too: what was begun cannot go on
            self._failure = error
            if not found or not isinstance(error, Exception):
                raise
        return found

    def _next(self, record: container.Record) -> Samples | None:
        match record:
            case container.Start():
                self._start(record)
            case container.Part(payload, last):
                return self._part(payload, last)
            case container.End(samples_crc):
                del self._decoder  # what networks keep of an image is large
                check_crc(self._crc, samples_crc)
        return None

    def _start(self, start: container.Start) -> None:
        header = self.header = start.header
        engines = engines_within(start, self._how)
        self.chunks = metadata.unpack(start.metadata, header.channels, header.bit_depth)
        self._decoder = ImageDecoder(start, engines)
        self._count = pixel_counter(self._how.get("progress"), header.height * header.width)

    def _part(self, payload: bytes, last: bool) -> Samples | None:
        assert self.header is not None
        self._parts.append(payload)
        check_parts(len(self._parts), self._decoder.parts, last)
        if not last:
            return None
        height = self.header.strip_height(self._strips)
        with strip_named(self.header, self._strips):
            samples = self._decoder.decode(self._parts, height, self._count)
        self._parts, self._strips = [], self._strips + 1
        self._crc = crc_of(samples, self._crc)
        return array_of(samples, self.header, self.chunks)


class RowReader:
    """Read an image from a file, rows as they are needed; :func:`stream_reader` makes one.

    Iterating gives blocks of rows as :meth:`Decoder.write` does, each as soon as it can be had.

    Attributes:
        header: of the file.
        chunks: metadata and palette.
    """

    def __init__(self, fh: container.Readable, **how: Unpack[Decoding]) -> None:
        """Read the header.

        Args:
            fh: gives the bytes; no more are taken than needed. It is neither sought nor closed.
            how: keywords of :func:`pixelcodec.decode`, see :class:`Decoding`.

        Raises:
            FormatError: as :meth:`Decoder.write`.
            ModelError: likewise.
            BackendError: likewise.
            TypeError: ``fh`` gives no bytes, or ``how`` has a keyword that is none.
        """
        self._fh, self._decoder, self._ended = container.stream_of(fh), Decoder(**how), False
        self._owned = ExitStack()
        while self._decoder.header is None:
            self._pump()
        self.header, self.chunks = self._decoder.header, self._decoder.chunks
        self._held: deque[Samples] = deque()

    def close(self) -> None:
        """Close the file, if :func:`open` opened it."""
        self._owned.close()

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[Samples]:
        """Give the rows that are left, block by block.

        Raises:
            FormatError: the file is damaged or not whole; of the last rows this is known only
                when the iteration has ended by itself.
        """
        while self._held or not self._ended:
            if not self._held:
                self._held += self._pump()
            while self._held:
                yield self._held.popleft()

    def read(self, rows: int | None = None) -> Samples:
        """Give the next ``rows``, or as many as are left: all of them by default.

        Raises:
            FormatError: as when iterating; fewer rows may still be had.
            ValueError: the count is negative.
        """
        if rows is not None and rows < 0:
            raise ValueError(f"{rows} rows: give 0 or more, or None for all that are left")
        held = sum(map(len, self._held))
        while not self._ended and (rows is None or held < rows):
            blocks = self._pump()
            held += sum(map(len, blocks))
            self._held += blocks
        left = held if rows is None else rows
        found = [self._nothing()]
        while self._held and left:
            block = self._held.popleft()
            if len(block) > left:
                self._held.appendleft(block[left:])
            found.append(block[:left])
            left -= len(found[-1])
        return np.concatenate(found)

    def _pump(self) -> list[Samples]:
        data = container.read_some(self._fh, self._decoder.wanted)
        if data:
            return self._decoder.write(data)
        self._decoder.finish()
        self._ended = True
        return []

    def _nothing(self) -> Samples:
        """No rows, of the right kind."""
        header = self.header
        dtype = np.uint16 if header.bit_depth == 16 else np.uint8
        return array_of(np.empty((0, header.width, header.channels), dtype), header, self.chunks)


def stream_writer(
    fh: container.Writable,
    width: int,
    height: int,
    channels: int = 3,
    bit_depth: int = 8,
    chunks: Sequence[Chunk] = (),
    **how: Unpack[Encoding],
) -> RowWriter:
    """Begin an image in the open file ``fh``; all else is as :class:`RowWriter` takes it."""
    return RowWriter(fh, width, height, channels, bit_depth, chunks, **how)


def stream_reader(fh: container.Readable, **how: Unpack[Decoding]) -> RowReader:
    """Read the image in the open file ``fh``; all else is as :class:`RowReader` takes it."""
    return RowReader(fh, **how)


def create(
    path: str | os.PathLike[str],
    width: int,
    height: int,
    channels: int = 3,
    bit_depth: int = 8,
    chunks: Sequence[Chunk] = (),
    *,
    overwrite: bool = False,
    **how: Unpack[Encoding],
) -> RowWriter:
    """Begin an image in a new file, which has its name once it is whole.

    Args:
        path: of the file.
        width: as :class:`RowWriter` takes it, like all that follow.
        height: likewise.
        channels: likewise.
        bit_depth: likewise.
        chunks: likewise.
        overwrite: whether a file of that name is replaced.
        how: likewise.

    Raises:
        OSError: the file exists, or cannot be written.
        UnsupportedImageError: as :class:`RowWriter`, like all that follow.
        ModelError: likewise.
        BackendError: likewise.
    """
    with ExitStack() as stack:
        fh = stack.enter_context(new_file(Path(path), overwrite))
        writer = RowWriter(fh, width, height, channels, bit_depth, chunks, **how)
        writer._owned = stack.pop_all()
    return writer


def open(path: str | os.PathLike[str], **how: Unpack[Decoding]) -> RowReader:
    """Open a ``.pxc`` file to read its rows. Keywords are those of :func:`pixelcodec.decode`.

    Raises:
        OSError: it cannot be read.
        FormatError: as :class:`RowReader`, like all that follow.
        ModelError: likewise.
        BackendError: likewise.
    """
    with ExitStack() as stack:
        reader = RowReader(stack.enter_context(Path(path).open("rb")), **how)
        reader._owned = stack.pop_all()
    return reader


def array_of(samples: Samples, header: container.Header, chunks: tuple[Chunk, ...]) -> Samples:
    """``samples`` [rows, width, channels] as callers know them, see :meth:`Decoder.write`."""
    samples = samples[..., 0] if header.channels == 1 else samples
    is_gray = header.bit_depth == 1 and not has_palette(header.channels, chunks)
    return samples.view(np.bool_) if is_gray else samples


def crc_of(samples: Samples, crc: int = 0) -> int:
    """CRC-32 of samples after others of ``crc``; those of 16 bits low byte first."""
    little = samples.astype("<u2") if samples.dtype == np.uint16 else samples
    return zlib.crc32(np.ascontiguousarray(little).data, crc)


def check_crc(found: int, stored: int) -> None:
    """Refuse samples that do not have the checksum of the original.

    Raises:
        FormatError: they do not.
    """
    if found != stored:
        raise FormatError(
            "the decoded samples do not have the checksum of the original "
            f"(stored {stored:08x}, computed {found:08x})"
        )


def check_parts(count: int, parts: int, last: bool) -> None:
    """Refuse a strip whose part number ``count``, the ``last`` or not, is not that of ``parts``.

    Raises:
        FormatError: it is not.
    """
    if last != (count == parts):
        raise FormatError(
            f"damaged: a strip of {count}{'' if last else ' or more'} parts; "
            f"those of its model have {parts}"
        )
