"""Arrays of images in zarr, of both its formats, and what numcodecs calls."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from zarr.codecs import TransposeCodec

import pixelcodec
from coding import random_network
from pictures import noise, scene
from pixelcodec.models import zoo
from pixelcodec.models.wavefront_pixelcnn import Config
from pixelcodec.numcodecs import Pixelcodec
from pixelcodec.zarr import Pixelcodec as Serializer

MODEL = "photo-s"

PHOTOS = np.stack([scene(12, 16, 3, seed=seed) for seed in range(5)])

DTYPES = st.sampled_from(["?", "|u1", "<u2"])
SHAPES = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)

FORMATS = pytest.mark.parametrize("zarr_format", [2, 3])


def stored(data: np.ndarray, chunks: tuple[int, ...], zarr_format: int, **how: Any) -> zarr.Array:
    """``data`` as a zarr array in ``store``, by default in memory; ``model`` codes it."""
    model, store = how.pop("model", None), how.pop("store", None)
    if zarr_format == 2:
        codecs = {"compressors": Pixelcodec(model)}
    else:
        codecs = {"compressors": None, "serializer": Serializer(model)}
    where = {} if store is None else store
    return zarr.create_array(
        where, data=data, chunks=chunks, zarr_format=zarr_format, **codecs, **how
    )


def header_of(data: bytes) -> pixelcodec.FileInfo:
    return pixelcodec.inspect(io.BytesIO(data))


# numcodecs ---------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    chunk=st.tuples(DTYPES, SHAPES).flatmap(lambda kind: arrays(*kind)),
    order=st.sampled_from("CF"),
)
def test_any_chunk_of_images_comes_back(chunk: np.ndarray, order: str) -> None:
    chunk = np.asarray(chunk, order=order)
    codec = Pixelcodec("standard")
    encoded = codec.encode(chunk)
    out = np.empty_like(chunk)
    assert codec.decode(encoded, out=out) is out
    np.testing.assert_array_equal(out, chunk, strict=True)
    assert codec.decode(encoded).tobytes() == chunk.tobytes(order="A")


@pytest.mark.parametrize(
    "chunk", [PHOTOS, PHOTOS[..., 0], PHOTOS[:1], PHOTOS[0], PHOTOS[0, ..., 0]]
)
def test_a_model_codes_chunks_of_photos(chunk: np.ndarray) -> None:
    codec = Pixelcodec(MODEL)
    encoded = codec.encode(chunk)
    assert header_of(encoded).model_name == MODEL
    np.testing.assert_array_equal(codec.decode(encoded, np.empty_like(chunk)), chunk)


def test_a_part_of_an_array_is_coded() -> None:
    chunk = PHOTOS[::2, 3:, :-1]
    codec = Pixelcodec("standard")
    np.testing.assert_array_equal(codec.decode(codec.encode(chunk)).reshape(chunk.shape), chunk)


def test_a_chunk_is_decoded_into_any_buffer() -> None:
    codec, buffer = Pixelcodec("standard"), bytearray(PHOTOS.nbytes)
    codec.decode(codec.encode(PHOTOS), out=buffer)
    assert buffer == PHOTOS.tobytes()


def test_images_of_a_chunk_are_tiles_under_one_another() -> None:
    encoded = Pixelcodec(MODEL).encode(PHOTOS)
    info = header_of(encoded)
    assert (info.height, info.width, info.tile) == (5 * 12, 16, 12)
    third = pixelcodec.decode(encoded, region=(0, 2 * 12, 16, 12))
    np.testing.assert_array_equal(third, PHOTOS[2])


@settings(max_examples=20, deadline=None)
@given(
    config=st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from([None, "photo-s", "standard"]),
            "strip_rows": st.none() | st.integers(1, 65535),
            "tile": st.none() | st.integers(0, 65535),
            "restart": st.booleans(),
            "effort": st.none() | st.integers(1, 10) | st.just("max"),
            "discard_invisible": st.booleans(),
            "verify": st.booleans(),
        },
    )
)
def test_the_configuration_comes_back_from_json(config: dict[str, Any]) -> None:
    codec = Pixelcodec(**config)
    found = numcodecs.get_codec(json.loads(json.dumps(codec.get_config())))
    assert isinstance(found, Pixelcodec)
    assert found == codec
    assert config.items() <= found.get_config().items()
    serializer = Serializer(**config)
    assert Serializer.from_dict(json.loads(json.dumps(serializer.to_dict()))) == serializer


@pytest.mark.parametrize("codec", [Pixelcodec, Serializer])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"effort": 12}, "effort 12: choose 1 .* or 'max'"),
        ({"effort": "best"}, "effort 'best': choose 1"),
        ({"strip_rows": 0}, "strip_rows 0, allowed: 1 to 65535"),
        ({"strip_rows": 65536}, "strip_rows 65536, allowed"),
    ],
)
def test_a_configuration_that_could_not_write_is_refused_at_once(
    codec: Any, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        codec(**config)


@FORMATS
def test_an_array_whose_model_is_not_installed_can_be_opened(
    zarr_format: int, tmp_path: Path
) -> None:
    stored(PHOTOS[0], PHOTOS[0].shape, zarr_format, model="standard", store=str(tmp_path))
    described = tmp_path / ("zarr.json" if zarr_format == 3 else ".zarray")
    described.write_text(described.read_text().replace('"standard"', '"a-model-of-tomorrow"'))
    np.testing.assert_array_equal(zarr.open_array(tmp_path, mode="r")[:], PHOTOS[0])


def test_images_too_high_for_tiles_come_back() -> None:
    images = np.broadcast_to(np.arange(5, dtype=np.uint8), (2, 65_536, 5))
    codec = Pixelcodec("standard")
    encoded = codec.encode(images)
    assert header_of(encoded).tile == 0
    np.testing.assert_array_equal(codec.decode(encoded, out=np.empty_like(images)), images)


def test_options_reach_the_encoder() -> None:
    info = header_of(Pixelcodec(MODEL, strip_rows=8, tile=4, restart=True).encode(PHOTOS))
    assert (info.model_name, info.strip_rows, info.tile, info.restart) == (MODEL, 8, 4, True)
    assert header_of(Pixelcodec(MODEL, tile=0).encode(PHOTOS)).tile == 0


def test_invisible_colours_are_discarded_where_that_is_asked_for() -> None:
    chunk = np.concatenate([PHOTOS[0], np.zeros_like(PHOTOS[0, ..., :1])], 2)
    found = Pixelcodec("standard", discard_invisible=True, verify=True).encode(chunk)
    assert len(found) < len(Pixelcodec("standard").encode(chunk)) / 2


def test_a_model_of_ones_own_decodes(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    config = Config(width=16, hidden=16, blocks=1, head=8, components=3)
    zoo.save_network(random_network(config, seed=1), path)
    codec = Pixelcodec(str(path))
    np.testing.assert_array_equal(codec.decode(codec.encode(PHOTOS[0])), PHOTOS[0])


def test_several_chunks_are_coded_at_once() -> None:
    codec = Pixelcodec(MODEL)
    expected = [codec.encode(photo) for photo in PHOTOS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.encode, [*PHOTOS] * 4)) == expected * 4
        found = list(pool.map(codec.decode, expected * 4))
    np.testing.assert_array_equal(found, [*PHOTOS] * 4)


@pytest.mark.parametrize("dtype", ["f4", "i1", "<i2", "<u4", ">u2", "M8[s]", "U1"])
def test_what_is_no_image_is_refused(dtype: str) -> None:
    with pytest.raises(pixelcodec.UnsupportedImageError, match="images of bool, uint8 and"):
        Pixelcodec().encode(np.zeros((3, 4), dtype))


def test_a_mask_is_not_dropped() -> None:
    with pytest.raises(pixelcodec.UnsupportedImageError, match="a masked array"):
        Pixelcodec().encode(np.ma.masked_equal(PHOTOS, 0))


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (2, 3, 0)])
def test_what_has_no_rows_of_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(pixelcodec.UnsupportedImageError, match=r"axes|no pixels"):
        Pixelcodec().encode(np.zeros(shape, np.uint8))


def test_damaged_chunks_are_an_error() -> None:
    codec = Pixelcodec("standard")
    encoded = codec.encode(noise(4, 5))
    with pytest.raises(pixelcodec.FormatError, match="truncated"):
        codec.decode(encoded[:-1])


# zarr --------------------------------------------------------------------------------------------


def test_arrays_are_read_in_a_fresh_process_that_imports_zarr_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "photos.npy", PHOTOS)
    for zarr_format in (2, 3):
        store = tmp_path / f"{zarr_format}.zarr"
        stored(PHOTOS, (2, 12, 16, 3), zarr_format, store=store, model=MODEL)
    program = """
        import sys
        import numpy as np
        import zarr
        photos = np.load("photos.npy")
        arrays = [zarr.open_array(f"{number}.zarr", mode="r+") for number in (2, 3)]
        assert "torch" not in sys.modules, "opening does not need it"
        for array in arrays:
            np.testing.assert_array_equal(array[1:4, 3:], photos[1:4, 3:])
            array[2] = photos[0]
            np.testing.assert_array_equal(array[:], photos[[0, 1, 0, 3, 4]])
    """
    subprocess.run([sys.executable, "-c", dedent(program)], cwd=tmp_path, check=True)


@FORMATS
@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((7, 9), (4, 5)), ((3, 7, 9), (2, 7, 9)), ((3, 7, 9, 3), (1, 7, 9, 3)), ((2, 3, 6, 8),) * 2],
    ids=["tiles of an image", "a stack", "a stack in colour", "channels first"],
)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_arrays_come_back(
    zarr_format: int, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str
) -> None:
    data = (noise(*shape) // 100).astype(dtype)
    found = stored(data, chunks, zarr_format, model="standard")[:]
    np.testing.assert_array_equal(found, data, strict=True)


@FORMATS
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_of_any_order_comes_back(zarr_format: int, order: str) -> None:
    data = np.asarray(PHOTOS, order=order)
    how = {"order": order} if zarr_format == 2 else {"config": {"order": order}}
    found = stored(data, (2, 12, 16, 3), zarr_format, model="standard", **how)[:]
    np.testing.assert_array_equal(found, data)


def test_in_format_3_the_order_of_bytes_does_not_matter() -> None:
    data = noise(4, 5).astype(">u2") * 257
    np.testing.assert_array_equal(stored(data, (4, 5), 3)[:], data)


def test_photos_are_smaller_than_by_the_default_of_zarr() -> None:
    photos = np.stack([scene(64, 64, 3, seed=seed) for seed in range(4)])
    chunks = (4, 64, 64, 3)
    other = zarr.create_array({}, data=photos, chunks=chunks)
    assert stored(photos, chunks, 3, model=MODEL).nbytes_stored() < 0.7 * other.nbytes_stored()


def test_chunks_may_be_in_shards() -> None:
    array = stored(PHOTOS, (1, 12, 16, 3), 3, shards=(3, 12, 16, 3), model=MODEL)
    np.testing.assert_array_equal(array[2:4], PHOTOS[2:4])


def test_transposing_brings_channels_last() -> None:
    planar = np.ascontiguousarray(PHOTOS.transpose(0, 3, 1, 2))
    transpose = TransposeCodec(order=(0, 2, 3, 1))
    store: dict[str, Any] = {}
    array = stored(planar, (1, 3, 12, 16), 3, store=store, filters=[transpose], model=MODEL)
    np.testing.assert_array_equal(array[:], planar)
    assert header_of(store["c/0/0/0/0"].to_bytes()).channels == 3


@pytest.mark.parametrize(("shape", "dtype"), [((4, 5), "f4"), ((4, 5), "int16"), ((9,), "uint8")])
def test_in_format_3_other_arrays_are_refused_when_they_are_made(
    shape: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(pixelcodec.UnsupportedImageError, match="images"):
        zarr.create_array({}, shape=shape, dtype=dtype, chunks=shape, serializer=Serializer())
