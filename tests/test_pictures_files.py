"""Image files: every lossless format gives the same picture, or says that it cannot hold it."""

import io
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_kinds import BY_NAME, KINDS, Kind, png_of
from pixelcodec.errors import UnsupportedImageError
from pixelcodec.pictures import Chunk, Picture, check_format, read_picture, write_picture

Samples = npt.NDArray[Any]

GRAY = BY_NAME["8-bit gray"]
DEEP_GRAY = BY_NAME["16-bit gray"]
RGB = BY_NAME["8-bit RGB"]
RGBA = BY_NAME["8-bit RGB with alpha"]
PALETTE = BY_NAME["2-bit palette"]

# What each format holds, in the words of the kinds' names.
HOLDS = {
    "png": [kind.name for kind in KINDS],
    "tif": [kind.name for kind in KINDS if kind.name not in ("2-bit gray", "4-bit gray")],
    "webp": ["8-bit RGB", "8-bit RGB with alpha"],
    "bmp": [
        *("bilevel", "8-bit gray", "8-bit RGB"),
        *("1-bit palette", "2-bit palette", "4-bit palette", "8-bit palette"),
    ],
    "pbm": ["bilevel"],
    "pgm": ["bilevel", "2-bit gray", "4-bit gray", "8-bit gray", "16-bit gray"],
    "ppm": ["8-bit RGB", "16-bit RGB"],
    "pam": [kind.name for kind in KINDS if kind.colour_type != 3],
    "npy": [kind.name for kind in KINDS if kind.bit_depth in (1, 8, 16) and kind.colour_type != 3],
}
FORMATS = sorted({*HOLDS, "tiff"})
HELD = [(name, BY_NAME[kind]) for name, kinds in HOLDS.items() for kind in kinds]
NOT_HELD = [
    (name, kind) for name, kinds in HOLDS.items() for kind in KINDS if kind.name not in kinds
]

ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6  # lying on its side
ORIENTED[0x010F] = "Maker"
ORIENTED[0x8769] = {0x829A: 0.25}

PROFILE = Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(b"profile"))
DENSITY = Chunk(b"pHYs", struct.pack(">2IB", 2835, 3937, 1))
EXIF = Chunk(b"eXIf", ORIENTED.tobytes().removeprefix(b"Exif\0\0"))
XMP = Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
TITLE = Chunk(b"tEXt", b"Title\0x")
PRIVATE = Chunk(b"prIv", b"\0", after=True)
METADATA = (PROFILE, DENSITY, EXIF, XMP, TITLE, PRIVATE)


def named(parameter: Any) -> str:
    return parameter.name if isinstance(parameter, Kind | Chunk) else str(parameter)


def written(picture: Picture, format: str) -> bytes:
    buffer = io.BytesIO()
    write_picture(picture, buffer, format)
    return buffer.getvalue()


def read(data: bytes) -> Picture:
    return read_picture(io.BytesIO(data))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def saved_frames(mode: str, format: str) -> bytes:
    other = Image.new(mode, (3, 2), 200 if mode == "L" else (200, 0, 0))
    return saved(Image.new(mode, (3, 2)), format, save_all=True, append_images=[other])


def tiff(data: Samples, **options: Any) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, metadata=None, **options)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def noise(dtype: Any, *shape: int) -> Samples:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(1)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


class TestRoundTrip:
    @pytest.mark.parametrize(("format", "kind"), HELD, ids=named)
    @settings(deadline=None, max_examples=8)
    @given(data=st.data())
    def test_every_format_gives_back_what_it_holds(
        self, format: str, kind: Kind, data: st.DataObject
    ) -> None:
        picture = Picture(data.draw(kind.samples()), kind.bit_depth, kind.palette)
        if format == "webp":
            assume(picture.samples[..., -1].min() < 255)  # it drops alpha that is opaque
        back = read(written(picture, format))
        np.testing.assert_array_equal(back.samples, picture.samples, strict=True)
        if picture.palette is not None and back.palette is not None:
            np.testing.assert_array_equal(back.palette[: len(picture.palette)], picture.palette)
        else:
            assert back == picture

    @pytest.mark.parametrize(("format", "kind"), HELD, ids=named)
    def test_noise_is_never_refused(self, format: str, kind: Kind) -> None:
        picture = kind.picture(height=11, width=13)
        np.testing.assert_array_equal(read(written(picture, format)).samples, picture.samples)

    def test_png_gives_back_everything(self) -> None:
        picture = PALETTE.picture(*METADATA)
        assert read(written(picture, "png")) == picture

    @pytest.mark.parametrize("name", ["a.png", "a.PPM", "a.b.webp"])
    def test_the_extension_names_the_format(self, tmp_path: Path, name: str) -> None:
        picture = RGB.picture()
        write_picture(picture, tmp_path / name)
        assert read_picture(str(tmp_path / name)) == picture

    def test_a_given_format_goes_before_the_extension(self, tmp_path: Path) -> None:
        write_picture(RGB.picture(), tmp_path / "a.jpg", "PNG")
        assert (tmp_path / "a.jpg").read_bytes() == written(RGB.picture(), "png")

    @pytest.mark.parametrize("format", [name for name in HOLDS if "8-bit RGB" in HOLDS[name]])
    def test_through_a_pipe(self, format: str) -> None:
        source, sink = os.pipe()
        with os.fdopen(source, "rb") as reading:
            with os.fdopen(sink, "wb") as writing:
                write_picture(RGB.picture(), writing, format)
            assert read_picture(reading) == RGB.picture()

    def test_bytes_are_no_file_but_can_be_one(self) -> None:
        data: Any = written(RGB.picture(), "png")
        with pytest.raises(TypeError, match=r"is no image file: .*io\.BytesIO\(data\)"):
            read_picture(data)
        assert read_picture(io.BytesIO(data)) == RGB.picture()


class TestMetadata:
    @pytest.mark.parametrize(
        ("format", "kept"),
        [
            ("png", METADATA),
            ("tif", (PROFILE, DENSITY, EXIF, XMP)),
            ("webp", (PROFILE, EXIF, XMP)),
            ("bmp", (DENSITY,)),
            ("ppm", ()),
            ("pam", ()),
            ("npy", ()),
        ],
    )
    def test_what_a_format_cannot_hold_is_reported(
        self, format: str, kept: tuple[Chunk, ...]
    ) -> None:
        buffer = io.BytesIO()
        lost = write_picture(RGB.picture(*METADATA), buffer, format)
        assert lost == tuple(chunk for chunk in METADATA if chunk not in kept)
        types = {chunk.type for chunk in read(buffer.getvalue()).chunks}
        assert types == {chunk.type for chunk in kept}

    @pytest.mark.parametrize(
        ("format", "chunk"),
        [
            *(("tif", chunk) for chunk in (PROFILE, DENSITY, XMP)),
            *(("webp", chunk) for chunk in (PROFILE, EXIF, XMP)),
            ("bmp", DENSITY),
        ],
        ids=named,
    )
    def test_what_it_holds_comes_back(self, format: str, chunk: Chunk) -> None:
        assert read(written(RGB.picture(chunk), format)).chunks == (chunk,)

    @pytest.mark.parametrize("chunk", [PROFILE, DENSITY, XMP], ids=named)
    def test_tiff_of_16_bits_holds_it_too(self, chunk: Chunk) -> None:
        deep = BY_NAME["16-bit RGB"]
        assert read(written(deep.picture(chunk), "tif")) == deep.picture(chunk)

    def test_but_not_exif(self) -> None:
        picture = BY_NAME["16-bit RGB"].picture(EXIF)
        assert write_picture(picture, io.BytesIO(), "tif") == (EXIF,)

    @pytest.mark.parametrize("kind", [RGB, DEEP_GRAY, PALETTE], ids=named)
    def test_exif_of_tiff_turns_no_pixels(self, kind: Kind) -> None:
        back = read(written(kind.picture(EXIF), "tif"))
        np.testing.assert_array_equal(back.samples, kind.picture().samples)
        exif = Image.Exif()
        exif.load(next(chunk.data for chunk in back.chunks if chunk.type == b"eXIf"))
        assert (exif[0x0112], exif[0x010F]) == (6, "Maker")
        assert exif.get_ifd(0x8769) == {0x829A: 0.25}

    def test_no_exif_contradicts_the_layout_of_a_tiff(self) -> None:
        exif = Image.Exif()
        exif[0x0106] = 0  # photometric interpretation: white is zero
        exif[0x0100] = 1000  # width
        chunk = Chunk(b"eXIf", exif.tobytes())
        buffer = io.BytesIO()
        assert write_picture(GRAY.picture(chunk), buffer, "tif") == (chunk,)
        assert read(buffer.getvalue()) == GRAY.picture()

    @pytest.mark.parametrize("format", ["tif", "webp", "bmp"])
    @pytest.mark.parametrize(
        "chunk",
        [
            replace(PROFILE, data=b"broken"),
            replace(EXIF, data=b"broken"),
            replace(DENSITY, data=b"broken"),
            replace(XMP, data=b"broken"),
        ],
        ids=named,
    )
    def test_what_is_damaged_keeps_no_pixels_from_being_written(
        self, format: str, chunk: Chunk
    ) -> None:
        buffer = io.BytesIO()
        write_picture(RGB.picture(chunk), buffer, format)
        np.testing.assert_array_equal(read(buffer.getvalue()).samples, RGB.picture().samples)

    @pytest.mark.parametrize("unit", [(2, 72.009, 99.9998), (3, 28.35, 39.37)])
    def test_resolution_of_a_tiff_in_its_unit(self, unit: tuple[int, float, float]) -> None:
        data = tiff(noise("u1", 3, 4), resolution=unit[1:], resolutionunit=unit[0])
        assert DENSITY in read(data).chunks

    def test_of_a_big_tiff(self) -> None:
        data = tiff(noise("u1", 3, 4), bigtiff=True, iccprofile=b"profile", software="us")
        picture = read(data)
        assert picture.chunks[0] == PROFILE
        assert b"us\0" in picture.chunks[1].data


class TestReading:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"byteorder": ">"},
            {"bigtiff": True},
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True},
            {"compression": "lzw"},
            {"rowsperstrip": 3},
            {"tile": (16, 16)},
            {"compression": "zlib", "tile": (16, 16)},
        ],
        ids=str,
    )
    @pytest.mark.parametrize(
        ("dtype", "channels"),
        [(dtype, channels) for dtype in ("u1", "u2") for channels in (1, 2, 3, 4)],
    )
    @pytest.mark.parametrize("planes", ["contig", "separate"])
    def test_tiff_in_any_layout(
        self, options: dict[str, Any], dtype: str, channels: int, planes: str
    ) -> None:
        array = noise(dtype, 20, 21, channels)
        stored = np.moveaxis(array, 2, 0) if planes == "separate" else array
        data = (
            tiff(
                stored,
                photometric="rgb" if channels > 2 else "minisblack",
                planarconfig=planes,
                extrasamples=[2] if channels in (2, 4) else [],
                **options,
            )
            if channels > 1
            else tiff(array[..., 0], photometric="minisblack", **options)
        )
        np.testing.assert_array_equal(read(data).samples, array, strict=True)

    @pytest.mark.parametrize("dtype", ["u1", "u2"])
    def test_tiff_where_0_is_white(self, dtype: str) -> None:
        array = noise(dtype, 3, 4)
        data = tiff(array, photometric="miniswhite")
        np.testing.assert_array_equal(read(data).to_array(), ~array, strict=True)

    @pytest.mark.parametrize("compression", ["raw", "group3", "group4", "packbits"])
    def test_bilevel_tiff(self, compression: str) -> None:
        array = noise("u1", 9, 21) > 99
        data = saved(Image.fromarray(array), "TIFF", compression=compression)
        np.testing.assert_array_equal(read(data).to_array(), array, strict=True)

    def test_alpha_need_not_be_declared(self) -> None:
        array = noise("u1", 3, 4, 4)
        data = tiff(array, photometric="rgb", extrasamples=[2])
        undeclared = data.replace(struct.pack("<2HI", 338, 3, 1), struct.pack("<2HI", 339, 3, 1))
        undeclared = undeclared.replace(
            struct.pack("<2HII", 339, 3, 1, 2), struct.pack("<2HII", 339, 3, 1, 1)
        )
        assert undeclared != data
        np.testing.assert_array_equal(read(undeclared).samples, array)

    @pytest.mark.parametrize(
        ("bits", "row", "samples"),
        [(2, b"\x1b", [0, 1, 2, 3]), (4, b"\x0f\x12", [0, 15, 1, 2])],
    )
    @pytest.mark.parametrize("white_is_zero", [False, True])
    def test_gray_tiff_of_few_bits_is_not_scaled(
        self, bits: int, row: bytes, samples: list[int], white_is_zero: bool
    ) -> None:
        picture = read(small_tiff(bits, row, photometric=0 if white_is_zero else 1))
        assert picture.kind == f"{bits}-bit gray"
        expected = [(1 << bits) - 1 - sample for sample in samples] if white_is_zero else samples
        assert picture.to_array().tolist() == [expected]

    @pytest.mark.parametrize("step", [256, 257])
    def test_palette_of_a_tiff(self, step: int) -> None:
        colours = np.arange(768).reshape(3, 256) % 256
        data = tiff(
            noise("u1", 3, 4), photometric="palette", colormap=(colours * step).astype("u2")
        )
        palette = read(data).palette
        assert palette is not None
        np.testing.assert_array_equal(palette.T, colours)

    @pytest.mark.parametrize(
        ("data", "kind", "samples"),
        [
            (b"P1 2 2\n1 0\n0 1", "bilevel", [[False, True], [True, False]]),
            (b"P1 2 2\n10\n01", "bilevel", [[False, True], [True, False]]),
            (b"P4 4 1\n\xa0", "bilevel", [[False, True, False, True]]),
            (b"P2 # a comment\n2 1 1\n0 1", "bilevel", [[False, True]]),
            (b"P2 2 1 3 0 3", "2-bit gray", [[0, 3]]),
            (b"P5 4 1 15\n\x00\x0f\x01\x02", "4-bit gray", [[0, 15, 1, 2]]),
            (b"P5 2 1 255\n\x00\xff", "8-bit gray", [[0, 255]]),
            (b"P5 2 1 65535\n\x00\x01\x01\x00", "16-bit gray", [[1, 256]]),
            (b"P3 1 1 255 1 2 3", "8-bit RGB", [[[1, 2, 3]]]),
            (b"P6 1 1 255 \x01\x02\x03", "8-bit RGB", [[[1, 2, 3]]]),
            (b"P6 1 1 65535 \x00\x01\x00\x02\x00\x03", "16-bit RGB", [[[1, 2, 3]]]),
            (
                b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\n"
                b"ENDHDR\n\1\2",
                "8-bit gray with alpha",
                [[[1, 2]]],
            ),
            (
                b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n\0\1",
                "bilevel",
                [[False, True]],
            ),
        ],
    )
    def test_netpbm(self, data: bytes, kind: str, samples: list[Any]) -> None:
        picture = read(data)
        assert picture.kind == kind
        assert picture.to_array().tolist() == samples

    @pytest.mark.parametrize(
        "array",
        [
            noise("u1", 3, 4) > 99,
            noise("u2", 3, 4).astype(">u2"),
            np.asfortranarray(noise("u1", 3, 4, 3)),
        ],
        ids=["bool", "big-endian", "columns"],
    )
    def test_npy(self, array: Samples) -> None:
        np.testing.assert_array_equal(read(npy(array)).to_array(), array)

    @pytest.mark.parametrize("format", ["GIF", "BMP"])
    def test_palettes_of_other_formats(self, format: str) -> None:
        image = Image.frombytes("P", (4, 2), bytes(range(8)))
        image.putpalette(bytes(range(24)))
        picture = read(saved(image, format))
        palette = picture.palette
        assert palette is not None
        np.testing.assert_array_equal(palette[picture.to_array()], image.convert("RGB"))

    def test_a_transparent_colour_of_a_gif(self) -> None:
        image = Image.frombytes("P", (4, 1), bytes(range(4)))
        image.putpalette(bytes(range(12)))
        assert Chunk(b"tRNS", b"\xff\xff\0") in read(saved(image, "GIF", transparency=2)).chunks

    @pytest.mark.parametrize("channels", [3, 4])
    def test_qoi(self, channels: int) -> None:
        import imagecodecs

        array = noise("u1", 5, 7, channels)
        np.testing.assert_array_equal(read(imagecodecs.qoi_encode(array)).samples, array)

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_jpeg_is_read_as_pillow_decodes_it(self, mode: str) -> None:
        data = saved(Image.fromarray(noise("u1", 9, 9, 3)).convert(mode), "JPEG")
        np.testing.assert_array_equal(read(data).to_array(), Image.open(io.BytesIO(data)))


def small_tiff(bits: int, row: bytes, photometric: int) -> bytes:
    """Return a TIFF of one row of gray samples of few bits."""
    entries = [
        (256, 3, 1, 8 * len(row) // bits),  # width
        (257, 3, 1, 1),  # height
        (258, 3, 1, bits),
        (259, 3, 1, 1),  # no compression
        (262, 3, 1, photometric),
        (273, 4, 1, 8 + 2 + 12 * 9 + 4),  # where the row is
        (277, 3, 1, 1),  # samples a pixel
        (278, 3, 1, 1),  # rows a strip
        (279, 4, 1, len(row)),
    ]
    directory = b"".join(struct.pack("<2H2I", *entry) for entry in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + row


class TestRefusedKinds:
    CASES = (
        pytest.param(saved(Image.new("CMYK", (3, 2)), "JPEG"), "CMYK", id="CMYK JPEG"),
        pytest.param(saved(Image.new("CMYK", (3, 2)), "TIFF"), "CMYK", id="CMYK TIFF"),
        pytest.param(saved(Image.new("LAB", (3, 2)), "TIFF"), r"CIE L\*a\*b\*", id="LAB TIFF"),
        pytest.param(saved(Image.new("YCbCr", (3, 2)), "TIFF"), "YCbCr", id="YCbCr TIFF"),
        pytest.param(saved(Image.new("F", (3, 2)), "TIFF"), "signed or floating", id="float TIFF"),
        pytest.param(tiff(noise("i2", 3, 4)), "signed or floating", id="signed TIFF"),
        pytest.param(tiff(noise("u4", 3, 4)), "32 bits a sample", id="32-bit TIFF"),
        pytest.param(
            tiff(noise("u1", 3, 4, 4), photometric="rgb", extrasamples=[1]),
            "alpha multiplied into the colours",
            id="TIFF with associated alpha",
        ),
        pytest.param(
            tiff(noise("u1", 3, 4, 4), photometric="rgb", extrasamples=[0]),
            "extra samples of unknown meaning",
            id="RGB TIFF with a fourth sample",
        ),
        pytest.param(
            tiff(noise("u1", 3, 4, 5), photometric="rgb", planarconfig=1, extrasamples=[2, 0]),
            "extra samples of unknown meaning",
            id="TIFF of five samples",
        ),
        pytest.param(
            tiff(noise("u1", 3, 4), photometric="palette", colormap=noise("u2", 3, 256)),
            "a palette of 16 bits a colour",
            id="TIFF with a fine palette",
        ),
        pytest.param(
            tiff(noise("u1", 2, 16, 16), volumetric=True, tile=(2, 16, 16), photometric=1),
            "2 slices",
            id="TIFF of a volume",
        ),
        pytest.param(b"P5 1 1 100\n\0", r"samples of 0 \.\.\. 100", id="PGM up to 100"),
        pytest.param(b"P6 1 1 1023\n" + bytes(6), r"samples of 0 \.\.\. 1023", id="10-bit PPM"),
        pytest.param(
            b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n\1\2\3\4",
            "4 samples a pixel of type 'CMYK'",
            id="CMYK PAM",
        ),
        pytest.param(saved_frames("RGB", "PNG"), "2 frames or pages", id="animated PNG"),
        pytest.param(saved_frames("RGB", "WEBP"), "2 frames or pages", id="animated WebP"),
        pytest.param(saved_frames("L", "GIF"), "2 frames or pages", id="animated GIF"),
        pytest.param(saved_frames("L", "TIFF"), "2 frames or pages", id="TIFF of two pages"),
        pytest.param(saved_frames("RGB", "MPO"), "2 frames or pages", id="JPEG of two pictures"),
        pytest.param(b"P5 2 1 255\n" + bytes(4), "2 frames or pages", id="PGM of two images"),
    )

    @pytest.mark.parametrize(("data", "kind"), CASES)
    def test_a_file_is_refused_by_what_it_is(self, tmp_path: Path, data: bytes, kind: str) -> None:
        path = tmp_path / "some.image"
        path.write_bytes(data)
        message = f"some.image: unsupported kind of image: {kind}.*; supported: bilevel"
        with pytest.raises(UnsupportedImageError, match=message):
            read_picture(path)

    @pytest.mark.parametrize(
        "array", [np.zeros((2, 2)), np.zeros((2, 2), np.int64), np.zeros((2, 2, 5), np.uint8)]
    )
    def test_arrays_that_are_no_images(self, array: Samples) -> None:
        with pytest.raises(UnsupportedImageError, match=r"float64|int64|\(2, 2, 5\)"):
            read(npy(array))

    def test_no_pickle_is_ever_loaded(self) -> None:
        with pytest.raises(UnsupportedImageError, match="allow_pickle=False"):
            read(npy(np.array([[print]], object)))


class TestDamage:
    # BMP rows end in padding, and a text may end anywhere.
    @pytest.mark.parametrize(
        ("format", "spare"),
        [("png", 0), ("ppm", 0), ("pam", 0), ("bmp", 3), ("tiff", 0), ("webp", 0), ("npy", 0)],
    )
    def test_a_truncated_file_never_gives_an_image(self, format: str, spare: int) -> None:
        data = written(RGB.picture(), format)
        for size in range(len(data) - spare):
            with pytest.raises(UnsupportedImageError):
                read(data[:size])

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_nor_does_a_truncated_tiff_of_tifffile(self, compression: str | None) -> None:
        data = tiff(noise("u2", 9, 7, 3), photometric="rgb", compression=compression)
        for size in range(len(data)):
            with pytest.raises(UnsupportedImageError):
                read(data[:size])

    def test_a_tiff_with_too_few_strips(self) -> None:
        data = tiff(noise("u1", 8, 7), rowsperstrip=1, compression="zlib")
        with pytest.raises(UnsupportedImageError, match="8 of 9 strips or tiles are there"):
            read(
                data.replace(struct.pack("<2HII", 257, 4, 1, 8), struct.pack("<2HII", 257, 4, 1, 9))
            )

    def test_damage_is_named_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "half.png"
        path.write_bytes(png_of(RGB.picture())[:60])
        with pytest.raises(UnsupportedImageError, match=r"half.png: truncated PNG: "):
            read_picture(path)
        with (
            path.open("rb") as stream,
            pytest.raises(UnsupportedImageError, match=r"half.png: truncated PNG: "),
        ):
            read_picture(stream)

    def test_but_not_with_a_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "half.png"
        path.write_bytes(png_of(RGB.picture())[:60])
        with (
            os.fdopen(os.open(path, os.O_RDONLY), "rb") as stream,
            pytest.raises(UnsupportedImageError, match=r"^truncated PNG: "),
        ):
            read_picture(stream)

    @pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
    def test_what_is_no_image(self, data: bytes) -> None:
        with pytest.raises(UnsupportedImageError, match=r"^not an image of a format that"):
            read(data)

    @pytest.mark.parametrize("data", [b"II*\0", b"MM\0*\0\0\0\10", b"P5 text", b"\x93NUMPY\1\0"])
    def test_what_only_begins_like_one(self, data: bytes) -> None:
        with pytest.raises(UnsupportedImageError, match=r"^damaged or truncated image: "):
            read(data)

    def test_nothing_is_printed_of_it(self, capfd: pytest.CaptureFixture[str]) -> None:
        data = written(RGB.picture(), "tif")
        for size in range(0, len(data), 7):
            with pytest.raises(UnsupportedImageError):
                read(data[:size])
        assert capfd.readouterr() == ("", "")

    def test_a_missing_file_is_the_callers_business(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("format", ["png", "tif", "bmp", "webp"])
class TestDecompressionBombs:
    def test_a_large_image_is_read_with_pillows_warning(
        self, format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = written(RGB.picture(), format)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # it has 35
        with pytest.warns(Image.DecompressionBombWarning):
            assert read(data) == RGB.picture()

    def test_a_huge_image_is_refused(self, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
        data = written(RGB.picture(), format)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        with pytest.raises(UnsupportedImageError, match=r"35 pixels.*MAX_IMAGE_PIXELS"):
            read(data)


class TestRefusedTargets:
    @pytest.mark.parametrize(("format", "kind"), NOT_HELD, ids=named)
    def test_a_format_names_those_that_hold_the_picture(
        self, tmp_path: Path, format: str, kind: Kind
    ) -> None:
        message = f"^{format} does not hold {kind.name} images; lossless are: png"
        with pytest.raises(UnsupportedImageError, match=message) as error:
            write_picture(kind.picture(), tmp_path / f"a.{format}")
        named = str(error.value).partition("lossless are: ")[2].split(", ")
        assert set(named) - {"tiff"} == {name for name in HOLDS if kind.name in HOLDS[name]}
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("format", sorted(set(HOLDS) - {"png"}))
    def test_only_png_has_transparent_colours(self, format: str) -> None:
        kind = BY_NAME[HOLDS[format][0]]
        picture = kind.picture(Chunk(b"tRNS", bytes(6 if kind.channels == 3 else 1)))
        message = f"^{format} does not hold {kind.name} with transparent colours images; .*: png$"
        with pytest.raises(UnsupportedImageError, match=message):
            written(picture, format)

    @pytest.mark.parametrize(
        ("picture", "format", "message"),
        [
            (replace(RGBA.picture(), samples=RGBA.picture().samples | 255), "webp", "8-bit RGB"),
            (
                Picture(
                    GRAY.picture().samples,
                    8,
                    (Chunk(b"PLTE", bytes(value // 3 for value in range(768))),),
                ),
                "bmp",
                "8-bit gray",
            ),
        ],
        ids=["opaque alpha in WebP", "palette of grays in BMP"],
    )
    def test_what_would_come_back_as_something_else(
        self, tmp_path: Path, picture: Picture, format: str, message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=f"would come back as {message}; use png"):
            write_picture(picture, tmp_path / f"a.{format}")
        assert list(tmp_path.iterdir()) == []

    def test_a_side_too_long(self, tmp_path: Path) -> None:
        picture = Picture(np.zeros((1, 16384, 3), np.uint8), 8)
        with pytest.raises(UnsupportedImageError, match="webp does not hold this image: "):
            write_picture(picture, tmp_path / "a.webp")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("a.jpg", "jpg would lose bits; lossless are: png, tif"),
            ("a.HEIC", "heic is not among the formats that can be written: png, tif"),
            ("a.gif", "gif is not among the formats that can be written: png, tif"),
            ("a.xyz", "xyz is not among the formats that can be written: png, tif"),
            ("a", "the name has no suffix to say the format; lossless are: png, tif"),
        ],
    )
    def test_formats_that_hold_nothing_without_loss(
        self, tmp_path: Path, name: str, message: str
    ) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            write_picture(RGB.picture(), tmp_path / name)
        with pytest.raises(UnsupportedImageError, match=message):
            check_format(tmp_path / name)
        with pytest.raises(UnsupportedImageError, match=message):
            check_format(io.BytesIO(), Path(name).suffix)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_lossless_format_passes_and_nothing_is_written(
        self, tmp_path: Path, format: str
    ) -> None:
        check_format(tmp_path / f"a.{format}")
        check_format(tmp_path / "a.jpg", format.upper())
        check_format(stream := io.BytesIO(), f".{format}")
        assert list(tmp_path.iterdir()) == []
        assert stream.getvalue() == b""

    def test_a_stream_has_no_extension(self) -> None:
        with pytest.raises(ValueError, match="format must be given"):
            write_picture(RGB.picture(), io.BytesIO())
        with pytest.raises(ValueError, match="format must be given"):
            check_format(io.BytesIO())
