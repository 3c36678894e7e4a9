"""Exact arithmetic: every back end gives the integers of the definition, or is not used."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelcodec import exact
from pixelcodec.errors import BackendError, ModelError
from pixelcodec.exact import (
    ACTIVATION_MAX,
    BACKENDS,
    ENVIRONMENT_VARIABLE,
    FLOAT32_EXACT,
    MAX_FAN_IN,
    Arithmetic,
    Backend,
    Float32Backend,
    Linear,
    check_no_overflow,
    known_answer_test,
    select_backend,
)
from pixelcodec.models.network import IntegerLayer
from places import PLACES

CPU = torch.device("cpu")

Matrix = npt.NDArray[np.int8]

LEVELS = {
    "all": range(-127, 128),
    "extreme": (-127, 127),
    "largest": (127,),
    "sparse": (0, 0, 0, -127, 1),
}
"""What elements of matrices are drawn from."""


@st.composite
def matrices(draw: st.DrawFn, rows: int, columns: int) -> Matrix:
    levels = LEVELS[draw(st.sampled_from(sorted(LEVELS)))]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.choice(np.array(levels, np.int8), (rows, columns))


@st.composite
def factors(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    rows, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 70))
    inputs = draw(st.integers(1, 100) | st.integers(1, MAX_FAN_IN) | st.just(MAX_FAN_IN))
    return draw(matrices(rows, inputs)), draw(matrices(inputs, outputs))


@pytest.mark.parametrize(("backend", "device"), PLACES)
@settings(max_examples=40, deadline=None)
@given(given_factors=factors())
def test_a_product_is_that_of_the_definition(
    backend: str, device: str, given_factors: tuple[Matrix, Matrix]
) -> None:
    activations, weight = given_factors
    multiplier = BACKENDS[backend]()

    prepared = multiplier.prepare(torch.from_numpy(weight).to(device))
    found = multiplier.matmul(torch.from_numpy(activations).to(device), prepared)

    assert found.dtype == torch.int32
    expected = activations.astype(np.int64) @ weight.astype(np.int64)
    np.testing.assert_array_equal(found[:, : weight.shape[1]].cpu().numpy(), expected)


# The known-answer test ---------------------------------------------------------------------------


class Substitute(Backend):
    """A back end that multiplies by any function of int8 matrices."""

    name = "substitute"

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._product = product

    def prepare(self, weight: Tensor) -> Tensor:
        return weight

    def matmul(self, activations: Tensor, prepared: Tensor) -> Tensor:
        return self._product(activations, prepared)


def definition(activations: Tensor, weight: Tensor) -> Tensor:
    return (activations.to(torch.int64) @ weight.to(torch.int64)).to(torch.int32)


def saturating_pairs(activations: Tensor, weight: Tensor) -> Tensor:
    """What processors without VNNI do: products of uint8 and int8, added in pairs in int16."""
    unsigned = (activations.to(torch.int64) + 128)[:, :, None] * weight.to(torch.int64)
    pairs = (unsigned[:, ::2] + unsigned[:, 1::2]).clamp(-(2**15), 2**15 - 1)
    return (pairs.sum(1) - 128 * weight.to(torch.int64).sum(0)).to(torch.int32)


def in_bfloat16(activations: Tensor, weight: Tensor) -> Tensor:
    return (activations.to(torch.bfloat16) @ weight.to(torch.bfloat16)).to(torch.int32)


def in_float16_sums(activations: Tensor, weight: Tensor) -> Tensor:
    return definition(activations, weight).to(torch.float16).to(torch.int32)


def in_int16_sums(activations: Tensor, weight: Tensor) -> Tensor:
    return definition(activations, weight).to(torch.int16).to(torch.int32)


def saturating_sums(activations: Tensor, weight: Tensor) -> Tensor:
    """The sums of a kernel whose offset of unsigned activations saturates on the way."""
    return definition(activations, weight).clamp(min=1 - 2**23)


def absent(activations: Tensor, weight: Tensor) -> Tensor:
    """What torch does on a processor that it has no kernel for."""
    raise NotImplementedError("no kernel for this processor")


def off_by_one_in_the_last_row(activations: Tensor, weight: Tensor) -> Tensor:
    product = definition(activations, weight)
    product[-1] += 1
    return product


BROKEN: list[Callable[[Tensor, Tensor], Tensor]] = [
    saturating_pairs,
    in_bfloat16,
    in_float16_sums,
    in_int16_sums,
    saturating_sums,
    absent,
    off_by_one_in_the_last_row,
    lambda activations, weight: definition(activations, weight)[1:],
    lambda activations, weight: definition(activations, weight).to(torch.int64),
]
NAMES_OF_BROKEN = [
    "saturating pairs",
    "rounding to bfloat16",
    "sums in float16",
    "sums in int16",
    "saturating sums",
    "raising",
    "off by one",
    "a row short",
    "of another type",
]


@pytest.mark.parametrize("name", ["float32", "int64"])
def test_an_exact_back_end_passes_the_known_answer_test(name: str) -> None:
    assert known_answer_test(BACKENDS[name](), CPU)


def test_any_exact_product_passes_the_known_answer_test() -> None:
    assert known_answer_test(Substitute(definition), CPU)


@pytest.mark.parametrize("product", BROKEN, ids=NAMES_OF_BROKEN)
def test_a_broken_back_end_fails_the_known_answer_test(
    product: Callable[[Tensor, Tensor], Tensor],
) -> None:
    assert not known_answer_test(Substitute(product), CPU)


# Selection ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def fresh_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No back end is known to be the fastest, and the environment names none."""
    monkeypatch.setattr(exact, "_fastest", {})
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


class Other(Float32Backend):
    """An exact one, of another name."""

    name = "other"


def offer(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let there be the back ends ``names`` alone; ``broken`` is a fast one that is not exact."""
    backends = {**BACKENDS, "broken": lambda: Substitute(absent), "other": Other}
    monkeypatch.setattr(exact, "BACKENDS", {name: backends[name] for name in names})


@pytest.mark.parametrize(("backend", "device"), PLACES)
def test_a_back_end_is_selected_by_name(backend: str, device: str) -> None:
    assert select_backend(backend, torch.device(device)).name == backend


@pytest.mark.parametrize("name", ["float32", "int64"])
def test_the_environment_names_the_back_end(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, name)
    assert select_backend(None, CPU).name == name


@pytest.mark.parametrize("name", ["float32", "int64"])
def test_a_name_that_is_given_counts_more_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "no-such-back-end")
    assert select_backend(name, CPU).name == name


@pytest.mark.parametrize("given_by", ["argument", "environment"])
def test_an_unknown_name_is_refused_with_all_that_are_known(
    monkeypatch: pytest.MonkeyPatch, given_by: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "int7" if given_by == "environment" else "int64")
    with pytest.raises(BackendError, match="'int7'; choose one of auto, int8, float32, int64"):
        select_backend("int7" if given_by == "argument" else None, CPU)


def test_a_back_end_that_fails_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "broken", "int64")
    with pytest.raises(BackendError, match="broken does not compute exactly on cpu"):
        select_backend("broken", CPU)


@pytest.mark.parametrize("name", ["auto", None])
def test_auto_passes_over_what_is_not_exact(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    offer(monkeypatch, "broken", "int64")
    assert select_backend(name, CPU).name == "int64"


def test_auto_picks_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"broken": 1.0, "float32": 2.0, "other": 3.0, "int64": 0.5}
    offer(monkeypatch, *seconds)
    monkeypatch.setattr(exact, "_seconds", lambda backend, device: seconds[backend.name])
    # Not the reference: on a busy machine it may seem fast.
    assert select_backend("auto", CPU).name == "float32"


def test_auto_is_exact_here() -> None:
    assert known_answer_test(select_backend("auto", CPU), CPU)


def test_auto_with_nothing_exact_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "broken")
    with pytest.raises(BackendError, match="no back end computes exactly on cpu"):
        select_backend("auto", CPU)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_reference_is_refused_on_cuda() -> None:
    with pytest.raises(BackendError, match="int64"):
        select_backend("int64", torch.device("cuda"))


# Layers ------------------------------------------------------------------------------------------


def layer_of(
    weight: npt.ArrayLike, bias: Sequence[int] = (0,), shift: Sequence[int] = (0,)
) -> IntegerLayer:
    return IntegerLayer(
        torch.tensor(weight, dtype=torch.int8),
        torch.tensor(bias, dtype=torch.int32),
        torch.tensor(shift, dtype=torch.uint8),
    )


@st.composite
def layers(draw: st.DrawFn) -> tuple[IntegerLayer, Matrix]:
    """A layer, its biases up to the very limit, and activations for it."""
    inputs, outputs, rows = (draw(st.integers(1, most)) for most in (40, 9, 6))
    weight = draw(matrices(inputs, outputs))
    bias = []
    for column in weight.T.tolist():
        room = FLOAT32_EXACT - 1 - ACTIVATION_MAX * sum(map(abs, column))
        bias.append(draw(st.integers(-room, room) | st.sampled_from([-room, room, -1, 0, 1])))
    shift = draw(st.lists(st.integers(0, 31), min_size=outputs, max_size=outputs))
    return layer_of(weight, bias, shift), draw(matrices(rows, inputs))


def by_the_formula(layer: IntegerLayer, activations: Matrix) -> list[list[int]]:
    """``(a @ w + b) >> s`` in Python's integers."""
    columns = layer.weight.t().tolist()
    bias, shift = layer.bias.tolist(), layer.shift.tolist()
    return [
        [
            (sum(a * w for a, w in zip(row, column, strict=True)) + b) >> s
            for column, b, s in zip(columns, bias, shift, strict=True)
        ]
        for row in activations.tolist()
    ]


def ready(layer: IntegerLayer, backend: str, device: str, way: str = "compiled") -> Linear:
    arithmetic = Arithmetic(torch.device(device), backend)
    linear = arithmetic.linear(layer)
    if way == "back end":
        linear._most_small = 0
    if way == "torch":
        linear._on_host = False
    return linear


EACH_WAY = pytest.mark.parametrize("way", ["compiled", "back end", "torch"])


@EACH_WAY
@pytest.mark.parametrize(("backend", "device"), PLACES)
@settings(max_examples=25, deadline=None)
@given(given_layer=layers())
def test_a_layer_is_its_formula(
    backend: str, device: str, way: str, given_layer: tuple[IntegerLayer, Matrix]
) -> None:
    layer, matrix = given_layer
    linear = ready(layer, backend, device, way)
    activations = torch.from_numpy(matrix).to(device)
    expected = by_the_formula(layer, matrix)

    outputs, limited = linear(activations), linear.relu(activations)

    assert (outputs.dtype, limited.dtype) == (torch.int32, torch.int8)
    assert outputs.tolist() == expected
    assert limited.tolist() == [[min(max(v, 0), 127) for v in row] for row in expected]


@pytest.mark.parametrize(
    ("bias", "shift", "expected"),
    [(-1, 1, -1), (-1, 31, -1), (-3, 1, -2), (3, 1, 1), (-(2**24) + 1, 31, -1), (2**23, 23, 1)],
)
def test_a_shift_rounds_down_also_below_zero(bias: int, shift: int, expected: int) -> None:
    linear = ready(layer_of([[0]], [bias], [shift]), "int64", "cpu")
    assert linear(torch.zeros(1, 1, dtype=torch.int8)).tolist() == [[expected]]


@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30),
    shift=st.integers(0, 31),
)
def test_relu_shifts_and_limits(device: str, values: list[int], shift: int) -> None:
    arithmetic = Arithmetic(CPU, "int64")
    if device == "elsewhere":
        arithmetic.device = torch.device("meta")  # The numbers still lie on the CPU
    limited = arithmetic.relu(torch.tensor([values], dtype=torch.int32), shift)
    assert limited.dtype == torch.int8
    assert limited.tolist() == [[min(max(value >> shift, 0), 127) for value in values]]


# What could overflow -----------------------------------------------------------------------------

LARGEST = ACTIVATION_MAX * 127 * MAX_FAN_IN
"""The largest sum of products that the fan-in allows: below 2**24."""


def wide(weight: int, inputs: int = MAX_FAN_IN) -> npt.NDArray[np.int8]:
    """The weights of two outputs: one without any, and one with ``inputs`` of the same."""
    return np.stack([np.zeros(inputs), np.full(inputs, weight)], 1).astype(np.int8)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(layer_of(wide(127), [0, 0], [0, 0]), id="fan-in of 1024"),
        pytest.param(layer_of(wide(-127), [0, 0], [31, 31]), id="-127 and shift 31"),
        pytest.param(layer_of(wide(127), [0, 2**24 - 1 - LARGEST], [0, 0]), id="sum 2**24 - 1"),
        pytest.param(layer_of(wide(-127), [0, LARGEST - 2**24 + 1], [0, 0]), id="1 - 2**24"),
        pytest.param(layer_of(wide(1), [2**24 - 1, 0], [0, 0]), id="bias 2**24 - 1"),
    ],
)
def test_a_layer_at_the_limits_is_accepted_and_exact(layer: IntegerLayer) -> None:
    check_no_overflow(layer)
    for activation in (127, -127):
        activations = np.full((1, len(layer.weight)), activation, np.int8)
        for backend in ("float32", "int64"):
            for way in ("compiled", "back end"):
                found = ready(layer, backend, "cpu", way)(torch.from_numpy(activations))
                assert found.tolist() == by_the_formula(layer, activations)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layer_of(wide(0, MAX_FAN_IN + 1), [0, 0], [0, 0]), "1025 inputs; exact are 1024"),
        (layer_of([[127, 0], [0, -128]], [0, 0], [0, 0]), "-128"),
        (layer_of([[1, 1]], [0, 0], [0, 32]), "a shift is 32"),
        (layer_of([[1, 1]], [0, 0], [255, 0]), "a shift is 255"),
        (layer_of(wide(127), [0, 2**24 - LARGEST], [0, 0]), "reach 16777216"),
        (layer_of(wide(127), [0, LARGEST - 2**24], [0, 0]), "reach 16777216"),
        (layer_of([[0]], [2**24]), "reach 16777216"),
        (layer_of([[0]], [-(2**24)]), "reach 16777216"),
        (layer_of([[0]], [-(2**31)]), "reach 2147483648"),
        (layer_of([[127]], [2**31 - 1]), "reach 2147499776"),
    ],
)
def test_a_layer_beyond_the_limits_is_refused(layer: IntegerLayer, message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        check_no_overflow(layer)
    with pytest.raises(ModelError, match=re.escape(message)):
        Arithmetic(CPU, "int64").linear(layer)
