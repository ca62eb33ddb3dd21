"""Where pixels lie in the permutohedral lattice: the simplex round each, and its weights there.

Adams, Baek and Davis (2010), section 3.1, for as many pixels at once as a vector register holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sonarseg.densecrf.engines.numba.vector import broadcast, load, nearest, store, where_equal, where_less
from sonarseg.numba_cache import compiled


@compiled()
def locate(
    features: Any, scale: Any, lowest: Any, strides: Any, keys: Any, weights: Any, axes: Any, pixels: Any
) -> None:
    """Keys of the simplex round every pixel, and barycentric weights (Adams et al., section 3.1).

    Works on as many pixels at once as `pixels` has lanes; features and results are padded to whole vectors.
    """
    corners = len(axes)
    lanes = len(pixels)
    blocks = features.shape[1] // lanes
    whole = np.empty((corners, lanes), np.float32)
    rank = np.empty((corners, lanes), np.float32)
    offset = np.empty((corners, lanes), np.float32)
    barycentric = np.empty((corners, lanes), np.float32)
    stride_of_rank = np.zeros(corners, np.int64)
    for block in range(blocks):
        _elevate(features, scale, block, blocks, whole, offset, axes, pixels)
        _rank(whole, rank, offset, axes, pixels)
        _barycentric(rank, offset, barycentric, axes, pixels)
        for lane in range(lanes):
            n = block * lanes + lane
            key = 0
            for i in range(corners - 1):
                key += (np.int64(whole[i, lane]) - lowest[i]) * strides[i]
                stride_of_rank[np.uint64(rank[i, lane])] = strides[i]
            stride_of_rank[np.uint64(rank[corners - 1, lane])] = 0
            for remainder in range(corners):
                # Vertex `remainder` lies one cell lower along the coordinates of the highest ranks.
                if remainder > 0:
                    key -= stride_of_rank[corners - remainder]
                keys[n, remainder] = key + remainder
                weights[n, remainder] = barycentric[remainder, lane]


@compiled()
def _elevate(
    features: Any, scale: Any, block: int, blocks: int, whole: Any, offset: Any, axes: Any, pixels: Any
) -> None:
    """Lift into the hyperplane; the nearest point of remainder 0 (`whole`) and what is left."""
    corners = len(axes)
    down, up = broadcast(np.float32(1.0 / corners), pixels), broadcast(np.float32(corners), pixels)
    sum_above = broadcast(np.float32(0), pixels)
    for j in range(corners - 1, -1, -1):
        elevated = sum_above
        if j > 0:
            scaled = load(features, (j - 1) * blocks + block, pixels) * broadcast(scale[j - 1], pixels)
            elevated = sum_above - broadcast(np.float32(j), pixels) * scaled
            sum_above = sum_above + scaled
        cell = nearest(elevated * down)
        store(whole, j, cell)
        store(offset, j, elevated - cell * up)


@compiled()
def _rank(whole: Any, rank: Any, offset: Any, axes: Any, pixels: Any) -> None:
    """Order the offsets, largest first, and move to the point whose coordinates add up to 0."""
    corners = len(axes)
    zero, one = broadcast(np.float32(0), pixels), broadcast(np.float32(1), pixels)
    up, highest = broadcast(np.float32(corners), pixels), broadcast(np.float32(corners - 1), pixels)
    excess = zero
    for i in range(corners):
        excess = excess + load(whole, i, pixels)
    for i in range(corners):
        place = excess
        for j in range(corners):
            if j < i:
                place = place + where_less(load(offset, j, pixels), load(offset, i, pixels), zero, one)
            elif j > i:
                place = place + where_less(load(offset, i, pixels), load(offset, j, pixels), one, zero)
        store(rank, i, place)
    for i in range(corners):
        place = load(rank, i, pixels)
        shift = where_less(place, zero, one, zero) - where_less(highest, place, one, zero)
        store(rank, i, place + shift * up)
        store(whole, i, load(whole, i, pixels) + shift)
        store(offset, i, load(offset, i, pixels) - shift * up)


@compiled()
def _barycentric(rank: Any, offset: Any, barycentric: Any, axes: Any, pixels: Any) -> None:
    """Weight of each vertex: the difference of offsets of neighbouring ranks."""
    corners = len(axes)
    zero, down = broadcast(np.float32(0), pixels), broadcast(np.float32(1.0 / corners), pixels)
    above = broadcast(np.float32(-1), pixels)
    for place in range(corners):
        part = zero
        for i in range(corners):
            here = broadcast(np.float32(place), pixels)
            part = where_equal(load(rank, i, pixels), here, load(offset, i, pixels) * down, part)
        if place == 0:
            above = part
            store(barycentric, 0, broadcast(np.float32(1), pixels) - part)
        else:
            store(barycentric, corners - place, above - part)
            above = part
    store(barycentric, 0, load(barycentric, 0, pixels) + above)
