"""The exponential moving average of a network over its steps: steadier than the weights of any one step."""

from __future__ import annotations

import copy
import math
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from sonarseg.network.two_heads import TwoHeadNetwork


class AveragedNetwork:
    """Averages weights and batch statistics, all on the device and without waiting for it.

    The average is divided by what the steps so far weigh together, so that those before the first, and
    the weights a network begins with, have no part in it.

    Parameters
    ----------
    trained : TwoHeadNetwork
        The network that is trained, where it is to stay: on its device.
    epochs : float
        Horizon: a step that lies so many epochs back weighs 1 / e of the last one.

    Attributes
    ----------
    network : TwoHeadNetwork
        Holds the average; before the first step, what the trained network holds.
    """

    def __init__(self, trained: TwoHeadNetwork, epochs: float) -> None:
        self._epochs = epochs
        self._trained = trained
        self.network = copy.deepcopy(trained).requires_grad_(False)
        self._weights: list[Tensor] = []
        self._sources: list[Tensor] = []
        self.follow()
        # One tensor for all, as they are many and small
        self._statistics = _joined(self.network)
        self._steps = 0

    def follow(self) -> None:
        """Average the weights that learn from now on."""
        learning = [parameter.requires_grad for parameter in self._trained.parameters()]
        self._weights = list(compress(self.network.parameters(), learning))
        self._sources = list(compress(self._trained.parameters(), learning))

    def state(self) -> dict[str, Any]:
        """What the checkpoint keeps beside the averaged network: the trained one and the steps so far."""
        return {"trained": self._trained.state_dict(), "steps": self._steps}

    def load_state(self, state: dict[str, Any], averaged: dict[str, Tensor]) -> None:
        """Take up the state of a checkpoint, and the averaged network in it."""
        self._trained.load_state_dict(state["trained"])
        self.network.load_state_dict(averaged)
        self._steps = int(state["steps"])

    def restart(self) -> None:
        """Have training go on from the average, and begin a new average."""
        self._trained.load_state_dict(self.network.state_dict())
        self._steps = 0

    @torch.no_grad()
    def after_step(self, steps_per_epoch: int) -> None:
        """Take in the weights and batch statistics of the step that was just taken."""
        self._steps += 1
        share = _share(self._steps, self._epochs * steps_per_epoch)
        torch._foreach_lerp_(self._weights, self._sources, share)
        now = torch.cat([buffer.flatten() for buffer in _statistics(self._trained)])
        # What a step that was left out has spoilt is put back later, and has no part until then.
        now = torch.where(torch.isfinite(now), now, self._statistics)
        self._statistics.lerp_(now, share)


def _share(step: int, horizon: float) -> float:
    """Weight of step number `step` (from 1) in the average up to it, for a horizon in steps."""
    return math.expm1(-1 / horizon) / math.expm1(-step / horizon)


def _statistics(network: TwoHeadNetwork) -> list[Tensor]:
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def _joined(network: TwoHeadNetwork) -> Tensor:
    """Lay the batch statistics of a network side by side in one tensor, of which its buffers become views."""
    buffers = _statistics(network)
    joined = torch.cat([buffer.flatten() for buffer in buffers])
    for buffer, part in zip(buffers, torch.split(joined, [b.numel() for b in buffers]), strict=True):
        buffer.data = part.view(buffer.shape)
    return joined
