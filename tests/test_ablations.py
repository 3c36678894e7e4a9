"""The script that runs the paper's ablations: its tables and its picture, and what it keeps."""

import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from data_files import write_cifar10, write_mnist
from pictures import noise
from pixelcodec.models.train import Run

SCRIPT = Path(__file__).parent.parent / "bench" / "ablations.py"
SMALLEST = ["--hidden", "3", "--layers", "2,1", "--megapixels", "0.003", "--batch", "2"]
RUNS = 5  # four of table 2, two of table 3, of which one is the same


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablations", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ablations = _script()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made up: MNIST and CIFAR-10 of a few images."""
    folder = tmp_path_factory.mktemp("images")
    write_mnist(folder / "train-images-idx3-ubyte", noise(6, 28, 28, 1))
    write_cifar10(folder / "data_batch_1.bin", noise(6, 32, 32, 3))
    return folder


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Those that are trained, or trained further, in a test."""
    trained: list[Run] = []

    def counted(
        run: Run, tell: Callable[..., None], train: Callable[..., None] = Run.train
    ) -> None:
        trained.append(run)
        train(run, tell)

    monkeypatch.setattr(Run, "train", counted)
    return trained


def ablate(kind: str, images: Path, output: Path, *arguments: str) -> Result:
    data = ["--data", f"{kind}:{images}", "-o", str(output)]
    return CliRunner().invoke(ablations.main, [*data, *SMALLEST, *arguments])


def test_all_tables_and_the_plot_are_made_and_nothing_runs_twice(
    images: Path, tmp_path: Path, runs: list[Run]
) -> None:
    first = ablate("mnist", images, tmp_path)
    assert first.exit_code == 0, first.output
    for title in ("Table 1: ", "Table 2: ", "Table 3: "):
        assert title in first.stdout
    assert len(runs) == first.stderr.count(" nats, ") == RUNS
    with Image.open(tmp_path / ablations.PLOT) as picture:
        assert picture.width > picture.height

    again = ablate("mnist", images, tmp_path)
    assert again.stdout == first.stdout
    assert len(runs) == RUNS


def test_the_tables_hold_the_paper_s_figures_and_those_of_the_file(
    images: Path, tmp_path: Path
) -> None:
    stdout = ablate("cifar10", images, tmp_path).stdout
    with (tmp_path / ablations.RESULTS).open(newline="") as file:
        found = {
            (row["residual"], row["skip"], row["layers"]): f"{float(row['bpsp']):.3f}"
            for row in csv.DictReader(file)
        }
    rows = [line.split() for line in stdout.splitlines()]
    assert ["no", "residual", "3.22", "3.09", *_of(found, "False")] in rows
    assert ["residual", "3.07", "3.06", *_of(found, "True")] in rows
    for layers, paper in (("1", "3.30"), ("2", "3.20")):
        assert [layers, paper, found["True", "True", layers]] in [row[:3] for row in rows]


def _of(found: dict[tuple[str, str, str], str], residual: str) -> list[str]:
    return [found[residual, skip, "2"] for skip in ("False", "True")]


def test_a_stopped_script_goes_on_where_it_was(
    images: Path, tmp_path: Path, runs: list[Run]
) -> None:
    whole = ablate("mnist", images, tmp_path, "--table", "layers")
    table = tmp_path / ablations.RESULTS
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))  # trained to the end, and stopped before it was noted
    runs.clear()

    taken_up = ablate("mnist", images, tmp_path, "--table", "layers")
    assert taken_up.stdout == whole.stdout
    assert table.read_text() == "".join(lines)
    (run,) = runs
    assert run.step == run.steps


@pytest.mark.parametrize("setting", ["--hidden=4", "--seed=1", "--architecture=pixelcnn-1"])
def test_what_determines_a_run_makes_another_one(
    setting: str, images: Path, tmp_path: Path, runs: list[Run]
) -> None:
    for arguments in ([], [setting]):
        ablate("mnist", images, tmp_path, "--table", "layers", "--layers", "1", *arguments)
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("architecture", "layers", "earlier"),
    [
        # A row of 7 ends where the pixel begins; a layer of 3x3 sees it from one pixel to the left,
        # and from the three above.
        ("pixelcnn-1", 0, 3 + 3 * 7),
        ("pixelcnn-1", 1, 4 + 8 + 3 * 9),
        # All but the last of the row above, whose own row does not know it.
        ("diagonal-bilstm-1", 1, 11 * 12 + 6 - 1),
    ],
)
def test_pixels_seen_are_the_receptive_field(architecture: str, layers: int, earlier: int) -> None:
    base = ablations.Trial("mnist", architecture, 16, layers, True, False, 1.0, 1e-3, 1, 0)
    assert ablations.pixels_seen(base.float_network(), 12) == (earlier, 11 * 12 + 6)


def test_unknown_kinds_and_missing_files_are_named(images: Path, tmp_path: Path) -> None:
    unknown = ablate("mnits", images, tmp_path)
    assert unknown.exit_code == 2
    assert "mnits" in unknown.stderr
    assert "KIND one of mnist, cifar10" in unknown.stderr

    missing = ablate("imagenet32", images, tmp_path, "--table", "layers")
    assert missing.exit_code == 1
    assert f"Error: {images}: no train_data_batch_*.npz" in missing.stderr


@pytest.mark.parametrize("layers", ["0,1", "1,two", ""])
def test_layers_must_be_counts(layers: str, images: Path, tmp_path: Path) -> None:
    result = ablate("mnist", images, tmp_path, "--layers", layers)
    assert result.exit_code == 2
    assert "not a list of counts" in result.stderr
