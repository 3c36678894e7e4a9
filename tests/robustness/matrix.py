"""The same files with other versions of torch and NumPy, each in an environment of its own.

In ``tests/``: ``python -m robustness.matrix --torch 2.13.0 2.4.1 --numpy 2.4.6 2.2.6``. Every
version of torch is paired with the first of NumPy, and every one of NumPy with the first of torch.
Each pair gets a new environment, which takes a gigabyte and is deleted afterwards.
``robustness.everywhere`` runs there, and what it encodes must have the same digest in all of them.
Builds of torch that need CUDA packages take several gigabytes: without ``--cuda`` they are skipped.
Point pip at builds for the CPU alone by ``PIP_EXTRA_INDEX_URL`` or ``PIP_FIND_LINKS``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TORCH = ("2.13.0", "2.15.0", "2.4.1")
NUMPY = ("2.4.6", "2.2.6", "2.0.2")

ROOT = Path(__file__).parents[2]
CUDA = ("nvidia-", "cuda-", "triton")
_QUIETLY = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")


class UnavailableError(Exception):
    """Such a pair cannot be installed here."""


def pairs(torch: Sequence[str], numpy: Sequence[str]) -> list[tuple[str, str]]:
    """Versions of torch and of NumPy that are tried together."""
    return [(each, numpy[0]) for each in torch] + [(torch[0], each) for each in numpy[1:]]


def environment(folder: Path, torch: str, numpy: str, cuda: bool) -> Path:
    """Make an environment with these versions, and return its Python.

    Raises:
        UnavailableError: there are no such packages, or without ``cuda`` none for the CPU alone.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    if not cuda:
        _refuse_cuda(python, f"torch=={torch}")
    # As in the Makefile: torch comes first and alone, so that nothing has a say in which build.
    for wanted in ([f"torch=={torch}", f"numpy=={numpy}"], [f"numpy=={numpy}", str(ROOT)]):
        _pip(python, "install", "--only-binary", ":all:", *wanted)
    return python


def _refuse_cuda(python: Path, torch: str) -> None:
    report = _pip(python, "install", "--dry-run", "--ignore-installed", "--report", "-", torch)
    names = [each["metadata"]["name"] for each in json.loads(report)["install"]]
    if found := [name for name in names if name.startswith(CUDA)]:
        raise UnavailableError(f"this build of {torch} needs {found[0]}")


def _pip(python: Path, command: str, *arguments: str) -> str:
    done = subprocess.run(
        [*(str(python), "-m", "pip", command), *_QUIETLY, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        *_, last = done.stderr.strip().splitlines() or ["pip failed"]
        raise UnavailableError(last)
    return done.stdout


def check(python: Path) -> tuple[bool, list[str]]:
    """Run ``robustness.everywhere``: whether all was well, and the last lines that it printed."""
    done = subprocess.run(
        [str(python), "-m", "robustness.everywhere"],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout or done.stderr).strip().splitlines() or ["nothing was printed"]
    return done.returncode == 0, lines[-2:]


def main() -> None:
    """Go through all pairs, and fail where one differs or none could be installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", nargs="+", default=TORCH, help="versions")
    parser.add_argument("--numpy", nargs="+", default=NUMPY, help="versions")
    parser.add_argument("--cuda", action="store_true", help="install builds with CUDA, too")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="to start no more after"
    )
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    digests: set[str] = set()
    failed = False
    for torch, numpy in pairs(asked.torch, asked.numpy):
        if time.monotonic() > end:
            print("time is up")
            break
        pair = f"torch {torch}, numpy {numpy}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                well, lines = check(environment(Path(folder) / "venv", torch, numpy, asked.cuda))
            except UnavailableError as error:
                print(f"{pair}: skipped: {error}", flush=True)
                continue
        print(f"{pair}: {'' if well else 'FAILED: '}{'; '.join(lines)}", flush=True)
        failed |= not well
        digests |= {lines[-1]} if well else set()
    sys.exit(failed or len(digests) != 1)


if __name__ == "__main__":
    main()
