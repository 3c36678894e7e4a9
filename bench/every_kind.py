"""Does every image come back as it was, whatever its kind? And in how many bytes, kind by kind?

    python bench/every_kind.py ~/images/pngsuite ~/images/icons -e 1 -j 2

Each image is encoded, with no model asked for but by -m, decoded, and written as PNG again. It has
come back if samples, bit depth and all chunks are equal and, where it was a PNG, Pillow sees the
same in both files: mode, pixels, palette and info (but for the interlacing, which is a way to store
pixels).

Printed is a table by kind: bytes of the files as they were given, of PNG as Pillow optimises it
with the same metadata, and of the .pxc files. Then what was refused, what did not come back, and
what is larger than it may be beside PNG and lossless WebP: that of the colours, at its slowest
setting, and palette and metadata, as many bytes as in PNG. With -m there is no such limit, and no
WebP is made. Nor is one with --no-webp, as of photographs it takes more time than all else.
"""

import math
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

import pixelcodec
from pixelcodec.cli.files import image_files
from pixelcodec.cli.tables import table
from pixelcodec.errors import PixelcodecError
from pixelcodec.pictures import Picture, png, read_picture, to_pillow, write_picture

ALLOWED = 64
"""Bytes at most that a file may be larger than the smaller of PNG and WebP."""

_PNG = b"\x89PNG"
_CHUNK_BYTES = 12
"""Of a PNG chunk besides its data."""


@dataclass(frozen=True)
class Found:
    """What became of one image.

    ``refused``: why it was not read; ``lost``: what did not come back; ``webp``: None where WebP
    holds no such images; ``model``: what coded it.
    """

    file: Path
    kind: str = ""
    refused: str = ""
    lost: str = ""
    given: int = 0
    png: int = 0
    webp: int | None = None
    ours: int = 0
    model: str = ""

    @property
    def excess(self) -> int:
        """Bytes that the .pxc file has more than the smaller of PNG and WebP."""
        return self.ours - (self.png if self.webp is None else min(self.png, self.webp))


def look_into(file: Path, effort: int | None, model: str | None, webp: bool = True) -> Found:
    """Encode one image and decode it; ``webp``: find out what WebP takes, where that matters."""
    source = file.read_bytes()
    try:
        picture = read_picture(BytesIO(source))
    except (PixelcodecError, OSError) as error:
        return Found(file, refused=str(error))
    data = pixelcodec.encode(picture, effort=effort, model=model)
    return Found(
        file,
        kind=picture.kind,
        lost=lost(source, picture, pixelcodec.decode_picture(data)),
        given=len(source),
        png=len(png.write(picture)),
        webp=webp_bytes(picture) if webp and model is None else None,
        ours=len(data),
        model=str(pixelcodec.inspect(BytesIO(data)).model_name),
    )


def webp_bytes(picture: Picture) -> int | None:
    """Bytes of the lossless WebP that Pillow makes of the colours, and of all chunks of the PNG."""
    if picture.bit_depth == 16 or max(picture.width, picture.height) > 16383:
        return None
    chunks = sum(len(chunk.data) + _CHUNK_BYTES for chunk in picture.chunks)
    colours = to_pillow(replace(picture.in_colour(), chunks=()))
    buffer = BytesIO()
    colours.save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
    return chunks + len(buffer.getvalue())


def lost(source: bytes, picture: Picture, decoded: Picture) -> str:
    """What of an image did not come back; empty where all did."""
    differing = []
    if not np.array_equal(picture.samples, decoded.samples):
        differing.append("samples")
    if (picture.bit_depth, picture.chunks) != (decoded.bit_depth, decoded.chunks):
        differing.append("bit depth or chunks")
    if source.startswith(_PNG):
        again = BytesIO()
        write_picture(decoded, again, "png")
        before, after = seen(source), seen(again.getvalue())
        differing += [name for name in before if before[name] != after[name]]
    return ", ".join(differing)


def seen(file: bytes) -> dict[str, Any]:
    """What Pillow sees in a PNG file."""
    with Image.open(BytesIO(file)) as image:
        image.load()  # chunks after the pixels count, too
        info = {name: value for name, value in image.info.items() if name != "interlace"}
        return {
            "mode": image.mode,
            "size": image.size,
            "pixels": image.tobytes(),
            "palette": image.getpalette("RGBA") if image.mode == "P" else None,
            "info": info,
        }


def by_kind(every: Sequence[Found]) -> str:
    """A table with a row for each kind, and for all."""
    read = [each for each in every if not each.refused]
    kinds = sorted({each.kind for each in read})
    head = ["kind", "files", "equal", "as given", "PNG", ".pxc", "of PNG", "coded by"]
    rows = [_row(kind, [each for each in read if each.kind == kind]) for kind in kinds]
    return table(head, [*rows, _row("all", read)], left=(0, 7))


def _row(name: str, found: Sequence[Found]) -> list[str]:
    given, optimised, ours = (
        sum(getattr(each, size) for each in found) for size in ("given", "png", "ours")
    )
    models = Counter(each.model for each in found).most_common()
    return [
        name,
        f"{len(found):,}",
        f"{sum(not each.lost for each in found):,}",
        *(f"{size:,}" for size in (given, optimised, ours)),
        f"{ours / optimised:.1%}" if optimised else "",
        ", ".join(f"{count:,} {model}" for model, count in models),
    ]


def faults(every: Sequence[Found], larger: Sequence[Found]) -> Iterator[str]:
    """Lines about what was refused, what did not come back, what is ``larger`` than allowed."""
    refused = [each for each in every if each.refused]
    yield f"{len(refused)} refused"
    for each in refused:
        yield f"  {each.file}: {each.refused}"
    different = [each for each in every if each.lost]
    yield f"{len(different)} did not come back"
    for each in different:
        yield f"  {each.file}: {each.lost}"
    yield f"{len(larger)} more than {ALLOWED} bytes larger than the smaller of PNG and WebP"
    for each in larger:
        yield f"  {each.file}: {each.ours:,} bytes by {each.model}, {each.excess:,} more"


def looked_into(
    files: Sequence[Path],
    effort: int | None,
    model: str | None,
    webp: bool,
    jobs: int,
    end: float,
) -> Iterator[Found]:
    """Look into ``files``, ``jobs`` at a time, beginning none after ``end`` (monotonic seconds)."""
    work = partial(look_into, effort=effort, model=model, webp=webp)
    in_time = (file for file in files if time.monotonic() < end)
    if jobs == 1:
        yield from map(work, in_time)
        return
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    with ProcessPoolExecutor(jobs, context) as pool:
        while batch := list(islice(in_time, 4 * jobs)):
            yield from pool.map(work, batch)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-e", "--effort", type=click.IntRange(1, 9), help="As `pixelcodec encode` has it.")
@click.option("-m", "--model", help="As `pixelcodec encode` has it.")
@click.option("--webp/--no-webp", default=True, help="Whether to find out what WebP takes.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, help="Images at once.")
@click.option("--minutes", type=float, help="Begin no image after so many.")
def main(
    paths: tuple[Path, ...],
    effort: int | None,
    model: str | None,
    webp: bool,
    jobs: int,
    minutes: float | None,
) -> None:
    """Look into PATHS, images and folders of them; exit with 1 if one is not as it was."""
    files = image_files(paths)
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    every = []
    for number, found in enumerate(looked_into(files, effort, model, webp, jobs, end), 1):
        click.echo(f"{number} of {len(files)}: {found.file}", err=True)
        every.append(found)
    click.echo(by_kind(every))
    larger = [each for each in every if model is None and each.excess > ALLOWED]
    for line in faults(every, larger):
        click.echo(line)
    if len(every) < len(files):
        click.echo(f"{len(files) - len(every)} images were left out for lack of time")
    sys.exit(any(each.lost for each in every) or len(larger) > 0)


if __name__ == "__main__":
    main()
