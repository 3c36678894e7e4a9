"""The script that says whether images of every kind come back, and in how many bytes."""

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from picture_kinds import KINDS, png_of
from pixelcodec.pictures import Chunk, Picture

BENCH = Path(__file__).parent.parent / "bench"
PLAIN = ("bilevel", "2-bit gray")
"""Kinds that no model codes, which is quick."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("every_kind")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with an image of some kinds, and a broken one."""
    for kind in (each for each in KINDS if each.name in PLAIN):
        (tmp_path / f"{kind.name}.png").write_bytes(png_of(kind.picture()))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def run(script: ModuleType, *arguments: object) -> Result:
    return CliRunner().invoke(script.main, list(map(str, arguments)))


def test_kinds_are_counted_and_what_is_refused_is_named(script: ModuleType, images: Path) -> None:
    result = run(script, images, "-e", 1)
    assert result.exit_code == 0, result.output
    rows = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
    for kind in PLAIN:
        assert "1 standard" in " ".join(rows[kind])
    assert rows["all"][1:3] == ["2", "2"]
    assert f"1 refused\n  {images / 'broken.png'}: " in result.stdout
    assert "0 did not come back\n0 more than 64 bytes larger" in result.stdout


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples": np.zeros((2, 3, 1), np.uint8)}, "samples"),
        ({"chunks": (Chunk(b"gAMA", bytes(4)),)}, "bit depth or chunks"),
    ],
    ids=["samples", "chunks"],
)
def test_what_is_lost_is_told(script: ModuleType, change: dict[str, Any], told: str) -> None:
    picture = Picture(np.ones((2, 3, 1), np.uint8), 8)
    assert script.lost(b"no PNG", picture, picture) == ""
    assert script.lost(b"no PNG", picture, replace(picture, **change)) == told


def test_pillow_sees_what_a_file_lost(script: ModuleType) -> None:
    picture = Picture(np.ones((2, 3, 1), np.uint8), 8, (Chunk(b"gAMA", b"\0\0\xb1\x8f"),))
    again = replace(picture, samples=1 - picture.samples, chunks=())
    assert script.lost(png_of(picture), picture, picture) == ""
    assert (
        script.lost(png_of(picture), picture, again) == "samples, bit depth or chunks, pixels, info"
    )


def test_an_image_that_does_not_come_back_is_a_failure(
    script: ModuleType, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "lost", lambda *_: "pixels")
    result = run(script, images, "-e", 1)
    assert result.exit_code == 1
    assert "2 did not come back\n" in result.stdout


def test_what_there_is_no_time_for_is_counted(script: ModuleType, images: Path) -> None:
    assert "3 images were left out" in run(script, images, "--minutes", 0).stdout
