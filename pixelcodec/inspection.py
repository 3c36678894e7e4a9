"""What a ``.pxc`` file says of itself: that takes no network, and nothing here imports torch."""

from dataclasses import dataclass

import numpy as np

from pixelcodec import container, metadata
from pixelcodec.container import STANDARD_NAME
from pixelcodec.models import zoo


@dataclass(frozen=True)
class FileInfo:
    """What a ``.pxc`` file says of itself.

    Attributes:
        width: columns.
        height: rows.
        channels: 1 (gray, or indices of a palette), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        bit_depth: bits of a sample.
        restart: whether strips are independent.
        strip_rows: rows of a strip.
        tile: side of the tiles that strips are cut into, 0 where they are not.
        strips: bytes of each strip's payload, all parts together.
        preview_bytes: those of the parts but the last of all strips, which make a preview; 0 where
            the file has none.
        model_name: the model that wrote the colours, ``standard`` where none did; None when it is
            not installed.
        model_id: its identity, hexadecimal.
        alpha_model_name: the same for alpha, where it is coded by itself; else None.
        metadata: types and bytes of the chunks of metadata, in order.
        changes_bytes: those of the changes of the model, 0 where it was not fitted to the image.
        levels_bytes: those that say which levels of 16 bits are used, 0 where none do.
        learning: how the model learns from what is coded, 1 to 15; 0: not at all. At 1 networks
            for photographs see which colours there are, and no layer of theirs learns.
        samples_crc: CRC-32 of the samples.
        file_bytes: size of the file.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    restart: bool
    strip_rows: int
    tile: int
    strips: tuple[int, ...]
    preview_bytes: int
    model_name: str | None
    model_id: str
    alpha_model_name: str | None
    metadata: tuple[tuple[str, int], ...]
    changes_bytes: int
    levels_bytes: int
    learning: int
    samples_crc: int
    file_bytes: int

    @property
    def bpsp(self) -> float:
        """Bits of the file for each sample of the image."""
        return 8 * self.file_bytes / (self.width * self.height * self.channels)


def inspect(data: container.Source) -> FileInfo:
    """Read a ``.pxc`` file without decoding it; all its checksums but the samples' are checked.

    Args:
        data: the file, in hand or a binary stream, which is read to its end.

    Raises:
        FormatError: it is not a whole, undamaged ``.pxc`` file.
    """
    counting = _CountingReader(container.stream_of(data))
    reader = container.Reader(counting)
    parts = [(len(payload), last) for payload, last in reader]
    header = reader.header
    chunks = metadata.unpack(reader.start.metadata, header.channels, header.bit_depth)
    has_preview = len(header.components) == 1
    return FileInfo(
        width=header.width,
        height=header.height,
        channels=header.channels,
        bit_depth=header.bit_depth,
        restart=header.restart,
        strip_rows=header.strip_rows,
        tile=header.tile,
        strips=_strip_sizes(parts),
        preview_bytes=sum(size for size, last in parts if not last) if has_preview else 0,
        model_name=_name(header.model_id),
        model_id=header.model_id.hex(),
        alpha_model_name=None if header.alpha_id is None else _name(header.alpha_id),
        metadata=tuple((chunk.type.decode(), len(chunk.data)) for chunk in chunks),
        changes_bytes=len(reader.start.changes),
        levels_bytes=len(reader.start.levels),
        learning=header.learning,
        samples_crc=reader.samples_crc,
        file_bytes=counting.count,
    )


def _name(model_id: bytes) -> str | None:
    return STANDARD_NAME if model_id == container.STANDARD else zoo.find(model_id)


def _strip_sizes(parts: list[tuple[int, bool]]) -> tuple[int, ...]:
    """Bytes of whole strips, from those of their parts and whether each is the last."""
    sums = np.cumsum([0, *(size for size, _ in parts)])
    ends = [0, *(index for index, (_, last) in enumerate(parts, 1) if last)]
    return tuple(np.diff(sums[ends]).tolist())


class _CountingReader:
    """Counts the bytes that pass."""

    def __init__(self, stream: container.Readable) -> None:
        self._stream, self.count = stream, 0

    def read(self, size: int, /) -> bytes:
        data = container.read_some(self._stream, size)
        self.count += len(data)
        return data
