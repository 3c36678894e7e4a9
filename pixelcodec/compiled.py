"""Loops over small arrays, compiled: the calls, not the numbers, are what takes time there."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile ``function`` by numba at its first call, and keep the machine code on disk.

    Where neither the package's folder nor the user's cache can be written to, it is compiled anew
    in each process. Arithmetic is as written: no reordering, no fused operations.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba finds no place for its cache
        return cast(Function, numba.njit(nogil=True)(function))
