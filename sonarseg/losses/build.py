"""From the configuration of a loss to the function that the trainer calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.losses.config import LossConfig, focal_alpha
from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.losses.focal import focal
from sonarseg.losses.lovasz_softmax import lovasz_softmax

# (logits float (B, K, H, W), target int64 (B, H, W)) -> scalar
Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(
    config: LossConfig,
    frequencies: NDArray[np.floating] | None,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Loss:
    """Make the loss of a run.

    Parameters
    ----------
    config : LossConfig
        Name, gamma, alpha.
    frequencies : ndarray, float (K,), or None
        Share of each class in the pseudo-labels of the first round; needed where alpha is above 0.
    device : torch.device
        Where the logits will be.

    Raises
    ------
    ValueError
        Where alpha is above 0 and the frequencies are missing or wrong.
    """
    if config.name == "cross-entropy":
        return cross_entropy
    if config.name == "lovasz_softmax":
        return lovasz_softmax
    if config.name != "focal":
        assert_never(config.name)
    alpha: Tensor | None = None
    if config.alpha > 0:
        if frequencies is None:
            raise ValueError(f"alpha = {config.alpha:g} needs the class frequencies of the pseudo-labels")
        alpha = torch.from_numpy(focal_alpha(frequencies, config.alpha)).float().to(device)
    return partial(focal, gamma=config.gamma, alpha=alpha)
