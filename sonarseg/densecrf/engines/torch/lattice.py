"""The permutohedral lattice in plain torch operations, over the pixels of many tiles at once.

The same lattice as `sonarseg.densecrf.engines.numba.lattice`, found by sorting in place of hashing: keys are
packed into one integer with the tile's number on top, so tiles never share a vertex.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.densecrf.engines.torch.bags import SortedEntries
from sonarseg.densecrf.features import (
    LARGEST_KEY,
    MOST_CELLS,
    elevation_scale,
    slice_factor,
    spatial_features,
    too_narrow,
)


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
        Features of the pixels, as `sonarseg.densecrf.features` makes them.
    tile : int64 (N,), optional
        Number of each pixel's tile, from 0.
    deterministic : bool
        Splat on CUDA without atomic additions, which add in any order: the entries lie sorted by vertex, and
        `embedding_bag` adds them in bags of bounded length, in their order. The CPU, where `index_add_` is
        slow, always takes the sorted entries.
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
        dimensions = features.shape[1]
        whole, rank, weights = _simplex(features, kernel)
        keys, steps = _keys(whole, rank, tile, kernel)
        del whole, rank
        # Vertices are numbered in the order of their keys; within one, entries keep that of the pixels.
        keys, order = torch.sort(keys.reshape(-1), stable=True)
        found, numbers, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        del keys
        self.size = len(found)
        """Number of vertices, M."""
        self.vertices = torch.empty_like(numbers, dtype=torch.int32).scatter_(0, order, numbers.int())
        self.vertices = self.vertices.reshape(weights.shape)
        del numbers
        self.neighbours = _neighbours(found, steps, dimensions + 1)
        del found
        # The splat and the slice each carry the root of the gain.
        self.weights = weights.mul_(math.sqrt(slice_factor(dimensions)))
        self.sorted = (
            SortedEntries(order, counts, self.weights) if deterministic or not order.is_cuda else None
        )
        del order
        # Weights over the root of the row sums make every later filter the normalised kernel.
        norm = self.filter(torch.ones(len(features), 1, device=features.device)).add_(1e-20).rsqrt_()
        self.weights *= norm
        if self.sorted is not None:
            self.sorted.scale(norm)

    @property
    def nbytes(self) -> int:
        """Memory of all tensors."""
        own = sum(tensor.nbytes for tensor in (self.vertices, self.weights, *self.neighbours))
        return own if self.sorted is None else own + self.sorted.nbytes

    def filter(self, values: Tensor) -> Tensor:
        """Splat, blur along every axis, slice: float32 (N, C) to (N, C)."""
        lattice = self._splat(values)
        for both in self.neighbours:
            lattice[: self.size].add_(embedding_bag(both, lattice, mode="sum"), alpha=0.5)
        return embedding_bag(self.vertices, lattice, mode="sum", per_sample_weights=self.weights)

    def _splat(self, values: Tensor) -> Tensor:
        """Values at the vertices, (M + 1, C); the last row stands for missing neighbours."""
        if self.sorted is not None:
            return self.sorted.sums(values)
        lattice = torch.zeros(self.size + 1, values.shape[1], device=values.device)
        for corner in range(self.weights.shape[1]):
            lattice.index_add_(0, self.vertices[:, corner], values * self.weights[:, corner, None])
        return lattice


def _simplex(features: Tensor, kernel: str) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest point of remainder 0 in cells and ranks, (d + 1, N), and barycentric weights (N, d + 1)."""
    dimensions = features.shape[1]
    corners = dimensions + 1
    offset = _elevated(features)
    whole = torch.round(offset * (1.0 / corners))
    excess = float(whole.abs().max()) / MOST_CELLS
    if not excess < 1:
        raise too_narrow(kernel, excess)
    offset -= whole * corners
    place = whole.sum(0).repeat(corners, 1)
    for i in range(corners):
        for j in range(i + 1, corners):
            less = offset[i] < offset[j]
            place[i] += less
            place[j] += less.logical_not_()
    shift = (place < 0).float().sub_((place > dimensions).float())
    whole += shift
    shift *= corners
    place += shift
    offset -= shift
    rank = place.long()
    by_rank = torch.empty_like(offset).scatter_(0, rank, offset.mul_(1.0 / corners))
    weights = torch.empty(len(features), corners, device=features.device)
    weights[:, 0] = 1 - by_rank[0] + by_rank[dimensions]
    for corner in range(1, corners):
        weights[:, corner] = by_rank[dimensions - corner] - by_rank[corners - corner]
    return whole, rank, weights


def _elevated(features: Tensor) -> Tensor:
    """Features (N, d) in the hyperplane of the lattice, (d + 1, N)."""
    pixels, dimensions = features.shape
    scaled = features * torch.from_numpy(elevation_scale(dimensions)).to(features.device)
    elevated = torch.empty(dimensions + 1, pixels, device=features.device)
    above = torch.zeros(pixels, device=features.device)
    for j in range(dimensions, 0, -1):
        elevated[j] = above - j * scaled[:, j - 1]
        above += scaled[:, j - 1]
    elevated[0] = above
    return elevated


def _keys(
    whole: Tensor, rank: Tensor, tile: Tensor | None, kernel: str
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Packed keys (N, d + 1) of the simplices' vertices, and what a step along each axis adds.

    As in `numba_lattice`: all coordinates of a vertex have one remainder r modulo d + 1, so the key is r
    and the packed cells; the two steps are for r = 0 and r > 0.
    """
    corners, pixels = whole.shape
    lowest, highest = (whole[:-1].amin(1) - 3).long(), (whole[:-1].amax(1) + 3).long()
    counts = (highest - lowest + 1).tolist()
    tiles = 1 if tile is None else int(tile.max()) + 1
    excess = (math.prod(counts) * corners * tiles / LARGEST_KEY) ** (1 / (corners - 1))
    if not excess < 1:
        raise too_narrow(kernel, excess)
    strides = [corners]
    for count in counts:
        strides.append(strides[-1] * count)
    packing = [*strides[:-1], 0]
    key = torch.zeros(pixels, dtype=torch.int64, device=whole.device) if tile is None else tile * strides[-1]
    for axis, low in enumerate(lowest.tolist()):
        key += (whole[axis].long() - low) * packing[axis]
    # Vertex r lies one cell lower along the coordinates of the r highest ranks.
    step = torch.tensor(packing, device=whole.device)[:, None].expand(corners, pixels)
    step_of_rank = torch.empty_like(rank).scatter_(0, rank, step)
    keys = torch.empty(pixels, corners, dtype=torch.int64, device=whole.device)
    keys[:, 0] = key
    for corner in range(1, corners):
        key += 1 - step_of_rank[corners - corner]
        keys[:, corner] = key
    every = sum(packing)
    return keys, [(own - every + corners - 1, own - 1) for own in packing]


def _neighbours(found: Tensor, steps: list[tuple[int, int]], corners: int) -> list[Tensor]:
    """The two neighbours of every vertex along each axis, int32 (M, 2); M where there is none."""
    remainder = found % corners
    first, last = remainder == 0, remainder == corners - 1
    del remainder
    axes = []
    for at_zero, elsewhere in steps:
        forward = found + torch.where(first, at_zero, elsewhere)
        backward = found - torch.where(last, at_zero, elsewhere)
        axes.append(torch.stack([_place(found, forward), _place(found, backward)], dim=1))
    return axes


def _place(found: Tensor, keys: Tensor) -> Tensor:
    place = torch.searchsorted(found, keys, out_int32=True)
    there = found[place.clamp(max=len(found) - 1)] == keys
    return place.masked_fill_(there.logical_not_(), len(found))


class SharedLattice:
    """One lattice for tiles of one shape, applied to all of them side by side."""

    def __init__(self, lattice: Lattice, pixels: int) -> None:
        self.lattice = lattice
        self.pixels = pixels

    @property
    def nbytes(self) -> int:
        """Memory of the lattice."""
        return self.lattice.nbytes

    def filter(self, values: Tensor) -> Tensor:
        """Apply to float32 (tiles * pixels, C)."""
        channels = values.shape[1]
        beside = values.reshape(-1, self.pixels, channels).transpose(0, 1).reshape(self.pixels, -1)
        filtered = self.lattice.filter(beside).reshape(self.pixels, -1, channels)
        return filtered.transpose(0, 1).reshape(-1, channels)


_spatial: KeptLattices[SharedLattice] = KeptLattices(256 * 2**20)


def spatial_lattice(
    height: int, width: int, sigma: float, device: torch.device, deterministic: bool
) -> SharedLattice:
    """Lattice of the spatial kernel, the same for all tiles of a shape; the latest 256 MiB are kept."""

    def build() -> SharedLattice:
        features = torch.from_numpy(spatial_features(height, width, sigma).T.copy()).to(device)
        lattice = Lattice(features, deterministic=deterministic, kernel=f"sigma_gamma {sigma:g}")
        return SharedLattice(lattice, height * width)

    return _spatial.get((height, width, sigma, device, deterministic), build)
