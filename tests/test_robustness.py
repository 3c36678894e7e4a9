"""A few of the files that ``make fuzz`` tries by the hundred thousand, and that it would notice."""

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from golden.make import FOLDER, MODELS
from pixelcodec.container import Reader
from pixelcodec.engine import StripDecoder
from pixelcodec.models import zoo
from pixelcodec.models.architectures import ARCHITECTURES, can_learn
from pixelcodec.models.zoo import load_file
from pixelcodec.pictures import Samples
from robustness import fuzz, trial
from robustness.corpus import Seed, seeds
from robustness.mutations import ACCIDENTS, LIES, Mutation, head_of, joined, sealed, split
from robustness.trial import Trial, WrongError


@pytest.fixture(scope="module")
def corpus() -> list[Seed]:
    return seeds()


def test_a_small_campaign_finds_nothing(corpus: list[Seed]) -> None:
    cases = itertools.islice(fuzz.mutated(corpus, number=0), 200)
    outcomes = fuzz.campaign(cases)
    assert outcomes.failures == []
    assert outcomes.counts.total() == 200
    assert set(outcomes.counts) >= {"refused: FormatError", trial.RIGHT}


def test_the_corpus_is_whole_and_within_the_limits(corpus: list[Seed]) -> None:
    """Or mutations of a file would all be refused for what it is, not for what became of it."""
    for seed in corpus:
        assert trial._decode(fuzz._trial_of(seed)) == seed.picture, seed.name


def test_the_corpus_has_every_architecture_and_all_that_learn(corpus: list[Seed]) -> None:
    headers = [Reader(io.BytesIO(seed.data)).header for seed in corpus]
    golden = [load_file(FOLDER / f"{name}.safetensors") for name in MODELS]
    found = {network.model_id: network for network in (*golden, *map(zoo.load, zoo.names()))}
    used = [(found[each.model_id], each.learning) for each in headers if each.model_id in found]
    assert {network.architecture for network, _ in used} == set(ARCHITECTURES)
    learning = {network.architecture for network, learning in used if learning}
    assert learning == {each.architecture for each in found.values() if can_learn(each)}


def test_every_cut_of_the_smallest_file_is_tried(corpus: list[Seed]) -> None:
    dot = [seed for seed in corpus if seed.name == "dot"]
    cases = list(fuzz.truncated(dot))
    assert [case.trial.data for case in cases] == [dot[0].data[:n] for n in range(len(dot[0].data))]


def test_the_same_seed_makes_the_same_files(corpus: list[Seed]) -> None:
    first, again, other = (
        [case.trial.data for case in itertools.islice(fuzz.mutated(corpus, number), 50)]
        for number in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    "mutation", dict.fromkeys((*ACCIDENTS, *LIES)), ids=lambda mutation: mutation.__name__
)
def test_each_mutation_changes_files(mutation: Mutation, corpus: list[Seed]) -> None:
    changed = {mutation(Random(n), corpus[n].data, corpus[-n].data) for n in range(20)}
    assert len(changed - {seed.data for seed in corpus}) > 5


def test_files_are_taken_apart_and_put_together(corpus: list[Seed]) -> None:
    for seed in corpus:
        pieces = split(seed.data)
        assert b"".join(pieces) == seed.data
        assert joined(pieces) == sealed(seed.data) == seed.data
        assert head_of(seed.data) == pieces[0]


# That failures are noticed ------------------------------------------------------------------------


@pytest.fixture
def dot(corpus: list[Seed]) -> Trial:
    return fuzz._trial_of(corpus[0])


def test_wrong_pixels_are_noticed(dot: Trial) -> None:
    assert trial.run(dot) == trial.RIGHT
    with pytest.raises(WrongError, match=r"not (those|one that was) encoded"):
        trial.run(Trial(dot.data, dot.model, frozenset({b"other"}), on_purpose=False))


def test_wrong_metadata_are_noticed(dot: Trial) -> None:
    with pytest.raises(WrongError, match="metadata that are not those encoded"):
        trial.run(Trial(dot.data, dot.model, dot.images, on_purpose=False))


def test_lies_may_hold_any_pixels_of_their_checksum(dot: Trial) -> None:
    lie = Trial(dot.data, dot.model, frozenset({b"other"}), on_purpose=True)
    assert trial.run(lie) == trial.AS_SAID


@pytest.mark.parametrize("look", [trial._region, trial._salvage])
def test_wrong_rows_are_noticed(
    corpus: list[Seed], look: Callable[[Trial], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only some are decoded, and the checksum of all samples does not help."""
    seed = next(seed for seed in corpus if seed.name == "rgb-restart")
    right = fuzz._trial_of(seed)
    look(right)
    decode = StripDecoder.decode

    def one_wrong(*args: Any) -> Samples:
        rows = decode(*args)
        rows[-1, -1] ^= 1
        return rows

    monkeypatch.setattr(StripDecoder, "decode", one_wrong)
    truncated = replace(right, data=right.data[:-1])
    with pytest.raises(WrongError, match=r"row \d+ is not one that was encoded"):
        look(truncated)
    look(replace(truncated, on_purpose=True))


@pytest.mark.parametrize("error", [MemoryError(), ValueError("what"), pytest.fail.Exception("x")])
def test_other_errors_are_noticed(
    dot: Trial, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Trial) -> None:
        raise error

    monkeypatch.setattr(trial, "_decode", fail)
    with pytest.raises(type(error)):
        trial.run(dot)


def test_an_error_that_names_no_place_is_noticed(
    dot: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Trial) -> None:
        raise trial.PixelcodecError("something is wrong")

    monkeypatch.setattr(trial, "_decode", fail)
    with pytest.raises(WrongError, match="names no place: something is wrong"):
        trial.run(dot)


def test_after_a_file_that_ends_the_process_the_others_are_tried(
    corpus: list[Seed], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = list(itertools.islice(fuzz.mutated(corpus, number=0), 200))
    deadly, slow = cases[10].trial, cases[199].trial

    class Mortal:
        lives = True

        def outcomes(self, trials: list[Trial]) -> Iterator[tuple[bool, str]]:
            for each in trials:
                self.lives = each not in (deadly, slow)
                yield self.lives, "well" if self.lives else "died"
                if not self.lives:
                    return

        def end(self) -> None:
            pass

    monkeypatch.setattr(fuzz, "Worker", Mortal)
    outcomes = fuzz.campaign(cases)
    assert outcomes.counts == {"well": 198, "FAILED": 2}
    assert [case for _, case in outcomes.failures] == [cases[10], cases[199]]


def test_what_failed_is_kept(dot: Trial, tmp_path: Path) -> None:
    outcomes = fuzz.Outcomes()
    outcomes.counts["FAILED"] = 1
    outcomes.failures.append(("ValueError: what", fuzz.Case("1/0 dot: flip_bits", dot)))
    text = fuzz.report(outcomes, tmp_path)
    assert "1  FAILED" in text
    assert (tmp_path / "0000.pxc").read_bytes() == dot.data
    assert "flip_bits" in (tmp_path / "0000.json").read_text()
