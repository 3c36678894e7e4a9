"""What people are shown: examples that work as they stand, and completion in their shell."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import run, save
from data_files import write_mnist
from pictures import noise, scene
from pixelcodec import suffixes
from pixelcodec.cli.encode import EffortNumber
from pixelcodec.cli.main import COMMANDS
from pixelcodec.effort import MAX_EFFORT

# Examples ----------------------------------------------------------------------------------------

NEEDS_TRAINING = ("pixelcodec train photos", "pixelcodec train --recipe")


def examples(command: str) -> list[str]:
    """The command lines at the end of a help text."""
    _, _, text = run(command, "--help").stdout.partition("\n  Examples:\n")
    return [line.strip() for line in text.splitlines()]


@pytest.fixture(scope="module")
def pxc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    photo = save(scene(24, 32, 3), str(folder / "photo.png"))
    assert run("encode", photo).exit_code == 0
    return folder / "photo.pxc"


def make_images() -> None:
    """photo.png, more in photos/, a mask, and a data set."""
    save(scene(24, 32, 3), "photo.png")
    save((scene(24, 32) > 100).astype(np.uint8) * 255, "hole.png")
    Path("photos/inner").mkdir(parents=True)
    save(scene(20, 30, 3, seed=2), "photos/a.png")
    save(scene(20, 30, 3, seed=3), "photos/inner/b.png")
    Path("mnist").mkdir()
    write_mnist(Path("mnist/t10k-images-idx3-ubyte"), noise(2, 28, 28, 1))


def make_packed(pxc: Path) -> None:
    """photo.pxc, and more in archive/."""
    Path("archive").mkdir()
    for target in ("photo.pxc", "archive/a.pxc"):
        shutil.copy(pxc, target)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_two_to_four_examples(command: str) -> None:
    lines = examples(command)

    assert 2 <= len(lines) <= 4
    assert all(f"pixelcodec {command}" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        pytest.param(command, line, id=line)
        for command in COMMANDS
        for line in examples(command)
        if not line.startswith(NEEDS_TRAINING)
    ],
)
def test_every_example_works(command: str, line: str, pxc: Path, folder: Path) -> None:
    if command != "decode":
        make_images()
    if command != "encode":
        make_packed(pxc)

    if any(each in line for each in "|<>"):
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        script = ["bash", "-e", "-o", "pipefail", "-c", line]
        subprocess.run(script, env={**os.environ, "PATH": programs}, check=True)
    else:
        result = run(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.output


# The guide ---------------------------------------------------------------------------------------

GUIDE = (Path(__file__).parents[1] / "docs" / "COMMANDS.md").read_text(encoding="utf-8")


def test_the_guide_has_every_command() -> None:
    table = GUIDE.partition("\n## Commands\n")[2].partition("\n## ")[0]

    assert list(dict.fromkeys(re.findall(r"^\| `(\w+)", table, re.MULTILINE))) == list(COMMANDS)


def test_the_guide_has_every_key_of_info(pxc: Path) -> None:
    (facts,) = json.loads(run("info", "--json", pxc).stdout)
    table = GUIDE.partition("\n`info --json`")[2].partition("\n`models --json`")[0]
    rows = [row.partition("|")[0] for row in re.findall(r"^\| (`.*)", table, re.MULTILINE)]

    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(facts)


def test_the_guide_has_every_suffix_of_images() -> None:
    assert all(f"`{suffix}`" in GUIDE for suffix in suffixes.IMAGES)


def test_the_most_effort_has_a_name() -> None:
    assert EffortNumber().convert("max", None, None) == MAX_EFFORT == 10


@pytest.mark.parametrize("effort", ["0", "10", "best", "5.0", "-1"])
@pytest.mark.parametrize("command", ["encode", "compare"])
def test_efforts_are_those_that_the_help_names(command: str, effort: str) -> None:
    result = run(command, "photo.png", "-e", effort)

    assert result.exit_code == 2
    assert f"{effort!r} is not an effort: 1 to 9, or max" in result.stderr


# Completion --------------------------------------------------------------------------------------


def completions(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash would be told of the last word: its kind, and how it may go on."""
    words = line.split(" ")
    monkeypatch.setenv("_PIXELCODEC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    code = (
        "import sys; from pixelcodec.cli.main import main\n"
        "try: main(prog_name='pixelcodec')\n"
        "finally: assert 'torch' not in sys.modules\n"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stderr == ""
    return asked.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_the_program(shell: str) -> None:
    result = run("completion", shell)

    assert result.exit_code == 0
    assert f"_PIXELCODEC_COMPLETE={shell}_complete" in result.stdout


def test_there_is_no_script_for_other_shells() -> None:
    assert run("completion", "tcsh").exit_code == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pixelcodec ver", ["plain,verify"]),
        ("pixelcodec encode --skip", ["plain,--skip-existing"]),
        ("pixelcodec encode photo.png -m photo", ["plain,photo-m", "plain,photo-s"]),
        ("pixelcodec models mnist-r", ["plain,mnist-row-lstm"]),
        ("pixelcodec encode photo.png -m min", ["file,min"]),
        ("pixelcodec encode ", ["file,"]),
        ("pixelcodec decode ", ["plain,a.pxc", "plain,b.pxc"]),
        ("pixelcodec verify b", ["plain,b.pxc"]),
        ("pixelcodec info c", ["file,c"]),
        ("pixelcodec decode sub/", ["file,sub/"]),
        ("pixelcodec completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
    ],
)
def test_words_are_completed_without_torch(
    line: str, expected: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.pxc", "b.pxc", "photo.png"):
        Path(name).touch()

    assert completions(line, monkeypatch) == expected


@pytest.mark.parametrize("other", ["folder", "a name.pxc"])
def test_what_only_the_shell_can_complete_is_left_to_it(
    other: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.pxc").touch()
    (Path(other).touch if other.endswith(".pxc") else Path(other).mkdir)()

    assert completions("pixelcodec decode ", monkeypatch) == ["file,"]
