"""The order of a palette's colours: indices that lie side by side stand for colours that do.

Palettes come in any order, such as by how often colours occur. Networks and WebP predict levels
from levels, and what they predict of indices means something only where near indices are alike.
The palette is in the metadata, so its order costs nothing to tell.
"""

from collections.abc import Iterable

import numpy as np

from pixelcodec.errors import FormatError
from pixelcodec.pictures import Chunk, Samples

_INDICES = 256
_OPAQUE = 255


def told_by(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Those of the ``chunks`` of an image that tell the order: two at most."""
    first: dict[bytes, Chunk] = {}
    for chunk in chunks:
        if chunk.type in (b"PLTE", b"tRNS"):
            first.setdefault(chunk.type, chunk)
    return list(first.values())


class PaletteOrder:
    """Ranks of the indices of a palette: by alpha, green, red and blue of their colours."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        """Take the palette among the ``chunks`` of an image, and what is transparent of it.

        Raises:
            FormatError: there is no palette.
        """
        first = {chunk.type: np.frombuffer(chunk.data, np.uint8) for chunk in told_by(chunks)}
        if b"PLTE" not in first:
            raise FormatError("damaged: the palette is missing whose order samples have")
        colours = first[b"PLTE"].reshape(-1, 3)
        alpha = np.full(len(colours), _OPAQUE)
        told = first.get(b"tRNS", alpha)[: len(alpha)]
        alpha[: len(told)] = told
        red, green, blue = colours.T
        order = np.arange(_INDICES, dtype=np.uint8)  # those beyond the end come last
        order[: len(colours)] = np.lexsort((blue, red, green, alpha))
        self._indices = order
        self._ranks = np.argsort(order).astype(np.uint8)

    def ranks(self, samples: Samples) -> Samples:
        """The rank of each of ``samples``, uint8."""
        return self._ranks[samples]

    def samples(self, ranks: Samples) -> Samples:
        """What :meth:`ranks` was given."""
        return self._indices[ranks]
