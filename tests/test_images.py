"""Images: samples come and go unchanged, and whatever would lose bits is refused by name."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelcodec.errors import UnsupportedImageError
from pixelcodec.images import as_samples, check_format, read_image, write_image

Samples = npt.NDArray[Any]

GRAY: Samples = np.arange(35, dtype=np.uint8).reshape(7, 5) * 7
RGB: Samples = np.arange(105, dtype=np.uint8).reshape(7, 5, 3) * 2
BILEVEL: Samples = GRAY % 3 == 0

KINDS = pytest.mark.parametrize("array", [GRAY, RGB, BILEVEL], ids=["gray", "RGB", "bilevel"])

RGB_FORMATS = ["png", "ppm", "bmp", "tif", "tiff", "webp"]
GRAY_FORMATS = ["png", "pgm", "bmp", "tif", "tiff"]
BILEVEL_FORMATS = ["png", "bmp", "tif", "tiff"]

sides = st.integers(1, 12)
gray_arrays = st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape))
bilevel_arrays = st.tuples(sides, sides).flatmap(lambda shape: arrays(np.bool_, shape))
rgb_arrays = st.tuples(sides, sides, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape))


def encoded(array: Samples, format: str = "png") -> bytes:
    buffer = io.BytesIO()
    write_image(array, buffer, format)
    return buffer.getvalue()


def decoded(data: bytes) -> Samples:
    return read_image(io.BytesIO(data))


def saved(mode: str, format: str, **options: Any) -> bytes:
    """Return an image file of any mode as Pillow saves it."""
    buffer = io.BytesIO()
    Image.new(mode, (3, 2)).save(buffer, format, **options)
    return buffer.getvalue()


def saved_frames(mode: str, format: str) -> bytes:
    frame = Image.new(mode, (3, 2), 200 if mode == "L" else (200, 0, 0))
    return saved(mode, format, save_all=True, append_images=[frame])


def png(depth: int, colour: int, row: bytes, width: int, *more: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of one row, which Pillow may be unable to write."""
    header = struct.pack(">2I5B", width, 1, depth, colour, 0, 0, 0)
    data = zlib.compress(b"\0" + row)
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(payload))
        + tag
        + payload
        + struct.pack(">I", zlib.crc32(tag + payload))
        for tag, payload in chunks
    )


def rgb_tiff(depth: int, samples: int = 3) -> bytes:
    """Return an uncompressed little-endian RGB TIFF of one pixel, zero in all samples."""
    entries = 9 if samples > 3 else 8
    depths_at = 8 + 2 + 12 * entries + 4
    data_at = depths_at + 2 * samples
    size = depth // 8 * samples
    tags = [
        (256, 3, 1, 1),  # width
        (257, 3, 1, 1),  # height
        (258, 3, samples, depths_at),  # bits per sample
        (259, 3, 1, 1),  # no compression
        (262, 3, 1, 2),  # RGB
        (273, 4, 1, data_at),  # strip offset
        (277, 3, 1, samples),  # samples per pixel
        (279, 4, 1, size),  # strip size
        (338, 3, samples - 3, 0),  # extra samples of no stated meaning
    ]
    directory = b"".join(struct.pack("<2H2I", *tag) for tag in tags[:entries])
    return (
        struct.pack("<2sHIH", b"II", 42, 8, entries)
        + directory
        + bytes(4)
        + struct.pack(f"<{samples}H", *[depth] * samples)
        + bytes(size)
    )


class TestRoundTrip:
    @pytest.mark.parametrize("format", RGB_FORMATS)
    @settings(deadline=None, max_examples=25)
    @given(array=rgb_arrays)
    def test_rgb(self, format: str, array: Samples) -> None:
        np.testing.assert_array_equal(decoded(encoded(array, format)), array, strict=True)

    @pytest.mark.parametrize("format", GRAY_FORMATS)
    @settings(deadline=None, max_examples=25)
    @given(array=gray_arrays)
    def test_gray(self, format: str, array: Samples) -> None:
        np.testing.assert_array_equal(decoded(encoded(array, format)), array, strict=True)

    @pytest.mark.parametrize("format", BILEVEL_FORMATS)
    @settings(deadline=None, max_examples=25)
    @given(array=bilevel_arrays)
    def test_bilevel(self, format: str, array: Samples) -> None:
        data = encoded(array, format)
        assert Image.open(io.BytesIO(data)).mode == "1"
        np.testing.assert_array_equal(decoded(data), array, strict=True)

    @pytest.mark.parametrize(
        "data",
        [png(1, 0, b"\x50", 4), b"P4 4 1\n\xa0"],  # PBM has 1 for black
        ids=["PNG", "PBM"],
    )
    def test_bilevel_samples_are_0_and_1_in_memory_too(self, data: bytes) -> None:
        samples = decoded(data)
        assert samples.tolist() == [[False, True, False, True]]
        assert samples.view(np.uint8).tolist() == [[0, 1, 0, 1]]

    @pytest.mark.parametrize("name", ["a.png", "a.PPM", "a.b.webp"])
    def test_the_extension_names_the_format(self, tmp_path: Path, name: str) -> None:
        write_image(RGB, tmp_path / name)
        np.testing.assert_array_equal(read_image(str(tmp_path / name)), RGB, strict=True)

    def test_a_given_format_goes_before_the_extension(self, tmp_path: Path) -> None:
        write_image(RGB, tmp_path / "a.jpg", "PNG")
        assert (tmp_path / "a.jpg").read_bytes() == encoded(RGB, "png")

    def test_what_is_read_is_new_writable_and_contiguous(self) -> None:
        flags = decoded(encoded(RGB)).flags
        assert flags.c_contiguous
        assert flags.writeable

    @pytest.mark.parametrize("format", RGB_FORMATS)
    def test_through_a_pipe(self, format: str) -> None:
        source, sink = os.pipe()
        with os.fdopen(source, "rb") as reading:
            with os.fdopen(sink, "wb") as writing:
                write_image(RGB, writing, format)
            np.testing.assert_array_equal(read_image(reading), RGB, strict=True)

    @pytest.mark.parametrize(
        ("data", "samples"),
        [
            (png(2, 0, b"\x1b", 4), [0, 85, 170, 255]),
            (png(4, 0, b"\x0f\x12", 4), [0, 255, 17, 34]),
            (b"P5 4 1 15\n\x00\x0f\x01\x02", [0, 255, 17, 34]),
        ],
        ids=["2-bit PNG", "4-bit PNG", "PGM up to 15"],
    )
    def test_small_depths_are_scaled_to_8_bits(self, data: bytes, samples: list[int]) -> None:
        assert decoded(data).tolist() == [samples]


class TestRefusedKinds:
    CASES = (
        pytest.param(saved("P", "PNG"), "palette", id="palette PNG"),
        pytest.param(saved("P", "GIF"), "palette", id="palette GIF"),
        pytest.param(saved("LA", "PNG"), "gray with alpha", id="LA PNG"),
        pytest.param(saved("RGBA", "PNG"), "RGB with alpha", id="RGBA PNG"),
        pytest.param(saved("RGBA", "WEBP"), "RGB with alpha", id="RGBA WebP"),
        pytest.param(saved("CMYK", "JPEG"), "CMYK", id="CMYK JPEG"),
        pytest.param(saved("LAB", "TIFF"), "LAB", id="LAB TIFF"),
        pytest.param(saved("I;16", "PNG"), "more than 8 bits", id="16-bit gray PNG"),
        pytest.param(saved("F", "TIFF"), "more than 8 bits", id="float TIFF"),
        pytest.param(png(16, 2, bytes(6), 1), "more than 8 bits", id="16-bit RGB PNG"),
        pytest.param(png(16, 4, bytes(4), 1), "more than 8 bits", id="16-bit LA PNG"),
        pytest.param(png(16, 6, bytes(8), 1), "more than 8 bits", id="16-bit RGBA PNG"),
        pytest.param(b"P6 1 1 65535\n" + bytes(6), "more than 8 bits", id="16-bit PPM"),
        pytest.param(b"P6 1 1 1023\n" + bytes(6), "more than 8 bits", id="10-bit PPM"),
        pytest.param(b"P3 1 1 65535\n1 2 3\n", "more than 8 bits", id="16-bit plain PPM"),
        pytest.param(b"P5 1 1 65535\n" + bytes(2), "more than 8 bits", id="16-bit PGM"),
        pytest.param(rgb_tiff(16), "more than 8 bits", id="16-bit RGB TIFF"),
        pytest.param(rgb_tiff(8, samples=4), "extra samples", id="RGB TIFF with a 4th sample"),
        pytest.param(png(8, 0, b"1", 1, (b"tRNS", b"\0\1")), "transparent", id="gray tRNS"),
        pytest.param(png(8, 2, b"123", 1, (b"tRNS", bytes(6))), "transparent", id="RGB tRNS"),
        pytest.param(saved_frames("RGB", "PNG"), "2 frames or pages", id="animated PNG"),
        pytest.param(saved_frames("RGB", "WEBP"), "2 frames or pages", id="animated WebP"),
        pytest.param(saved_frames("L", "GIF"), "2 frames or pages", id="animated GIF"),
        pytest.param(saved_frames("L", "TIFF"), "2 frames or pages", id="TIFF of two pages"),
        pytest.param(saved_frames("RGB", "MPO"), "2 frames or pages", id="JPEG of two pictures"),
    )

    @pytest.mark.parametrize(("data", "kind"), CASES)
    def test_a_file_is_refused_by_what_it_is(self, tmp_path: Path, data: bytes, kind: str) -> None:
        path = tmp_path / "some.image"
        path.write_bytes(data)
        message = (
            rf"some.image: unsupported kind of image: .*{kind}.*8-bit RGB, 8-bit gray and bilevel$"
        )
        with pytest.raises(UnsupportedImageError, match=message):
            read_image(path)

    @pytest.mark.parametrize(("data", "kind"), CASES)
    def test_so_is_a_pillow_image_before_loading(self, data: bytes, kind: str) -> None:
        with (
            Image.open(io.BytesIO(data)) as image,
            pytest.raises(UnsupportedImageError, match=f"^unsupported kind of image: .*{kind}"),
        ):
            as_samples(image)

    @pytest.mark.parametrize("data", [rgb_tiff(8), png(8, 2, bytes(3), 1)], ids=["TIFF", "PNG"])
    def test_but_not_their_8_bit_relatives(self, data: bytes) -> None:
        assert decoded(data).tolist() == [[[0, 0, 0]]]


class TestDamage:
    # Of a PNG only the CRC of the last, empty chunk may miss; BMP rows end in padding.
    @pytest.mark.parametrize(
        ("format", "spare"), [("png", 4), ("ppm", 0), ("bmp", 1), ("tiff", 0), ("webp", 0)]
    )
    def test_a_truncated_file_never_gives_an_image(self, format: str, spare: int) -> None:
        data = encoded(RGB, format)
        for size in range(len(data) - spare):
            with pytest.raises(UnsupportedImageError):
                decoded(data[:size])

    def test_a_flipped_bit_never_changes_the_samples_of_a_png(self) -> None:
        data = encoded(RGB[:2, :2])
        for position in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[position // 8] ^= 1 << position % 8
            try:
                samples = decoded(bytes(damaged))
            except UnsupportedImageError:
                continue
            np.testing.assert_array_equal(samples, RGB[:2, :2])

    def test_damage_is_named_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "half.png"
        path.write_bytes(encoded(RGB)[:60])
        with pytest.raises(UnsupportedImageError, match=r"half.png: damaged or truncated image: "):
            read_image(path)

    def test_damage_found_while_loading_a_pillow_image(self) -> None:
        with (
            Image.open(io.BytesIO(encoded(RGB, "ppm")[:-1])) as image,
            pytest.raises(UnsupportedImageError, match=r"^damaged or truncated image: "),
        ):
            as_samples(image)

    @pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
    def test_what_is_no_image(self, data: bytes) -> None:
        with pytest.raises(UnsupportedImageError, match=r"^not an image of a format that"):
            decoded(data)

    def test_damage_is_named_with_an_open_file_but_not_with_a_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "half.png"
        path.write_bytes(encoded(RGB)[:60])
        with (
            path.open("rb") as stream,
            pytest.raises(UnsupportedImageError, match=r"half.png: damaged or truncated image: "),
        ):
            read_image(stream)
        with (
            os.fdopen(os.open(path, os.O_RDONLY), "rb") as stream,
            pytest.raises(UnsupportedImageError, match=r"^damaged or truncated image: "),
        ):
            read_image(stream)

    def test_a_missing_file_is_the_callers_business(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_image(tmp_path / "none.png")


class TestDecompressionBombs:
    @pytest.fixture(autouse=True)
    def limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # RGB has 35 pixels

    def test_a_large_image_is_read_with_pillows_warning(self) -> None:
        with pytest.warns(Image.DecompressionBombWarning):
            np.testing.assert_array_equal(decoded(encoded(RGB)), RGB)

    def test_a_large_image_is_refused_where_warnings_are_errors(self) -> None:
        with pytest.raises(UnsupportedImageError, match=r"35 pixels.*MAX_IMAGE_PIXELS"):
            decoded(encoded(RGB))

    def test_a_huge_image_is_refused(self) -> None:
        with pytest.raises(UnsupportedImageError, match=r"70 pixels.*MAX_IMAGE_PIXELS"):
            decoded(encoded(np.concatenate([RGB, RGB])))


class TestRefusedTargets:
    @pytest.mark.parametrize(
        ("array", "name", "message"),
        [
            (RGB, "a.jpg", "jpg would lose bits; lossless are: png, ppm"),
            (RGB, "a.AVIF", "avif would lose bits"),
            (GRAY, "a.gif", "gif would lose bits"),
            (RGB, "a.xyz", "unknown image format 'xyz'"),
            (RGB, "a", "unknown image format ''"),
            (GRAY, "a.webp", "webp does not hold gray images; lossless are: png, pgm, bmp"),
            (GRAY, "a.ppm", "ppm does not hold gray images"),
            (RGB, "a.pgm", "pgm does not hold RGB images"),
            (BILEVEL, "a.pgm", "pgm does not hold bilevel images; lossless are: png, bmp, tif"),
            (BILEVEL, "a.webp", "webp does not hold bilevel images"),
            (np.zeros((1, 16384, 3), np.uint8), "a.webp", "webp does not hold this image: "),
        ],
    )
    def test_nothing_is_written(
        self, tmp_path: Path, array: Samples, name: str, message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            write_image(array, tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("a.jpg", "jpg would lose bits; lossless are: png, ppm"),
            ("a.AVIF", "avif would lose bits"),
            ("a.xyz", "unknown image format 'xyz'"),
            ("a", "unknown image format ''"),
        ],
    )
    def test_a_format_can_be_checked_before_there_is_an_image(
        self, tmp_path: Path, name: str, message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            check_format(tmp_path / name)
        with pytest.raises(UnsupportedImageError, match=message):
            check_format(io.BytesIO(), Path(name).suffix)

    @pytest.mark.parametrize("format", sorted({*RGB_FORMATS, *GRAY_FORMATS}))
    def test_a_lossless_format_passes_and_nothing_is_written(
        self, tmp_path: Path, format: str
    ) -> None:
        check_format(tmp_path / f"a.{format}")
        check_format(tmp_path / "a.jpg", format.upper())
        check_format(stream := io.BytesIO(), f".{format}")
        assert list(tmp_path.iterdir()) == []
        assert stream.getvalue() == b""

    def test_a_stream_has_no_extension_to_check(self) -> None:
        with pytest.raises(ValueError, match="format must be given"):
            check_format(io.BytesIO())

    def test_a_stream_has_no_extension(self) -> None:
        with pytest.raises(ValueError, match="format must be given"):
            write_image(RGB, io.BytesIO())


class TestAsSamples:
    @pytest.mark.parametrize("array", [GRAY, RGB], ids=["gray", "RGB"])
    def test_contiguous_arrays_are_not_copied(self, array: Samples) -> None:
        assert np.shares_memory(as_samples(array), array)

    @KINDS
    @pytest.mark.parametrize(
        "view",
        [np.asfortranarray, np.flipud, lambda array: array[::2, 1:]],
        ids=["by columns", "upside down", "part"],
    )
    def test_any_memory_layout(self, array: Samples, view: Callable[[Samples], Samples]) -> None:
        samples = as_samples(view(array))
        assert samples.flags.c_contiguous
        np.testing.assert_array_equal(samples, view(array), strict=True)

    @pytest.mark.parametrize("true", [1, 2, 255])
    def test_bools_are_0_and_1_in_memory_whatever_they_were(self, true: int) -> None:
        array = (BILEVEL * np.uint8(true)).view(np.bool_)
        samples = as_samples(array)
        np.testing.assert_array_equal(samples.view(np.uint8), np.where(BILEVEL, 1, 0))

    @KINDS
    def test_pillow_images(self, array: Samples) -> None:
        samples = as_samples(Image.fromarray(array))
        np.testing.assert_array_equal(samples, array, strict=True)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (RGB / 255.0, "samples of type float64"),
            (RGB.astype(np.int64), "samples of type int64"),
            (RGB.astype(np.uint16), "samples of type uint16"),
            (RGB > 3, "samples of one bit in three channels"),
            (BILEVEL[0], r"shape \(5,\)"),
            (BILEVEL[:0], "has no pixels"),
            (RGB[..., :1], r"shape \(7, 5, 1\)"),
            (RGB[..., :2], r"shape \(7, 5, 2\)"),
            (RGB[None], r"shape \(1, 7, 5, 3\)"),
            (GRAY[0], r"shape \(5,\)"),
            (GRAY[:0], "has no pixels"),
            ([[1, 2], [3, 4]], "a list is no image"),
            (Image.new("RGBA", (2, 2)), "RGB with alpha"),
            (Image.new("I;16", (2, 2)), "16-bit gray"),
        ],
    )
    def test_everything_else_is_refused(self, image: Any, message: str) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            as_samples(image)
