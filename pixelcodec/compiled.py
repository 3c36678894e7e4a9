"""Loops over small arrays, compiled: the calls, not the numbers, are what takes time there."""

import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile ``function`` by numba at its first call, and keep the machine code on disk.

    Where neither the package's folder nor the user's cache can be written to, it is compiled anew
    in each process. Arithmetic is as written: no reordering, no fused operations.
    """
    dispatcher: Any = numba.njit(nogil=True)(function)
    try:
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
    except RuntimeError:  # numba finds no place for it
        _warn_of_slow_starts()
    return cast(Function, dispatcher)


class _Cache(FunctionCache):
    """What was compiled of a function, of these very sources.

    Numba itself looks at the file of the function alone. But what it calls in other modules, and
    their constants, is part of the machine code: after an update, old integers could run on.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*found, sources())


@cache
def sources() -> str:
    """A digest of all modules that loops may be made of."""
    digest = sha256()
    for path in modules():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def modules() -> list[Path]:
    """Files of the package, and of its networks."""
    folders = (Path(str(files(name))) for name in ("pixelcodec", "pixelcodec.models"))
    return [path for folder in folders for path in sorted(folder.glob("*.py"))]


@cache
def _warn_of_slow_starts() -> None:
    """Once in a process."""
    warnings.warn(
        "compiled code cannot be kept, so each start takes some ten seconds longer: let the "
        "environment variable NUMBA_CACHE_DIR name a folder that can be written to",
        RuntimeWarning,
        stacklevel=3,
    )
