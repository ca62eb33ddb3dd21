"""The permutohedral lattice of Adams, Baek and Davis (2010), built by one thread in numba.

Pixel features are points of d dimensions. The lattice cuts their space into simplices of d + 1 vertices;
a pixel hands its value to the vertices of its simplex by barycentric weights, neighbouring
vertices are blurred along d + 1 axes, and the pixel reads the result back by the same weights.

Vertices are found by one packed integer instead of d coordinates. All coordinates of a vertex have the
same remainder modulo d + 1, so coordinate i is (d + 1) q_i + r, and the key is r + sum q_i stride_i over
the box that the features reach. A step along an axis is then a constant added to the key, one for r = 0
and one for r > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.densecrf.engines.numba.simplex import locate
from sonarseg.densecrf.features import (
    LARGEST_KEY,
    MOST_CELLS,
    elevation_scale,
    slice_factor,
    spatial_features,
    too_narrow,
)
from sonarseg.numba_cache import compiled

# Up to so many keys, every key has a place of its own in a table of 32 MiB at most; else it is hashed.
_PLACES_A_PIXEL, _MOST_PLACES = 128, 2**23
# An odd number near 2^64 over the golden ratio spreads neighbouring keys over the hash table.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PIXELS_AT_ONCE = 16


@dataclass(frozen=True)
class Lattice:
    """The lattice of one kernel over the pixels of one tile.

    Attributes
    ----------
    vertices : int32 (N, d + 1)
        Vertices of each pixel's simplex.
    weights : float32 (N, d + 1)
        Barycentric weight times the pixel's symmetric normalisation 1 / sqrt(K 1), so that splatting
        and slicing by these weights is the normalised kernel.
    neighbours : int32 (M, d + 1, 2)
        The two neighbours of each vertex along each axis; M, a row of zeros, where there is none.
    """

    vertices: NDArray[np.int32]
    weights: NDArray[np.float32]
    neighbours: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Memory of the three arrays."""
        return self.vertices.nbytes + self.weights.nbytes + self.neighbours.nbytes

    @property
    def slice_factor(self) -> float:
        """What the blur takes away: slicing multiplies by 1 / (1 + 2^-d)."""
        return slice_factor(self.vertices.shape[1] - 1)


def build_lattice(features: NDArray[np.float32], kernel: str = "these widths") -> Lattice:
    """Build the lattice of a Gaussian kernel exp(-|f_i - f_j|^2 / 2).

    Parameters
    ----------
    features : float32 (d, N), C order
        As `sonarseg.densecrf.features` makes them.
    kernel : str
        Names of the widths, for the message.

    Raises
    ------
    UserError
        Where the features reach too far for 62-bit keys or for float32.
    """
    dimensions, pixels = features.shape
    scale = elevation_scale(dimensions)
    lowest, counts = _box(features, scale, kernel)
    size = math.prod(int(count) for count in counts) * (dimensions + 1)
    excess = max(int(counts.max()) / MOST_CELLS, (size / LARGEST_KEY) ** (1 / dimensions))
    if not excess < 1:
        raise too_narrow(kernel, excess)
    strides = np.empty(dimensions, dtype=np.int64)
    strides[0] = dimensions + 1
    for i in range(1, dimensions):
        strides[i] = strides[i - 1] * int(counts[i - 1])
    axes = (0,) * (dimensions + 1)
    padded = _PIXELS_AT_ONCE * math.ceil(pixels / _PIXELS_AT_ONCE)
    if padded > pixels:
        features = np.pad(features, ((0, 0), (0, padded - pixels)), mode="edge")
    keys = np.empty((padded, dimensions + 1), dtype=np.int64)
    weights = np.empty((padded, dimensions + 1), dtype=np.float32)
    locate(features, scale, lowest, strides, keys, weights, axes, (0,) * _PIXELS_AT_ONCE)
    keys, weights = keys[:pixels], weights[:pixels]
    vertices = np.empty((pixels, dimensions + 1), dtype=np.int32)
    if size <= min(_PLACES_A_PIXEL * max(pixels, 1024), _MOST_PLACES):
        neighbours = _index_by_place(keys, size, strides, vertices, axes)
    else:
        neighbours = _index_by_hash(keys, strides, vertices, axes)
    _normalise(vertices, weights, neighbours, np.float32(slice_factor(dimensions)), axes)
    return Lattice(vertices, weights, neighbours)


def _box(
    features: NDArray[np.float32], scale: NDArray[np.float32], kernel: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest q and number of q of each of the first d coordinates, with room for neighbours.

    Elevated coordinate i is the sum of scaled features j > i less (i times) scaled feature i - 1.
    """
    dimensions = len(features)
    low = features.min(axis=1).astype(np.float64) * scale
    high = features.max(axis=1).astype(np.float64) * scale
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise too_narrow(kernel, math.inf)
    lowest, counts = [], []
    for i in range(dimensions):
        smallest = low[i:].sum() - (i * high[i - 1] if i else 0.0)
        greatest = high[i:].sum() - (i * low[i - 1] if i else 0.0)
        first = math.floor(smallest / (dimensions + 1)) - 3
        lowest.append(first)
        counts.append(math.ceil(greatest / (dimensions + 1)) + 3 - first + 1)
    return np.array(lowest, dtype=np.int64), np.array(counts, dtype=np.int64)


@compiled()
def _steps(strides: Any, axis: int, d: int) -> Any:
    """What one step along an axis adds to a key: where the remainder is 0, and elsewhere.

    The step takes 1 from every coordinate but gives d to the axis' own; the last has no place in the key.
    """
    every = 0
    for i in range(d):
        every += strides[i]
    own = strides[axis] if axis < d else 0
    return own - every + d, own - 1


@compiled()
def _index_by_place(keys: Any, size: int, strides: Any, vertices: Any, axes: Any) -> Any:
    """Number the vertices in order of appearance; a table with a place for every key."""
    corners = len(axes)
    table = np.full(size, np.int32(-1), np.int32)
    found = np.empty(keys.size, np.int64)
    count = 0
    for n in range(keys.shape[0]):
        for i in range(corners):
            key = keys[n, i]
            vertex = table[key]
            if vertex < 0:
                vertex = np.int32(count)
                table[key] = vertex
                found[count] = key
                count += 1
            vertices[n, i] = vertex
    neighbours = np.full((count, corners, 2), count, np.int32)
    for axis in range(corners):
        at_zero, elsewhere = _steps(strides, axis, corners - 1)
        for vertex in range(count):
            key = found[vertex]
            other = table[key + (at_zero if key % corners == 0 else elsewhere)]
            if other >= 0:
                neighbours[vertex, axis, 0] = other
                neighbours[other, axis, 1] = vertex
    return neighbours


@compiled()
def _slot(table: Any, found: Any, key: int) -> Any:
    """Where a key's vertex is in the hash table, or where it would go; open addressing, linear probing."""
    mask = np.uint64(len(table) - 1)
    slot = ((np.uint64(key) * _SPREAD) >> np.uint64(32)) & mask
    while table[slot] >= 0 and found[np.uint64(table[slot])] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled()
def _index_by_hash(keys: Any, strides: Any, vertices: Any, axes: Any) -> Any:
    """Number the vertices in order of appearance; a hash table at most half full."""
    corners = len(axes)
    capacity = 1
    while capacity < 2 * keys.size:
        capacity *= 2
    table = np.full(capacity, np.int32(-1), np.int32)
    found = np.empty(keys.size, np.int64)
    count = 0
    for n in range(keys.shape[0]):
        for i in range(corners):
            key = keys[n, i]
            slot = _slot(table, found, key)
            if table[slot] < 0:
                table[slot] = count
                found[count] = key
                count += 1
            vertices[n, i] = table[slot]
    neighbours = np.full((count, corners, 2), count, np.int32)
    for axis in range(corners):
        at_zero, elsewhere = _steps(strides, axis, corners - 1)
        for vertex in range(count):
            key = found[vertex]
            other = table[_slot(table, found, key + (at_zero if key % corners == 0 else elsewhere))]
            if other >= 0:
                neighbours[vertex, axis, 0] = other
                neighbours[other, axis, 1] = vertex
    return neighbours


@compiled(error_model="numpy")
def _normalise(vertices: Any, weights: Any, neighbours: Any, factor: Any, axes: Any) -> None:
    """Multiply each pixel's weights by 1 / sqrt(its row sum of the kernel)."""
    corners = len(axes)
    count = len(neighbours)
    values = np.zeros(count + 1, np.float32)
    blurred = np.zeros(count + 1, np.float32)
    for n in range(len(vertices)):
        for i in range(corners):
            values[vertices[n, i]] += weights[n, i]
    for axis in range(corners):
        for vertex in range(count):
            around = values[neighbours[vertex, axis, 0]] + values[neighbours[vertex, axis, 1]]
            blurred[vertex] = values[vertex] + np.float32(0.5) * around
        values, blurred = blurred, values
    for n in range(len(vertices)):
        row_sum = np.float32(0)
        for i in range(corners):
            row_sum += weights[n, i] * values[vertices[n, i]]
        scale = np.float32(1) / np.sqrt(row_sum * factor + np.float32(1e-20))
        for i in range(corners):
            weights[n, i] *= scale


_spatial: KeptLattices[Lattice] = KeptLattices(256 * 2**20)


def spatial_lattice(height: int, width: int, sigma: float) -> Lattice:
    """Lattice of the spatial kernel, the same for all tiles of a shape; the latest 256 MiB are kept."""

    def build() -> Lattice:
        return build_lattice(spatial_features(height, width, sigma), f"sigma_gamma {sigma:g}")

    return _spatial.get((height, width, sigma), build)
