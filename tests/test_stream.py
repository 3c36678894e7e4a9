"""Streaming: rows and bytes come in pieces of any size, and the file is the same."""

import io
import threading
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelcodec
import works
from pixelcodec import Decoder, Encoder, Picture, api, container, stream
from pixelcodec.errors import FormatError, PixelcodecError, UnsupportedImageError
from pixelcodec.parallel import StripTask, decode_strips
from pixelcodec.pictures import Chunk
from pixelcodec.strips import ImageDecoder, ImageEncoder
from robustness.mutations import sealed, split

MODEL = "photo-s"
PALETTE = (Chunk(b"PLTE", bytes(range(48)), False), Chunk(b"tEXt", b"Title\0dots", True))

Kind = tuple[int, int, tuple[Chunk, ...]]
KINDS: list[Kind] = [
    *((1, depth, ()) for depth in (1, 2, 4, 8, 16)),
    *((channels, depth, ()) for channels in (2, 3, 4) for depth in (8, 16)),
    *((1, depth, PALETTE) for depth in (1, 2, 4, 8)),
]


@st.composite
def images(draw: st.DrawFn) -> tuple[Kind, Any]:
    """A kind, and samples [height, width, channels] of it."""
    kind = channels, depth, _ = draw(st.sampled_from(KINDS))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12)), channels
    dtype = np.uint16 if depth == 16 else np.uint8
    return kind, draw(arrays(dtype, shape, elements=st.integers(0, 2**depth - 1)))


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[slice]:
    """``length`` things in pieces, some of them empty."""
    ends = sorted(draw(st.lists(st.integers(0, length), max_size=5)))
    return [slice(*pair) for pair in zip([0, *ends], [*ends, length], strict=True)]


def as_given(kind: Kind, samples: Any) -> Any:
    """Samples as :func:`pixelcodec.decode` gives them."""
    channels, depth, chunks = kind
    array = samples[..., 0] if channels == 1 else samples
    return array.astype(np.bool_) if depth == 1 and not chunks else array


def encoder_of(kind: Kind, samples: Any, **how: Any) -> Encoder:
    height, width, channels = samples.shape
    model = MODEL if kind[1] == 8 and not kind[2] else None
    return Encoder(width, height, channels, kind[1], kind[2], model=model, **how)


def encoded(kind: Kind, samples: Any, **how: Any) -> bytes:
    encoder = encoder_of(kind, samples, **how)
    return encoder.write(samples) + encoder.finish()


class TestEncoder:
    @settings(deadline=None, max_examples=40)
    @given(images(), st.integers(1, 5), st.data())
    def test_rows_in_any_blocks_give_the_same_bytes(
        self, image: tuple[Kind, Any], strip_rows: int, data: st.DataObject
    ) -> None:
        kind, samples = image
        encoder = encoder_of(kind, samples, strip_rows=strip_rows)
        pieces = data.draw(cuts(len(samples)))
        found = b"".join([encoder.write(as_given(kind, samples[piece])) for piece in pieces])
        assert found + encoder.finish() == encoded(kind, samples, strip_rows=strip_rows)

    @pytest.mark.parametrize("verify", [False, True])
    @pytest.mark.parametrize("model", [MODEL, "standard"])
    def test_callers_may_use_their_rows_again(self, model: str, verify: bool) -> None:
        samples = np.random.default_rng(4).integers(0, 256, (11, 5, 3), np.uint8)
        how: Any = {"model": model, "strip_rows": 3, "verify": verify}
        encoder, sink = Encoder(5, 11, **how), io.BytesIO()
        writer = pixelcodec.stream_writer(sink, 5, 11, **how)
        buffer = np.empty((2, 5, 3), np.uint8)
        data = b""
        for top in range(0, 11, 2):
            rows = buffer[: len(samples[top : top + 2])]
            rows[:] = samples[top : top + 2]
            data += encoder.write(rows)
            writer.write(rows)
            buffer[:] = 0
        data += encoder.finish()
        writer.close()
        assert sink.getvalue() == data
        np.testing.assert_array_equal(pixelcodec.decode(data), samples)

    def test_bytes_come_with_each_strip(self) -> None:
        encoder = Encoder(4, 6, model=MODEL, strip_rows=2)
        rows = np.zeros((1, 4, 3), np.uint8)
        sizes = [len(encoder.write(rows)) for _ in range(6)]
        assert sizes[0] == 36  # the header
        assert [size > 0 for size in sizes[1:]] == [True, False, True, False, True]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.zeros((1, 5, 3), np.uint8), "rows of uint8 .1, 5, 3.; the image needs uint8 .n, 4"),
            (np.zeros((1, 4), np.uint8), "rows of uint8 .1, 4, 1."),
            (np.zeros((1, 4, 3), np.uint16), "rows of uint16"),
            (np.zeros((1, 4, 3), np.bool_), "rows of bool"),
        ],
    )
    def test_rows_of_another_kind_are_refused(self, rows: Any, message: str) -> None:
        with pytest.raises(UnsupportedImageError, match=message):
            Encoder(4, 6, model=MODEL).write(rows)

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"width": 0}, "an image of 0 x 6 pixels: width and height are 1 or more"),
            ({"width": -4}, "an image of -4 x 6 pixels"),
            ({"height": 0}, "an image of 4 x 0 pixels"),
            ({"width": 4.0}, "width 4.0: give a whole number"),
            ({"height": "6"}, "height '6': give a whole number"),
            ({"channels": 3.0}, "channels 3.0: give a whole number"),
        ],
    )
    def test_what_is_no_shape_is_refused_at_once(self, shape: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Encoder(**{"width": 4, "height": 6, **shape})

    def test_samples_beyond_the_bit_depth_are_refused(self) -> None:
        with pytest.raises(UnsupportedImageError, match="a sample of 16; those of 4 bits are less"):
            Encoder(4, 6, 1, 4).write(np.full((1, 4), 16, np.uint8))

    def test_the_count_of_rows_is_kept(self) -> None:
        encoder = Encoder(4, 2, model=MODEL)
        encoder.write(np.zeros((1, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="all 2 rows are written, and more are given"):
            encoder.write(np.zeros((2, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="1 of 2 rows are written"):
            encoder.finish()


class TestDecoder:
    @settings(deadline=None, max_examples=40)
    @given(images(), st.integers(1, 5), st.booleans(), st.data())
    def test_bytes_in_any_pieces_give_the_same_rows(
        self, image: tuple[Kind, Any], strip_rows: int, restart: bool, data: st.DataObject
    ) -> None:
        kind, samples = image
        file = encoded(kind, samples, strip_rows=strip_rows, restart=restart)
        decoder = Decoder()
        pieces = [file[piece] for piece in data.draw(cuts(len(file)))]
        blocks = [block for piece in pieces for block in decoder.write(piece)]
        decoder.finish()
        assert decoder.chunks == kind[2]
        expected = as_given(kind, samples)
        assert [len(block) for block in blocks[:-1]] == [strip_rows] * (len(blocks) - 1)
        assert blocks[0].dtype == expected.dtype
        np.testing.assert_array_equal(np.concatenate(blocks), expected)

    def test_rows_are_there_with_the_last_byte_of_their_strip(self) -> None:
        samples = np.arange(72, dtype=np.uint8).reshape(6, 4, 3)
        encoder = Encoder(4, 6, model=MODEL, strip_rows=2)
        pieces = [encoder.write(samples[i : i + 2]) for i in (0, 2, 4)]
        decoder = Decoder()
        for number, piece in enumerate(pieces):
            assert decoder.write(piece[:-1]) == []
            (rows,) = decoder.write(piece[-1:])
            np.testing.assert_array_equal(rows, samples[2 * number : 2 * number + 2])
        with pytest.raises(FormatError, match="truncated"):
            decoder.finish()

    def test_the_header_is_known_first(self) -> None:
        data = encoded((1, 4, PALETTE), np.zeros((3, 5, 1), np.uint8))
        decoder = Decoder()
        while decoder.header is None:
            piece, data = data[: decoder.wanted], data[decoder.wanted :]
            assert decoder.write(piece) == []
        assert (decoder.header.width, decoder.header.height) == (5, 3)
        assert decoder.chunks == PALETTE

    def test_rows_above_the_damage_are_given_however_the_bytes_come(self) -> None:
        samples = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
        data = bytearray(encoded((3, 8, ()), samples, strip_rows=2))
        data[-24] ^= 1  # in the last strip
        decoder = Decoder()
        (rows,) = decoder.write(bytes(data))
        np.testing.assert_array_equal(rows, samples[:2])
        for again in (lambda: decoder.write(b"more"), decoder.finish):
            with pytest.raises(FormatError, match="strip 2 of 2"):
                again()

    def test_what_was_interrupted_does_not_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, *rest = split(encoded((3, 8, ()), np.zeros((4, 5, 3), np.uint8), strip_rows=2))
        decoder = Decoder()
        decoder.write(first)

        def interrupt(*call: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(ImageDecoder, "decode", interrupt)
            with pytest.raises(KeyboardInterrupt):
                decoder.write(rest[0])
        with pytest.raises(KeyboardInterrupt):  # not rows of a network that missed some
            decoder.write(rest[1])

    def test_nothing_comes_after_the_last_bytes(self) -> None:
        decoder = Decoder()
        decoder.write(encoded((3, 8, ()), np.zeros((3, 5, 3), np.uint8)))
        decoder.finish()
        with pytest.raises(ValueError, match="after finish"):
            decoder.write(b"more")

    def test_damage_is_told_again_and_again(self) -> None:
        data = bytearray(encoded((3, 8, ()), np.zeros((3, 5, 3), np.uint8)))
        data[42] ^= 1
        decoder = Decoder()
        for piece in (bytes(data), b"more"):
            with pytest.raises(FormatError, match="CRC mismatch in strip 1"):
                decoder.write(piece)
        with pytest.raises(FormatError, match="CRC mismatch in strip 1"):
            decoder.finish()

    @pytest.mark.parametrize(
        ("change", "how", "message"),
        [
            (lambda end: end, {"max_pixels": 14}, "claims 15 pixels, the limit is 14"),
            (lambda end: end, {"max_bytes": 14}, "the limit is 14"),
            (lambda end: end, {"model": "photo-m"}, "model photo-m is"),
            (lambda end: end[:-5] + bytes(5), {}, "checksum of the original"),
        ],
        ids=["pixels", "bytes", "model", "samples"],
    )
    def test_a_refusal_is_told_again_and_again(self, change: Any, how: Any, message: str) -> None:
        *pieces, end = split(encoded((3, 8, ()), np.ones((3, 5, 3), np.uint8)))
        decoder = Decoder(**how)
        with pytest.raises(PixelcodecError, match=message) as first:
            decoder.write(sealed(b"".join(pieces) + change(end))) and decoder.finish()
        for again in (lambda: decoder.write(b"more"), decoder.finish):
            with pytest.raises(PixelcodecError) as later:
                again()
            assert later.value is first.value


class TestFiles:
    @pytest.fixture
    def samples(self) -> Any:
        return np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)

    def test_create_and_open(self, tmp_path: Path, samples: Any) -> None:
        path = tmp_path / "rows.pxc"
        with pixelcodec.create(path, 5, 7, model=MODEL, strip_rows=2) as writer:
            writer.write(samples[:3])
            writer.write(samples[3:])
            assert not path.exists()
        with pixelcodec.open(path) as reader:
            assert reader.header == writer.header
            np.testing.assert_array_equal(reader.read(1), samples[:1])
            np.testing.assert_array_equal(reader.read(4), samples[1:5])
            np.testing.assert_array_equal(np.concatenate(list(reader)), samples[5:])
            assert reader.read().shape == (0, 5, 3)

    def test_an_error_leaves_nothing(self, tmp_path: Path, samples: Any) -> None:
        writer = pixelcodec.create(tmp_path / "a.pxc", 5, 7, model=MODEL)
        writer.write(samples)
        with pytest.raises(KeyError), writer:
            raise KeyError
        assert list(tmp_path.iterdir()) == []

    def test_rows_that_are_missing_leave_nothing(self, tmp_path: Path, samples: Any) -> None:
        writer = pixelcodec.create(tmp_path / "a.pxc", 5, 7, model=MODEL)
        with pytest.raises(ValueError, match="6 of 7 rows are written"), writer:
            writer.write(samples[:6])
        assert list(tmp_path.iterdir()) == []

    def test_to_close_twice_is_to_close_once(self, tmp_path: Path, samples: Any) -> None:
        path = tmp_path / "a.pxc"
        with pixelcodec.create(path, 5, 7, model=MODEL, verify=True) as writer:
            writer.write(samples)
            writer.close()
            assert path.exists()
        writer.close()
        writer.abort()  # too late
        np.testing.assert_array_equal(pixelcodec.decode(path.read_bytes()), samples)

    def test_a_writer_can_give_up(self, tmp_path: Path, samples: Any) -> None:
        with pixelcodec.create(tmp_path / "a.pxc", 5, 7, model=MODEL) as writer:
            writer.write(samples)
            writer.abort()
            assert list(tmp_path.iterdir()) == []
            for more in (writer.write, writer.adapt, lambda rows: writer.close()):
                with pytest.raises(ValueError, match="is given up"):
                    more(samples[:0])
        assert list(tmp_path.iterdir()) == []

    def test_what_fails_gives_up_the_image(
        self, tmp_path: Path, samples: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without this, later strips and the end mark would make a file that looks whole."""
        writer = pixelcodec.create(tmp_path / "a.pxc", 5, 7, model=MODEL, strip_rows=2)
        writer.write(samples[:2])
        with monkeypatch.context() as patch:
            patch.setattr(ImageEncoder, "encode", lambda *call: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                writer.write(samples[2:4])
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ValueError, match="is given up, as an earlier call failed"):
            writer.write(samples[4:])
        with pytest.raises(ValueError, match="is given up, as an earlier call failed"), writer:
            pass

    def test_rows_that_are_refused_give_up_nothing(self, tmp_path: Path, samples: Any) -> None:
        with pixelcodec.create(tmp_path / "a.pxc", 5, 7, model=MODEL) as writer:
            with pytest.raises(UnsupportedImageError):
                writer.write(samples[:, :4])
            with pytest.raises(ValueError, match="all 7 rows are written, and more are given"):
                writer.write(np.concatenate([samples, samples]))
            writer.write(samples)
        np.testing.assert_array_equal(pixelcodec.decode((tmp_path / "a.pxc").read_bytes()), samples)

    def test_what_cannot_begin_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedImageError):
            pixelcodec.create(tmp_path / "a.pxc", 5, 7, bit_depth=16, model=MODEL)
        assert list(tmp_path.iterdir()) == []

    def test_files_are_replaced_on_demand_only(self, tmp_path: Path, samples: Any) -> None:
        path = tmp_path / "a.pxc"
        path.write_bytes(b"mine")
        with pytest.raises(FileExistsError):
            pixelcodec.create(path, 5, 7, model=MODEL)
        with pixelcodec.create(path, 5, 7, model=MODEL, overwrite=True) as writer:
            writer.write(samples)
        np.testing.assert_array_equal(pixelcodec.decode(path.read_bytes()), samples)

    def test_a_stream_is_read_no_further_than_needed(self, samples: Any) -> None:
        data = encoded((3, 8, ()), samples, strip_rows=2)
        strip = pixelcodec.inspect(io.BytesIO(data)).strips[0]
        fh = io.BytesIO(data)
        reader = pixelcodec.stream_reader(fh)
        assert fh.tell() == 36
        reader.read(1)
        assert fh.tell() == 36 + 9 + strip
        reader.read(1)
        assert fh.tell() == 36 + 9 + strip

    def test_rows_are_read_in_any_counts(self, samples: Any) -> None:
        data = encoded((3, 8, ()), samples, strip_rows=3)
        with pixelcodec.stream_reader(io.BytesIO(data)) as reader:
            blocks = [reader.read(count) for count in (1, 0, 4, 1)]
            assert [len(block) for block in blocks] == [1, 0, 4, 1]
            blocks += [next(iter(reader)), reader.read(9)]
        np.testing.assert_array_equal(np.concatenate(blocks), samples)

    def test_rows_that_wait_are_not_copied(self, samples: Any) -> None:
        reader = pixelcodec.stream_reader(io.BytesIO(encoded((3, 8, ()), samples)))
        reader.read(1)
        before = reader._held[0].base
        reader.read(1)
        assert reader._held[0].base is before

    def test_fewer_than_no_rows_are_refused(self, samples: Any) -> None:
        reader = pixelcodec.stream_reader(io.BytesIO(encoded((3, 8, ()), samples)))
        with pytest.raises(ValueError, match="-1 rows: give 0 or more, or None"):
            reader.read(-1)
        np.testing.assert_array_equal(reader.read(), samples)

    def test_rows_above_the_damage_can_be_read_and_the_damage_is_not_forgotten(
        self, samples: Any
    ) -> None:
        reader = pixelcodec.stream_reader(
            io.BytesIO(encoded((3, 8, ()), samples, strip_rows=2)[:-20])
        )
        for _ in range(2):
            with pytest.raises(FormatError, match="truncated"):
                reader.read(7)
        np.testing.assert_array_equal(reader.read(6), samples[:6])
        with pytest.raises(FormatError, match="truncated"):
            reader.read()

    def test_streams_that_do_not_block_are_refused(self) -> None:
        class Empty(io.RawIOBase):
            def read(self, size: int = -1, /) -> None:  # type: ignore[override]
                return None

        for act in (pixelcodec.decode, pixelcodec.salvage, pixelcodec.inspect):
            with pytest.raises(BlockingIOError, match="must be in blocking mode"):
                act(Empty())

    @pytest.mark.parametrize("size", [0, 20, 60, -1])
    def test_truncated_streams(self, samples: Any, size: int) -> None:
        fh = io.BytesIO(encoded((3, 8, ()), samples)[:size])
        with pytest.raises(FormatError, match=r"truncated|empty"):
            pixelcodec.stream_reader(fh).read()

    def test_the_writer_and_the_one_call_write_the_same(self, samples: Any) -> None:
        sink = io.BytesIO()
        with pixelcodec.stream_writer(sink, 5, 7, model=MODEL, strip_rows=3) as writer:
            for row in samples:
                writer.write(row[np.newaxis])
        assert sink.getvalue() == pixelcodec.encode(samples, model=MODEL, strip_rows=3)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda data, rows: pixelcodec.decode_image(data, max_pixel=1), "max_pixels"),
        (lambda data, rows: pixelcodec.decode_picture(data, jobs=2, max_byte=1), "max_bytes"),
        (lambda data, rows: Decoder(moddel="photo-s"), "model"),
        (lambda data, rows: pixelcodec.encode_to(io.BytesIO(), rows, verifyy=True), "verify"),
        (lambda data, rows: Encoder(5, 7, efort=3), "effort"),
    ],
)
def test_keywords_that_are_misspelt_are_refused(call: Any, name: str) -> None:
    rows = np.zeros((7, 5, 3), np.uint8)
    with pytest.raises(TypeError, match=f"unknown keyword .*; did you mean '{name}'"):
        call(encoded((3, 8, ()), rows), rows)


@pytest.mark.parametrize(
    "call", [pixelcodec.stream_reader, lambda path: pixelcodec.stream_writer(path, 5, 7)]
)
def test_paths_are_for_open_and_create(call: Any) -> None:
    with pytest.raises(TypeError, match=r"for a path: pixelcodec\.(open|create)"):
        call("photo.pxc")


def test_masks_are_not_dropped(tmp_path: Path) -> None:
    with pixelcodec.create(tmp_path / "a.pxc", 5, 1, model=MODEL, effort="max") as writer:
        with pytest.raises(UnsupportedImageError, match="a masked array"):
            writer.write(np.ma.masked_array(np.zeros((1, 5, 3), np.uint8), mask=False))
        writer.write(np.zeros((1, 5, 3), np.uint8))


def test_threads_do_not_disturb_each_other() -> None:
    samples = np.random.default_rng(1).integers(0, 256, (4, 24, 16, 3), np.uint8)
    expected = [pixelcodec.encode(image, model=MODEL, strip_rows=4) for image in samples]
    found: dict[int, tuple[bytes, Any]] = {}

    def work(index: int) -> None:
        data = pixelcodec.encode(samples[index], model=MODEL, strip_rows=4)
        found[index] = data, pixelcodec.decode(data)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(samples))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, image in enumerate(samples):
        assert found[index][0] == expected[index]
        np.testing.assert_array_equal(found[index][1], image)


@cache
def striped(restart: bool) -> tuple[bytes, Any]:
    """A file of 7 strips of 3 rows, and its samples."""
    samples = np.random.default_rng(2).integers(0, 256, (20, 9, 3), np.uint8)
    return pixelcodec.encode(samples, model=MODEL, strip_rows=3, restart=restart), samples


@pytest.mark.parametrize("given", [bytes, bytearray, memoryview, io.BytesIO])
@pytest.mark.parametrize(
    "act",
    [
        pixelcodec.decode,
        pixelcodec.decode_from,
        pixelcodec.decode_picture,
        pixelcodec.decode_image,
        pixelcodec.inspect,
        pixelcodec.salvage,
        partial(pixelcodec.decode, region=(1, 2, 3, 4)),
    ],
)
def test_files_are_taken_in_any_form(act: Any, given: Any) -> None:
    file, _ = striped(restart=True)
    found, expected = act(given(file)), act(io.BytesIO(file))
    assert np.array_equal(found, expected) if isinstance(found, np.ndarray) else found == expected


def test_half_of_the_bytes_of_a_buffer_are_a_file() -> None:
    file, samples = striped(restart=False)
    spread = bytes(byte for pair in zip(file, file, strict=True) for byte in pair)
    np.testing.assert_array_equal(pixelcodec.decode(memoryview(spread)[::2]), samples)


@pytest.mark.parametrize("restart", [False, True], ids=["chained", "restart"])
class TestRegions:
    @settings(deadline=None, max_examples=20)
    @given(st.data())
    def test_a_region_is_that_part_of_the_image(self, restart: bool, data: st.DataObject) -> None:
        file, samples = striped(restart)
        left, top = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 19))
        width, height = data.draw(st.integers(1, 9 - left)), data.draw(st.integers(1, 20 - top))
        found = pixelcodec.decode(file, region=(left, top, width, height))
        np.testing.assert_array_equal(found, samples[top : top + height, left : left + width])

    def test_only_strips_that_are_needed_are_decoded(self, restart: bool) -> None:
        file, _ = striped(restart)
        calls: list[tuple[int, int]] = []
        pixelcodec.decode(file, region=(2, 13, 1, 3), progress=lambda *call: calls.append(call))
        strips = 2 if restart else 6
        assert calls[-1] == (strips * 3 * 9, strips * 3 * 9)

    @pytest.mark.parametrize("region", [(-1, 0, 2, 2), (0, 0, 0, 1), (8, 0, 2, 1), (0, 19, 1, 2)])
    def test_regions_outside_are_refused(self, restart: bool, region: Any) -> None:
        with pytest.raises(ValueError, match="region"):
            pixelcodec.decode(striped(restart)[0], region=region)

    @pytest.mark.parametrize(
        "region", [(0, 0, 9), (0, 0, 5.0, 5), np.zeros(4), 5, "0,0,5,5", ("0", "0", "5", "5"), ()]
    )
    def test_what_is_no_region_is_refused_before_anything_is_read(
        self, restart: bool, region: Any
    ) -> None:
        with pytest.raises(ValueError, match=r"^region .*: give four whole numbers: left, top"):
            pixelcodec.decode(io.BytesIO(b"not read"), region=region)

    def test_a_region_may_be_an_array(self, restart: bool) -> None:
        file, samples = striped(restart)
        found = pixelcodec.decode(file, region=np.array([2, 3, 4, 5]))  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, samples[3:8, 2:6])

    def test_rows_that_are_given_are_counted_alone(
        self, restart: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[int] = []
        monkeypatch.setattr(api, "check_memory_of_rows", lambda _, rows, most: held.append(rows))
        pixelcodec.decode(striped(restart)[0], region=(2, 13, 1, 3))
        pixelcodec.decode(striped(restart)[0], region=(2, 17, 1, 3))
        assert held == [6, 5]

    def test_what_is_cut_off_below_does_not_matter(self, restart: bool) -> None:
        file, samples = striped(restart)
        found = pixelcodec.decode(file[:-20], region=(0, 0, 9, 4))
        np.testing.assert_array_equal(found, samples[:4])


class TestJobs:
    @pytest.mark.parametrize("jobs", [0, -1])
    @pytest.mark.parametrize("region", [None, (0, 0, 1, 1)])
    def test_less_than_one_is_refused(self, region: Any, jobs: int) -> None:
        for decode in (pixelcodec.decode, pixelcodec.decode_picture):
            with pytest.raises(ValueError, match=f"{jobs} jobs: there must be 1 or more"):
                decode(striped(restart=True)[0], region=region, jobs=jobs)

    def test_processes_give_the_same_samples_and_count_them(self) -> None:
        samples = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
        data = pixelcodec.encode(samples, model=MODEL, strip_rows=3, restart=True)
        calls: list[tuple[int, int]] = []
        found = pixelcodec.decode(data, jobs=2, progress=lambda *call: calls.append(call))
        np.testing.assert_array_equal(found, samples)
        assert calls == sorted(calls)
        assert calls[-1] == (63, 63)

    def test_parts_of_pictures_keep_kind_and_metadata(self) -> None:
        samples = np.arange(48, dtype=np.uint8).reshape(8, 6, 1) % 16
        picture = Picture(samples, 4, PALETTE)
        data = pixelcodec.encode(picture, strip_rows=3)  # PNG inside: such strips need no other
        found = pixelcodec.decode_picture(data, region=(1, 2, 4, 5), jobs=2)
        assert found == Picture(np.ascontiguousarray(samples[2:7, 1:5]), 4, PALETTE)
        assert pixelcodec.decode_image(data, region=(0, 3, 6, 3)).size == (6, 3)

    def test_what_is_wrong_with_a_strip_is_told(self) -> None:
        data = pixelcodec.encode(np.zeros((6, 7, 3), np.uint8), model=MODEL, strip_rows=3, tile=3)
        reader = container.Reader(io.BytesIO(data))
        damaged = io.BytesIO()
        writer = container.Writer(damaged, reader.header)
        for payload, _ in reader:
            writer.strip(payload[:3])
        writer.close(reader.samples_crc)
        with pytest.raises(FormatError, match=r"^strip [12] of 2: damaged: 3 bytes"):
            pixelcodec.decode(damaged.getvalue(), jobs=2)

    def test_a_process_that_died_is_told(self) -> None:
        tasks = [StripTask([b""], 1)] * 3
        with pytest.raises(PixelcodecError, match="worker process died"):
            decode_strips(works.die_decoding, tasks, 2, lambda pixels: None)

    def test_the_checksum_is_checked(self) -> None:
        samples = np.zeros((6, 7, 3), np.uint8)
        data = bytearray(pixelcodec.encode(samples, model=MODEL, strip_rows=3, restart=True))
        crc = stream.crc_of(samples)
        data = data.replace(crc.to_bytes(4, "little"), bytes(4))
        with pytest.raises(FormatError, match="CRC mismatch in the end mark"):
            pixelcodec.decode(bytes(data), jobs=2)
