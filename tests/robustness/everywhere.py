"""Golden files and new ones by every back end and thread count there is here: all are the same.

In ``tests/``: ``python -m robustness.everywhere``. It prints a digest of what it encoded: the same
on every machine, with every version of the libraries. ``robustness.matrix`` runs it with several.
"""

import hashlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import pixelcodec
import reference_decoder as reference
from coding import Samples
from golden.make import FOLDER, MODELS, PICTURES, STREAMS, model_named
from pixelcodec.exact import BACKENDS, known_answer_test
from pixelcodec.pictures import read_picture

STRIP_ROWS = (4, 8, None)
TILES = (0, 4)
EFFORTS = (1, 5)
THREADS = (1, 2)
SIDE = 13


class DifferentError(Exception):
    """Something is not the same here as elsewhere."""


def places() -> Iterator[tuple[str, int]]:
    """Back ends that are exact here, by thread counts."""
    device = torch.device("cpu")
    exact = [name for name, make in BACKENDS.items() if known_answer_test(make(), device)]
    yield from itertools.product(exact, THREADS)


def golden() -> int:
    """Decode the golden files everywhere; return how often."""
    count = 0
    for (name, how), (backend, threads) in itertools.product(
        {**STREAMS, **PICTURES}.items(), places()
    ):
        model = model_named(how.model) if how.model in MODELS else None
        data = (FOLDER / f"{name}.pxc").read_bytes()
        found = pixelcodec.decode_picture(data, model=model, backend=backend, threads=threads)
        if found != read_picture(FOLDER / f"{how.image}.png"):
            raise DifferentError(f"{name} by {backend}, {threads} threads")
        count += 1
    return count


def encoded() -> tuple[int, str]:
    """Encode and decode everywhere, and by the reference; return how often, and a digest."""
    count, digest = 0, hashlib.sha256()
    for name, strip_rows, tile, effort in itertools.product(MODELS, STRIP_ROWS, TILES, EFFORTS):
        image, model = _image(name), Path(model_named(name))
        files = set()
        for backend, threads in places():
            run = {"model": str(model), "backend": backend, "threads": threads}
            data = pixelcodec.encode(
                image,
                strip_rows=strip_rows,
                tile=tile,
                effort=effort,
                **run,  # type: ignore[arg-type]
            )
            files.add(data)
            _compare(pixelcodec.decode(data, **run), image, f"{name} {run}")  # type: ignore[arg-type]
            count += 1
        if len(files) != 1:
            raise DifferentError(f"{name}: {len(files)} files of one image")
        digest.update(*files)
        _compare(reference.decode(data, model), image, f"{name} by the reference decoder")
    return count, digest.hexdigest()


def _image(model: str) -> Samples:
    """Some of the largest image that the golden model ``model`` has coded."""
    names = {how.image for how in (*STREAMS.values(), *PICTURES.values()) if how.model == model}
    images = [read_picture(FOLDER / f"{name}.png") for name in sorted(names)]
    largest = max(images, key=lambda image: image.samples[..., 0].size)
    return np.ascontiguousarray(largest.to_array()[:SIDE, :SIDE])


def _compare(found: Samples, image: Samples, what: str) -> None:
    if not np.array_equal(found, image):
        raise DifferentError(what)


def main() -> None:
    """Check all, and say what ran."""
    files = golden()
    images, digest = encoded()
    exact = ", ".join(sorted({backend for backend, _ in places()}))
    versions = f"torch {torch.__version__}, numpy {np.__version__}, Python {sys.version.split()[0]}"
    print(f"{versions}: {files} golden decodings, {images} round trips, by {exact}; all identical")
    print(f"digest {digest}")


if __name__ == "__main__":
    main()
