"""Models that are fitted to the image: smaller files, which decode to the same samples."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pixelcodec
from coding import TINY, random_network
from pictures import Samples, noise, scene
from pixelcodec import container
from pixelcodec.effort import DEFAULT_EFFORT, EFFORTS, MAX_EFFORT, STATIC, effort_of
from pixelcodec.engine import Engine
from pixelcodec.evaluation import model_bits
from pixelcodec.fitting import LEAST_PIXELS, LOOKED_AT, TILE, fitted, look
from pixelcodec.models import zoo
from pixelcodec.models.changes import changed
from pixelcodec.models.fine_tuning import Budget, Seen, fit_heads
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.wavefront_pixelcnn import WavefrontPixelCNN

SIDE = 256
MODEL = "photo-s"
FITTED = next(number for number, effort in EFFORTS.items() if effort.budget)
assert SIDE**2 >= LEAST_PIXELS


def striped(*shape: int) -> Samples:
    """What no network expects: every other column is lighter."""
    lighter = np.arange(shape[1]) % 2 * 60
    return (scene(*shape) // 2 + lighter.reshape(1, -1, *[1] * len(shape[2:]))).astype(np.uint8)


def changes_in(data: bytes) -> int:
    return len(container.Reader(io.BytesIO(data)).start.changes)


def encode(image: Samples, effort: int = FITTED, **how: object) -> bytes:
    return pixelcodec.encode(image, model=MODEL, effort=effort, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 3)], ids=["gray", "RGB"])
def test_a_model_that_learnt_from_the_image_makes_a_smaller_file(shape: tuple[int, ...]) -> None:
    image = striped(*shape)
    data = encode(image)
    assert changes_in(data) > 0
    assert len(data) < 0.995 * len(encode(image, STATIC))
    np.testing.assert_array_equal(pixelcodec.decode(data), image)


def test_an_image_that_is_read_only_is_fitted_to() -> None:
    image = striped(SIDE, SIDE, 3)
    expected = encode(image)
    image.flags.writeable = False
    assert encode(image) == expected


def test_alpha_is_not_learnt_from() -> None:
    image = np.dstack([scene(SIDE, SIDE, 3), noise(SIDE, SIDE, 1)])
    data = encode(image)
    assert changes_in(data) > 0
    np.testing.assert_array_equal(pixelcodec.decode(data), image)


@pytest.mark.parametrize("backend", ["int8", "float32", "int64"])
def test_every_back_end_decodes_it(backend: str) -> None:
    image = striped(SIDE, SIDE)
    data = encode(image)
    corner = pixelcodec.decode(data, backend=backend, region=(0, 0, SIDE, 8))
    np.testing.assert_array_equal(corner, image[:8])


def test_independent_strips_have_the_changes_too() -> None:
    image = striped(SIDE, SIDE)
    data = encode(image, strip_rows=64, restart=True)
    assert changes_in(data) > 0
    np.testing.assert_array_equal(
        pixelcodec.decode(data, region=(3, 70, 100, 9)), image[70:79, 3:103]
    )


def test_a_stream_learns_from_its_first_strip() -> None:
    image = striped(SIDE, SIDE)
    encoder = pixelcodec.Encoder(
        width=SIDE, height=SIDE, channels=1, model=MODEL, effort=FITTED, strip_rows=192
    )
    data = b"".join(encoder.write(rows) for rows in np.array_split(image, 8)) + encoder.finish()
    assert changes_in(data) > 0
    np.testing.assert_array_equal(pixelcodec.decode(data), image)


def test_what_does_not_pay_is_left_out() -> None:
    engine, rows = Engine(zoo.load(MODEL)), striped(SIDE, SIDE)[..., None]
    budget = Budget(steps=9)
    assert fitted(engine, rows, rows.size, budget, lambda pixels: None) != b""
    assert fitted(engine, rows, 99, budget, lambda pixels: None) == b""


@pytest.mark.parametrize(
    ("image", "how"),
    [
        (scene(SIDE, SIDE - 1), {"model": MODEL, "effort": FITTED}),
        (scene(SIDE, SIDE), {"model": MODEL, "effort": STATIC}),
        (scene(SIDE, SIDE), {"model": MODEL, "effort": FITTED - 1}),
        (scene(SIDE, SIDE), {"model": "standard", "effort": FITTED}),
        (scene(SIDE, SIDE) > 99, {"model": "mnist-row-lstm", "effort": FITTED}),
    ],
    ids=["too small", "no effort", "less effort", "no model", "a model that does not learn"],
)
def test_nothing_is_learnt(image: Samples, how: dict[str, object]) -> None:
    assert changes_in(pixelcodec.encode(image, **how)) == 0  # type: ignore[arg-type]


def test_progress_counts_what_is_learnt_from() -> None:
    told: list[tuple[int, int]] = []
    encode(scene(SIDE, SIDE), progress=lambda done, total: told.append((done, total)))
    budget = EFFORTS[FITTED].budget
    assert budget is not None
    total = SIDE**2 + budget.steps * budget.pixels
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_info_says_so() -> None:
    data = encode(scene(SIDE, SIDE))
    assert pixelcodec.inspect(io.BytesIO(data)).changes_bytes == changes_in(data)


@pytest.mark.parametrize("effort", [0, 11, -1, "best"])
def test_an_effort_that_there_is_not_is_refused(effort: Any) -> None:
    message = rf"effort {effort!r}: choose 1 \(fastest\) to 9 \(smallest\), or 'max'$"
    with pytest.raises(ValueError, match=message):
        pixelcodec.encode(scene(8, 8), effort=effort)


def test_max_is_the_most_effort_and_a_number_too() -> None:
    assert effort_of("max") is effort_of(MAX_EFFORT) is EFFORTS[max(EFFORTS)]
    image = scene(8, 8)
    assert pixelcodec.encode(image, effort="max") == pixelcodec.encode(image, effort=10)


def test_more_effort_is_more_to_do() -> None:
    spent = [
        (effort.learning, effort.budget.steps if effort.budget else 0)
        for effort in EFFORTS.values()
    ]
    assert spent == sorted(spent)
    assert list(EFFORTS) == list(range(1, MAX_EFFORT + 1))
    assert EFFORTS[STATIC].learning == 0
    assert EFFORTS[DEFAULT_EFFORT].learning > 0


# The parts ---------------------------------------------------------------------------------------


def test_the_same_image_gives_the_same_changes() -> None:
    image = scene(SIDE, SIDE)
    assert encode(image) == encode(image)


def test_a_network_comes_back_from_float() -> None:
    for network in (zoo.load(MODEL), zoo.load("photo-m"), random_network(TINY, 1, gain=3.0)):
        restored = WavefrontPixelCNN.from_integers(network)
        assert restored.integer_network().sha256 == network.sha256


def test_the_float_heads_see_what_the_integers_see() -> None:
    network = zoo.load(MODEL)
    engine, image = Engine(network), scene(40, 60, 3)
    seen = look(engine, image)
    whole = WavefrontPixelCNN.from_integers(network)(torch.from_numpy(image[None]))
    fit = fit_heads(network, seen, image.size, Budget(steps=1, pixels=8, rate=0.0))
    assert (len(seen), fit.changes, fit.saved) == (40 * 60, [], 0.0)
    assert changed(network, fit.changes).sha256 == network.sha256
    assert bits_of(network, seen) == pytest.approx(whole.mean().item(), rel=0.01)


def bits_of(network: IntegerNetwork, seen: Seen) -> float:
    """Of a sample of the first channel, under the float heads."""
    heads = WavefrontPixelCNN.from_integers(network)
    with torch.no_grad():
        bits = heads.bits_of_seen(seen.features, seen.samples, seen.centre)
    return bits[:, : seen.channels].mean().item()


def test_of_a_large_image_parts_are_looked_at_and_see_what_they_see_in_the_image() -> None:
    engine = Engine(zoo.load(MODEL))
    tile = scene(TILE, TILE)
    image = np.tile(tile, (16, 2 * LOOKED_AT // tile.size // 16))[..., None]  # all parts are alike
    seen = look(engine, image)
    assert 0.5 * LOOKED_AT < len(seen) <= LOOKED_AT
    some = image[: 4 * TILE, : 4 * TILE]
    expected = model_bits(some, engine) / some.size
    assert bits_of(engine.network, seen) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("shape", [(TILE, 2**14), (2**14, TILE), (2**17, 5), (5, 2**17)])
def test_large_images_may_be_narrow(shape: tuple[int, int]) -> None:
    assert shape[0] * shape[1] > LOOKED_AT
    assert len(look(Engine(zoo.load(MODEL)), np.zeros((*shape, 1), np.uint8))) > 0


def test_nothing_is_learnt_from_the_pixels_that_tell_what_was_gained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, image = zoo.load(MODEL), noise(16, 16, 3)
    image[..., 0] = np.arange(256).reshape(16, 16)  # by which a pixel is known
    learnt, judged = set[int](), set[int]()
    bits_of_seen = WavefrontPixelCNN.bits_of_seen

    def spy(self: WavefrontPixelCNN, features: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
        (learnt if torch.is_grad_enabled() else judged).update(samples[:, 0].tolist())
        return bits_of_seen(self, features, samples, centre)

    monkeypatch.setattr(WavefrontPixelCNN, "bits_of_seen", spy)
    fit_heads(network, look(Engine(network), image), image.size, Budget(steps=9, pixels=512))
    assert len(judged) == 32
    assert len(learnt) == 256 - 32
    assert not learnt & judged
