"""A larger network that starts where a smaller one is: the same function, with room to learn.

New feature maps start with random inputs and outputs of zero (Chen et al., "Net2Net", 2016, in
spirit), new blocks add nothing to the stream.
"""

from typing import cast

import torch
from torch import Tensor

from pixelcodec.errors import ModelError
from pixelcodec.models.layers import MaskedConv2d
from pixelcodec.models.wavefront_pixelcnn import CHANNELS, Config, WavefrontPixelCNN


def grown(network: WavefrontPixelCNN, config: Config) -> WavefrontPixelCNN:
    """A network of ``config`` that computes what ``network`` does.

    Raises:
        ModelError: ``config`` is smaller in some way, or has other components.
    """
    small = network.config
    if small.components != config.components or any(
        getattr(small, name) > getattr(config, name)
        for name in ("width", "hidden", "blocks", "head")
    ):
        raise ModelError(f"a network of {small} cannot grow to {config}")
    large = WavefrontPixelCNN(config)
    stream, hidden = _first(small.width), _first(small.hidden)
    with torch.no_grad():
        _put(large.input, network.input, stream, slice(None))
        for index in range(config.blocks):
            spatial, mix = (cast(MaskedConv2d, part[index]) for part in (large.spatial, large.mix))
            if index < small.blocks:
                _put(spatial, cast(MaskedConv2d, network.spatial[index]), hidden, stream)
                _put(mix, cast(MaskedConv2d, network.mix[index]), stream, hidden)
            else:
                mix.weight.zero_()
        head = torch.cat([torch.arange(small.head) + c * config.head for c in range(CHANNELS)])
        residuals = torch.arange(config.width, large.head.weight.shape[1])
        _put(large.head, network.head, head, torch.cat([torch.arange(small.width), residuals]))
        _put(large.parameters_of, network.parameters_of, slice(None), head)
    return large


def _first(count: int) -> Tensor:
    return torch.arange(count)


def _put(
    target: MaskedConv2d, source: MaskedConv2d, outputs: Tensor | slice, inputs: Tensor | slice
) -> None:
    """Have ``target``'s ``outputs`` see its ``inputs`` as ``source`` does, and nothing else."""
    rows = target.weight[outputs]
    rows.zero_()
    rows[:, inputs] = source.weight
    target.weight[outputs] = rows
    target.bias[outputs] = source.bias
