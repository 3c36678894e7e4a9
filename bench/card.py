"""Measure a model on folders of images and write what was measured into its card.

    python bench/card.py photo-m kodak=~/images/kodak clic=~/images/clic-dev

Each 8-bit RGB or gray image is encoded, decoded and compared, and the bytes of the files are
counted; images of other kinds are skipped, never converted, and counted too. What the card holds
beside that stays. The card is written after each folder.
"""

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from pixelcodec import api, evaluation
from pixelcodec.cli.files import image_files
from pixelcodec.effort import STATIC
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.models import zoo
from pixelcodec.pictures import read_picture
from pixelcodec.runtime import make_engine

KODAK = Path(__file__).parent.parent / "examples" / "kodim23.png"

Card = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One image; or why it was skipped."""

    file: Path
    skipped: str = ""
    samples: int = 0
    file_bits: int = 0
    model_bits: float = 0.0


def measure(file: Path, model: str, device: str) -> Measured:
    """Encode, decode and compare one image."""
    torch.set_num_threads(1)
    try:
        image = read_picture(file).to_array()
    except UnsupportedImageError as error:
        return Measured(file, skipped=str(error))
    data = api.encode(image, model=model, device=device, effort=STATIC)
    if not np.array_equal(api.decode(data, model=model, device=device), image):
        raise AssertionError(f"{file}: not lossless")
    engine = make_engine(zoo.load(model), device=device)
    bits = evaluation.model_bits(image, engine)
    return Measured(file, "", image.size, 8 * len(data), bits)


def measure_folder(
    folder: Path, model: str, device: str, jobs: int, report: Callable[[Measured], None]
) -> Card:
    """Measure all images below ``folder``: what the card says of it."""
    files = image_files([folder])
    if not files:
        raise click.ClickException(f"{folder}: no images")
    found, skipped = [], 0
    for measured in _measured(files, model, device, jobs):
        report(measured)
        if measured.skipped:
            skipped += 1
        else:
            found.append(measured)
    if not found:
        raise click.ClickException(f"{folder}: all images are of kinds that are not supported")
    samples = sum(each.samples for each in found)
    return {
        "images": len(found),
        "skipped": skipped,
        "bpsp": round(sum(each.file_bits for each in found) / samples, 4),
        "model_bpsp": round(sum(each.model_bits for each in found) / samples, 4),
    }


def _measured(files: list[Path], model: str, device: str, jobs: int) -> Iterator[Measured]:
    work = partial(measure, model=model, device=device)
    if jobs == 1:
        yield from map(work, files)
        return
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    with ProcessPoolExecutor(jobs, context) as pool:
        yield from pool.map(work, files)


def measure_speed(model: str, device: str, threads: int, repeats: int) -> Card:
    """Encode and decode an image of Kodak's size; the best of some repeats."""
    image = read_picture(KODAK).to_array()
    settings: dict[str, Any] = {"model": model, "device": device, "threads": threads}
    corner = np.ascontiguousarray(image[:64, :64])
    api.decode(api.encode(corner, **settings), **settings)  # warms up
    encode_seconds, decode_seconds = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        data = api.encode(image, effort=STATIC, **settings)
        encoded = time.perf_counter()
        api.decode(data, **settings)
        encode_seconds.append(encoded - start)
        decode_seconds.append(time.perf_counter() - encoded)
    return {
        "image": f"{image.shape[1]}x{image.shape[0]} RGB",
        "encode_seconds": round(min(encode_seconds), 2),
        "decode_seconds": round(min(decode_seconds), 2),
        "threads": threads,
        "machine": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Count and name of the CPU's cores."""
    name = platform.processor() or platform.machine()
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        facts = ""
    for line in facts.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
            break
    return f"{os.cpu_count()} cores of {name}"


def table(card: Card) -> str:
    """All that was measured, as Markdown."""
    lines = ["| folder | images | skipped | bpsp | model bpsp |", "|---|---:|---:|---:|---:|"]
    for name, found in card.get("bpsp", {}).items():
        lines.append(
            f"| {name} | {found['images']} | {found['skipped']} "
            f"| {found['bpsp']:.4f} | {found['model_bpsp']:.4f} |"
        )
    if speed := card.get("speed"):
        threads = f"{speed['threads']} thread{'s' * (speed['threads'] > 1)}"
        lines += [
            "",
            "| image | encode | decode | on |",
            "|---|---:|---:|---|",
            f"| {speed['image']} | {speed['encode_seconds']:.2f} s "
            f"| {speed['decode_seconds']:.2f} s "
            f"| {threads}, {speed['machine']}, torch {speed['torch']} |",
        ]
    return "\n".join(lines)


def _named_folders(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    folders = {}
    for value in values:
        name, equals, folder = value.partition("=")
        folders[name] = Path(folder).expanduser()
        if not (name and equals and folders[name].is_dir()):
            raise click.BadParameter(f"{value}: not NAME=FOLDER, or there is no such folder")
    return folders


@click.command()
@click.argument("model")
@click.argument("folders", nargs=-1, callback=_named_folders, metavar="[NAME=FOLDER]...")
@click.option("--summary", metavar="TEXT", help="What the model is for, in a line.")
@click.option("--data", metavar="TEXT", help="What it was trained on.")
@click.option("--licences", metavar="TEXT", help="Of what it was trained on.")
@click.option("--speed/--no-speed", default=True, show_default=True, help="Measure the speed.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, help="Of which the best counts.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("-T", "--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, help="Images at once.")
def main(
    model: str,
    folders: dict[str, Path],
    speed: bool,
    repeats: int,
    device: str,
    threads: int,
    jobs: int,
    **texts: str | None,
) -> None:
    """Measure MODEL, a name or a .safetensors file, on FOLDERs and write its card.

    NAME is what the card calls a folder.
    """
    is_file = model.endswith(".safetensors")
    file = Path(model) if is_file else Path(zoo.__file__).with_name(f"{model}.safetensors")
    path = file.with_suffix(".json")
    zoo.load(model)
    card: Card = json.loads(path.read_text(encoding="utf-8"))

    def save() -> None:
        partial_file = path.with_suffix(".partial")
        partial_file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        partial_file.replace(path)

    def report(measured: Measured) -> None:
        bpsp = measured.file_bits / max(1, measured.samples)
        click.echo(measured.skipped or f"{measured.file}: {bpsp:.4f} bpsp", err=True)

    card.update({key: text for key, text in texts.items() if text is not None})
    save()
    for name, folder in folders.items():
        found = measure_folder(folder, model, device, jobs, report)
        card.setdefault("bpsp", {})[name] = found
        save()
    if speed:
        card["speed"] = measure_speed(model, device, threads, repeats)
        save()
    click.echo(table(card))


if __name__ == "__main__":
    main()
