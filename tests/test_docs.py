"""Every example of the README and of the guides runs, in a folder with the files it speaks of.

The API reference is what the docstrings say, and links lead somewhere.
"""

import itertools
import os
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/LIBRARY.md", "docs/PLUGINS.md", "docs/TRAINING.md"]

# What needs a checkout, a data set, a network or minutes.
NOT_RUN = ("make ", "pip ", "torchrun ", "pixelcodec train", "pixelcodec eval", "ssh ", "git ")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The command lines of a page, without what is said of them."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    typed = [line[2:].split("  #")[0].strip() for line in lines if line.startswith("$ ")]
    return [line for line in typed if not any(word in line for word in NOT_RUN)]


# Examples ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photograph, and a folder of two more."""
    with Image.open(ROOT / "examples" / "kodim23.png") as image:
        photograph = image.crop((200, 100, 248, 140))
    photograph.save(tmp_path / "photo.png", dpi=(300, 300))
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        photograph.rotate(90).save(tmp_path / "folder" / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_python(page: str, folder: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    assert code
    run([sys.executable, "-W", "error", "-c", code], folder)


@pytest.mark.parametrize("page", ["README.md", "docs/COMMANDS.md"])
def test_commands(page: str, folder: Path) -> None:
    script = "\n".join(commands(page))
    assert script.count("pixelcodec") > 5
    # As people type them, one after the other in one folder.
    run(["bash", "-e", "-o", "pipefail", "-c", script], folder)


def run(command: list[str], folder: Path) -> None:
    """Run a command, and show what it printed if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


# Pages -------------------------------------------------------------------------------------------

ALL_PAGES = ["README.md", "CHANGELOG.md", "examples/README.md"] + [
    f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))
]


@cache
def tokens(page: str) -> list[Token]:
    """What a page consists of, for those who show Markdown."""
    blocks = MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
    return [token for block in blocks for token in (block, *(block.children or ()))]


@cache
def anchors(page: str) -> list[str]:
    """Those of the headings of a page, as code-hosting sites make them."""
    found = tokens(page)
    titles = [after for each, after in itertools.pairwise(found) if each.type == "heading_open"]
    texts = ["".join(child.content for child in title.children or ()) for title in titles]
    return [re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in texts]


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = [str(each.attrs["href"]) for each in tokens(page) if each.type == "link_open"]
    images = [str(each.attrs["src"]) for each in tokens(page) if each.type == "image"]
    for link in (*links, *images):
        path, _, anchor = link.partition("#")
        target = Path(page).parent / path if path else Path(page)
        if "://" not in link:
            assert (ROOT / target).exists(), link
            assert not anchor or anchor in anchors(target.as_posix()), link


def test_the_api_reference_is_what_the_docstrings_say() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["Reference"]()
    page = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    assert page == reference.markdown(), "make docs"


def test_docstrings_read_well_in_the_api_reference() -> None:
    """No star, underscore, bracket or role of theirs means something else there."""
    kinds = {each.type for each in tokens("docs/API.md")}
    assert not kinds & {"em_open", "strong_open", "html_inline", "html_block"}
    texts = [each.content for each in tokens("docs/API.md") if each.type == "text"]
    assert not [text for text in texts if re.search(r":[a-z]*:$", text)]


def test_headings_of_the_api_reference_have_anchors_of_their_own() -> None:
    found = anchors("docs/API.md")
    assert len(set(found)) == len(found)


# The design -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((ROOT / "models").rglob("*.py")), ids=lambda path: path.stem
)
def test_models_import_nothing_of_containers_or_coders(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    imported = re.findall(
        r"^ *(?:from|import) pixelcodec(?:\.| import )(\w+)", source, re.MULTILINE
    )
    assert set(imported) <= {"models", "errors", "compiled"}
