"""Confusion matrices counted on the device of the torch engine, for a batch of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engines.torch.placed import PlacedTile
from sonarseg.ignore import IGNORE

# Pixels that a block of threads counts
_BLOCK = 4096


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
        self._most = most
        self._ids = torch.from_numpy(padded).to(device).reshape(-1)
        self._pixels = torch.tensor([tile.shape[0] * tile.shape[1] for tile in tiles])
        self._truth = torch.cat([tile.truth.reshape(-1) for tile in tiles if tile.truth is not None])
        self._bins = len(tiles) * num_classes**2
        self.counts = torch.zeros(rows, self._bins, dtype=torch.int64, device=device)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pixel the first of its tile's ids, the first count of its truth, and if it is left out."""
        tile_of = torch.arange(self.tiles).repeat_interleave(self._pixels).to(self._truth.device)
        place = (tile_of * self.num_classes + self._truth).mul_(self.num_classes)
        return tile_of * self._most, place, self._truth == IGNORE

    def add(self, row: int, labels: Tensor) -> None:
        """Count the labels (N,) after an iteration: rows of the scores."""
        first_id, first_place, ignored = self._places
        # What is left out falls into a place of its own behind all others.
        place = self._ids[first_id + labels].add_(first_place)
        place.masked_fill_(ignored, self._bins)
        self.counts[row] = torch.bincount(place, minlength=self._bins + 1)[:-1]

    def add_fused(self, labels: Tensor, table: Tensor) -> None:
        """Count labels (rows, N) after all iterations by one kernel; `table` as in `build_kernels`."""
        from sonarseg.densecrf.engines.torch import kernels

        bins = 1 << (self.num_classes**2).bit_length()
        counts = torch.zeros(self.counts.shape, dtype=torch.int32, device=labels.device)
        kernels.count[(-(-int(self._pixels.max()) // _BLOCK), self.tiles, len(labels))](
            labels, self._truth, self._ids, table, counts, labels.shape[1], len(labels), self.num_classes,
            self._most, IGNORED=IGNORE, COLUMNS=table.shape[1], BINS=bins, BLOCK=_BLOCK,
        )  # fmt: skip
        self.counts = counts

    def found(self) -> list[NDArray[np.int64]]:
        """Confusion matrices, int64 (rows, K, K) of each tile: rows truth, columns labels."""
        shape = (-1, self.tiles, self.num_classes, self.num_classes)
        counts = self.counts.cpu().numpy().astype(np.int64).reshape(shape)
        return [np.ascontiguousarray(counts[:, index]) for index in range(self.tiles)]
