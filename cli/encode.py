"""``pixelcodec encode``: image files to .pxc files."""

from functools import partial
from typing import Any, ClassVar, TypedDict, Unpack

import click

from pixelcodec import suffixes
from pixelcodec.cli.batch import Batch, conversion_options
from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    compute_options,
    errors_about,
    examples,
    path_argument,
)
from pixelcodec.cli.files import explained, not_an_image, read_bytes, unchanged
from pixelcodec.cli.progress import Report, Step
from pixelcodec.cli.suggestions import model_names
from pixelcodec.cli.tables import bits_per_sample
from pixelcodec.cli.work import Sink, Task


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
    help="1 is fastest (photo-s), 9 smallest. At 3 and 4 the model is fitted to the image first, "
    "which costs the decoder nothing; from 5 on it learns while it codes; max tries several ways. "
    "[default: 5]",
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

    with errors_about(task.source), unchanged(task.source):
        source = read_bytes(task.source)
        with explained(task.source, not_an_image):
            picture = read_picture(source)
        samples = picture.samples.size
        meter = _Meter(sink, samples, report)
        progress = None if report is None else meter.progress
        api.encode_to(meter, picture, progress=progress, **choices, **compute)
    changed = changed_pixels(picture.samples) if choices["discard_invisible"] else 0
    not_identical = f"; not identical: {changed:,} invisible pixels changed" if changed else ""
    not_kept = f"{task.source}: not kept: {', '.join(picture.not_kept)}\n"
    return (
        f"{not_kept if picture.not_kept else ''}"
        f"{task.target}: {meter.size:,} bytes, {bits_per_sample(meter.size, samples):.3f} bpsp, "
        f"{meter.size / len(source.getbuffer()):.1%} of the source file{not_identical}"
    )


class _Meter:
    """Counts the bytes on their way to a sink, and reports them with the pixels done."""

    def __init__(self, sink: Sink, samples: int, report: Report | None) -> None:
        self._sink, self._samples, self._report = sink, samples, report
        self._step = Step(0, 0)
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.size += len(data)
        if self._step.total:
            written = self._samples * self._step.done // self._step.total
            self._tell(self._step._replace(samples=written, size=self.size))
        return self._sink.write(data)

    def progress(self, done: int, total: int) -> None:
        self._tell(self._step._replace(done=done, total=total))

    def _tell(self, step: Step) -> None:
        self._step = step
        if self._report is not None:
            self._report(step)
