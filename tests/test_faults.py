"""What comes between: a few of the scenarios of ``make faults``, and those that need exact moments.

tests/test_cli_streams.py has more of them, one by one.
"""

import os
import subprocess
import sys
from errno import ENOTSUP
from pathlib import Path

import pytest

from commands import M, assert_fails_in_one_line, names, run, save
from pictures import noise
from pixelcodec.cli import encode
from pixelcodec.new_file import new_file


@pytest.mark.skipif(os.name != "posix", reason="it needs POSIX")
def test_a_small_campaign_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "robustness.faults", "--count", "11"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11  scenarios in all" in done.stdout


# Files that somebody else makes meanwhile --------------------------------------------------------


@pytest.fixture(params=["with links", "without links"])
def _links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has links, or has none."""

    def refuse(*_: object) -> None:
        raise OSError(ENOTSUP, os.strerror(ENOTSUP))

    if request.param == "without links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("_links")
def test_a_new_file_never_takes_the_place_of_another(folder: Path) -> None:
    with pytest.raises(FileExistsError), new_file(Path("target")):
        Path("target").write_bytes(b"theirs")
    assert Path("target").read_bytes() == b"theirs"
    assert names(folder) == {"target"}


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError) as refused, new_file(Path("nowhere/target")):
        pass
    assert refused.value.filename == str(folder.resolve() / "nowhere")


@pytest.mark.usefixtures("_links")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_file_has_its_name_alone(folder: Path, overwrite: bool) -> None:
    with new_file(Path("target"), overwrite) as stream:
        stream.write(b"mine")
    assert Path("target").read_bytes() == b"mine"
    assert Path("target").stat().st_nlink == 1
    assert names(folder) == {"target"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_file_is_on_the_disk_before_it_has_its_name(
    folder: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, bool]] = []

    def look(descriptor: int) -> None:
        written.append((os.fstat(descriptor).st_size, Path("target").exists()))

    monkeypatch.setattr(os, "fsync", look)
    with new_file(Path("target"), overwrite) as stream:
        stream.write(b"mine")
    assert written == [(4, False)]


@pytest.fixture
def photo(tiny: Path) -> Path:
    return save(noise(8, 9, 3), "photo.png")


def test_an_output_that_appears_meanwhile_is_not_overwritten(
    photo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appear(path: Path) -> object:
        Path("photo.pxc").write_bytes(b"theirs")
        return read_bytes(path)

    read_bytes = encode.read_bytes
    monkeypatch.setattr(encode, "read_bytes", appear)

    result = run("encode", photo, *M)

    assert_fails_in_one_line(result, "photo.pxc")
    assert "the file exists; -f overwrites it" in result.stderr
    assert Path("photo.pxc").read_bytes() == b"theirs"


# Sources that change -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["in place", "by another", "away"])
def test_a_source_that_changes_while_it_is_encoded_is_refused(
    how: str, photo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(path: Path) -> object:
        found = read_bytes(path)
        if how == "in place":
            save(noise(9, 9, 3), "photo.png")
        elif how == "by another":
            save(noise(8, 9, 3), "other.png").replace(photo)
        else:
            photo.unlink()
        return found

    read_bytes = encode.read_bytes
    monkeypatch.setattr(encode, "read_bytes", change)
    before = names(folder)

    result = run("encode", photo, *M)

    assert_fails_in_one_line(result, "photo.png")
    assert "changed while it was read" in result.stderr
    assert names(folder) == before - ({"photo.png"} if how == "away" else set())
