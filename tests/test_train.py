"""Training: it learns, it survives being stopped, and what it needs is checked first."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pixelcodec
from coding import Samples
from pictures import noise, scene
from pixelcodec.errors import ModelError
from pixelcodec.models import train
from pixelcodec.models.architectures import (
    ARCHITECTURES,
    continued,
    make_config,
    make_float_network,
)
from pixelcodec.models.curve import plot_curve
from pixelcodec.models.data import (
    HOLD_OUT,
    Patches,
    Source,
    WholeImages,
    find_images,
    load_images,
    split,
    to_gray,
)
from pixelcodec.models.grow import grown
from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.train import (
    CHECKPOINT,
    LOG,
    WEIGHT_LIMIT,
    Plan,
    Report,
    Run,
    float_bits,
    load_float_network,
)
from pixelcodec.models.wavefront_pixelcnn import ARCHITECTURE, Config, WavefrontPixelCNN
from pixelcodec.models.zoo import save_network

CONFIG = Config(width=8, hidden=8, blocks=1, head=4, components=2)
_BINARY = {"channels": 1, "bit_depth": 1, "hidden": 4, "layers": 1, "head": 4}
_OTHERS = {
    "wavefront-gray-1": {"width": 8, "hidden": 8, "blocks": 1, "head": 4, "bit_depth": 8},
    "graphics-1": {"hidden": 8, "head": 8, "components": 2},
}
SMALLEST = {
    name: make_config(name, _OTHERS.get(name, _BINARY))
    for name in ARCHITECTURES
    if name != ARCHITECTURE
}
"""Of all architectures but that for photographs."""

PATCH, BATCH = 8, 2

IMAGES = [scene(24, 30, 3, seed=seed) for seed in range(3)]
HELD_OUT = [scene(20, 20, 3, seed=9)]


def plan_of(steps: int, **others: Any) -> Plan:
    """A plan of ``steps`` tiny steps, with a line in the log for every third."""
    megapixels = steps * BATCH * PATCH**2 / 1e6
    tiny = {"architecture": ARCHITECTURE, "config": CONFIG, "report_steps": 3}
    return Plan(megapixels=megapixels, **{**tiny, **others})


def run_of(folder: Path, plan: Plan, resume: bool = False, gray: float = 0.3, **others: Any) -> Run:
    patches = Patches(IMAGES, PATCH, BATCH, plan.seed, gray_share=gray)
    return Run(plan, patches, [HELD_OUT[0][None]], folder, resume=resume, **others)


def small_run(folder: Path, architecture: str, steps: int, **others: Any) -> Run:
    """A run of any architecture, on small images of stripes."""
    config = SMALLEST.get(architecture, CONFIG)
    channels, bit_depth = config.channels, config.bit_depth
    y, x = np.indices((8, 8))
    stripes = [np.where((x + shift) // 2 % 2, 250, 5) + y for shift in range(4)]
    images = np.stack(stripes).astype(np.uint8)[..., None].repeat(channels, -1)
    source = WholeImages(images, 4, 0, bit_depth)
    plan = Plan(architecture, config, steps * source.pixels / 1e6, rate=0.02)
    held_out = images // 128 if bit_depth == 1 else images
    return Run(plan, source, [held_out], folder, **others)


def ignore(report: Report) -> None:
    """Take any report."""


def weights(folder: Path) -> dict[str, list[Any]]:
    """All that the checkpoint holds, to the last bit."""
    return {name: tensor.tolist() for name, tensor in load_file(folder / CHECKPOINT).items()}


def log(folder: Path) -> list[dict[str, str]]:
    """The lines of the log, but for the seconds."""
    with (folder / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


# Learning ----------------------------------------------------------------------------------------


def test_a_few_steps_lower_the_bits(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(60, rate=0.05, report_steps=1))
    before = run.validate()
    reports: list[Report] = []
    run.train(reports.append)
    training = [report.training_bpsp for report in reports]

    assert len(reports) == 60
    assert np.mean(training[-10:]) < np.mean(training[:10]) - 0.3
    assert run.validate() < before - 0.3
    assert run.validate() == reports[-1].held_out_bpsp


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns(tmp_path: Path, architecture: str) -> None:
    run = small_run(tmp_path, architecture, 60)
    before = run.validate()
    run.train(ignore)
    assert run.validate() < 0.8 * before


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_stay_where_integers_can_follow(tmp_path: Path, architecture: str) -> None:
    run = small_run(tmp_path, architecture, 1)
    layers = [layer for layer in run.network.modules() if isinstance(layer, MaskedConv2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(100 / layer.weight.abs().max())
    with pytest.raises(ValueError, match="leave no room"):
        run.network.integer_network()
    run.train(ignore)
    assert all(layer.weight.abs().max() <= WEIGHT_LIMIT for layer in layers)
    run.network.integer_network()


def test_what_was_trained_codes(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(10))
    run.train(ignore)
    path = tmp_path / "model.safetensors"
    save_network(run.network.integer_network(), path)
    data = pixelcodec.encode(HELD_OUT[0], model=str(path))
    np.testing.assert_array_equal(pixelcodec.decode(data, model=str(path)), HELD_OUT[0])


def test_reports_tell_how_the_run_stands(tmp_path: Path) -> None:
    reports: list[Report] = []
    plan = plan_of(7)
    run_of(tmp_path, plan).train(reports.append)

    assert [report.step for report in reports] == list(range(1, 8))
    assert {report.steps for report in reports} == {7}
    assert reports[-1].megapixels == pytest.approx(plan.megapixels)
    assert [report.rate for report in reports] == [plan.rate_at(step, 7) for step in range(7)]
    seconds = [report.seconds for report in reports]
    assert seconds == sorted(seconds)
    validated = [report.step for report in reports if report.held_out_bpsp is not None]
    assert validated == [3, 6, 7] == [int(row["step"]) for row in log(tmp_path)]


def test_of_gray_patches_one_channel_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(1), gray=1.0)
    patches, _ = run._source.batch(0)
    with torch.no_grad():
        expected = run.network(torch.from_numpy(patches))[..., 0].mean().item()
    before = run.network.parameters_of.weight.detach().view(3, -1).clone()
    reports: list[Report] = []
    run.train(reports.append)
    after = run.network.parameters_of.weight.detach().view(3, -1)

    assert reports[0].training_bpsp == pytest.approx(expected, rel=1e-5)
    changed = (after != before).any(1).tolist()
    assert changed == [True, False, False]


def test_of_colour_patches_all_channels_count(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(1), gray=0.0)
    patches, _ = run._source.batch(0)
    with torch.no_grad():
        expected = run.network(torch.from_numpy(patches)).mean().item()
    reports: list[Report] = []
    run.train(reports.append)
    assert reports[0].training_bpsp == pytest.approx(expected, rel=1e-5)


def test_each_step_has_a_batch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = run_of(tmp_path, plan_of(9)), []
    batch = run._source.batch

    def spy(step: int, rank: int) -> Any:
        asked.append((step, rank))
        return batch(step, rank)

    monkeypatch.setattr(run._source, "batch", spy)
    run.train(ignore)
    assert asked == [(step, 0) for step in range(9)]


# Stopping and resuming ---------------------------------------------------------------------------


class KilledError(BaseException):
    """What a signal does to a run."""


def killed_in_report(run: Run, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill ``run`` when ``step`` is done and in the log, but in no checkpoint."""

    def tell(report: Report) -> None:
        if report.step == step:
            raise KilledError

    with pytest.raises(KilledError):
        run.train(tell)


def killed_in_step(run: Run, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill ``run`` in the middle of ``step``."""
    learn = run._learn

    def die(*arguments: Any) -> float:
        if run.step == step:
            raise KilledError
        return learn(*arguments)

    monkeypatch.setattr(run, "_learn", die)
    with pytest.raises(KilledError):
        run.train(ignore)


STEPS = 10

KILLS = pytest.mark.parametrize("kill", [killed_in_report, killed_in_step])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_of(folder, plan_of(STEPS)).train(ignore)
    return folder


def interrupted(
    folder: Path, kill: Callable[..., None], steps: list[int], every: float, patch: Any
) -> None:
    """Train, but be killed at each of ``steps``; checkpoints are ``every`` so many seconds."""
    plan = plan_of(STEPS, checkpoint_seconds=every)
    for step in steps:
        kill(run_of(folder, plan, (folder / CHECKPOINT).exists()), step, patch)
    run_of(folder, plan, (folder / CHECKPOINT).exists()).train(ignore)


@KILLS
@pytest.mark.parametrize("steps", [*([step] for step in range(2, STEPS)), [3, 6, 9]], ids=str)
def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Path,
    kill: Callable[..., None],
    steps: list[int],
) -> None:
    interrupted(tmp_path, kill, steps, -1.0, monkeypatch)
    assert weights(tmp_path) == weights(uninterrupted)


@KILLS
@pytest.mark.parametrize("steps", [[4], [6], [3, 8]], ids=str)
def test_a_run_that_was_killed_has_the_same_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Path,
    kill: Callable[..., None],
    steps: list[int],
) -> None:
    interrupted(tmp_path, kill, steps, -1.0, monkeypatch)
    assert log(tmp_path) == log(uninterrupted)


@KILLS
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_afresh(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Path,
    kill: Callable[..., None],
) -> None:
    interrupted(tmp_path, kill, [5], 1000.0, monkeypatch)
    assert weights(tmp_path) == weights(uninterrupted)
    assert log(tmp_path) == log(uninterrupted)


def test_time_of_all_parts_of_a_run_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(2))
    run.seconds = 1000.0  # as if it had been resumed
    run.train(ignore)
    resumed = run_of(tmp_path, plan_of(4), resume=True)
    assert resumed.seconds >= 1000
    resumed.train(ignore)
    assert resumed.seconds > run.seconds


def test_a_larger_budget_goes_on_where_the_run_ended(tmp_path: Path) -> None:
    run_of(tmp_path, plan_of(4)).train(ignore)
    run = run_of(tmp_path, plan_of(9), resume=True)
    reports: list[Report] = []
    run.train(reports.append)
    assert [report.step for report in reports] == [5, 6, 7, 8, 9]


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    run_of(tmp_path, plan_of(4)).train(ignore)
    before = weights(tmp_path), log(tmp_path)
    run_of(tmp_path, plan_of(4), resume=True).train(ignore)
    assert (weights(tmp_path), log(tmp_path)) == before


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        run_of(tmp_path, plan_of(4), resume=True)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run_of(tmp_path, plan_of(2)).train(ignore)
    with pytest.raises(FileExistsError, match="holds a run already"):
        run_of(tmp_path, plan_of(2))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run_of(tmp_path, plan_of(2)).train(ignore)
    wider = replace(plan_of(4), config=replace(CONFIG, width=16))
    other = replace(plan_of(4), architecture="pixelcnn-1", config=SMALLEST["pixelcnn-1"])
    for plan in (wider, other):
        with pytest.raises(ValueError, match="is of another network"):
            run_of(tmp_path, plan, resume=True)


# Checkpoints -------------------------------------------------------------------------------------


def test_a_checkpoint_is_safetensors_and_no_pickle(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(2))
    run.train(ignore)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}
    data = (tmp_path / CHECKPOINT).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    about = json.loads(header.pop("__metadata__")["run"])
    assert about["step"] == 2
    assert all(set(entry) == {"dtype", "shape", "data_offsets"} for entry in header.values())
    assert len(data) == 8 + size + max(entry["data_offsets"][1] for entry in header.values())
    networks = {name for name in header if name.startswith("network.")}
    assert networks == {f"network.{name}" for name in run.network.state_dict()}


def test_a_save_that_is_killed_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Path
) -> None:
    plan = plan_of(STEPS, checkpoint_seconds=-1.0)
    saves = 0

    def save_half(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal saves
        saves += 1
        save_file(tensors, path, metadata=metadata)
        if saves == 4:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(train, "save_file", save_half)
        with pytest.raises(KilledError):
            run_of(tmp_path, plan).train(ignore)

    run = run_of(tmp_path, plan, resume=True)
    assert run.step == 3
    run.train(ignore)
    assert weights(tmp_path) == weights(uninterrupted)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG}


@pytest.mark.parametrize("shape", [(9, 11, 3), (9, 11)], ids=["rgb", "gray"])
def test_bits_of_a_checkpoint_are_those_of_its_network(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    run = run_of(tmp_path, plan_of(3))
    run.train(ignore)
    images = scene(*shape).reshape(1, 9, 11, -1)
    run.network.quantise(False)
    with torch.no_grad():
        bits = run.network(torch.from_numpy(np.broadcast_to(images, (1, 9, 11, 3)).copy()))
    expected = bits[..., : images.shape[3]].sum()
    found = float_bits(load_float_network(tmp_path / CHECKPOINT), images)
    assert found == pytest.approx(float(expected))


def test_bits_of_many_images_are_the_sum_of_their_own() -> None:
    network = WavefrontPixelCNN(CONFIG)
    images = np.stack([scene(32, 32, 3, seed=seed) for seed in range(40)])  # more than at once
    found = sum(float_bits(network, image[None]) for image in images)
    assert float_bits(network, images) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_knows_its_network(tmp_path: Path, architecture: str) -> None:
    run = small_run(tmp_path, architecture, 1)
    run.train(ignore)
    network = load_float_network(tmp_path / CHECKPOINT)
    assert type(network) is type(run.network)
    assert network.config == run.network.config
    for name, value in network.state_dict().items():
        assert torch.equal(value, run.network.state_dict()[name])


def test_a_checkpoint_that_names_no_architecture_is_of_the_first(tmp_path: Path) -> None:
    run_of(tmp_path, plan_of(2)).train(ignore)
    path = tmp_path / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["run"])
    del about["architecture"]
    save_file(load_file(path), path, metadata={"run": json.dumps(about)})
    assert isinstance(load_float_network(path), WavefrontPixelCNN)
    assert run_of(tmp_path, plan_of(4), resume=True).step == 2


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_network(WavefrontPixelCNN(CONFIG).integer_network(), path)
    with pytest.raises(ModelError, match=r"model\.safetensors is no checkpoint"):
        load_float_network(path)


# The plan ----------------------------------------------------------------------------------------


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    plan, steps = plan_of(1, rate=2.0, cool_down=0.25), 1000
    rates = [plan.rate_at(step, steps) for step in range(steps)]
    assert rates[0] == pytest.approx(2 / 200)
    assert rates[:200] == sorted(rates[:200])
    assert set(rates[199:751]) == {2.0}
    assert rates[750:] == sorted(rates[750:], reverse=True)
    assert rates[875] == pytest.approx(1.0)
    assert 0 < rates[-1] <= 2 / 250


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(1, 3000), cool_down=st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_the_rate_is_always_positive_and_never_above_the_plans(
    steps: int, cool_down: float
) -> None:
    plan = plan_of(1, rate=0.5, cool_down=cool_down)
    assert all(0 < plan.rate_at(step, steps) <= 0.5 for step in range(steps))


@pytest.mark.parametrize(
    ("cool_down", "first"), [(0.75, 750), (0.9, 700), (0.0, 1000), (0.3, 900), (0.03, 990)]
)
def test_rounding_is_on_in_the_last_third_of_the_cool_down(cool_down: float, first: int) -> None:
    plan = plan_of(1, cool_down=cool_down)
    rounds = [plan.rounds_at(step, 1000) for step in range(1000)]
    assert rounds == [step >= first for step in range(1000)]


def test_rounding_goes_by_the_plan(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(10, cool_down=0.9))
    rounded: list[bool] = []
    run.train(lambda report: rounded.append(run.network.input.quantised))
    assert rounded == 7 * [False] + 3 * [True]


@pytest.mark.parametrize(
    ("megapixels", "pixels", "steps"),
    [(1.0, 16384, 61), (1.0, 32768, 31), (8.192, 65536, 125), (1e-9, 16384, 1)],
)
def test_a_budget_is_counted_in_pixels(megapixels: float, pixels: int, steps: int) -> None:
    assert Plan(ARCHITECTURE, CONFIG, megapixels).steps(pixels) == steps


# Batches -----------------------------------------------------------------------------------------


def patches_of(
    images: list[Samples] = IMAGES, size: int = 8, count: int = 16, seed: int = 1, **others: Any
) -> Patches:
    return Patches(images, size, count, seed, **others)


DIGITS = noise(20, 6, 5, 1)
COLOURS = noise(20, 4, 7, 3)

SOURCES: list[Callable[[int], Source]] = [
    lambda seed: patches_of(seed=seed, gray_share=0.5, grain_share=0.5),
    lambda seed: patches_of(seed=seed, upright=True),
    lambda seed: WholeImages(DIGITS, 16, seed, bit_depth=1),
    lambda seed: WholeImages(COLOURS, 16, seed),
]


@pytest.mark.parametrize("make", SOURCES)
def test_a_batch_depends_on_seed_step_and_rank_alone(make: Callable[[int], Source]) -> None:
    expected, counted = make(1).batch(5, 1)
    others = make(1)
    for step in (9, 5, 0):
        others.batch(step)
    again, counted_again = others.batch(5, 1)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(counted_again, counted)
    for other in (others.batch(6, 1), others.batch(5, 0), make(2).batch(5, 1)):
        assert (other[0] != expected).any()


@pytest.mark.parametrize("make", SOURCES)
def test_a_batch_has_the_pixels_and_channels_it_says(make: Callable[[int], Source]) -> None:
    source = make(1)
    images, counted = source.batch(0)
    assert images.dtype == np.uint8
    assert images.flags.writeable  # torch takes no other
    assert images.size == source.pixels * images.shape[3]
    assert counted.dtype == np.bool_
    assert counted.shape == (len(images), images.shape[3])
    assert counted[:, 0].all()


def test_small_images_are_drawn_whole_and_mirrored() -> None:
    images, counted = WholeImages(COLOURS, 500, seed=1).batch(0)
    straight, mirrored = (
        (images[:, None] == part[None]).all((2, 3, 4)) for part in (COLOURS, COLOURS[:, :, ::-1])
    )
    assert (straight | mirrored).any(1).all()
    assert straight.any(0).all()
    assert mirrored.any(0).all()
    assert counted.all()


def test_small_gray_images_are_not_mirrored() -> None:
    digits = np.where(DIGITS < 128, 0, 255).astype(np.uint8)
    images, _ = WholeImages(digits, 100, seed=1, bit_depth=1).batch(0)
    assert (images[:, None] == digits[None] // 255).all((2, 3, 4)).any(1).all()


def test_each_batch_is_binarised_afresh_by_the_values() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    source = WholeImages(values, 2000, seed=3, bit_depth=1)
    images, _ = source.batch(0)
    assert set(np.unique(images)) == {0, 1}
    np.testing.assert_allclose(images.mean(0), values[0] / 255, atol=0.06)
    assert (images[0] != images[1]).any()
    assert not images[:, 0, 0].any()
    assert images[:, -1, -1].all()


def test_there_must_be_images() -> None:
    with pytest.raises(ValueError, match="no images are left to train on"):
        WholeImages(COLOURS[:0], 4, seed=0)


def coordinates(height: int, width: int) -> Samples:
    """An image whose samples say where they stand."""
    y, x = np.indices((height, width))
    return np.stack([y, x, y ^ x], -1).astype(np.uint8)


def test_a_patch_is_a_part_of_an_image_in_any_of_eight_ways() -> None:
    image = coordinates(20, 30)
    patches, counted = patches_of([image], size=8, count=200).batch(0)
    assert patches.shape == (200, 8, 8, 3)
    assert counted.all()
    ways, corners = set(), set()
    for patch in patches.astype(int):
        y, x = patch[..., :2].min((0, 1))
        part = image[y : y + 8, x : x + 8].astype(int)
        turned = {
            (turns, mirrored): np.rot90(part[:, ::-1] if mirrored else part, turns)
            for turns in range(4)
            for mirrored in (False, True)
        }
        ways |= {way for way, other in turned.items() if (other == patch).all()}
        corners.add((y, x))
        assert any((other == patch).all() for other in turned.values())
    assert len(ways) == 8
    assert {0, 12} <= {y for y, _ in corners}
    assert {0, 22} <= {x for _, x in corners}


def test_upright_patches_are_mirrored_and_nothing_else() -> None:
    image = coordinates(20, 30)
    patches, _ = patches_of([image], size=8, count=100, upright=True).batch(0)
    steps = np.diff(patches[..., :2].astype(int), axis=2)[:, 0, 0]  # of y and x, to the right
    assert {tuple(step) for step in steps} == {(0, 1), (0, -1)}


def test_images_are_drawn_by_their_area_and_small_ones_left_out() -> None:
    images = [np.full((side, 16, 3), side, np.uint8) for side in (7, 8, 24)]
    patches, _ = patches_of(images, count=2000).batch(0)
    sides, counts = np.unique(patches[:, 0, 0, 0], return_counts=True)
    assert sides.tolist() == [8, 24]
    assert counts[1] / 2000 == pytest.approx(0.75, abs=0.05)


def test_some_images_must_be_as_large_as_a_patch() -> None:
    with pytest.raises(ValueError, match="smaller than a patch of 25 x 25"):
        patches_of(size=25)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_patches_is_gray(share: float) -> None:
    patches, counted = patches_of([noise(40, 40, 3)], count=500, gray_share=share).batch(0)
    gray = (patches == patches[..., :1]).all((1, 2, 3))
    np.testing.assert_array_equal(counted, np.stack([np.ones_like(gray), ~gray, ~gray], 1))
    assert gray.mean() == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_patches_has_grain(share: float) -> None:
    flat = np.full((40, 40, 3), 100, np.uint8)
    patches, _ = patches_of([flat], count=300, grain_share=share).batch(0)
    grain = (patches != 100).any((1, 2, 3))
    assert grain.mean() == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((0, 0, 0), 0), ((255, 255, 255), 255), ((9, 9, 9), 9), ((255, 0, 0), 76), ((0, 255, 1), 150)],
)
def test_gray_is_luma(colour: tuple[int, int, int], luma: int) -> None:
    assert to_gray(np.array([[colour]], np.uint8)).tolist() == [[[luma] * 3]]


# Images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 40, 41])
def test_every_twentieth_image_is_held_out(count: int) -> None:
    images: list[npt.NDArray[Any]] = [np.array([i]) for i in range(count)]
    training, held_out = ([int(image[0]) for image in part] for part in split(images))
    assert held_out == list(range(0, count, HOLD_OUT))
    if count > 1:
        assert sorted(training + held_out) == list(range(count))
    else:
        assert training == held_out  # better than nothing


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [1]), (7, [6]), (8, [7]), (9, [7]), (16, [7, 15])]
)
def test_the_last_image_is_held_out_where_there_are_fewer(count: int, expected: list[int]) -> None:
    images: list[npt.NDArray[Any]] = [np.array([i]) for i in range(count)]
    _, held_out = split(images, every=8, first=7)
    assert [int(image[0]) for image in held_out] == expected


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images, in folders."""
    folder = tmp_path / "photos"
    for name in ("b.png", "a/c.WEBP", "a/d.tif", "a/deep/e.ppm", "f.bmp"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(9, 11, 3)).save(path, lossless=True)
    (folder / "lossy.jpg").write_bytes(b"not for training")
    (folder / "notes.txt").write_text("nor this")
    return folder


def test_lossless_images_are_found_in_order(photos: Path) -> None:
    found = [str(path.relative_to(photos)) for path in find_images([photos])]
    assert found == ["a/c.WEBP", "a/d.tif", "a/deep/e.ppm", "b.png", "f.bmp"]


def test_an_image_that_is_given_twice_counts_once(photos: Path) -> None:
    """It would be trained on and held out."""
    given_twice = [photos, photos / "a", photos / "b.png"]
    assert find_images(given_twice) == find_images([photos])


def test_images_are_loaded_as_they_are(photos: Path) -> None:
    for image in load_images(find_images([photos])):
        np.testing.assert_array_equal(image, noise(9, 11, 3))


def test_gray_images_are_loaded_in_three_channels(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 11)).save(tmp_path / "gray.png")
    (image,) = load_images([tmp_path / "gray.png"])
    np.testing.assert_array_equal(image, np.repeat(noise(9, 11)[..., None], 3, -1))


@pytest.mark.parametrize("name", ["empty", "lossy.jpg", "no-such-folder"])
def test_a_place_without_lossless_images_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "lossy.jpg").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"no lossless images .* in .*{name}"):
        find_images([tmp_path / name])


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"damaged\.png"):
        load_images([path])


# Processes, and the picture of it all ------------------------------------------------------------


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, image in enumerate([*IMAGES, *HELD_OUT]):
        Image.fromarray(image).save(photos / f"{i}.png")
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    sizes = {"width": 8, "hidden": 8, "blocks": 1, "head": 4, "components": 2}
    budget = {"patch": PATCH, "batch": BATCH, "megapixels": 8 * 2 * BATCH * PATCH**2 / 1e6}
    options = [f"--{key}={value}" for key, value in {**sizes, **budget, "device": "cpu"}.items()]
    result = subprocess.run(
        [
            *torchrun,
            "-m",
            "pixelcodec",
            "train",
            "photos",
            "-o",
            "two.safetensors",
            *options,
            "-T1",
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("before rounding") == 1  # one of them tells
    folder = tmp_path / "runs" / "two"
    assert [row["step"] for row in log(folder)] == ["8"]
    assert (folder / "curve.png").exists()
    model = str(tmp_path / "two.safetensors")
    data = pixelcodec.encode(HELD_OUT[0], model=model)
    np.testing.assert_array_equal(pixelcodec.decode(data, model=model), HELD_OUT[0])


def test_the_curve_is_a_png(uninterrupted: Path, tmp_path: Path) -> None:
    target = tmp_path / "curve.png"
    plot_curve(uninterrupted / LOG, target)
    with Image.open(target) as image:
        assert image.format == "PNG"
        assert image.size == (840, 480)
        assert len(np.unique(np.asarray(image.convert("L")))) > 10  # something is drawn


# Growing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "larger",
    [{}, {"width": 12}, {"hidden": 11}, {"blocks": 3}, {"head": 7}, {"width": 9, "head": 5}],
)
def test_a_network_that_grew_computes_what_it_did(larger: dict[str, int]) -> None:
    torch.manual_seed(3)
    small = WavefrontPixelCNN(CONFIG)
    large = grown(small, replace(CONFIG, **larger))
    samples = torch.from_numpy(noise(9, 7, 3)[None])
    with torch.no_grad():
        np.testing.assert_allclose(large(samples), small(samples), atol=0.02)


@pytest.mark.parametrize("other", [{"width": 7}, {"blocks": 0}, {"components": 3}])
def test_a_network_does_not_shrink(other: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="cannot grow"):
        grown(WavefrontPixelCNN(CONFIG), replace(CONFIG, **other))


def test_a_run_can_start_with_the_weights_of_another(tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", plan_of(3))
    first.train(ignore)
    plan = plan_of(3)
    larger = replace(plan, config=replace(CONFIG, hidden=12))
    start = tmp_path / "first" / CHECKPOINT
    run = run_of(tmp_path / "second", larger, start=start)
    assert run.validate() == pytest.approx(first.validate(), abs=0.01)


@pytest.mark.parametrize("architecture", sorted(SMALLEST))
def test_a_run_can_start_with_the_weights_of_the_same_network(
    tmp_path: Path, architecture: str
) -> None:
    first = small_run(tmp_path / "first", architecture, 2)
    first.train(ignore)
    start = tmp_path / "first" / CHECKPOINT
    second = small_run(tmp_path / "second", architecture, 2, start=start)
    first.network.quantise(False)
    assert second.validate() == first.validate()


def test_a_run_starts_with_no_other_architecture(tmp_path: Path) -> None:
    run_of(tmp_path / "first", plan_of(1)).train(ignore)
    start = tmp_path / "first" / CHECKPOINT
    for architecture, config in SMALLEST.items():
        with pytest.raises(ModelError, match=f"cannot become {architecture}"):
            continued(load_float_network(start), architecture, config)
    larger = replace(SMALLEST["pixelcnn-1"], layers=2)
    small = make_float_network("pixelcnn-1", SMALLEST["pixelcnn-1"])
    with pytest.raises(ModelError, match="cannot become pixelcnn-1"):
        continued(small, "pixelcnn-1", larger)
