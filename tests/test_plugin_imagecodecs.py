"""Functions that are called as those of the imagecodecs package are."""

from inspect import Parameter, signature

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelcodec
from pictures import noise, scene
from pixelcodec.imagecodecs import (
    PXC,
    PxcError,
    pxc_check,
    pxc_decode,
    pxc_encode,
    pxc_version,
)

MODEL = "photo-s"

IMAGE = scene(9, 14, 3)

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.sampled_from([size, *((*size, channels) for channels in (1, 2, 3, 4))])
)


@pytest.fixture(scope="module")
def data() -> bytes:
    return pxc_encode(IMAGE, model=MODEL)


# As there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "positional", "named"),
    [
        (pxc_encode, ["data", "level"], {"numthreads", "out"}),
        (pxc_decode, ["data", "index"], {"numthreads", "out"}),
        (pxc_check, ["data"], set()),
        (pxc_version, [], set()),
    ],
)
def test_arguments_are_those_of_imagecodecs(
    function: object, positional: list[str], named: set[str]
) -> None:
    parameters = signature(function).parameters.values()
    by_name = {item.name: item for item in parameters if item.kind == Parameter.KEYWORD_ONLY}
    first = [item.name for item in parameters if item.kind < Parameter.KEYWORD_ONLY]
    assert first == positional
    assert named <= by_name.keys()
    assert all(item.default is not Parameter.empty for item in by_name.values())


def test_the_codec_is_available_and_has_a_version() -> None:
    assert PXC.available
    assert pxc_version() == f"pixelcodec {pixelcodec.__version__}"


# Round trip --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    image=st.sampled_from([np.uint8, np.uint16]).flatmap(lambda dtype: arrays(dtype, SHAPES)),
)
def test_any_image_comes_back(image: np.ndarray) -> None:
    found = pxc_decode(pxc_encode(image, model="standard"))
    expected = image[..., 0] if image.shape[2:] == (1,) else image
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("image", [IMAGE, scene(9, 14)], ids=["rgb", "gray"])
def test_a_model_codes_it(image: np.ndarray) -> None:
    encoded = pxc_encode(image, model=MODEL, numthreads=1, device="cpu")
    assert encoded == pixelcodec.encode(image, model=MODEL)
    np.testing.assert_array_equal(pxc_decode(encoded, 0, numthreads=1), image, strict=True)


def test_options_reach_the_encoder() -> None:
    how = {"model": MODEL, "strip_rows": 4, "tile": 2, "restart": True, "verify": True}
    assert pxc_encode(IMAGE, 1, **how) == pixelcodec.encode(IMAGE, effort=1, **how)
    assert pxc_encode(IMAGE, "max", **how) == pixelcodec.encode(IMAGE, effort="max", **how)
    assert pxc_encode(IMAGE, **how, backend="int64") == pixelcodec.encode(IMAGE, **how)


@pytest.mark.parametrize(
    "form", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)]
)
def test_bytes_may_have_any_form(data: bytes, form: type[bytes]) -> None:
    assert pxc_check(form(data))
    np.testing.assert_array_equal(pxc_decode(form(data)), IMAGE)


@pytest.mark.parametrize("other", [b"", b"\x89PX", b"\x89PNG\r\n\x1a\n", bytes(40)])
def test_other_bytes_are_told_apart(other: bytes) -> None:
    assert pxc_check(other) is False


# Where results go --------------------------------------------------------------------------------


def test_an_image_is_decoded_into_an_array(data: bytes) -> None:
    stack = np.zeros((2, *IMAGE.shape), np.uint8)
    assert pxc_decode(data, out=stack[1]).base is stack
    np.testing.assert_array_equal(stack, [np.zeros_like(IMAGE), IMAGE])


@pytest.mark.parametrize("out", [np.zeros((9, 14), np.uint8), np.zeros((9, 14, 3), np.uint16)])
def test_an_array_of_another_kind_is_refused(data: bytes, out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="out is uint"):
        pxc_decode(data, out=out)
    assert not out.any()


def test_a_file_is_written_to_a_new_bytearray(data: bytes) -> None:
    found = pxc_encode(IMAGE, model=MODEL, out=bytearray)
    assert isinstance(found, bytearray)
    assert found == data


@pytest.mark.parametrize("spare", [0, 5])
def test_a_file_is_written_to_a_buffer(data: bytes, spare: int) -> None:
    buffer = bytearray(len(data) + spare)
    found = pxc_encode(IMAGE, model=MODEL, out=buffer)
    assert isinstance(found, memoryview)
    assert found == data
    assert buffer == data + bytes(spare)


def test_a_buffer_that_is_too_small_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"the file has {len(data)}"):
        pxc_encode(IMAGE, model=MODEL, out=bytearray(len(data) - 1))


# What cannot be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        *(noise(4, 5, 5), noise(4), np.zeros((4, 5)), np.zeros((0, 4))),
        np.ma.masked_equal(noise(4, 5), 0),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"array|samples"):
        pxc_encode(image)


def test_a_model_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PxcError, match="nosuch"):
        pxc_encode(IMAGE, model="nosuch")


def test_there_is_one_image(data: bytes) -> None:
    with pytest.raises(IndexError, match="image 1"):
        pxc_decode(data, 1)  # type: ignore[arg-type]


def test_damaged_bytes_are_an_error(data: bytes) -> None:
    for end in range(0, len(data), 7):
        with pytest.raises(PxcError, match=r"truncated|empty"):
            pxc_decode(data[:end])
