"""Pillow plug-in: importing this module teaches Pillow to open and save ``.pxc`` files.

>>> import io
>>> from PIL import Image
>>> import pixelcodec.pillow
>>> file = io.BytesIO()
>>> Image.new("RGB", (4, 3), "teal").save(file, format="PXC", model="photo-s")
>>> image = Image.open(file)
>>> image.size, image.mode, image.getpixel((0, 0))
((4, 3), 'RGB', (0, 128, 128))

``Image.open`` reads the header and the metadata; the model runs when pixels are first needed. What
``save`` can be told besides what every format knows: all keywords of :func:`pixelcodec.encode`; and
``icc_profile``, ``exif``, ``xmp`` and ``dpi``, which replace those of the image, None to leave them
out. All other metadata of the image are kept. An image of several frames or pages is refused;
``image.copy()`` is the one that is shown.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

import numpy as np
from PIL import Image, ImageFile

import pixelcodec
from pixelcodec import container, metadata
from pixelcodec.errors import PixelcodecError
from pixelcodec.pictures import Chunk, Picture, to_pillow
from pixelcodec.pictures.pillow import check_kind

_METADATA = {
    "icc_profile": ("icc_profile",),
    "exif": ("exif", "Raw profile type exif"),
    "xmp": ("xmp", "XML:com.adobe.xmp"),
    "dpi": ("dpi", "aspect"),
}
"""What ``save`` can replace, and where ``Image.info`` has it."""


class PxcImageFile(ImageFile.ImageFile):
    """A ``.pxc`` file as a Pillow image; damage is an OSError, when it is met.

    Attributes:
        text: by keyword, as PNG has it; ``info`` has it too, among all else.
    """

    format = "PXC"
    format_description = "Lossless image by a learned model (pixelcodec)"

    def _open(self) -> None:
        assert self.fp is not None
        if not _accept(self.fp.read(len(container.MAGIC))):
            raise SyntaxError("not a .pxc file")
        self.fp.seek(0)
        with _os_errors():
            reader = container.Reader(self.fp)
            header = reader.header
            chunks = metadata.unpack(reader.start.metadata, header.channels, header.bit_depth)
            kind = _one_pixel(header, chunks)
        self._size = header.width, header.height
        self._mode = kind.mode
        self.palette = kind.palette
        self.info = kind.info
        self.text: dict[str, str] = getattr(kind, "text", {})
        self.tile = [ImageFile._Tile("pxc", (0, 0, *self.size), 0, None)]

    def load(self) -> Any:
        """Decode the pixels, if they are not there yet."""
        if self.tile:
            if self.fp is None:
                raise ValueError("Operation on closed image")
            self.fp.seek(0)
            with _os_errors():
                # Image.open asked Pillow's guard against decompression bombs.
                image = pixelcodec.decode_image(self.fp, max_pixels=self.width * self.height)
            self.im, self.palette = image.im, image.palette
            self.readonly = 0
            self.tile = []
            self._leave_file()
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Do nothing; by having this, it tells Pillow's parser that it loads all at once."""

    def verify(self) -> None:
        """Check all checksums of the file but that of the samples; nothing is decoded.

        Raises:
            OSError: it is damaged, or not whole.
            RuntimeError: the image was used before.
        """
        if self.fp is None:
            raise RuntimeError("verify must be called directly after open")
        self.fp.seek(0)
        with _os_errors():
            for _ in container.Reader(self.fp):
                pass
        self._leave_file()

    def _leave_file(self) -> None:
        """Close the file where Pillow opened it; the caller's stays open."""
        if self._exclusive_fp and self.fp is not None:
            self.fp.close()
        self.fp = None


def register_pxc_opener() -> None:
    """Teach Pillow the format, as importing this module does; once more changes nothing."""
    Image.register_open(PxcImageFile.format, PxcImageFile, _accept)
    Image.register_save(PxcImageFile.format, _save)
    Image.register_extension(PxcImageFile.format, ".pxc")
    Image.register_mime(PxcImageFile.format, "image/x-pxc")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def _one_pixel(header: container.Header, chunks: tuple[Chunk, ...]) -> Image.Image:
    """A small image with the mode, palette and info that the whole one is going to have."""
    shallow = np.zeros((1, 1, header.channels), np.uint8)
    samples = shallow.astype(np.uint16) if header.bit_depth == 16 else shallow
    return to_pillow(Picture(samples, header.bit_depth, chunks))


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    from pixelcodec.stream import Encoding  # which imports torch, and opening does not need it

    given = image.encoderinfo
    how = {name: given[name] for name in Encoding.__optional_keys__ & given.keys()}
    with _os_errors():
        check_kind(image)  # a copy knows nothing of other frames
        pixelcodec.encode_to(fp, _with_metadata(image, given), **cast(Encoding, how))


def _with_metadata(image: Image.Image, given: Mapping[str, Any]) -> Image.Image:
    """The image with those metadata that were given in place of its own."""
    changed = image.copy()
    for name in _METADATA.keys() & given.keys():
        for place in _METADATA[name]:
            changed.info.pop(place, None)
        if given[name]:
            changed.info[name] = _plain(given[name])
    return changed


def _plain(value: Any) -> Any:
    """What ``Image.info`` would have: Pillow takes Exif objects and strings of XMP as well."""
    if isinstance(value, Image.Exif):
        return value.tobytes()
    return value.encode() if isinstance(value, str) else value


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise what Pillow's users expect of a file that cannot be read or written."""
    try:
        yield
    except PixelcodecError as error:
        raise OSError(str(error)) from error


register_pxc_opener()
