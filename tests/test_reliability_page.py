"""docs/RELIABILITY.md names tests that there are."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"(tests/\w+\.py)::(test_\w+)", PAGE)))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_page_names_tests_that_there_are(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert name in functions


def test_every_promise_has_its_tests() -> None:
    promises = re.findall(r"^## \d\. .*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert len(promises) == 7
    assert all("tests/test_" in promise for promise in promises)


@pytest.mark.parametrize("command", ["fuzz", "faults", "soak", "matrix"])
def test_its_commands_are_targets(command: str) -> None:
    assert f"`make {command}`" in PAGE
    assert f"\n{command}: " in (ROOT / "Makefile").read_text(encoding="utf-8")
