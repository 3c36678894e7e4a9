"""Recipes, and the commands that train by them and measure what came out as the paper does."""

import csv
import json
import math
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pixelcodec
from coding import random_network
from commands import assert_fails_in_one_line, names, run, save
from data_files import write_cifar10, write_mnist, write_mosaic
from pictures import noise, scene
from pixelcodec.effort import STATIC
from pixelcodec.errors import ModelError
from pixelcodec.evaluation import PAPER, mosaic_of
from pixelcodec.exact import check_no_overflow
from pixelcodec.models import recipes, train, zoo
from pixelcodec.models.architectures import ARCHITECTURES, FloatNetwork, make_float_network
from pixelcodec.models.datasets import DATA_SETS, WholeImages
from pixelcodec.models.train import load_float_network
from pixelcodec.models.wavefront_pixelcnn import Config

COLOUR = Config(width=8, hidden=8, blocks=1, head=4, components=1)

pytestmark = pytest.mark.usefixtures("folder")


# Recipes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_fits_together(name: str) -> None:
    recipe = recipes.load(name)
    recipes.check_data(recipe.data, recipe.config)
    assert recipe.name == name
    assert recipe.description
    assert recipe.megapixels > 0
    assert 0 < recipe.rate < 0.1
    tile = getattr(recipe.config, "tile", 0)
    assert tile in (0, DATA_SETS[recipe.data].side)


@pytest.mark.parametrize("name", [name for name in recipes.names() if not name.startswith("paper")])
def test_the_network_of_a_recipe_takes_its_data(name: str) -> None:
    recipe = recipes.load(name)
    data = DATA_SETS[recipe.data]
    images = noise(2, data.side, data.side, data.channels)
    batch, _ = WholeImages(images, 2, 0, data.bit_depth).batch(0)
    network = make_float_network(recipe.architecture, recipe.config)
    assert torch.isfinite(network(torch.from_numpy(batch))).all()


@pytest.mark.parametrize("name", recipes.names())
def test_no_sum_of_its_network_overflows(name: str) -> None:
    recipe = recipes.load(name)
    network = make_float_network(recipe.architecture, recipe.config).integer_network()
    for layer in network.layers.values():
        check_no_overflow(layer)


def test_there_is_a_recipe_for_each_of_the_papers_networks() -> None:
    found = {(recipe.data, recipe.architecture) for recipe in map(recipes.load, recipes.names())}
    assert found >= PAPER.keys()


def test_a_recipe_that_there_is_not_is_named() -> None:
    with pytest.raises(ModelError, match="no recipe 'cake'; there are cifar-"):
        recipes.load("cake")


def test_data_that_a_network_cannot_learn_is_refused() -> None:
    digits = recipes.load("mnist-pixelcnn").config
    for kind, config in (("cifar10", digits), ("mnist", COLOUR)):
        with pytest.raises(ModelError, match=f"{kind} has images of"):
            recipes.check_data(kind, config)


# train -------------------------------------------------------------------------------------------


def write_digits(folder: Path, train_count: int = 40, test_count: int = 6) -> None:
    """Something like MNIST: strokes on black."""
    folder.mkdir(parents=True)
    for part, count in (("train", train_count), ("t10k", test_count)):
        strokes = [scene(28, 28, seed=seed) > 130 for seed in range(count)]
        digits = (255 * np.stack(strokes)[..., None]).astype(np.uint8)
        write_mnist(folder / f"{part}-images-idx3-ubyte.gz", digits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder in which a network was trained by a recipe, and the command's result."""
    folder = tmp_path_factory.mktemp("training")
    data = tmp_path_factory.mktemp("elsewhere") / "digits"
    write_digits(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run(
            *("train", "--recipe", "mnist-pixelcnn", "--data", data, "-o", "digits.safetensors"),
            *("--megapixels", 0.02, "--batch", 4, "-T", 1),
        )
    return SimpleNamespace(folder=folder, data=data, result=result)


def test_train_by_a_recipe(trained: SimpleNamespace) -> None:
    assert trained.result.exit_code == 0, trained.result.output
    assert trained.result.stdout == ""
    assert names(trained.folder) == {"digits.safetensors", "digits.json", "runs"}
    network = zoo.load_file(trained.folder / "digits.safetensors")
    recipe = recipes.load("mnist-pixelcnn")
    assert network.architecture == recipe.architecture
    (line,) = csv.DictReader((trained.folder / "runs/digits/log.csv").read_text().splitlines())
    assert float(line["megapixels"]) == pytest.approx(0.02, rel=0.1)


def test_the_card_tells_recipe_data_and_command_and_not_where_things_are(
    trained: SimpleNamespace,
) -> None:
    text = (trained.folder / "digits.json").read_text()
    card = json.loads(text)
    assert str(trained.data.parent) not in text
    assert card["recipe"] == "mnist-pixelcnn"
    assert card["data"] == "mnist, 40 images, the last 2 held out"
    assert shlex.split(card["command"]) == [
        *("pixelcodec", "train", "--recipe", "mnist-pixelcnn", "--data", "digits"),
        *("--output", "digits.safetensors", "--megapixels", "0.02", "--batch", "4"),
        *("--threads", "1"),
    ]


def test_a_folder_above_this_one_is_not_told_either(trained: SimpleNamespace, folder: Path) -> None:
    write_digits(folder / "a secret" / "digits", 4)
    below = folder / "below"
    below.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        result = run(
            *("train", "--recipe", "mnist-pixelcnn", "--data", "mnist:../a secret/digits"),
            *("-o", "x.safetensors", "--megapixels", 1e-3, "--batch", 1, "-q"),
        )
    assert result.exit_code == 0, result.output
    assert "--data mnist:digits" in json.loads((below / "x.json").read_text())["command"]


def test_the_kind_of_the_data_can_be_another(folder: Path) -> None:
    write_mosaic(folder / "some-train-40.png", np.stack([scene(32, 32, 3, seed=1)] * 40))
    result = run(
        *("train", "--recipe", "cifar-pixelcnn", "--data", "mosaic:.", "-o", "x.safetensors"),
        *("--megapixels", 0.002, "--batch", 1, "-q"),
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path("x.json").read_text())["data"].startswith("mosaic, 40 images")


def test_several_data_sets_share_each_batch(folder: Path) -> None:
    write_mosaic(folder / "some-train-40.png", np.stack([scene(32, 32, 3, seed=1)] * 40))
    Path("photos").mkdir()
    Image.fromarray(scene(140, 140, 3)).save("photos/one.png")
    result = run(
        *("train", "--recipe", "cifar-pixelcnn", "--data", "mosaic:.", "--data", "photos32:photos"),
        *("-o", "x.safetensors", "--megapixels", 0.002, "--batch", 2, "-q"),
    )
    assert result.exit_code == 0, result.output
    card = json.loads(Path("x.json").read_text())
    assert card["data"].startswith("mosaic, 40 images, the last 2 held out; photos32, 1 photo")
    assert "--data mosaic:. --data photos32:photos" in card["command"]


def test_a_recipe_begins_with_the_weights_of_a_run(trained: SimpleNamespace) -> None:
    start = trained.folder / "runs/digits" / train.CHECKPOINT
    options = ("--recipe", "mnist-pixelcnn", "--data", trained.data, "--megapixels", 1e-3)
    outputs = ("-o", "next.safetensors", "--rate", 1e-9, "--batch", 1, "--run", "here", "-q")
    result = run("train", *options, *outputs, "--start", start)
    assert result.exit_code == 0, result.output
    first = json.loads((trained.folder / "digits.json").read_text())["held_out_bpsp"]
    second = json.loads(Path("next.json").read_text())["held_out_bpsp"]
    assert second["integer"] == pytest.approx(first["integer"], abs=1e-3)
    assert names(Path("here")) >= {train.CHECKPOINT, train.LOG}


def test_train_lists_the_recipes() -> None:
    result = run("train", "--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == recipes.names()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give folders of images, or --recipe and --data"),
        (("--recipe", "mnist-pixelcnn"), "--recipe and --data go together"),
        (("--data", "mnist:digits"), "--recipe and --data go together"),
        (("photos", "--recipe", "mnist-pixelcnn", "--data", "digits"), "takes no FOLDERS"),
        (("--preset", "photo-s", "--recipe", "x", "--data", "y"), "takes no --preset"),
        (("--width", "9", "--recipe", "x", "--data", "y"), "takes no --width"),
        (("photos", "-o", "model.bin"), "does not end in .safetensors"),
    ],
)
def test_usage_of_train(arguments: tuple[str, ...], message: str) -> None:
    output = () if "-o" in arguments else ("-o", "x.safetensors")
    result = run("train", *arguments, *output)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "cake", "--data", "digits"), "no recipe 'cake'"),
        (("--recipe", "mnist-pixelcnn", "--data", "nowhere"), "no folder nowhere"),
        (("--recipe", "mnist-pixelcnn", "--data", "."), ".: no train-images-idx3-ubyte"),
        (("--recipe", "mnist-pixelcnn", "--data", "mosaic:."), "mosaic has images of"),
    ],
)
def test_train_says_what_is_wrong(arguments: tuple[str, ...], message: str) -> None:
    result = run("train", *arguments, "-o", "x.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"pixelcodec: {message}")
    assert result.stderr.count("\n") == 1
    assert names(Path()) == set()


@pytest.mark.parametrize("existing", ["x.safetensors", "x.json"])
def test_train_overwrites_nothing_before_it_is_told_to(folder: Path, existing: str) -> None:
    write_digits(folder / "digits", 4)
    Path(existing).write_text("mine")
    arguments = (
        *("train", "--recipe", "mnist-pixelcnn", "--data", "digits", "-o", "x.safetensors"),
        *("--megapixels", 1e-3, "--batch", 1, "-q"),
    )
    result = run(*arguments)
    assert_fails_in_one_line(result, existing)
    assert "-f overwrites it" in result.stderr
    assert names(folder) == {"digits", existing}
    assert Path(existing).read_text() == "mine"
    assert run(*arguments, "-f").exit_code == 0
    zoo.load_file(Path("x.safetensors"))


# eval --------------------------------------------------------------------------------------------


def evaluated(*arguments: object) -> Any:
    result = run("eval", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_digits_are_measured_in_nats_an_image_of_one_file(trained: SimpleNamespace) -> None:
    model = str(trained.folder / "digits.safetensors")
    checkpoint = trained.folder / "runs/digits" / train.CHECKPOINT
    facts = evaluated("--data", f"mnist:{trained.data}", "-m", model, "--checkpoint", checkpoint)

    digits = DATA_SETS["mnist"].test(trained.data)
    data = pixelcodec.encode(mosaic_of(digits)[..., 0].astype(bool), model=model, tile=28)
    assert facts["file_bytes"] == len(data)
    assert facts["file"] == pytest.approx(8 * len(data) * math.log(2) / 6)
    assert 0 < facts["model"] < facts["file"] < facts["model"] + 8 * 200 * math.log(2) / 6
    assert facts["float"] == pytest.approx(facts["model"], rel=0.05)
    assert (facts["images"], facts["samples"]) == (6, 6 * 28 * 28)
    assert facts["unit"] == "nats an image"
    assert facts["paper"] == 81.30


def test_the_first_images_alone_can_be_measured(trained: SimpleNamespace) -> None:
    arguments = ("--data", f"mnist:{trained.data}", "-m", trained.folder / "digits.safetensors")
    one, two, all_six = (
        evaluated(*arguments, *count) for count in (("--images", 1), ("--images", 2), ())
    )
    assert [facts["images"] for facts in (one, two, all_six)] == [1, 2, 6]
    assert one["model"] < 2 * two["model"]  # nats of the first, and of both
    assert evaluated(*arguments, "--images", 100) == all_six


def test_the_float_network_is_loaded_once(
    trained: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(path: Path) -> FloatNetwork:
        loaded.append(path)
        return load_float_network(path)

    monkeypatch.setattr(train, "load_float_network", load)
    files = [save(scene(9, 11, seed=seed) > 100, f"{seed}.png") for seed in range(3)]
    model = trained.folder / "digits.safetensors"
    checkpoint = trained.folder / "runs/digits" / train.CHECKPOINT
    found = evaluated(*files, "-m", model, "--checkpoint", checkpoint)
    assert loaded == [checkpoint]
    for facts in found:
        assert facts["float_bpsp"] == pytest.approx(facts["model_bpsp"], rel=0.1)


@pytest.fixture
def colour_model(folder: Path) -> str:
    zoo.save_network(random_network(COLOUR, seed=1), folder / "colour.safetensors")
    return "colour.safetensors"


def test_colours_are_measured_in_bits_per_dimension(colour_model: str) -> None:
    images = noise(7, 32, 32, 3)
    write_cifar10(Path("test_batch.bin"), images)
    facts = evaluated("--data", "cifar10:.", "-m", colour_model)
    data = pixelcodec.encode(mosaic_of(images), model=colour_model, tile=32, effort=STATIC)
    assert facts["unit"] == "bits per dimension"
    assert facts["file"] == pytest.approx(8 * len(data) / images.size)
    assert facts["model"] == pytest.approx(facts["file"], rel=0.01)
    assert (facts["float"], facts["paper"]) == (None, None)  # no checkpoint, not the paper's


def test_eval_shows_a_table(trained: SimpleNamespace) -> None:
    arguments = ("--data", f"mnist:{trained.data}", "-m", trained.folder / "digits.safetensors")
    result = run("eval", *arguments)
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split("  ")[0] == "mnist, 6 images"
    assert head.endswith("nats an image")
    facts = evaluated(*arguments)
    assert [row.rsplit(None, 1) for row in rows] == [
        ["integer network", f"{facts['model']:.2f}"],
        ["file", f"{facts['file']:.2f}"],
        ["PixelRNN paper, all images", "81.30"],
    ]


def test_the_papers_figures_are_of_networks_that_train() -> None:
    for kind, architecture in PAPER:
        assert kind in DATA_SETS
        assert architecture in ARCHITECTURES


def test_eval_refuses_a_model_of_other_samples(trained: SimpleNamespace, colour_model: str) -> None:
    write_cifar10(Path("test_batch.bin"), noise(2, 32, 32, 3))
    digits = trained.folder / "digits.safetensors"
    for data, model in ((f"mnist:{trained.data}", colour_model), ("cifar10:.", digits)):
        result = run("eval", "--data", data, "-m", model)
        assert_fails_in_one_line(result, data.partition(":")[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either images or --data"),
        (("a.png", "--data", "mnist:."), "give either images or --data"),
        (("a.png", "--images", "3"), "--images goes with --data"),
        (("--data", "digits"), "KIND one of mnist, cifar10"),
        (("--data", "letters:digits"), "KIND one of mnist, cifar10"),
    ],
)
def test_usage_of_eval(arguments: tuple[str, ...], message: str) -> None:
    result = run("eval", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
