"""Features on one scale: the z-score over the cells of train, cut where a value is far out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP = 6.0


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Mean and deviation of each channel.

    Attributes
    ----------
    mean, deviation : float32 (F,)
        A deviation of a channel that does not vary is 1.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float16]) -> NDArray[np.float32]:
        """Standardise (..., F) to float32 in -6..6."""
        scaled = (features.astype(np.float32) - self.mean) / self.deviation
        return scaled.clip(-CLIP, CLIP)


def fit_standardisation(tiles: Iterable[NDArray[np.float16]]) -> Standardisation:
    """Find mean and deviation over all cells, in two passes over the tiles.

    Parameters
    ----------
    tiles : iterable of float16 (..., F)
        Iterated over twice, one tile in memory at a time.
    """
    count, mean = 0, np.zeros(1)
    for tile in tiles:
        rows = tile.reshape(-1, tile.shape[-1]).astype(np.float64)
        count += len(rows)
        mean = mean + rows.sum(axis=0)
    mean = mean / max(count, 1)
    squares = np.zeros_like(mean)
    for tile in tiles:
        rows = tile.reshape(-1, tile.shape[-1]).astype(np.float64)
        squares += np.square(rows - mean).sum(axis=0)
    deviation = np.sqrt(squares / max(count, 1))
    deviation[deviation < 1e-6] = 1
    return Standardisation(mean.astype(np.float32), deviation.astype(np.float32))
