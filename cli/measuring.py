"""Codecs measured on images: bytes and seconds, and proof that nothing was lost."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from pixelcodec.cli.common import Failure, errors_about
from pixelcodec.cli.files import explained, not_an_image, read_bytes
from pixelcodec.cli.progress import Progress
from pixelcodec.cli.rivals import PNG_OPTIMISED, Codec, is_ours
from pixelcodec.cli.tables import shape_name
from pixelcodec.cli.views import File, Look, View
from pixelcodec.errors import PixelcodecError
from pixelcodec.pictures import Picture, read_picture

Watch = Callable[[str], AbstractContextManager[Progress | None]]
"""Shows the progress of a stage of this name."""

RAW = "raw"
PNG_AS_GIVEN = "PNG as given"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What codecs raise on images that they cannot hold: Pillow the second and fourth, imagecodecs
# the third.
_REFUSALS = (PixelcodecError, OSError, RuntimeError, ValueError)


class LossError(PixelcodecError):
    """A codec gave back other pixels than it was given."""

    def __init__(self) -> None:
        super().__init__("not lossless: it decodes to other pixels")


@dataclass(frozen=True)
class Result:
    """What one codec made of an image, or of several; seconds are None where nothing ran."""

    codec: str
    size: int
    encode_seconds: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True)
class Measured:
    """An image, what each codec made of it, which codecs failed on it, and maybe its view.

    Attributes:
        path: of the image.
        shape: height, width and channels; of a palette one.
        results: of the codecs that took it.
        failures: of others.
        view: if it was looked at.
        kind: of the image, as :attr:`pixelcodec.Picture.kind` has it.
        left_out: names of the codecs that do not hold images of this kind.
    """

    path: Path
    shape: tuple[int, int, int]
    results: list[Result]
    failures: list[Failure]
    view: View | None = None
    kind: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def shape_name(self) -> str:
        """Return width, height and colours as text."""
        return shape_name(*self.shape, is_palette=self.kind.endswith("palette"))

    @property
    def why_left_out(self) -> str | None:
        """Say which codecs were left out and why, if any were."""
        if not self.left_out:
            return None
        return f"without {', '.join(self.left_out)}: not for {self.kind} images"

    @property
    def samples(self) -> int:
        """Return the number of samples: pixels times channels."""
        height, width, channels = self.shape
        return height * width * channels


@dataclass
class Comparison:
    """Images through ``codecs``.

    Attributes:
        codecs: that were run.
        circumstances: of the measurement, by name.
        images: those that could be read.
        failures: of images and of codecs.
    """

    codecs: Sequence[Codec]
    circumstances: dict[str, str]
    images: list[Measured] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def why_no_total(self) -> str | None:
        """Say which codecs have no total and why, if any have none."""
        known = {result.codec for result in totals(self.images)}
        lacking = [codec.name for codec in self.codecs if codec.name not in known]
        if not lacking or not self.images:
            return None
        return f"without {', '.join(lacking)}: not measured on all images"

    @property
    def samples(self) -> int:
        """Return the number of samples of all images."""
        return sum(image.samples for image in self.images)

    def add(self, path: Path, watch: Watch, look: Look | None = None) -> Measured | None:
        """Measure one more image; None where it could not be read."""
        try:
            image = measure_image(path, self.codecs, watch, look)
        except Failure as failure:
            self.failures.append(failure)
            return None
        self.images.append(image)
        self.failures.extend(image.failures)
        return image


def measure_image(
    path: Path, codecs: Sequence[Codec], watch: Watch, look: Look | None = None
) -> Measured:
    """Run every codec over one image file.

    A codec that does not hold an image with a palette is given the colours. Where it is wanted,
    ``look`` at the image and at what the first of this project's codecs made of it.

    Raises:
        Failure: The file cannot be read; its cause is an ``UnsupportedImageError`` for an image
            that this project cannot hold.
    """
    with errors_about(path):
        source = read_bytes(path)
        with explained(path, not_an_image):
            picture = _without_metadata(read_picture(source))
        colours = picture.in_colour()
    results, failures = _as_given(source.getvalue(), picture), []
    left_out = []
    ours, file = next((codec for codec in codecs if is_ours(codec.name)), None), None
    for codec in codecs:
        taken = picture if codec.holds(picture) else colours
        if not codec.holds(taken):
            left_out.append(codec.name)
            continue
        try:
            result, data = _measure(codec, taken, watch)
        except _REFUSALS as error:
            failures.append(Failure(path, f"{codec.name}: {error}"))
            continue
        results.append(result)
        if codec is ours:
            file = File(data, taken)
    view = None
    if look:
        with watch("where bits go") as progress:
            view = look(colours, file, progress)
    shape = (picture.height, picture.width, picture.channels)
    return Measured(path, shape, results, failures, view, picture.kind, tuple(left_out))


def totals(images: Sequence[Measured]) -> list[Result]:
    """Add up each codec's results. One that lacks an image has no total: it would mislead."""
    by_codec: dict[str, list[Result]] = {}
    for image in images:
        for result in image.results:
            by_codec.setdefault(result.codec, []).append(result)
    return [
        _total(codec, results) for codec, results in by_codec.items() if len(results) == len(images)
    ]


def with_ratios(results: Sequence[Result]) -> Iterator[tuple[Result, float | None]]:
    """Pair each result with its size against optimised PNG, where that one is there."""
    reference = next((each.size for each in results if each.codec == PNG_OPTIMISED), None)
    for result in results:
        yield result, result.size / reference if reference else None


def _without_metadata(picture: Picture) -> Picture:
    """What is compared: the pixels, and the palette that they need."""
    needed = (b"PLTE", b"tRNS") if picture.is_palette else ()
    return replace(picture, chunks=tuple(each for each in picture.chunks if each.type in needed))


def _as_given(source: bytes, picture: Picture) -> list[Result]:
    results = [Result(RAW, picture.samples.nbytes)]
    if source.startswith(_PNG_SIGNATURE):
        results.append(Result(PNG_AS_GIVEN, len(source)))
    return results


def _measure(codec: Codec, picture: Picture, watch: Watch) -> tuple[Result, bytes]:
    with watch(f"{codec.name} encodes") as progress:
        warm_up(codec, picture)
        start = perf_counter()
        data = codec.encode(picture, progress)
        encode_seconds = perf_counter() - start
    with watch(f"{codec.name} decodes") as progress:
        start = perf_counter()
        decoded = codec.decode(data, progress)
        decode_seconds = perf_counter() - start
    if not codec.same(decoded, picture):
        raise LossError
    return Result(codec.name, len(data), encode_seconds, decode_seconds), data


def warm_up(codec: Codec, picture: Picture) -> None:
    """Let a codec load its libraries and models, which is not what its speed is about."""
    corner = replace(picture, samples=np.ascontiguousarray(picture.samples[:8, :8]))
    with suppress(*_REFUSALS):
        codec.decode(codec.encode(corner, None), None)


def _total(codec: str, results: Sequence[Result]) -> Result:
    return Result(
        codec,
        sum(result.size for result in results),
        _sum(result.encode_seconds for result in results),
        _sum(result.decode_seconds for result in results),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if known else None
