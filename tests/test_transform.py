"""Samples before they are coded: planes and ranks of levels of 16 bits, and ranks of indices."""

import io
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import pictures
import pixelcodec
import reference_decoder as reference
from coding import ignore
from golden.make import FOLDER
from pixelcodec import Picture, metadata
from pixelcodec.cli.heat import bits_in
from pixelcodec.container import (
    BLUE_LESS_GREEN,
    PLANES,
    RED_LESS_GREEN,
    SEPARATE,
    STANDARD,
    Header,
    Reader,
    Start,
    Writer,
)
from pixelcodec.engine import Engine
from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.levels import Levels
from pixelcodec.models import zoo
from pixelcodec.models.zoo import load_file
from pixelcodec.palette_order import PaletteOrder
from pixelcodec.pictures import Chunk, Samples
from pixelcodec.stream import crc_of
from pixelcodec.strips import ImageDecoder, ImageEncoder
from pixelcodec.transform import Transform, suited

GRAY = FOLDER / "gray-16.safetensors"
BOTH = SEPARATE | RED_LESS_GREEN | BLUE_LESS_GREEN


def scene(height: int, width: int, channels: int = 3) -> Samples:
    """Colours of 16 bits that rise and fall together, with noise, [height, width, channels]."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width][..., None]
    light = 30000 + 9000 * np.sin(x / 5) + 11000 * np.cos(y / 7)
    common = random.normal(0, 800, (height, width, 1))
    own = random.normal(0, 30, (height, width, channels))
    return (light + common + own).clip(0, 65535).astype(np.uint16)


# Planes ------------------------------------------------------------------------------------------

COLOURS = arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))


@given(samples=COLOURS, planes=st.sampled_from((0, *PLANES)), by_ranks=st.booleans())
def test_what_was_transformed_is_given_back(samples: Samples, planes: int, by_ranks: bool) -> None:
    transform = Transform(planes, Levels.of(samples) if by_ranks else None)
    before = samples.copy()
    coded = transform.forward(samples)
    assert np.array_equal(samples, before)
    assert np.array_equal(transform.back(coded), before)


def test_differences_are_around_the_middle() -> None:
    grays = np.full((2, 2, 3), 65535, np.uint16)
    assert Transform(BOTH).forward(grays).ravel().tolist() == 4 * [32768, 65535, 32768]
    assert Transform(SEPARATE).forward(grays).tolist() == grays.tolist()


@pytest.mark.parametrize("planes", PLANES)
def test_a_colour_is_less_green_where_that_leaves_less(planes: int) -> None:
    samples = scene(40, 50)
    other = np.random.default_rng(2).normal(20000, 20, samples.shape[:2]).astype(np.uint16)
    for channel, flag in ((0, RED_LESS_GREEN), (2, BLUE_LESS_GREEN)):
        if not planes & flag:
            samples[..., channel] = other
    assert suited(samples, BOTH, is_whole=False).planes == planes
    assert suited(samples, 0, is_whole=False).planes == 0


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2).map(lambda shape: (*shape, 3))))
def test_images_of_any_size_are_judged(samples: Samples) -> None:
    assert suited(samples, BOTH, is_whole=True).planes in PLANES


# Levels ------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 65535), min_size=1, max_size=300))
def test_levels_are_told(used: set[int]) -> None:
    samples = np.array(sorted(used), np.uint16)
    found = Levels.unpack(Levels.of(samples).pack())
    assert found.ranks(samples).tolist() == list(range(len(found))) == list(range(len(used)))
    assert np.array_equal(found.samples(found.ranks(samples)), samples)


def test_all_levels_can_be_used() -> None:
    samples = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(Levels.unpack(Levels.of(samples).pack()).ranks(samples), samples)


def test_what_is_not_used_has_no_rank() -> None:
    levels = Levels.of(np.array([3, 9], np.uint16))
    with pytest.raises(ValueError, match="a level that the image was said not to use"):
        levels.ranks(np.array([3, 4], np.uint16))
    with pytest.raises(FormatError, match="beyond the 2 of the file"):
        levels.samples(np.array([1, 2], np.uint16))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zlib stream",
        zlib.compress(bytes(8192)),
        zlib.compress(bytes([1] * 8191)),
        zlib.compress(bytes([1] * 8193)),
        zlib.compress(bytes([1] * 2**24)),
        zlib.compress(bytes([1] * 8192)) + b"x",
        zlib.compress(bytes([1] * 8192))[:-1],
    ],
)
def test_damaged_levels_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"^damaged: the levels"):
        Levels.unpack(data)


@pytest.mark.parametrize("scale", [1, 16, 257])
def test_levels_are_told_where_that_pays(scale: int) -> None:
    samples = scene(60, 80)[..., :1] // 257 * scale
    found = suited(samples, 0, is_whole=True)
    assert (found.ranking is not None) == (scale > 1)
    assert suited(samples, 0, is_whole=False).ranking is None


# In a file ---------------------------------------------------------------------------------------


def header_of(samples: Samples, planes: int, **fields: Any) -> Header:
    height, width, channels = samples.shape
    alpha = {"alpha_id": STANDARD} if channels in (2, 4) else {}
    known = {"strip_rows": 9, "model_id": load_file(GRAY).model_id, "planes": planes}
    return Header(width, height, channels, 16, **{**known, **alpha, **fields})


@pytest.mark.parametrize("planes", PLANES)
def test_the_header_tells_the_planes(planes: int) -> None:
    header = header_of(scene(4, 5), planes)
    stream = io.BytesIO()
    Writer(stream, header)
    assert reference.read_header(stream.getvalue()).planes == planes
    with pytest.raises(FormatError, match="strip 1 of 1 is missing"):
        list(Reader(io.BytesIO(stream.getvalue())))


@pytest.mark.parametrize(
    "fields",
    [
        {"planes": 2},
        {"planes": 9},
        {"bit_depth": 8},
        {"channels": 1},
        {"model_id": STANDARD},
        {"channels": 4},
        {"channels": 2, "alpha_id": STANDARD},
    ],
    ids=str,
)
def test_planes_are_of_colours_of_16_bits_by_a_model(fields: dict[str, Any]) -> None:
    known = {"width": 5, "height": 4, "channels": 3, "bit_depth": 16, "strip_rows": 4}
    known |= {"model_id": bytes(range(8)), "planes": 7}
    Header(**known)
    with pytest.raises(ValueError, match=r"^planes "):
        Header(**{**known, **fields})


@pytest.mark.parametrize("learning", [0, 2])
@pytest.mark.parametrize("by_ranks", [False, True])
@pytest.mark.parametrize(
    ("channels", "planes"), [(1, 0), (2, 0), *product((3, 4), PLANES)], ids=str
)
def test_the_reference_decodes_the_same(
    planes: int, channels: int, by_ranks: bool, learning: int
) -> None:
    samples = scene(13, 17, channels)
    levels = Levels.of(samples[..., : channels - 1 + channels % 2]).pack() if by_ranks else b""
    header = header_of(samples, planes, learning=learning)
    network = load_file(GRAY)
    engines = {network.model_id: Engine(network)}
    transform = Transform.of(Start(header, b"", b"", levels))
    encoder, stream = ImageEncoder(header, engines, transform), io.BytesIO()
    writer = Writer(stream, header, levels=levels)
    strips = [encoder.encode(samples[top : top + 9], ignore) for top in (0, 9)]
    for parts in strips:
        writer.strip(*parts)
    writer.close(crc_of(samples))

    expected = samples[..., 0] if channels == 1 else samples
    assert np.array_equal(reference.decode(stream.getvalue(), GRAY), expected)
    start = Reader(io.BytesIO(stream.getvalue())).start
    assert (start.header, start.levels) == (header, levels)
    decoder = ImageDecoder(start, engines)
    assert decoder.parts == channels
    found = [decoder.decode(*strip, ignore) for strip in zip(strips, (9, 4), strict=True)]
    assert np.array_equal(np.concatenate(found), samples)


# By the public functions -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "how", [{}, {"effort": 1}, {"strip_rows": 6, "restart": True}, {"tile": 8}], ids=str
)
def test_images_come_back(channels: int, how: dict[str, Any]) -> None:
    samples = scene(21, 30, channels)
    data = pixelcodec.encode(samples, model=str(GRAY), verify=True, **how)
    assert np.array_equal(pixelcodec.decode(data, model=str(GRAY)), samples)
    region = pixelcodec.decode(data, model=str(GRAY), region=(3, 10, 9, 8))
    assert np.array_equal(region, samples[10:18, 3:12])
    assert Reader(io.BytesIO(data)).header.planes == BOTH


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_few_levels_come_back(channels: int) -> None:
    samples = scene(40, 50, channels) // 257 * 257
    image = samples[..., 0] if channels == 1 else samples
    data = pixelcodec.encode(image, model=str(GRAY), strip_rows=8, restart=True)
    assert pixelcodec.inspect(data).levels_bytes > 0
    assert np.array_equal(pixelcodec.decode(data, model=str(GRAY)), image)
    damaged = data[:-40] + b"!!" + data[-38:]
    assert pixelcodec.salvage(damaged, model=str(GRAY)).lost == (range(32, 40),)


def test_a_file_whose_levels_are_damaged_is_lost() -> None:
    data = bytearray(pixelcodec.encode(scene(40, 50)[..., 0] // 257 * 257, model=str(GRAY)))
    data[data.index(b"L", 36) + 9] ^= 1
    with pytest.raises(FormatError, match="CRC mismatch in the levels"):
        pixelcodec.decode(data, model=str(GRAY))
    with pytest.raises(FormatError, match="the levels are damaged: no strip can be decoded"):
        pixelcodec.salvage(data, model=str(GRAY))


@pytest.mark.parametrize("read", [pixelcodec.decode, pixelcodec.salvage, pixelcodec.inspect])
def test_only_16_bits_by_a_model_have_levels(read: Callable[[bytes], object]) -> None:
    head = bytearray(pixelcodec.encode(scene(9, 7)[..., 0], model="standard"))
    head[10] |= 0x80
    head[32:36] = zlib.crc32(head[:32]).to_bytes(4, "little")
    with pytest.raises(FormatError, match="levels follow, of what has none"):
        read(bytes(head))


def test_rows_of_other_levels_than_told_are_refused() -> None:
    samples = scene(40, 50)[..., 0] // 257 * 257
    writer = pixelcodec.stream_writer(io.BytesIO(), 50, 40, 1, 16, model=str(GRAY))
    writer.adapt(samples)
    with pytest.raises(ValueError, match="a level that the image was said not to use"):
        writer.write(samples + np.uint16(1))


def test_streams_look_at_their_first_strip() -> None:
    samples = scene(24, 16)
    samples[..., 2] = 5
    encoder = pixelcodec.Encoder(16, 24, 3, 16, model=str(GRAY), strip_rows=8)
    data = b"".join([encoder.write(samples[:5]), encoder.write(samples[5:]), encoder.finish()])
    assert Reader(io.BytesIO(data)).header.planes == SEPARATE | RED_LESS_GREEN
    assert np.array_equal(pixelcodec.decode(data, model=str(GRAY)), samples)


def test_what_of_16_bits_looks_like_a_photograph_is_coded_by_a_model() -> None:
    samples = scene(96, 96)
    data = pixelcodec.encode(samples)
    assert pixelcodec.inspect(data).model_name == "science-16"
    assert len(data) < 0.8 * len(pixelcodec.encode(samples, model="standard"))


def test_a_map_has_all_bits_of_the_planes() -> None:
    samples = scene(32, 40, 4) // 16 * 16
    data = pixelcodec.encode(samples, model=str(GRAY))
    reader = Reader(io.BytesIO(data))
    compute: Any = {"device": "cpu", "threads": None, "backend": None}
    bits, name = bits_in(reader.start, samples, str(GRAY), compute, None)
    *parts, _ = [part.payload for part in reader]
    assert (bits.shape, Path(name)) == ((32, 40, 3), GRAY)
    sums = bits.sum((0, 1), dtype="f8") / 8
    assert sums == pytest.approx([len(part) for part in parts], abs=8)


def test_pictures_with_metadata_come_back() -> None:
    chunk = pixelcodec.pictures.Chunk(b"tEXt", b"Title\0planes", after=True)
    picture = Picture(scene(20, 20), 16, (chunk,))
    data = pixelcodec.encode(picture, model=str(GRAY))
    assert pixelcodec.decode_picture(data, model=str(GRAY)) == picture


# Palettes -----------------------------------------------------------------------------------------

PALETTES = st.lists(st.integers(0, 3), min_size=3, max_size=60).map(
    lambda values: bytes(values[: len(values) // 3 * 3])
)


@given(PALETTES, st.binary(max_size=25), arrays(np.uint8, (3, 5, 1)))
def test_indices_come_back_from_their_ranks(
    palette: bytes, transparent: bytes, samples: Samples
) -> None:
    chunks = Chunk(b"PLTE", palette), Chunk(b"tRNS", transparent)
    order = PaletteOrder(chunks)
    np.testing.assert_array_equal(order.samples(order.ranks(samples)), samples, strict=True)
    by_reference = reference.palette_order(
        [reference.MetadataChunk(chunk.type, chunk.data, after=False) for chunk in chunks]
    )
    indices = np.arange(256, dtype=np.uint8)
    assert order.samples(indices).tolist() == by_reference


def test_near_ranks_are_near_colours() -> None:
    grays = np.random.default_rng(0).permutation(256).astype(np.uint8)
    order = PaletteOrder([Chunk(b"PLTE", grays.repeat(3).tobytes())])
    assert grays[order.samples(np.arange(256, dtype=np.uint8))].tolist() == list(range(256))


def shuffled() -> Picture:
    """A drawing whose colours stand in no order in its palette."""
    grays = np.random.default_rng(0).permutation(256).astype(np.uint8)
    levels = pictures.scene(96, 96) // 4 * 4
    return Picture(
        np.argsort(grays).astype(np.uint8)[levels][..., None],
        8,
        (Chunk(b"PLTE", grays.repeat(3).tobytes()),),
    )


@pytest.mark.parametrize(("model", "part"), [("graphics", 0.85), ("standard", 1.0)])
def test_the_order_of_a_palette_costs_nothing(model: str, part: float) -> None:
    picture = shuffled()
    data = pixelcodec.encode(picture, model=model, effort=1)
    assert pixelcodec.decode_picture(data) == picture
    unordered = pixelcodec.encode(picture.samples[..., 0], model=model, effort=1)
    assert len(data) < part * len(unordered) + len(metadata.pack(picture.chunks))


@pytest.mark.parametrize("model", ["graphics", "standard"])
def test_parts_of_a_palette_image_come_back(model: str) -> None:
    picture = shuffled()
    data = pixelcodec.encode(picture, model=model, effort=1, strip_rows=40, restart=True)
    part = pixelcodec.decode_picture(data, region=(5, 30, 60, 50))
    np.testing.assert_array_equal(part.samples, picture.samples[30:80, 5:65])
    assert part.chunks == picture.chunks
    assert pixelcodec.decode_picture(data, jobs=2) == picture
    lost = bytearray(data)
    lost[len(data) // 2] ^= 1  # in one of three strips
    found = pixelcodec.salvage(bytes(lost))
    (rows,) = found.lost
    kept = [y for y in range(96) if y not in rows]
    assert len(kept) >= 40
    np.testing.assert_array_equal(found.picture.samples[kept], picture.samples[kept])
    whole = pixelcodec.encode(picture, model=model, effort=1)
    decoder = pixelcodec.Decoder()
    found = [rows for at in range(0, len(whole), 99) for rows in decoder.write(whole[at : at + 99])]
    np.testing.assert_array_equal(np.concatenate(found), picture.samples[..., 0])


def test_what_is_transparent_counts_wherever_it_stands() -> None:
    picture = shuffled()
    fading = Chunk(b"tRNS", bytes(range(250, 150, -1)), after=True)
    again = Chunk(b"tRNS", bytes(9), after=True)
    picture = replace(picture, chunks=(*picture.chunks, fading, again))
    data = pixelcodec.encode(picture, model="graphics", effort=1)
    assert pixelcodec.decode_picture(data) == picture
    found = reference.decode(data, Path(zoo.__file__).parent / "graphics.safetensors")
    np.testing.assert_array_equal(found, picture.samples[..., 0])


@pytest.mark.parametrize("size", [0, 2, 257 * 3])
def test_a_palette_that_is_none_is_refused_before_anything_is_written(size: int) -> None:
    stream = io.BytesIO()
    with pytest.raises(UnsupportedImageError, match="a palette"):
        pixelcodec.stream_writer(stream, 4, 4, 1, 8, chunks=[Chunk(b"PLTE", bytes(size))])
    assert stream.getvalue() == b""


def test_many_chunks_are_not_gone_through_for_each_strip() -> None:
    texts = [Chunk(b"teXt", b"")] * 20_000
    picture = replace(shuffled(), chunks=(*shuffled().chunks, *texts))
    data = pixelcodec.encode(picture, model="standard", strip_rows=1, restart=True)
    begin = time.perf_counter()
    assert pixelcodec.salvage(data).picture == picture
    assert time.perf_counter() - begin < 5  # it takes 0.1 s for each strip otherwise


def test_without_the_palette_nothing_is_salvaged_that_might_be_wrong() -> None:
    data = bytearray(pixelcodec.encode(shuffled(), model="graphics", effort=1))
    data[data.index(b"PLTE") + 9] ^= 1
    with pytest.raises(FormatError, match=r"^the palette is damaged: no strip can be decoded$"):
        pixelcodec.salvage(bytes(data))


def test_a_file_that_lacks_the_palette_of_its_order_is_refused() -> None:
    stream = io.BytesIO()
    header = Header(2, 1, 1, 8, 1, STANDARD, by_palette=True)
    writer = Writer(stream, header)
    writer.strip(b"")
    writer.close(0)
    with pytest.raises(FormatError, match=r"^damaged: the palette is missing"):
        pixelcodec.decode(stream.getvalue())


@pytest.mark.parametrize("fields", [{"channels": 3}, {"bit_depth": 4}, {"bit_depth": 16}], ids=str)
def test_the_order_of_a_palette_is_of_8_bit_indices(fields: dict[str, int]) -> None:
    known = {"width": 2, "height": 1, "channels": 1, "bit_depth": 8, "strip_rows": 1}
    with pytest.raises(ValueError, match=r"^by_palette "):
        Header(**{**known, **fields}, model_id=STANDARD, by_palette=True)
