"""Is a ``.pxc`` file never much larger than what its user had? On any images, with any effort.

    python bench/never_larger.py ~/images/icons ~/images/plots -e 2

Each image is encoded with no model asked for, decoded and compared; and written by Pillow as PNG,
optimised, and as lossless WebP at its slowest. Metadata are left out, as all of them cost the same
everywhere; a palette is counted as metadata beside WebP, which has none. Printed is by how many
bytes the .pxc file is larger than the smaller of both, worst file first; then sums by folder.
"""

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import click

from pixelcodec import api
from pixelcodec.cli.files import image_files
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Picture, png, read_picture, to_pillow

PROMISED = 64
"""Bytes of excess at most."""

PALETTE = (b"PLTE", b"tRNS")
_CHUNK_BYTES = 12
"""Of a PNG chunk besides its data."""


@dataclass(frozen=True)
class Measured:
    """One image; or why it was skipped.

    ``ours``, ``png``, ``webp``: bytes; None where WebP holds no such images.
    """

    file: Path
    skipped: str = ""
    kind: str = ""
    model: str = ""
    seconds: float = 0.0
    ours: int = 0
    png: int = 0
    webp: int | None = None

    @property
    def rival(self) -> int:
        """Bytes of the smaller of PNG and WebP."""
        return self.png if self.webp is None else min(self.png, self.webp)

    @property
    def excess(self) -> int:
        """Bytes that the .pxc file has more."""
        return self.ours - self.rival


def measure(file: Path, effort: int | None) -> Measured:
    """Encode one image in all three ways."""
    try:
        picture = read_picture(file)
    except UnsupportedImageError as error:
        return Measured(file, skipped=str(error))
    chunks = tuple(
        chunk for chunk in picture.chunks if picture.is_palette and chunk.type in PALETTE
    )
    picture = replace(picture, chunks=chunks)
    start = time.perf_counter()
    data = api.encode(picture, effort=effort)
    seconds = time.perf_counter() - start
    if api.decode_picture(data) != picture:
        raise AssertionError(f"{file}: not lossless")
    return Measured(
        file,
        kind=picture.kind,
        model=str(api.inspect(BytesIO(data)).model_name),
        seconds=seconds,
        ours=len(data),
        png=png_bytes(picture),
        webp=webp_bytes(picture),
    )


def png_bytes(picture: Picture) -> int:
    """Bytes of the PNG that Pillow makes, or of one in its ways where it has no such images."""
    sizes = [len(png.write(picture))]
    if picture.bit_depth < 16 or picture.channels == 1:
        sizes.append(_saved(picture, "PNG", optimize=True))
    return min(sizes)


def webp_bytes(picture: Picture) -> int | None:
    """Bytes of the WebP that Pillow makes of the colours, and of the palette."""
    if picture.bit_depth == 16 or max(picture.width, picture.height) > 16383:
        return None
    palette = sum(len(chunk.data) + _CHUNK_BYTES for chunk in picture.chunks)
    colours = replace(picture.in_colour(), chunks=())
    return palette + _saved(colours, "WEBP", lossless=True, quality=100, method=6, exact=True)


def _saved(picture: Picture, format: str, **options: object) -> int:
    buffer = BytesIO()
    to_pillow(picture).save(buffer, format, **options)
    return len(buffer.getvalue())


def measured(files: list[Path], effort: int | None, jobs: int) -> Iterator[Measured]:
    """Measure all files, so many at a time."""
    work = partial(measure, effort=effort)
    if jobs == 1:
        yield from map(work, files)
        return
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    with ProcessPoolExecutor(jobs, context) as pool:
        yield from pool.map(work, files)


def line(found: Measured) -> str:
    webp = "-" if found.webp is None else f"{found.webp:,}"
    return (
        f"{found.excess:+8,}  {found.file}: {found.kind}, {found.ours:,} bytes by {found.model}, "
        f"PNG {found.png:,}, WebP {webp}, {found.seconds:.2f} s"
    )


def total(folder: Path, found: list[Measured]) -> str:
    ours, rival = sum(each.ours for each in found), sum(each.rival for each in found)
    models = ", ".join(f"{count} {name}" for name, count in Counter(m.model for m in found).items())
    return (
        f"{folder}: {len(found)} images, {ours:,} bytes, {ours / rival:.1%} of {rival:,} by the "
        f"smaller of PNG and WebP; at worst {max(each.excess for each in found):+,} bytes; "
        f"{models}; {sum(each.seconds for each in found):.0f} s"
    )


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-e", "--effort", type=click.IntRange(1, 9), help="As `pixelcodec encode` has it.")
@click.option("-n", "--worst", default=10, show_default=True, help="Files to print.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, help="Images at once.")
def main(folders: tuple[Path, ...], effort: int | None, worst: int, jobs: int) -> None:
    """Measure the images in FOLDERS; exit with 1 if one of them is larger than promised."""
    of_folders: dict[Path, list[Measured]] = {}
    for folder in folders:
        found = list(measured(image_files([folder]), effort, jobs))
        for each in found:
            if each.skipped:
                click.echo(f"skipped: {each.file}: {each.skipped}", err=True)
        of_folders[folder] = [each for each in found if not each.skipped]
    every = [each for found in of_folders.values() for each in found]
    for each in sorted(every, key=lambda each: -each.excess)[:worst]:
        click.echo(line(each))
    for folder, found in of_folders.items():
        if found:
            click.echo(total(folder, found))
    too_large = sum(each.excess > PROMISED for each in every)
    click.echo(f"{too_large} of {len(every)} files are more than {PROMISED} bytes larger")
    sys.exit(too_large > 0)


if __name__ == "__main__":
    main()
