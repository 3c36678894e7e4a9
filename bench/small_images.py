"""Measure a model of small images on a test set, draw with it, and write its card.

    python bench/small_images.py mnist-pixelcnn mnist:~/mnist -o docs/samples

All images of the test set are coded as one file, which is decoded and compared. Of what the model
draws, and of the first images of the test set that it completes, there is a picture each.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from pixelcodec import api, evaluation, sampling
from pixelcodec.models import zoo
from pixelcodec.models.datasets import DATA_SETS
from pixelcodec.models.program import Samples
from pixelcodec.runtime import Compute

DRAWN = 64
COMPLETED = 8
COMPLETIONS = 5
"""Of each image, beside what is given and the image itself."""


def measure(model: str, kind: str, images: Samples) -> dict[str, Any]:
    """Bits of ``images`` and of their file, which is decoded, and seconds of both."""
    found = evaluation.evaluate_data_set(kind, images, model, Compute(device="cpu"))
    page = evaluation.page_of(images, DATA_SETS[kind].bit_depth == 1)
    side = images.shape[1]
    data, encode_seconds = timed(lambda: api.encode(page, model=model, tile=side))
    decoded, decode_seconds = timed(lambda: api.decode(data, model=model))
    if not np.array_equal(decoded, page):
        raise AssertionError(f"{model}: not lossless")
    return {
        "images": found.images,
        "unit": found.unit,
        "model": round(found.model, 4),
        "file": round(found.file, 4),
        "file_bytes": found.file_bytes,
        "paper": found.paper,
        "encode_seconds": round(encode_seconds, 1),
        "decode_seconds": round(decode_seconds, 1),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` gives, and the seconds that it took."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def completions(model: str, images: Samples, half: str) -> Samples:
    """A row for each of ``images``, with dice of its own: given, completions, and the image.

    Returns:
        uint8 [images * (2 + COMPLETIONS), side, side, ...].
    """
    rows: list[Samples] = []
    for number, image in enumerate(images):
        page = np.squeeze(image, 2) if image.shape[2] == 1 else image
        mask = sampling.half(half, *page.shape[:2])
        drawn = sampling.complete(page, mask, model, COMPLETIONS, seed=number)
        given = sampling.with_hole(page, mask)
        rows += [given, *sampling.as_bytes(drawn), sampling.as_bytes(page)]
    return np.stack(rows)


def save(images: Samples, columns: int, path: Path) -> None:
    """A grid of ``images``, enlarged so that their pixels can be seen."""
    page = Image.fromarray(sampling.grid(images, columns))
    factor = max(1, math.ceil(480 / page.width))
    size = (factor * page.width, factor * page.height)
    page.resize(size, Image.Resampling.NEAREST).save(path, optimize=True)


def chosen(images: Samples, binary: bool) -> Sequence[Samples]:
    """Those that are completed, as the library takes them."""
    first = images[:COMPLETED]
    return first.astype(np.bool_) if binary else first


@click.command()
@click.argument("model")
@click.argument("data", metavar="KIND:FOLDER")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the pictures.")
@click.option("--images", type=click.IntRange(min=1), help="Of the test set, the first so many.")
@click.option("--half", default="lower", type=click.Choice(sorted(sampling.HALVES)))
def main(model: str, data: str, output: Path | None, images: int | None, half: str) -> None:
    """Measure MODEL, a name or a .safetensors file, on a test set; write card and pictures."""
    kind, _, folder = data.partition(":")
    test_set = DATA_SETS[kind].test(Path(folder).expanduser())[:images]
    is_file = model.endswith(".safetensors")
    file = Path(model) if is_file else Path(zoo.__file__).with_name(f"{model}.safetensors")
    path = file.with_suffix(".json")
    card = json.loads(path.read_text(encoding="utf-8"))
    found = measure(model, kind, test_set)
    card.setdefault("test_sets", {})[kind] = found
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(found, indent=2))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        drawn, seconds = timed(lambda: sampling.sample(model, DRAWN))
        click.echo(f"{DRAWN} images drawn in {seconds:.1f} s")
        save(drawn, round(math.sqrt(DRAWN)), output / f"{file.stem}.png")
        binary = DATA_SETS[kind].bit_depth == 1
        rows = completions(model, chosen(test_set, binary), half)
        save(rows, 2 + COMPLETIONS, output / f"{file.stem}-completions.png")


if __name__ == "__main__":
    main()
