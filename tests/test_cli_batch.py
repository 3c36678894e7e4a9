"""Several files at once: which, where to, what is told, and work in other processes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import works
from commands import M, read, run, save
from pictures import scene
from pixelcodec.cli import progress
from pixelcodec.cli.batch import Batch
from pixelcodec.cli.common import Failure
from pixelcodec.cli.encode import Choices, encode_file
from pixelcodec.cli.inputs import Source, plan_outputs
from pixelcodec.cli.progress import Remaining, Report, Step, now_and_then
from pixelcodec.cli.work import Sink, Task
from pixelcodec.cli.workers import FileWorkers

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def photos() -> Path:
    """A folder: a.png, inner/b.ppm, inner/deep/c.png, and what is no image."""
    Path("photos/inner/deep").mkdir(parents=True)
    save(scene(9, 11, 3, seed=1), "photos/a.png")
    save(scene(8, 7, 3, seed=2), "photos/inner/b.ppm")
    save(scene(6, 9, seed=3), "photos/inner/deep/c.png")
    Path("photos/notes.txt").write_text("no image")
    return Path("photos")


def files_below(folder: Path | str) -> set[str]:
    below = Path(folder)
    return {path.relative_to(below).as_posix() for path in below.rglob("*") if path.is_file()}


ENCODED = {"a.pxc", "inner/b.pxc", "inner/deep/c.pxc"}


# Which files, and where to -----------------------------------------------------------------------


def test_several_files_are_written_beside_their_sources(photos: Path) -> None:
    before = files_below(photos)

    assert run("encode", photos / "a.png", photos / "inner/b.ppm", *M).exit_code == 0
    assert files_below(photos) == before | {"a.pxc", "inner/b.pxc"}


def test_a_folder_is_taken_with_the_folders_in_it(photos: Path) -> None:
    before = files_below(photos)

    assert run("encode", "-r", photos, *M).exit_code == 0
    assert files_below(photos) == before | ENCODED


def test_an_output_folder_has_the_folders_of_the_input(photos: Path) -> None:
    before = files_below(photos)

    assert run("encode", "-r", photos, "--out-dir", "new/archive", *M).exit_code == 0
    assert files_below("new/archive") == ENCODED
    assert files_below(photos) == before


def test_a_file_goes_right_into_the_output_folder(photos: Path) -> None:
    assert run("encode", photos / "inner/b.ppm", "--out-dir", "archive", *M).exit_code == 0
    assert files_below("archive") == {"b.pxc"}


def test_a_folder_comes_back_as_it_was(photos: Path) -> None:
    run("encode", "-r", photos, "--out-dir", "archive", *M)

    assert run("decode", "-r", "archive", "--out-dir", "restored", *M).exit_code == 0
    for path in ("a.png", "inner/b.ppm", "inner/deep/c.png"):
        restored = Path("restored", path).with_suffix(".png")
        assert np.array_equal(read(restored), read(photos / path))


def test_verify_and_info_take_folders_too(photos: Path) -> None:
    run("encode", "-r", photos, "--out-dir", "archive", *M)
    files = ["archive/a.pxc", "archive/inner/b.pxc", "archive/inner/deep/c.pxc"]

    verified = run("verify", "-r", "archive", *M)
    shown = run("info", "-r", "archive")

    assert verified.stdout.splitlines() == [f"{file}: intact" for file in files]
    assert [line for line in shown.stdout.splitlines() if line.startswith("archive")] == files


@pytest.mark.parametrize("command", ["encode", "decode", "verify", "info"])
def test_without_r_a_folder_is_an_error_that_says_so(command: str, photos: Path) -> None:
    result = run(command, photos)

    assert result.exit_code == 1
    assert result.stderr == "pixelcodec: photos: this is a folder; -r takes the files in it\n"


@pytest.mark.parametrize("command", ["encode", "decode", "verify", "info"])
def test_a_folder_without_such_files_is_an_error(command: str, folder: Path) -> None:
    Path("empty").mkdir()

    result = run(command, "-r", "empty")

    assert result.exit_code == 1
    assert result.stderr.startswith("pixelcodec: empty: no file in this folder ends in .")


def test_a_file_named_twice_is_taken_once(photos: Path) -> None:
    result = run("encode", photos / "a.png", "photos/inner/../a.png", "-r", photos, *M)

    assert result.exit_code == 0
    assert "3 done" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos/a.png", "photos/inner/b.ppm", "-o", "x.pxc"],
        ["photos", "-r", "-o", "x.pxc"],
        ["photos/a.png", "-o", "x.pxc", "--out-dir", "archive"],
        ["-", "photos/a.png"],
        ["-", "--out-dir", "archive"],
        ["photos/a.png", "-f", "--skip-existing"],
        ["photos/a.png", "-j", "0"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_wrong_usage(arguments: list[str], photos: Path) -> None:
    before = files_below(".")

    assert run("encode", *arguments, *M).exit_code == 2
    assert files_below(".") == before


@pytest.mark.parametrize("out_dir", [(), ("--out-dir", "archive")], ids=["beside", "folder"])
def test_inputs_of_one_output_fail_and_the_others_go_on(
    out_dir: tuple[str, ...], photos: Path
) -> None:
    save(scene(5, 5), "photos/inner/b.png")
    save(scene(6, 9), "photos/inner/deep/c.tif")

    result = run("encode", "-r", photos, *out_dir, *M)

    assert result.exit_code == 1
    made = Path(out_dir[1]) if out_dir else photos
    for one, other, output in (
        ("inner/b.png", "inner/b.ppm", "inner/b.pxc"),
        ("inner/deep/c.png", "inner/deep/c.tif", "inner/deep/c.pxc"),
    ):
        for this, that in ((one, other), (other, one)):
            assert (
                f"pixelcodec: photos/{this}: photos/{that} would be written to {made / output}, "
                "too; give one of them another name, or -o or --out-dir of its own\n"
            ) in result.stderr
    assert "1 done, 4 failed" in result.stderr
    assert {name for name in files_below(made) if name.endswith(".pxc")} == {"a.pxc"}


def test_files_of_no_known_kind_are_counted(photos: Path) -> None:
    for name in ("raw.dng", "inner/scan.JP2", "inner/README", ".hidden", "old.pxc"):
        (photos / name).touch()

    result = run("encode", "-r", photos, *M)

    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "4 files ignored: .dng, .jp2, .txt, no suffix"
    assert "ignored" not in run("encode", "-qfr", photos, *M).stderr


def test_an_input_is_never_written_over(photos: Path) -> None:
    before = (photos / "a.png").read_bytes()

    for output in ("photos/a.png", "photos/inner/../a.png"):
        assert run("encode", photos / "a.png", "-f", "-o", output, *M).exit_code == 2
    assert (photos / "a.png").read_bytes() == before


FILE_NAMES = st.text("abAB.", min_size=1, max_size=3).filter(lambda name: name.strip("."))
PLACES = st.builds(PurePosixPath, st.sampled_from(["", "x", "x/y"]), FILE_NAMES).map(Path)


@given(st.lists(PLACES, unique=True, max_size=6))
def test_outputs_are_told_apart_or_refused(places: list[Path]) -> None:
    sources = [Source(Path("in") / place, place) for place in places]
    bare = [place.with_suffix("") for place in places]

    tasks, refused = plan_outputs(sources, ".pxc", output=None, out_dir=Path("out"))

    alone = [place for place in places if bare.count(place.with_suffix("")) == 1]
    assert refused.keys() == {Path("in") / place for place in places if place not in alone}
    assert tasks == [
        Task(Path("in") / place, Path("out") / place.with_suffix(".pxc")) for place in alone
    ]


@pytest.mark.parametrize(
    ("names", "made"), [("a", {"a.copy": "alone"}), ("ab", {"a.copy": "a", "b.copy": "b"})]
)
def test_one_file_may_have_work_of_its_own(names: str, made: dict[str, str]) -> None:
    for name in names:
        Path(name).write_text(name)
    batch = Batch(
        paths=tuple(map(Path, names)), recursive=False, jobs=1, quiet=True, out_dir=Path("out")
    )

    def alone(task: Task, sink: Sink, report: Report | None) -> None:
        sink.write(b"alone")

    batch.convert(works.copy, set(), ".copy", alone)

    assert {path.name: path.read_text() for path in Path("out").iterdir()} == made


# Failures, and what is told ----------------------------------------------------------------------


@pytest.fixture
def broken(photos: Path) -> Path:
    data = (photos / "a.png").read_bytes()
    path = photos / "broken.png"
    path.write_bytes(data[: len(data) // 2])
    return path


def test_a_batch_goes_on_after_a_bad_file(photos: Path, broken: Path) -> None:
    result = run("encode", "-r", photos, "--out-dir", "archive", *M)

    assert result.exit_code == 1
    assert files_below("archive") == ENCODED
    first, second, *_ = result.stderr.splitlines()
    assert first.startswith("archive/a.pxc: ")
    assert second.startswith("pixelcodec: photos/broken.png: truncated")


def test_the_summary_adds_up(photos: Path, broken: Path) -> None:
    result = run("encode", "-r", photos, "--out-dir", "archive", *M)

    good = [photos / path for path in ("a.png", "inner/b.ppm", "inner/deep/c.png")]
    before = sum(path.stat().st_size for path in good)
    after = sum(Path("archive", path).stat().st_size for path in ENCODED)
    *_, summary, failed, ignored = result.stderr.splitlines()
    assert re.fullmatch(
        rf"3 done, 1 failed; {before:,} bytes in, {after:,} out "
        rf"\({re.escape(f'{after / before:.1%}')}\); \d+\.\d s",
        summary,
    )
    assert failed == "failed: photos/broken.png"
    assert ignored == "1 file ignored: .txt"


def test_of_one_file_there_is_no_summary(photos: Path) -> None:
    assert len(run("encode", photos / "a.png", *M).stderr.splitlines()) == 1


def test_quiet_leaves_the_errors(photos: Path, broken: Path) -> None:
    result = run("encode", "-q", "-r", photos, *M)

    (line,) = result.stderr.splitlines()
    assert line.startswith("pixelcodec: photos/broken.png: ")


@pytest.mark.parametrize("missing", ["missing.png", "photos/missing/d.png", "x" * 300])
def test_a_missing_file_is_a_failure_of_that_file(photos: Path, missing: str) -> None:
    result = run("encode", missing, photos / "a.png", *M)

    assert result.exit_code == 1
    assert (photos / "a.pxc").is_file()
    assert result.stderr.splitlines()[-1] == f"failed: {missing}"


def test_an_existing_output_is_a_failure_of_that_file(photos: Path) -> None:
    (photos / "a.pxc").write_bytes(b"precious")

    result = run("encode", "-r", photos, *M)

    assert result.exit_code == 1
    assert "pixelcodec: photos/a.pxc: the file exists; -f overwrites it" in result.stderr
    assert "2 done, 1 failed" in result.stderr
    assert (photos / "a.pxc").read_bytes() == b"precious"


def test_existing_outputs_are_skipped_quietly_when_told(photos: Path) -> None:
    (photos / "a.pxc").write_bytes(b"precious")

    result = run("encode", "-r", photos, "--skip-existing", *M)

    assert result.exit_code == 0
    assert "2 done, 1 skipped;" in result.stderr
    assert (photos / "a.pxc").read_bytes() == b"precious"
    again = run("encode", "-r", photos, "--skip-existing", *M)
    assert again.stderr == "0 done, 3 skipped; 0.0 s\n1 file ignored: .txt\n"


# Progress ----------------------------------------------------------------------------------------


class Bar:
    """Takes the place of the bar on the screen, and remembers what it shows."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.total = 0.0

    def add_task(self, label: str, *, total: float, rate: str) -> int:
        self.total = total
        return 0

    def update(self, task: int, **fields: Any) -> None:
        self.shown.append(fields)


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> Bar:
    bar = Bar()

    @contextmanager
    def show() -> Iterator[Bar]:
        yield bar

    monkeypatch.setattr(progress, "is_terminal", lambda stream: True)
    monkeypatch.setattr(progress, "_bar", show)
    return bar


@pytest.mark.parametrize("existing", [(), ("--skip-existing",)], ids=["failure", "skipped"])
def test_the_bar_counts_files_and_goes_from_nothing_to_all(
    existing: tuple[str, ...], photos: Path, broken: Path, bar: Bar
) -> None:
    (photos / "a.pxc").touch()

    run("encode", "-r", photos, *existing, *M)

    completed = [fields["completed"] for fields in bar.shown]
    assert completed == sorted(completed)
    assert (completed[0], completed[-1]) == (0, bar.total)
    assert bar.shown[0]["description"] == "0 of 4 files"
    assert bar.shown[-1]["description"] == "4 of 4 files"


def test_the_bar_shows_the_bits_so_far(photos: Path, bar: Bar) -> None:
    run("encode", photos / "a.png", *M, "--strip-rows", 4)

    samples, size = 9 * 11 * 3, (photos / "a.pxc").stat().st_size
    rates = [fields["rate"] for fields in bar.shown]
    assert not any("bpsp" in rate for rate in rates[:2])  # no strip is written yet
    assert len({rate for rate in rates if "bpsp" in rate}) >= 3
    assert rates[-1].endswith(f"{8 * size / samples:.3f} bpsp")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("strip_rows", [4, None])
def test_steps_count_the_image_once(photos: Path, verify: bool, strip_rows: int | None) -> None:
    steps, sink = list[Step](), Bytes()
    choices: Choices = {
        "verify": verify,
        "model": M[1],
        "strip_rows": strip_rows,
        "tile": None,
        "restart": False,
        "effort": 2,
        "discard_invisible": False,
    }

    encode_file(
        Task(photos / "a.png", Path("a.pxc")),
        sink,
        steps.append,
        choices=choices,
        compute={"device": "cpu", "threads": None, "backend": None},
    )

    height, width, channels = 9, 11, 3
    assert steps[-1] == (height * width, height * width, height * width * channels, len(sink))
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    rows = {min(n, height) for n in range(0, height + 4, strip_rows or height)}
    assert {step.samples for step in steps} == {n * width * channels for n in rows}


def test_the_bar_never_goes_back(photos: Path, bar: Bar) -> None:
    run("encode", photos / "a.png", "-e", "max")

    completed = [fields["completed"] for fields in bar.shown]
    assert completed == sorted(completed)
    assert (completed[0], completed[-1]) == (0, bar.total)


def test_what_remains_shrinks_where_there_turns_out_to_be_more() -> None:
    remaining, parts = Remaining(), list[float]()
    for done, total in ((0, 4), (1, 4), (2, 4), (2, 8), (5, 8), (8, 8), (8, 8)):
        remaining.update(done, total)
        parts.append(remaining.part)

    assert parts == [1, 0.75, 0.5, 0.5, 0.25, 0, 0]


def test_the_bar_of_one_file_has_its_name(photos: Path, bar: Bar) -> None:
    run("encode", photos / "a.png", *M)

    assert {fields["description"] for fields in bar.shown} == {"a.png"}


def test_the_bar_of_strips_side_by_side_goes_from_nothing_to_all(photos: Path, bar: Bar) -> None:
    run("encode", photos / "a.png", "--strip-rows", 3, "--restart", *M)
    bar.shown.clear()

    assert run("decode", photos / "a.pxc", "-j", 2, "-o", "back.png", *M).exit_code == 0

    completed = [fields["completed"] for fields in bar.shown]
    assert completed == sorted(completed)
    assert (completed[0], completed[-1]) == (0, bar.total)
    assert len(set(completed)) >= 4
    assert np.array_equal(read(Path("back.png")), read(photos / "a.png"))


@pytest.mark.usefixtures("bar")
def test_quiet_shows_no_bar(photos: Path, bar: Bar) -> None:
    run("encode", "-q", "-r", photos, *M)

    assert bar.shown == []


def test_lines_beside_the_bar_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    line = f"pixelcodec: a folder/{'of a long name/' * 5}photo.png: truncated"

    with progress.files_bar({Path("photo.png"): 1}):
        print(line, file=sys.stderr)

    assert f"{line}\n" in screen.getvalue()


def test_the_last_step_of_a_file_is_always_shown() -> None:
    steps: list[Step] = []
    report = now_and_then(steps.append, seconds=3600)

    for done in range(1, 101):
        report(Step(done, 100))

    assert steps == [Step(1, 100), Step(100, 100)]


# Worker processes --------------------------------------------------------------------------------


class Bytes(bytearray):
    """A sink in memory."""

    def write(self, data: bytes, /) -> int:
        self.extend(data)
        return len(data)


@pytest.fixture
def workers() -> Iterator[FileWorkers]:
    with FileWorkers() as workers:
        yield workers


@pytest.fixture
def task() -> Task:
    Path("source").write_bytes(bytes(range(256)) * 1000)
    return Task(Path("source"), Path("target"))


def test_a_worker_gives_bytes_steps_and_a_word(workers: FileWorkers, task: Task) -> None:
    sink, steps = Bytes(), list[Step]()

    assert workers.call(works.copy, task, sink, steps.append) != str(os.getpid())
    assert sink == task.source.read_bytes()
    assert steps == [Step(128_000, 256_000), Step(256_000, 256_000)]


def test_a_worker_lives_through_failures(workers: FileWorkers, task: Task) -> None:
    pid = workers.call(works.copy, task, Bytes(), None)

    with pytest.raises(Failure, match=f"source: process {pid} does not like it"):
        workers.call(works.fail, task, Bytes(), None)
    assert workers.call(works.copy, task, Bytes(), None) == pid


def test_a_worker_lives_through_errors_that_nobody_expects(
    workers: FileWorkers, task: Task
) -> None:
    pid = workers.call(works.copy, task, Bytes(), None)

    with pytest.raises(Failure, match=f"source: ValueError: process {pid} did not expect it"):
        workers.call(works.break_down, task, Bytes(), None)
    assert workers.call(works.copy, task, Bytes(), None) == pid


def test_a_worker_that_died_gets_no_more_work(workers: FileWorkers, task: Task) -> None:
    pid = workers.call(works.copy, task, Bytes(), None)

    with pytest.raises(Failure, match="source: a worker process died"):
        workers.call(works.die, task, Bytes(), None)
    assert workers.call(works.copy, task, Bytes(), None) != pid


def test_a_worker_whose_bytes_cannot_be_taken_gets_no_more_work(
    workers: FileWorkers, task: Task
) -> None:
    class FullError(Exception):
        pass

    class Full:
        def write(self, data: bytes, /) -> int:
            raise FullError

    pid = workers.call(works.copy, task, Bytes(), None)

    with pytest.raises(FullError):
        workers.call(works.copy, task, Full(), None)
    assert workers.call(works.copy, task, Bytes(), None) != pid


@pytest.mark.skipif(not hasattr(os, "fork"), reason="such signals are POSIX's")
def test_a_worker_does_not_see_ctrl_c(workers: FileWorkers, task: Task) -> None:
    for _ in range(2):  # the first one starts a helper of multiprocessing's, too
        assert "SIGINT" in (workers.call(works.blocked_signals, task, Bytes(), None) or "")
        with pytest.raises(Failure, match="died"):
            workers.call(works.die, task, Bytes(), None)


def test_workers_end_in_the_middle_of_their_work(task: Task) -> None:
    sink, failures = Bytes(), list[Failure]()

    def wait(workers: FileWorkers) -> None:
        with pytest.raises(Failure) as caught:
            workers.call(works.sleep, task, sink, None)
        failures.append(caught.value)

    with FileWorkers() as workers:
        waiting = Thread(target=wait, args=(workers,))
        waiting.start()
        while not sink:
            time.sleep(0.01)
    waiting.join(timeout=10)
    assert len(failures) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a shared pipe is watched")
def test_workers_end_with_their_parent(task: Task) -> None:
    code = (
        "import os, signal, threading, works\n"
        "from pathlib import Path\n"
        "from pixelcodec.cli.work import Task\n"
        "from pixelcodec.cli.workers import FileWorkers\n"
        "class Sink:\n"
        "    def write(self, data): os.kill(os.getpid(), signal.SIGKILL)\n"
        "FileWorkers().call(works.sleep, Task(Path('source')), Sink(), None)\n"
    )
    tests = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": tests},
    )

    # Both hold the pipe: it ends when the last of them does.
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode < 0


def test_a_batch_goes_on_after_the_death_of_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    paths = tuple(map(Path, "abcde"))
    for path in paths:
        path.write_text(path.name)
    batch = Batch(paths=paths, recursive=False, jobs=2, quiet=False, out_dir=Path("out"))

    with click.Context(click.Command("copy")), pytest.raises(click.exceptions.Exit):
        batch.convert(works.die_at_b, set(), ".copy")

    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {
        f"{name}.copy": name for name in "acde"
    }
    assert capsys.readouterr().err.splitlines()[-1] == "failed: b"


def test_the_outputs_of_workers_are_those_of_one_process(photos: Path, broken: Path) -> None:
    alone = run("encode", "-r", photos, "--out-dir", "alone", *M)
    together = run("encode", "-r", photos, "--out-dir", "together", "-j", 2, *M)

    assert alone.exit_code == together.exit_code == 1
    assert files_below("together") == ENCODED
    for path in ENCODED:
        assert Path("together", path).read_bytes() == Path("alone", path).read_bytes()
    assert together.stderr.count("pixelcodec: photos/broken.png: ") == 1
    assert together.stderr.splitlines()[-2] == "failed: photos/broken.png"
