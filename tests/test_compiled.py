"""What numba keeps on disk is of these very sources."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pixelcodec import compiled

CALLER = """
from pixelcodec.compiled import compiled
from callee import CONSTANT, double

@compiled
def caller(number):
    return double(number) + CONSTANT
"""
CALLEE = """
from pixelcodec.compiled import compiled

CONSTANT = {constant}

@compiled
def double(number):
    return 2 * number
"""
ASK = "import caller; print(caller.caller(20), len(caller.caller.stats.cache_hits))"


def run(folder: Path, sources: str) -> str:
    """What the caller gives, and from how many of its signatures it was on disk."""
    patched = f"from pixelcodec import compiled; compiled.sources = lambda: {sources!r}; {ASK}"
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "kept")}
    done = subprocess.run(
        [sys.executable, "-c", patched], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_was_compiled_of_other_sources_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE.format(constant=1))
    assert run(tmp_path, "before") == "41 0"
    assert run(tmp_path, "before") == "41 1"  # kept
    (tmp_path / "callee.py").write_text(CALLEE.format(constant=25))
    assert run(tmp_path, "after") == "65 0"
    assert run(tmp_path, "after") == "65 1"


def test_all_sources_with_compiled_loops_count() -> None:
    digested = {path.name for path in compiled.modules()}
    root = Path(compiled.__file__).parents[1]
    marked = {
        path.name
        for folder in ("pixelcodec", "models")
        for path in (root / folder).rglob("*.py")
        if "@compiled" in path.read_text(encoding="utf-8")
    }
    assert "seen_colours.py" in marked
    assert marked <= digested


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
