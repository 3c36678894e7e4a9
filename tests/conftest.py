"""What tests share by name. All run on one thread: the pieces of work are too small for more."""

import signal
from pathlib import Path

import pytest
import torch

from coding import TINY, random_network
from commands import TINY_MODEL
from pixelcodec.models import zoo

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which what tests start inherits
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as by nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(folder: Path) -> Path:
    """A model in this folder, which takes no time; :data:`commands.M` names it."""
    zoo.save_network(random_network(TINY, seed=1), TINY_MODEL)
    return TINY_MODEL
