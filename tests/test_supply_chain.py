"""What SECURITY.md says of the program itself: no code in data, no network, no writes elsewhere."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pictures import scene
from pixelcodec.pictures import Picture, write_picture

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("pixelcodec", "cli", "models") for path in (ROOT / folder).rglob("*.py")
)

NEVER_IMPORTED = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"),
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp"),
    *("telnetlib", "xmlrpc", "socketserver", "ctypes", "cffi"),
    "subprocess",
}
NEVER_CALLED = {
    *("eval", "exec", "compile", "__import__", "torch.load"),
    *("os.system", "os.popen", "platform.processor"),
}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_no_module_takes_code_from_data_or_uses_the_network(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not {name.partition(".")[0] for name in imported(tree)} & NEVER_IMPORTED
    assert not {ast.unparse(call.func) for call in calls(tree)} & NEVER_CALLED


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_arrays_are_read_and_written_without_pickles(path: Path) -> None:
    for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
        if ast.unparse(call.func) in ("np.load", "np.save"):
            settings = {each.arg: ast.unparse(each.value) for each in call.keywords}
            assert settings["allow_pickle"] == "False"


# What commands do --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What Python's audit hooks saw while commands ran; and the folder, as ``folder``."""
    folder = tmp_path_factory.mktemp("audited")
    write_picture(Picture.from_array(scene(12, 16, 3)), folder / "photo.png")
    done = subprocess.run(
        [sys.executable, "-m", "robustness.audited", str(folder)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads((folder / "seen.json").read_text()), "folder": [str(folder)]}


def test_commands_use_no_network_and_run_no_programs(seen: dict[str, list[str]]) -> None:
    assert "network" not in seen
    assert "programs" not in seen


def test_commands_write_targets_and_caches_alone(seen: dict[str, list[str]]) -> None:
    (folder,) = seen["folder"]
    written = [Path(path) for path in seen["written"]]
    inside = [path for path in written if path.parent == Path(folder)]
    assert {path.name for path in inside if not path.name.startswith(".pixelcodec-")} == {
        *("photo.pxc", "standard.pxc", "back.png", "partial.png")
    }
    elsewhere = [path for path in written if path not in inside]
    # Compiled Python and compiled loops, also where users keep their caches.
    assert not [path for path in elsewhere if not re.search("__pycache__|numba|cache", str(path))]


def test_nothing_is_unpickled_but_compiled_loops(seen: dict[str, list[str]]) -> None:
    modules = {name.partition(".")[0] for name in seen.get("pickled", [])}
    assert modules <= {"numba", "builtins", "copyreg", "llvmlite", "numpy"}


# What is installed -------------------------------------------------------------------------------


def test_every_dependency_has_its_version_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    needed = {re.split(r"[^A-Za-z0-9_-]", name)[0] for name in [*project["dependencies"], *extras]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    assert not {name.lower() for name in needed} - pinned
    assert all("==" in line or line.startswith("#") or not line.strip() for line in lines)


def test_models_are_tensors_and_text() -> None:
    shipped = {path.suffix for path in (ROOT / "models" / "zoo").iterdir() if path.is_file()}
    assert shipped == {".py", ".json", ".safetensors"}
