"""``pixelcodec info``: what the header and the strip table of a .pxc file say."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelcodec.cli.common import Failure, errors_about, json_option, path_argument
from pixelcodec.cli.files import binary_input
from pixelcodec.cli.tables import bits_per_sample, indented, shape_name, table

if TYPE_CHECKING:  # the library imports torch
    from pixelcodec.api import FileInfo


@click.command()
@path_argument("files", nargs=-1, required=True)
@json_option
@click.pass_context
def info(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Show header and strips of FILES, decoding nothing."""
    found, failed = [], False
    for file in files:
        try:
            found.append((file, _inspect(file)))
        except Failure as failure:  # the other files are still worth showing
            failure.show()
            failed = True
    if as_json:
        click.echo(json.dumps([_as_dict(file, facts) for file, facts in found], indent=2))
    else:
        click.echo("\n\n".join(_as_text(file, facts) for file, facts in found), nl=bool(found))
    if failed:
        ctx.exit(1)


def _inspect(file: Path) -> "FileInfo":
    from pixelcodec import api

    with errors_about(file), binary_input(file) as stream:
        return api.inspect(stream)


def _as_dict(file: Path, facts: "FileInfo") -> dict[str, Any]:
    return {"file": str(file), **dataclasses.asdict(facts), "bpsp": facts.bpsp}


def _as_text(file: Path, facts: "FileInfo") -> str:
    shape = shape_name(facts.height, facts.width, facts.channels)
    tiles = f", in tiles of {facts.tile} x {facts.tile}" if facts.tile else ""
    header = (
        f"image   {shape}, {facts.bit_depth}-bit samples, CRC {facts.samples_crc:08x}\n"
        f"model   {facts.model_name or 'not installed'} ({facts.model_id})\n"
        f"file    {facts.file_bytes:,} bytes, {facts.bpsp:.3f} bpsp\n"
        f"strips  {len(facts.strips)} of {facts.strip_rows} rows{tiles}\n"
        + (f"preview {facts.preview_bytes:,} bytes\n" if facts.preview_bytes else "")
    )
    return f"{file}\n{indented(header)}\n\n{indented(_strip_table(facts))}"


def _strip_table(facts: "FileInfo") -> str:
    rows = []
    for index, size in enumerate(facts.strips):
        first = index * facts.strip_rows
        last = min(first + facts.strip_rows, facts.height) - 1
        samples = (last + 1 - first) * facts.width * facts.channels
        bpsp = bits_per_sample(size, samples)
        rows.append([str(index), f"{first}-{last}", f"{size:,}", f"{bpsp:.3f}"])
    return table(["strip", "rows", "bytes", "bpsp"], rows)
