"""The permutohedral lattice in plain torch operations, over the pixels of many tiles at once.

The same lattice as `sonarseg.densecrf.numba_lattice`, found by sorting in place of hashing: keys are
packed into one integer with the tile's number on top, so tiles never share a vertex.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from sonarseg.densecrf.kernels import elevation_scale, slice_factor, spatial_features, too_narrow

_LARGEST_KEY = 2**62
# Cells along one axis: beyond, float32 has too few bits left for the place within a cell.
_MOST_CELLS = 2**18
# Channels summed at once in the deterministic splat, which holds all entries in memory
_CHANNELS_AT_ONCE = 4


class Filter(Protocol):
    """A normalised Gaussian kernel that can be applied to values of pixels."""

    def filter(self, values: Tensor) -> Tensor:
        """Apply to float32 (N, C)."""
        ...


class Lattice:
    """Lattice of a Gaussian kernel exp(-|f_i - f_j|^2 / 2), symmetrically normalised.

    Parameters
    ----------
    features : float32 (N, d)
        Features of the pixels, as `sonarseg.densecrf.kernels` makes them.
    tile : int64 (N,), optional
        Number of each pixel's tile, from 0.
    deterministic : bool
        Splat without atomic additions: `index_add_` adds in any order on CUDA, whereas
        `segment_reduce` gives every sum to one thread. Slower, and the same bits every time.
    kernel : str
        Names of the widths, for the message.

    Raises
    ------
    UserError
        Where the features reach too far for 62-bit keys or for float32.
    """

    def __init__(
        self,
        features: Tensor,
        tile: Tensor | None = None,
        *,
        deterministic: bool = False,
        kernel: str = "these widths",
    ) -> None:
        self.corners = features.shape[1] + 1
        whole, rank, weights = _simplex(features, kernel)
        keys, steps = _keys(whole, rank, tile, kernel)
        del whole, rank
        # Vertices are numbered in the order of their keys.
        found, numbers = torch.unique(keys.reshape(-1), return_inverse=True)
        del keys
        self.size = len(found)
        self.vertices = numbers.reshape(-1, self.corners).to(torch.int32)
        self.neighbours = _neighbours(found, steps, self.corners)
        self.weights = weights
        self.order: Tensor | None = None
        if deterministic:
            entries = self.vertices.reshape(-1)
            self.lengths = torch.bincount(entries, minlength=self.size)
            self.order = torch.argsort(entries, stable=True).to(torch.int32)
        ones = torch.ones(len(features), 1, device=features.device)
        # Barycentric weights times 1 / sqrt(row sum) make every later filter the normalised kernel.
        self.weights = weights / torch.sqrt(self.filter(ones) + 1e-20)

    def filter(self, values: Tensor) -> Tensor:
        """Splat, blur along every axis, slice: float32 (N, C) to (N, C)."""
        lattice = self._splat(values)
        for axis in range(self.corners):
            one, other = self.neighbours[axis]
            around = lattice.index_select(0, one).add_(lattice.index_select(0, other))
            lattice[: self.size].add_(around, alpha=0.5)
        result = torch.zeros_like(values)
        for corner in range(self.corners):
            taken = lattice.index_select(0, self.vertices[:, corner])
            result.addcmul_(taken, self.weights[:, corner, None])
        return result.mul_(slice_factor(self.corners - 1))

    def _splat(self, values: Tensor) -> Tensor:
        """Values at the vertices, (M + 1, C); the last row stands for missing neighbours."""
        lattice = torch.zeros(self.size + 1, values.shape[1], device=values.device)
        if self.order is None:
            for corner in range(self.corners):
                weighted = values * self.weights[:, corner, None]
                lattice.index_add_(0, self.vertices[:, corner], weighted)
            return lattice
        pixel = torch.div(self.order, self.corners, rounding_mode="floor")
        weights = self.weights.reshape(-1).index_select(0, self.order)[:, None]
        for start in range(0, values.shape[1], _CHANNELS_AT_ONCE):
            part = slice(start, start + _CHANNELS_AT_ONCE)
            entries = values[:, part].index_select(0, pixel) * weights
            lattice[:-1, part] = torch.segment_reduce(entries, "sum", lengths=self.lengths, axis=0)
        return lattice


def _simplex(features: Tensor, kernel: str) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest point of remainder 0 in cells, ranks, and barycentric weights, (N, d + 1) each."""
    pixels, dimensions = features.shape
    corners = dimensions + 1
    scale = torch.from_numpy(elevation_scale(dimensions)).to(features.device)
    elevated = torch.empty(pixels, corners, device=features.device)
    above = torch.zeros(pixels, device=features.device)
    for j in range(dimensions, 0, -1):
        scaled = features[:, j - 1] * scale[j - 1]
        elevated[:, j] = above - j * scaled
        above = above + scaled
    elevated[:, 0] = above
    whole = torch.round(elevated * (1.0 / corners))
    excess = float(whole.abs().max()) / _MOST_CELLS
    if excess >= 1:
        raise too_narrow(kernel, excess)
    offset = elevated - whole * corners
    rank = whole.sum(1, keepdim=True).expand(-1, corners).clone()
    for i in range(corners):
        for j in range(i + 1, corners):
            less = (offset[:, i] < offset[:, j]).float()
            rank[:, i] += less
            rank[:, j] += 1 - less
    shift = (rank < 0).float() - (rank > dimensions).float()
    rank += shift * corners
    whole += shift
    offset -= shift * corners
    by_rank = torch.zeros_like(offset).scatter_(1, rank.long(), offset * (1.0 / corners))
    weights = torch.empty_like(offset)
    weights[:, 0] = 1 - by_rank[:, 0] + by_rank[:, dimensions]
    for corner in range(1, corners):
        weights[:, corner] = by_rank[:, dimensions - corner] - by_rank[:, corners - corner]
    return whole, rank, weights


def _keys(
    whole: Tensor, rank: Tensor, tile: Tensor | None, kernel: str
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Packed keys (N, d + 1) of the simplices' vertices, and what a step along each axis adds.

    As in `numba_lattice`: all coordinates of a vertex have one remainder r modulo d + 1, so the key is r
    and the packed cells; the two steps are for r = 0 and r > 0.
    """
    corners = whole.shape[1]
    cells = whole[:, :-1].long()
    lowest = cells.amin(0) - 3
    counts = (cells.amax(0) + 3 - lowest + 1).tolist()
    tiles = 1 if tile is None else int(tile.max()) + 1
    size = math.prod(counts) * corners * tiles
    excess = (size / _LARGEST_KEY) ** (1 / (corners - 1))
    if excess >= 1:
        raise too_narrow(kernel, excess)
    strides = [corners]
    for count in counts:
        strides.append(strides[-1] * count)
    packing = torch.tensor([*strides[:-1], 0], device=whole.device)
    base = ((cells - lowest) * packing[:-1]).sum(1)
    if tile is not None:
        base = base + tile * strides[-1]
    # Vertex r lies one cell lower along the coordinates of the r highest ranks.
    stride_of_rank = torch.zeros_like(rank, dtype=torch.int64)
    stride_of_rank.scatter_(1, rank.long(), packing.expand_as(stride_of_rank).contiguous())
    lower = torch.zeros_like(stride_of_rank)
    lower[:, 1:] = stride_of_rank.flip(1)[:, :-1].cumsum(1)
    keys = base[:, None] - lower + torch.arange(corners, device=whole.device)
    every = sum(strides[:-1])
    steps = [(own - every + corners - 1, own - 1) for own in [*strides[:-1], 0]]
    return keys, steps


def _neighbours(found: Tensor, steps: list[tuple[int, int]], corners: int) -> list[tuple[Tensor, Tensor]]:
    """The two neighbours of every vertex along each axis, int32 (M,); M where there is none."""
    remainder = found % corners
    both = []
    for at_zero, elsewhere in steps:
        forward = found + torch.where(remainder == 0, at_zero, elsewhere)
        backward = found - torch.where(remainder == corners - 1, at_zero, elsewhere)
        both.append((_place(found, forward), _place(found, backward)))
    return both


def _place(found: Tensor, keys: Tensor) -> Tensor:
    place = torch.searchsorted(found, keys)
    there = found[place.clamp(max=len(found) - 1)] == keys
    return torch.where(there, place, len(found)).to(torch.int32)


class SharedLattice:
    """One lattice for tiles of one shape, applied to all of them side by side."""

    def __init__(self, lattice: Lattice, pixels: int) -> None:
        self.lattice = lattice
        self.pixels = pixels

    def filter(self, values: Tensor) -> Tensor:
        """Apply to float32 (tiles * pixels, C)."""
        channels = values.shape[1]
        beside = values.reshape(-1, self.pixels, channels).transpose(0, 1).reshape(self.pixels, -1)
        filtered = self.lattice.filter(beside).reshape(self.pixels, -1, channels)
        return filtered.transpose(0, 1).reshape(-1, channels)


@lru_cache(maxsize=8)
def spatial_lattice(
    height: int, width: int, sigma: float, device: torch.device, deterministic: bool
) -> SharedLattice:
    """Lattice of the spatial kernel; the same for all tiles of a shape."""
    features = torch.from_numpy(spatial_features(height, width, sigma).T.copy()).to(device)
    lattice = Lattice(features, deterministic=deterministic, kernel=f"sigma_gamma {sigma:g}")
    return SharedLattice(lattice, height * width)
