"""PBM, PGM, PPM and PAM files to pictures and back. They hold no metadata."""

from io import BytesIO
from typing import Literal

from pixelcodec.pictures.guards import image_errors, several, unsupported
from pixelcodec.pictures.picture import Picture, as_samples

MAGIC = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7")

Magic = Literal["P4", "P5", "P6", "P7"]

_ONE_IS_BLACK = ("P1", "P4")
_BIT_DEPTHS = {1: 1, 3: 2, 15: 4, 255: 8, 65535: 16}
_CHANNELS = {
    "BLACKANDWHITE": 1,
    "GRAYSCALE": 1,
    "GRAYSCALE_ALPHA": 2,
    "RGB": 3,
    "RGB_ALPHA": 4,
}
_TUPLE_TYPES = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}


@image_errors()
def read(data: bytes) -> Picture:
    """Read a PBM, PGM, PPM (plain or raw) or PAM file.

    Returns:
        A picture of as many bits as the file's maximum has: 1, 3, 15, 255 or 65535.

    Raises:
        UnsupportedImageError: It has another maximum, several images, or is of another kind, or
            is damaged or truncated.
    """
    from netpbmfile import NetpbmFile

    with NetpbmFile(BytesIO(data)) as file:
        if file.frames > 1:
            raise several(file.frames)
        if _CHANNELS.get(file.tupltype) != file.depth:
            raise unsupported(f"{file.depth} samples a pixel of type '{file.tupltype}'")
        if file.maxval not in _BIT_DEPTHS:
            raise unsupported(
                f"samples of 0 ... {file.maxval}, where only 255 and 65535, and of gray 1, 3 and "
                "15, are whole bits"
            )
        samples = file.asarray().reshape(file.height, file.width, file.depth)
        if file.magicnumber in _ONE_IS_BLACK:
            samples = ~samples
        bit_depth = _BIT_DEPTHS[file.maxval]
        return Picture(as_samples(samples, bit_depth), bit_depth)


def write(picture: Picture, magic: Magic) -> bytes:
    """Write the pixels of a picture.

    Args:
        picture: No palette image.
        magic: P4 (PBM), P5 (PGM), P6 (PPM) or P7 (PAM), of which the picture must be.
    """
    from netpbmfile import imwrite

    samples = picture.samples[..., 0] if picture.channels == 1 else picture.samples
    buffer = BytesIO()
    imwrite(
        buffer,
        1 - samples if magic in _ONE_IS_BLACK else samples,
        magicnumber=magic,
        maxval=(1 << picture.bit_depth) - 1,
        tupltype=_tuple_type(picture) if magic == "P7" else None,
    )
    return buffer.getvalue()


def _tuple_type(picture: Picture) -> str:
    return "BLACKANDWHITE" if picture.bit_depth == 1 else _TUPLE_TYPES[picture.channels]
