"""Every example of the README and of the guides runs, in a folder with the files it speaks of."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/LIBRARY.md", "docs/PLUGINS.md"]

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


@pytest.mark.parametrize(
    "page",
    [
        "docs/COMMANDS.md",
        *(page for page in PAGES if "```console" in (ROOT / page).read_text(encoding="utf-8")),
    ],
)
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
