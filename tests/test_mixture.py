"""The mixture of logistics: the one that codes is the one of the page, and the one that trains."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference_decoder as reference
from pixelcodec import coder
from pixelcodec.models import mixture
from pixelcodec.models.mixture import (
    MOST_COMPONENTS,
    MixtureHead,
    bits_of_samples,
    integer_tables,
    parameters_of,
)

TABLES = integer_tables()
EDGES = np.arange(257, dtype=np.int32)

Integers = npt.NDArray[Any]


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "length", "formula"),
    [
        ("sigmoid", 4096, lambda i: 65535 / (1 + math.exp(-i / 256))),
        ("inverse_scale", 80, lambda i: 2**16 / 2 ** (i / 8 - 3.5)),
        ("exp", 256, lambda i: 1024 * math.exp(-i / 32)),
    ],
)
def test_tables_are_those_of_the_page(name: str, length: int, formula: Any) -> None:
    assert TABLES[name].dtype == torch.int32
    assert TABLES[name].tolist() == [round(formula(i)) for i in range(length)]


# The integer mixture -----------------------------------------------------------------------------


@st.composite
def integer_parameters(draw: st.DrawFn, channel: int) -> tuple[Integers, Integers, Integers]:
    """Parameters of some samples of ``channel``, centres, and residuals of the channels before."""
    count = draw(st.integers(1, MOST_COMPONENTS))
    near, far = st.integers(-400, 400), st.integers(-(2**23), 2**23)

    def of_one() -> list[int]:
        scales = st.integers(-5, 85) | far
        return [
            *(draw(near | far) for _ in range(count)),
            *(draw(near | st.integers(-4300, 4300) | far) for _ in range(count)),
            *(draw(scales) for _ in range(count)),
            *(draw(near | far) for _ in range(channel)),
        ]

    n = draw(st.integers(1, 4))
    parameters = np.array([of_one() for _ in range(n)], np.int32)
    levels = st.integers(0, 255) | st.sampled_from([0, 255])
    centre = np.array([[draw(levels) for _ in range(3)] for _ in range(n)], np.int16)
    samples = np.array([[draw(levels) for _ in range(3)] for _ in range(n)], np.int16)
    return parameters, centre, samples - centre


def of_the_page(parameters: list[int], count: int, centre: int, residuals: list[int]) -> Any:
    """The distribution of a sample by docs/FORMAT.md, in Python's integers."""
    logits, means, scales = (parameters[i * count : (i + 1) * count] for i in range(3))
    slopes = parameters[3 * count :]
    shift = sum(slope * r for slope, r in zip(slopes, residuals, strict=True)) >> 4
    exp, sigmoid, inverse = (TABLES[name].tolist() for name in ("exp", "sigmoid", "inverse_scale"))
    return reference.Mixture(
        weights=[exp[min(max(logits) - logit, 255)] for logit in logits],
        means=[min(max(mean + 16 * centre + shift, -128), 4208) for mean in means],
        scales=[min(max(scale, 0), 79) for scale in scales],
        sigmoid=sigmoid,
        inverse_scale=inverse,
    )


@pytest.mark.parametrize("channel", [0, 1, 2])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_mass_below_each_edge_is_that_of_the_page(channel: int, data: st.DataObject) -> None:
    parameters, centre, residuals = data.draw(integer_parameters(channel))
    count = (parameters.shape[1] - channel) // 3

    head = MixtureHead(TABLES, count)
    edges = EDGES[None].repeat(len(parameters), 0)
    found = head(parameters, channel, centre, residuals).cumulative(edges)

    assert found.dtype == np.int32
    assert (np.diff(found) >= 0).all()
    assert (found >= 0).all()
    assert int(found.max()) + 64 * 256 < 2**28.9
    for n in range(len(parameters)):
        known = residuals[n, :channel].tolist()
        page = of_the_page(parameters[n].tolist(), count, int(centre[n, channel]), known)
        assert (found[n] + 64 * EDGES).tolist() == [page.mass(e) for e in range(257)]


def test_edges_may_be_asked_for_in_any_order() -> None:
    parameters = np.array([[3, 90, -40, 300, 30, 50]], np.int32)
    centre = np.full((1, 3), 100, np.int16)
    mixture_of_two = MixtureHead(TABLES, 2)(parameters, 0, centre, centre)
    edges = np.array([[256, 0, 17, 16, 17]], np.int32)
    every = mixture_of_two.cumulative(EDGES[None])
    np.testing.assert_array_equal(mixture_of_two.cumulative(edges), every[:, edges[0]])


def test_the_largest_mixture_is_coded_exactly() -> None:
    heaviest = MOST_COMPONENTS * int(TABLES["exp"].max()) * int(TABLES["sigmoid"].max())
    assert heaviest + 64 * 256 < 2**28.9
    assert (heaviest + 64 * 256) * (2**24 - 18) < 2**53


# The float mixture -------------------------------------------------------------------------------


def random_parameters(seed: int, n: int, components: int, spread: float = 1.0) -> Tensor:
    """Float parameters [n, 3, parameters] of mixtures like those of photographs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, low: float, high: float) -> Tensor:
        values = torch.rand((n, 3, count), generator=generator, dtype=torch.float64)
        return low + values * (high - low)

    return torch.cat(
        [
            draw(components, -2, 2),
            draw(components, -spread, spread),
            draw(components, -0.8, 2.5),
            draw(mixture.SLOPES, -0.8, 0.8),
        ],
        -1,
    )


def random_levels(seed: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3), generator=generator)


def quantised(parameters: Tensor) -> Tensor:
    """``parameters`` [n, 3, parameters], rounded to those that the integer mixture can have."""
    components = (parameters.shape[-1] - mixture.SLOPES) // 3
    bits, _ = mixture.fixed_point(components, 2)
    steps = torch.exp2(bits.double())
    return torch.round(parameters * steps) / steps


def integer_bits(parameters: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
    """Bits of ``samples`` [n, 3] by the integer mixture and the frequencies of its choices."""
    components = (parameters.shape[-1] - mixture.SLOPES) // 3
    head = MixtureHead(TABLES, components)
    residuals = (samples - centre).numpy().astype(np.int16)
    found = []
    for channel in range(3):
        bits, offset = mixture.fixed_point(components, channel)
        used = parameters[:, channel, : 3 * components + channel]
        integers = (used * torch.exp2(bits) + offset).round().to(torch.int32).numpy()
        distribution = head(integers, channel, centre.numpy().astype(np.int16), residuals)
        choices = coder.describe(distribution, samples[:, channel].numpy().astype(np.uint8))
        frequencies = choices[..., 1].astype(np.float64) + 1
        found.append(torch.from_numpy((24 - np.log2(frequencies)).sum(-1)))
    return torch.stack(found, -1)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -500 else 0.0


@settings(max_examples=100, deadline=None)
@given(
    mean=st.floats(-1, 1),
    scale=st.floats(-1, 4),
    slopes=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    centre=st.tuples(*[st.integers(40, 215)] * 3),
    residuals=st.tuples(*[st.integers(-20, 20)] * 3),
)
def test_one_logistic_is_its_definition(
    mean: float,
    scale: float,
    slopes: tuple[float, float],
    centre: tuple[int, int, int],
    residuals: tuple[int, int, int],
) -> None:
    parameters = torch.tensor([[[0.3, mean, scale, *slopes]] * 3], dtype=torch.float64)
    samples = torch.tensor([centre]) + torch.tensor([residuals])
    found = bits_of_samples(parameters, samples, torch.tensor([centre]))[0].tolist()

    levels = 2.0 ** min(max(2 * scale, -3.5), 6.375)
    for channel in range(3):
        seen = sum(slopes[c] * residuals[c] for c in range(channel))
        middle = centre[channel] + 16 * mean + seen
        below, above, low, high = (
            logistic((edge - middle) / levels)
            for edge in (samples[0, channel] - 0.5, samples[0, channel] + 0.5, -0.5, 255.5)
        )
        floor = 2.0**-20
        chance = (above - below + floor) / (high - low + 256 * floor)
        assert found[channel] == pytest.approx(-math.log2(chance), abs=1e-3)


def bits_of_all_levels(parameters: Tensor, samples: Tensor, centre: Tensor, channel: int) -> Tensor:
    """Bits of the 256 levels of ``channel``, given the ``samples`` of the others: [256, n]."""
    candidates = samples.expand(256, *samples.shape).clone()
    candidates[..., channel] = torch.arange(256)[:, None]
    everywhere = parameters.expand(256, *parameters.shape)
    return bits_of_samples(everywhere, candidates, centre)[..., channel].double()


def drawn_samples(parameters: Tensor, centre: Tensor) -> Tensor:
    """Samples drawn from the mixtures themselves, [n, 3]."""
    generator = torch.Generator().manual_seed(7)
    samples = centre.clone()
    for channel in range(3):
        chances = torch.exp2(-bits_of_all_levels(parameters, samples, centre, channel))
        samples[:, channel] = torch.multinomial(chances.T, 1, generator=generator)[:, 0]
    return samples


@pytest.mark.parametrize("components", [1, 5, 7])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_training_and_coding_count_the_same_bits(seed: int, components: int) -> None:
    centre = random_levels(seed, 120).clamp(40, 215)  # at the ends the tables' last bits show
    parameters = quantised(random_parameters(seed, 120, components))
    samples = drawn_samples(parameters, centre)

    trained = bits_of_samples(parameters, samples, centre)
    coded = integer_bits(parameters, samples, centre)

    ratio = trained.sum(0) / coded.sum(0)
    assert ((ratio - 1).abs() < 0.01).all()
    likely = trained < 10  # beyond, they show too
    torch.testing.assert_close(trained[likely], coded[likely], rtol=0, atol=0.4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), components=st.integers(1, MOST_COMPONENTS))
def test_probabilities_of_all_levels_sum_to_1(
    dtype: torch.dtype, seed: int, components: int
) -> None:
    parameters = random_parameters(seed, 8, components, spread=20).to(dtype)
    centre, samples = random_levels(seed, 8), random_levels(seed + 1, 8)
    for channel in range(3):
        total = torch.exp2(-bits_of_all_levels(parameters, samples, centre, channel)).sum(0)
        torch.testing.assert_close(total, torch.ones(8, dtype=torch.float64), rtol=0, atol=5e-4)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_bits_of_a_channel_depend_on_the_samples_of_the_channels_before_alone(channel: int) -> None:
    parameters, centre = random_parameters(1, 50, 3), random_levels(1, 50)
    samples = (centre + 5).clamp(max=255)
    bits = bits_of_samples(parameters, samples, centre)
    samples[:, channel] = (samples[:, channel] + 9) % 256
    changed = (bits_of_samples(parameters, samples, centre) != bits).any(0).tolist()
    assert changed == [other >= channel for other in range(3)]


@pytest.mark.parametrize("centre_level", [2, 128, 250])
def test_gradients_are_those_of_finite_differences(centre_level: int) -> None:
    centre = torch.full((6, 3), centre_level)
    parameters = random_parameters(1, 6, 3, spread=0.5)
    samples = drawn_samples(parameters, centre)
    parameters.requires_grad_()

    def bits(values: Tensor) -> Tensor:
        return bits_of_samples(values, samples, centre)

    # The gradient leaves out that the floor counts for less where the largest weight is larger
    assert torch.autograd.gradcheck(bits, (parameters,), eps=1e-5, atol=0.01, rtol=0.01)
    (gradient,) = torch.autograd.grad(bits(parameters).sum(), parameters)
    assert gradient.shape == (6, 3, parameters_of(3))
    used = gradient.abs().sum(0) > 0
    assert used[:, :9].all()
    slopes = used[:, 9:].tolist()
    assert slopes == [[False, False], [True, False], [True, True]]


def test_a_sample_that_nothing_expects_still_has_finite_bits_and_gradients() -> None:
    parameters = torch.zeros(1, 3, parameters_of(1))
    parameters[..., 2] = -9  # a scale below the smallest
    parameters.requires_grad_()
    bits = bits_of_samples(parameters, torch.tensor([[0, 255, 0]]), torch.tensor([[255, 0, 255]]))
    bits.sum().backward()  # type: ignore[no-untyped-call]
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()
    assert (bits > 15).all()
    assert (bits < 32).all()
