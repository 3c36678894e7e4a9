"""Folders and Datasets by Ray: what becomes of each file, and of a job in which some are bad.

Workers take seconds to start. So there are few jobs, and what a worker does with one file is
tested without Ray where that is enough.
"""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ray.data", reason="needs Ray: pip install pixelcodec[ray]")

import ray
import ray.data

import pixelcodec
import pixelcodec.ray as folders
from pictures import noise, scene
from pixelcodec.errors import FormatError, ModelError, PixelcodecError
from pixelcodec.ray import Decoder, Encoder, Failure, Report, decode_folder, encode_folder

# Ray warns of settings of its own that are old.
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")

MODEL = "photo-s"
RGB = scene(16, 24, 3)
GRAY = scene(16, 24)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80_000_000,
        # Else the workers wait for all that the machine does besides, for minutes.
        _system_config={"worker_niceness": 0},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def save(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples).save(path)
    return path


def save_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def size(folder: Path, *names: str) -> int:
    return sum((folder / name).stat().st_size for name in names)


# Jobs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path, Path]:
    """A folder with all that can be in one, encoded."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    save(source / "rgb.png", RGB)
    save(source / "some folder" / "deep" / "gray.TIF", GRAY)
    save(source / "twin.bmp", RGB)
    save(source / "twin.png", GRAY)
    save(source / "there.png", RGB)
    save_text(target / "there.pxc", "made before")
    save_text(source / "broken.png", "no image")
    save_text(source / "notes.txt", "no image, and not called one")
    return encode_folder(source, target, model=MODEL, concurrency=1), source, target


DONE = ["rgb.pxc", "some folder/deep/gray.pxc", "twin.pxc"]


def test_each_image_becomes_a_file_in_the_same_folder_inside(job):
    _, _, target = job
    assert files(target) == sorted([*DONE, "there.pxc"])
    for name, samples in zip(DONE, [RGB, GRAY, RGB], strict=True):
        assert np.array_equal(pixelcodec.decode((target / name).read_bytes()), samples)


def test_the_report_counts_files_and_bytes(job):
    report, source, target = job
    assert (report.done, report.skipped, len(report.failed)) == (3, 1, 2)
    assert report.bytes_in == size(source, "rgb.png", "some folder/deep/gray.TIF", "twin.bmp")
    assert report.bytes_out == size(target, *DONE)
    assert report.seconds > 0


def test_bad_files_are_reported_and_the_others_done(job):
    report, _, _ = job
    broken, twin = report.failed
    assert broken.path == "broken.png"
    assert "not an image" in broken.error
    assert twin == Failure("twin.png", "twin.pxc is made of twin.bmp; rename one of them")


def test_what_is_there_stays(job):
    _, _, target = job
    assert (target / "there.pxc").read_text() == "made before"


def test_files_become_images_again_and_old_ones_go(job, tmp_path):
    _, _, target = job
    save(tmp_path / "rgb.png", noise(3, 3))
    report = decode_folder(target, tmp_path.as_uri(), concurrency=1, overwrite=True)
    assert (report.done, report.skipped) == (3, 0)
    assert [failure.path for failure in report.failed] == ["there.pxc"]
    names = [str(Path(name).with_suffix(".png")) for name in DONE]
    assert files(tmp_path) == names
    for name, samples in zip(names, [RGB, GRAY, RGB], strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), samples)


def test_a_dataset_of_image_files(cluster, tmp_path):
    save(tmp_path / "gray.png", GRAY)
    save(tmp_path / "rgb.png", RGB)
    save_text(tmp_path / "broken.png", "no image")
    dataset = ray.data.read_binary_files(str(tmp_path), include_paths=True).map_batches(
        Encoder,
        fn_constructor_kwargs={"model": MODEL},
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=8,
    )
    rows = {Path(row.pop("path")).name: row for row in dataset.iter_rows()}
    broken = rows.pop("broken.png")
    assert broken["pxc"] == b""
    assert "not an image" in broken["error"]
    assert rows == {
        name: {"pxc": pixelcodec.encode(samples, model=MODEL), "error": ""}
        for name, samples in (("gray.png", GRAY), ("rgb.png", RGB))
    }


def test_a_file_that_ends_its_worker_is_given_up_and_the_others_done(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(folders, "_RETRIES", 0)
    save_text(tmp_path / "deadly.py", "__import__('os')._exit(1)")
    save_text(tmp_path / "fine.py", "b'result'")
    # What is to be done with a file has to be known to the worker, which knows no test.
    job = folders._Job(eval, [".py"], ".out", overwrite=False, concurrency=1, num_gpus=0)
    report = job.run(folders._Folder(tmp_path), folders._Folder(tmp_path))
    assert report.done == 1
    assert (tmp_path / "fine.out").read_text() == "result"
    [failure] = report.failed
    assert failure.path == "deadly.py"
    assert "its worker died" in failure.error


def test_what_is_done_is_done_without_a_worker(tmp_path):
    save(tmp_path / "image.png", RGB)
    save_text(tmp_path / "image.pxc", "made before")
    report = encode_folder(tmp_path, tmp_path, model=MODEL)
    assert (report.done, report.skipped, report.failed) == (0, 1, ())


@pytest.mark.parametrize(
    ("source", "settings", "error"),
    [
        ("missing", {}, FileNotFoundError),
        (".", {"model": "missing"}, ModelError),
        ("moon://folder", {}, PixelcodecError),
    ],
)
def test_a_job_that_cannot_be_done_is_refused_at_once(
    source, settings, error, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        encode_folder(source, "target", **{"model": MODEL, **settings})
    assert files(tmp_path) == []


# One file ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch) -> folders._Folder:
    monkeypatch.setattr(folders, "_PAUSES", (0, 0, 0))
    return folders._Folder(tmp_path)


class Failing:
    """Fails so many times, and then does what is to be done."""

    def __init__(self, do: Callable[..., Any], error: Exception, times: int) -> None:
        self.do, self.error, self.times, self.calls = do, error, times, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.do(*arguments)


@pytest.mark.parametrize("method", ["_get", "_put"])
def test_errors_of_input_and_output_may_pass(method, folder, tmp_path, monkeypatch):
    (tmp_path / "a.in").write_bytes(b"data")
    failing = Failing(getattr(folder, method), OSError("the line is bad"), times=3)
    monkeypatch.setattr(folder, method, failing)
    outcome = folders._Transfer(folder, folder, bytes.upper)({"source": "a.in", "target": "a.out"})
    assert outcome == {"source": "a.in", "error": "", "bytes_in": 4, "bytes_out": 4}
    assert (tmp_path / "a.out").read_bytes() == b"DATA"
    assert failing.calls == 4


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (OSError("the line is bad"), 4),
        (PermissionError("not yours"), 1),
    ],
)
def test_errors_of_input_and_output_that_do_not_pass(error, calls, folder, tmp_path, monkeypatch):
    failing = Failing(bytes, error, times=9)
    monkeypatch.setattr(folder, "_get", failing)
    outcome = folders._Transfer(folder, folder, bytes)({"source": "a.in", "target": "a.out"})
    assert outcome["error"] == str(error)
    assert failing.calls == calls
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PixelcodecError("two\nlines"), "two lines"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
        (MemoryError(), "MemoryError: "),
        (PixelcodecError(), "PixelcodecError: "),
    ],
)
def test_other_errors_are_not_tried_again(error, line, folder, tmp_path):
    (tmp_path / "a.in").write_bytes(b"data")
    failing = Failing(bytes, error, times=9)
    outcome = folders._Transfer(folder, folder, failing)({"source": "a.in", "target": "a.out"})
    assert outcome["error"] == line
    assert failing.calls == 1


def test_a_file_is_written_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    def put_half(path, data):
        put(path, data[: len(data) // 2])
        raise PermissionError("the disk is gone")

    (tmp_path / "a.out").write_bytes(b"before")
    put = folder._put
    monkeypatch.setattr(folder, "_put", put_half)
    with pytest.raises(PermissionError):
        folder.write("a.out", b"after")
    assert files(tmp_path) == ["a.out"]
    assert (tmp_path / "a.out").read_bytes() == b"before"


@pytest.mark.parametrize("address", ["fsspec+memory://bucket/folder", "folder"])
def test_folders_are_on_any_file_system(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = folders._Folder(address)
    assert folder.names([".pxc"], may_be_missing=True) == []
    folder.write("deep/er/a b#ü%.PXC", b"data")
    folder.write("c.png", b"")
    assert folder.names([".pxc"]) == ["deep/er/a b#ü%.PXC"]
    assert folder.read("deep/er/a b#ü%.PXC") == b"data"


# Images and reports ------------------------------------------------------------------------------


def test_a_column_of_arrays_there_and_back():
    batch = {"image": np.stack([RGB, RGB // 2]), "name": np.array(["a", "b"])}
    encoded = Encoder(model=MODEL, column="image")(batch)
    assert list(encoded) == ["name", "pxc", "error"]
    decoded = Decoder()(encoded)
    assert list(decoded) == ["name", "error", "png"]
    images = [np.asarray(Image.open(io.BytesIO(png))) for png in decoded["png"]]
    assert np.array_equal(images, batch["image"])
    assert list(decoded["error"]) == ["", ""]


@pytest.mark.parametrize("verify", [True, False])
def test_a_file_that_would_decode_to_another_image_is_no_result(verify, monkeypatch):
    monkeypatch.setattr("pixelcodec.stream.Decoder.write", lambda *_: [RGB // 2])
    result = Encoder(model=MODEL, column="image", verify=verify)({"image": RGB[None]})
    assert (result["pxc"][0] == b"") == verify
    assert ("what was encoded" in result["error"][0]) == verify


def test_keywords_reach_the_codec():
    how = {"model": MODEL, "effort": 2, "strip_rows": 8, "restart": True}
    data = Encoder(**how).encode(RGB)
    assert data == pixelcodec.encode(RGB, **how)
    with pytest.raises(FormatError, match="the limit is 9"):
        Decoder(max_pixels=9).decode(data)


def test_a_report_is_for_people_and_programs():
    good = Report(done=1234, skipped=1, failed=(), bytes_in=5000, bytes_out=4000, seconds=1.25)
    assert str(good) == "1,234 done, 1 skipped, 0 failed; 5,000 bytes in, 4,000 out; 1.2 s"
    good.raise_for_failures()
    bad = Report(0, 0, (Failure("a.png", "is bad"), Failure("b.png", "too")), 0, 0, 0.0)
    assert str(bad).splitlines()[1:] == ["a.png: is bad", "b.png: too"]
    with pytest.raises(PixelcodecError, match=r"a\.png: is bad\nb\.png: too"):
        bad.raise_for_failures()


# Without Ray -------------------------------------------------------------------------------------


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_ray_the_error_says_what_to_install():
    result = run_python("import sys; sys.modules['ray'] = None; import pixelcodec.ray")
    assert result.stderr.endswith("pixelcodec.ray needs Ray Data: pip install pixelcodec[ray]\n")


def test_the_library_alone_does_not_import_ray():
    result = run_python("import sys, pixelcodec; sys.exit('ray' in sys.modules)")
    assert result.returncode == 0
