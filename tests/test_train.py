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
from safetensors.torch import load_file, save_file

import pixelcodec
from coding import Samples
from pictures import noise, scene
from pixelcodec.models import train
from pixelcodec.models.curve import plot_curve
from pixelcodec.models.data import HOLD_OUT, Patches, find_images, load_images, split, to_gray
from pixelcodec.models.pixelcnn import Config
from pixelcodec.models.train import CHECKPOINT, LOG, Plan, Report, Run, float_bits
from pixelcodec.models.zoo import save_network

CONFIG = Config(width=8, hidden=8, blocks=1, head=4, components=2)
PATCH, BATCH = 8, 2

IMAGES = [scene(24, 30, 3, seed=seed) for seed in range(3)]
HELD_OUT = [scene(20, 20, 3, seed=9)]


def plan_of(steps: int, **others: Any) -> Plan:
    """A plan of ``steps`` tiny steps, with a line in the log for every third."""
    megapixels = steps * BATCH * PATCH**2 / 1e6
    tiny = {"patch": PATCH, "batch": BATCH, "report_steps": 3, "gray_share": 0.3}
    return Plan(CONFIG, megapixels, **{**tiny, **others})


def run_of(folder: Path, plan: Plan, resume: bool = False) -> Run:
    return Run(plan, IMAGES, HELD_OUT, folder, resume=resume)


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
    run = run_of(tmp_path, plan_of(1, gray_share=1.0))
    patches, _ = run._patches.batch(0)
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
    run = run_of(tmp_path, plan_of(1, gray_share=0.0))
    patches, _ = run._patches.batch(0)
    with torch.no_grad():
        expected = run.network(torch.from_numpy(patches)).mean().item()
    reports: list[Report] = []
    run.train(reports.append)
    assert reports[0].training_bpsp == pytest.approx(expected, rel=1e-5)


def test_each_step_has_a_batch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = run_of(tmp_path, plan_of(9)), []
    batch = run._patches.batch

    def spy(step: int, rank: int) -> Any:
        asked.append((step, rank))
        return batch(step, rank)

    monkeypatch.setattr(run._patches, "batch", spy)
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
    plan = replace(plan_of(4), config=replace(CONFIG, width=16))
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
    image = scene(*shape)
    thrice = np.broadcast_to(image.reshape(9, 11, -1), (9, 11, 3)).copy()
    run.network.quantise(False)
    with torch.no_grad():
        bits = run.network(torch.from_numpy(thrice[None]))
    expected = bits.sum() if len(shape) == 3 else bits[..., 0].sum()
    assert float_bits(tmp_path / CHECKPOINT, image) == pytest.approx(float(expected))


# The plan ----------------------------------------------------------------------------------------


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    plan, steps = Plan(rate=2.0, cool_down=0.25), 1000
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
    plan = Plan(rate=0.5, cool_down=cool_down)
    assert all(0 < plan.rate_at(step, steps) <= 0.5 for step in range(steps))


@pytest.mark.parametrize(
    ("cool_down", "first"), [(0.25, 750), (1.0, 0), (0.0, 1000), (0.3, 700), (0.1, 900)]
)
def test_rounding_is_on_while_the_rate_falls(cool_down: float, first: int) -> None:
    plan = Plan(cool_down=cool_down)
    rounds = [plan.rounds_at(step, 1000) for step in range(1000)]
    assert rounds == [step >= first for step in range(1000)]


def test_rounding_goes_by_the_plan(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan_of(10, cool_down=0.4))
    rounded: list[bool] = []
    run.train(lambda report: rounded.append(run.network.input.quantised))
    assert rounded == 6 * [False] + 4 * [True]


@pytest.mark.parametrize(
    ("megapixels", "processes", "steps"),
    [(1.0, 1, 61), (1.0, 2, 31), (8.192, 4, 125), (1e-9, 1, 1)],
)
def test_a_budget_is_shared_by_processes(megapixels: float, processes: int, steps: int) -> None:
    assert Plan(megapixels=megapixels, patch=64, batch=4).steps(processes) == steps


# Patches -----------------------------------------------------------------------------------------


def patches_of(
    images: list[Samples] = IMAGES, size: int = 8, count: int = 16, gray: float = 0.0, seed: int = 1
) -> Patches:
    return Patches(images, size, count, gray, seed)


def test_a_batch_depends_on_seed_step_and_rank_alone() -> None:
    expected = patches_of().batch(5, 1)[0]
    others = patches_of()
    for step in (9, 5, 0):
        others.batch(step)
    np.testing.assert_array_equal(others.batch(5, 1)[0], expected)
    for other in (others.batch(6, 1), others.batch(5, 0), patches_of(seed=2).batch(5, 1)):
        assert (other[0] != expected).any()


def coordinates(height: int, width: int) -> Samples:
    """An image whose samples say where they stand."""
    y, x = np.indices((height, width))
    return np.stack([y, x, y ^ x], -1).astype(np.uint8)


def test_a_patch_is_a_part_of_an_image_in_any_of_eight_ways() -> None:
    image = coordinates(20, 30)
    patches, gray = patches_of([image], size=8, count=200).batch(0)
    assert patches.shape == (200, 8, 8, 3)
    assert not gray.any()
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
    patches, gray = patches_of([noise(40, 40, 3)], count=500, gray=share).batch(0)
    equal = (patches == patches[..., :1]).all((1, 2, 3))
    np.testing.assert_array_equal(equal, gray)
    assert gray.mean() == pytest.approx(share, abs=0.07)


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
