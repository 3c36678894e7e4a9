"""Images that a network draws, and images that it completes.

It is decoding with dice in place of a file: the same walk over the pixels, which computes nothing
twice, and the same exact distributions ("Pixel Recurrent Neural Networks", figures 1 and 7 to 9).
A network is causal: it completes an image from what lies above and to the left, and knows nothing
of what lies below.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelcodec import exact
from pixelcodec.api import as_picture
from pixelcodec.coder import BRANCHES, sample_type
from pixelcodec.engine import Engine, Places, StripCoder
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.models import zoo
from pixelcodec.models.program import Distribution, Program, floor_of
from pixelcodec.pictures import Picture
from pixelcodec.plan import check_bit_depth
from pixelcodec.runtime import Progress, cpu_threads, make_engine, pixel_counter
from pixelcodec.schedule import stacks

Mask = npt.NDArray[np.bool_]
Samples = npt.NDArray[Any]
"""uint8, of 16 bits uint16."""

Images = npt.NDArray[Any]
"""uint8, or bool where samples are of one bit."""

Floats = npt.NDArray[np.float64]
Given = npt.NDArray[np.int32]
"""Samples that are given, and :data:`DRAWN`, of an image or of many."""

DRAWN = -1
"""In place of a sample that is to be drawn."""

STACK_PIXELS = 2**18
"""About so many pixels are drawn side by side: it bounds memory, and does not show."""

GAP = 2
"""Pixels between the images of a grid."""

GRAY = 128
"""What gaps are filled with, and holes."""


def sample(
    model: str,
    count: int = 1,
    size: tuple[int, int] | None = None,
    *,
    channels: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
) -> Images:
    """Draw images from a model.

    Args:
        model: name of an installed model, or path of a ``.safetensors`` file.
        count: of images. Each has dice of its own: the first few of many are those of few.
        size: height and width; by default :func:`default_size` of the model.
        channels: 1 or 3; by default the most that the model codes.
        temperature: 0 or more; probabilities are taken to the power of its inverse. 1 draws from
            the distributions that files are coded with, 0 takes the likeliest level.
        seed: of the dice, 0 or more.
        device: as :func:`pixelcodec.encode` takes it; it does not change the result.
        threads: likewise.
        backend: likewise.
        progress: called with pixels done and pixels in all.

    Returns:
        uint8 [count, height, width] or [count, height, width, 3]; bool where the model's samples
        are of one bit, uint16 where they are of 16. They depend on model, size, channels,
        temperature and seed alone.

    Raises:
        ModelError: there is no such model, or it codes no images of so many channels.
        BackendError: the back end or device cannot be used.
        ValueError: another argument is out of its range.
    """
    with cpu_threads(threads):
        engine = make_engine(zoo.load(model), backend, device)
        height, width = size or default_size(engine.program)
        if min(count, height, width) < 1:
            raise ValueError(f"{count} images of {width} x {height} pixels: all must be 1 or more")
        channels = channels or max(engine.program.channels)
        given = np.full((height, width, channels), DRAWN, np.int32)
        return fill(engine, given, count, temperature, seed, progress)


def complete(
    image: Images | Picture | Image.Image,
    mask: Mask,
    model: str,
    count: int = 1,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
) -> Images:
    """Draw part of an image anew.

    Args:
        image: as :func:`pixelcodec.encode` takes it.
        mask: bool [height, width], where to draw; :func:`half` makes those of the paper.
        model: as :func:`sample` takes it, like all that follow.
        count: of completions.
        temperature: likewise.
        seed: likewise.
        device: likewise.
        threads: likewise.
        backend: likewise.
        progress: likewise.

    Returns:
        [count, ...]: copies of the image in which the pixels of ``mask`` are drawn.

    Raises:
        UnsupportedImageError: the image is of another kind than the model codes, or the mask is
            not of its size.
        ModelError: as :func:`sample`.
        BackendError: as :func:`sample`.
        ValueError: as :func:`sample`.
    """
    picture = as_picture(image)
    if picture.is_palette:
        raise UnsupportedImageError("a palette image: models draw colours, not indices")
    shape = picture.samples.shape[:2]
    if mask.shape != shape or mask.dtype != np.bool_:
        raise UnsupportedImageError(
            f"a mask of {mask.dtype} {mask.shape}; the image needs bool {shape}"
        )
    if count < 1:
        raise ValueError(f"{count} images: there must be 1 or more")
    with cpu_threads(threads):
        engine = make_engine(zoo.load(model), backend, device)
        check_bit_depth(picture.bit_depth, engine.program.bit_depth, model)
        given = picture.samples.astype(np.int32)
        given[mask] = DRAWN
        return fill(engine, given, count, temperature, seed, progress)


def default_size(program: Program) -> tuple[int, int]:
    """Height and width of what a model draws: of its tiles, or of images that many have."""
    side = program.tile or (28 if program.bit_depth == 1 else 32)
    return side, side


HALVES: dict[str, Callable[[int, int], tuple[slice, slice]]] = {
    "lower": lambda height, width: (slice(height // 2, None), slice(None)),
    "right": lambda height, width: (slice(None), slice(width // 2, None)),
    "left": lambda height, width: (slice(None), slice(-(-width // 2))),
    "upper": lambda height, width: (slice(-(-height // 2)), slice(None)),
}
"""Where half an image lies, by name."""


def half(name: str, height: int, width: int) -> Mask:
    """The mask of a half of :data:`HALVES`: bool [height, width]; it has the middle row or column.

    >>> half("lower", 3, 2).astype(int).tolist()
    [[0, 0], [1, 1], [1, 1]]
    """
    mask = np.zeros((height, width), np.bool_)
    mask[HALVES[name](height, width)] = True
    return mask


def with_hole(image: Images, mask: Mask) -> Samples:
    """A copy of ``image`` to be looked at, gray where ``mask`` says: uint8, the same shape."""
    shown = as_bytes(image).copy()
    shown[mask] = GRAY
    return shown


def grid(images: Images, columns: int) -> Samples:
    """All images in one, to be looked at: row by row, with gray between them.

    Args:
        images: [count, height, width, ...], uint8, or bool, which become 0 and 255.
        columns: images in a row, 1 or more.

    Returns:
        uint8 [rows, columns, ...].
    """
    count, height, width = images.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    high, wide = height + GAP, width + GAP
    shape = (rows * high - GAP, columns * wide - GAP, *images.shape[3:])
    page = np.full(shape, GRAY, np.uint8)
    for number, image in enumerate(as_bytes(images)):
        top, left = number // columns * high, number % columns * wide
        page[top : top + height, left : left + width] = image
    return page


def as_bytes(images: Images) -> Samples:
    """Samples of one bit as 0 and 255, of 16 bits their high bytes; others as they are."""
    if images.dtype == np.uint16:
        return (images >> 8).astype(np.uint8)
    return images.astype(np.uint8) * 255 if images.dtype == np.bool_ else images


def fill(
    engine: Engine,
    given: Given,
    count: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Images:
    """Draw the samples that ``given`` [height, width, channels] lacks.

    Args:
        engine: the network.
        given: samples, and :data:`DRAWN` where there are none.
        count: of images to make of it, each with dice of its own.
        temperature: as :func:`sample` takes it.
        seed: likewise.
        progress: likewise.

    Returns:
        As :func:`sample`.

    Raises:
        ModelError: the network codes no images of so many channels.
        ValueError: the temperature is out of its range.
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"a temperature of {temperature}; it must be 0 or more, and finite")
    program, (height, width, channels) = engine.program, given.shape
    coder = StripCoder(engine, width, channels, restart=True)
    finished = pixel_counter(progress, count * height * width)
    together = max(1, _pixels_together(program.bit_depth, temperature) // (height * width))
    dtype = sample_type(program.bit_depth)
    drawn = np.empty((count, *given.shape), dtype)
    with exact.undisturbed(engine.device):
        for first in range(0, count, together):
            part = drawn[first : first + together]
            known = np.broadcast_to(given, part.shape)
            thrown = np.stack([dice(seed, first + i, given.shape) for i in range(len(part))])
            for stack in stacks(height, width, program.tile):
                where = (slice(None), *stack.index)
                shape = (-1, stack.rows, stack.width, channels)
                tiles, throws = known[where].reshape(shape), thrown[where].reshape(shape)
                found = np.zeros(tiles.shape, dtype)
                for scale in coder.scales:
                    own, dice_of_own = scale.of(tiles), scale.of(throws)
                    choose = _Choice(program.bit_depth, temperature, own, dice_of_own)
                    scale.walk(scale.of(found), choose, finished)
                part[where] = found.reshape(part[where].shape)
    images: Images = drawn.view(np.bool_) if program.bit_depth == 1 else drawn
    return images[..., 0] if channels == 1 else images


def _pixels_together(bit_depth: int, temperature: float) -> int:
    """Fewer where a pixel takes a table of 65,536 masses."""
    return STACK_PIXELS >> 8 if bit_depth == 16 and temperature != 1 else STACK_PIXELS


def dice(seed: int, image: int, shape: tuple[int, ...]) -> Floats:
    """What chance decides of an image, however it is drawn: float64, 0 or more and below 1."""
    return np.random.Generator(np.random.PCG64([seed, image])).random(shape)


@dataclass(frozen=True)
class _Choice:
    """Chooses the samples of a stack of images, [images, rows, width, channels]."""

    bit_depth: int
    temperature: float
    given: Given
    dice: Floats

    def __call__(self, distribution: Distribution, places: Places, channel: int) -> Samples:
        y, x = places
        given = self.given[:, y, x, channel].ravel()
        dice = self.dice[:, y, x, channel].ravel()
        drawn = draw(distribution, dice, 1 << self.bit_depth, self.temperature)
        return np.where(given == DRAWN, drawn, given).astype(drawn.dtype)


def draw(
    distribution: Distribution, dice: Floats, levels: int, temperature: float = 1.0
) -> Samples:
    """Draw samples by inversion of their cumulative distributions.

    Args:
        distribution: of n samples.
        dice: float64 [n], 0 or more and below 1.
        levels: of a sample.
        temperature: see :func:`sample`. At 0 and 1 all masses are whole numbers, exact.

    Returns:
        uint8, of 16 bits uint16 [n].
    """
    bit_depth = levels.bit_length() - 1
    if temperature == 1:
        return _inverted(distribution, dice, levels)
    edges = np.tile(np.arange(levels + 1, dtype=np.int32), (len(dice), 1))
    masses = np.diff(distribution.cumulative(edges)).astype(np.float64) + floor_of(bit_depth)
    dtype = sample_type(bit_depth)
    if temperature == 0:
        likeliest: Samples = masses.argmax(1).astype(dtype)
        return likeliest
    ends = ((masses / masses.max(1, keepdims=True)) ** (1 / temperature)).cumsum(1)
    passed = (ends <= (dice * ends[:, -1])[:, None]).sum(1)
    drawn: Samples = np.minimum(passed, levels - 1).astype(dtype)
    return drawn


def _inverted(distribution: Distribution, dice: Floats, levels: int) -> Samples:
    """The samples below which there is no more mass than the dice say, found digit by digit."""
    bit_depth = levels.bit_length() - 1

    def mass_below(edges: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        return distribution.cumulative(edges).astype(np.int64) + edges * floor_of(bit_depth)

    drawn = np.zeros((len(dice), 1), np.int32)
    lowest, whole = mass_below(np.tile(np.array([0, levels], np.int32), (len(dice), 1))).T
    thrown = np.minimum(
        dice * (whole - lowest), whole - lowest - 0.5
    )  # a product may be rounded up
    for stride in _strides(levels):
        ends = np.minimum(drawn + stride * np.arange(1, BRANCHES, dtype=np.int32), levels)
        passed = mass_below(ends) - lowest[:, None] <= thrown[:, None]
        drawn += stride * passed.sum(1, dtype=np.int32)[:, None]
    return drawn[:, 0].astype(sample_type(bit_depth))


def _strides(levels: int) -> Iterator[int]:
    """Of digits that make any of so many levels, the largest first."""
    if levels > BRANCHES:
        for stride in _strides(-(-levels // BRANCHES)):
            yield BRANCHES * stride
    yield 1
