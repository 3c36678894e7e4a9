"""What tests of commands share: running one, images in files, and how an error must look."""

import io
import re
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from pixelcodec.cli.main import main

TINY_MODEL = Path("tiny.safetensors")
M = ("-m", str(TINY_MODEL))
"""Options that choose the model of the fixture ``tiny``."""


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=stdin)


def assert_fails_in_one_line(result: Result, about: object) -> None:
    assert result.exit_code == 1, result.output
    assert re.fullmatch(rf"pixelcodec: {re.escape(str(about))}: [^\n]+\n", result.stderr)


def save(pixels: np.ndarray, name: str) -> Path:
    Image.fromarray(pixels).save(name)
    return Path(name)


def read(path: Path | io.BytesIO) -> np.ndarray:
    return np.array(Image.open(path))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
