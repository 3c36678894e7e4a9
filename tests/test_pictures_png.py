"""PNG: every kind is read as it stands in the file, and what is written gives the same picture."""

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_kinds import BY_NAME, KINDS, Kind, header, pixels, png_file, png_of
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Chunk, Picture, png

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

GRAY = BY_NAME["8-bit gray"]
PALETTE = BY_NAME["2-bit palette"]
RGB = BY_NAME["8-bit RGB"]
DEEP_RGB = BY_NAME["16-bit RGB"]

# Of these, a decoder could take notice: they say how to show the samples.
TELLING = (
    Chunk(b"gAMA", struct.pack(">I", 220_000)),
    Chunk(b"sBIT", bytes([1, 1, 1, 1])),
    Chunk(b"bKGD", bytes(6)),
    Chunk(b"cICP", bytes([9, 16, 0, 1])),
)
TRANSPARENT = {0: bytes(2), 2: bytes(6), 3: bytes([0, 128])}


def text(value: bytes = b"x", after: bool = False) -> Chunk:
    return Chunk(b"tEXt", b"Title\0" + value, after)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Chunk, ...]:
    """Draw ancillary chunks, known ones and private ones, in any order."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    private = st.text(letters, min_size=4, max_size=4).map(lambda name: name[:2] + name[2:].title())
    known = st.sampled_from(["tEXt", "zTXt", "iCCP", "eXIf", "pHYs", "tIME", "sPLT", "tRNS"])
    types = st.one_of(private, known).map(str.encode).filter(lambda type: type != b"acTL")
    drawn = draw(st.lists(st.builds(Chunk, types, st.binary(max_size=9), st.booleans())))
    return tuple(sorted(drawn, key=lambda chunk: chunk.after))


class TestReading:
    @every_kind
    @pytest.mark.parametrize("interlaced", [False, True], ids=["", "interlaced"])
    def test_samples_are_those_of_the_file(self, kind: Kind, interlaced: bool) -> None:
        picture = kind.picture(height=11, width=13)
        assert png.read(png_of(picture, interlaced)) == picture

    @every_kind
    def test_what_says_how_to_show_them_changes_nothing(self, kind: Kind) -> None:
        transparent = TRANSPARENT.get(kind.colour_type)
        more = TELLING if transparent is None else (*TELLING, Chunk(b"tRNS", transparent))
        picture = kind.picture(*more)
        assert png.read(png_of(picture)) == picture

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
    def test_interlaced_images_with_empty_passes(self, size: int) -> None:
        for kind in (GRAY, PALETTE, DEEP_RGB):
            picture = kind.picture(height=size, width=6 - size)
            assert png.read(png_of(picture, interlaced=True)) == picture

    def test_pixels_in_many_chunks_and_in_empty_ones(self) -> None:
        picture = RGB.picture()
        type, data = pixels(picture.samples, 8)
        parts = [(type, part) for part in (data[:1], b"", data[1:9], data[9:])]
        assert png.read(png_file(header(RGB, 5, 7), *parts)) == picture

    def test_chunks_keep_their_order_and_their_side(self) -> None:
        before, after = (text(b"1"), *PALETTE.palette, text(b"2")), (text(b"3", True),)
        samples = PALETTE.picture().samples
        data = png_file(
            header(PALETTE, 5, 7),
            *((chunk.type, chunk.data) for chunk in before),
            pixels(samples, 2),
            (b"tEXt", b"Title\x003"),
        )
        assert png.read(data).chunks == (*before, *after)

    def test_bytes_after_the_end_are_no_part_of_the_image(self) -> None:
        picture = RGB.picture()
        assert png.read(png_of(picture) + b"more") == picture

    def test_interlacing_makes_no_noise(self, capfd: pytest.CaptureFixture[str]) -> None:
        png.read(png_of(DEEP_RGB.picture(), interlaced=True))
        assert capfd.readouterr() == ("", "")


class TestWriting:
    @every_kind
    @settings(deadline=None, max_examples=15)
    @given(data=st.data())
    def test_reading_gives_the_same_picture(self, kind: Kind, data: st.DataObject) -> None:
        samples = data.draw(kind.samples())
        more = data.draw(chunks())
        picture = Picture(samples, kind.bit_depth, (*kind.palette, *more))
        assert png.read(png.write(picture, data.draw(st.sampled_from([None, 0, 1])))) == picture

    @every_kind
    @pytest.mark.parametrize("compress_level", [None, 0, 1, 9])
    def test_at_any_level_of_compression(self, kind: Kind, compress_level: int | None) -> None:
        picture = kind.picture(text(), text(after=True))
        assert png.read(png.write(picture, compress_level)) == picture

    @pytest.mark.parametrize("kind", [GRAY, DEEP_RGB], ids=lambda kind: kind.name)
    def test_levels_do_compress(self, kind: Kind) -> None:
        waves = np.sin(np.arange(120_000) / 50).reshape(200, 200, 3) * 0.5 + 0.5
        samples = np.round(waves[..., : kind.channels] * kind.largest).astype(kind.dtype)
        picture = Picture(np.ascontiguousarray(samples), kind.bit_depth)
        sizes = [len(png.write(picture, level)) for level in (None, 1, 0)]
        assert sizes[0] < sizes[1] < picture.samples.nbytes < sizes[2]

    @pytest.mark.parametrize(
        "kind", [each for each in KINDS if each.bit_depth <= 8 or each.channels == 1]
    )
    def test_pillow_sees_what_a_hand_made_file_shows(self, kind: Kind) -> None:
        picture = kind.picture()
        ours, theirs = (
            Image.open(io.BytesIO(data)) for data in (png.write(picture), png_of(picture))
        )
        assert ours.mode == theirs.mode
        np.testing.assert_array_equal(ours, theirs)

    def test_the_file_has_our_chunks_and_no_others(self) -> None:
        more = (text(), Chunk(b"prIv", b"\0\1"), text(after=True))
        data = png.write(PALETTE.picture(*more))
        types = [data[at - 4 : at] for at in chunk_data_begins(data)]
        assert types == [b"IHDR", b"PLTE", b"tEXt", b"prIv", b"IDAT", b"tEXt", b"IEND"]

    def test_a_side_too_long_for_the_library(self) -> None:
        picture = Picture(np.zeros((1, 1_000_001, 3), np.uint16), 16)
        with pytest.raises(UnsupportedImageError, match="PNG does not hold this image"):
            png.write(picture)


def chunk_data_begins(data: bytes) -> list[int]:
    begins = [8 + 8]
    while (end := begins[-1] + int.from_bytes(data[begins[-1] - 8 : begins[-1] - 4]) + 4) < len(
        data
    ):
        begins.append(end + 8)
    return begins


class TestDamage:
    PICTURE = RGB.picture(text(), text(after=True), height=2, width=2)

    @pytest.mark.parametrize("kind", [RGB, DEEP_RGB, PALETTE], ids=lambda kind: kind.name)
    def test_a_truncated_file_never_gives_an_image(self, kind: Kind) -> None:
        data = png.write(kind.picture(text(after=True), height=2, width=2))
        for size in range(len(data)):
            with pytest.raises(UnsupportedImageError, match=r"truncated PNG: .*|not a PNG"):
                png.read(data[:size])

    def test_a_flipped_bit_never_gives_an_image(self) -> None:
        data = png.write(self.PICTURE)
        for position in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[position // 8] ^= 1 << position % 8
            with pytest.raises(UnsupportedImageError):
                png.read(bytes(damaged))

    def test_the_damaged_chunk_is_named_with_its_place(self) -> None:
        data = png.write(self.PICTURE).replace(b"Title\0x", b"Title\0y", 1)
        place = data.index(b"tEXt") - 4
        message = rf"damaged PNG: wrong checksum of the chunk 'tEXt' at byte {place}$"
        with pytest.raises(UnsupportedImageError, match=message):
            png.read(data)

    def test_a_truncated_file_says_where_it_ends(self) -> None:
        data = png.write(self.PICTURE)[:45]
        message = r"truncated PNG: the file ends at byte 45, inside the chunk 'tEXt', which begins"
        with pytest.raises(UnsupportedImageError, match=message):
            png.read(data)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ((0, 1, 8, 2, 0, 0, 0), "IHDR says 0x1 pixels"),
            ((1, 0, 8, 2, 0, 0, 0), "IHDR says 1x0 pixels"),
            ((1, 1, 4, 2, 0, 0, 0), "IHDR says 4 bits and colour type 2"),
            ((1, 1, 16, 3, 0, 0, 0), "IHDR says 16 bits and colour type 3"),
            ((1, 1, 8, 1, 0, 0, 0), "IHDR says 8 bits and colour type 1"),
            ((1, 1, 8, 2, 1, 0, 0), "compression 1"),
            ((1, 1, 8, 2, 0, 1, 0), "filter 1"),
            ((1, 1, 8, 2, 0, 0, 2), "interlace 2"),
        ],
    )
    def test_headers_that_say_nothing_known(self, fields: tuple[int, ...], message: str) -> None:
        ihdr = (b"IHDR", struct.pack(">2I5B", *fields))
        with pytest.raises(UnsupportedImageError, match=f"^damaged PNG: .*{message}"):
            png.read(png_file(ihdr, pixels(RGB.picture().samples, 8)))

    PIXELS = pixels(RGB.picture(height=1, width=1).samples, 8)
    PLTE = (b"PLTE", bytes(6))

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ((), "the first chunk is not IHDR"),
            ((PIXELS, header(RGB)), "the first chunk is not IHDR"),
            (((b"IHDR", bytes(12)), PIXELS), "IHDR of 12 bytes, not 13"),
            ((header(RGB),), r"no pixels \(IDAT\)"),
            (
                (header(RGB), PIXELS, (b"tEXt", b"a"), PIXELS),
                "another chunk stands among the pixels",
            ),
            ((header(PALETTE), PIXELS), "a palette image without a palette"),
            ((header(PALETTE), PIXELS, PLTE), "alone and before the pixels"),
            ((header(GRAY), PLTE, PIXELS), "a gray image with a palette"),
            ((header(RGB), header(RGB), PIXELS), "chunk IHDR belongs to the pixels"),
            ((header(RGB), (b"NEWs", b""), PIXELS), "chunk NEWs of unknown meaning"),
            ((header(RGB), (b"1234", b""), PIXELS), "the type of a PNG chunk is 4 letters"),
        ],
    )
    def test_chunks_that_make_no_image(
        self, parts: tuple[tuple[bytes, bytes], ...], message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            png.read(png_file(*parts))

    @every_kind
    def test_too_few_pixels(self, kind: Kind) -> None:
        picture = kind.picture(height=4, width=9)
        rows = pixels(picture.samples[:3], kind.bit_depth)
        palette = [(chunk.type, chunk.data) for chunk in kind.palette]
        with pytest.raises(UnsupportedImageError, match="damaged or truncated image"):
            png.read(png_file(header(kind, 4, 9), *palette, rows))

    @pytest.mark.parametrize("kind", [RGB, DEEP_RGB], ids=["Pillow", "imagecodecs"])
    def test_pixels_that_are_not_compressed(self, kind: Kind) -> None:
        with pytest.raises(UnsupportedImageError, match="damaged or truncated image"):
            png.read(png_file(header(kind), (b"IDAT", bytes(20))))

    @pytest.mark.parametrize("data", [b"", b"text", b"GIF89a"])
    def test_what_is_no_png(self, data: bytes) -> None:
        with pytest.raises(UnsupportedImageError, match=r"^not a PNG"):
            png.read(data)


def test_animations_are_refused() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImageError, match="3 frames or pages"):
        png.read(buffer.getvalue())


@pytest.mark.parametrize("kind", [GRAY, DEEP_RGB], ids=lambda kind: kind.name)
class TestDecompressionBombs:
    @pytest.fixture(autouse=True)
    def limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)

    def test_a_large_image_is_read_with_pillows_warning(self, kind: Kind) -> None:
        picture = kind.picture(height=5, width=7)
        with pytest.warns(Image.DecompressionBombWarning, match="35 pixels") as warnings:
            assert png.read(png_of(picture)) == picture
        assert len(warnings) == 1

    def test_a_large_image_is_refused_where_warnings_are_errors(self, kind: Kind) -> None:
        with pytest.raises(UnsupportedImageError, match=r"35 pixels.*MAX_IMAGE_PIXELS"):
            png.read(png_of(kind.picture(height=5, width=7)))

    def test_a_huge_image_is_refused_before_it_is_decoded(self, kind: Kind) -> None:
        data = png_file(header(kind, 2**31 - 1, 2**31 - 1), pixels(kind.picture().samples, 8))
        with pytest.raises(UnsupportedImageError, match=r"\d{19} pixels.*MAX_IMAGE_PIXELS"):
            png.read(data)

    def test_there_may_be_no_limit(self, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        picture = kind.picture(height=50, width=70)
        assert png.read(png_of(picture)) == picture


SUITE = Path(os.environ.get("PIXELCODEC_PNGSUITE", "no-such-folder"))
needs_suite = pytest.mark.skipif(
    not SUITE.is_dir(), reason="PIXELCODEC_PNGSUITE does not name the folder of PngSuite"
)


@needs_suite
class TestPngSuite:
    @pytest.mark.parametrize("path", sorted(SUITE.glob("[!x]*.png")), ids=lambda path: path.stem)
    def test_every_file_survives(self, path: Path) -> None:
        data = path.read_bytes()
        picture = png.read(data)
        written = png.write(picture)
        assert png.read(written) == picture
        assert shown(written) == shown(data)

    @pytest.mark.parametrize("path", sorted(SUITE.glob("x*.png")), ids=lambda path: path.stem)
    def test_every_broken_file_is_refused(self, path: Path) -> None:
        with pytest.raises(UnsupportedImageError):
            png.read(path.read_bytes())


def shown(data: bytes) -> tuple[Any, ...]:
    """Tell what Pillow shows of a PNG."""
    with Image.open(io.BytesIO(data)) as image:
        array = np.array(image)
        info = {key: value for key, value in image.info.items() if key != "interlace"}
        palette = image.getpalette() if image.mode == "P" else None
        return image.mode, array.tolist(), palette, info, image.text
