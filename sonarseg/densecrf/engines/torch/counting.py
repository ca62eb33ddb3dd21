"""Confusion matrices counted on the device of the torch engine, for a batch of tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engines.torch.placed import PlacedTile
from sonarseg.ignore import IGNORE


class Counter:
    """Counts of truth and label of each tile after each iteration.

    Parameters
    ----------
    tiles : sequence of PlacedTile
        With `truth`; 255 is left out.
    kept : sequence of uint8 (k,)
        Class ids of the rows of each tile's scores.
    num_classes : int
        K.
    rows : int
        Iterations that are counted, 0 among them.
    """

    def __init__(
        self, tiles: Sequence[PlacedTile], kept: Sequence[NDArray[np.uint8]], num_classes: int, rows: int
    ) -> None:
        self.tiles, self.num_classes = len(tiles), num_classes
        device = tiles[0].guide.device
        most = max(len(ids) for ids in kept)
        padded = np.zeros((len(tiles), most), dtype=np.int64)
        for row, ids in zip(padded, kept, strict=True):
            row[: len(ids)] = ids
        self._ids = torch.from_numpy(padded).to(device).reshape(-1)
        pixels = torch.tensor([tile.shape[0] * tile.shape[1] for tile in tiles])
        tile_of = torch.arange(len(tiles)).repeat_interleave(pixels).to(device)
        truth = torch.cat([tile.truth.reshape(-1) for tile in tiles if tile.truth is not None]).long()
        self._first_id = tile_of * most
        self._ignored = truth == IGNORE
        # What is left out falls into a place of its own behind all others.
        self._place = (tile_of * num_classes + truth).mul_(num_classes)
        self._bins = len(tiles) * num_classes**2
        self.counts = torch.zeros(rows, self._bins, dtype=torch.int64, device=device)

    def add(self, row: int, labels: Tensor) -> None:
        """Count the labels (N,) after an iteration: rows of the scores."""
        place = self._ids[self._first_id + labels].add_(self._place)
        place.masked_fill_(self._ignored, self._bins)
        self.counts[row] = torch.bincount(place, minlength=self._bins + 1)[:-1]

    def found(self) -> list[NDArray[np.int64]]:
        """Confusion matrices, int64 (rows, K, K) of each tile: rows truth, columns labels."""
        shape = (-1, self.tiles, self.num_classes, self.num_classes)
        counts = self.counts.cpu().numpy().reshape(shape)
        return [np.ascontiguousarray(counts[:, index]) for index in range(self.tiles)]
