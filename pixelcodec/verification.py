"""Encoding that decodes what it writes, while it is written, and compares every sample."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pixelcodec import container
from pixelcodec.errors import PixelcodecError, VerificationError
from pixelcodec.pictures import Chunk, Samples

if TYPE_CHECKING:
    from pixelcodec.stream import Encoding

_NO_LIMIT = 2**63


class Verifier:
    """Passes the bytes of a file on, and decodes them: a :class:`pixelcodec.container.Writable`.

    Attributes:
        how: the keywords for the encoder, whose progress is told together with that of decoding.
    """

    def __init__(
        self, fh: container.Writable, chunks: Sequence[Chunk], pixels: int, how: "Encoding"
    ) -> None:
        """Wait for rows, and then for their bytes.

        Args:
            fh: takes the bytes.
            chunks: metadata and palette of the image.
            pixels: of the image.
            how: keywords of :func:`pixelcodec.encode`.
        """
        from pixelcodec.stream import Decoder

        self._fh, self._chunks, self._pixels = fh, tuple(chunks), pixels
        self._progress = how.get("progress")
        self._encoded, self._decoded = (0, 0), 0
        self.how: Encoding = {**how, "verify": False, "progress": self._tell_encoded}
        self._decoder = Decoder(
            model=how.get("model"),
            device=how.get("device", "auto"),
            threads=how.get("threads"),
            backend=how.get("backend"),
            progress=self._tell_decoded,
            max_pixels=_NO_LIMIT,
            max_bytes=_NO_LIMIT,
        )
        self._expected: list[Samples] = []
        self._rows = 0

    def expect(self, rows: Samples) -> None:
        """Take the next rows that are encoded: uint8 or uint16 [n, width, channels]."""
        self._expected.append(rows)

    def write(self, data: bytes, /) -> int:
        """Pass ``data`` on, and compare what it decodes to.

        Raises:
            VerificationError: it does not decode, or to something else.
        """
        taken = self._fh.write(data)
        if taken:
            try:
                blocks = self._decoder.write(bytes(data[:taken]))
            except PixelcodecError as error:
                raise _failure(f"does not decode: {error}") from error
            for block in blocks:
                self._compare(block)
        return taken

    def finish(self) -> None:
        """Check that all is there, and the checksum of the samples.

        Raises:
            VerificationError: as :meth:`write`.
        """
        try:
            self._decoder.finish()
        except PixelcodecError as error:
            raise _failure(f"does not decode: {error}") from error
        if self._expected:
            raise _failure(f"ends after {self._rows} rows")
        if self._decoder.chunks != self._chunks:
            raise _failure("has other metadata")

    def _compare(self, block: Samples) -> None:
        """Compare some rows with those that are expected."""
        samples = block.view(np.uint8) if block.dtype == np.bool_ else block
        while len(samples):
            if not self._expected:
                raise _failure(f"has more than {self._rows} rows")
            expected = self._expected.pop(0)
            count = min(len(expected), len(samples))
            if len(expected) > count:
                self._expected.insert(0, expected[count:])
            found = samples[:count].reshape(count, samples.shape[1], -1)
            if found.dtype != expected.dtype or not np.array_equal(found, expected[:count]):
                end = self._rows + count - 1
                raise _failure(f"differs in some of the rows {self._rows} to {end}")
            samples = samples[count:]
            self._rows += count

    def _tell_encoded(self, done: int, total: int) -> None:
        self._encoded = done, total
        self._tell()

    def _tell_decoded(self, done: int, total: int) -> None:
        self._decoded = done
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            done, total = self._encoded
            self._progress(done + self._decoded, total + self._pixels)


def _failure(what: str) -> VerificationError:
    return VerificationError(
        f"what was encoded {what}. Nothing is lost, but this must not happen: if it happens again, "
        "also on another machine, please report it with the image"
    )
