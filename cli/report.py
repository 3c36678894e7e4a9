"""The page that ``pixelcodec compare --html`` writes: one file, which needs no other."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from PIL import Image

from pixelcodec.cli import charts
from pixelcodec.cli.heat import COLOURS, Scale, scale_of
from pixelcodec.cli.measuring import RAW, Comparison, Measured, Result, totals, with_ratios
from pixelcodec.cli.rivals import PNG_OPTIMISED, is_ours, short_name
from pixelcodec.cli.tables import bits_per_sample
from pixelcodec.cli.views import webp

_TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Row:
    """What a codec made of an image, or of all."""

    codec: str
    ours: bool
    size: int
    bpsp: float
    ratio: float | None
    encode_seconds: float | None
    decode_seconds: float | None
    smallest: bool


@dataclass(frozen=True)
class Channel:
    """Bits of a channel; ``share`` is that of the image's."""

    name: str
    bits: float
    bpsp: float
    share: float


@dataclass(frozen=True)
class Card:
    """An image with its results.

    ``why_left_out``: which codecs were, and why. ``thumbnail`` and ``heat`` are data URIs,
    ``model`` is whose bits are shown.
    """

    name: str
    shape: str
    why_left_out: str | None
    rows: list[Row]
    width: int
    height: int
    thumbnail: str
    heat: str | None
    model: str | None
    channels: list[Channel]

    @property
    def smallest(self) -> Row | None:
        """The row of fewest bytes; None where no codec took the image."""
        return next((row for row in self.rows if row.smallest), None)


def report(comparison: Comparison) -> str:
    """The page as HTML: ``comparison``, whose images have views."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("pixelcodec.cli").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    )
    images = comparison.images
    maps = [image.view.bits for image in images if image.view and image.view.bits is not None]
    scale = scale_of(maps) if maps else None
    rows = _rows(totals(images), comparison.samples)
    names = short_names([image.path for image in images])
    codecs = {short_name(codec.name): codec.about for codec in comparison.codecs}
    return template.render(
        cards=[_card(name, image, scale) for name, image in zip(names, images, strict=True)],
        totals=[row for row in rows if row.codec != RAW],
        comparison=comparison,
        codecs=codecs,
        megapixels=sum(image.shape[0] * image.shape[1] for image in images) / 1e6,
        findings=_findings(rows),
        scatters=_scatters(rows),
        scale=scale,
        gradient=_gradient(),
        chart=charts,
        ours=next((name for name in codecs if is_ours(name)), None),
    )


def short_names(paths: Sequence[Path]) -> list[str]:
    """Names of files without the folder that all of them are in.

    >>> short_names([Path("a/b/c.png"), Path("a/d.png")])
    ['b/c.png', 'd.png']
    """
    if not paths:
        return []
    try:
        folder = os.path.commonpath([path.absolute().parent for path in paths])
    except ValueError:  # on several drives of Windows
        return [path.name for path in paths]
    return [path.absolute().relative_to(folder).as_posix() for path in paths]


def _rows(results: Sequence[Result], samples: int) -> list[Row]:
    least = min((result.size for result in results if result.codec != RAW), default=0)
    return [
        Row(
            codec=short_name(result.codec),
            ours=is_ours(result.codec),
            size=result.size,
            bpsp=bits_per_sample(result.size, samples),
            ratio=ratio,
            encode_seconds=result.encode_seconds,
            decode_seconds=result.decode_seconds,
            smallest=result.size == least,
        )
        for result, ratio in with_ratios(results)
    ]


def _card(name: str, image: Measured, scale: Scale | None) -> Card:
    view = image.view
    assert view is not None
    heat = None
    if scale is not None and view.bits is not None:
        heat = _data_uri(webp(Image.fromarray(scale.colours(view.bits)), lossless=True))
    height, width, _ = image.shape
    total = sum(view.channel_bits.values())
    return Card(
        name=name,
        shape=image.shape_name,
        why_left_out=image.why_left_out,
        rows=_rows(image.results, image.samples),
        width=view.size[0],
        height=view.size[1],
        thumbnail=_data_uri(view.thumbnail),
        heat=heat,
        model=view.model and Path(view.model).name,
        channels=[
            Channel(channel, bits, bits / (height * width), bits / total)
            for channel, bits in view.channel_bits.items()
        ],
    )


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _gradient() -> str:
    """The colours of the scale, as CSS has them."""
    return ", ".join(f"#{colour.tobytes().hex()}" for colour in COLOURS[::15])


@dataclass(frozen=True)
class Finding:
    """A figure, and what it says."""

    figure: str
    text: str


def _findings(rows: Sequence[Row]) -> list[Finding]:
    """The smallest of this project's codecs against the others, in size and in time."""
    ours = min((row for row in rows if row.ours), key=_size, default=None)
    if ours is None:
        return []
    found = [Finding(f"{ours.bpsp:.3f}", f"bits a sample: {ours.codec}")]
    rivals = [_smallest_of(rows, family) for family in (PNG_OPTIMISED, "WebP", "JPEG XL")]
    for rival in filter(None, rivals):
        change = ours.size / rival.size - 1
        found.append(Finding(f"{abs(change):.1%}", f"{_word(change)} than {rival.codec}"))
    last = next((rival for rival in reversed(rivals) if rival), None)
    if last and last.decode_seconds and ours.decode_seconds:
        times = ours.decode_seconds / last.decode_seconds
        fold = f"{times:,.{0 if times >= 10 else 1}f}-fold"
        found.append(Finding(fold, f"the time of {last.codec} to decode"))
    return found


def _word(change: float) -> str:
    return "smaller" if change < 0 else "larger"


def _smallest_of(rows: Sequence[Row], family: str) -> Row | None:
    return min((row for row in rows if row.codec.startswith(family)), key=_size, default=None)


def _size(row: Row) -> int:
    return row.size


def _scatters(rows: Sequence[Row]) -> list[charts.Scatter]:
    """Bytes against the seconds to encode and to decode, of the codecs that were run."""
    encoding = [(row, row.encode_seconds) for row in rows]
    decoding = [(row, row.decode_seconds) for row in rows]
    return [
        charts.scatter(title, timed)
        for title, pairs in (("Encoding", encoding), ("Decoding", decoding))
        if (timed := [charts.Timed(row.codec, row.ours, row.size, s) for row, s in pairs if s])
    ]
