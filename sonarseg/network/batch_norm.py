"""Batch normalisation that a single value a channel does not stop."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, which uses its running statistics where the batch has none.

    The features of one small tile are a single cell: its mean is itself and its variance 0, so
    that torch refuses to train on it. Such a batch is normalised as in evaluation, and leaves the
    running statistics as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, F, h, w)."""
        if input.numel() > input.shape[1]:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
