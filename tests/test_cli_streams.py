"""Bytes on their way: outputs whole or absent, whatever happens; standard streams; signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest

from commands import M, assert_fails_in_one_line, names, read, run, save
from pictures import noise, scene

pytestmark = pytest.mark.usefixtures("tiny")

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX's")


@pytest.fixture
def photo() -> Path:
    return save(noise(20, 30, 3), "photo.png")


@pytest.fixture
def pxc(photo: Path) -> Path:
    assert run("encode", photo, "-o", "packed.pxc", *M).exit_code == 0
    return Path("packed.pxc")


@pytest.fixture
def large() -> list[Path]:
    """Images that take longer to encode than any of these tests."""
    return [save(np.zeros((2000, 3000, 3), np.uint8), f"large{n}.png") for n in (1, 2, 3)]


def process(*arguments: object, **settings: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pixelcodec", *map(str, arguments)]
    return subprocess.Popen(command, stderr=PIPE, **settings)


# Standard streams --------------------------------------------------------------------------------


def test_from_stream_to_stream_there_is_nothing_but_bytes(photo: Path, folder: Path) -> None:
    before = names(folder)

    packed = run("encode", "-", *M, stdin=photo.read_bytes())
    unpacked = run("decode", "-", *M, stdin=packed.stdout_bytes)

    Path("back.png").write_bytes(unpacked.stdout_bytes)
    assert np.array_equal(read(Path("back.png")), read(photo))
    assert unpacked.stderr == ""
    assert names(folder) == before | {"back.png"}


@pytest.mark.parametrize("command", ["verify", "info"])
def test_what_only_looks_reads_standard_input_too(command: str, pxc: Path) -> None:
    model = M if command == "verify" else ()

    result = run(command, "-", *model, stdin=pxc.read_bytes())

    assert result.exit_code == 0
    assert result.stdout.startswith("-")


def test_an_original_may_come_from_standard_input(pxc: Path, photo: Path) -> None:
    result = run("verify", pxc, "-", *M, stdin=photo.read_bytes())

    assert result.stdout == "packed.pxc: identical to -\n"


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_gets_no_traceback(unbuffered: str) -> None:
    larger_than_a_pipe = save(noise(200, 300, 3), "noise.png")
    assert run("encode", larger_than_a_pipe, *M).exit_code == 0
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}

    running = process("decode", "noise.pxc", "-o", "-", *M, stdout=PIPE, env=environment)

    assert running.stdout is not None
    assert running.stdout.read(8) == b"\x89PNG\r\n\x1a\n"
    running.stdout.close()
    assert running.wait(timeout=60) == 1
    assert running.stderr is not None
    assert running.stderr.read() == b""
    running.stderr.close()


# Outputs that cannot be written ------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's")
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_full_device_is_said_so(command: str, photo: Path, pxc: Path) -> None:
    source, full = (photo, "full.pxc") if command == "encode" else (pxc, "full.png")
    Path(full).symlink_to("/dev/full")

    result = run(command, source, "-o", full, *M)

    assert_fails_in_one_line(result, full)
    assert "No space left on device" in result.stderr


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@posix
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_where_a_disk_ends_no_partial_file_is_left(
    command: str, photo: Path, pxc: Path, folder: Path
) -> None:
    run("decode", pxc, "-o", "once.png", *M)  # what is compiled is in the cache of the disk now
    before = names(folder)

    source, output = (photo, "out.pxc") if command == "encode" else (pxc, "out.png")

    with files_of_at_most(1000):
        result = run(command, source, "-o", output, *M)

    assert_fails_in_one_line(result, output)
    assert names(folder) == before


@posix
def test_a_batch_goes_on_after_a_file_that_has_no_room(photo: Path, pxc: Path) -> None:
    save(scene(4, 4, 3), "small.png")

    with files_of_at_most(1000):
        result = run("encode", photo, "small.png", "--out-dir", "out", *M)

    assert result.exit_code == 1
    assert names(Path("out")) == {"small.pxc"}
    assert result.stderr.splitlines()[-1] == "failed: photo.png"


# The end of a process ----------------------------------------------------------------------------


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".pixelcodec-*.part"))


def wait_for_parts(folder: Path, count: int, running: "subprocess.Popen[bytes]") -> None:
    while len(parts(folder)) < count:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)


def assert_ends_at_once(
    running: "subprocess.Popen[bytes]", to: str, by: int = signal.SIGINT
) -> None:
    """A signal, for one process or for all of a group, ends them without a word."""
    begin = time.monotonic()
    (os.killpg if to == "group" else os.kill)(running.pid, by)
    told = running.communicate(timeout=60)[1]  # the workers have this pipe, too

    assert time.monotonic() - begin < 20
    assert told == b""
    # Python ends itself by the signal where that came while a string of code was run, as imports
    # do. A shell says 130 of both.
    assert running.returncode in ((130, -by) if by == signal.SIGINT else (128 + by,))


@posix
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("to", ["one", "group"])
def test_ctrl_c_ends_a_batch_at_once_and_leaves_nothing(
    jobs: int, to: str, large: list[Path], folder: Path
) -> None:
    before = names(folder)
    running = process("encode", *large, "-j", jobs, start_new_session=True)
    wait_for_parts(folder, jobs, running)

    assert_ends_at_once(running, to)
    assert names(folder) == before


@posix
@pytest.mark.parametrize(
    ("name", "jobs", "to"),
    [("SIGTERM", 1, "one"), ("SIGTERM", 2, "one"), ("SIGTERM", 2, "group"), ("SIGHUP", 2, "group")],
)
def test_signals_that_end_a_batch_leave_nothing(
    name: str, jobs: int, to: str, large: list[Path], folder: Path
) -> None:
    before = names(folder)
    running = process("encode", *large, "-j", jobs, start_new_session=True)
    wait_for_parts(folder, jobs, running)

    assert_ends_at_once(running, to, getattr(signal, name))
    assert names(folder) == before


@posix
def test_a_signal_that_is_ignored_stays_ignored(folder: Path) -> None:
    image = save(np.zeros((1000, 1000, 3), np.uint8), "image.png")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        running = process("encode", image)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_parts(folder, 1, running)

    running.send_signal(signal.SIGHUP)

    running.communicate(timeout=60)
    assert running.returncode == 0


@posix
@pytest.mark.parametrize("seconds", [0, 2])
@pytest.mark.parametrize("to", ["one", "group"])
def test_ctrl_c_ends_the_decoding_of_strips_at_once(to: str, seconds: int, folder: Path) -> None:
    image = save(noise(1200, 200, 3), "large.png")
    slow = ("-m", "photo-m", "--restart", "--strip-rows", 600)  # to decode
    assert run("encode", image, *slow, "--no-verify").exit_code == 0
    before = names(folder)
    running = process("decode", "large.pxc", "-j", 2, "-o", "back.png", start_new_session=True)
    wait_for_parts(folder, 1, running)
    time.sleep(seconds)

    assert_ends_at_once(running, to)
    assert names(folder) == before


@posix
def test_a_killed_process_leaves_nothing_under_the_name_of_the_target(
    large: list[Path], folder: Path
) -> None:
    running = process("encode", large[0], "-o", "out.pxc")
    wait_for_parts(folder, 1, running)

    running.kill()
    running.communicate(timeout=60)

    assert not Path("out.pxc").exists()
    assert len(parts(folder)) == 1
