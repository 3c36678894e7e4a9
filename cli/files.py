"""Bytes in and out: files, ``-`` for the standard streams, outputs that are whole or absent."""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from errno import EEXIST
from io import BufferedWriter, BytesIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pixelcodec import suffixes
from pixelcodec.cli.common import Failure
from pixelcodec.cli.progress import is_terminal
from pixelcodec.errors import FormatError, UnsupportedImageError
from pixelcodec.new_file import new_file

if TYPE_CHECKING:  # they import NumPy
    from pixelcodec.pictures import Picture

STANDARD_STREAM = Path("-")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files given, and the images below the folders given, folder by folder."""
    found: list[Path] = []
    for path in paths:
        found += files_below(path, suffixes.IMAGES) if is_folder(path) else [path]
    return found


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """Return the files in a folder and the folders in it that end so, in any case, sorted."""
    inside = (path for path in folder.rglob("*") if path.suffix.lower() in endings)
    return sorted(path for path in inside if os.path.isfile(path))


def suffixes_passed_over(folder: Path) -> list[str]:
    """Return the suffix of each file in a folder, and in folders in it, whose kind is not known.

    Hidden files are left out.
    """
    known = {*suffixes.IMAGES, suffixes.PXC}
    inside = (path.relative_to(folder) for path in folder.rglob("*") if os.path.isfile(path))
    shown = (path for path in inside if not any(part.startswith(".") for part in path.parts))
    return [path.suffix.lower() for path in shown if path.suffix.lower() not in known]


def not_pxc(path: Path) -> str | None:
    """Say of what kind a file is that is an image, not a .pxc file."""
    from pixelcodec.pictures.files import format_of

    kind = format_of(_head(path))
    return kind and f"this is a {kind} file, not a .pxc file"


def not_an_image(path: Path) -> str | None:
    """Say so of a file that is a .pxc file."""
    from pixelcodec.container import MAGIC

    if not _head(path).startswith(MAGIC):
        return None
    return "this is a .pxc file, not an image; `pixelcodec decode` reads it"


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none where they cannot be had, or only once."""
    try:
        if path == STANDARD_STREAM or not path.is_file():
            return b""
        with binary_input(path) as stream:
            return stream.read(16)
    except OSError:
        return b""


@contextmanager
def explained(path: Path, mistake: Callable[[Path], str | None]) -> Iterator[None]:
    """Where a file cannot be read, say that it is of another kind altogether, if it is.

    Args:
        path: Of the file.
        mistake: :func:`not_pxc` or :func:`not_an_image`.

    Raises:
        Failure: It is.
    """
    try:
        yield
    except (FormatError, UnsupportedImageError) as error:
        if what := mistake(path):
            raise Failure(path, what) from error
        raise


def is_folder(path: Path) -> bool:
    """Return whether it is one, as far as can be told; opening it tells the rest."""
    return os.path.isdir(path)  # Path.is_dir raises what stands in the way


@contextmanager
def binary_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or standard input for ``-``, to read bytes from front to back.

    Raises:
        OSError: It cannot be opened, or standard input is a terminal.
    """
    if path == STANDARD_STREAM:
        if is_terminal(sys.stdin.buffer):
            raise OSError("refusing to read bytes from a terminal; name a file, or use a pipe")
        yield sys.stdin.buffer
    else:
        with path.open("rb") as stream:
            yield stream


def read_bytes(path: Path) -> BytesIO:
    """Read a whole input into memory, where image readers can seek in it."""
    with binary_input(path) as stream:
        return BytesIO(stream.read())


def read_image(path: Path) -> "Picture":
    """Read an image file; of a .pxc file it is said that it is one.

    Raises:
        Failure: It is one.
        UnsupportedImageError: It is no image that can be held.
        OSError: It cannot be read.
    """
    from pixelcodec.pictures import read_picture

    with explained(path, not_an_image):
        return read_picture(read_bytes(path))


def default_output(source: Path, suffix: str) -> Path:
    """Return the source's name with another suffix; standard output for standard input."""
    return source if source == STANDARD_STREAM else source.with_suffix(suffix)


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Make sure that a file is the same when the block ends as when it began.

    Raises:
        OSError: It has changed: what was made of it may be of no file that there ever was.
    """
    before = _state(path)
    yield
    if _state(path) != before:
        raise OSError("the file changed while it was read; try again")


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes whenever a file does; None where there is nothing to compare."""
    if path == STANDARD_STREAM or not path.is_file():
        return None
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def atomic_output(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open an output that appears under its name only when it is whole.

    Args:
        path: A file, or ``-`` for standard output.
        force: Whether an existing file may be replaced.

    Raises:
        OSError: The file exists, the folder is not writable, or standard output is a terminal.
    """
    if path == STANDARD_STREAM:
        with _standard_output() as stream:
            yield stream
    elif path.exists() and not path.is_file():
        # A device or a named pipe is written to, never replaced.
        with path.open("wb") as stream:
            yield stream
    else:
        refuse_overwriting(path, force)
        try:
            with new_file(path, overwrite=force) as stream:
                yield stream
        except FileExistsError as error:  # somebody else was faster
            raise _exists() from error


def refuse_overwriting(path: Path, force: bool) -> None:
    """Raise where an output file exists already and may not be replaced."""
    if path.is_file() and not force:
        raise _exists()


def _exists() -> FileExistsError:
    return FileExistsError(EEXIST, "the file exists; -f overwrites it")


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    stream = sys.stdout.buffer
    if is_terminal(stream):
        raise OSError("refusing to write bytes to a terminal; name a file with -o, or use a pipe")
    if isinstance(stream, RawIOBase):  # PYTHONUNBUFFERED; it may take a part only of what comes
        stream = BufferedWriter(stream)
    yield stream
    # Here a closed pipe is still an error of this command; at exit it would be a traceback.
    stream.flush()
