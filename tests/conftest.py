"""What tests share by name. All run on one thread: the pieces of work are too small for more."""

from pathlib import Path

import pytest
import torch

from coding import TINY, random_network
from commands import TINY_MODEL
from pixelcodec.models import zoo

torch.set_num_threads(1)


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
