"""The ablations of "Pixel Recurrent Neural Networks" (van den Oord et al. 2016), smaller.

    python bench/ablations.py --data mnist:~/images/mnist -o runs/ablations

Table 1 of the paper is its architectures, table 2 residual and skip connections, table 3 the count
of layers. Every figure of the last two is a network trained from scratch, measured on the images
that are held out with weights and activations rounded, as it would code. A run that is finished is
a line of ``ablations.csv`` and is not run again; one that was stopped goes on from its checkpoint.
So give a folder of results to one data set only.

The paper trains on CIFAR-10: its figures and ours compare in shape, not in value.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import torch

from pixelcodec.cli.folders import DataFolder, data_option
from pixelcodec.cli.progress import progress_bar
from pixelcodec.cli.tables import table
from pixelcodec.errors import ModelError
from pixelcodec.models.architectures import make_config, make_float_network
from pixelcodec.models.datasets import DATA_SETS, DataSet, Training
from pixelcodec.models.paper import PaperConfig, PaperNetwork
from pixelcodec.models.train import CHECKPOINT, Plan, Report, Run
from pixelcodec.runtime import make_engine, resolve_device

RESULTS = "ablations.csv"
PLOT = "ablations.png"


@dataclass(frozen=True)
class Architecture:
    """A column of the paper's table 1.

    Attributes:
        name: in the paper.
        layer: what is inside a residual block; i-s is input to state, s-s state to state.
        config: hyperparameters beside those of all.
    """

    name: str
    layer: str
    config: Mapping[str, Any]


ARCHITECTURES = {
    "pixelcnn-1": Architecture("PixelCNN", "conv 3x3 mask B", {}),
    "row-lstm-1": Architecture("Row LSTM", "i-s 3x1 mask B, s-s 3x1", {}),
    "diagonal-bilstm-1": Architecture("Diagonal BiLSTM", "i-s 1x1 mask B, s-s 1x2", {"tile": 0}),
}

PAPER_NETWORK = "Row LSTM, h = 128, CIFAR-10"
PAPER_RESIDUAL = {
    (False, False): 3.22,
    (False, True): 3.09,
    (True, False): 3.07,
    (True, True): 3.06,
}
"""Table 2, by residual and skip: bits/dim of the validation set, 12 layers."""

PAPER_LAYERS = {1: 3.30, 2: 3.20, 3: 3.17, 6: 3.09, 9: 3.08, 12: 3.06}
"""Table 3: the same by layers, with both connections."""


@dataclass(frozen=True)
class Trial:
    """All that determines a run, beside where the images lie."""

    data: str
    architecture: str
    hidden: int
    layers: int
    residual: bool
    skip: bool
    megapixels: float
    rate: float
    batch: int
    seed: int

    def __str__(self) -> str:
        connections = [name for name in ("residual", "skip") if getattr(self, name)]
        layers = f"{self.layers} layer{'s' * (self.layers != 1)}"
        return f"{layers}, {' and '.join(connections) or 'no connections'}"

    @property
    def network(self) -> str:
        """What all runs of a table have in common."""
        name = ARCHITECTURES[self.architecture].name
        return f"{name}, h = {self.hidden}, {self.data}, {self.megapixels:g} megapixels a run"

    @property
    def config(self) -> PaperConfig:
        """Hyperparameters of the network."""
        data = DATA_SETS[self.data]
        values = {
            "channels": data.channels,
            "bit_depth": data.bit_depth,
            "hidden": self.hidden,
            "head": 2 * self.hidden,
            **{name: getattr(self, name) for name in ("layers", "residual", "skip")},
            **ARCHITECTURES[self.architecture].config,
        }
        config = make_config(self.architecture, values)
        assert isinstance(config, PaperConfig)
        return config

    def float_network(self) -> PaperNetwork:
        """The network with random weights."""
        torch.manual_seed(self.seed)
        network = make_float_network(self.architecture, self.config)
        assert isinstance(network, PaperNetwork)
        return network


@dataclass(frozen=True)
class Result:
    """What a run gave: bits a sample of the held-out images, and seconds of training."""

    bpsp: float
    parameters: int
    macs_per_pixel: int
    seconds: float


class Results:
    """Those of finished runs, in a file: a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[str, ...], Result] = {}
        if path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    key = tuple(row[field.name] for field in fields(Trial))
                    values = (float(row["bpsp"]), int(row["parameters"]))
                    more = (int(row["macs_per_pixel"]), float(row["seconds"]))
                    self._found[key] = Result(*values, *more)

    def __contains__(self, trial: Trial) -> bool:
        return _key(trial) in self._found

    def __getitem__(self, trial: Trial) -> Result:
        return self._found[_key(trial)]

    def __setitem__(self, trial: Trial, result: Result) -> None:
        row = asdict(trial) | asdict(result)
        new = not self._path.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row.keys())
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._found[_key(trial)] = result


def _key(trial: Trial) -> tuple[str, ...]:
    return tuple(map(str, astuple(trial)))


def train(
    trial: Trial, training: Training, folder: Path, device: str, tell: Callable[[Report], None]
) -> Result:
    """Run ``trial``, or go on where it was stopped; checkpoint and log go into ``folder``."""
    sizes = (trial.architecture, trial.config, trial.megapixels, trial.rate)
    plan = Plan(*sizes, seed=trial.seed, checkpoint_seconds=30.0)
    resume = (folder / CHECKPOINT).exists()
    run = Run(plan, training.source, training.held_out, folder, device, resume)
    run.train(tell)
    run.network.quantise()
    bpsp = run.validate()
    network = run.network.cpu().integer_network()
    seconds = round(run.seconds, 1)
    return Result(round(bpsp, 6), network.parameters, network.macs_per_pixel, seconds)


def train_all(
    trials: Sequence[Trial],
    results: Results,
    read: Callable[[], Training],
    folder: Path,
    device: str,
) -> None:
    """Run those of ``trials`` that have no result."""
    missing = [trial for trial in trials if trial not in results]
    if not missing:
        return
    training = read()
    for number, trial in enumerate(missing, 1):
        label = f"{number} of {len(missing)}: {trial}"
        with progress_bar(label) as show:

            def tell(report: Report, show: Callable[[int, int], None] | None = show) -> None:
                if show:
                    whole = 1e6 * report.megapixels * report.steps / report.step
                    show(round(1e6 * report.megapixels), round(whole))

            result = train(trial, training, folder / "-".join(_key(trial)), device, tell)
        results[trial] = result
        score, unit = in_unit(result.bpsp, DATA_SETS[trial.data])
        speed = trial.megapixels / max(result.seconds, 0.1)
        click.echo(
            f"{label}: {score} {unit}, {result.seconds:.0f} s, {speed:.3f} megapixels/s", err=True
        )


def in_unit(bpsp: float, data: DataSet) -> tuple[str, str]:
    """Bits a sample as the paper gives them: nats an image where samples are of one bit."""
    if data.bit_depth == 1:
        return f"{bpsp * data.side**2 * data.channels * math.log(2):.2f}", "nats"
    return f"{bpsp:.3f}", "bits/dim"


# Tables ------------------------------------------------------------------------------------------


def residual_trials(base: Trial) -> dict[tuple[bool, bool], Trial]:
    """The runs of table 2, by residual and skip."""
    return {key: replace(base, residual=key[0], skip=key[1]) for key in PAPER_RESIDUAL}


def layers_trials(base: Trial, layers: Sequence[int]) -> dict[int, Trial]:
    """The runs of table 3, by layers."""
    return {count: replace(base, layers=count) for count in layers}


def architectures_table(base: Trial) -> str:
    """The paper's table 1, and what our networks of that form take."""
    data = DATA_SETS[base.data]
    levels = 1 << data.bit_depth
    block = f"{base.layers} layers, {2 * base.hidden} maps, {base.hidden} inside"
    columns = []
    for name, architecture in ARCHITECTURES.items():
        trial = replace(base, architecture=name)
        float_network = trial.float_network()
        network = float_network.integer_network()
        seen, earlier = pixels_seen(float_network, data.side)
        slope = make_engine(network, device="cpu").program.slope
        columns.append(
            [
                "conv 7x7 mask A",
                architecture.layer,
                "ReLU, conv 1x1 mask B",
                f"softmax, {levels} levels",
                f"{network.parameters:,}",
                f"{network.macs_per_pixel:,}",
                f"{seen} of {earlier}",
                f"x + {slope}y" if slope else "single pixels",
            ]
        )
    names = [
        "first",
        block,
        "then, twice",
        "of a channel",
        "parameters",
        "MACs a pixel",
        "earlier pixels seen",
        "coded together",
    ]
    head = ["", *(architecture.name for architecture in ARCHITECTURES.values())]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    title = f"Table 1: architectures, for {base.data}"
    notes = (
        "Kernels are the paper's; it has a sigmoid where samples are of one bit. Pixels seen are\n"
        "those before the middle of the last row, by the gradient."
    )
    return f"{title}\n\n{table(head, rows, left=range(4))}\n\n{notes}"


def pixels_seen(network: PaperNetwork, side: int) -> tuple[int, int]:
    """How many pixels the one in the middle of the last row depends on, of all before it."""
    shape = (8, network.config.channels, side, side)  # what one image shuts another one opens
    samples = torch.randn(shape, dtype=torch.bfloat16).requires_grad_()
    logits = network.head_of(network.trunk(samples))
    logits[..., -1, side // 2].float().abs().sum().backward()  # type: ignore[no-untyped-call]
    assert samples.grad is not None
    earlier = (side - 1) * side + side // 2
    seen = (samples.grad != 0).any(1).any(0).flatten()[:earlier]
    return int(seen.sum()), earlier


def residual_table(base: Trial, results: Results) -> str:
    """The paper's table 2 beside ours."""
    data, trials = DATA_SETS[base.data], residual_trials(base)
    rows = []
    for residual, name in ((False, "no residual"), (True, "residual")):
        paper = [f"{PAPER_RESIDUAL[residual, skip]:.2f}" for skip in (False, True)]
        ours = [in_unit(results[trials[residual, skip]].bpsp, data)[0] for skip in (False, True)]
        rows.append([name, *paper, *ours])
    unit = in_unit(0.0, data)[1]
    head = ["", "paper: no skip", "skip", "here: no skip", "skip"]
    title = f"Table 2: residual and skip connections, {base.layers} layers"
    return f"{_under(title, base, unit, ', 12 layers')}\n\n{table(head, rows)}"


def layers_table(base: Trial, layers: Sequence[int], results: Results) -> str:
    """The paper's table 3 beside ours."""
    data = DATA_SETS[base.data]
    rows = []
    for count, trial in layers_trials(base, layers).items():
        result = results[trial]
        paper = f"{PAPER_LAYERS[count]:.2f}" if count in PAPER_LAYERS else "-"
        costs = f"{result.parameters:,}", f"{result.macs_per_pixel:,}", f"{result.seconds:,.0f}"
        rows.append([str(count), paper, in_unit(result.bpsp, data)[0], *costs])
    head = ["layers", "paper", "here", "parameters", "MACs a pixel", "seconds"]
    title = "Table 3: layers, with residual and skip connections"
    return f"{_under(title, base, in_unit(0.0, data)[1])}\n\n{table(head, rows, left=())}"


def _under(title: str, base: Trial, unit: str, more: str = "") -> str:
    return f"{title}\nhere: {base.network}, {unit}\npaper: {PAPER_NETWORK}{more}, bits/dim"


# Plot --------------------------------------------------------------------------------------------


def plot(
    base: Trial, layers: Sequence[int], results: Results, panels: Sequence[str], target: Path
) -> None:
    """Draw the tables named in ``panels`` side by side into a PNG.

    Raises:
        ImportError: matplotlib, of the extra ``train``, is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shape = (5.6 * len(panels), 4.4)
    figure, axes = pyplot.subplots(1, len(panels), figsize=shape, layout="constrained")
    for panel, own in zip(panels, [axes] if len(panels) == 1 else axes, strict=True):
        if panel == "residual":
            _plot_residual(own, base, results)
        else:
            _plot_layers(own, base, layers, results)
    figure.suptitle(f"{base.network}\n(paper: {PAPER_NETWORK})", fontsize="medium")
    figure.savefig(target, dpi=120)
    pyplot.close(figure)


def _plot_residual(axes: Any, base: Trial, results: Results) -> None:
    """Bars that begin at nothing, of units that differ: by how much more than with both."""
    data, trials = DATA_SETS[base.data], residual_trials(base)
    unit = in_unit(0.0, data)[1]
    ours = {key: results[trial].bpsp for key, trial in trials.items()}
    labels = {key: in_unit(bits, data)[0] for key, bits in ours.items()}
    paper_labels = {key: f"{bits:.2f}" for key, bits in PAPER_RESIDUAL.items()}
    series = (
        (f"here, {unit}", ours, labels, "C0", -0.2),
        ("paper, bits/dim", PAPER_RESIDUAL, paper_labels, "C1", 0.2),
    )
    for name, bits, texts, colour, shift in series:
        more = [100 * (value / bits[True, True] - 1) for value in bits.values()]
        places = [place + shift for place in range(len(more))]
        bars = axes.bar(places, more, 0.38, label=name, color=colour)
        axes.bar_label(bars, list(texts.values()), padding=2, fontsize="small")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(ours)), ["neither", "skip", "residual", "both"])
    axes.margins(y=0.15)
    axes.set_ylabel("more than with both, %")
    axes.set_title(f"Residual and skip connections, {base.layers} layers", fontsize="medium")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend()


def _plot_layers(axes: Any, base: Trial, layers: Sequence[int], results: Results) -> None:
    """Two curves, each on its own axis."""
    data, trials = DATA_SETS[base.data], layers_trials(base, layers)
    scores = [float(in_unit(results[trial].bpsp, data)[0]) for trial in trials.values()]
    unit = in_unit(0.0, data)[1]
    other = axes.twinx()
    lines = axes.plot(trials.keys(), scores, "o-", color="C0", label=f"here, {unit}")
    lines += other.plot(
        PAPER_LAYERS.keys(), PAPER_LAYERS.values(), "s--", color="C1", label="paper, bits/dim"
    )
    for own, line in zip((axes, other), lines, strict=True):
        own.set_ylabel(line.get_label(), color=line.get_color())
        own.tick_params(axis="y", colors=line.get_color())
    axes.set_xticks(sorted({*trials, *PAPER_LAYERS}))
    axes.set_xlabel("layers")
    axes.set_title("Layers, with residual and skip connections", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(handles=lines)


# Command -----------------------------------------------------------------------------------------


def _counts(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    counts = [int(word) if word.isdecimal() else 0 for word in value.split(",")]
    if min(counts) < 1:
        raise click.BadParameter(f"{value} is not a list of counts such as 1,2,3")
    return tuple(sorted(set(counts)))


@click.command()
@data_option("The data set to train on.", needs_kind=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help=f"Where {RESULTS}, {PLOT} and the runs go.",
)
@click.option(
    "--table",
    "chosen",
    type=click.Choice(["architectures", "residual", "layers", "all"]),
    default="all",
    show_default=True,
    help="Table 1, 2 or 3.",
)
@click.option(
    "--architecture",
    type=click.Choice(list(ARCHITECTURES)),
    default="row-lstm-1",
    show_default=True,
    help="Of tables 2 and 3; the paper's are of Row LSTM.",
)
@click.option(
    "--hidden", type=click.IntRange(min=3), default=8, show_default=True, help="The paper's h."
)
@click.option(
    "--layers",
    callback=_counts,
    default="1,2,3,6,9,12",
    show_default=True,
    metavar="N,...",
    help="Of table 3; the most of them in tables 1 and 2.",
)
@click.option(
    "--megapixels",
    type=click.FloatRange(min=0, min_open=True),
    default=16.0,
    show_default=True,
    help="Length of each run.",
)
@click.option("--rate", type=float, default=4e-3, show_default=True, help="Learning rate.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images of a step."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("-T", "--threads", type=click.IntRange(min=1), default=1, show_default=True)
def main(
    data: DataFolder | None,
    output: Path,
    chosen: str,
    layers: tuple[int, ...],
    device: str,
    threads: int,
    **settings: Any,
) -> None:
    """Run the paper's ablations, print its tables beside ours, and draw them.

    Runs that FOLDER holds already are not run again.
    """
    if data is None or data.kind is None:
        raise click.UsageError("give --data KIND:FOLDER")
    kind, images = data.kind, data.folder.expanduser()
    torch.set_num_threads(threads)
    base = Trial(data=kind, layers=layers[-1], residual=True, skip=True, **settings)
    panels = [name for name in ("residual", "layers") if chosen in (name, "all")]
    trials = {
        "residual": list(residual_trials(base).values()),
        "layers": list(layers_trials(base, layers).values()),
    }
    # Table 3's come first, as they begin with the small ones; one run is in both.
    wanted = dict.fromkeys(trial for name in reversed(panels) for trial in trials[name])

    def read() -> Training:
        return DATA_SETS[kind].training(images, base.batch, base.seed)

    try:
        if chosen in ("architectures", "all"):
            click.echo(architectures_table(base) + "\n")
        results = Results(output / RESULTS)
        train_all(list(wanted), results, read, output, resolve_device(device))
    except (OSError, ModelError) as error:  # they say what they mean
        raise click.ClickException(str(error)) from error
    if "residual" in panels:
        click.echo(residual_table(base, results) + "\n")
    if "layers" in panels:
        click.echo(layers_table(base, layers, results) + "\n")
    if panels:
        try:
            plot(base, layers, results, panels, output / PLOT)
        except ImportError:
            click.echo("no plot: install pixelcodec[train]", err=True)


if __name__ == "__main__":
    main()
