"""The optimiser: what it changes, what it remembers, and that it is worth its name."""

import copy

import torch
from torch import Tensor, nn

from pixelcodec.models.layers import MaskedConv2d, pointwise
from pixelcodec.models.optimiser import MUON_RATE, WEIGHT_DECAY, Optimiser

INPUTS = 16


def toy() -> nn.Sequential:
    """Two layers inside, one that gives the output."""
    torch.manual_seed(1)
    return nn.Sequential(
        *(pointwise(INPUTS, 32), nn.ReLU(), pointwise(32, 32), nn.ReLU(), pointwise(32, 4))
    )


def loss_of(network: nn.Module, step: int) -> Tensor:
    """Of a task whose inputs are as activations are: alike, and nowhere near zero."""
    fixed = torch.Generator().manual_seed(0)
    turns = [torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=fixed))[0] for _ in range(2)]
    mixture = turns[0] @ torch.logspace(0, -1.5, INPUTS).diag() @ turns[1]
    wanted = torch.randn(INPUTS, 4, generator=fixed)
    causes = torch.randn(64, INPUTS, generator=torch.Generator().manual_seed(step))
    found = network((causes @ mixture + 1)[..., None, None])[..., 0, 0]
    return nn.functional.mse_loss(found, torch.tanh(causes @ wanted))


def train(network: nn.Module, optimiser: Optimiser, steps: range) -> None:
    for step in steps:
        torch.autograd.backward(loss_of(network, step))
        optimiser.step(0.02)


def final_loss(network: nn.Module) -> float:
    with torch.no_grad():
        return float(torch.stack([loss_of(network, step) for step in range(1000, 1020)]).mean())


def test_it_learns_faster_than_adam_alone() -> None:
    network, by_adam = toy(), toy()
    every_layer = [layer for layer in by_adam if isinstance(layer, MaskedConv2d)]
    before = final_loss(network)
    train(network, Optimiser(network, [network[-1]]), range(80))
    train(by_adam, Optimiser(by_adam, every_layer), range(80))
    assert final_loss(network) < 0.85 * final_loss(by_adam) < 0.85 * before


def test_matrices_are_the_weights() -> None:
    """What Muon changes in its matrices, the network computes with, after loading, too."""
    network = toy()
    optimiser = Optimiser(network, [network[-1]])
    network.load_state_dict(copy.deepcopy(network.state_dict()))
    weights = [layer.weight for layer in network if isinstance(layer, MaskedConv2d)]
    matrices = optimiser._matrices
    assert [matrix.data_ptr() for matrix in matrices] == [w.data_ptr() for w in weights[:-1]]
    before = [weight.detach().clone() for weight in weights]
    train(network, optimiser, range(1))
    for weight, old in zip(weights, before, strict=True):
        assert (weight != old).any()


def test_every_parameter_has_one_optimiser() -> None:
    network = toy()
    optimiser = Optimiser(network, [network[-1]])
    names = {name.rpartition(".")[0] for name in optimiser.state()}
    assert not names
    train(network, optimiser, range(1))
    names = {name.rpartition(".")[0] for name in optimiser.state()}
    assert names == {"adam.0", "adam.1", "adam.2", "adam.3", "muon.0", "muon.1"}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_its_state_survives() -> None:
    network = toy()
    optimiser = Optimiser(network, [network[-1]])
    train(network, optimiser, range(5))
    state = {name: value.clone() for name, value in optimiser.state().items()}
    other = copy.deepcopy(network)
    resumed, fresh = Optimiser(other, [other[-1]]), copy.deepcopy(network)
    resumed.load(state)
    train(network, optimiser, range(5, 9))
    train(other, resumed, range(5, 9))
    train(fresh, Optimiser(fresh, [fresh[-1]]), range(5, 9))
    for own, taken, lost in zip(*map(nn.Module.parameters, (network, other, fresh)), strict=True):
        assert torch.equal(own, taken)
        assert not torch.equal(own, lost)


def test_a_network_may_have_nothing_for_muon() -> None:
    network = nn.Sequential(pointwise(INPUTS, 4))
    optimiser = Optimiser(network, [network[0]])
    before = final_loss(network)
    train(network, optimiser, range(20))
    assert final_loss(network) < before


def test_matrices_decay_and_nothing_else_does() -> None:
    network = toy()
    optimiser = Optimiser(network, [network[-1]])
    before = copy.deepcopy(network)
    torch.autograd.backward(0 * loss_of(network, 0))
    optimiser.step(0.02)
    left = 1 - 0.02 * MUON_RATE * WEIGHT_DECAY
    for (name, new), old in zip(network.named_parameters(), before.parameters(), strict=True):
        inside = name in {"0.weight", "2.weight"}
        torch.testing.assert_close(new, old * left if inside else old)
