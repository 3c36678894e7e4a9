"""docs/RELIABILITY.md names tests that there are."""

import ast
import re
from pathlib import Path

import pytest

from robustness.broken import BREAKS, Break

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"(tests/\w+\.py)::((?:\w+::)?test_\w+)", PAGE)))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_page_names_tests_that_there_are(file: str, name: str) -> None:
    *classes, name = name.split("::")
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for wanted in classes:
        (body,) = (
            node.body for node in body if isinstance(node, ast.ClassDef) and node.name == wanted
        )
    assert name in [node.name for node in body if isinstance(node, ast.FunctionDef)]


def test_every_promise_has_its_tests() -> None:
    promises = re.findall(r"^## \d\. .*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert len(promises) == 7
    assert all("tests/test_" in promise for promise in promises)


# That tests notice mistakes, `make broken` tells -------------------------------------------------


@pytest.mark.parametrize("mistake", BREAKS, ids=lambda mistake: mistake.what)
def test_a_mistake_can_be_made(mistake: Break) -> None:
    assert (ROOT / mistake.file).read_text(encoding="utf-8").count(mistake.old) == 1
    assert mistake.old != mistake.new


def test_each_promise_and_each_of_its_tests_has_a_mistake() -> None:
    assert {mistake.promise for mistake in BREAKS} == set(range(1, 8))
    tried = {f"tests/{test.replace('::', '.py::', 1)}" for each in BREAKS for test in each.tests}
    assert {f"{file}::{name}" for file, name in TESTS} == tried


@pytest.mark.parametrize("command", ["fuzz", "faults", "soak", "matrix", "broken"])
def test_its_commands_are_targets(command: str) -> None:
    assert f"`make {command}`" in PAGE
    assert f"\n{command}: " in (ROOT / "Makefile").read_text(encoding="utf-8")
