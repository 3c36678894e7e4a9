"""The picture of a training run: bits a sample against pixels seen."""

import csv
from pathlib import Path


def plot_curve(log: Path, target: Path) -> None:
    """Draw the columns of ``log`` (CSV, see :mod:`pixelcodec.models.train`) into a PNG.

    Raises:
        ImportError: matplotlib, of the extra ``train``, is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with log.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    megapixels = [row["megapixels"] for row in rows]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(megapixels, [row["training_bpsp"] for row in rows], label="training", alpha=0.5)
    axes.plot(megapixels, [row["held_out_bpsp"] for row in rows], label="held out")
    # The first steps fall from far above; what matters is how the curve ends.
    best = min(row["held_out_bpsp"] for row in rows)
    axes.set_ylim(0.95 * best, 1.2 * best)
    axes.set_xlabel("million pixels")
    axes.set_ylabel("bits per sample")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, dpi=120)
    pyplot.close(figure)
