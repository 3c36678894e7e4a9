"""Which model codes an image where none is asked for, and what that promises."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelcodec
from picture_kinds import KINDS, Kind
from pictures import noise
from pixelcodec import choice, plan
from pixelcodec.choice import CANDIDATES, PHOTO, Contest, bands_of, candidates
from pixelcodec.container import STANDARD_NAME
from pixelcodec.effort import EFFORTS, Effort
from pixelcodec.errors import ModelError
from pixelcodec.invisible import changed_pixels, discarded
from pixelcodec.models import zoo
from pixelcodec.pictures import Chunk, Picture, Samples, png, read_picture, to_pillow
from pixelcodec.plan import Shape, plans
from pixelcodec.runtime import Compute
from pixelcodec.standard import StandardEncoder, better_size

EXAMPLES = Path(__file__).parents[1] / "examples"
FAST: Any = {"effort": 1}
"""By the smallest model, which does not learn."""

PHOTOGRAPH = read_picture(EXAMPLES / "kodim23.png").samples[100:292, 200:392]
DRAWING = np.kron(noise(12, 12, 3) // 64 * 85, np.ones((16, 16, 1), np.uint8))
TEXT = Chunk(b"tEXt", b"Comment\0what a day")
LATE = Chunk(b"tEXt", b"Comment\0and then", after=True)


def model_of(data: bytes) -> str | None:
    return pixelcodec.inspect(io.BytesIO(data)).model_name


def saved(picture: Picture, format: str, **options: Any) -> int:
    """Bytes of the file that Pillow writes."""
    buffer = io.BytesIO()
    to_pillow(picture).save(buffer, format, **options)
    return len(buffer.getvalue())


# Candidates ---------------------------------------------------------------------------------------


def test_every_kind_of_image_has_its_candidates() -> None:
    assert set(CANDIDATES) == {kind.name for kind in KINDS}
    models = {name for names in CANDIDATES.values() for name in names}
    assert models <= {PHOTO, *zoo.everyday()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pictures_and_shapes_tell_the_same_kind(kind: Kind) -> None:
    picture = kind.picture()
    assert Shape.of(picture).kind == picture.kind == kind.name


@pytest.mark.parametrize("effort", EFFORTS.values(), ids=map(str, EFFORTS))
def test_photographs_have_the_model_of_the_effort(effort: Any) -> None:
    assert candidates("8-bit RGB", effort) == [effort.model, "graphics", STANDARD_NAME]
    assert candidates("bilevel", effort) == [STANDARD_NAME]


# The sample ---------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_sample_is_bands_that_lie_evenly(height: int, width: int) -> None:
    samples = np.broadcast_to(np.arange(height, dtype=np.uint16)[:, None, None], (height, width, 1))
    bands = bands_of(samples)
    if bands.shape[:2] == (1, height):
        assert height * width <= 2**17
        return
    assert bands[..., 0].size <= 2**17
    tops = bands[:, 0, 0, 0].astype(int)
    assert np.ptp(np.diff(tops)) <= 1
    assert abs(tops[0] - (height - bands.shape[1] - tops[-1])) <= 1
    np.testing.assert_array_equal(np.ptp(bands, axis=(1, 2, 3)), bands.shape[1] - 1)


# The choice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "model"),
    [
        (PHOTOGRAPH, "photo-s"),
        (PHOTOGRAPH[..., 1], "photo-s"),
        (np.dstack([PHOTOGRAPH, DRAWING[..., 0]]), "photo-s"),
        (DRAWING, STANDARD_NAME),
        (DRAWING[..., 0], "graphics"),
        (np.dstack([DRAWING, DRAWING[..., 0]]), STANDARD_NAME),
        (noise(40, 50, 3), STANDARD_NAME),
        (PHOTOGRAPH > 99, STANDARD_NAME),
    ],
    ids=["photo", "gray", "with alpha", "drawing", "gray", "with alpha", "noise", "bilevel"],
)
def test_an_image_is_coded_by_what_suits_it(samples: Samples, model: str) -> None:
    samples = samples[..., 0] if samples.dtype == np.bool_ else samples
    data = pixelcodec.encode(samples, **FAST)
    assert model_of(data) == model
    np.testing.assert_array_equal(pixelcodec.decode(data), samples, strict=True)


@pytest.mark.parametrize("samples", [PHOTOGRAPH[:40, :50], DRAWING], ids=["photo", "drawing"])
def test_the_smallest_file_is_taken(samples: Samples) -> None:
    of_models = [
        len(pixelcodec.encode(samples, model=name, **FAST)) for name in ("photo-s", STANDARD_NAME)
    ]
    assert len(pixelcodec.encode(samples, **FAST)) == min(of_models)


@pytest.mark.parametrize("model", [None, "photo-s", "graphics", STANDARD_NAME])
def test_the_smallest_of_several_ways_to_learn_is_taken(model: str | None) -> None:
    ways = Effort("photo-s", learning=2, also_learning=(3, 1, 5))
    samples = PHOTOGRAPH[:48, :60]
    files = [pixelcodec.encode(samples, model=model, effort=way) for way in ways.ways()]
    assert pixelcodec.encode(samples, model=model, effort=ways) == min(files, key=len)
    sizes = set(map(len, files))
    assert len(sizes) > 1 if model in (None, "photo-s") else len(sizes) == 1


def test_at_most_effort_every_model_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contest, "may_beat", lambda self, plan, best, size: False)
    told: list[tuple[int, int]] = []
    effort = Effort("photo-s", learning=1, also_learning=(2,))
    pixelcodec.encode(DRAWING, progress=lambda *call: told.append(call), effort=effort)
    assert told[-1] == (4 * 192**2, 4 * 192**2)  # by photo-s in two ways, graphics, standard


@pytest.mark.parametrize("model", ["photo-s", STANDARD_NAME])
def test_a_model_that_is_asked_for_is_taken(model: str) -> None:
    assert model_of(pixelcodec.encode(PHOTOGRAPH[:16], model=model)) == model
    assert model_of(pixelcodec.encode(DRAWING[:16], model=model)) == model


def test_a_photograph_does_not_wait_for_the_standard_formats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(StandardEncoder, "encode")
    assert model_of(pixelcodec.encode(PHOTOGRAPH, **FAST)) == "photo-s"


def test_a_drawing_does_not_wait_for_a_model() -> None:
    told: list[tuple[int, int]] = []
    pixelcodec.encode(DRAWING, progress=lambda *call: told.append(call), **FAST)
    assert told == [(192**2, 192**2)]


def test_progress_grows_while_several_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contest, "may_beat", lambda self, plan, best, size: True)
    told: list[tuple[int, int]] = []
    pixelcodec.encode(DRAWING, progress=lambda *call: told.append(call), **FAST)
    assert told == sorted(told)
    assert told[-1] == (3 * 192**2, 3 * 192**2)


@pytest.mark.parametrize("samples", [PHOTOGRAPH, DRAWING[:32]], ids=["large", "small"])
def test_what_is_smaller_than_can_be_is_not_beaten(samples: Samples) -> None:
    shape = Shape(samples.shape[1], samples.shape[0], 3, 8)
    contest = Contest(plans(shape, ["photo-s", "standard"], Compute(), None, None, False), samples)
    sizes = range(0, 2 * samples.size, samples.size // 5)
    for each in contest.plans:
        beaten = [contest.may_beat(each, contest.plans[0], size) for size in sizes]
        assert beaten == sorted(beaten)
        assert beaten[-1]
        assert not beaten[0] or not each.engines


@pytest.mark.parametrize(
    ("learning", "standard", "is_asked"),
    [(0, 95, True), (0, 105, False), (2, 105, True), (2, 115, False)],
)
def test_networks_for_graphics_are_not_asked_of_photographs(
    learning: int, standard: int, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"photo-s": 100, "graphics": 1, STANDARD_NAME: standard}
    monkeypatch.setattr(choice, "_size", lambda plan, bands: sizes[plan.model])
    samples = np.tile(PHOTOGRAPH, (3, 2, 1))
    shape = Shape(samples.shape[1], samples.shape[0], 3, 8)
    possible = plans(shape, list(sizes), Compute(), None, None, False, learning)
    assert (Contest(possible, samples).plans[0].model == "graphics") == is_asked


# Never larger -------------------------------------------------------------------------------------


def check_not_larger(picture: Picture) -> None:
    """``picture``: its chunks are a palette and metadata, which cost as much in PNG."""
    data = pixelcodec.encode(picture, **FAST)
    assert pixelcodec.decode_picture(data) == picture
    # The indices of a pixel or two may take some more than their colours.
    excess = len(data) - 64
    assert excess <= len(png.write(picture))
    palette = tuple(chunk for chunk in picture.chunks if chunk.type == b"PLTE")
    metadata = sum(12 + len(chunk.data) for chunk in picture.chunks if chunk not in palette)
    bare = replace(picture, chunks=palette)
    if picture.bit_depth < 16 or picture.channels == 1:
        assert excess <= saved(bare, "PNG", optimize=True) + metadata
    if picture.bit_depth < 16:
        slowest = {"lossless": True, "quality": 100, "method": 6, "exact": True}
        colours = replace(bare.in_colour(), chunks=())
        of_palette = sum(12 + len(chunk.data) for chunk in palette)
        assert excess <= saved(colours, "WEBP", **slowest) + of_palette + metadata + 4 * len(
            palette
        )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("chunks", [(), (TEXT,), (LATE,)], ids=["bare", "text", "late text"])
def test_no_kind_is_larger_than_png_or_webp(kind: Kind, chunks: tuple[Chunk, ...]) -> None:
    check_not_larger(kind.picture(*chunks, height=11, width=13))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_pixel_is_not_larger_than_png_or_webp(kind: Kind) -> None:
    check_not_larger(kind.picture(height=1, width=1))


@pytest.mark.parametrize(
    "samples",
    [DRAWING, DRAWING[..., :1], np.dstack([DRAWING, DRAWING[..., :1]]), PHOTOGRAPH[:24, :40]],
    ids=["drawing", "gray", "with alpha", "photo"],
)
def test_images_are_not_larger_than_png_or_webp(samples: Samples) -> None:
    check_not_larger(Picture(np.ascontiguousarray(samples), 8))


def test_webp_is_judged_by_the_ranks_that_it_would_code() -> None:
    grays = np.random.default_rng(0).permutation(256).astype(np.uint8)
    levels = np.tile(PHOTOGRAPH[..., :1], (1, 2, 1))
    shuffled = np.argsort(grays).astype(np.uint8)[levels]
    shape = Shape(*levels.shape[1::-1], 1, 8, chunks=(Chunk(b"PLTE", grays.repeat(3).tobytes()),))
    how = ["graphics", "standard"], Compute(), None, None, False
    of_shuffled = Contest(plans(shape, *how), shuffled)
    of_levels = Contest(plans(Shape(*levels.shape[1::-1], 1, 8), *how), levels)
    best = of_levels.plans[0]
    assert of_shuffled._least_size(best) == of_levels._least_size(best)


@pytest.mark.parametrize(
    ("samples", "model", "part"),
    [
        (read_picture(EXAMPLES / "kodim23.png").samples, "photo-s", 0.94),
        (np.tile(PHOTOGRAPH // 32, (2, 2, 1)), "photo-s", 0.76),
        (np.tile(DRAWING, (2, 2, 1)), "graphics", 0.34),
    ],
    ids=["dense", "smooth", "drawing"],
)
def test_webp_may_beat_what_takes_more_than_it_might(
    samples: Samples, model: str, part: float
) -> None:
    shape = Shape(samples.shape[1], samples.shape[0], 3, 8)
    contest = Contest(plans(shape, [model, "standard"], Compute(), None, None, False), samples)
    best, standard = sorted(contest.plans, key=lambda plan: plan.model == STANDARD_NAME)
    size = int(part * better_size(samples, 8))
    assert contest.may_beat(standard, best, size)
    assert not contest.may_beat(standard, best, int(0.95 * size))


@pytest.mark.parametrize("model", [None, STANDARD_NAME])
@pytest.mark.parametrize(
    ("how", "strips"), [({}, 1), ({"restart": True}, 2), ({"tile": 10}, 2), ({"strip_rows": 9}, 12)]
)
def test_the_standard_formats_code_all_at_once_unless_strips_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, model: str | None, how: dict[str, Any], strips: int
) -> None:
    monkeypatch.setattr(plan, "STRIP_PIXELS", 2000)
    data = pixelcodec.encode(
        Picture(np.zeros((100, 30, 1), np.uint8), 4), model=model, **how, **FAST
    )
    info = pixelcodec.inspect(io.BytesIO(data))
    assert (info.model_name, len(info.strips)) == (STANDARD_NAME, strips)


# Streams ------------------------------------------------------------------------------------------


def streamed(*rows: Samples, like: Samples | None = None) -> bytes:
    sink = io.BytesIO()
    height = sum(map(len, rows))
    with pixelcodec.stream_writer(sink, 192, height, strip_rows=64, **FAST) as writer:
        if like is not None:
            writer.adapt(like)
        for block in rows:
            writer.write(block)
    found = pixelcodec.decode(sink.getvalue())
    np.testing.assert_array_equal(found, np.concatenate(rows))
    assert writer.header == pixelcodec.stream_reader(io.BytesIO(sink.getvalue())).header
    return sink.getvalue()


def test_the_first_strip_of_a_stream_decides() -> None:
    assert model_of(streamed(PHOTOGRAPH[96:140], PHOTOGRAPH[140:160], DRAWING)) == "photo-s"
    assert model_of(streamed(DRAWING[:40], DRAWING[40:64], PHOTOGRAPH)) == STANDARD_NAME


def test_rows_that_a_stream_is_adapted_to_decide() -> None:
    assert model_of(streamed(DRAWING, like=PHOTOGRAPH)) == "photo-s"
    assert model_of(streamed(PHOTOGRAPH, like=DRAWING)) == STANDARD_NAME


def test_a_stream_of_a_kind_without_models_begins_at_once() -> None:
    sink = io.BytesIO()
    pixelcodec.stream_writer(sink, 5, 4, 1, 1)
    assert len(sink.getvalue()) == 36


# Invisible colours --------------------------------------------------------------------------------


def with_alpha(samples: Samples) -> Samples:
    """Random colours that are invisible in half of the places."""
    alpha = np.where(np.indices(samples.shape[:2]).sum(0) % 32 < 16, 0, samples.max())
    return np.dstack([samples, alpha.astype(samples.dtype)])


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
        elements=st.integers(0, 2),
    )
)
def test_what_is_visible_stays(samples: Samples) -> None:
    before = samples.copy()
    found = discarded(samples)
    np.testing.assert_array_equal(samples, before)
    differs = (found != samples).any(2)
    assert changed_pixels(samples) == differs.sum()
    assert (found[..., -1] == samples[..., -1]).all()
    if samples.shape[2] % 2:
        assert not differs.any()
    else:
        assert (samples[differs, -1] == 0).all()
    np.testing.assert_array_equal(discarded(found), found)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", [None, "photo-s", STANDARD_NAME])
def test_invisible_colours_are_discarded_on_demand_only(channels: int, model: str | None) -> None:
    samples = with_alpha(noise(48, 40, channels))
    kept = pixelcodec.encode(samples, model=model, **FAST)
    np.testing.assert_array_equal(pixelcodec.decode(kept), samples)
    data = pixelcodec.encode(samples, model=model, discard_invisible=True, **FAST)
    np.testing.assert_array_equal(pixelcodec.decode(data), discarded(samples))
    assert len(data) < 0.7 * len(kept)


def test_invisible_colours_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    invisible = pixelcodec.invisible.invisible
    monkeypatch.setattr(
        pixelcodec.invisible, "invisible", lambda rows: seen.append(len(rows)) or invisible(rows)
    )
    pixelcodec.encode(with_alpha(noise(48, 40, 3)), discard_invisible=True, **FAST)
    assert seen == [48]


def test_a_stream_discards_the_same() -> None:
    samples = with_alpha(noise(48, 40, 3))
    encoder = pixelcodec.Encoder(40, 48, 4, discard_invisible=True, strip_rows=7, **FAST)
    pieces = [encoder.write(rows) for rows in np.array_split(samples, 5)]
    found = pixelcodec.decode(b"".join([*pieces, encoder.finish()]))
    np.testing.assert_array_equal(found, discarded(samples))


@pytest.mark.parametrize(("limit", "models"), [(100, ["photo-s", "standard"]), (99, ["photo-s"])])
def test_strips_that_are_too_large_for_png_are_left_to_models(
    monkeypatch: pytest.MonkeyPatch, limit: int, models: list[str]
) -> None:
    monkeypatch.setattr(plan, "PIXELS_MOST", limit)
    shape = Shape.of(Picture(np.zeros((10, 10, 3), np.uint8), 8))
    found = plans(shape, ["photo-s", "standard"], Compute("cpu"), 64, None, restart=False)
    assert [each.model for each in found] == models


def test_where_none_is_left_fewer_rows_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PIXELS_MOST", 99)
    rgba = np.zeros((10, 10, 4), np.uint8)
    with pytest.raises(ModelError, match=r"strips of 64 rows of 10 pixels are too.*fewer"):
        pixelcodec.encode(rgba, model="photo-s", strip_rows=64)
