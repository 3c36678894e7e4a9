"""``pixelcodec info``: what the header and the strip table of a .pxc file say."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelcodec import suffixes
from pixelcodec.cli.common import (
    Failure,
    errors_about,
    examples,
    json_option,
    path_argument,
    recursive_option,
)
from pixelcodec.cli.files import binary_input, explained, not_pxc
from pixelcodec.cli.inputs import find_sources
from pixelcodec.cli.suggestions import pxc_files
from pixelcodec.cli.tables import bits_per_sample, indented, shape_name, table

if TYPE_CHECKING:  # it imports NumPy
    from pixelcodec import FileInfo


@click.command(
    epilog=examples(
        "pixelcodec info photo.pxc",
        "pixelcodec info photo.pxc --json",
        "pixelcodec info -r archive",
    )
)
@path_argument("paths", nargs=-1, required=True, metavar="FILES...", shell_complete=pxc_files)
@recursive_option
@json_option
@click.pass_context
def info(ctx: click.Context, paths: tuple[Path, ...], recursive: bool, as_json: bool) -> None:
    """Show header and strips of FILES, decoding nothing."""
    sources, refused = find_sources(paths, {suffixes.PXC}, recursive=recursive)
    failures = [Failure(path, why) for path, why in refused.items()]
    found = []
    for source in sources:
        try:
            found.append((source.path, _inspect(source.path)))
        except Failure as error:  # the other files are still worth showing
            failures.append(error)
    for failure in failures:
        failure.show()
    if as_json:
        click.echo(json.dumps([_as_dict(file, facts) for file, facts in found], indent=2))
    else:
        click.echo("\n\n".join(_as_text(file, facts) for file, facts in found), nl=bool(found))
    if failures:
        ctx.exit(1)


def _inspect(file: Path) -> "FileInfo":
    from pixelcodec import inspect

    with errors_about(file), explained(file, not_pxc), binary_input(file) as stream:
        return inspect(stream)


def _as_dict(file: Path, facts: "FileInfo") -> dict[str, Any]:
    return {
        "file": str(file),
        **dataclasses.asdict(facts),
        "metadata": [{"type": kind, "bytes": size} for kind, size in facts.metadata],
        "bpsp": facts.bpsp,
    }


def _as_text(file: Path, facts: "FileInfo") -> str:
    tiles = f", in tiles of {facts.tile} x {facts.tile}" if facts.tile else ""
    restart = ", independent" if facts.restart else ""
    lines = [
        f"image   {_shape(facts)}, {facts.bit_depth}-bit samples, CRC {facts.samples_crc:08x}",
        f"model   {facts.model_name or 'not installed'} ({facts.model_id})",
        f"file    {facts.file_bytes:,} bytes, {facts.bpsp:.3f} bpsp",
        f"strips  {len(facts.strips)} of {facts.strip_rows} rows{tiles}{restart}",
    ]
    if facts.alpha_model_name:
        lines.insert(2, f"alpha   {facts.alpha_model_name}")
    if facts.changes_bytes:
        lines.append(f"changes {facts.changes_bytes:,} bytes: the model was fitted to the image")
    if facts.levels_bytes:
        lines.append(f"levels  {facts.levels_bytes:,} bytes: some of 65,536 are used")
    if facts.learning:
        what = ", networks for photographs no more than colours" if facts.learning == 1 else ""
        lines.append(f"learns  while it codes{what}")
    if facts.metadata:
        chunks = ", ".join(f"{kind} {size:,}" for kind, size in facts.metadata)
        lines.append(f"chunks  {chunks} bytes")
    if facts.preview_bytes:
        lines.append(f"preview {facts.preview_bytes:,} bytes")
    header = "\n".join(lines)
    return f"{file}\n{indented(header)}\n\n{indented(_strip_table(facts))}"


def is_palette(facts: "FileInfo") -> bool:
    """Return whether samples are indices."""
    return facts.channels == 1 and any(kind == "PLTE" for kind, _ in facts.metadata)


def _shape(facts: "FileInfo") -> str:
    return shape_name(facts.height, facts.width, facts.channels, is_palette(facts))


def _strip_table(facts: "FileInfo") -> str:
    rows = []
    for index, size in enumerate(facts.strips):
        first = index * facts.strip_rows
        last = min(first + facts.strip_rows, facts.height) - 1
        samples = (last + 1 - first) * facts.width * facts.channels
        bpsp = bits_per_sample(size, samples)
        rows.append([str(index), f"{first}-{last}", f"{size:,}", f"{bpsp:.3f}"])
    return table(["strip", "rows", "bytes", "bpsp"], rows)
