"""Training: images in, an integer network out.

The learning rate warms up, stays, and falls to nothing over the last part of the run, the
cool-down, in which weights and activations are rounded as they will be in the integer network
(quantisation-aware training). A run can be stopped at any moment and resumed: a checkpoint holds
weights, optimiser state and the step, and a step's batch depends on seed and step alone. Resuming
with a larger budget goes on learning at the full rate before it cools down.

Several processes (``torchrun``) share the work by DistributedDataParallel.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelcodec.models.data import Patches, Samples
from pixelcodec.models.pixelcnn import Config, PixelCNN

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"
_LOG_COLUMNS = ["step", "megapixels", "seconds", "rate", "training_bpsp", "held_out_bpsp"]


@dataclass(frozen=True)
class Plan:
    """All that determines a run, beside the images.

    Attributes:
        config: hyperparameters of the network.
        megapixels: how many million pixels to train on in all.
        rate: learning rate of Adam.
        cool_down: share of the run in which the rate falls and rounding is on.
        patch: side of a patch in pixels.
        batch: patches in a step of each process.
        gray_share: share of patches turned gray.
        seed: of weights and batches.
        checkpoint_seconds: time between checkpoints.
        report_steps: steps between lines of the log.
    """

    config: Config = field(default_factory=Config)
    megapixels: float = 1000.0
    rate: float = 3e-3
    cool_down: float = 0.3
    patch: int = 64
    batch: int = 8
    gray_share: float = 0.05
    seed: int = 0
    checkpoint_seconds: float = 120.0
    report_steps: int = 1000

    def steps(self, processes: int = 1) -> int:
        """Steps of the whole run."""
        return max(1, round(self.megapixels * 1e6 / (self.pixels_per_step * processes)))

    @property
    def pixels_per_step(self) -> int:
        """Pixels of a step of one process."""
        return self.batch * self.patch**2

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of ``step`` of ``steps``."""
        warm_up = min(1.0, (step + 1) / 200)
        left = (steps - step) / max(1.0, self.cool_down * steps)
        return self.rate * warm_up * min(1.0, left)

    def rounds_at(self, step: int, steps: int) -> bool:
        """Whether ``step`` trains with rounding on."""
        return step >= steps * (1 - self.cool_down)


@dataclass(frozen=True)
class Report:
    """How a run stands.

    Attributes:
        step: steps done.
        steps: of the whole run.
        megapixels: trained on so far.
        seconds: of training so far, over all its parts.
        rate: the learning rate.
        training_bpsp: bits a sample over the steps since the last report.
        held_out_bpsp: bits a sample of the held-out images; None between the lines of the log.
    """

    step: int
    steps: int
    megapixels: float
    seconds: float
    rate: float
    training_bpsp: float
    held_out_bpsp: float | None = None


class Run:
    """A training run in a folder."""

    def __init__(
        self,
        plan: Plan,
        training: Sequence[Samples],
        held_out: Sequence[Samples],
        folder: Path,
        device: str = "cpu",
        resume: bool = False,
    ) -> None:
        """Set up the run, or take it up again from the checkpoint in ``folder``.

        Raises:
            FileNotFoundError: ``resume`` and there is no checkpoint.
            FileExistsError: not ``resume`` and there is one.
            ValueError: the checkpoint is of another network.
        """
        self.plan, self.folder = plan, folder
        self.rank, self.processes = _join_processes(device)
        self.device = _own_device(device)
        torch.manual_seed(plan.seed)
        self.network = PixelCNN(plan.config).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=plan.rate, betas=(0.9, 0.99), fused=True
        )
        self._patches = Patches(training, plan.patch, plan.batch, plan.gray_share, plan.seed)
        self._held_out = held_out
        self.step, self.seconds = 0, 0.0
        self._recent, self._recent_steps = 0.0, 0  # bits a sample since the last line of the log
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load(folder / CHECKPOINT)
        elif (folder / CHECKPOINT).exists():
            raise FileExistsError(f"{folder} holds a run already; resume it, or use another folder")
        self._forget_lines_after(self.step)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.plan.steps(self.processes)

    def train(self, tell: Callable[[Report], None]) -> None:
        """Run to the end, with a checkpoint now and then; ``tell`` is called at every step."""
        network = self._shared_network()
        start, saved = time.monotonic() - self.seconds, time.monotonic()
        while self.step < self.steps:
            rate = self.plan.rate_at(self.step, self.steps)
            self.network.quantise(self.plan.rounds_at(self.step, self.steps))
            self._recent += self._learn(network, rate)
            self._recent_steps += 1
            self.step += 1
            self.seconds = time.monotonic() - start
            report = self._report(rate)
            if self.step % self.plan.report_steps == 0 or self.step == self.steps:
                report = self._report(rate, self.validate())
                self._log(report)
                self._recent, self._recent_steps = 0.0, 0
            if self.rank == 0:
                tell(report)
            if time.monotonic() - saved > self.plan.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
        self._save()

    def validate(self) -> float:
        """Bits a sample of the held-out images."""
        with torch.no_grad():
            bits = [
                self.network(torch.from_numpy(image[None].copy())).mean().item()
                for image in self._held_out
            ]
        return float(np.mean(bits))

    def _shared_network(self) -> nn.Module:
        if self.processes == 1:
            return self.network
        return nn.parallel.DistributedDataParallel(self.network)

    def _learn(self, network: nn.Module, rate: float) -> float:
        """One step: its bits a sample."""
        patches, gray = self._patches.batch(self.step, self.rank)
        bits = network(torch.from_numpy(patches))
        counted = _counted(torch.from_numpy(gray).to(self.device))
        loss = (bits * counted).sum() / (counted.sum() * self.plan.patch**2)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.item())

    def _report(self, rate: float, held_out: float | None = None) -> Report:
        pixels = self.step * self.plan.pixels_per_step * self.processes
        mean = self._recent / self._recent_steps
        return Report(self.step, self.steps, pixels / 1e6, self.seconds, rate, mean, held_out)

    def _log(self, report: Report) -> None:
        if self.rank != 0:
            return
        path = self.folder / LOG
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(_LOG_COLUMNS)
            row = asdict(report)
            writer.writerow([_short(row[column]) for column in _LOG_COLUMNS])

    def _forget_lines_after(self, step: int) -> None:
        """Drop lines of the log that a stopped run wrote after the checkpoint."""
        path = self.folder / LOG
        if self.rank != 0 or not path.exists():
            return
        head, *lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if int(line.split(",")[0]) <= step]
        path.write_text("".join([head, *kept]))

    def _save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.rank != 0:
            return
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for i, parameter in enumerate(self.network.parameters()):
            for name, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{i}.{name}"] = value
        about = {
            "step": self.step,
            "seconds": self.seconds,
            "recent": [self._recent, self._recent_steps],
            "config": asdict(self.plan.config),
        }
        target = self.folder / CHECKPOINT
        partial = target.with_suffix(".partial")
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata={"run": json.dumps(about)})
        partial.replace(target)

    def _load(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"no checkpoint to resume from: {path}")
        with safe_open(path, framework="pt", device=str(self.device)) as file:
            about = json.loads(file.metadata()["run"])
            if about["config"] != asdict(self.plan.config):
                raise ValueError(f"{path} is of another network: {about['config']}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.network.load_state_dict(_below("network.", tensors))
        for i, parameter in enumerate(self.network.parameters()):
            self.optimiser.state[parameter] = _below(f"optimiser.{i}.", tensors)
        self.step, self.seconds = about["step"], about["seconds"]
        self._recent, self._recent_steps = about.get("recent", (0.0, 0))


def load_float_network(path: Path) -> PixelCNN:
    """The float network of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["run"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network = PixelCNN(Config(**about["config"]))
    network.load_state_dict(_below("network.", tensors))
    return network


def float_bits(checkpoint: Path, image: Samples) -> float:
    """Bits of an image, uint8 [h, w] or [h, w, 3], under the float network of a checkpoint.

    Of a gray image the first of three equal channels counts, as in coding.
    """
    samples = torch.from_numpy(np.atleast_3d(image)).expand(*image.shape[:2], 3)
    with torch.no_grad():
        bits = load_float_network(checkpoint)(samples[None].contiguous())
    return float((bits if image.ndim == 3 else bits[..., 0]).double().sum())


def _counted(gray: Tensor) -> Tensor:
    """Which channels count: all of a colour patch, the first of a gray one: [n, 1, 1, 3]."""
    counted = torch.ones(len(gray), 1, 1, 3, device=gray.device)
    counted[gray, ..., 1:] = 0
    return counted


def _own_device(device: str) -> torch.device:
    """This process's device: each of those that ``torchrun`` starts on a machine takes a GPU."""
    if device != "cuda":
        return torch.device(device)
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(own)
    return own


def _join_processes(device: str) -> tuple[int, int]:
    """Rank and count of processes, as ``torchrun`` set them."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return torch.distributed.get_rank(), processes


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
