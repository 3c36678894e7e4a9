"""The models that are shipped: each is what its card says, and codes the images that it is for."""

import numpy as np
import pytest

import pixelcodec
from pictures import scene
from pixelcodec import sampling
from pixelcodec.models import zoo
from pixelcodec.models.architectures import make_config

EACH_MODEL = pytest.mark.parametrize("name", zoo.names())


@EACH_MODEL
def test_a_card_is_of_its_model(name: str) -> None:
    card, network = zoo.card(name), zoo.load(name)
    assert card["name"] == name
    assert card["sha256"] == network.sha256
    assert card["architecture"] == network.architecture
    assert card["config"] == network.config
    assert card["parameters"] == network.parameters
    assert card["macs_per_pixel"] == network.macs_per_pixel
    assert card.keys() >= {"summary", "data", "command", "training", "held_out_bpsp"}


@EACH_MODEL
def test_what_it_draws_it_codes_in_fewer_bits_than_samples_have(name: str) -> None:
    (drawn,) = sampling.sample(name, size=(28, 28))
    data = pixelcodec.encode(drawn, model=name)
    np.testing.assert_array_equal(pixelcodec.decode(data), drawn, strict=True)
    network = zoo.load(name)
    config = make_config(network.architecture, network.config)
    assert 8 * (len(data) - 80) < 0.9 * config.bit_depth * drawn.size


@pytest.mark.parametrize("name", zoo.everyday())
def test_everyday_models_code_images_of_their_kind(name: str) -> None:
    network = zoo.load(name)
    config = make_config(network.architecture, network.config)
    image = np.dstack([scene(20, 30), scene(20, 30, 3)])[..., : config.channels].squeeze()
    image = image.astype(np.uint16) * 257 if config.bit_depth == 16 else image
    data = pixelcodec.encode(image, model=name)
    np.testing.assert_array_equal(pixelcodec.decode(data), image)
