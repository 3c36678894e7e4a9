"""An image as PNG knows it: samples of 1 to 16 bits, and all else as PNG chunks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelcodec.errors import UnsupportedImageError

Samples = npt.NDArray[Any]
"""uint8 or uint16."""

# PNG's own limit for a side and for the data of a chunk.
_LARGEST = 2**31 - 1

_OF_THE_PIXELS = (b"IHDR", b"IDAT", b"IEND")
_COLOURS = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number of the kind of pixels, by channels."""

_PALETTE_COLOUR_TYPE = 3

_SUPPORTED = (
    "supported: bool (height, width); uint8 and uint16 (height, width) for gray and "
    "(height, width, channels) of 1 to 4 channels: gray, gray with alpha, RGB, RGB with alpha"
)


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG that holds no pixels: metadata, a palette, a transparent colour.

    Attributes:
        type: Four ASCII letters, such as ``b"iCCP"``; not IHDR, IDAT or IEND.
        data: What the chunk holds, verbatim; fewer than 2**31 bytes.
        after: Whether it stands after the pixels.

    Raises:
        UnsupportedImageError: It is no such chunk.
    """

    type: bytes
    data: bytes
    after: bool = False

    def __post_init__(self) -> None:
        """Refuse what PNG cannot hold."""
        if len(self.type) != 4 or not self.type.isalpha():
            raise UnsupportedImageError(f"the type of a PNG chunk is 4 letters, not {self.type!r}")
        if self.type in _OF_THE_PIXELS:
            raise UnsupportedImageError(f"chunk {self.name} belongs to the pixels, not beside them")
        if len(self.data) > _LARGEST:
            raise UnsupportedImageError(
                f"chunk {self.name} of {len(self.data)} bytes; PNG holds at most {_LARGEST}"
            )

    @property
    def name(self) -> str:
        """The type as text."""
        return self.type.decode("ascii")

    @property
    def is_critical(self) -> bool:
        """Whether the pixels cannot be shown without knowing what the chunk means."""
        return self.type[:1].isupper()


@dataclass(frozen=True, eq=False)
class Picture:
    """An image: its samples, how many bits they have, and all other chunks of its PNG.

    Attributes:
        samples: [height, width, channels], C-contiguous: uint16 where ``bit_depth`` is 16, else
            uint8; 0 ... 2**bit_depth - 1. 1 channel is gray or indexes into a palette, 2 are gray
            and alpha, 3 are RGB, 4 are RGB and alpha. An index may lie beyond the palette's end.
        bit_depth: 1, 2, 4, 8 or 16; with 2 or more channels 8 or 16, with a palette at most 8.
        chunks: All chunks but IHDR, IDAT and IEND in their order, those after the pixels last.
            With PLTE, an image of one channel is a palette image.
        not_kept: Names of what its file held beside the pixels and is not among ``chunks``, such
            as "IPTC". It is told of files that were read, and takes no part in comparisons.

    Raises:
        UnsupportedImageError: They do not make an image that PNG could hold.
    """

    samples: Samples
    bit_depth: int
    chunks: tuple[Chunk, ...] = ()
    not_kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what PNG cannot hold."""
        _check_samples(self.samples, self.bit_depth)
        _check_order(self.chunks)
        _check_palette(self)

    __hash__ = None  # type: ignore[assignment]  # arrays can change

    def __eq__(self, other: object) -> bool:
        """Whether samples, their bits and all chunks are equal."""
        if not isinstance(other, Picture):
            return NotImplemented
        return (
            self.bit_depth == other.bit_depth
            and self.chunks == other.chunks
            and np.array_equal(self.samples, other.samples)
        )

    @classmethod
    def from_array(cls, array: npt.NDArray[Any]) -> "Picture":
        """Make a picture without metadata of an array, bit for bit.

        Args:
            array: bool [height, width], or uint8 or uint16 [height, width] or
                [height, width, 1 ... 4], in any memory layout and byte order.

        Returns:
            A picture of 1, 8 or 16 bits; it may share the array's memory.

        Raises:
            UnsupportedImageError: It is anything else, has a mask, or has no pixels.
        """
        refuse_mask(array)
        if not isinstance(array, np.ndarray):
            raise UnsupportedImageError(
                f"a {type(array).__name__} is no image: give a NumPy array or a Pillow image"
            )
        if array.dtype == np.bool_:
            return cls(_bits(array), 1)
        if array.dtype.kind != "u" or array.dtype.itemsize > 2:
            raise UnsupportedImageError(f"samples of type {array.dtype}; {_SUPPORTED}")
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _COLOURS):
            raise UnsupportedImageError(f"an array of shape {array.shape}; {_SUPPORTED}")
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return cls(native[..., None] if native.ndim == 2 else native, 8 * native.itemsize)

    def to_array(self) -> npt.NDArray[Any]:
        """Return the samples as NumPy users have them; the memory may be the picture's.

        Returns:
            bool [height, width] for 1-bit gray; else uint8 or uint16, [height, width] of gray or
            of indexes into the palette, [height, width, channels] of more channels.
        """
        if self.channels > 1:
            return self.samples
        gray = self.samples[..., 0]
        return gray.view(np.bool_) if self.bit_depth == 1 and not self.is_palette else gray

    def in_colour(self) -> "Picture":
        """Return a palette image as 8-bit RGB, or RGBA where it has transparency; others as is.

        Raises:
            UnsupportedImageError: An index lies beyond the palette's end.
        """
        palette, transparency = self.palette, self.find(b"tRNS")
        if palette is None:
            return self
        if int(self.samples.max()) >= len(palette):
            raise UnsupportedImageError(f"an index beyond the palette of {len(palette)} colours")
        if transparency is not None:
            alpha = np.full((len(palette), 1), 255, np.uint8)
            known = np.frombuffer(transparency.data[: len(palette)], np.uint8)
            alpha[: len(known), 0] = known
            palette = np.hstack([palette, alpha])
        return Picture(palette[self.samples[..., 0]], 8)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.samples.shape[1])

    @property
    def channels(self) -> int:
        """Samples in a pixel, 1 to 4."""
        return int(self.samples.shape[2])

    @property
    def is_palette(self) -> bool:
        """Whether samples are indexes into :attr:`palette`."""
        return self.channels == 1 and self.find(b"PLTE") is not None

    @property
    def palette(self) -> npt.NDArray[np.uint8] | None:
        """The colours of a palette image, [1 ... 256, 3] RGB; None where samples are no indexes."""
        chunk = self.find(b"PLTE")
        if chunk is None or self.channels > 1:
            return None
        return np.frombuffer(chunk.data, np.uint8).reshape(-1, 3)

    @property
    def colour_type(self) -> int:
        """PNG's number of the kind of pixels: 0, 2, 3, 4 or 6."""
        return _PALETTE_COLOUR_TYPE if self.is_palette else COLOUR_TYPES[self.channels]

    @property
    def kind(self) -> str:
        """What kind of image it is, such as "8-bit RGB", "4-bit palette" or "bilevel"."""
        if self.is_palette:
            return f"{self.bit_depth}-bit palette"
        if self.bit_depth == 1:
            return "bilevel"
        return f"{self.bit_depth}-bit {_COLOURS[self.channels]}"

    def find(self, type: bytes) -> Chunk | None:
        """Return the first chunk of a type, if there is one."""
        return next((chunk for chunk in self.chunks if chunk.type == type), None)


def refuse_mask(array: object) -> None:
    """Refuse a masked array, as no image has a place for its mask.

    Raises:
        UnsupportedImageError: It is one.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise UnsupportedImageError(
            "a masked array, whose mask would be lost: give array.filled(value), or array.data and "
            "the mask as an image of its own"
        )


def as_samples(array: npt.NDArray[Any], bit_depth: int) -> Samples:
    """Give an array the memory layout and type of a picture's samples, the values unchanged."""
    if bit_depth == 16:
        return np.ascontiguousarray(array, np.uint16)
    return np.ascontiguousarray(array, np.uint8)


def _bits(array: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """[height, width] to [height, width, 1] of 0 and 1, whatever bytes stood for True."""
    if array.ndim != 2:
        raise UnsupportedImageError(
            f"samples of one bit in an array of shape {array.shape}; {_SUPPORTED}"
        )
    return np.ascontiguousarray(array, np.uint8)[..., None]


def _check_samples(samples: Samples, bit_depth: int) -> None:
    if bit_depth not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(f"samples of {bit_depth} bits; supported: 1, 2, 4, 8 and 16")
    expected = np.dtype(np.uint16 if bit_depth == 16 else np.uint8)
    if samples.dtype != expected:
        raise UnsupportedImageError(
            f"{bit_depth}-bit samples in an array of type {samples.dtype}; it must be {expected}"
        )
    if samples.ndim != 3 or samples.shape[2] not in _COLOURS:
        raise UnsupportedImageError(
            f"samples of shape {samples.shape}; it must be (height, width, 1 ... 4)"
        )
    if samples.size == 0:
        raise UnsupportedImageError(f"an array of shape {samples.shape} has no pixels")
    if max(samples.shape) > _LARGEST:
        raise UnsupportedImageError(f"a side of {max(samples.shape)} pixels; at most {_LARGEST}")
    if not samples.flags.c_contiguous:
        raise UnsupportedImageError("the samples must be C-contiguous")
    if bit_depth < 8 and samples.shape[2] > 1:
        raise UnsupportedImageError(
            f"{bit_depth}-bit samples in {samples.shape[2]} channels; fewer than 8 bits have one"
        )
    if bit_depth < 8 and (largest := int(samples.max())) >= 1 << bit_depth:
        raise UnsupportedImageError(f"a sample of {largest} does not fit into {bit_depth} bits")


def _check_order(chunks: tuple[Chunk, ...]) -> None:
    """Refuse what could not be one PNG, or what a PNG reader would have to give up on."""
    after = [chunk.after for chunk in chunks]
    if after != sorted(after):
        raise UnsupportedImageError("a chunk before the pixels follows one after the pixels")
    for chunk in chunks:
        if chunk.type == b"acTL":
            raise UnsupportedImageError("chunk acTL makes an animation of the image")
        if chunk.is_critical and chunk.type != b"PLTE":
            raise UnsupportedImageError(
                f"chunk {chunk.name} of unknown meaning, without which the pixels cannot be shown"
            )


def _check_palette(picture: Picture) -> None:
    palettes = [chunk for chunk in picture.chunks if chunk.type == b"PLTE"]
    if not palettes:
        return
    if len(palettes) > 1 or palettes[0].after:
        raise UnsupportedImageError("a palette (PLTE) must stand alone and before the pixels")
    if picture.channels == 2:
        raise UnsupportedImageError("gray with alpha cannot have a palette (PLTE)")
    if picture.channels == 1 and picture.bit_depth == 16:
        raise UnsupportedImageError("indexes into a palette have at most 8 bits, not 16")
    length = len(palettes[0].data)
    if length % 3 or not 3 <= length <= 768:
        raise UnsupportedImageError(
            f"a palette (PLTE) of {length} bytes; it must have 1 to 256 colours of 3 bytes"
        )
