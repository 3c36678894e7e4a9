"""Processes that encode and decode, and what can come between: nothing is lost, nothing is half.

In ``tests/``: ``python -m robustness.faults --count 500``. Each scenario runs a command in another
process, lets something go wrong at a random moment, and looks at what is there afterwards. It needs
POSIX. The same seed makes the same scenarios, but not the same moments.
"""

import argparse
import collections
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import pixelcodec
from pixelcodec import Picture
from pixelcodec.cli.main import main as command
from pixelcodec.models import zoo
from pixelcodec.pictures import read_picture, write_picture

NOBODY = 65534
MODEL = "photo-s"


class LostError(Exception):
    """Something was lost, or is half."""


@dataclass
class Workshop:
    """A folder with two images, and both of them encoded.

    Attributes:
        folder: where it is.
        random: source of chance.
        seconds: that a command takes, about.
    """

    folder: Path
    random: Random
    seconds: float = 0.3

    def __post_init__(self) -> None:
        """Make the files."""
        pixels = np.random.default_rng(1).integers(0, 256, (2, 24, 32, 3), np.uint8)
        self.pictures = [Picture(pixels[0], 8), Picture(pixels[1] // 16, 8)]
        self.images = [self.folder / f"image{n}.png" for n in (0, 1)]
        self.files = [self.folder / f"file{n}.pxc" for n in (0, 1)]
        for picture, image, file in zip(self.pictures, self.images, self.files, strict=True):
            write_picture(picture, image)
            file.write_bytes(pixelcodec.encode(picture, model=MODEL, effort=1, strip_rows=6))
        self._before = {path: path.read_bytes() for path in (*self.images, *self.files)}
        pixelcodec.decode(self.files[0].read_bytes(), model=MODEL)  # later processes find it ready
        begin = time.monotonic()
        self.finish(self.start("encode", self.images[0], "-o", self.folder / "once.pxc"))
        self.seconds = time.monotonic() - begin
        (self.folder / "once.pxc").unlink()

    def start(
        self,
        name: object,
        *arguments: object,
        model: object = MODEL,
        prepare: Callable[[], None] | None = None,
    ) -> int:
        """Run the command ``name`` in a process of its own, and return its id."""
        held = {signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)  # until the new process is ready for it
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            return pid
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            silent = os.open(os.devnull, os.O_RDWR)
            os.dup2(silent, 2)
            if prepare is not None:
                prepare()
            fast = ("-e", "1") if name == "encode" else ()
            command(
                [*map(str, (name, *arguments)), "-m", str(model), *fast, "-q"],
                prog_name="pixelcodec",
            )
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            code = 130
        finally:
            os._exit(code)

    def finish(self, pid: int) -> int:
        """Wait for a process: its exit status, or the signal that ended it, negative."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def wait(self) -> None:
        """Let some of the time pass that a command takes."""
        time.sleep(self.random.uniform(0, self.seconds))

    def check_target(self, target: Path, allowed: Sequence[Picture], absent: bool) -> str:
        """Whether ``target`` is whole, and one of the ``allowed``, or ``absent`` if it may be."""
        if not target.exists():
            if not absent:
                raise LostError(f"{target.name} is not there")
            return "no output"
        if target.suffix == ".pxc":
            found = pixelcodec.decode_picture(target.read_bytes())
        else:
            found = read_picture(target)
        if found not in allowed:
            raise LostError(f"{target.name} is none of the images it may be")
        return "whole output"

    def check_rest(self, *targets: Path, parts: bool = False, changed: Sequence[Path] = ()) -> None:
        """Whether all else is as it was; ``parts``: whether a killed process may have left one."""
        for path, data in self._before.items():
            if path not in (*targets, *changed) and path.read_bytes() != data:
                raise LostError(f"{path.name} has changed")
        known = {*self._before, *targets}
        for path in self.folder.iterdir():
            is_part = path.name.startswith(".pixelcodec-") and path.suffix == ".part"
            if path not in known and not (parts and is_part):
                raise LostError(f"{path.name} was left behind")


Scenario = Callable[[Workshop], str]
"""Lets something go wrong, and says how it ended."""


def _conversion(shop: Workshop) -> tuple[list[object], Path]:
    """A command, and its target, which exists already or not: then it holds the other image."""
    which, target = shop.random.choice(
        (
            (["encode", shop.images[0]], shop.folder / "target.pxc"),
            (["decode", shop.files[0]], shop.folder / "target.png"),
        )
    )
    arguments: list[object] = [*which, "-o", target]
    if shop.random.random() < 0.5:
        shutil.copy((shop.files if target.suffix == ".pxc" else shop.images)[1], target)
        arguments.append("-f")
    return arguments, target


def killed(shop: Workshop) -> str:
    """``kill -9`` at any moment."""
    arguments, target = _conversion(shop)
    existed = target.exists()
    pid = shop.start(*arguments)
    shop.wait()
    os.kill(pid, signal.SIGKILL)
    moment = "at work" if shop.finish(pid) == -signal.SIGKILL else "when it had ended"
    shop.check_rest(target, parts=True)
    allowed = shop.pictures if existed else shop.pictures[:1]
    return f"{moment}, {shop.check_target(target, allowed, not existed)}"


def interrupted(shop: Workshop) -> str:
    """Ctrl-C at any moment."""
    arguments, target = _conversion(shop)
    existed = target.exists()
    pid = shop.start(*arguments)
    shop.wait()
    os.kill(pid, signal.SIGINT)
    status = shop.finish(pid)
    if status not in (0, 130, -signal.SIGINT):
        raise LostError(f"exit status {status}")
    moment = "at work" if status else "when it had ended"
    shop.check_rest(target)
    allowed = shop.pictures if existed else shop.pictures[:1]
    return f"{moment}, {shop.check_target(target, allowed, not existed)}"


def without_room(shop: Workshop) -> str:
    """The disk is full at any byte."""
    arguments, target = _conversion(shop)
    existed = target.exists()
    size = shop.random.randrange(3000)

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    status = shop.finish(shop.start(*arguments, prepare=prepare))
    shop.check_rest(target)
    if status == 0:
        return shop.check_target(target, shop.pictures[:1], absent=False)
    return shop.check_target(target, shop.pictures[1:], not existed)


def without_rights(shop: Workshop) -> str:
    """The folder of the target cannot be written to."""
    closed = shop.folder / "closed"
    closed.mkdir(mode=0o555)

    def prepare() -> None:
        if os.geteuid() == 0:  # to whom no folder is closed
            os.seteuid(NOBODY)

    try:
        pid = shop.start("encode", shop.images[0], "-o", closed / "a.pxc", prepare=prepare)
        status = shop.finish(pid)
        if status != 1 or list(closed.iterdir()):
            raise LostError(f"exit status {status}, and {list(closed.iterdir())}")
    finally:
        closed.rmdir()
    shop.check_rest()
    return "no output"


def reader_left(shop: Workshop) -> str:
    """A pipe is closed at any byte."""
    out, into = os.pipe()

    def prepare() -> None:
        os.dup2(into, 1)
        os.close(out)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"))

    pid = shop.start("decode", shop.files[0], "-o", "-", prepare=prepare)
    os.close(into)
    with open(out, "rb", buffering=0) as pipe:
        pipe.read(shop.random.randrange(1, 2000))
    status = shop.finish(pid)
    if status not in (0, 1):
        raise LostError(f"exit status {status}")
    shop.check_rest()
    return f"exit status {status}"


def two_writers(shop: Workshop) -> str:
    """Two processes write the same target."""
    target = shop.folder / "target.pxc"
    force = shop.random.choice(((), ("-f",)))
    pids = []
    for image in shop.images:
        pids.append(shop.start("encode", image, "-o", target, *force))
        time.sleep(shop.random.choice((0, shop.random.uniform(0, 0.2))))
    well = [shop.finish(pid) == 0 for pid in pids]
    shop.check_rest(target)
    if force:
        allowed = shop.pictures
    elif sum(well) == 1:
        allowed = [shop.pictures[well.index(True)]]
    else:
        raise LostError(f"{sum(well)} of two processes say that the new file is theirs")
    return shop.check_target(target, allowed, absent=False)


def damaged_model(shop: Workshop) -> str:
    """The file of the model is damaged, or cut off."""
    model, target = shop.folder / "model.safetensors", shop.folder / "target.pxc"
    good = Path(zoo.__file__).with_name(f"{MODEL}.safetensors").read_bytes()
    try:
        _damage(shop, model, good)
        status = shop.finish(shop.start("encode", shop.images[0], "-o", target, model=model))
        found = shop.check_target(target, shop.pictures[:1], absent=status == 1)
        if (status == 0) != target.exists():
            raise LostError(f"exit status {status}, {found}")
    finally:
        model.unlink(missing_ok=True)
    shop.check_rest(target)
    return found


def _damage(shop: Workshop, model: Path, good: bytes) -> None:
    at = shop.random.randrange(len(good))
    flipped = good[:at] + bytes([good[at] ^ 1 << shop.random.randrange(8)]) + good[at + 1 :]
    model.write_bytes(shop.random.choice((flipped, flipped, good[:at], b"")))


def source_changed(shop: Workshop) -> str:
    """The source is written anew while it is read: in place, or by another file of its name."""
    arguments, target = _conversion(shop)
    while target.exists():
        target.unlink()
        arguments, target = _conversion(shop)
    source = Path(str(arguments[1]))
    before, after = source.read_bytes(), (source.with_name(source.name.replace("0", "1")))
    pid = shop.start(*arguments)
    shop.wait()
    if shop.random.random() < 0.5:
        source.write_bytes(after.read_bytes())
    else:
        replacement = shop.folder / "replacement"
        shutil.copy(after, replacement)
        replacement.replace(source)
    status = shop.finish(pid)
    source.write_bytes(before)
    shop.check_rest(target)
    return shop.check_target(target, shop.pictures, absent=status == 1)


SCENARIOS: Sequence[Scenario] = (
    *(killed, killed, killed, interrupted, interrupted),
    *(without_room, without_rights, reader_left, two_writers, damaged_model, source_changed),
)


@contextmanager
def workshop(random: Random) -> Iterator[Workshop]:
    """A new one, in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Workshop(Path(folder), random)


def campaign(count: int, seconds: float, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """Run ``count`` scenarios in turn, no longer than ``seconds``: outcomes, and what failed."""
    random = Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    end = time.monotonic() + seconds
    with workshop(random) as shop:
        untouched = set(shop.folder.iterdir())
        for number in range(count):
            scenario: Any = SCENARIOS[number % len(SCENARIOS)]
            try:
                outcomes[f"{scenario.__name__}: {scenario(shop)}"] += 1
            except Exception:  # whatever it is, it is a finding
                outcomes[f"{scenario.__name__}: FAILED"] += 1
                failures.append(f"{seed}/{number} {scenario.__name__}\n{traceback.format_exc()}")
            for path in set(shop.folder.iterdir()) - untouched:
                path.unlink()
            if time.monotonic() > end:
                break
    return outcomes, failures


def main() -> None:
    """Run a campaign, and fail if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="scenarios")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="to end after")
    parser.add_argument("--seed", type=int, default=1, help="of chance")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    outcomes, failures = campaign(asked.count, 60 * asked.minutes, asked.seed)
    for what, times in sorted(outcomes.items()):
        print(f"{times:>7,}  {what}")
    print(f"{outcomes.total():>7,}  scenarios in all")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
