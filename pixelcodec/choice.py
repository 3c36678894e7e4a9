"""Which model codes an image, where none is asked for: the one by which it takes the fewest bytes.

What a model would make of the image is estimated on a sample of it. So is what PNG or WebP would,
which can always code it instead; a fast WebP of the whole image tells how much of it the sample is,
and what repeats in it. An estimate settles nothing alone where all of the image is at hand:
:class:`Contest` says what is still worth a try once something has coded it.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import inf

import numpy as np

from pixelcodec.container import STANDARD_NAME
from pixelcodec.effort import Effort
from pixelcodec.engine import StripEncoder
from pixelcodec.models.architectures import remembers
from pixelcodec.pictures import Samples
from pixelcodec.plan import Plan
from pixelcodec.standard import better_size, fast_size, good_size, suits_webp
from pixelcodec.strips import applied

PHOTO = "photo"
"""Stands for the model of the effort, which is one for photographs."""

CANDIDATES: dict[str, tuple[str, ...]] = {
    "bilevel": (),
    "2-bit gray": (),
    "4-bit gray": (),
    "8-bit gray": (PHOTO, "graphics", "science-8"),
    "8-bit gray with alpha": (PHOTO, "graphics"),
    "16-bit gray": ("science-16",),
    "16-bit gray with alpha": ("science-16",),
    "1-bit palette": (),
    "2-bit palette": (),
    "4-bit palette": (),
    "8-bit palette": ("graphics",),
    "8-bit RGB": (PHOTO, "graphics"),
    "8-bit RGB with alpha": (PHOTO, "graphics"),
    "16-bit RGB": ("science-16",),
    "16-bit RGB with alpha": ("science-16",),
}
"""Models that may suit an image, by its kind. PNG and WebP are candidates for all."""

SAMPLE_PIXELS = 2**15
"""Of the sample, about: an image of fewer is its own."""

_BANDS = 4
_BAND_ROWS_LEAST = 8
_BAND_PIXELS_MOST = 2**15

_DENSE = 1.5
"""Bits a sample: what WebP takes of photographs that have details all over, at least."""

_SLOWEST_OF_DENSE, _SLOWEST, _SLOWEST_OF_REPEATING = 0.93, 0.75, 1 / 3
"""The part that the slowest WebP takes, at least, of what the better one does: of what is dense, of
other images, and of those that networks for graphics suit, where it may find that all repeats.
Of 32 photographs it was 0.96 at least; of 1,400 graphics 0.37."""

_SURE = 0.85
"""A model takes at least this part of what it is expected to."""

_PHOTOGRAPH = 1.1
"""Where PNG and WebP take so many times what a network for photographs does, or more, networks for
graphics are not asked: on what has no flat pixels they are slow. At effort 1, which is to be quick,
that goes for all images of which PNG and WebP make more."""

_LEARNT = 0.8
"""The part of its estimate that a model takes, about, if it learns from all of the image."""


def candidates(kind: str, effort: Effort) -> list[str]:
    """Names of what may code an image of a ``kind``, as :attr:`pixelcodec.Picture.kind` has it."""
    models = (effort.model if name == PHOTO else name for name in CANDIDATES[kind])
    return [*models, STANDARD_NAME]


class Contest:
    """Plans for one image, and which of them are worth a try.

    Attributes:
        plans: the likeliest first.
    """

    def __init__(self, plans: Sequence[Plan], samples: Samples) -> None:
        """Estimate.

        Args:
            plans: one that uses no model among them.
            samples: of the image, or of as much of it as there is; uint8 or, of 16 bits, uint16
                [rows, width, channels].

        Raises:
            ModelError: a model does not code so many channels.
        """
        plans = [plan.suited(samples) for plan in plans]
        self._bit_depth = plans[0].header.bit_depth
        self._samples = _coded(next((plan for plan in plans if not plan.engines), None), samples)
        self._expected: dict[str, float] = {}
        if len(plans) > 1:
            bands = bands_of(samples)
            self._is_sampled = bands.size < samples.size
            scale = self._fast / fast_size(_joined(bands_of(self._samples)), self._bit_depth)
            self._expected = {
                plan.model: scale * size * (_LEARNT if _learns(plan) else 1)
                for plan, size in self._sizes(plans, bands)
            }
        self.plans = sorted(plans, key=lambda plan: self._expected.get(plan.model, 0))

    def _sizes(self, plans: Sequence[Plan], bands: Samples) -> Iterator[tuple[Plan, float]]:
        """Bytes that ``bands`` take by each plan; infinity where it is plain that it cannot win."""
        quick = [(plan, _size(plan, bands)) for plan in plans if not _remembers(plan)]
        standard = min((size for plan, size in quick if not plan.engines), default=inf)
        model = min((size for plan, size in quick if plan.engines), default=inf)
        least = _PHOTOGRAPH if any(plan.header.learning for plan in plans) else 1
        is_photograph = self._is_sampled and standard > least * model
        yield from quick
        for plan in filter(_remembers, plans):
            yield plan, inf if is_photograph else _size(plan, bands)

    def may_beat(self, plan: Plan, best: Plan, size: int) -> bool:
        """Whether the image may take fewer bytes by ``plan`` than by the ``best`` so far, ``size``.

        Where that took fewer than it was expected to, so may others, unless it learnt to.
        """
        if plan.engines:
            scale = 1 if _learns(best) else min(1, size / self._expected[best.model])
            return _SURE * scale * self._expected[plan.model] < size
        return self._least_size(best) < size

    def _least_size(self, best: Plan) -> float:
        """Bytes that PNG or WebP take at least of an image that suits ``best``."""
        height, width = self._samples.shape[:2]
        if not self._is_sampled or not suits_webp(height, width, self._bit_depth):
            return 0
        better = better_size(self._samples, self._bit_depth)
        if _remembers(best):
            return _SLOWEST_OF_REPEATING * better
        is_dense = 8 * better >= _DENSE * self._samples.size
        return (_SLOWEST_OF_DENSE if is_dense else _SLOWEST) * better

    @cached_property
    def _fast(self) -> int:
        return fast_size(self._samples, self._bit_depth)


def bands_of(samples: Samples) -> Samples:
    """A sample of an image: bands of rows that lie evenly.

    Args:
        samples: [rows, width, channels].

    Returns:
        [bands, rows, width, channels] of some :data:`SAMPLE_PIXELS`, or of all.
    """
    height, width = samples.shape[:2]
    rows = max(_BAND_ROWS_LEAST, SAMPLE_PIXELS // (_BANDS * width))
    rows = min(rows, max(1, _BAND_PIXELS_MOST // width))
    if _BANDS * rows >= height:
        return samples[np.newaxis]
    tops = (np.arange(_BANDS) + 0.5) * (height - rows) / _BANDS
    return np.stack([samples[top : top + rows] for top in tops.astype(int)])


def _learns(plan: Plan) -> bool:
    """Whether it learns more from an image than from the sample."""
    return plan.header.learning > 0 and not _remembers(plan)


def _remembers(plan: Plan) -> bool:
    return any(remembers(engine.network) for engine in plan.engines.values())


def _size(plan: Plan, bands: Samples) -> int:
    """Bytes that ``bands`` take by a plan."""
    header, size = plan.header, 0
    bands = _coded(plan, bands)
    for component in header.components:
        rows = bands[..., component.slice]
        engine = plan.engines.get(component.model_id)
        if engine is None:
            size += good_size(_joined(rows), header.bit_depth)
        else:
            # Side by side, as waves of a single band would have but a few pixels.
            encoder = StripEncoder(engine, header.width, component.channels)
            size += sum(map(len, encoder.encode_side_by_side(rows)))
    return size


def _coded(plan: Plan | None, samples: Samples) -> Samples:
    """What is coded of ``samples`` by a plan, if there is one."""
    if plan is None:
        return samples
    return applied(plan.transform.forward, samples, plan.header.colours)


def _joined(bands: Samples) -> Samples:
    return bands.reshape(-1, *bands.shape[2:])
