"""How many bits a network says images hold, and how many their file takes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from pixelcodec import api, coder
from pixelcodec.container import Reader, Start
from pixelcodec.effort import STATIC
from pixelcodec.engine import Engine, StripEncoder
from pixelcodec.models import zoo
from pixelcodec.models.datasets import DATA_SETS
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.program import Samples
from pixelcodec.plan import default_strip_rows
from pixelcodec.progress import Count
from pixelcodec.runtime import Compute, Progress, cpu_threads
from pixelcodec.strips import applied
from pixelcodec.transform import Transform

Integers = npt.NDArray[Any]

Image = npt.NDArray[Any]
"""uint8 [height, width] or [height, width, channels], or bool [height, width]."""

BitMap = npt.NDArray[np.float32]
"""Bits of each sample: [height, width, channels]."""


class Cut(TypedDict, total=False):
    """How an image is cut, as :func:`pixelcodec.encode` takes it, and how models learn."""

    tile: int | None
    strip_rows: int | None
    restart: bool
    learning: int


PAPER = {
    ("mnist", "pixelcnn-1"): 81.30,
    ("mnist", "row-lstm-1"): 80.54,
    ("mnist", "diagonal-bilstm-1"): 79.20,
    ("cifar10", "pixelcnn-1"): 3.14,
    ("cifar10", "row-lstm-1"): 3.07,
    ("cifar10", "diagonal-bilstm-1"): 3.00,
    ("imagenet32", "row-lstm-1"): 3.86,
    ("imagenet64", "row-lstm-1"): 3.63,
}
"""By data set and architecture, "Pixel Recurrent Neural Networks", tables 4 to 6.

Nats an image of binarised MNIST, else bits per dimension.
"""


@dataclass(frozen=True)
class Evaluation:
    """Images under a network.

    Attributes:
        samples: pixels times channels.
        model_bits: information of all samples under the integer network.
        file_bytes: size of the ``.pxc`` file.
    """

    samples: int
    model_bits: float
    file_bytes: int

    @property
    def model_bpsp(self) -> float:
        """Bits of the network for each sample (bits per dimension)."""
        return self.model_bits / self.samples

    @property
    def file_bpsp(self) -> float:
        """Bits of the file for each sample."""
        return 8 * self.file_bytes / self.samples


def evaluate(
    image: Image,
    model: str,
    compute: Compute,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare the bits of ``model`` with those of a real file, for which it stays as it is.

    Args:
        image: uint8 [height, width] or [height, width, 3], or bool [height, width].
        model: name or path, as :func:`pixelcodec.encode` takes it.
        compute: how it runs.
        tile: as :func:`pixelcodec.encode` takes it.
        progress: called with pixels done and pixels in all; each pixel is done twice.

    Raises:
        UnsupportedImageError: the model does not code samples of so many bits.
        ModelError: there is no such model, or it does not code images of so many channels.
        BackendError: the back end or device cannot be used.
    """
    pixels = image.shape[0] * image.shape[1]
    tell = progress or (lambda done, total: None)
    counted = 0

    def count(more: int) -> None:
        nonlocal counted
        counted += more
        tell(pixels + counted // len(parts), 2 * pixels)

    def count_encoded(done: int, _: int) -> None:
        tell(done, 2 * pixels)

    data = api.encode(
        image, model=model, tile=tile, effort=STATIC, progress=count_encoded, **asdict(compute)
    )
    parts, cut = coded_parts(Reader(BytesIO(data)).start, image)
    with compute.running():
        engine = compute.engine(zoo.load(model))
        bits = sum(model_bits(part, engine, count, **cut) for part in parts)
    return Evaluation(image.size, bits, len(data))


def coded_parts(start: Start, image: Image) -> tuple[list[Samples], Cut]:
    """What the model of the colours codes of an image in a file, each by itself, and how.

    Args:
        start: of the file.
        image: as :func:`pixelcodec.decode` gives it.

    Returns:
        [height, width, channels] each: of most images one, of colours of 16 bits three.
    """
    header = start.header
    samples = image.reshape(header.height, header.width, header.channels)
    samples = applied(Transform.of(start).forward, samples, header.colours)
    parts = [
        np.ascontiguousarray(samples[..., component.slice])
        for component in header.components
        if component.model_id == header.model_id
    ]
    cut: Cut = {
        "tile": header.tile,
        "strip_rows": header.strip_rows,
        "restart": header.restart,
        "learning": header.learning,
    }
    return parts, cut


@dataclass(frozen=True)
class DataSetEvaluation:
    """Images of a data set under a network, coded as one file, in the unit of the paper.

    Attributes:
        data: kind of the data set.
        images: count.
        samples: pixels times channels, of all.
        unit: nats an image where samples are of one bit, else bits per dimension.
        model: of the integer network.
        file: of the file.
        file_bytes: its size.
        paper: what the paper reports of this kind of network, on all of the test set.
    """

    data: str
    images: int
    samples: int
    unit: str
    model: float
    file: float
    file_bytes: int
    paper: float | None

    @property
    def scale(self) -> float:
        """What bits of all images are multiplied by."""
        return self.file / (8 * self.file_bytes)


def evaluate_data_set(
    kind: str,
    images: Samples,
    model: str,
    compute: Compute,
    progress: Progress | None = None,
) -> DataSetEvaluation:
    """Compare the bits of ``model`` on small images with those of a file that holds all of them.

    Args:
        kind: of the data set, see :mod:`pixelcodec.models.datasets`.
        images: uint8 [n, side, side, channels] of its test set.
        model: as :func:`evaluate` takes it, like all that follow.
        compute: likewise.
        progress: likewise.

    Raises:
        UnsupportedImageError: as :func:`evaluate`.
        ModelError: as :func:`evaluate`.
        BackendError: as :func:`evaluate`.
    """
    binary = DATA_SETS[kind].bit_depth == 1
    page = page_of(images, binary)
    found = evaluate(page, model, compute, images.shape[1], progress)
    scale = math.log(2) / len(images) if binary else 1 / images.size
    return DataSetEvaluation(
        data=kind,
        images=len(images),
        samples=images.size,
        unit="nats an image" if binary else "bits per dimension",
        model=found.model_bits * scale,
        file=8 * found.file_bytes * scale,
        file_bytes=found.file_bytes,
        paper=PAPER.get((kind, zoo.load(model).architecture)),
    )


def page_of(images: Samples, binary: bool) -> Image:
    """All ``images``, as :func:`evaluate_data_set` takes them, as one that can be encoded."""
    page = mosaic_of(images)
    page = page[..., 0] if page.shape[2] == 1 else page
    return page.astype(np.bool_) if binary else page


def model_bits(
    image: Image,
    engine: Engine,
    progress: Count = lambda pixels: None,
    **cut: Unpack[Cut],
) -> float:
    """Information of ``image`` in bits under the integer network, exact to a millionth.

    Args:
        image: as :func:`evaluate` takes it.
        engine: the network.
        progress: told of finished pixels.
        cut: as :func:`pixelcodec.encode` takes it.
    """
    return sum(float(bits.sum()) for _, _, bits in _parts(image, engine, progress, **cut))


def bit_map(
    image: Image,
    engine: Engine,
    progress: Count = lambda pixels: None,
    threads: int | None = None,
    **cut: Unpack[Cut],
) -> BitMap:
    """Where the bits of ``image`` go: the information of each sample under the integer network.

    The sum is that of :func:`model_bits`, which the arguments are those of.

    Args:
        image: as :func:`evaluate` takes it.
        engine: the network.
        progress: told of finished pixels.
        threads: as :func:`pixelcodec.encode` takes it.
        cut: likewise.

    Returns:
        float32 [height, width, channels], bits, none negative.

    Raises:
        ModelError: the model does not code images of so many channels.
    """
    height, width = image.shape[:2]
    found = np.zeros((height, width, image.size // (height * width)), np.float32)
    with cpu_threads(threads):
        for rows, samples, bits in _parts(image, engine, progress, **cut):
            strip = found[rows]
            strip += np.bincount(samples, bits, strip.size).reshape(strip.shape)
    return found


def _parts(
    image: Image, engine: Engine, progress: Count, **cut: Unpack[Cut]
) -> Iterator[tuple[slice, Integers, Integers]]:
    """The choices of ``image``, part by part.

    Yields:
        Rows of the strip; for each choice the sample of the strip that it is about, int64 [n],
        and its information in bits, float64 [n].
    """
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)
    samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    program, tile, strip_rows = engine.program, cut.get("tile"), cut.get("strip_rows")
    side = program.tile if tile is None else tile
    encoder = StripEncoder(
        engine, width, samples.shape[2], cut.get("restart", False), side, cut.get("learning", 0)
    )
    if strip_rows is None:
        unit = side or engine.coarsest_step
        strip_rows = default_strip_rows(height, width, unit, program.bit_depth)
    for top in range(0, height, strip_rows):
        rows = slice(top, min(top + strip_rows, height))
        parts = zip(
            encoder.coded_samples(rows.stop - top),
            encoder.choices(samples[rows], progress),
            strict=True,
        )
        for coded, choices in parts:
            frequencies = choices[:, 1].astype(np.float64) + 1
            yield rows, coded, coder.PRECISION - np.log2(frequencies)


def held_out_bpsp(network: IntegerNetwork, stacks: Sequence[Image]) -> float:
    """Bits a sample of ``stacks`` of images, uint8 [n, height, width, channels], each by itself."""
    engine = Engine(network)
    bits = sum(
        model_bits(mosaic_of(stack), engine, tile=stack.shape[1] if len(stack) > 1 else None)
        for stack in stacks
    )
    return bits / sum(stack.size for stack in stacks)


def mosaic_of(images: Image) -> Image:
    """Images [n, height, width, channels] as one, without a gap: [rows, columns, channels].

    The mosaic is as wide as it can be and not wider than high, counted in images.
    """
    count, height, width, channels = images.shape
    across = max(n for n in range(1, math.isqrt(count) + 1) if count % n == 0)
    grid = images.reshape(count // across, across, height, width, channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid).reshape(-1, across * width, channels)
