"""What every call needs before a network runs: a device, threads, engines that are ready."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import torch

from pixelcodec import adaptation
from pixelcodec.container import STANDARD, STANDARD_NAME, Header, Start
from pixelcodec.engine import Engine
from pixelcodec.errors import BackendError, ModelError
from pixelcodec.exact import ENVIRONMENT_VARIABLE
from pixelcodec.models import zoo
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.progress import Count
from pixelcodec.strips import Engines

Progress = Callable[[int, int], None]
"""Called with the pixels done and the pixels in all."""


@dataclass(frozen=True)
class Compute:
    """Where and how networks run. Nothing here changes a bit of the result.

    Attributes:
        device: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is one).
        threads: CPU threads; one by default, as the pieces of work are too small for more.
        backend: arithmetic of the network, see :func:`pixelcodec.exact.select_backend`.
    """

    device: str = "auto"
    threads: int | None = None
    backend: str | None = None

    @classmethod
    def of(cls, how: Mapping[str, Any]) -> Self:
        """Take what is meant for it from the keywords of a call."""
        return cls(**{name: how[name] for name in ("device", "threads", "backend") if name in how})

    def running(self) -> AbstractContextManager[None]:
        """Run with the threads asked for, as :func:`cpu_threads` does."""
        return cpu_threads(self.threads)

    def engine(self, network: IntegerNetwork) -> Engine:
        """Make ``network`` ready to run, as :func:`make_engine` does."""
        return make_engine(network, self.backend, self.device)

    def adapted(self, network: IntegerNetwork, changes: bytes) -> Engine:
        """Make ``network`` ready with the changes of one image; nobody else will need it.

        Raises:
            FormatError: they are not changes of this network.
            ModelError: sums of the changed network could overflow.
            BackendError: as :func:`make_engine`.
        """
        device = resolve_device(self.device)
        return Engine(adaptation.adapted(network, changes), self.backend, device)


def make_engine(
    network: IntegerNetwork, backend: str | None = None, device: str = "auto"
) -> Engine:
    """Make ``network`` ready to run; the few that were used last are kept.

    Raises:
        BackendError: the back end or device cannot be used.
        ModelError: sums of the network could overflow.
    """
    key = (network.sha256, backend or os.environ.get(ENVIRONMENT_VARIABLE), resolve_device(device))
    with _engines_lock:
        engine = _engines.pop(key, None) or Engine(network, backend, key[2])
        _engines[key] = engine  # the last used stand last
        if len(_engines) > _ENGINES_KEPT:
            _engines.pop(next(iter(_engines)))
        return engine


_engines_lock = Lock()
_ENGINES_KEPT = 8
_engines: dict[tuple[str, str | None, str], Engine] = {}


def engines_of(start: Start, model: str | None, compute: Compute) -> Engines:
    """What decodes the components of a file, one of them by ``model`` where one was given.

    Raises:
        FormatError: the file changes its model in a way that no encoder writes.
        ModelError: a model is not installed, or the file was not written by ``model``.
        BackendError: the back end or device cannot be used.
    """
    colours = start.header.model_id
    return {
        model_id: compute.adapted(network, start.changes)
        if start.changes and model_id == colours
        else compute.engine(network)
        for model_id, network in _networks(start.header, model).items()
    }


def _networks(header: Header, model: str | None) -> dict[bytes, IntegerNetwork]:
    """The networks that wrote a file: ``model`` where it is one of them, else installed ones."""
    ids, found = header.model_ids - {STANDARD}, dict[bytes, IntegerNetwork]()
    by_none = model == STANDARD_NAME and header.model_id == STANDARD
    if model and not by_none:
        given = _given(ids, model)
        found[given.model_id] = given
    for model_id in ids - set(found):
        name = zoo.find(model_id)
        if name is None:
            raise ModelError(
                f"model {model_id.hex()} that wrote this file is not installed: a newer pixelcodec "
                f"may have it, or, if it is a model of your own, give its file, by -m or model=; "
                f"installed are {', '.join(zoo.names())}"
            )
        found[model_id] = zoo.load(name)
    return found


def _given(ids: set[bytes], model: str) -> IntegerNetwork:
    """The network ``model``, which must have one of these ids."""
    if not ids:
        raise ModelError(f"the file was written by no model, so not by {model}")
    if model == STANDARD_NAME:
        raise ModelError(f"the file was written by a model, not by {model}")
    network = zoo.load(model)
    if network.model_id not in ids:
        names = " and ".join(sorted(each.hex() for each in ids))
        raise ModelError(
            f"model {model} is {network.model_id.hex()}; the file was written by {names}"
        )
    return network


def resolve_device(name: str) -> str:
    """The torch device that ``auto``, ``cpu`` or ``cuda`` means here.

    Raises:
        BackendError: it is another, or CUDA is asked for and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in {"cpu", "cuda"}:
        raise BackendError(f"unknown device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendError("no CUDA device is available; use --device cpu")
    return name


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Run with ``count`` CPU threads, then as before; calls side by side share the last count.

    Threads that wait for work of microseconds spin. On a busy machine that costs a multiple of
    what they save, so the default is one.

    Raises:
        ValueError: the count is negative.
    """
    if count is not None and count < 0:
        raise ValueError(f"{count} threads: there must be 1 or more")
    with _threads_lock:
        first = _threads_before[0] if _threads_before else torch.get_num_threads()
        torch.set_num_threads(count or 1)
        _threads_before.append(first)
    try:
        yield
    finally:
        with _threads_lock:
            before = _threads_before.pop()
            if not _threads_before:
                torch.set_num_threads(before)


_threads_lock = Lock()
_threads_before: list[int] = []
"""For each call that is running, the CPU threads before the first of them."""


def pixel_counter(progress: Progress | None, total: int) -> Count:
    """Turn counts of newly finished pixels into calls of ``progress``."""
    done = 0

    def count(pixels: int) -> None:
        nonlocal done
        done += pixels
        if progress is not None:
            progress(done, total)

    return count
