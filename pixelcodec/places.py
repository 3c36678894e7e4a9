"""Where in a file the damage is: what else knows of a strip nothing but its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixelcodec.container import Header
from pixelcodec.errors import FormatError


@contextmanager
def strip_named(header: Header, index: int) -> Iterator[None]:
    """Let a :class:`pixelcodec.errors.FormatError` say that it is about strip ``index``, from 0."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"strip {index + 1} of {header.strips}: {error}") from error
