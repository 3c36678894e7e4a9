"""What a program calls: images in, bytes out, and back."""

import gc
import io
import mmap
import os
import resource
import shutil
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import pixelcodec
from coding import Samples, encode, random_network, randomised
from pictures import noise, scene
from pixelcodec import evaluation, limits, plan
from pixelcodec.container import Header, Readable, Reader, Start, Writer
from pixelcodec.effort import DEFAULT_EFFORT, EFFORTS, STATIC
from pixelcodec.engine import Engine
from pixelcodec.errors import BackendError, FormatError, ModelError, UnsupportedImageError
from pixelcodec.exact import ENVIRONMENT_VARIABLE
from pixelcodec.models import zoo
from pixelcodec.models.architectures import can_learn
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.wavefront_pixelcnn import Config
from pixelcodec.runtime import Compute, engines_of
from robustness.mutations import split

CONFIG = Config(width=16, hidden=16, blocks=1, head=8, components=3)
NETWORK = random_network(CONFIG, seed=1)
OTHER_NETWORK = random_network(CONFIG, seed=2)


def pixelcnn(channels: int, bit_depth: int) -> IntegerNetwork:
    config = PaperConfig(channels=channels, bit_depth=bit_depth, hidden=3, layers=1, head=3)
    return randomised(lambda: PixelCNN(config), seed=1).integer_network()


RGB_NETWORK, GRAY_NETWORK, BILEVEL_NETWORK = pixelcnn(3, 8), pixelcnn(1, 8), pixelcnn(1, 1)

RGB = scene(23, 31, 3)
GRAY = scene(23, 31)
BILEVEL = GRAY > 100

IMAGES = pytest.mark.parametrize("image", [RGB, GRAY], ids=["rgb", "gray"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    """Path of a model."""
    zoo.save_network(NETWORK, folder / "model.safetensors")
    return str(folder / "model.safetensors")


@pytest.fixture(scope="module")
def other_model(folder: Path) -> str:
    zoo.save_network(OTHER_NETWORK, folder / "other.safetensors")
    return str(folder / "other.safetensors")


@pytest.fixture(scope="module")
def paths(folder: Path, model: str) -> dict[str, str]:
    """Paths of models by name; each codes images of other kinds."""
    networks = {"rgb": RGB_NETWORK, "gray": GRAY_NETWORK, "bilevel": BILEVEL_NETWORK}
    for name, network in networks.items():
        zoo.save_network(network, folder / f"{name}.safetensors")
    return {"both": model, **{name: str(folder / f"{name}.safetensors") for name in networks}}


@pytest.fixture(scope="module")
def data(model: str) -> bytes:
    """RGB, as a file of three strips."""
    return pixelcodec.encode(RGB, model=model, strip_rows=10)


# Round trip --------------------------------------------------------------------------------------


@IMAGES
@pytest.mark.parametrize("strip_rows", [None, 1, 10, 65535])
def test_arrays_come_back(model: str, image: Samples, strip_rows: int | None) -> None:
    written = pixelcodec.encode(image, model=model, strip_rows=strip_rows)
    np.testing.assert_array_equal(pixelcodec.decode(written, model=model), image, strict=True)


@IMAGES
def test_pillow_images_come_back_as_arrays(model: str, image: Samples) -> None:
    written = pixelcodec.encode(Image.fromarray(image), model=model)
    assert written == pixelcodec.encode(image, model=model)
    np.testing.assert_array_equal(pixelcodec.decode(written, model=model), image, strict=True)


@IMAGES
@pytest.mark.parametrize(
    "view", [np.asfortranarray, np.flipud, lambda image: image[::2, 3:]], ids=["F", "up", "part"]
)
def test_any_memory_layout_comes_back(
    model: str, image: Samples, view: Callable[[Samples], Samples]
) -> None:
    written = pixelcodec.encode(view(image), model=model)
    np.testing.assert_array_equal(pixelcodec.decode(written, model=model), view(image))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data())
def test_any_image_comes_back(model: str, draw: st.DataObject) -> None:
    size = draw.draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))
    image = noise(*size, *draw.draw(st.sampled_from([(), (3,)])), seed=draw.draw(st.integers(0, 9)))
    strip_rows = draw.draw(st.none() | st.integers(1, 10))
    written = pixelcodec.encode(image, model=model, strip_rows=strip_rows)
    np.testing.assert_array_equal(pixelcodec.decode(written, model=model), image, strict=True)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data())
def test_any_bilevel_image_comes_back(paths: dict[str, str], draw: st.DataObject) -> None:
    size = draw.draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))
    image = noise(*size, seed=draw.draw(st.integers(0, 9))) >= draw.draw(st.sampled_from([0, 128]))
    tile = draw.draw(st.sampled_from([None, 1, 3, 4]))
    written = pixelcodec.encode(image, model=paths["bilevel"], tile=tile)
    decoded = pixelcodec.decode(written, model=paths["bilevel"])
    np.testing.assert_array_equal(decoded, image, strict=True)


def test_bilevel_pillow_images_come_back_as_arrays(paths: dict[str, str]) -> None:
    written = pixelcodec.encode(Image.fromarray(BILEVEL), model=paths["bilevel"])
    assert written == pixelcodec.encode(BILEVEL, model=paths["bilevel"])
    decoded = pixelcodec.decode(written, model=paths["bilevel"])
    np.testing.assert_array_equal(decoded, BILEVEL, strict=True)


def test_bytes_depend_on_image_model_and_strips_alone(
    monkeypatch: pytest.MonkeyPatch, model: str, data: bytes
) -> None:
    def written(**keywords: Any) -> bytes:
        return pixelcodec.encode(RGB, model=model, strip_rows=10, **keywords)

    assert written(device="cpu", threads=2, backend="float32", progress=print_nothing) == data
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "int64")
    assert written() == data


def print_nothing(*_: int) -> None:
    """Take any report of progress."""


@IMAGES
def test_a_file_is_as_long_as_the_bits_of_the_model(model: str, image: Samples) -> None:
    large = np.tile(image, (4, 3, 1)[: image.ndim])
    bits = evaluation.model_bits(large, Engine(NETWORK, "int64"))
    size = len(pixelcodec.encode(large, model=model, effort=STATIC))
    assert bits / 8 <= size <= bits / 8 * 1.001 + 64


@IMAGES
def test_evaluation_tells_both(model: str, image: Samples) -> None:
    found = evaluation.evaluate(image, model, Compute(backend="int64"))
    assert found.samples == image.size
    assert found.file_bytes == len(pixelcodec.encode(image, model=model, effort=STATIC))
    assert found.model_bpsp < found.file_bpsp < found.model_bpsp + 8 * 70 / image.size


# Tiles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image"),
    [("both", RGB), ("both", GRAY), ("rgb", RGB), ("gray", GRAY), ("bilevel", BILEVEL)],
    ids=["both-rgb", "both-gray", "rgb", "gray", "bilevel"],
)
@pytest.mark.parametrize(("tile", "strip_rows"), [(1, None), (7, None), (7, 7), (8, 16), (40, 40)])
def test_images_in_tiles_come_back(
    paths: dict[str, str], name: str, image: Samples, tile: int, strip_rows: int | None
) -> None:
    written = pixelcodec.encode(image, model=paths[name], tile=tile, strip_rows=strip_rows)
    assert pixelcodec.inspect(io.BytesIO(written)).tile == tile
    decoded = pixelcodec.decode(written, model=paths[name])
    np.testing.assert_array_equal(decoded, image, strict=True)


@IMAGES
def test_a_tile_is_an_image_of_its_own(model: str, image: Samples) -> None:
    narrow = image[:, :9]
    whole = payloads_of(pixelcodec.encode(narrow, model=model, tile=9, strip_rows=9))
    for index, payload in enumerate(whole):
        part = narrow[9 * index : 9 * index + 9]
        assert payloads_of(pixelcodec.encode(part, model=model)) == [payload]


@IMAGES
def test_a_tile_that_is_larger_than_the_image_changes_the_header_alone(
    model: str, image: Samples
) -> None:
    payloads = payloads_of(pixelcodec.encode(image, model=model))
    assert payloads_of(pixelcodec.encode(image, model=model, tile=31)) == payloads


@given(
    height=st.integers(1, 2**31),
    width=st.integers(1, 2**18),
    tile=st.integers(1, 65535),
    bit_depth=st.sampled_from([1, 8]),
)
def test_by_default_strips_are_whole_rows_of_tiles(
    height: int, width: int, tile: int, bit_depth: int
) -> None:
    rows = plan.default_strip_rows(height, width, tile, bit_depth)
    assert rows % tile == 0
    assert tile <= rows <= 65535
    assert rows == tile or rows * width * bit_depth <= 8 * plan.STRIP_PIXELS
    assert rows < height + tile


# Streams -----------------------------------------------------------------------------------------


class Trickle(io.RawIOBase):
    """A pipe that gives and takes a few bytes a call, and cannot seek."""

    def __init__(self, given: bytes = b"", most: int = 7) -> None:
        self._given, self._most = io.BytesIO(given), most
        self.taken = b""

    def read(self, size: int = -1, /) -> bytes:
        return self._given.read(min(size, self._most))

    def write(self, written: Any, /) -> int:
        part = bytes(written[: self._most])
        self.taken += part
        return len(part)

    def seekable(self) -> bool:
        return False


def mapped(data: bytes) -> mmap.mmap:
    """Memory of a file, which stands at its end."""
    found = mmap.mmap(-1, len(data))
    found.write(data)
    return found


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_streams_may_trickle(model: str, data: bytes, most: int) -> None:
    sink = Trickle(most=most)
    pixelcodec.encode_to(sink, RGB, model=model, strip_rows=10)
    assert sink.taken == data
    decoded = pixelcodec.decode_from(Trickle(data, most), model=model)
    np.testing.assert_array_equal(decoded, RGB, strict=True)


@pytest.mark.parametrize(
    "buffer_of",
    [
        bytearray,
        memoryview,
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.repeat(np.frombuffer(data, np.uint8), 2)[::2],
        lambda data: array("B", data),
        mapped,
    ],
    ids=["bytearray", "memoryview", "NumPy", "every second byte", "array", "mmap"],
)
def test_a_file_may_be_in_any_buffer(
    model: str, data: bytes, buffer_of: Callable[[bytes], Any]
) -> None:
    buffer = buffer_of(data)
    assert np.array_equal(pixelcodec.decode(buffer, model=model), RGB)
    assert pixelcodec.inspect(buffer) == pixelcodec.inspect(data)


def test_a_pipe_between_two_threads(model: str) -> None:
    out, into = os.pipe()

    def send() -> None:
        with open(into, "wb", buffering=0) as stream:
            pixelcodec.encode_to(stream, RGB, model=model, strip_rows=2)

    sender = Thread(target=send)
    sender.start()
    with open(out, "rb", buffering=0) as stream:
        decoded = pixelcodec.decode_from(stream, model=model)
    sender.join()
    np.testing.assert_array_equal(decoded, RGB)


# Progress ----------------------------------------------------------------------------------------


@IMAGES
@pytest.mark.parametrize("strip_rows", [None, 1, 5])
def test_progress_grows_to_the_end(model: str, image: Samples, strip_rows: int | None) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    written = pixelcodec.encode(image, model=model, strip_rows=strip_rows, progress=tell)
    check_progress(told)
    told.clear()
    pixelcodec.decode(written, model=model, progress=tell)
    check_progress(told)


def check_progress(told: list[tuple[int, int]]) -> None:
    done = [pixels for pixels, _ in told]
    assert {total for _, total in told} == {23 * 31}
    assert done == sorted(done)
    assert done[0] > 0
    assert done[-1] == 23 * 31


@pytest.mark.parametrize("threads", [None, 1, 2])
@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
def test_threads_are_as_asked_for_and_then_as_before(
    model: str, threads: int | None, fails: bool
) -> None:
    class StoppedError(Exception):
        pass

    seen: set[int] = set()

    def tell(done: int, total: int) -> None:
        seen.add(torch.get_num_threads())
        if fails:
            raise StoppedError

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pixelcodec.encode(RGB, model=model, threads=threads, progress=tell)
    except StoppedError:
        assert fails
    finally:
        after = torch.get_num_threads()
        torch.set_num_threads(before)
    assert seen == {threads or 1}
    assert after == 3


# What a file says of itself ----------------------------------------------------------------------


@IMAGES
def test_inspection(model: str, image: Samples) -> None:
    written = pixelcodec.encode(image, model=model, strip_rows=10)
    info = pixelcodec.inspect(io.BytesIO(written))
    assert info == pixelcodec.FileInfo(
        width=31,
        height=23,
        channels=image.size // (31 * 23),
        bit_depth=8,
        restart=False,
        strip_rows=10,
        tile=0,
        strips=tuple(len(payload) for payload, _ in Reader(io.BytesIO(written))),
        preview_bytes=0,
        model_name=None,
        model_id=NETWORK.model_id.hex(),
        alpha_model_name=None,
        metadata=(),
        changes_bytes=0,
        levels_bytes=0,
        learning=EFFORTS[DEFAULT_EFFORT].learning,
        samples_crc=zlib.crc32(image.tobytes()),
        file_bytes=len(written),
    )
    assert info.bpsp == 8 * len(written) / image.size


def test_inspection_names_an_installed_model(
    monkeypatch: pytest.MonkeyPatch, model: str, data: bytes
) -> None:
    names = {NETWORK.model_id: "some-model"}
    monkeypatch.setattr(zoo, "find", names.get)
    assert pixelcodec.inspect(io.BytesIO(data)).model_name == "some-model"


def test_inspection_of_a_stream_that_trickles(data: bytes) -> None:
    assert pixelcodec.inspect(Trickle(data)) == pixelcodec.inspect(io.BytesIO(data))


# Models ------------------------------------------------------------------------------------------


def test_a_file_of_another_model_is_refused(other_model: str, data: bytes) -> None:
    ids = f"{OTHER_NETWORK.model_id.hex()}; the file was written by {NETWORK.model_id.hex()}"
    with pytest.raises(ModelError, match=ids):
        pixelcodec.decode(data, model=other_model)


@pytest.mark.parametrize("own", ["colours", "alpha"])
def test_a_model_that_is_given_codes_the_component_that_names_it(model: str, own: str) -> None:
    installed = zoo.load("photo-s").model_id
    ids = {"model_id": NETWORK.model_id, "alpha_id": installed}
    if own == "alpha":
        ids = {"model_id": installed, "alpha_id": NETWORK.model_id}
    header = Header(width=2, height=2, channels=4, bit_depth=8, strip_rows=2, **ids)
    found = engines_of(Start(header), model, Compute("cpu"))
    assert {key: engine.network.model_id for key, engine in found.items()} == {
        key: key for key in ids.values()
    }


def test_a_file_of_a_model_that_is_not_installed_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=f"{NETWORK.model_id.hex()} that wrote this file is not"):
        pixelcodec.decode(data)


def test_the_installed_model_that_a_file_names_decodes_it(
    monkeypatch: pytest.MonkeyPatch, model: str, data: bytes
) -> None:
    names = {NETWORK.model_id: model}
    monkeypatch.setattr(zoo, "find", names.get)
    np.testing.assert_array_equal(pixelcodec.decode(data), RGB)


@pytest.mark.parametrize("name", ["no-such-model", "no-such-file.safetensors"])
def test_a_missing_model_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"no model .*{name}"):
        pixelcodec.encode(RGB, model=name)


@pytest.mark.parametrize("place", [0, 9, 100, -1])
def test_a_damaged_model_is_refused(tmp_path: Path, model: str, place: int) -> None:
    damaged = bytearray(Path(model).read_bytes())
    damaged[place] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged)
    with pytest.raises(ModelError, match=r"damaged\.safetensors is .*damaged"):
        pixelcodec.encode(RGB, model=str(path))


def without(network: IntegerNetwork, layer: str) -> IntegerNetwork:
    return replace(network, layers={k: v for k, v in network.layers.items() if k != layer})


def with_config(network: IntegerNetwork, config: Mapping[str, Any]) -> IntegerNetwork:
    return replace(network, config={**network.config, **config})


def with_too_large_a_bias(network: IntegerNetwork) -> IntegerNetwork:
    layer = network.layers["input"]
    layers = {**network.layers, "input": replace(layer, bias=layer.bias + 2**24)}
    return replace(network, layers=layers)


def with_short_table(network: IntegerNetwork) -> IntegerNetwork:
    return replace(network, tables={**network.tables, "exp": network.tables["exp"][:9].clone()})


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(replace(NETWORK, architecture="from-the-future-2"), id="of an unknown kind"),
        pytest.param(with_config(NETWORK, {"dilation": 2}), id="with an unknown parameter"),
        pytest.param(with_config(NETWORK, {"width": 8}), id="of another width"),
        pytest.param(with_config(NETWORK, {"components": 2}), id="of fewer components"),
        pytest.param(with_config(NETWORK, {"components": 8}), id="of too many components"),
        pytest.param(with_config(NETWORK, {"blocks": 2}), id="of more blocks"),
        pytest.param(with_config(NETWORK, {"blocks": 0}), id="of fewer blocks"),
        pytest.param(without(NETWORK, "head.1"), id="without a layer"),
        pytest.param(replace(NETWORK, tables={}), id="without tables"),
        pytest.param(with_short_table(NETWORK), id="with a short table"),
        pytest.param(with_too_large_a_bias(NETWORK), id="that could overflow"),
    ],
)
def test_an_undamaged_model_that_cannot_code_is_refused(
    tmp_path: Path, network: IntegerNetwork
) -> None:
    path = tmp_path / "model.safetensors"
    zoo.save_network(network, path)
    with pytest.raises(ModelError):
        pixelcodec.encode(RGB, model=str(path))


@pytest.mark.parametrize("missing", ["architecture", "config", "sha256"])
def test_a_model_that_does_not_say_what_it_is_is_refused(
    tmp_path: Path, model: str, missing: str
) -> None:
    with safe_open(model, framework="pt") as file:
        about = {key: value for key, value in file.metadata().items() if key != missing}
    path = tmp_path / "model.safetensors"
    save_file(NETWORK.tensors(), path, metadata=about)
    with pytest.raises(ModelError):
        pixelcodec.encode(RGB, model=str(path))


def test_a_model_file_that_was_replaced_is_read_again(
    tmp_path: Path, model: str, other_model: str
) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(other_model, path)
    pixelcodec.encode(RGB, model=str(path))
    shutil.copy(model, path)
    written = pixelcodec.encode(RGB, model=str(path))
    np.testing.assert_array_equal(pixelcodec.decode(written, model=model), RGB)


# The package -------------------------------------------------------------------------------------


def test_the_package_lists_its_public_names_alone() -> None:
    assert [name for name in dir(pixelcodec) if not name.startswith("__")] == [
        name for name in sorted(pixelcodec.__all__) if not name.startswith("__")
    ]
    assert {"__version__", "__doc__", "__all__"} <= {*dir(pixelcodec)}


# Bad arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        RGB / 255,
        RGB.astype(np.uint16),
        np.dstack([RGB, RGB]),
        RGB[:0],
        RGB.tolist(),
        Image.new("I;16", (2, 2)),
        Image.new("CMYK", (2, 2)),
    ],
    ids=["float", "16 bits", "six channels", "empty", "list", "16-bit Pillow", "CMYK"],
)
def test_what_the_model_cannot_hold_is_refused(model: str, image: Any) -> None:
    with pytest.raises(UnsupportedImageError):
        pixelcodec.encode(image, model=model)


@pytest.mark.parametrize(
    ("name", "image", "error", "message"),
    [
        ("both", BILEVEL, UnsupportedImageError, "1-bit samples; model .* codes 8-bit"),
        ("bilevel", GRAY, UnsupportedImageError, "8-bit samples; model .* codes 1-bit"),
        ("rgb", GRAY, ModelError, "codes 3-channel images, not 1-channel"),
        ("gray", RGB, ModelError, "codes 1-channel images, not 3-channel"),
    ],
)
def test_what_the_model_does_not_code_is_refused(
    paths: dict[str, str], name: str, image: Samples, error: type[Exception], message: str
) -> None:
    stream = Trickle()
    with pytest.raises(error, match=message):
        pixelcodec.encode_to(stream, image, model=paths[name])
    assert stream.taken == b""


def test_an_image_that_is_too_wide_is_refused(model: str) -> None:
    image = np.zeros((1, 2**18 + 1), np.uint8)
    with pytest.raises(UnsupportedImageError, match="262145 columns; the widest image has 262144"):
        pixelcodec.encode(image, model=model)


def test_tiles_that_do_not_fit_strips_are_refused(model: str) -> None:
    with pytest.raises(ModelError, match=r"strips of 10 rows .*; give a multiple of 4"):
        pixelcodec.encode(RGB, model=model, tile=4, strip_rows=10)


@pytest.mark.parametrize(
    "keywords",
    [
        *({"strip_rows": rows} for rows in (-1, 0, 65536)),
        *({"tile": side, "strip_rows": 10} for side in (-8, -1, 65536)),
        {"tile": 65536},
        {"threads": -1},
        {"effort": 11},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(model: str, keywords: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords))):
        pixelcodec.encode(RGB, model=model, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        pixelcodec.decode,
        pixelcodec.decode_from,
        pixelcodec.decode_image,
        pixelcodec.decode_picture,
        pixelcodec.inspect,
        pixelcodec.preview_from,
        pixelcodec.salvage,
    ],
)
@pytest.mark.parametrize("source", ["a.pxc", Path("a.pxc"), io.StringIO("text"), None, [1, 2], 5])
def test_what_is_no_file_says_how_to_give_one(call: Callable[[Any], object], source: Any) -> None:
    with pytest.raises(TypeError, match=r"give its bytes.* pixelcodec\.open\(path\)"):
        call(source)


@pytest.mark.parametrize("target", ["a.pxc", Path("a.pxc"), io.StringIO(), None])
def test_what_cannot_be_written_to_says_how_to_give_a_file(target: Any) -> None:
    with pytest.raises(TypeError, match=r"opened in binary mode; .*open\(path, 'xb'\)"):
        pixelcodec.encode_to(target, RGB)


@pytest.mark.parametrize("path", ["photo.png", Path("photo.png")])
def test_a_path_is_no_image_but_can_be_read(path: Any) -> None:
    with pytest.raises(TypeError, match=r"'photo.png' is a path.*read_picture\(path\)"):
        pixelcodec.encode(path)


@pytest.mark.parametrize(
    "keywords",
    [
        {"backend": "int7"},
        {"device": "no-such-device"},
        {"device": "meta"},
        pytest.param(
            {"device": "cuda"},
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        pytest.param(
            {"device": "cuda", "backend": "int64"},
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
    ids=str,
)
def test_back_ends_and_devices_that_are_not_there_are_refused(
    model: str, data: bytes, keywords: dict[str, str]
) -> None:
    with pytest.raises(BackendError):
        pixelcodec.encode(RGB, model=model, **keywords)  # type: ignore[arg-type]
    with pytest.raises(BackendError):
        pixelcodec.decode(data, model=model, **keywords)  # type: ignore[arg-type]


# Bad files ---------------------------------------------------------------------------------------


def crafted(
    payloads: list[bytes], samples_crc: int = 0, network: IntegerNetwork = NETWORK, **fields: int
) -> bytes:
    """A file whose checksums are right, whatever it holds.

    ``fields``: of the header, if they are others than those of ``data``.
    """
    stream = io.BytesIO()
    like_data = {"width": 31, "height": 23, "channels": 3, "bit_depth": 8, "strip_rows": 10}
    learning = EFFORTS[DEFAULT_EFFORT].learning if can_learn(network) else 0
    header = Header(**{**like_data, **fields}, model_id=network.model_id, learning=learning)
    writer = Writer(stream, header)
    for payload in payloads:
        writer.strip(payload)
    writer.close(samples_crc)
    return stream.getvalue()


def payloads_of(data: bytes) -> list[bytes]:
    return [payload for payload, _ in Reader(io.BytesIO(data))]


def test_the_checksum_of_the_samples_is_compared(model: str, data: bytes) -> None:
    crc = zlib.crc32(RGB.tobytes())
    assert crafted(payloads_of(data), crc) == data
    message = f"stored {crc ^ 1:08x}, computed {crc:08x}"
    with pytest.raises(FormatError, match=message):
        pixelcodec.decode(crafted(payloads_of(data), crc ^ 1), model=model)


def test_strips_that_changed_places_are_noticed(model: str, data: bytes) -> None:
    first, second, third = payloads_of(data)
    with pytest.raises(FormatError):
        pixelcodec.decode(crafted([second, first, third], zlib.crc32(RGB.tobytes())), model=model)


def test_of_strips_that_changed_places_no_region_is_given() -> None:
    """The checksum of all samples does not help there: each strip tells its place."""
    data = pixelcodec.encode(RGB, model="standard", strip_rows=10)
    head, first, second, *rest = split(data)
    moved = b"".join([head, second, first, *rest])
    for region in ((0, 0, 31, 10), (3, 12, 5, 2)):
        pixelcodec.decode(data, region=region)
        with pytest.raises(FormatError, match="CRC mismatch in strip 1 of 3"):
            pixelcodec.decode(moved, region=region)


@pytest.mark.parametrize(
    ("name", "network", "fields", "message"),
    [
        ("both", NETWORK, {"bit_depth": 16}, "16-bit samples, the model"),
        ("bilevel", BILEVEL_NETWORK, {"channels": 1}, "8-bit samples, the model"),
        ("gray", GRAY_NETWORK, {}, "3 channels, the model not"),
        ("rgb", RGB_NETWORK, {"channels": 1}, "1 channels, the model not"),
    ],
)
def test_a_header_that_is_not_of_the_model_is_refused(
    paths: dict[str, str],
    name: str,
    network: IntegerNetwork,
    fields: dict[str, int],
    message: str,
) -> None:
    written = crafted([bytes(400)] * 3, network=network, **fields)
    with pytest.raises((FormatError, ModelError), match=message):
        pixelcodec.decode(written, model=paths[name])


@pytest.mark.parametrize("level", [2, 15])
def test_a_sample_of_1_bit_that_is_neither_0_nor_1_is_refused(
    paths: dict[str, str], level: int
) -> None:
    image = np.full((3, 5), level, np.uint8)
    written = encode(image, BILEVEL_NETWORK, Engine(BILEVEL_NETWORK), strip_rows=3)
    with pytest.raises(FormatError, match="no encoder writes"):
        pixelcodec.decode(written, model=paths["bilevel"])


@pytest.mark.parametrize("tile", [0, 5])
def test_strips_are_not_read_as_if_cut_otherwise(model: str, tile: int) -> None:
    written = pixelcodec.encode(RGB, model=model, strip_rows=10, tile=tile)
    crc = zlib.crc32(RGB.tobytes())
    with pytest.raises(FormatError):
        pixelcodec.decode(crafted(payloads_of(written), crc, tile=5 - tile), model=model)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "another format": lambda data: b"\x89PNG\r\n\x1a\n" + data[8:],
    "a header alone": lambda data: data[:36],
    "a part of the header": lambda data: data[:20],
    "half": lambda data: data[: len(data) // 2],
    "without the end mark": lambda data: data[:-13],
    "without the last byte": lambda data: data[:-1],
    "with a byte too many": lambda data: data + b"\0",
    "twice": lambda data: data * 2,
    "of a later version": lambda data: data[:8] + b"\2" + data[9:],
    "with line ends changed": lambda data: data.replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused(model: str, data: bytes, damage: str) -> None:
    damaged = DAMAGED[damage](data)
    with pytest.raises(FormatError):
        pixelcodec.decode(damaged, model=model)
    with pytest.raises(FormatError):
        pixelcodec.inspect(io.BytesIO(damaged))


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(model: str, data: bytes, place: int, bit: int) -> None:
    damaged = bytearray(data)
    damaged[place % len(data)] ^= 1 << bit
    with pytest.raises(FormatError):
        pixelcodec.decode(bytes(damaged), model=model)


@settings(max_examples=30, deadline=None)
@given(words=st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), min_size=3, max_size=3))
def test_words_that_no_encoder_wrote_are_noticed(model: str, words: list[list[int]]) -> None:
    payloads = [np.array(strip, "<u4").tobytes() for strip in words]
    with pytest.raises(FormatError):
        pixelcodec.decode(crafted(payloads, 0xDEADBEEF), model=model)


def test_a_strip_of_half_a_word_is_refused(model: str) -> None:
    with pytest.raises(FormatError, match="no 32-bit words"):
        pixelcodec.decode(crafted([b"12", b"", b""]), model=model)


@pytest.fixture
def _memory_limit() -> Iterator[None]:
    """One more GiB of address space than is in use."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is limited on Linux alone"
)


@ON_LINUX
@pytest.mark.usefixtures("_memory_limit")
@pytest.mark.parametrize("tile", [0, 1, 65535])
@pytest.mark.parametrize(
    ("width", "height"), [(2**18, 1), (2**18, 2**10), (1, 2**31 - 1), (2**18, 2**31 - 1)]
)
def test_a_header_alone_costs_no_memory_whatever_it_claims(
    model: str, width: int, height: int, tile: int
) -> None:
    stream = io.BytesIO()
    Writer(stream, Header(width, height, 3, 8, 65535, NETWORK.model_id, tile=tile))
    with pytest.raises(FormatError, match="truncated"):
        pixelcodec.inspect(io.BytesIO(stream.getvalue()))
    with pytest.raises(FormatError, match=r"truncated|claims"):
        pixelcodec.decode(stream.getvalue(), model=model, device="cpu")


@ON_LINUX
@pytest.mark.usefixtures("_memory_limit")
@pytest.mark.parametrize("pixels", [2**24, limits.MAX_PIXELS, 2 * limits.MAX_PIXELS])
@pytest.mark.parametrize("tile", [0, 1, 512])
def test_a_tiny_file_that_claims_to_be_a_huge_image_is_refused(
    model: str, tile: int, pixels: int
) -> None:
    height = pixels // 2**18
    data = crafted([b"word"], width=2**18, height=height, strip_rows=2048, tile=tile)
    with pytest.raises(FormatError):
        pixelcodec.decode(data, model=model, device="cpu")


def test_the_caller_limits_the_pixels(model: str, data: bytes) -> None:
    pixels = 23 * 31
    np.testing.assert_array_equal(pixelcodec.decode(data, model=model, max_pixels=pixels), RGB)
    with pytest.raises(FormatError, match="claims 713 pixels, the limit is 712"):
        pixelcodec.decode(data, model=model, max_pixels=pixels - 1)


def test_readable_is_all_that_a_stream_must_be(model: str, data: bytes) -> None:
    class Minimal:
        def __init__(self) -> None:
            self._rest = data

        def read(self, size: int, /) -> bytes:
            part, self._rest = self._rest[:size], self._rest[size:]
            return part

    stream: Readable = Minimal()
    np.testing.assert_array_equal(pixelcodec.decode_from(stream, model=model), RGB)


def test_strips_that_tiles_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"strips of 10 rows .*; give a multiple of 4"):
        pixelcodec.encode(scene(12, 12, 3), model="photo-s", strip_rows=10, tile=4)


# Memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", [STATIC, DEFAULT_EFFORT])
@pytest.mark.parametrize(
    ("name", "image"),
    [("photo-s", RGB), ("graphics", RGB), ("graphics", GRAY), ("science-8", GRAY)],
    ids=["photo", "graphics", "gray graphics", "science"],
)
def test_memory_is_free_at_once(name: str, image: Samples, effort: int) -> None:
    """Nothing refers to itself in a circle, which would keep it until there is a lot of it."""

    def both_ways() -> None:
        pixelcodec.decode(pixelcodec.encode(image, model=name, effort=effort))

    both_ways()  # what stays for the next image is there now
    gc.collect()
    gc.disable()
    try:
        both_ways()
        assert gc.collect() == 0
    finally:
        gc.enable()
