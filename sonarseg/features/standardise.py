"""Features on one scale: the z-score over the cells of train, cut where a value is far out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CLIP = 6.0


class Standardisation(nn.Module):
    """Subtracts the mean of each channel and divides by its deviation; the identity until `fit`.

    Parameters
    ----------
    channels : int
        F.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """float16 or float32 (B, F, h, w) -> float32 (B, F, h, w) in -6..6."""
        return ((features.float() - self.mean) / self.deviation).clamp(-CLIP, CLIP)

    def fit(self, tiles: Iterable[NDArray[np.float16]]) -> None:
        """Take mean and deviation over all cells of tiles, float16 (..., F), one in memory at a time.

        The deviation of a channel that does not vary is 1.
        """
        count, shift = 0, np.zeros(self.mean.numel())
        sums, squares = np.zeros_like(shift), np.zeros_like(shift)
        for tile in tiles:
            rows = tile.reshape(-1, tile.shape[-1]).astype(np.float64)
            if not count:
                # Sums about a value near the mean lose no digits.
                shift = rows.mean(axis=0)
            rows -= shift
            count += len(rows)
            sums += rows.sum(axis=0)
            squares += np.square(rows).sum(axis=0)
        mean = sums / max(count, 1)
        deviation = np.sqrt((squares / max(count, 1) - mean**2).clip(0))
        deviation[deviation < 1e-6] = 1
        self.mean.copy_(torch.from_numpy(mean + shift).view(self.mean.shape))
        self.deviation.copy_(torch.from_numpy(deviation).view(self.mean.shape))


def to_float16(features: Tensor) -> Tensor:
    """Features as they are stored: float16, those out of its range at its ends."""
    limit = torch.finfo(torch.float16).max
    return features.clamp(-limit, limit).half()
