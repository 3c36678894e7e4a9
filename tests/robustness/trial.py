"""One file, whatever it is, through the decoder: what came of it, and whether that is right."""

import hashlib
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import pixelcodec
from pixelcodec import container
from pixelcodec.errors import PixelcodecError
from pixelcodec.metadata import pack
from pixelcodec.pictures import Picture, Samples
from robustness.corpus import seeds

MAX_PIXELS = 2**12
MAX_BYTES = 2**28
"""The limits of every trial."""

RIGHT = "right pixels"
AS_SAID = "other pixels, of the checksum that the file has"
"""Of files that were changed on purpose alone."""

_NAMES_A_PLACE = re.compile(
    r"\bbyte \d|\bstrip \d|\bstrips\b|header|metadata|changes|levels|palette|end mark|model"
    r"|checksum of the orig|^empty|^not a .pxc stream|preview|nothing can be had"
)


@dataclass(frozen=True)
class Trial:
    """A file, and what it may end in.

    Attributes:
        data: the file.
        model: what reads it.
        images: that it may hold, as :func:`digest` of their samples.
        on_purpose: whether checksums were made right again: then it may hold any image whose
            checksum it has, and any metadata.
        metadata: that it may hold otherwise, as :func:`digest` of them.
    """

    data: bytes
    model: str | None
    images: frozenset[bytes]
    on_purpose: bool
    metadata: frozenset[bytes] = frozenset()


class WrongError(Exception):
    """The decoder did what it must never do."""


def run(trial: Trial) -> str:
    """Decode, and look into the file in one more way, and say how it ended in a few words.

    Raises:
        WrongError: wrong pixels, or an error that says too little.
        Exception: whatever else the decoder raised by mistake.
    """
    look = LOOKS[zlib.crc32(trial.data) % len(LOOKS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _refusal(lambda: look(trial))
        found: list[Picture] = []
        refused = _refusal(lambda: found.append(_decode(trial)))
    return refused or _judged(trial, found[0])


def _refusal(act: Callable[[], object]) -> str | None:
    try:
        act()
    except PixelcodecError as error:
        if not _NAMES_A_PLACE.search(str(error)):
            raise WrongError(f"an error that names no place: {error}") from error
        return f"refused: {type(error).__name__}"
    return None


def _judged(trial: Trial, picture: Picture) -> str:
    samples = picture.samples.tobytes()
    right = digest(samples) in trial.images
    if right and (trial.on_purpose or digest(pack(picture.chunks)) in trial.metadata):
        return RIGHT
    if trial.on_purpose and zlib.crc32(samples) == _stored_crc(trial.data):
        return AS_SAID
    raise WrongError(f"{'metadata' if right else 'pixels'} that are not those encoded")


def digest(data: bytes) -> bytes:
    """What stands for the samples of an image, or for its metadata as the format packs them."""
    return hashlib.sha256(data).digest()


def _stored_crc(data: bytes) -> int:
    """What the end mark, the last chunk of the file, says."""
    return int.from_bytes(data[-8:-4], "little")


# Ways into a file --------------------------------------------------------------------------------


def _how(trial: Trial) -> Any:
    return {"model": trial.model, "device": "cpu", "max_pixels": MAX_PIXELS, "max_bytes": MAX_BYTES}


def _decode(trial: Trial) -> Picture:
    return pixelcodec.decode_picture(trial.data, **_how(trial))


def _inspect(trial: Trial) -> None:
    pixelcodec.inspect(io.BytesIO(trial.data))


def _preview(trial: Trial) -> None:
    pixelcodec.preview_from(io.BytesIO(trial.data), **_how(trial))


def _region(trial: Trial) -> None:
    header = container.Reader(io.BytesIO(trial.data)).header
    left, top = header.width // 2, header.height // 2
    region = (left, top, header.width - left, header.height - top)
    part = pixelcodec.decode_picture(trial.data, region=region, **_how(trial)).samples
    if part.shape[:2] != (region[3], region[2]):
        raise WrongError(f"a region of {region[2]} x {region[3]} pixels is {part.shape}")
    _check_rows(trial, dict(enumerate(part, top)), (header.height, header.width), left)


def _pieces(trial: Trial) -> None:
    decoder = pixelcodec.Decoder(**_how(trial))
    for begin in range(0, len(trial.data), 7):
        decoder.write(trial.data[begin : begin + 7])
    decoder.finish()


def _salvage(trial: Trial) -> None:
    found = pixelcodec.salvage(trial.data, **_how(trial))
    if not found.damage and found.picture != pixelcodec.decode_picture(trial.data, **_how(trial)):
        raise WrongError("what was salvaged of a whole file is not its image")
    lost = {row for rows in found.lost for row in rows}
    kept = {y: row for y, row in enumerate(found.picture.samples) if y not in lost}
    _check_rows(trial, kept, found.picture.samples.shape[:2])


def _check_rows(
    trial: Trial, rows: Mapping[int, Samples], shape: tuple[int, int], left: int = 0
) -> None:
    """That each row, by its number, is that of an image which the file may hold.

    Not of one and the same: a strip of another image with the same header passes for its own, but
    for the checksum of all samples, which does not help here.
    """
    if trial.on_purpose:
        return
    for y, row in rows.items():
        if not any(np.array_equal(samples[y, left:], row) for samples in _images(trial, shape)):
            raise WrongError(f"row {y} is not one that was encoded")


def _images(trial: Trial, shape: tuple[int, int]) -> Iterator[Samples]:
    return (samples for found, samples in _encoded(shape) if found in trial.images)


@cache
def _encoded(shape: tuple[int, int]) -> Sequence[tuple[bytes, Samples]]:
    """All images of the corpus with this height and width, and their digests."""
    all_samples = [seed.picture.samples for seed in seeds()]
    return [(digest(each.tobytes()), each) for each in all_samples if each.shape[:2] == shape]


LOOKS: Sequence[Callable[[Trial], None]] = (_inspect, _preview, _region, _pieces, _salvage)
