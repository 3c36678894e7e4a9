"""What numba keeps on disk is of these very sources."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import FunctionType

import pytest

from pixelcodec import compiled
from pixelcodec.models import mixture

CALLER = """
from pixelcodec.compiled import compiled
from callee import CONSTANT, double

@compiled
def caller(number):
    return double(number) + CONSTANT
"""
CALLEE = """
from pixelcodec.compiled import compiled

CONSTANT = 1
TABLE = (0, 0)

@compiled
def double(number):
    return 2 * number + TABLE[1]
"""
ASK = "import caller; print(caller.caller(20), len(caller.caller.stats.cache_hits))"


def run(folder: Path) -> str:
    """What the caller gives, and how many of its signatures were on disk."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "kept")}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (("CONSTANT = 1", "CONSTANT = 25"), "65"),
        (("2 * number", "3 * number"), "61"),
        (("TABLE = (0, 0)", "TABLE = (0, 5)"), "46"),
    ],
    ids=["constant", "code", "constant of what is called"],
)
def test_what_was_compiled_of_other_sources_does_not_run(
    change: tuple[str, str], result: str, tmp_path: Path
) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE)
    assert run(tmp_path) == "41 0"
    assert run(tmp_path) == "41 1"  # kept
    (tmp_path / "callee.py").write_text(CALLEE.replace(*change))
    assert run(tmp_path) == f"{result} 0"
    assert run(tmp_path) == f"{result} 1"


def test_constants_that_are_named_by_their_module_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def function() -> int:
        return mixture.LEVELS

    assert isinstance(function, FunctionType)
    before = compiled.digest(function)
    compiled.digest.cache_clear()
    assert compiled.digest(function) == before
    compiled.digest.cache_clear()
    monkeypatch.setattr(mixture, "LEVELS", 128)
    assert compiled.digest(function) != before


def test_where_nothing_can_be_kept_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(function: object) -> None:
        raise RuntimeError("no locator available")

    monkeypatch.setattr(compiled, "_Cache", nowhere)
    compiled._warn_of_slow_starts.cache_clear()
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        double = compiled.compiled(lambda number: 2 * number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled.compiled(lambda number: 3 * number)
    assert double(21) == 42
