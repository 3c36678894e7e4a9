"""Training: images in, an integer network out.

The learning rate warms up, stays, and falls to nothing over the last part of the run, the
cool-down, in which weights and activations are rounded as they will be in the integer network
(quantisation-aware training). A run can be stopped at any moment and resumed: a checkpoint holds
weights, optimiser state and the step, and a step's batch depends on seed and step alone. Resuming
with a larger budget goes on learning at the full rate before it cools down.

Which networks there are is :mod:`pixelcodec.models.architectures`' business, where batches come
from that of :mod:`pixelcodec.models.data` and :mod:`pixelcodec.models.datasets`.

Several processes (``torchrun``) share the work by DistributedDataParallel.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelcodec.errors import ModelError
from pixelcodec.models.architectures import (
    Config,
    FloatNetwork,
    continued,
    make_config,
    make_float_network,
)
from pixelcodec.models.data import Mask, Samples, Source
from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.optimiser import Optimiser

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"
WEIGHT_LIMIT = 7.5
"""Float weights stay within this: beyond 127/16 an int8 weight has too few fractional bits."""

_FIRST_ARCHITECTURE = "wavefront-pixelcnn-1"  # of checkpoints that name none
_PIXELS_AT_ONCE = 2**15  # where nothing is learnt
_LOG_COLUMNS = ["step", "megapixels", "seconds", "rate", "training_bpsp", "held_out_bpsp"]


@dataclass(frozen=True)
class Plan:
    """All that determines a run, beside the batches.

    Attributes:
        architecture: of the network, see :mod:`pixelcodec.models.architectures`.
        config: its hyperparameters.
        megapixels: how many million pixels to train on in all.
        rate: learning rate, see :mod:`pixelcodec.models.optimiser`.
        cool_down: share of the run in which the rate falls; in its last third rounding is on.
        seed: of the weights.
        checkpoint_seconds: time between checkpoints.
        report_steps: steps between lines of the log.
    """

    architecture: str
    config: Config
    megapixels: float = 1000.0
    rate: float = 3e-3
    cool_down: float = 0.6
    seed: int = 0
    checkpoint_seconds: float = 120.0
    report_steps: int = 1000

    def steps(self, pixels: int) -> int:
        """Steps of the whole run, each of so many pixels."""
        return max(1, round(self.megapixels * 1e6 / pixels))

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of ``step`` of ``steps``."""
        warm_up = min(1.0, (step + 1) / 200)
        left = (steps - step) / max(1.0, self.cool_down * steps)
        return self.rate * warm_up * min(1.0, left)

    def rounds_at(self, step: int, steps: int) -> bool:
        """Whether ``step`` trains with rounding on."""
        return step >= steps * (1 - self.cool_down / 3)


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
        source: Source,
        held_out: Sequence[Samples],
        folder: Path,
        device: str = "cpu",
        resume: bool = False,
        start: Path | None = None,
    ) -> None:
        """Set up the run, or take it up again from the checkpoint in ``folder``.

        Args:
            plan: what to do.
            source: of batches.
            held_out: uint8 [n, height, width, channels], stacks of images of one size.
            folder: for checkpoint and log.
            device: a torch device.
            resume: whether to go on.
            start: a checkpoint to begin with, of a network that is the same or can grow to it.

        Raises:
            FileNotFoundError: ``resume`` and there is no checkpoint, or none at ``start``.
            ModelError: the network at ``start`` cannot become that of the plan.
            FileExistsError: not ``resume`` and there is one.
            ValueError: the checkpoint is of another network.
        """
        self.plan, self.folder = plan, folder
        self.rank, self.processes = _join_processes(device)
        self.device = _own_device(device)
        torch.manual_seed(plan.seed)
        network = make_float_network(plan.architecture, plan.config)
        if start and not resume:
            network = continued(load_float_network(start), plan.architecture, plan.config)
        self.network: FloatNetwork = network.to(self.device)
        self._optimiser = Optimiser(self.network, self.network.output_layers)
        self._source = source
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
        return self.plan.steps(self.pixels_per_step)

    @property
    def pixels_per_step(self) -> int:
        """Pixels of a step, of all processes."""
        return self._source.pixels * self.processes

    @property
    def megapixels(self) -> float:
        """Trained on so far."""
        return self.step * self.pixels_per_step / 1e6

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
        bits = sum(float_bits(self.network, images) for images in self._held_out)
        return bits / sum(images.size for images in self._held_out)

    def _shared_network(self) -> nn.Module:
        if self.processes == 1:
            return self.network
        return nn.parallel.DistributedDataParallel(self.network)

    def _learn(self, network: nn.Module, rate: float) -> float:
        """One step: its bits a sample."""
        images, counted = self._source.batch(self.step, self.rank)
        loss = _mean(network(torch.from_numpy(images)), counted)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step(rate)
        _limit_weights(self.network)
        return float(loss.item())

    def _report(self, rate: float, held_out: float | None = None) -> Report:
        mean = self._recent / self._recent_steps
        return Report(self.step, self.steps, self.megapixels, self.seconds, rate, mean, held_out)

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
        tensors |= {f"optimiser.{k}": v for k, v in self._optimiser.state().items()}
        about = {
            "step": self.step,
            "seconds": self.seconds,
            "recent": [self._recent, self._recent_steps],
            "architecture": self.plan.architecture,
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
        about, tensors = _read(path, str(self.device))
        if _network_of(about) != (self.plan.architecture, self.plan.config):
            raise ValueError(f"{path} is of another network: {about['config']}")
        self.network.load_state_dict(_below("network.", tensors))
        self._optimiser.load(_below("optimiser.", tensors))
        self.step, self.seconds = about["step"], about["seconds"]
        self._recent, self._recent_steps = about.get("recent", (0.0, 0))


def load_float_network(path: Path) -> FloatNetwork:
    """The float network of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: it is no checkpoint, or of a network that is not known.
    """
    about, tensors = _read(path, "cpu")
    network = make_float_network(*_network_of(about))
    network.load_state_dict(_below("network.", tensors))
    return network


def float_bits(network: FloatNetwork, images: Samples) -> float:
    """Bits of all of ``images``, uint8 [n, height, width, channels].

    A network of three channels sees gray images in all of them; the first counts, as in coding.
    """
    count, height, width, channels = images.shape
    seen = np.broadcast_to(images, (count, height, width, network.config.channels))
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    bits = 0.0
    with torch.no_grad():
        for first in range(0, count, at_once):
            part = np.array(seen[first : first + at_once])  # a copy, as torch must own it
            found = network(torch.from_numpy(part))[..., :channels]
            bits += float(found.double().sum())
    return bits


def _mean(bits: Tensor, counted: Mask) -> Tensor:
    """Mean of the bits [n, h, w, channels] of the channels that count, bool [n, channels]."""
    weights = torch.from_numpy(counted).to(bits)[:, None, None]
    return (bits * weights).sum() / (weights.sum() * bits.shape[1] * bits.shape[2])


def _limit_weights(network: nn.Module) -> None:
    """Bring weights that no integer layer could hold back to what it can."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, MaskedConv2d):
                layer.weight.clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)


def _read(path: Path, device: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the checkpoint at ``path`` says of its run, and its tensors."""
    with safe_open(path, framework="pt", device=device) as file:
        metadata = file.metadata() or {}
        if "run" not in metadata:
            raise ModelError(f"{path} is no checkpoint of a training run")
        about = json.loads(metadata["run"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _network_of(about: dict[str, Any]) -> tuple[str, Config]:
    architecture = about.get("architecture", _FIRST_ARCHITECTURE)
    return architecture, make_config(architecture, about["config"])


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
