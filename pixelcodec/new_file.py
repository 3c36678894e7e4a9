"""Files that appear under their name when they are whole, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST
from pathlib import Path
from typing import BinaryIO


@contextmanager
def new_file(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a new file to write bytes; it gets its name when the block ends without an error.

    A file that is replaced stays whole until then. What a killed process leaves behind is called
    ``.pixelcodec-*.part``.

    Args:
        path: of the file.
        overwrite: whether an existing file may be replaced.

    Raises:
        OSError: the file exists, maybe only since the block began, or the folder is not there, or
            not writable.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(EEXIST, os.strerror(EEXIST), str(path))
    target = Path(os.path.realpath(path))  # through a symbolic link, not in its place
    # The same folder is the same file system, where a rename is atomic. A plain open, unlike
    # tempfile's, leaves the access rights to the umask.
    part = target.with_name(f".pixelcodec-{secrets.token_hex(6)}.part")
    try:
        with _opened(part) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            part.replace(target)
        else:
            _take_name(part, target)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise


def _opened(part: Path) -> BinaryIO:
    """Open a new file; where its folder does not let it, the error is about the folder."""
    try:
        return part.open("xb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part.parent)) from None


def _take_name(part: Path, target: Path) -> None:
    """Give ``part`` the name ``target``, but never that of a file which somebody else has made."""
    try:
        os.link(part, target)  # unlike a rename, it fails where there is a file
    except FileExistsError:
        raise FileExistsError(EEXIST, os.strerror(EEXIST), str(target)) from None
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(EEXIST, os.strerror(EEXIST), str(target)) from None
        part.replace(target)
    else:
        part.unlink()
