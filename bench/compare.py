"""This project beside every other lossless codec that is installed, on any images, from one run.

    python bench/compare.py -e 1 -e 5 ~/images/kodak ~/images/clic -o docs/comparison/photos

Writes ``photos.csv`` (a row for each image and codec), ``photos.md`` (tables folder by folder) and
a plot for each folder, and prints the tables. Stopped, it goes on with ``--resume``.

Each codec has a process of its own for each folder, which encodes and decodes one image after the
other and compares the samples. docs/COMPARISON.md says how bytes, seconds and memory are measured.
"""

import csv
import json
import os
import resource
import shlex
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, Unpack, get_type_hints

import click
import numpy as np
from peers import ONE_THREAD, PEERS

from pixelcodec import suffixes
from pixelcodec.cli import charts, rivals
from pixelcodec.cli.common import (
    MODEL_NAMES,
    Compute,
    Failure,
    compute_options,
    errors_about,
    force_option,
    quiet_option,
    recursive_option,
)
from pixelcodec.cli.files import files_below, is_folder
from pixelcodec.cli.machine import circumstances, forget_peak, peak_mb
from pixelcodec.cli.measuring import RAW, LossError, warm_up
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.rivals import PNG_OPTIMISED, Codec, is_ours, short_name
from pixelcodec.cli.tables import bits_per_sample, table
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Picture, read_picture

# Nothing above imports torch: its memory would count for every codec.

PROJECT = "pixelcodec"
"""What ``--only`` calls this project's codecs."""

REFERENCE = "JPEG XL e9"
"""What the plots compare this project with, image by image."""

CANNOT = "cannot hold this kind of image"

Made = TypeVar("Made")


@dataclass(frozen=True)
class Spec:
    """A codec, as another process can be told of it.

    Attributes:
        name: one of :data:`peers.PEERS`, :data:`RAW` or :data:`PROJECT`.
        model: of this project; None for the one that suits the image.
        effort: likewise; None for the default.
        compute: likewise, how it runs.
    """

    name: str
    model: str | None = None
    effort: int | None = None
    compute: Compute | None = None

    def codec(self) -> Codec | None:
        """Make it; None where it is not installed. A model in a file goes without its folder."""
        if self.name == RAW:
            return raw()
        if self.compute is None:
            return PEERS[self.name]()
        ours = rivals.pixelcodec(self.model, self.compute, self.effort)
        return replace(ours, name=short_name(ours.name))


def raw() -> Codec:
    """Return the samples as they are in memory: what the measuring itself takes."""
    return Codec(
        RAW,
        "the samples as they are in memory; its peak is what the measuring itself takes",
        lambda picture, _: picture.samples.tobytes(),
        lambda data, _: np.frombuffer(data, np.uint8),
        same=lambda decoded, picture: decoded.tobytes() == picture.samples.tobytes(),
    )


# Images ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """An image as the CSV has it: where it is, what it is, and a CRC-32 of its samples."""

    folder: str
    file: str
    kind: str
    width: int
    height: int
    channels: int
    crc: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.width * self.height * self.channels


def picture_of(path: Path, in_colour: bool) -> Picture:
    """Read the pixels, without metadata.

    Args:
        path: of the file.
        in_colour: whether a palette image is taken as RGB or RGBA.

    Raises:
        OSError: it cannot be read.
        UnsupportedImageError: it is no image, or of a kind that this project does not hold.
    """
    picture = read_picture(BytesIO(path.read_bytes()))  # errors do not say the path again
    picture = picture.in_colour() if in_colour else picture
    needed = (b"PLTE", b"tRNS") if picture.is_palette else ()
    chunks = tuple(chunk for chunk in picture.chunks if chunk.type in needed)
    return replace(picture, chunks=chunks)


def image_of(folder: str, path: Path, picture: Picture) -> Image:
    """What the CSV says of ``picture``."""
    crc = zlib.crc32(picture.samples.data)
    for chunk in picture.chunks:
        crc = zlib.crc32(chunk.data, crc)
    shape = (picture.width, picture.height, picture.channels)
    return Image(folder, path.name, picture.kind, *shape, crc)


def files_by_folder(paths: Iterable[Path], recursive: bool) -> dict[str, list[Path]]:
    """Sort image files by the folders that they are in.

    Args:
        paths: files, and folders of image files.
        recursive: whether folders in those folders are taken, too, each as one of its own.

    Returns:
        Files by the last part of the folder's path, or as many parts as tell all folders apart.
    """
    found: dict[Path, dict[Path, None]] = {}
    for path in paths:
        files = files_below(path, suffixes.IMAGES) if is_folder(path) else [path]
        for file in files:
            if recursive or path in (file, file.parent):
                folder = file.absolute().parent.resolve()
                found.setdefault(folder, {})[folder / file.name] = None
    return dict(zip(_tails(list(found)), map(list, found.values()), strict=True))


def _tails(folders: Sequence[Path]) -> list[str]:
    count = 1
    while True:
        names = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(names)) == len(folders):
            return names
        count += 1


# Measuring ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a codec made of an image; or the ``problem`` that it had, and nothing else.

    Attributes:
        bytes: of the file.
        encode_seconds: of the processor, all threads together.
        decode_seconds: likewise.
        encode_wall_seconds: of the clock.
        decode_wall_seconds: likewise.
        peak_mb: most memory of the process, in megabytes.
        problem: in words.
    """

    bytes: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    encode_wall_seconds: float = 0.0
    decode_wall_seconds: float = 0.0
    peak_mb: float = 0.0
    problem: str = ""


def outcomes(spec: Spec, paths: Sequence[Path], in_colour: bool) -> Iterator[tuple[Path, Outcome]]:
    """Measure a codec on images in a process of its own; in another if that one dies."""
    left = list(paths)
    while left:
        task = {"spec": asdict(spec), "paths": list(map(str, left)), "in_colour": in_colour}
        with subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            for line in process.stdout:
                yield left.pop(0), Outcome(**json.loads(line))
        if left:
            status = f"its process died with status {process.returncode}, maybe of lack of memory"
            yield left.pop(0), Outcome(problem=status)


def work(task: dict[str, Any]) -> None:
    """Measure as :func:`outcomes` asked: a line for each image."""
    codec = Spec(**task["spec"]).codec()
    assert codec is not None
    warm: set[str] = set()
    for path in map(Path, task["paths"]):
        picture = picture_of(path, task["in_colour"])
        print(json.dumps(asdict(outcome(codec, picture, warm))), flush=True)


def outcome(codec: Codec, picture: Picture, warm: set[str]) -> Outcome:
    """Measure a codec in this process; ``warm``: the kinds of images that it has coded before."""
    try:
        if picture.kind not in warm:
            warm_up(codec, picture)
            warm.add(picture.kind)
        forget_peak()
        data, encode_seconds, encode_wall = timed(lambda: codec.encode(picture, None))
        decoded, decode_seconds, decode_wall = timed(lambda: codec.decode(data, None))
        peak = peak_mb()
        if not codec.same(decoded, picture):
            raise LossError
    except Exception as error:  # codecs raise nearly every type
        return Outcome(problem=" ".join(f"{error}".split()) or type(error).__name__)
    return Outcome(
        len(data), encode_seconds, decode_seconds, encode_wall, decode_wall, round(peak, 1)
    )


def timed(make: Callable[[], Made]) -> tuple[Made, float, float]:
    """What ``make`` gives, the seconds that it took of the processor, and those of the clock."""
    processor, clock = _processor_seconds(), time.perf_counter()
    made = make()
    seconds = _processor_seconds() - processor, time.perf_counter() - clock
    return made, round(seconds[0], 6), round(seconds[1], 6)


def _processor_seconds() -> float:
    others = resource.getrusage(resource.RUSAGE_CHILDREN)  # a command that a codec runs
    return time.process_time() + others.ru_utime + others.ru_stime


# Results -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row of the CSV."""

    image: Image
    codec: str
    about: str
    machine: str
    outcome: Outcome


HEAD = (
    *(field.name for field in fields(Image)),
    *("codec", "about", "machine", "bpsp"),
    *(field.name for field in fields(Outcome)),
)


class Results:
    """Those of all files and codecs so far, in a CSV file; of the same ones the last counts."""

    def __init__(self, path: Path) -> None:
        """Read ``path``, if it exists.

        Raises:
            Failure: it is no such file.
        """
        self._path = path
        self._rows: dict[tuple[str, str, str], Row] = {}
        if path.exists():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    for record in csv.DictReader(file):
                        self._keep(_row(record))
            except (KeyError, TypeError, ValueError) as error:
                raise Failure(path, "this script did not write it; name another -o") from error

    @property
    def rows(self) -> list[Row]:
        """Return all of them, folder by folder, those that came first at first."""
        folders = list(dict.fromkeys(row.image.folder for row in self._rows.values()))
        return sorted(self._rows.values(), key=lambda row: folders.index(row.image.folder))

    def has(self, image: Image, codec: Codec) -> bool:
        """Whether this very codec was measured on ``image``, or cannot hold it."""
        row = self._rows.get((image.folder, image.file, codec.name))
        return (
            row is not None
            and (row.image, row.about) == (image, codec.about)
            and row.outcome.problem in ("", CANNOT)
        )

    def add(self, row: Row) -> None:
        """Write one more, at once."""
        new = not self._path.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEAD, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(_record(row))
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self._rows[row.image.folder, row.image.file, row.codec] = row


def _record(row: Row) -> dict[str, Any]:
    facts = {"codec": row.codec, "about": row.about, "machine": row.machine}
    if row.outcome.problem:
        return asdict(row.image) | facts | {"problem": row.outcome.problem}
    bpsp = round(bits_per_sample(row.outcome.bytes, row.image.samples), 4)
    return asdict(row.image) | facts | {"bpsp": bpsp} | asdict(row.outcome)


def _row(record: dict[str, str]) -> Row:
    image, outcome = Image(**_taken(Image, record)), Outcome(**_taken(Outcome, record))
    return Row(image, record["codec"], record["about"], record["machine"], outcome)


def _taken(kind: type, record: dict[str, str]) -> dict[str, Any]:
    """What ``record`` has of the fields of ``kind``."""
    types = get_type_hints(kind)
    return {name: types[name](record[name]) for name in types if record[name]}


# Tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What a codec made of all images of a table: sums, but the most memory."""

    codec: str
    bytes: int
    bpsp: float
    ratio: float | None
    encode_seconds: float
    decode_seconds: float
    peak_mb: float

    @property
    def cells(self) -> list[str]:
        """As text, in the order of :data:`LINE_HEAD`."""
        return [
            self.codec,
            f"{self.bpsp:.3f}",
            "" if self.ratio is None else f"{self.ratio:.3f}",
            figure(self.encode_seconds),
            figure(self.decode_seconds),
            f"{self.peak_mb:.0f}",
        ]


LINE_HEAD = ["codec", "bpsp", "ratio to PNG", "encode s", "decode s", "peak MB"]


@dataclass(frozen=True)
class Table:
    """Images of a folder, and the codecs that coded every one of them.

    Attributes:
        images: of the folder, maybe not all.
        codecs: in the order in which they were run.
        rows: of all of these.
        missing: reasons why other codecs have no figure here, and which codecs.
    """

    images: list[Image]
    codecs: list[str]
    rows: dict[tuple[Image, str], Row]
    missing: dict[str, list[str]]

    @property
    def title(self) -> str:
        """On how many images the figures are based, and of what kinds."""
        kinds = Counter(image.kind for image in self.images)
        pixels = sum(image.width * image.height for image in self.images)
        count = f"{len(self.images)} image{'s' * (len(self.images) > 1)}"
        if len(kinds) == 1:
            parts = next(iter(kinds))
        else:
            parts = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        return f"{count} ({parts}), {figure(pixels / 1e6)} megapixels"

    @property
    def lines(self) -> list[Line]:
        """A line for each codec."""
        samples = sum(image.samples for image in self.images)
        png = self._total(PNG_OPTIMISED, "bytes") if PNG_OPTIMISED in self.codecs else None
        return [
            Line(
                codec,
                size := int(self._total(codec, "bytes")),
                bits_per_sample(size, samples),
                size / png if png else None,
                self._total(codec, "encode_seconds"),
                self._total(codec, "decode_seconds"),
                max(self.rows[image, codec].outcome.peak_mb for image in self.images),
            )
            for codec in self.codecs
        ]

    def _total(self, codec: str, name: str) -> float:
        values = (getattr(self.rows[image, codec].outcome, name) for image in self.images)
        return float(sum(values))


def tables(rows: Sequence[Row]) -> list[Table]:
    """Tables of one folder, each of whose figures are all of the same images.

    Images are sorted by the codecs that coded them, the most first. Where not all codecs coded all
    images, a table of those codecs that did comes before.
    """
    coded: dict[Image, dict[str, Row]] = {}
    for row in rows:
        coded.setdefault(row.image, {})[row.codec] = row
    groups: dict[frozenset[str], list[Image]] = {}
    for image, found in coded.items():
        done = frozenset(codec for codec, row in found.items() if not row.outcome.problem)
        groups.setdefault(done, []).append(image)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    common = frozenset.intersection(*groups)
    if len(groups) > 1:
        ordered.insert(0, (common, list(coded)))
    order = list(dict.fromkeys(row.codec for row in rows))
    by_key = {(row.image, row.codec): row for row in rows}
    return [
        _table(images, [codec for codec in order if codec in done], order, by_key)
        for done, images in ordered
        if done - {RAW}
    ]


def _table(
    images: list[Image],
    codecs: list[str],
    order: Sequence[str],
    rows: dict[tuple[Image, str], Row],
) -> Table:
    missing: dict[str, list[str]] = {}
    for codec in order:
        if codec not in codecs:
            found = [rows.get((image, codec)) for image in images]
            problems = Counter(row.outcome.problem if row else "not run" for row in found)
            del problems[""]
            reason = ", ".join(f"{problem} ({number})" for problem, number in problems.items())
            missing.setdefault(reason, []).append(codec)
    return Table(images, codecs, rows, missing)


def figure(value: float) -> str:
    """Say a number in three digits or so.

    >>> figure(1234.5), figure(12.345), figure(0.012345), figure(0.0000123)
    ('1,234', '12.3', '0.0123', '<0.0001')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.0001 else "<0.0001"


def text(folder: str, found: Sequence[Table]) -> str:
    """The tables of a folder, for a terminal."""
    parts = []
    for each in found:
        parts += [f"{folder}: {each.title}", table(LINE_HEAD, [row.cells for row in each.lines])]
        parts += [f"{why}: {', '.join(codecs)}" for why, codecs in each.missing.items()]
        parts.append("")
    return "\n".join(parts)


# Page --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """All that was found, and how.

    Attributes:
        stem: path of the page without its ending; plots begin with it too.
        command: that measured, without what comes before folders.
        circumstances: by name.
        rows: of the CSV.
        refused: files that could not be read, and why.
    """

    stem: Path
    command: str
    circumstances: dict[str, str]
    rows: Sequence[Row]
    refused: Sequence[str]

    @cached_property
    def folders(self) -> dict[str, list[Table]]:
        """The tables of each folder."""
        by_folder: dict[str, list[Row]] = {}
        for row in self.rows:
            by_folder.setdefault(row.image.folder, []).append(row)
        return {folder: tables(rows) for folder, rows in by_folder.items()}

    @property
    def failed(self) -> list[str]:
        """What a codec should have held, and why it did not."""
        return [
            f"{row.image.folder}/{row.image.file}: {row.codec}: {row.outcome.problem}"
            for row in self.rows
            if row.outcome.problem not in ("", CANNOT)
        ]

    def plot_of(self, folder: str) -> Path:
        """Where the plot of a folder goes."""
        return self.stem.with_name(f"{self.stem.name}-{folder.replace('/', '-')}.png")

    def markdown(self) -> str:
        """The page."""
        codecs = {row.codec: row.about for row in self.rows}
        parts = [
            f"# Comparison: {self.stem.name}",
            "`bench/compare.py` measured and wrote this; docs/COMPARISON.md says how. Every file "
            "was decoded, and gave the samples of the image. bpsp: bits per sample (sub-pixel). "
            "ratio: bytes against the PNG that Pillow optimises. Seconds are those of the "
            "processor for all images together; peak MB is the most memory that the process of "
            "the codec held.",
            f"```console\n$ {self.command}\n```",
            grid(["measured", ""], list(map(list, self.circumstances.items())), left=(0, 1)),
            grid(["codec", "what it is"], list(map(list, codecs.items())), left=(0, 1)),
            *self._summary(),
            *(
                part
                for folder, found in self.folders.items()
                for part in self._folder(folder, found)
            ),
        ]
        for title, lines in (("Failed", self.failed), ("Not read", self.refused)):
            if lines:
                parts += [f"## {title}", "\n".join(f"- {line}" for line in lines)]
        return "\n\n".join(parts) + "\n"

    def _summary(self) -> list[str]:
        """Bits a sample of those codecs that coded all images of a folder, side by side."""
        counts = Counter(image.folder for image in {row.image for row in self.rows})
        whole = {
            folder: found[0]
            for folder, found in self.folders.items()
            if found and len(found[0].images) == counts[folder]
        }
        if len(whole) < 2:
            return []
        bits = {name: {line.codec: line for line in each.lines} for name, each in whole.items()}
        codecs = dict.fromkeys(codec for lines in bits.values() for codec in lines)
        rows = [
            [codec, *(f"{line[codec].bpsp:.3f}" if codec in line else "" for line in bits.values())]
            for codec in codecs
        ]
        head = [f"{name} ({len(each.images)})" for name, each in whole.items()]
        note = "Of codecs that coded all images of a folder, whose number is behind its name."
        return ["## Bits per sample", note, grid(["codec", *head], rows)]

    def _folder(self, folder: str, found: Sequence[Table]) -> list[str]:
        parts = [f"## {folder}"]
        for each in found:
            parts += [f"{each.title}:", grid(LINE_HEAD, [line.cells for line in each.lines])]
            if each.missing:
                parts.append("Without a figure, and on how many of these images:")
                parts.append(
                    "\n".join(
                        f"- {why}: {', '.join(codecs)}" for why, codecs in each.missing.items()
                    )
                )
        plot = self.plot_of(folder)
        if plot.exists():
            parts.append(f"![Bytes against time, and image by image]({plot.name})")
        return parts


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Lay out a table in Markdown: the columns in ``left`` to the left, figures to the right."""
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def command_of(arguments: Sequence[str]) -> str:
    """The command line as anyone could type it: without what comes before a folder's name."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    return shlex.join(["python", "bench/compare.py", *words])


# Plots -------------------------------------------------------------------------------------------


def plot(folder: str, found: Sequence[Table], target: Path) -> None:
    """Draw bytes against time, and this project against JPEG XL image by image.

    Time is that of the table with the most figures.

    Raises:
        ImportError: matplotlib, of the extra ``train``, is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    largest = max(found, key=lambda each: len(each.images) * len(each.codecs))
    figure, axes = pyplot.subplots(1, 3, figsize=(16.5, 4.6), layout="constrained")
    figure.suptitle(f"{folder}: {largest.title}")
    for own, direction in zip(axes, ("encode", "decode"), strict=False):
        _plot_time(own, largest.lines, direction)
    _plot_images(axes[2], found)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def _plot_time(axes: Any, lines: Sequence[Line], direction: str) -> None:
    """Draw what the HTML report draws: where labels go is known there."""
    timed = [
        charts.Timed(line.codec, is_ours(line.codec), line.bytes, seconds)
        for line in lines
        if line.codec != RAW and (seconds := getattr(line, f"{direction}_seconds"))
    ]
    axes.set(title=f"Bytes against seconds to {direction}", xlabel="seconds of the processor")
    if not timed:
        return
    scatter = charts.scatter(direction, timed)
    axes.set(xlim=(charts.LEFT, charts.RIGHT), ylim=(charts.BOTTOM, charts.TOP))
    axes.set_xticks(
        [mark.place for mark in scatter.x_marks], [mark.text for mark in scatter.x_marks]
    )
    axes.set_yticks(
        [mark.place for mark in scatter.y_marks], [mark.text for mark in scatter.y_marks]
    )
    axes.grid(alpha=0.3)
    sides = {"start": "left", "middle": "center", "end": "right"}
    for point in scatter.points:
        colour = "C1" if point.ours else "C0"
        label = point.label
        axes.plot(point.x, point.y, "o", color=colour)
        axes.text(label.x, label.y, label.text, ha=sides[label.anchor], va="center", fontsize=9)
        if point.is_far:
            axes.plot([point.x, label.x], [point.y, label.y], color=colour, linewidth=0.6)


def _plot_images(axes: Any, found: Sequence[Table]) -> None:
    """A point for each image that both this project and JPEG XL coded."""
    rows = {key: row for each in found for key, row in each.rows.items() if not row.outcome.problem}
    bits = {key: bits_per_sample(row.outcome.bytes, key[0].samples) for key, row in rows.items()}
    theirs = {image: value for (image, codec), value in bits.items() if codec == REFERENCE}
    axes.set(
        title="Image by image, bits per sample",
        xlabel=REFERENCE,
        ylabel="pixelcodec",
        aspect="equal",
    )
    for codec in dict.fromkeys(codec for _, codec in bits if is_ours(codec)):
        pairs = [(theirs[image], bits[image, codec]) for image in theirs if (image, codec) in bits]
        if pairs:
            smaller = sum(ours < other for other, ours in pairs)
            label = f"{codec}: smaller on {smaller} of {len(pairs)}"
            axes.plot(*zip(*pairs, strict=True), "o", label=label, markersize=4, alpha=0.7)
    if axes.lines:
        both = (*axes.get_xlim(), *axes.get_ylim())
        limits = min(both), max(both)
        axes.plot(limits, limits, color="black", linewidth=0.8)
        axes.set(xlim=limits, ylim=limits)
        axes.legend(fontsize=8, loc="upper left")
        axes.grid(alpha=0.3)


# Command -----------------------------------------------------------------------------------------


class _Command(click.Command):
    """A command that remembers its arguments as they were typed, in its context's ``obj``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Command)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="STEM",
    help="Write STEM.csv, STEM.md, and plots STEM-FOLDER.png.",
)
@recursive_option
@click.option(
    "-e",
    "--effort",
    "efforts",
    multiple=True,
    type=click.IntRange(1, 9),
    metavar="1..9",
    help="Of pixelcodec. Repeat for more. [default: 5]",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help=f"{MODEL_NAMES} Repeat for more. [default: what suits image and effort]",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([RAW, *PEERS, PROJECT]),
    help="A codec to run. Repeat for more. [default: all that are installed]",
)
@click.option("--in-colour", is_flag=True, help="Take palette images as RGB or RGBA.")
@click.option("--resume", is_flag=True, help="Go on with STEM.csv: run what is missing there.")
@force_option
@quiet_option
@compute_options
@click.pass_context
def main(
    ctx: click.Context,
    *,
    paths: tuple[Path, ...],
    output: Path,
    recursive: bool,
    efforts: tuple[int, ...],
    models: tuple[str, ...],
    only: tuple[str, ...],
    in_colour: bool,
    resume: bool,
    force: bool,
    quiet: bool,
    **compute: Unpack[Compute],
) -> None:
    """Measure all codecs on images: files and folders of images."""
    csv_path = output.with_name(f"{output.name}.csv")
    if csv_path.exists() and not resume:
        if not force:
            raise Failure(csv_path, "the file exists; --resume goes on with it, -f overwrites it")
        csv_path.unlink()
    files = files_by_folder(paths, recursive)
    if not files:
        raise click.UsageError("there are no images in PATHS; -r looks into folders in folders")
    with errors_about(None):
        about = circumstances(compute)
        codecs = make(chosen(only, efforts, models, compute), strict=bool(only))
    machine = f"{about['processor']}; {about['device of pixelcodec']}"
    results = Results(csv_path)
    if other := next((row.machine for row in results.rows if row.machine != machine), None):
        raise Failure(csv_path, f"measured on {other}, so its seconds do not compare with ours")

    refused = []
    for folder, paths_inside in files.items():
        measure = Measuring(folder, results, machine, in_colour, quiet)
        refused += measure.all(paths_inside, codecs)
        found = tables([row for row in results.rows if row.image.folder == folder])
        click.echo(text(folder, found))
    report = Report(output, command_of(ctx.obj), about, results.rows, refused)
    write(report)
    for line in (*refused, *report.failed):
        click.echo(f"pixelcodec: {line}", err=True)
    if report.failed:
        ctx.exit(1)


def chosen(
    only: Sequence[str], efforts: Sequence[int], models: Sequence[str], compute: Compute
) -> list[Spec]:
    """What to run: those in ``only``, or all; every model at every effort."""
    specs = [Spec(name) for name in (RAW, *PEERS) if not only or name in only]
    if not only or PROJECT in only:
        specs += [
            Spec(PROJECT, model, effort, compute)
            for model in models or (None,)
            for effort in efforts or (None,)
        ]
    return specs


def make(specs: Iterable[Spec], strict: bool) -> list[tuple[Spec, Codec]]:
    """Make those that are installed; ``strict``: the others are an error."""
    found = []
    for spec in specs:
        codec = spec.codec()
        if codec is not None:
            found.append((spec, codec))
        elif strict:
            raise click.UsageError(f"{spec.name} is not installed")
        else:
            click.echo(f"not installed: {spec.name}", err=True)
    return found


@dataclass(frozen=True)
class Measuring:
    """The images of a folder, through codecs, into results."""

    folder: str
    results: Results
    machine: str
    in_colour: bool
    quiet: bool

    def all(self, paths: Sequence[Path], codecs: Sequence[tuple[Spec, Codec]]) -> list[str]:
        """Measure what has no result yet; return which files could not be read, and why."""
        refused, missing = [], [dict[Path, tuple[Image, bool]]() for _ in codecs]
        for path in paths:
            try:
                picture = picture_of(path, self.in_colour)
            except (OSError, UnsupportedImageError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                refused.append(f"{self.folder}/{path.name}: {reason or error}")
                continue
            image = image_of(self.folder, path, picture)
            for (_, codec), todo in zip(codecs, missing, strict=True):
                if not self.results.has(image, codec):
                    todo[path] = image, codec.holds(picture)
        for (spec, codec), todo in zip(codecs, missing, strict=True):
            self._one(spec, codec, todo)
        return refused

    def _one(self, spec: Spec, codec: Codec, todo: dict[Path, tuple[Image, bool]]) -> None:
        def add(path: Path, outcome: Outcome) -> None:
            image = todo[path][0]
            self.results.add(Row(image, codec.name, codec.about, self.machine, outcome))

        held = [path for path, (_, holds) in todo.items() if holds]
        for path in todo.keys() - set(held):
            add(path, Outcome(problem=CANNOT))
        label = f"{self.folder}: {codec.name}"
        with progress_bar(label, quiet=self.quiet, unit="images") as show:
            for number, (path, outcome) in enumerate(outcomes(spec, held, self.in_colour), 1):
                add(path, outcome)
                if show:
                    show(number, len(held))


def write(report: Report) -> None:
    """Draw the plots, and write the page with links to them."""
    try:
        for folder, found in report.folders.items():
            if found:
                plot(folder, found, report.plot_of(folder))
    except ImportError:
        click.echo("no plots: install pixelcodec[train]", err=True)
    page = report.stem.with_name(f"{report.stem.name}.md")
    page.write_text(report.markdown(), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work(json.load(sys.stdin))
    else:
        main()
