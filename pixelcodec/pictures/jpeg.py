"""What a JPEG file holds beside the pixels and what Pillow makes of it."""

import re
from collections.abc import Iterable, Iterator

from PIL.JpegImagePlugin import JpegImageFile

MAGIC = b"\xff\xd8\xff"

# Segments that become chunks or tell how pixels are stored, and names of others.
_KEPT = (
    ("APP0", b"JFIF\0"),
    ("APP1", b"Exif\0\0"),
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"),
    ("APP2", b"ICC_PROFILE\0"),
    ("APP14", b"Adobe"),
)
_NAMES = {
    ("APP0", b"JFXX\0"): "JFIF thumbnail",
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0"): "extended XMP",
    ("APP2", b"MPF\0"): "further images (MPF)",
    ("APP11", b"JP"): "JUMBF",
}
_PHOTOSHOP = ("APP13", b"Photoshop 3.0\0")
_IPTC, _IPTC_DIGEST = 0x0404, 0x0425

# Not those inside the pixels' data: restarts, and a 0 after what only looks like a marker.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_END = b"\xff\xd9"


def not_kept(image: JpegImageFile) -> tuple[str, ...]:
    """Name the metadata that become no chunks."""
    return tuple(dict.fromkeys(_not_kept(image)))


def size(data: bytes) -> int:
    """Return where a JPEG ends, after which other things may stand, such as a film of the scene."""
    at = 2
    while found := _MARKER.search(data, at):
        if found[0] == _END:
            return found.end()
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return len(data)


def _not_kept(image: JpegImageFile) -> Iterator[str]:
    segments = [(name, data) for name, data in image.applist if not _is_any(_KEPT, name, data)]
    for name, data in segments:
        if _is_any([_PHOTOSHOP], name, data):
            found = image.info.get("photoshop", {}).keys()
            if _IPTC in found:
                yield "IPTC"
            if found - {_IPTC, _IPTC_DIGEST}:
                yield "Photoshop resources"
        elif name != "COM":
            yield next((what for of, what in _NAMES.items() if _is_any([of], name, data)), name)
    if [name for name, _ in segments].count("COM") > 1:
        yield "comments but the last"


def _is_any(kinds: Iterable[tuple[str, bytes]], name: str, data: bytes) -> bool:
    return any(name == known and data.startswith(head) for known, head in kinds)
