"""What is encoded is decoded before it counts, and no difference goes unnoticed."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelcodec
from commands import M, names, run, save
from picture_kinds import KINDS, Kind
from pictures import noise
from pixelcodec import Picture, VerificationError
from pixelcodec.pictures import Chunk
from pixelcodec.verification import Verifier
from robustness.mutations import split

TEXT = Chunk(b"tEXt", b"Title\0verified", after=True)
HOW: Any = {"model": "photo-s", "effort": 1}
PIXELS = noise(9, 7, 3)


# What passes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_passes_and_the_bytes_are_the_same(kind: Kind) -> None:
    picture = kind.picture(TEXT)
    how: Any = {"strip_rows": 2, "model": "standard"}
    assert pixelcodec.encode(picture, verify=True, **how) == pixelcodec.encode(picture, **how)


@pytest.mark.parametrize("how", [{}, {"restart": True, "strip_rows": 4}, {"tile": 3}], ids=str)
def test_models_pass(how: dict[str, Any]) -> None:
    verified = pixelcodec.encode(PIXELS, verify=True, **HOW, **how)
    assert verified == pixelcodec.encode(PIXELS, **HOW, **how)


def test_rows_that_stream_pass() -> None:
    encoder = pixelcodec.Encoder(7, 9, strip_rows=4, verify=True, **HOW)
    data = b"".join([encoder.write(PIXELS[:5]), encoder.write(PIXELS[5:]), encoder.finish()])
    np.testing.assert_array_equal(pixelcodec.decode(data), PIXELS)


def test_progress_goes_to_the_end_once() -> None:
    told: list[tuple[int, int]] = []
    progress: Any = lambda *call: told.append(call)  # noqa: E731
    pixelcodec.encode(PIXELS, verify=True, strip_rows=2, progress=progress, **HOW)
    done = [pixels for pixels, _ in told]
    assert done == sorted(done)
    assert told[-1] == (2 * 9 * 7, 2 * 9 * 7)


# What does not -----------------------------------------------------------------------------------


def verified(data: bytes, expected: Any, *chunks: Chunk) -> None:
    verifier = Verifier(io.BytesIO(), chunks, len(expected), {})
    verifier.expect(expected)
    verifier.write(data)
    verifier.finish()


DATA = pixelcodec.encode(Picture(PIXELS, 8, (TEXT,)), model="standard", strip_rows=3)


def changed(change: Callable[[Any], Any]) -> Any:
    other = PIXELS.copy()
    other[4] = change(other[4])
    return other


@pytest.mark.parametrize(
    ("data", "expected", "chunks", "message"),
    [
        (DATA, changed(lambda row: row ^ 1), [TEXT], "differs in some of the rows 3 to 5"),
        (DATA, PIXELS[:6], [TEXT], "has more than 6 rows"),
        (DATA, np.concatenate([PIXELS, PIXELS[:1]]), [TEXT], "ends after 9 rows"),
        (DATA, PIXELS[:, :6], [TEXT], "differs in some of the rows 0 to 2"),
        (DATA, PIXELS[..., :1], [TEXT], "differs in some of the rows"),
        (DATA, PIXELS.astype(np.uint16), [TEXT], "differs in some of the rows"),
        (DATA, PIXELS, [], "has other metadata"),
        (DATA[:-1], PIXELS, [TEXT], "does not decode: truncated at byte"),
        (DATA[:99] + b"?" + DATA[100:], PIXELS, [TEXT], "does not decode: damaged: CRC mismatch"),
        (b"".join(split(DATA)[:-2]), PIXELS, [TEXT], "does not decode: truncated"),
    ],
    ids=["sample", "fewer", "more", "width", "channels", "bits", "text", "cut", "byte", "strip"],
)
def test_every_difference_is_told(
    data: bytes, expected: Any, chunks: list[Chunk], message: str
) -> None:
    verified(DATA, PIXELS, TEXT)
    with pytest.raises(VerificationError, match=f"what was encoded {message}"):
        verified(data, expected, *chunks)


@pytest.fixture
def _faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that gets a sample wrong, with all checksums right."""
    from pixelcodec import strips

    encode = strips.ImageEncoder.encode

    def encode_wrongly(self: Any, rows: Any, count: Any) -> Any:
        return encode(self, np.roll(rows, 1, axis=1), count)

    monkeypatch.setattr(strips.ImageEncoder, "encode", encode_wrongly)


@pytest.mark.usefixtures("_faulty")
def test_an_encoder_at_fault_is_noticed() -> None:
    with pytest.raises(VerificationError, match="rows 0 to 3"):
        pixelcodec.encode(PIXELS, verify=True, strip_rows=4, **HOW)


@pytest.mark.usefixtures("_faulty")
def test_a_file_that_is_wrong_gets_no_name(tmp_path: Path) -> None:
    with (
        pytest.raises(VerificationError),
        pixelcodec.create(tmp_path / "a.pxc", 7, 9, verify=True, **HOW) as writer,
    ):
        writer.write(PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_turns_out_wrong_at_its_end_gets_no_name(tmp_path: Path) -> None:
    chunks = [TEXT]
    writer = pixelcodec.create(tmp_path / "a.pxc", 7, 9, 3, 8, chunks, verify=True, **HOW)
    assert writer._verifier is not None
    writer._verifier._chunks = ()
    with pytest.raises(VerificationError, match="has other metadata"), writer:
        writer.write(PIXELS)
    assert list(tmp_path.iterdir()) == []


# The command line --------------------------------------------------------------------------------


@pytest.mark.usefixtures("_faulty", "tiny")
def test_the_command_verifies_unless_told_not_to(folder: Path) -> None:
    save(PIXELS, "photo.png")
    before = names(folder)

    refused = run("encode", "photo.png", *M)

    assert refused.exit_code == 1
    assert refused.stderr.startswith("pixelcodec: photo.png: what was encoded differs in some of")
    assert names(folder) == before
    assert run("encode", "photo.png", "--no-verify", *M).exit_code == 0
    assert run("verify", "photo.pxc", *M).exit_code == 1
