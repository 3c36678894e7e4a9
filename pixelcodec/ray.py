"""Folders, buckets and Datasets of images, on one machine or many: by Ray Data.

Nothing is scheduled here. Ray Data starts the workers, hands them file after file and replaces
those that die; each keeps its model. pyarrow reads and writes: ``photos``, ``s3://bucket/photos``
and ``gs://bucket/photos`` are the same to this module.
"""

import io
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any, TypeVar, Unpack

import numpy as np
import numpy.typing as npt

try:
    import ray.data
    from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem
except ImportError as error:
    raise ImportError("pixelcodec.ray needs Ray Data: pip install pixelcodec[ray]") from error

from pixelcodec import api, suffixes
from pixelcodec.container import STANDARD_NAME
from pixelcodec.errors import PixelcodecError
from pixelcodec.models import zoo
from pixelcodec.pictures import Picture, Samples, read_picture, write_picture
from pixelcodec.stream import Decoding, Encoding

Address = str | PathLike[str]
"""A path, or a URI such as ``s3://bucket/folder``: whatever pyarrow's ``from_uri`` knows."""

Batch = dict[str, npt.NDArray[Any]]
"""Columns of a batch by their names, each with an element a row."""

Result = TypeVar("Result")

_PAUSES = (0.5, 2.0, 8.0)
"""Seconds between the attempts at reading or writing."""

_PERMANENT = (FileNotFoundError, NotADirectoryError, PermissionError)
"""Errors that do not pass."""

_RETRIES = 2
"""How often a file is tried again of which the worker died."""

_ATOMIC = frozenset(("s3", "gcs", "abfs"))
"""File systems, as pyarrow calls them, where a file is written as a whole or not at all."""


@dataclass(frozen=True)
class Failure:
    """A file that could not be converted.

    Attributes:
        path: below the source folder.
        error: what is wrong, in one line.
    """

    path: str
    error: str

    def __str__(self) -> str:
        """Both, in one line."""
        return f"{self.path}: {self.error}"


@dataclass(frozen=True)
class Report:
    """What became of the files of a folder.

    Attributes:
        done: how many were converted.
        skipped: how many had their output already.
        failed: the others, in order of their paths.
        bytes_in: size of the files that were converted.
        bytes_out: size of what they became.
        seconds: how long it took, with the start of the workers.
    """

    done: int
    skipped: int
    failed: tuple[Failure, ...]
    bytes_in: int
    bytes_out: int
    seconds: float

    def __str__(self) -> str:
        """One line of numbers, and one for each failure."""
        head = (
            f"{self.done:,} done, {self.skipped:,} skipped, {len(self.failed):,} failed; "
            f"{self.bytes_in:,} bytes in, {self.bytes_out:,} out; {self.seconds:.1f} s"
        )
        return "\n".join([head, *map(str, self.failed)])

    def raise_for_failures(self) -> None:
        """Raise if files failed.

        Raises:
            PixelcodecError: with a line for each of them.
        """
        if self.failed:
            raise PixelcodecError("\n".join(["files failed:", *map(str, self.failed)]))


# Datasets ----------------------------------------------------------------------------------------


class Encoder:
    """Images to ``.pxc`` files, for :meth:`ray.data.Dataset.map_batches`.

    The column of images gives way to two: ``pxc``, the file, and ``error``, what is wrong with the
    image, in one line. One of them is empty. The other columns stay.
    """

    def __init__(self, *, column: str = "bytes", **how: Unpack[Encoding]) -> None:
        """Look for the model.

        Args:
            column: where the images are: image files as bytes, as ``ray.data.read_binary_files``
                gives them, or arrays as :func:`pixelcodec.encode` takes them.
            how: keywords of :func:`pixelcodec.encode`, but ``device`` is ``cpu`` and ``verify`` is
                on where nothing else is said. Where ``model`` is the path of a file, every worker
                must have that.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        _look_for(how.get("model"))
        self._column = column
        self._how: Encoding = {"device": "cpu", "verify": True, **how}

    def __call__(self, batch: Batch) -> Batch:
        """Encode a batch."""
        return _convert_column(batch, self._column, self.encode, "pxc")

    def encode(self, image: bytes | Samples) -> bytes:
        """Encode one image: an image file, or an array as :func:`pixelcodec.encode` takes it.

        Raises:
            PixelcodecError: as :func:`pixelcodec.encode`.
            ValueError: likewise.
        """
        return api.encode(_picture_of(image), **self._how)


class Decoder:
    """``.pxc`` files to PNG files, for :meth:`ray.data.Dataset.map_batches`.

    The column of files gives way to two: ``png``, the image, and ``error``, what is wrong with the
    file, in one line. One of them is empty. The other columns stay.
    """

    def __init__(self, *, column: str = "pxc", **how: Unpack[Decoding]) -> None:
        """Look for the model.

        Args:
            column: where the files are, as bytes.
            how: keywords of :func:`pixelcodec.decode`, but ``device`` is ``cpu`` where nothing
                else is said.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        _look_for(how.get("model"))
        self._column = column
        self._how: Decoding = {"device": "cpu", **how}

    def __call__(self, batch: Batch) -> Batch:
        """Decode a batch."""
        return _convert_column(batch, self._column, self.decode, "png")

    def decode(self, data: bytes) -> bytes:
        """Decode one file to a PNG file.

        Raises:
            PixelcodecError: as :func:`pixelcodec.decode`.
        """
        stream = io.BytesIO()
        write_picture(api.decode_picture(data, **self._how), stream, "png")
        return stream.getvalue()


def _look_for(model: str | None) -> None:
    if model not in (None, STANDARD_NAME):
        zoo.load(model)


def _picture_of(image: bytes | Samples) -> Picture:
    if isinstance(image, bytes):
        return read_picture(io.BytesIO(image))
    return Picture.from_array(image)


def _convert_column(
    batch: Batch, column: str, convert: Callable[[Any], bytes], output: str
) -> Batch:
    count = len(batch[column])
    # Objects, as NumPy's own bytes end where zeros begin. Empty, not null, so that columns are of
    # one type in all batches.
    results, errors = np.full(count, b"", dtype=object), np.full(count, "", dtype=object)
    for index, value in enumerate(batch[column]):
        try:
            results[index] = convert(value)
        except Exception as error:
            errors[index] = _in_one_line(error)
    others = {name: values for name, values in batch.items() if name != column}
    return {**others, output: results, "error": errors}


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    meant_for_people = isinstance(error, PixelcodecError | OSError) and text
    return text if meant_for_people else f"{type(error).__name__}: {text}"


# Folders -----------------------------------------------------------------------------------------


def encode_folder(
    source: Address,
    target: Address,
    *,
    concurrency: int | None = None,
    num_gpus: float = 0,
    overwrite: bool = False,
    **how: Unpack[Encoding],
) -> Report:
    """Encode the images in a folder, and in the folders inside, to ``.pxc`` files in another.

    A file that cannot be encoded does not end the job. A job that was interrupted goes on when it
    is called again.

    Args:
        source: a folder. Files with the suffixes of images are taken.
        target: a folder, made where it is missing. ``sub/cat.jpg`` becomes ``sub/cat.pxc``.
        concurrency: the most workers at a time, of one CPU each; by default as many as there is
            room for.
        num_gpus: GPUs of each worker. With a part of one, several workers share it.
        overwrite: whether images are encoded whose output exists.
        how: as :class:`Encoder` takes it; by default the device is ``cuda`` where there are GPUs.

    Raises:
        ModelError: there is no such model, or it is damaged.
        OSError: a folder cannot be listed.
        PixelcodecError: pyarrow does not know the scheme of a URI.
        ray.exceptions.RayError: the workers cannot start.
    """
    how = {"device": _device(num_gpus), **how}
    encoder = Encoder(**how)
    job = _Job(encoder.encode, suffixes.IMAGES, suffixes.PXC, overwrite, concurrency, num_gpus)
    return job.run(_Folder(source), _Folder(target))


def decode_folder(
    source: Address,
    target: Address,
    *,
    concurrency: int | None = None,
    num_gpus: float = 0,
    overwrite: bool = False,
    **how: Unpack[Decoding],
) -> Report:
    """Decode the ``.pxc`` files in a folder, and in the folders inside, to PNG files in another.

    ``how``: as :class:`Decoder` takes it. All else is as :func:`encode_folder` has it.
    """
    how = {"device": _device(num_gpus), **how}
    decoder = Decoder(**how)
    job = _Job(decoder.decode, (suffixes.PXC,), ".png", overwrite, concurrency, num_gpus)
    return job.run(_Folder(source), _Folder(target))


def _device(num_gpus: float) -> str:
    return "cuda" if num_gpus else "cpu"


@dataclass(frozen=True)
class _Job:
    """Makes a file in one folder of each file in another."""

    convert: Callable[[bytes], bytes]
    suffixes: Collection[str]
    suffix: str
    overwrite: bool
    concurrency: int | None
    num_gpus: float

    def run(self, source: "_Folder", target: "_Folder") -> Report:
        began = time.monotonic()
        outputs, failed = _outputs(source.names(self.suffixes), self.suffix)
        there = set() if self.overwrite else set(target.names([self.suffix], may_be_missing=True))
        todo = {name: output for name, output in outputs.items() if output not in there}
        done = []
        for outcome in self._outcomes(source, target, todo) if todo else ():
            if outcome["error"]:
                failed.append(Failure(outcome["source"], outcome["error"]))
            else:
                done.append(outcome)
        return Report(
            done=len(done),
            skipped=len(outputs) - len(todo),
            failed=tuple(sorted(failed, key=lambda failure: failure.path)),
            bytes_in=sum(outcome["bytes_in"] for outcome in done),
            bytes_out=sum(outcome["bytes_out"] for outcome in done),
            seconds=time.monotonic() - began,
        )

    def _outcomes(
        self, source: "_Folder", target: "_Folder", todo: Mapping[str, str]
    ) -> Iterator[dict[str, Any]]:
        """Let Ray Data call a :class:`_Transfer` for each file, and say what came of each."""
        # A block is what Ray Data tries again, and gives up: it has one file.
        files = [{"source": name, "target": output} for name, output in todo.items()]
        dataset = ray.data.from_items(files, override_num_blocks=len(files))
        dataset.context.max_errored_blocks = -1
        # No file waits at a worker that may die of the one before; so a pool is fully used, and
        # grows, when each of its workers has one.
        workers = ray.data.ActorPoolStrategy(
            min_size=1, max_size=self.concurrency, max_tasks_in_flight_per_actor=1
        )
        dataset.context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        with warnings.catch_warnings():
            # Without a limit a file that ends every worker is tried for ever. Ray 2.60 says that
            # this way to set it ends with 2.64, and has no other.
            warnings.simplefilter("ignore", DeprecationWarning)
            outcomes = dataset.map(
                _Transfer,  # type: ignore[arg-type]  # a class, which Ray's type of it forgets
                fn_constructor_args=(source, target, self.convert),
                compute=workers,
                num_cpus=1,
                num_gpus=self.num_gpus,
                max_task_retries=_RETRIES,
            )
        lost = set(todo)
        for outcome in outcomes.iter_rows():
            lost.discard(outcome["source"])
            yield outcome
        for name in lost:
            error = f"its worker died, {_RETRIES + 1} times over; maybe of lack of memory"
            yield _outcome(name, error)


def _outputs(names: Iterable[str], suffix: str) -> tuple[dict[str, str], list[Failure]]:
    """Give each file its output. Where several would have the same, all but the first fail."""
    writers: dict[str, str] = {}
    failed = []
    for name in names:
        output = str(PurePosixPath(name).with_suffix(suffix))
        writer = writers.setdefault(output, name)
        if writer != name:
            failed.append(Failure(name, f"{output} is made of {writer}; rename one of them"))
    return {name: output for output, name in writers.items()}, failed


class _Transfer:
    """A worker: takes files from one folder to the other."""

    def __init__(
        self, source: "_Folder", target: "_Folder", convert: Callable[[bytes], bytes]
    ) -> None:
        self._source, self._target, self._convert = source, target, convert

    def __call__(self, file: dict[str, str]) -> dict[str, Any]:
        """Convert one file, and say what came of it."""
        try:
            data = self._source.read(file["source"])
            converted = self._convert(data)
            self._target.write(file["target"], converted)
        except Exception as error:
            return _outcome(file["source"], _in_one_line(error))
        return _outcome(file["source"], "", len(data), len(converted))


def _outcome(source: str, error: str, bytes_in: int = 0, bytes_out: int = 0) -> dict[str, Any]:
    return {"source": source, "error": error, "bytes_in": bytes_in, "bytes_out": bytes_out}


class _Folder:
    """A folder on some file system. Names of files are relative to it."""

    def __init__(self, address: Address) -> None:
        name = fspath(address)
        if "://" not in name:
            self._files, root = LocalFileSystem(), Path(name).absolute().as_posix()
        else:
            try:
                self._files, root = FileSystem.from_uri(name)
            except ValueError as error:
                raise PixelcodecError(_in_one_line(error)) from error
        self._root = PurePosixPath(root)

    def names(self, suffixes: Collection[str], *, may_be_missing: bool = False) -> list[str]:
        """List the files, in folders inside too, that end so, in any case: sorted."""
        selector = FileSelector(str(self._root), allow_not_found=may_be_missing, recursive=True)
        infos = _patiently(lambda: self._files.get_file_info(selector))
        files = [PurePosixPath(info.path) for info in infos if info.type == FileType.File]
        found = [path.relative_to(self._root) for path in files if path.suffix.lower() in suffixes]
        return sorted(map(str, found))

    def read(self, name: str) -> bytes:
        """Read a file."""
        return _patiently(lambda: self._get(self._root / name))

    def write(self, name: str, data: bytes) -> None:
        """Write a file, which appears under its name only when it is whole."""
        put = self._put if self._files.type_name in _ATOMIC else self._put_and_rename
        _patiently(lambda: put(self._root / name, data))

    def _get(self, path: PurePosixPath) -> bytes:
        with self._files.open_input_file(str(path)) as stream:
            data: bytes = stream.read()
        return data

    def _put(self, path: PurePosixPath, data: bytes) -> None:
        with self._files.open_output_stream(str(path), compression=None) as stream:
            stream.write(data)

    def _put_and_rename(self, path: PurePosixPath, data: bytes) -> None:
        self._files.create_dir(str(path.parent), recursive=True)
        part = path.with_name(f".pixelcodec-{token_hex(6)}.part")
        try:
            self._put(part, data)
            self._files.move(str(part), str(path))
        except BaseException:
            with suppress(OSError):
                self._files.delete_file(str(part))
            raise


def _patiently(call: Callable[[], Result]) -> Result:
    """Call, and again after errors that may pass."""
    for pause in _PAUSES:
        try:
            return call()
        except _PERMANENT:
            raise
        except OSError:
            time.sleep(pause)
    return call()
