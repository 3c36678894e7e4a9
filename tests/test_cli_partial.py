"""``pixelcodec decode --partial``: what is whole is written, and what is lost is said."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from commands import read, run, save
from pictures import noise
from pixelcodec.cli.work import Loss

STRIPS = ("-e", 1, "--strip-rows", 4, "--restart", "-m", "photo-s")


@pytest.fixture
def pixels(folder: Path) -> np.ndarray:
    return noise(12, 20, 3)


@pytest.fixture
def damaged(pixels: np.ndarray) -> Path:
    """A file of three strips; the second one is damaged."""
    assert run("encode", save(pixels, "photo.png"), *STRIPS).exit_code == 0
    data = bytearray(Path("photo.pxc").read_bytes())
    data[len(data) // 2] ^= 1
    Path("photo.pxc").write_bytes(data)
    Path("photo.png").unlink()
    return Path("photo.pxc")


def test_whole_strips_are_written_and_lost_rows_named(damaged: Path, pixels: np.ndarray) -> None:
    result = run("decode", damaged, "--partial")

    assert result.exit_code == 1
    assert re.fullmatch(
        r"pixelcodec: photo\.pxc: rows 4 to 7 \(of 0 to 11\) are lost: damaged: no whole chunks "
        r"from byte \d+ to byte \d+\n",
        result.stderr,
    )
    found = read(Path("photo.png"))
    np.testing.assert_array_equal(found[:4], pixels[:4])
    np.testing.assert_array_equal(found[8:], pixels[8:])
    assert set(found[4:8].ravel().tolist()) == {0, 255}


def test_without_it_nothing_is_written(damaged: Path) -> None:
    assert run("decode", damaged).exit_code == 1
    assert not Path("photo.png").exists()


def test_a_whole_file_is_decoded_as_ever(pixels: np.ndarray) -> None:
    run("encode", save(pixels, "photo.png"), *STRIPS)

    result = run("decode", "photo.pxc", "--partial", "-o", "back.png")

    assert (result.exit_code, result.stderr) == (0, "")
    np.testing.assert_array_equal(read(Path("back.png")), pixels)


def test_a_file_without_a_whole_strip_has_no_image(damaged: Path) -> None:
    Path("cut.pxc").write_bytes(damaged.read_bytes()[:60])

    result = run("decode", "cut.pxc", "--partial")

    assert result.exit_code == 1
    assert re.match(r"pixelcodec: cut\.pxc: nothing can be had: [^\n]+\n$", result.stderr)
    assert not Path("cut.png").exists()


def test_a_batch_counts_it_as_failed(damaged: Path, pixels: np.ndarray) -> None:
    run("encode", save(pixels, "whole.png"), *STRIPS)

    result = run("decode", damaged, "whole.pxc", "--partial", "--out-dir", "out", "-q")

    assert result.exit_code == 1
    assert result.stderr.startswith("pixelcodec: photo.pxc: rows 4 to 7 ")
    assert {path.name for path in Path("out").iterdir()} == {"photo.png", "whole.png"}


def test_another_process_can_tell_it() -> None:
    assert isinstance(pickle.loads(pickle.dumps(Loss("rows"))), Loss)


def test_to_a_stream_it_is_written_too(damaged: Path, pixels: np.ndarray) -> None:
    result = run("decode", "-", "--partial", stdin=damaged.read_bytes())

    assert result.exit_code == 1
    Path("out.png").write_bytes(result.stdout_bytes)
    np.testing.assert_array_equal(read(Path("out.png"))[:4], pixels[:4])


@pytest.mark.parametrize("other", [("--preview",), ("--region", "0,0,1,1")])
def test_it_goes_alone(other: tuple[str, ...], damaged: Path) -> None:
    assert run("decode", damaged, "--partial", *other).exit_code == 2
