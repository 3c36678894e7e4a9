"""``pixelcodec encode``: image files to .pxc files."""

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

import click

from pixelcodec import suffixes
from pixelcodec.cli.batch import Batch, conversion_options
from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    ModelName,
    compute_options,
    errors_about,
    examples,
    path_argument,
)
from pixelcodec.cli.files import explained, not_an_image, read_bytes, unchanged
from pixelcodec.cli.progress import Remaining, Report, Step
from pixelcodec.cli.suggestions import model_names
from pixelcodec.cli.tables import bits_per_sample
from pixelcodec.cli.work import Sink, Task

if TYPE_CHECKING:  # they import NumPy
    from pixelcodec.container import Header, Record
    from pixelcodec.pictures import Picture


class Choices(TypedDict):
    """What the library is told of the file, see :func:`pixelcodec.encode`."""

    verify: bool
    model: str | None
    strip_rows: int | None
    tile: int | None
    restart: bool
    effort: int | None
    discard_invisible: bool


class EffortNumber(click.ParamType):  # type: ignore[type-arg]  # older clicks have none
    """1 to 9, or ``max``, which is 10 in the library."""

    name = "effort"
    _NUMBERS: ClassVar = {**{str(number): number for number in range(1, 10)}, "max": 10}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        if value not in self._NUMBERS:
            self.fail(f"{value!r} is not an effort: 1 to 9, or max", param, ctx)
        return self._NUMBERS[value]


@click.command(
    epilog=examples(
        "pixelcodec encode photo.png",
        "pixelcodec encode -r photos --out-dir archive -j 2 -e 9",
        "pixelcodec encode photo.png -o strips.pxc --restart --strip-rows 64",
        "pixelcodec encode - < photo.png > photo.pxc",
    )
)
@path_argument("paths", nargs=-1, required=True, metavar="IMAGES...")
@conversion_options("Output file; by default the image's name with the suffix .pxc.")
@click.option(
    "-m",
    "--model",
    type=ModelName(),
    metavar="NAME",
    shell_complete=model_names,
    help=f"{MODEL_NAMES} Or: standard, which is PNG or WebP inside. "
    "[default: what makes the smallest file]",
)
@click.option(
    "-e",
    "--effort",
    type=EffortNumber(),
    metavar="1..9|max",
    help="1 is fastest (photo-s), 9 smallest. 2 (photo-s) and 3 (photo-m) also use which colours "
    "occurred before. At 4 the model is fitted to the image first, which costs the decoder "
    "nothing. From 5 on it learns while it codes, and decoding takes as long as encoding. max "
    "tries several ways. [default: 5]",
)
@click.option(
    "--strip-rows",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Rows a strip, the unit of memory and of streaming.",
)
@click.option(
    "--tile",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Side of tiles that are coded independently, side by side; 0: none. For mosaics.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Make strips independent: each can be decoded without those above, for some more bytes.",
)
@click.option(
    "--discard-invisible",
    is_flag=True,
    help="Let colours change where alpha is 0, which takes fewer bytes. All else is kept.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Decode each file, and compare it with the image, before it gets its name; or, in a "
    "hurry, do not. [default: verify]",
)
@compute_options
def encode(
    *,
    batch: Batch,
    model: str | None,
    effort: int | None,
    strip_rows: int | None,
    tile: int | None,
    restart: bool,
    discard_invisible: bool,
    verify: bool,
    **compute: Unpack[Compute],
) -> None:
    """Compress IMAGES without loss, with their metadata.

    Whatever PNG can hold: bilevel, gray, palette and RGB, with alpha, up to 16 bits a sample. Files
    of BMP, GIF, JPEG, NumPy (npy), PBM, PGM, PPM, PAM, PNG, QOI, TIFF and WebP are read. Each image
    is coded by what makes its file smallest: a model, or PNG or WebP inside.
    """
    if batch.output is not None and batch.output.suffix.lower() in suffixes.NOT_PXC:
        raise click.UsageError(
            f"-o {batch.output}: what encode writes is a .pxc file, not an image"
        )
    choices: Choices = {
        "verify": verify,
        "model": model,
        "strip_rows": strip_rows,
        "tile": tile,
        "restart": restart,
        "effort": effort,
        "discard_invisible": discard_invisible,
    }
    batch.convert(
        partial(encode_file, choices=choices, compute=compute), suffixes.IMAGES, suffixes.PXC
    )


def encode_file(
    task: Task,
    sink: Sink,
    report: Report | None,
    *,
    choices: Choices,
    compute: Compute,
) -> str:
    """Encode one file, and say how small it is, and what of its metadata is not in it."""
    from pixelcodec import api
    from pixelcodec.invisible import changed_pixels
    from pixelcodec.pictures import read_picture
    from pixelcodec.pictures.files import format_of

    with errors_about(task.source), unchanged(task.source):
        source = read_bytes(task.source)
        with explained(task.source, not_an_image):
            picture = read_picture(source)
        samples = picture.samples.size
        meter = _Meter(sink, picture, report)
        progress = None if report is None else meter.progress
        api.encode_to(meter, picture, progress=progress, **choices, **compute)
    changed = changed_pixels(picture.samples) if choices["discard_invisible"] else 0
    not_identical = f"; not identical: {changed:,} invisible pixels changed" if changed else ""
    not_kept = f"{task.source}: not kept: {', '.join(picture.not_kept)}\n"
    data = source.getvalue()
    was_smaller = format_of(data[:16]) == "JPEG" and meter.size > len(data)
    better_kept = "; larger than the JPEG, which is worth keeping" if was_smaller else ""
    return (
        f"{not_kept if picture.not_kept else ''}"
        f"{task.target}: {meter.size:,} bytes, {bits_per_sample(meter.size, samples):.3f} bpsp, "
        f"{meter.size / len(data):.1%} of the source file{better_kept}{not_identical}"
    )


class _Meter:
    """Counts the bytes on their way to a sink, and reports them with how far the work is.

    The work is more than the image: pixels are fitted to, coded again, decoded to verify. They
    move the bar; what is reported are pixels of the image, and samples whose strips are written.
    """

    def __init__(self, sink: Sink, picture: "Picture", report: Report | None) -> None:
        from pixelcodec.container import Parser

        self._sink, self._picture, self._report = sink, picture, report
        self._parser, self._remaining = Parser(), Remaining()
        self._rows = self._strips = 0
        self._header: Header | None = None
        self.size = 0

    def write(self, data: bytes, /) -> int:
        taken = self._sink.write(data)
        self.size += taken
        if self._report is not None and taken:
            for record in self._parser.records(bytes(data[:taken])):
                self._count(record)
            self._tell(self._report)
        return taken

    def progress(self, done: int, total: int) -> None:
        self._remaining.update(done, total)
        if self._report is not None:
            self._tell(self._report)

    def _count(self, record: "Record") -> None:
        from pixelcodec.container import Part, Start

        match record:
            case Start(header):
                self._header = header
            case Part(last=True) if self._header is not None:
                self._rows += self._header.strip_height(self._strips)
                self._strips += 1

    def _tell(self, report: Report) -> None:
        height, width, channels = self._picture.samples.shape
        pixels = height * width
        done = int(pixels * (1 - self._remaining.part))
        report(Step(done, pixels, self._rows * width * channels, self.size))
