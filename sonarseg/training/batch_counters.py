"""The counters of batch normalisation, added to once an epoch in place of once a layer and step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_COUNTER = "num_batches_tracked"


class Steps:
    """Counts the steps of a block."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counted_together(network: nn.Module) -> Iterator[Steps]:
    """Take the counters off the layers for the while, and add the steps to all of them at the end.

    Nothing reads them while the momentum is fixed, but each costs a launch a step on CUDA.

    Yields
    ------
    Steps
        Its `count` is to be raised with each step.
    """
    counters = _training_counters(network)
    steps = Steps()
    for layer in counters:
        layer._buffers[_COUNTER] = None
    try:
        yield steps
    finally:
        for layer, counter in counters.items():
            layer._buffers[_COUNTER] = counter
        if counters:
            torch._foreach_add_(list(counters.values()), steps.count)


def _training_counters(network: nn.Module) -> dict[nn.Module, Tensor]:
    layers = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    return {
        layer: layer.num_batches_tracked
        for layer in layers
        if layer.training and layer.momentum is not None and layer.num_batches_tracked is not None
    }
