"""Triton kernels that build lattices and unaries of a whole batch, a launch each.

`table` has a row for each tile, int64: first pixel, pixels, width, first score, classes, and the row of the
background.
"""

from __future__ import annotations

import triton
import triton.language as tl

COLUMNS = tl.constexpr(6)
# Added and taken away again, it rounds float32 below 2^22 to the nearest whole number; of two to the even.
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def locate(
    guides, table, scale, box, keys, weights, sigma_position, sigma_channel, gain,
    CH: tl.constexpr, D: tl.constexpr, NC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Keys and weights of the corners of each pixel's simplex, as `lattice._simplex` and `lattice._keys`.

    `box`, int64: the lowest cell along each of NC coordinates, the stride of each, the stride of a tile.
    """
    tile = tl.program_id(1).to(tl.int64)
    start, pixels = tl.load(table + tile * COLUMNS), tl.load(table + tile * COLUMNS + 1)
    width = tl.load(table + tile * COLUMNS + 2)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask, n = p < pixels, start + p
    j = tl.arange(0, NC)[None, :]
    x, y = (p % width).to(tl.float32), (p // width).to(tl.float32)
    shown = mask[:, None] & (j >= 2) & (j < 2 + CH)
    channel = tl.load(guides + n[:, None] * CH + (j - 2), mask=shown, other=0).to(tl.float32)
    feature = tl.where(j == 0, x[:, None], tl.where(j == 1, y[:, None], channel))
    sigma = tl.where(j < 2, sigma_position, sigma_channel) + tl.zeros((BLOCK, NC), tl.float32)
    scaled = tl.div_rn(feature, sigma) * tl.load(scale + j)
    above = tl.zeros((BLOCK,), tl.float32)
    elevated = tl.zeros((BLOCK, NC), tl.float32)
    for t in tl.static_range(D):
        own = tl.sum(tl.where(j == D - 1 - t, scaled, 0.0), axis=1)
        elevated = tl.where(j == D - t, (above - (D - t) * own)[:, None], elevated)
        above += own
    elevated = tl.where(j == 0, above[:, None], elevated)
    real = j <= D
    whole = tl.where(real, (elevated * (1.0 / (D + 1)) + _ROUNDER) - _ROUNDER, 0.0)
    offset = elevated - whole * (D + 1)
    one, other = offset[:, :, None], offset[:, None, :]
    i, k = tl.arange(0, NC)[None, :, None], tl.arange(0, NC)[None, None, :]
    before = ((one < other) | ((one == other) & (k < i))) & (k <= D) & (k != i)
    place = tl.sum(whole, axis=1)[:, None] + tl.sum(before.to(tl.float32), axis=2)
    shift = (place < 0).to(tl.float32) - (place > D).to(tl.float32)
    whole += tl.where(real, shift, 0.0)
    rank = tl.where(real, place + shift * (D + 1), -1.0).to(tl.int32)
    offset = (offset - shift * (D + 1)) * (1.0 / (D + 1))
    low, stride = tl.load(box + j), tl.load(box + NC + j)
    key = tile * tl.load(box + 2 * NC) + tl.sum(
        tl.where(j < D, (whole.to(tl.int64) - low) * stride, 0), axis=1
    )
    highest = tl.sum(tl.where(rank == 0, offset, 0.0), axis=1)
    lowest = tl.sum(tl.where(rank == D, offset, 0.0), axis=1)
    first = n * (D + 1)
    tl.store(weights + first, ((1.0 - highest) + lowest) * gain, mask=mask)
    tl.store(keys + first, key, mask=mask)
    for corner in tl.static_range(1, D + 1):
        upper = tl.sum(tl.where(rank == D - corner, offset, 0.0), axis=1)
        lower = tl.sum(tl.where(rank == D + 1 - corner, offset, 0.0), axis=1)
        key += 1 - tl.sum(tl.where(rank == D + 1 - corner, stride, 0), axis=1)
        tl.store(weights + first + corner, (upper - lower) * gain, mask=mask)
        tl.store(keys + first + corner, key, mask=mask)


@triton.jit(do_not_specialize=["E"])
def number(
    keys, order, numbers, weights, vertices, pixels, sorted_weights, found, starts, E,
    CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Give every entry its vertex, every sorted entry its pixel and weight, every vertex key and start."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = e < E
    place, vertex = tl.load(order + e, mask=mask, other=0), tl.load(numbers + e, mask=mask, other=0)
    tl.store(vertices + place, vertex, mask=mask)
    tl.store(pixels + e, (place // CORNERS).to(tl.int32), mask=mask)
    tl.store(sorted_weights + e, tl.load(weights + place, mask=mask, other=0.0), mask=mask)
    first = mask & (vertex != tl.load(numbers + e - 1, mask=mask & (e > 0), other=-1))
    tl.store(found + vertex, tl.load(keys + e, mask=first, other=0), mask=first)
    tl.store(starts + vertex, e.to(tl.int32), mask=first)
    tl.store(starts + vertex + 1, (e + 1).to(tl.int32), mask=mask & (e == E - 1))


@triton.jit(do_not_specialize=["E"])
def segment(
    numbers, starts, first_segment, first_part, first_many, begin, end, target, many, E,
    L: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Cut every vertex into segments of at most L entries; `first_...`: exclusive sums over the vertices."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = e < E
    vertex = tl.load(numbers + e, mask=mask, other=0)
    start, stop = (
        tl.load(starts + vertex, mask=mask, other=0),
        tl.load(starts + vertex + 1, mask=mask, other=0),
    )
    part = (e - start) // L
    opens = mask & ((e - start) % L == 0)
    s = tl.load(first_segment + vertex, mask=opens, other=0) + part
    tl.store(begin + s, e.to(tl.int32), mask=opens)
    tl.store(end + s, tl.minimum(e + L, stop.to(tl.int64)).to(tl.int32), mask=opens)
    several = stop - start > L
    piece = tl.load(first_part + vertex, mask=opens, other=0) + part
    tl.store(target + s, tl.where(several, -2 - piece, vertex).to(tl.int32), mask=opens)
    heads = opens & several & (part == 0)
    tl.store(many + tl.load(first_many + vertex, mask=heads, other=0), vertex, mask=heads)


@triton.jit
def _find(found, key, mask, M):
    """Place of each key among the sorted ones, M where it is not."""
    low = tl.zeros_like(key)
    high = low + M
    for _ in range(32):
        middle = (low + high) // 2
        less = tl.load(found + middle, mask=mask & (low < high), other=0).to(tl.int64) < key
        below = (low < high) & less
        low = tl.where(below, middle + 1, low)
        high = tl.where((low < high) & (below == 0), middle, high)
    inside = mask & (low < M)
    equal = inside & (tl.load(found + low, mask=inside, other=0).to(tl.int64) == key)
    return tl.where(equal, low, M).to(tl.int32)


@triton.jit(do_not_specialize=["M"])
def neighbour(found, steps, neighbours, M, CORNERS: tl.constexpr, BLOCK: tl.constexpr):
    """Both neighbours of each vertex along each axis; `steps`: where the remainder is 0, and elsewhere."""
    v = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    axis, mask = tl.program_id(1), v < M
    key = tl.load(found + v, mask=mask, other=0).to(tl.int64)
    at_zero, elsewhere = tl.load(steps + 2 * axis), tl.load(steps + 2 * axis + 1)
    remainder = key % CORNERS
    place = neighbours + (axis.to(tl.int64) * M + v) * 2
    forward = key + tl.where(remainder == 0, at_zero, elsewhere)
    tl.store(place, _find(found, forward, mask, M), mask=mask)
    backward = key - tl.where(remainder == CORNERS - 1, at_zero, elsewhere)
    tl.store(place + 1, _find(found, backward, mask, M), mask=mask)


@triton.jit(do_not_specialize=["N"])
def normalise(vertices, weights, values, norm, N, CORNERS: tl.constexpr, BLOCK: tl.constexpr):
    """Multiply each pixel's weights by 1 / sqrt(its row sum of the kernel)."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = n < N
    total = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(CORNERS):
        vertex = tl.load(vertices + n * CORNERS + k, mask=mask, other=0)
        total += tl.load(weights + n * CORNERS + k, mask=mask, other=0.0) * tl.load(
            values + vertex, mask=mask, other=0.0
        )
    scale = tl.rsqrt(total + 1e-20)
    tl.store(norm + n, scale, mask=mask)
    for k in tl.static_range(CORNERS):
        place = weights + n * CORNERS + k
        tl.store(place, tl.load(place, mask=mask, other=0.0) * scale, mask=mask)


@triton.jit(do_not_specialize=["E"])
def scale_sorted(weights, pixels, norm, E, BLOCK: tl.constexpr):
    """Multiply the sorted weights by the factor of their pixel."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = e < E
    factor = tl.load(norm + tl.load(pixels + e, mask=mask, other=0), mask=mask, other=0.0)
    tl.store(weights + e, tl.load(weights + e, mask=mask, other=0.0) * factor, mask=mask)


@triton.jit
def log_likelihood(
    scores, valid, table, trust, out, constant, scale, floor,
    SEEDS: tl.constexpr, VALID: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Minus the unary energies, float32 (N, CP); -inf for a class that the tile does not have.

    `trust`, float32: log-likelihood of the seed and of every other class, for each tile.
    """
    tile = tl.program_id(1).to(tl.int64)
    row = table + tile * COLUMNS
    start, pixels = tl.load(row), tl.load(row + 1)
    first, classes, background = tl.load(row + 3), tl.load(row + 4), tl.load(row + 5)
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c, mask = tl.arange(0, CP)[None, :], p < pixels
    there = mask[:, None] & (c < classes)
    score = tl.load(scores + first + c * pixels + p[:, None], mask=there, other=0.0).to(tl.float32)
    score = tl.where(c == background, constant, score)
    if SEEDS:
        seed = tl.argmax(tl.where(c < classes, score, -1.0), axis=1)
        right, wrong = tl.load(trust + 2 * tile), tl.load(trust + 2 * tile + 1)
        energy = tl.where(c == seed[:, None], right, wrong)
    else:
        energy = tl.log(score + floor) * scale
    if VALID:
        data = tl.load(valid + start + p, mask=mask, other=0)
        energy = tl.where((data != 0)[:, None], energy, 0.0)
    energy = tl.where(c < classes, energy, float("-inf"))
    tl.store(out + (start + p)[:, None] * CP + c, energy, mask=mask[:, None] & (c < CP))
