"""Pillow images: samples, palette and metadata come and go, and what Pillow hides is refused."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_kinds import BY_NAME, KINDS, Kind, png_of
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Chunk, Picture, from_pillow, png, to_pillow

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
SHALLOW = [kind for kind in KINDS if kind.bit_depth <= 8 or kind.channels == 1]
DEEP = [kind for kind in KINDS if kind not in SHALLOW]
BYTES_A_PIXEL = {"1": 1, "L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4, "I;16": 2}

GRAY = BY_NAME["8-bit gray"]
RGB = BY_NAME["8-bit RGB"]

EXIF = Image.Exif()
EXIF[0x0112] = 6  # orientation: lying on its side
EXIF[0x010F] = "Maker"
EXIF_BYTES = EXIF.tobytes().removeprefix(b"Exif\0\0")

METADATA = (
    Chunk(b"gAMA", struct.pack(">I", 45455)),
    Chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(b"profile")),
    Chunk(b"pHYs", struct.pack(">2IB", 2835, 3937, 1)),
    Chunk(b"eXIf", EXIF_BYTES),
    Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
    Chunk(b"tEXt", b"Title\0caf\xe9"),
    Chunk(b"iTXt", "Author\0\0\0de\0Autor\0Zoë".encode()),
)


def image_of(mode: str) -> Image.Image:
    """Return an image of noise."""
    if mode == "1":
        return Image.fromarray(np.random.default_rng(1).random((5, 7)) < 0.5)
    data = np.random.default_rng(1).bytes(5 * 7 * BYTES_A_PIXEL[mode])
    image = Image.frombytes(mode, (7, 5), data)
    if mode == "P":
        image.putpalette(np.random.default_rng(2).bytes(768))
    return image


def reopened(image: Image.Image, format: str = "PNG", **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return Image.open(buffer)


def png_image(kind: Kind, *chunks: Chunk) -> Image.Image:
    """Open a hand-made PNG with Pillow."""
    return Image.open(io.BytesIO(png_of(kind.picture(*chunks))))


def same(ours: Image.Image, theirs: Image.Image) -> bool:
    return (
        ours.mode == theirs.mode
        and np.array_equal(ours, theirs)
        and ours.getpalette() == theirs.getpalette()
        and ours.info == theirs.info
    )


class TestFromPillow:
    @pytest.mark.parametrize("mode", MODES)
    def test_samples_are_those_of_the_image(self, mode: str) -> None:
        image = image_of(mode)
        np.testing.assert_array_equal(from_pillow(image).to_array(), image, strict=True)

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
    def test_any_byte_order(self, mode: str) -> None:
        image = Image.new(mode, (2, 1))
        image.putpixel((1, 0), 258)
        samples = from_pillow(image).to_array()
        assert samples.dtype == np.uint16
        assert samples.tolist() == [[0, 258]]

    def test_bilevel_samples_are_0_and_1(self) -> None:
        assert from_pillow(Image.new("1", (1, 1), 1)).samples.tolist() == [[[1]]]

    @pytest.mark.parametrize("mode", MODES)
    def test_there_and_back(self, mode: str) -> None:
        image = image_of(mode)
        assert same(to_pillow(from_pillow(image)), image)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_part_of_an_image(self, mode: str) -> None:
        image = image_of(mode).crop((1, 2, 4, 5))
        np.testing.assert_array_equal(from_pillow(image).to_array(), image, strict=True)


class TestPalettes:
    @pytest.mark.parametrize(
        ("colours", "largest", "bit_depth"),
        [
            (2, 1, 1),
            (3, 1, 2),
            (4, 3, 2),
            (2, 2, 2),
            (5, 0, 4),
            (16, 15, 4),
            (17, 0, 8),
            (2, 99, 8),
        ],
    )
    def test_indexes_get_the_bits_that_they_and_the_palette_need(
        self, colours: int, largest: int, bit_depth: int
    ) -> None:
        image = Image.new("P", (2, 1), largest)
        image.putpalette(bytes(range(3 * colours)))
        assert from_pillow(image).bit_depth == bit_depth

    @pytest.mark.parametrize(
        "transparency", [None, 0, 2, 9, b"\x00\x80", b"\x01\x02\x03\x04", bytes(9)]
    )
    def test_every_colour_stays_as_it_looks(self, transparency: int | bytes | None) -> None:
        image = Image.frombytes("P", (4, 1), bytes(range(4)))
        image.putpalette(bytes(range(100, 112)))
        if transparency is not None:
            image.info["transparency"] = transparency
        back = to_pillow(from_pillow(image))
        np.testing.assert_array_equal(back.convert("RGBA"), image.convert("RGBA"))

    def test_a_palette_with_alpha(self) -> None:
        image = Image.frombytes("P", (4, 1), bytes(range(4)))
        image.putpalette(bytes(range(0, 160, 10)), "RGBA")
        picture = from_pillow(image)
        assert picture.find(b"tRNS") == Chunk(b"tRNS", bytes([30, 70, 110, 150]))
        np.testing.assert_array_equal(to_pillow(picture).convert("RGBA"), image.convert("RGBA"))

    def test_without_a_palette_all_is_black_as_pillow_shows_it(self) -> None:
        image = Image.new("P", (2, 1), 3)
        back = to_pillow(from_pillow(image))
        np.testing.assert_array_equal(back, image)
        np.testing.assert_array_equal(back.convert("RGB"), image.convert("RGB"))


class TestTransparentColours:
    @pytest.mark.parametrize(
        ("mode", "transparency", "stored"),
        [
            ("1", 255, (1,)),
            ("1", 0, (0,)),
            ("L", 7, (7,)),
            ("I;16", 40_000, (40_000,)),
            ("RGB", (1, 2, 3), (1, 2, 3)),
        ],
    )
    def test_they_become_a_chunk(
        self, mode: str, transparency: Any, stored: tuple[int, ...]
    ) -> None:
        image = image_of(mode)
        image.info["transparency"] = transparency
        picture = from_pillow(image)
        assert picture.chunks == (Chunk(b"tRNS", struct.pack(f">{len(stored)}H", *stored)),)
        assert to_pillow(picture).info == {"transparency": transparency}

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_with_alpha_they_mean_nothing(self, mode: str) -> None:
        image = image_of(mode)
        image.info["transparency"] = 3
        assert from_pillow(image).chunks == ()

    @pytest.mark.parametrize(("mode", "transparency"), [("L", b"\0"), ("RGB", 3), ("RGB", (1, 2))])
    def test_what_is_no_colour_of_the_mode(self, mode: str, transparency: Any) -> None:
        image = image_of(mode)
        image.info["transparency"] = transparency
        with pytest.raises(
            UnsupportedImageError, match=f"transparent colour .* in Pillow mode {mode}"
        ):
            from_pillow(image)


class TestMetadata:
    @pytest.mark.parametrize("chunk", METADATA, ids=lambda chunk: chunk.name)
    def test_chunks_come_back(self, chunk: Chunk) -> None:
        assert from_pillow(png_image(RGB, chunk)).chunks == (chunk,)

    def test_all_at_once(self) -> None:
        assert set(from_pillow(png_image(RGB, *METADATA)).chunks) == set(METADATA)

    def test_pillow_finds_the_same_info(self) -> None:
        image = png_image(RGB, *METADATA)
        assert same(to_pillow(from_pillow(image)), image)

    @pytest.mark.parametrize("kind", SHALLOW, ids=lambda kind: kind.name)
    def test_a_copy_has_it_all(self, kind: Kind) -> None:
        image = png_image(kind, *METADATA)
        assert from_pillow(image.copy()) == from_pillow(image)

    def test_text_after_the_pixels(self) -> None:
        data = png.write(RGB.picture(Chunk(b"tEXt", b"Title\0late", after=True)))
        with Image.open(io.BytesIO(data)) as image:
            assert from_pillow(image).chunks == (Chunk(b"tEXt", b"Title\0late"),)

    def test_srgb_and_an_aspect_ratio(self) -> None:
        chunks = (Chunk(b"sRGB", b"\1"), Chunk(b"pHYs", struct.pack(">2IB", 4, 3, 0)))
        assert from_pillow(png_image(GRAY, *chunks)).chunks == chunks

    @pytest.mark.parametrize("format", ["JPEG", "WEBP"])
    def test_of_other_formats(self, format: str) -> None:
        image = reopened(
            Image.new("RGB", (8, 8)),
            format,
            **{"icc_profile": b"profile", "exif": EXIF.tobytes(), "xmp": b"<x/>", "lossless": True},
        )
        info = to_pillow(from_pillow(image)).info
        assert info["icc_profile"] == b"profile"
        assert info["exif"] == EXIF.tobytes()
        assert info["xmp"] == b"<x/>"

    @pytest.mark.parametrize("format", ["JPEG", "GIF"])
    def test_a_comment_is_text(self, format: str) -> None:
        image = reopened(Image.new("L", (8, 8)), format, comment="caf\xe9".encode("latin-1"))
        assert Chunk(b"tEXt", b"Comment\0caf\xe9") in from_pillow(image).chunks

    def test_resolution_of_a_jpeg(self) -> None:
        image = reopened(Image.new("L", (8, 8)), "JPEG", dpi=(72, 100))
        assert from_pillow(image).chunks == (METADATA[3],)

    def test_of_a_tiff_without_its_layout(self) -> None:
        image = reopened(Image.new("L", (8, 8)), "TIFF", dpi=(72, 100), description="what it is")
        picture = from_pillow(image)
        assert [chunk.name for chunk in picture.chunks] == ["pHYs", "eXIf"]
        tags = Image.Exif()
        tags.load(picture.chunks[1].data)
        assert dict(tags) == {0x010E: "what it is"}

    @pytest.mark.parametrize(
        "info",
        [
            {"a\0b": "x"},
            {"": "x"},
            {"k" * 80: "x"},
            {"\u20ac": "x"},
            {1: "x"},
            {"compression": "raw"},
            {"dpi": (0, 0)},
            {"dpi": (float("nan"), 72)},
            {"loop": 0, "background": (0, 0, 0), "duration": 3},
        ],
    )
    def test_what_is_no_metadata_of_png(self, info: dict[Any, Any]) -> None:
        image = Image.new("L", (2, 2))
        image.info = info
        assert from_pillow(image).chunks == ()

    def test_text_that_latin_1_cannot_write(self) -> None:
        image = Image.new("L", (2, 2))
        image.info["Title"] = "\u20ac"
        assert from_pillow(image).chunks == (Chunk(b"iTXt", "Title\0\0\0\0\0€".encode()),)


class TestToPillow:
    @pytest.mark.parametrize("kind", SHALLOW, ids=lambda kind: kind.name)
    def test_it_is_what_opening_the_png_gives(self, kind: Kind) -> None:
        image = png_image(kind, *METADATA)
        ours = to_pillow(kind.picture(*METADATA))
        assert same(ours, image)
        assert ours.text == image.text

    @pytest.mark.parametrize("kind", DEEP, ids=lambda kind: kind.name)
    def test_samples_are_never_cut(self, kind: Kind) -> None:
        message = f"^{kind.name} does not fit into a Pillow image.*use the array"
        with pytest.raises(UnsupportedImageError, match=message):
            to_pillow(kind.picture())

    @pytest.mark.parametrize("kind", SHALLOW, ids=lambda kind: kind.name)
    @settings(deadline=None, max_examples=10)
    @given(data=st.data())
    def test_and_back_again(self, kind: Kind, data: st.DataObject) -> None:
        picture = Picture(data.draw(kind.samples()), kind.bit_depth, kind.palette)
        back = from_pillow(to_pillow(picture))
        if kind.name in ("2-bit gray", "4-bit gray"):  # Pillow scales them
            scaled = picture.samples * (255 // kind.largest)
            assert back == replace(picture, samples=scaled, bit_depth=8)
        else:
            assert back == picture

    def test_metadata_that_pillow_takes_for_damaged(self) -> None:
        with pytest.raises(UnsupportedImageError, match="Truncated gAMA chunk"):
            to_pillow(GRAY.picture(Chunk(b"gAMA", b"\0")))


def tiff(**options: Any) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, metadata=None, **options)
    return buffer.getvalue()


def frames(mode: str, format: str) -> Image.Image:
    other = Image.new(mode, (3, 2), 200 if mode == "L" else (200, 0, 0))
    return reopened(Image.new(mode, (3, 2)), format, save_all=True, append_images=[other])


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


DEEP_SAMPLES = np.zeros((2, 2, 3), np.uint16)
FOUR_SAMPLES = np.zeros((2, 2, 4), np.uint8)


class TestRefused:
    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            (lambda: Image.new("PA", (2, 2)), "palette with alpha"),
            (lambda: Image.new("CMYK", (2, 2)), "CMYK"),
            (lambda: Image.new("LAB", (2, 2)), "LAB"),
            (lambda: Image.new("I", (2, 2)), "32-bit gray"),
            (lambda: Image.new("F", (2, 2)), "floating-point gray"),
            (lambda: Image.new("La", (2, 2)), "gray with alpha multiplied into it"),
            (lambda: frames("RGB", "PNG"), "2 frames or pages"),
            (lambda: frames("RGB", "WEBP"), "2 frames or pages"),
            (lambda: frames("L", "GIF"), "2 frames or pages"),
            (lambda: frames("L", "TIFF"), "2 frames or pages"),
            (lambda: frames("RGB", "MPO"), "2 frames or pages"),
            *(
                (lambda kind=kind: opened(png_of(kind.picture())), "more than 8 bits a sample")
                for kind in DEEP
            ),
            (lambda: opened(b"P6 1 1 65535\n" + bytes(6)), "more than 8 bits"),
            (lambda: opened(b"P6 1 1 1023\n" + bytes(6)), "more than 8 bits"),
            (lambda: opened(tiff(data=DEEP_SAMPLES, photometric="rgb")), "more than 8 bits"),
            (
                lambda: opened(tiff(data=DEEP_SAMPLES[..., 0], photometric="miniswhite")),
                "16-bit gray where 0 is white",
            ),
            (
                lambda: opened(tiff(data=np.zeros((2, 2), np.int8), photometric="minisblack")),
                "signed or floating-point samples",
            ),
            (
                lambda: opened(tiff(data=FOUR_SAMPLES, photometric="rgb", extrasamples=[1])),
                "alpha multiplied into the colours",
            ),
            (
                lambda: opened(tiff(data=FOUR_SAMPLES, photometric="rgb", extrasamples=[0])),
                "extra samples of unknown meaning",
            ),
        ],
    )
    def test_by_what_it_is(self, make: Callable[[], Image.Image], kind: str) -> None:
        with (
            make() as image,
            pytest.raises(UnsupportedImageError, match=f"^unsupported kind of image: {kind}.*mode"),
        ):
            from_pillow(image)

    @pytest.mark.parametrize(
        "options",
        [
            {"data": DEEP_SAMPLES[..., 0], "photometric": "minisblack"},
            {"data": FOUR_SAMPLES, "photometric": "rgb", "extrasamples": [2]},
            {"data": FOUR_SAMPLES[..., 0], "photometric": "miniswhite"},
        ],
    )
    def test_but_not_their_relatives(self, options: dict[str, Any]) -> None:
        expected = opened(tiff(**options))
        np.testing.assert_array_equal(from_pillow(opened(tiff(**options))).to_array(), expected)

    def test_a_truncated_file(self) -> None:
        with (
            opened(png_of(RGB.picture())[:70]) as image,
            pytest.raises(UnsupportedImageError, match=r"^damaged or truncated image: "),
        ):
            from_pillow(image)
