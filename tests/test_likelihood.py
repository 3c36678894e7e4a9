"""The compiled likelihood: the same bits and gradients as by operations on tensors."""

from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelcodec.models import likelihood, mixture

Likelihood = Callable[[Tensor, Tensor, Tensor], Tensor]


def parameters_of_chance(seed: int, n: int, components: int, spread: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, 3, mixture.parameters_of(components))
    return spread * torch.randn(shape, generator=generator)


def bits_and_gradient(bits_of: Likelihood, *given: Tensor) -> tuple[Tensor, Tensor]:
    parameters = given[0].clone().requires_grad_()
    bits = bits_of(parameters, *given[1:])
    weights = torch.linspace(1, 2, bits.numel()).view(bits.shape)
    (gradient,) = torch.autograd.grad((bits * weights).sum(), parameters)
    return bits.detach(), gradient


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    components=st.integers(1, mixture.MOST_COMPONENTS),
    spread=st.sampled_from([0.1, 1.0, 4.0]),
    reach=st.sampled_from([1, 10, 256]),
)
def test_bits_and_gradients_are_those_of_tensors(
    seed: int, components: int, spread: float, reach: int
) -> None:
    generator = torch.Generator().manual_seed(seed + 1)
    parameters = parameters_of_chance(seed, 40, components, spread)
    centre = torch.randint(0, 256, (40, 3), generator=generator, dtype=torch.int16)
    offset = torch.randint(-reach, reach + 1, (40, 3), generator=generator)
    samples = (centre + offset).clamp(0, 255).to(torch.uint8)

    bits, gradient = bits_and_gradient(likelihood.bits_of_samples, parameters, samples, centre)
    expected = bits_and_gradient(mixture.bits_of_samples, parameters, samples, centre)

    torch.testing.assert_close(bits, expected[0], rtol=1e-3, atol=1e-3)
    # Derivatives of sigmoids that are all but 1 lose their last digits in float32.
    scale = expected[1].abs().amax(-1, keepdim=True).clamp(min=1.0)
    torch.testing.assert_close(gradient / scale, expected[1] / scale, rtol=0, atol=5e-3)


def test_images_keep_their_shape() -> None:
    parameters = torch.zeros(2, 4, 5, 3, mixture.parameters_of(2))
    samples = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)
    bits = likelihood.bits_of_samples(parameters, samples, samples.to(torch.int16))
    assert bits.shape == (2, 4, 5, 3)
