"""Files with every kind of damage through the decoder: right pixels, or an error that says where.

In ``tests/``: ``python -m robustness.fuzz --count 100000``. A worker process decodes, with a limit
on its memory; the next file waits for it no longer than the limit on time. What went wrong is kept,
with the file that did it, in the folder ``--out``. The same seed makes the same files.
"""

import argparse
import collections
import io
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from pixelcodec.container import STANDARD, Reader
from pixelcodec.metadata import pack
from robustness.corpus import Seed, seeds
from robustness.mutations import ACCIDENTS, BYTES_DAMAGED, LIES, Mutation, lie_in_header
from robustness.trial import Trial, digest, run

SECONDS_A_FILE = 60
"""The longest that a file may take; this is about a busy machine, they take milliseconds."""

MEMORY = 2**30
"""Bytes of address space that a file may take, beyond what the libraries have."""

BATCH = 64
"""Files that are sent at once: a busy machine switches between processes late."""

TOLD_EVERY = 10_000

SMALL = 250
"""Bytes of files that are cut off at every byte."""


@dataclass(frozen=True)
class Case:
    """A file to try, and how it came to be."""

    name: str
    trial: Trial


@dataclass
class Outcomes:
    """What came of all files.

    Attributes:
        counts: of files, by how they ended.
        failures: how those ended that must not end so, and their cases.
    """

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[tuple[str, Case]] = field(default_factory=list)


# Files -------------------------------------------------------------------------------------------


def truncated(corpus: Iterable[Seed]) -> Iterator[Case]:
    """Every small file, cut off at every byte."""
    for seed in corpus:
        for size in range(len(seed.data)) if len(seed.data) <= SMALL else ():
            yield _case(f"{seed.name}: {size} bytes", seed, seed.data[:size], on_purpose=False)


def mutated(corpus: list[Seed], number: int) -> Iterator[Case]:
    """Files without end, by chance: accidents, or lies."""
    images, metadata = _digests(corpus)
    weights = [1 / (10 + _samples_of_models(seed) ** 0.8) for seed in corpus]  # the soonest first
    for index in itertools.count():
        random = Random(f"{number}/{index}")
        seed, other = random.choices(corpus, weights, k=2)
        on_purpose = random.random() < 0.5
        data, names = seed.data, []
        for mutation in (_lies if on_purpose else _accidents)(random):
            data = mutation(random, data, other.data) if data else data
            names.append(mutation.__name__)
        name = f"{number}/{index} {seed.name}: {', '.join(names)}"
        yield Case(name, Trial(data, seed.model, images, on_purpose, metadata))


def _samples_of_models(seed: Seed) -> int:
    """How many samples networks decode, which is what takes time."""
    return seed.picture.samples.size if _model_ids(seed) - {STANDARD} else 0


def _model_ids(seed: Seed) -> frozenset[bytes]:
    return frozenset(Reader(io.BytesIO(seed.data)).header.model_ids)


def _accidents(random: Random) -> list[Mutation]:
    """One of any kind, and maybe more that happen to bytes, as chunks can be broken by then."""
    return [random.choice(ACCIDENTS), *random.choices(BYTES_DAMAGED, k=random.choice((0, 0, 1, 2)))]


def _lies(random: Random) -> list[Mutation]:
    """Maybe one or two in the header, which leave chunks whole, and one of any kind."""
    return [*(random.choice((0, 0, 1, 2)) * [lie_in_header]), random.choice(LIES)]


def _case(name: str, seed: Seed, data: bytes, on_purpose: bool) -> Case:
    images, metadata = _digests([seed])
    return Case(name, Trial(data, seed.model, images, on_purpose, metadata))


def _digests(corpus: Iterable[Seed]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Of images and of metadata: chunks of two files may come together."""
    pictures = [seed.picture for seed in corpus]
    images = frozenset(digest(picture.samples.tobytes()) for picture in pictures)
    return images, frozenset(digest(pack(picture.chunks)) for picture in pictures)


# Trying ------------------------------------------------------------------------------------------


class Worker:
    """A process that tries files, with a limit on its memory."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end,), daemon=True)
        self._process.start()
        far_end.close()
        self._connection.recv()  # it is warm

    def outcomes(self, trials: Sequence[Trial]) -> Iterator[tuple[bool, str]]:
        """Whether each file ended as it may, and how, up to one that ends the process."""
        self._connection.send(trials)
        try:
            for _ in trials:
                if not self._connection.poll(SECONDS_A_FILE):
                    self.end()
                    yield False, f"took more than {SECONDS_A_FILE} s"
                    return
                yield self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            yield False, f"the process died, exit code {self._process.exitcode}"

    @property
    def lives(self) -> bool:
        """Whether it can try other files."""
        return self._process.exitcode is None

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(connection: Any) -> None:
    import torch

    torch.set_num_threads(1)
    by_size = sorted(seeds(), key=lambda seed: -seed.picture.samples.size)
    for seed in {_model_ids(seed): seed for seed in by_size}.values():
        run(_trial_of(seed))  # models are loaded, code is compiled
    _limit_memory()
    connection.send("ready")
    while True:
        try:
            trials = connection.recv()
        except EOFError:
            return
        for trial in trials:
            connection.send(_outcome(trial))


def _outcome(trial: Trial) -> tuple[bool, str]:
    try:
        return True, run(trial)
    except Exception as error:  # whatever it is, it is a finding
        return False, f"{type(error).__name__}: {error}"


def _trial_of(seed: Seed) -> Trial:
    return _case(seed.name, seed, seed.data, on_purpose=False).trial


def _limit_memory() -> None:
    """Allow so much address space beyond what is in use, where the system counts it."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def campaign(cases: Iterable[Case], seconds: float = float("inf")) -> Outcomes:
    """Try ``cases``, no longer than ``seconds``, or until Ctrl-C."""
    outcomes, worker = Outcomes(), Worker()
    end, left, told = time.monotonic() + seconds, iter(cases), TOLD_EVERY
    batch: list[Case] = []
    try:
        while time.monotonic() < end:
            batch += itertools.islice(left, BATCH - len(batch))
            if not batch:
                break
            worker = worker if worker.lives else Worker()
            ended = list(worker.outcomes([case.trial for case in batch]))
            for case, (well, how) in zip(batch, ended, strict=False):
                outcomes.counts[how if well else "FAILED"] += 1
                if not well:
                    outcomes.failures.append((how, case))
            batch = batch[len(ended) :]
            if outcomes.counts.total() >= told:
                print(f"{told:,} files, {len(outcomes.failures)} failed", file=sys.stderr)
                told += TOLD_EVERY
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        worker.end()
    return outcomes


# The command -------------------------------------------------------------------------------------


def report(outcomes: Outcomes, folder: Path) -> str:
    """Keep what failed in ``folder``, and say how many files ended how."""
    for number, (how, case) in enumerate(outcomes.failures):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04}.pxc").write_bytes(case.trial.data)
        about = {"case": case.name, "outcome": how, "model": case.trial.model}
        (folder / f"{number:04}.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    lines = [f"{count:>9,}  {how}" for how, count in sorted(outcomes.counts.items())]
    lines.append(f"{outcomes.counts.total():>9,}  files in all")
    if outcomes.failures:
        lines.append(f"what failed is in {folder}, the first: {outcomes.failures[0][0]}")
    return "\n".join(lines)


def main() -> None:
    """Run a campaign, and fail if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="files to try")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="to end after")
    parser.add_argument("--seed", type=int, default=1, help="of chance")
    parser.add_argument("--out", type=Path, default=Path("../build/fuzz"), help="for what failed")
    asked = parser.parse_args()
    corpus = seeds()
    cases = itertools.chain(truncated(corpus), mutated(corpus, asked.seed))
    outcomes = campaign(itertools.islice(cases, asked.count), 60 * asked.minutes)
    print(report(outcomes, asked.out))
    sys.exit(bool(outcomes.failures))


if __name__ == "__main__":
    main()
