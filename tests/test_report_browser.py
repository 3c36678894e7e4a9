"""The page of ``pixelcodec compare --html`` in a browser, where there is one.

Chromium runs by itself, without a driver. A script that stands in a copy of the page uses it as a
person would, and leaves what it saw in the page, which Chromium prints.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from typing import Any

import pytest

from commands import run, save
from pictures import noise, scene

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--window-size=500,900"),
)

VISIT = """
<script>
"use strict";
window.addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll(".results tbody tr")];
  const texts = column => rows().map(row => row.cells[column].textContent);
  const columns = [...document.querySelectorAll(".results thead th")];
  const found = {before: rows().map(row => row.textContent), sorted: {}};
  columns.forEach((heading, column) => {
    const button = heading.querySelector("button");
    const states = [1, 2].map(() => {
      button.click();
      return {sort: columns.map(each => each.getAttribute("aria-sort")), texts: texts(column)};
    });
    found.sorted[button.textContent] = states;
  });
  const first = columns[0].querySelector("button");
  first.focus();
  found.focused = document.activeElement === first;
  found.after = rows().map(row => row.textContent);
  found.images = [...document.images].map(each => [each.naturalWidth, each.naturalHeight]);
  found.drawn = [...document.querySelectorAll("svg")].map(each => each.getBBox().width);
  found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const seen = document.createElement("pre");
  seen.id = "seen";
  seen.textContent = JSON.stringify(found);
  document.body.append(seen);
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@pytest.fixture(scope="module")
def visit(browser: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What the script saw, and what the browser logged."""
    folder = tmp_path_factory.mktemp("report")
    images = [
        save(scene(40, 60, 3), str(folder / "scene.png")),
        save(noise(30, 20, 3), str(folder / "noise.png")),
        save(scene(24, 24), str(folder / "image10.png")),
        save(scene(24, 20), str(folder / "image9.png")),
    ]
    path = folder / "report.html"
    assert run("compare", *images, "-e", 1, "--html", path).exit_code == 0
    visited = folder / "visited.html"
    page = path.read_text(encoding="utf-8").replace("</body>", f"{VISIT}</body>")
    visited.write_text(page, encoding="utf-8")
    profile = folder / "profile"
    done = subprocess.run(
        [browser, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", visited.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert seen, done.stderr
    return json.loads(unescape(seen[1])), done.stderr


def number(text: str) -> float:
    """A cell as a number; what is not known is more than all."""
    return float(text.replace(",", "")) if text else float("inf")


def test_the_browser_has_nothing_to_complain_of(visit: tuple[dict[str, Any], str]) -> None:
    assert "CONSOLE" not in visit[1]


def test_all_pictures_and_charts_are_drawn(visit: tuple[dict[str, Any], str]) -> None:
    images, drawn = visit[0]["images"], visit[0]["drawn"]
    assert [tuple(size) for size in images] == [
        *[(60, 40)] * 2,
        (20, 30),  # no model codes noise, so there is no map
        *[(24, 24)] * 2,
        *[(20, 24)] * 2,
    ]
    assert len(drawn) == 2
    assert min(drawn) > 100


@pytest.mark.parametrize("heading", ["Bytes", "Bits a sample", "Of PNG", "Encode s", "Decode s"])
def test_a_click_sorts_by_numbers_and_another_the_other_way_round(
    heading: str, visit: tuple[dict[str, Any], str]
) -> None:
    upwards, downwards = ([*map(number, each["texts"])] for each in visit[0]["sorted"][heading])
    known = [value for value in upwards if value != float("inf")]
    assert len(set(known)) > 4
    assert upwards == sorted(upwards)  # what is not known comes last
    rest = len(upwards) - len(known)
    assert downwards == [*sorted(known, reverse=True), *[float("inf")] * rest]


def test_a_click_sorts_by_names_as_people_count(visit: tuple[dict[str, Any], str]) -> None:
    upwards, downwards = (
        list(dict.fromkeys(each["texts"])) for each in visit[0]["sorted"]["Image"]
    )
    assert upwards == ["image9.png", "image10.png", "noise.png", "scene.png"]
    assert downwards == upwards[::-1]


def test_only_the_column_that_is_sorted_says_so(visit: tuple[dict[str, Any], str]) -> None:
    for column, states in enumerate(visit[0]["sorted"].values()):
        for state, order in zip(states, ("ascending", "descending"), strict=True):
            assert state["sort"].pop(column) == order
            assert set(state["sort"]) == {"none"}


def test_sorting_loses_no_row(visit: tuple[dict[str, Any], str]) -> None:
    before, after = visit[0]["before"], visit[0]["after"]
    assert before != after
    assert sorted(before) == sorted(after)


def test_headings_take_the_focus_of_the_keyboard(visit: tuple[dict[str, Any], str]) -> None:
    assert visit[0]["focused"]


def test_a_narrow_window_shows_all_but_for_the_table(visit: tuple[dict[str, Any], str]) -> None:
    assert visit[0]["overflow"] == 0
