"""Masks A and B with the channel rule (the paper's section 3.4), in float and group by group."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conversion import check_conversion, quantised, random_activations
from pixelcodec.models.grouped import GroupedConv2d, Seen, causal_runs, group_slices
from pixelcodec.models.layers import ACTIVATION_BITS, STREAM_BITS
from pixelcodec.models.program import Plane
from pixelcodec.schedule import Canvas

KERNELS = [(1, 1), (3, 3), (7, 7), (1, 3)]
WIDTHS = [(3, 3), (7, 8), (8, 4), (16, 5)]
"""Feature maps in and out; not all can be divided by 3."""

EACH_KIND = pytest.mark.parametrize("kind", ["A", "B"])
EACH_GROUPS = pytest.mark.parametrize("groups", [1, 3])
EACH_KERNEL = pytest.mark.parametrize(
    "kernel", KERNELS, ids=lambda kernel: "x".join(map(str, kernel))
)
EACH_WIDTHS = pytest.mark.parametrize("widths", WIDTHS, ids=str)

Size = tuple[int, int]


# Groups ------------------------------------------------------------------------------------------


@given(features=st.integers(3, 1024), groups=st.sampled_from([1, 3]))
def test_groups_are_nearly_equal_parts_in_order(features: int, groups: int) -> None:
    parts = [list(range(features)[part]) for part in group_slices(features, groups)]

    assert list(chain(*parts)) == list(range(features))
    sizes = list(map(len, parts))
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_features_of_groups_are_seen_as_they_become_known() -> None:
    seen = Seen(pixels=2, features=4, groups=3, device=torch.device("cpu"))
    parts = [torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5], [6]]), torch.tensor([[7], [8]])]

    found = [seen.with_group(group, part).tolist() for group, part in enumerate(parts)]

    assert found == [
        [[1, 2, 0, 0], [3, 4, 0, 0]],
        [[1, 2, 5, 0], [3, 4, 6, 0]],
        [[1, 2, 5, 7], [3, 4, 6, 8]],
    ]


# Masks -------------------------------------------------------------------------------------------


def group_of(feature: int, features: int, groups: int) -> int:
    """Which group ``feature`` belongs to."""
    inside = [part.start <= feature < part.stop for part in group_slices(features, groups)]
    return inside.index(True)


def sees(kind: str, rows_above: int, columns_right: int, own: int, group: int) -> bool:
    """The rule: all of earlier pixels; of the pixel the groups before, and with B the own one."""
    if (rows_above, columns_right) == (0, 0):
        return group < own or (kind == "B" and group == own)
    return rows_above > 0 or (rows_above == 0 and columns_right < 0)


@EACH_KIND
@EACH_KERNEL
@EACH_GROUPS
@EACH_WIDTHS
def test_each_feature_sees_what_its_group_may_and_all_of_it(
    kind: str, kernel: Size, groups: int, widths: Size
) -> None:
    (inputs, outputs), (height, width) = widths, (kernel[0] + 2, kernel[1] + 2)
    layer = GroupedConv2d(kind, kernel, inputs, outputs, groups)
    y, x = height // 2, width // 2
    values = torch.randn(1, inputs, height, width, requires_grad=True)
    found = layer(values)[0, :, y, x]

    for feature in range(outputs):
        (gradient,) = torch.autograd.grad(found[feature], values, retain_graph=True)
        own = group_of(feature, outputs, groups)
        expected = [
            [
                [
                    abs(row - y) <= kernel[0] // 2
                    and abs(column - x) <= kernel[1] // 2
                    and sees(kind, y - row, column - x, own, group_of(i, inputs, groups))
                    for column in range(width)
                ]
                for row in range(height)
            ]
            for i in range(inputs)
        ]
        assert (gradient[0] != 0).tolist() == expected


# Integers ----------------------------------------------------------------------------------------


def all_taps(activations: Tensor, kernel: Size) -> Tensor:
    """Int8 [height, width, channels] -> what a canvas gives a layer: [pixels, taps * channels]."""
    height, width, channels = activations.shape
    plane = Plane(channels, torch.int8, 0, causal_runs(kernel))
    canvas = Canvas({"seen": plane}, 1, height, width, 0, torch.device("cpu"))
    canvas.begin(height, canvas.nothing_above())
    return canvas.neighbourhoods("seen", activations.flatten(0, 1))


@EACH_KIND
@EACH_KERNEL
@EACH_GROUPS
@pytest.mark.parametrize(
    ("bits", "offset"), [(ACTIVATION_BITS, 0.0), (STREAM_BITS, 8.0)], ids=["activation", "stream"]
)
def test_the_integer_layer_of_each_group_is_the_float_layer_but_for_rounding(
    kind: str, kernel: Size, groups: int, bits: int, offset: float
) -> None:
    inputs, outputs = 8, 7
    layer = GroupedConv2d(kind, kernel, inputs, outputs, groups).requires_grad_(False)
    layer.bias.copy_(torch.randn(outputs))
    activations = random_activations(9, 11, inputs)
    values = (activations * 2.0**-ACTIVATION_BITS).permute(2, 0, 1)[None]
    taps = all_taps(activations, kernel)

    found = layer.integer_layers("name", bits, offset)

    assert list(found) == [f"name.{group}" for group in range(groups)]
    for group, own in enumerate(group_slices(outputs, groups)):
        if kind == "A" and kernel[1] == 1 and group == 0:
            assert not found["name.0"].weight.any()  # It sees nothing
            continue
        expected = quantised(layer, values, own)
        check_conversion(found[f"name.{group}"], taps, expected, bits, offset)
