"""Pictures: images of every PNG kind with their metadata, from files and Pillow, and back."""

from pixelcodec.pictures.files import check_format, read_picture, write_picture
from pixelcodec.pictures.picture import Chunk, Picture, Samples
from pixelcodec.pictures.pillow import from_pillow, to_pillow

__all__ = [
    "Chunk",
    "Picture",
    "Samples",
    "check_format",
    "from_pillow",
    "read_picture",
    "to_pillow",
    "write_picture",
]
