"""Loops over small arrays, compiled: the calls, not the numbers, are what takes time there."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
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
    """Machine code of a function on disk, by all that it was made of.

    Numba itself looks at the file of the function alone. But what it calls in other modules, and
    their constants, are in the machine code: after an update, old integers would run on.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*found, digest(self._py_func))


@cache
def digest(function: FunctionType) -> str:
    """Of the code of ``function``, of all that it calls, and of their constants."""
    found = sha256()
    for part in _parts(function):
        found.update(part)
    return found.hexdigest()


def _parts(function: FunctionType) -> Iterator[bytes]:
    yield from _of_code(function.__code__)
    names = function.__code__.co_names
    modules = [function.__globals__.get(name) for name in names]
    for name in names:
        yield name.encode()
        for module in (function.__globals__, *map(vars, filter(_is_ours, modules))):
            if name in module:
                yield from _of_value(module[name], function)


def _is_ours(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith("pixelcodec")


def _of_code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant)
        else:
            yield repr(constant).encode()


def _of_value(value: Any, caller: FunctionType) -> Iterator[bytes]:
    called = getattr(value, "py_func", None)
    if called is not None and called is not caller:
        yield digest(called).encode()
    elif isinstance(value, np.ndarray):
        yield repr((value.shape, value.dtype.str)).encode() + value.tobytes()
    elif isinstance(value, int | float | tuple | np.generic):
        yield repr(value).encode()


@cache
def _warn_of_slow_starts() -> None:
    """Once in a process."""
    warnings.warn(
        "compiled code cannot be kept, so each start takes some ten seconds longer: let the "
        "environment variable NUMBA_CACHE_DIR name a folder that can be written to",
        RuntimeWarning,
        stacklevel=3,
    )
