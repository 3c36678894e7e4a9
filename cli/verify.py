"""``pixelcodec verify``: are .pxc files whole, and is one of them this image?"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pixelcodec import suffixes
from pixelcodec.cli.batch import Batch, batch_options
from pixelcodec.cli.common import (
    Compute,
    Failure,
    compute_options,
    errors_about,
    examples,
    path_argument,
    written_by_option,
)
from pixelcodec.cli.decode import read_pxc
from pixelcodec.cli.files import (
    STANDARD_STREAM,
    binary_input,
    explained,
    is_folder,
    not_pxc,
    read_image,
)
from pixelcodec.cli.info import is_palette
from pixelcodec.cli.progress import Report
from pixelcodec.cli.suggestions import pxc_files
from pixelcodec.cli.work import Sink, Task

if TYPE_CHECKING:
    from pixelcodec.pictures import Picture


@click.command(
    epilog=examples(
        "pixelcodec verify photo.pxc",
        "pixelcodec verify photo.pxc photo.png",
        "pixelcodec verify -r archive -j 2",
    )
)
@path_argument(
    "paths", nargs=-1, required=True, metavar="FILES... | FILE IMAGE", shell_complete=pxc_files
)
@batch_options
@written_by_option
@compute_options
def verify(*, batch: Batch, model: str | None, **compute: Unpack[Compute]) -> None:
    """Check that FILES are whole, or that FILE is IMAGE.

    Each file is decoded to its end, and its CRCs are checked. Of two arguments the second, where it
    does not end in .pxc, is an image whose every pixel and metadata are compared. What of it no
    .pxc file keeps, such as IPTC, is named.
    """
    batch, original = _without_original(batch)
    batch.check(
        partial(verify_file, original=original, model=model, compute=compute), {suffixes.PXC}
    )


def verify_file(
    task: Task,
    sink: Sink,
    report: Report | None,
    *,
    original: Path | None,
    model: str | None,
    compute: Compute,
) -> str:
    """Decode one file, compare it with ``original`` if given, and say that all is well."""
    if original is None:
        read_pxc(task.source, report, model, compute)
        return f"{task.source}: intact"
    with errors_about(original):
        expected = read_image(original)
    # Decoding takes time: what the header tells comes first.
    what = _difference_in_header(task.source, expected) or difference(
        read_pxc(task.source, report, model, compute), expected
    )
    if what:
        raise Failure(task.source, f"differs from {original}: {what}")
    but = f", but for what is not kept: {', '.join(expected.not_kept)}" if expected.not_kept else ""
    return f"{task.source}: identical to {original}{but}"


def _without_original(batch: Batch) -> tuple[Batch, Path | None]:
    """Part the files from the image that one of them is compared with, if there is one."""
    match batch.paths:
        case (image, file) if file.suffix == suffixes.PXC and (what := not_pxc(image)):
            raise click.UsageError(f"{image}: {what}, which goes first: verify {file} {image}")
        case (file, image) if (
            image.suffix != suffixes.PXC and not is_folder(image) and not is_folder(file)
        ):
            return replace(batch, paths=(file,)), image
    return batch, None


def _difference_in_header(file: Path, original: "Picture") -> str | None:
    """Say what differs by the header of a .pxc file; nothing of standard input, read once only."""
    from pixelcodec import inspect
    from pixelcodec.pictures import Chunk
    from pixelcodec.plan import Shape

    if file == STANDARD_STREAM:
        return None
    with errors_about(file), explained(file, not_pxc), binary_input(file) as stream:
        facts = inspect(stream)
    palette = (Chunk(b"PLTE", bytes(3)),) if is_palette(facts) else ()
    shape = Shape(facts.width, facts.height, facts.channels, facts.bit_depth, palette)
    return _form_differs((facts.height, facts.width, facts.channels), shape.kind, original)


def _form_differs(shape: tuple[int, ...], kind: str, original: "Picture") -> str | None:
    if shape != original.samples.shape:
        return f"shape {shape}, not {original.samples.shape}"
    return None if kind == original.kind else f"{kind}, not {original.kind}"


def difference(decoded: "Picture", original: "Picture") -> str | None:
    """Say what differs first, if anything does: the size, the kind, a pixel, the metadata."""
    import numpy as np

    from pixelcodec.invisible import invisible

    found, expected = decoded.samples, original.samples
    if what := _form_differs(found.shape, decoded.kind, original):
        return what
    differs = (found != expected).any(2)
    if differs.any():
        y, x = map(int, np.argwhere(differs)[0])  # from top to bottom and left to right
        first = f"first at x={x} y={y}: {found[y, x].tolist()}, not {expected[y, x].tolist()}"
        if (invisible(found) & invisible(expected))[differs].all():
            return f"{differs.sum():,} pixels, all of them invisible (alpha 0), {first}"
        return first
    if decoded.chunks != original.chunks:
        chunks = set(decoded.chunks) ^ set(original.chunks)
        names = ", ".join(sorted({chunk.name for chunk in chunks})) or "in another order"
        return f"the pixels are equal, the metadata are not: {names}"
    return None
