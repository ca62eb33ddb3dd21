"""Weighted sums of pixels at the vertices of a lattice, in a fixed order, in bags of bounded length."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# Entries that one thread adds up
LONGEST_BAG = 64


class SortedEntries:
    """Pixels and weights of all E = N (d + 1) entries, sorted by vertex.

    Parameters
    ----------
    order : int64 (E,)
        Place of each sorted entry in `weights`.
    counts : int64 (M,)
        Entries of each vertex.
    weights : float32 (N, d + 1)
    """

    def __init__(self, order: Tensor, counts: Tensor, weights: Tensor) -> None:
        self.weights = weights.reshape(-1).index_select(0, order)
        self.pixels = torch.div(order, weights.shape[1], rounding_mode="floor").int()
        # One empty bag more: the row of zeros
        self.levels = _bounded_bags(torch.cat([counts, counts.new_zeros(1)]))

    @property
    def nbytes(self) -> int:
        """Memory of all tensors."""
        return sum(tensor.nbytes for tensor in (self.weights, self.pixels, *self.levels))

    def scale(self, factor: Tensor) -> None:
        """Multiply the weights by a factor a pixel, (N, 1)."""
        self.weights *= factor[:, 0].index_select(0, self.pixels)

    def sums(self, values: Tensor) -> Tensor:
        """Weighted sums of (N, C) at the vertices, (M + 1, C)."""
        found = embedding_bag(
            self.pixels,
            values,
            self.levels[0],
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )
        for starts in self.levels[1:]:
            rows = torch.arange(len(found), dtype=torch.int32, device=found.device)
            found = embedding_bag(rows, found, starts, mode="sum", include_last_offset=True)
        return found


def _bounded_bags(counts: Tensor) -> list[Tensor]:
    """Starts, int32, of bags of at most `LONGEST_BAG` entries, of bags of those, and so on.

    CUDA has one thread add the entries of a bag and a channel: no thread may add thousands alone. A bag
    begins with its vertex, so the sums of a tile do not depend on the tiles beside it.

    Parameters
    ----------
    counts : int64 (M + 1,)
        Entries of each vertex; the last level has so many bags.
    """
    levels = []
    while int(counts.max()) > LONGEST_BAG:
        parts = ((counts + (LONGEST_BAG - 1)) // LONGEST_BAG).clamp_(min=1)
        first = parts.cumsum(0).sub_(parts)
        vertex = torch.repeat_interleave(parts)
        done = torch.arange(len(vertex), device=counts.device).sub_(first[vertex]).mul_(LONGEST_BAG)
        levels.append(_starts((counts[vertex] - done).clamp_(max=LONGEST_BAG)))
        counts = parts
    return [*levels, _starts(counts)]


def _starts(counts: Tensor) -> Tensor:
    """Starts of bags of so many entries, int32; the last is the end of all."""
    starts = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(counts, 0, dtype=torch.int32, out=starts[1:])
    return starts
