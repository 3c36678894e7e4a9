"""What the tags of a TIFF tell beside its pixels: further images, and metadata that have no place.

Tags are a mapping from their numbers to values, as both Pillow and tifffile have them.
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, TiffTags

# What a TIFF says of the image, not of how the file is laid out.
DESCRIPTIVE = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUB_IFDS, _PLANES_OF_A_STACK = 254, 255, 330, 33629
_IS_SMALLER, _IS_MASK = 1, 4
_IS_SMALLER_OLD = 2
_SEVERAL = "camera raw files and pyramids hold more images than one, and only plain TIFFs are read"

# How the pixels are stored: sizes, offsets, compression, order of bits, extremes.
_LAYOUT = frozenset(
    (
        *(_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, *range(256, 260), *range(262, 267), 273),
        *range(277, 282),
        *(284, 288, 289, 292, 293, 297, 317, *range(322, 328), *range(338, 342)),
        *(347, *range(512, 522), *range(529, 532), 559),
    )
)
_COLOUR_MAP, _XMP, _ICC_PROFILE = 320, 700, 34675
_RESOLUTION = (282, 283, 296)
_KEPT = _LAYOUT.union(
    DESCRIPTIVE,
    _RESOLUTION,
    (_COLOUR_MAP, _XMP, _ICC_PROFILE, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
)

_NAMES = {
    33723: "IPTC",
    34377: "Photoshop resources",
    37724: "Photoshop layers",
    **dict.fromkeys((33550, 33920, 33922, 34264, 34735, 34736, 34737), "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "GDAL metadata"),
}
_FIRST_PRIVATE = 32768


def further_images(tags: Mapping[int, Any]) -> str | None:
    """Name what tells that there is more to a file than this one page, if anything does."""
    if _SUB_IFDS in tags:
        return f"images in SubIFDs ({_SEVERAL})"
    marks = tags.get(_SUBFILE_TYPE, 0)
    if marks & _IS_SMALLER or tags.get(_OLD_SUBFILE_TYPE) == _IS_SMALLER_OLD:
        return f"a page marked as a smaller version of another ({_SEVERAL})"
    if marks & _IS_MASK:
        return f"a page marked as the mask of another ({_SEVERAL})"
    if _PLANES_OF_A_STACK in tags:
        return "a stack of MetaMorph"
    count = _described(tags)
    return f"{count} frames or pages" if count > 1 else None


def not_kept(tags: Collection[int]) -> tuple[str, ...]:
    """Name the metadata that become no chunks, known ones first."""
    known = {_NAMES[tag]: None for tag in sorted(tags) if tag in _NAMES}
    others = [tag for tag in sorted(tags) if tag not in _KEPT and tag not in _NAMES]
    public = [TiffTags.lookup(tag).name for tag in others if tag < _FIRST_PRIVATE]
    private = len(others) - len(public)
    count = [f"{private} private TIFF tag{'s' if private > 1 else ''}"] if private else []
    return (*known, *public, *count)


def _described(tags: Mapping[int, Any]) -> int:
    """How many images follow each other behind one page, as ImageJ and tifffile may write them."""
    text = str(tags.get(ExifTags.Base.ImageDescription, ""))
    if text.startswith("ImageJ="):
        found = re.search(r"^images=(\d{1,9})", text, re.MULTILINE)
        return int(found[1]) if found else 1
    if text.startswith('{"shape":'):
        with suppress(ValueError, KeyError, TypeError):
            page = tags[256] * tags[257] * tags.get(277, 1)
            return int(math.prod(json.loads(text)["shape"]) // page)
    return 1
