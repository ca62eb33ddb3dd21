"""Triton kernels of a mean-field iteration: splat, combine, blur, and slice with softmax and argmax in one.

Both lattices are served by one launch: the first programs take the bilateral one, the rest the spatial one.
Values lie as rows of `CP` classes, a power of two. No sum is atomic, so the bits are the same every time.
Lengths that change from trial to trial are not specialised: Triton would compile for each kind of number.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _splat_group(
    values, pixels, weights, begin, end, target, out, partial, segments, parts, rows, P, group, copy,
    CP: tl.constexpr, L: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    s = group * G + tl.arange(0, G)
    c, e = tl.arange(0, CP)[None, None, :], tl.arange(0, L)[None, :]
    inside = s < segments
    first, last = tl.load(begin + s, mask=inside, other=0), tl.load(end + s, mask=inside, other=0)
    where = tl.load(target + s, mask=inside, other=-1)
    entry = first[:, None] + e
    there = entry < last[:, None]
    p = tl.load(pixels + entry, mask=there, other=0)
    w = tl.load(weights + entry, mask=there, other=0.0)
    row = copy.to(tl.int64) * P + p
    v = tl.load(values + row[:, :, None] * CP + c, mask=there[:, :, None] & (c < CP), other=0.0)
    total = tl.sum(v * w[:, :, None], axis=1)
    c = tl.arange(0, CP)[None, :]
    whole = copy.to(tl.int64) * rows + where
    tl.store(out + whole[:, None] * CP + c, total, mask=(where >= 0)[:, None] & (c < CP))
    piece = copy.to(tl.int64) * parts - 2 - where
    tl.store(partial + piece[:, None] * CP + c, total, mask=(where < -1)[:, None] & (c < CP))


_SPLAT = ["b_segments", "b_parts", "b_rows", "b_groups", "s_segments", "s_parts", "s_rows", "s_groups", "P"]


@triton.jit(do_not_specialize=_SPLAT)
def splat(
    values,
    b_pixels, b_weights, b_begin, b_end, b_target, b_out, b_partial, b_segments, b_parts, b_rows, b_groups,
    s_pixels, s_weights, s_begin, s_end, s_target, s_out, s_partial, s_segments, s_parts, s_rows, s_groups,
    P, CP: tl.constexpr, B_L: tl.constexpr, B_G: tl.constexpr, S_L: tl.constexpr, S_G: tl.constexpr,
):  # fmt: skip
    """Sum weighted values by segments: to the vertex if it has one segment, else to a row of `partial`."""
    program = tl.program_id(0)
    if program < b_groups:
        _splat_group(
            values, b_pixels, b_weights, b_begin, b_end, b_target, b_out, b_partial, b_segments, b_parts,
            b_rows, 0, program, program * 0, CP, B_L, B_G,
        )  # fmt: skip
    else:
        number = program - b_groups
        _splat_group(
            values, s_pixels, s_weights, s_begin, s_end, s_target, s_out, s_partial, s_segments, s_parts,
            s_rows, P, number % s_groups, number // s_groups, CP, S_L, S_G,
        )  # fmt: skip


@triton.jit
def _combine_some(
    out, partial, many, first_part, count, parts, rows, number, programs, copy,
    CP: tl.constexpr, L: tl.constexpr,
):  # fmt: skip
    c, e = tl.arange(0, CP)[None, :], tl.arange(0, L)
    n = tl.load(count)
    for i in range(number, n, programs):
        vertex = tl.load(many + i)
        first, last = tl.load(first_part + vertex), tl.load(first_part + vertex + 1)
        total = tl.zeros((L, CP), tl.float32)
        for part in range(first, last, L):
            row = copy.to(tl.int64) * parts + part + e
            there = (part + e < last)[:, None] & (c < CP)
            total += tl.load(partial + row[:, None] * CP + c, mask=there, other=0.0)
        place = out + (copy.to(tl.int64) * rows + vertex) * CP + tl.arange(0, CP)
        tl.store(place, tl.sum(total, axis=0))


_COMBINE = ["b_parts", "b_rows", "b_programs", "s_parts", "s_rows", "s_programs"]


@triton.jit(do_not_specialize=_COMBINE)
def combine(
    b_out, b_partial, b_many, b_first, b_count, b_parts, b_rows, b_programs,
    s_out, s_partial, s_many, s_first, s_count, s_parts, s_rows, s_programs,
    CP: tl.constexpr, L: tl.constexpr,
):  # fmt: skip
    """Sum the segments of the vertices that have more than one; a block of threads takes a vertex."""
    program = tl.program_id(0)
    if program < b_programs:
        _combine_some(
            b_out, b_partial, b_many, b_first, b_count, b_parts, b_rows, program, b_programs, program * 0,
            CP, L,
        )  # fmt: skip
    else:
        number = program - b_programs
        _combine_some(
            s_out, s_partial, s_many, s_first, s_count, s_parts, s_rows, number % s_programs, s_programs,
            number // s_programs, CP, L,
        )  # fmt: skip


@triton.jit
def _blur_block(source, target, neighbours, M, axis, block, copy, CP: tl.constexpr, BLOCK: tl.constexpr):
    v = block * BLOCK + tl.arange(0, BLOCK)
    c, mask = tl.arange(0, CP)[None, :], v < M
    base = copy.to(tl.int64) * (M + 1)
    place = neighbours + (axis.to(tl.int64) * M + v) * 2
    one, two = tl.load(place, mask=mask, other=0), tl.load(place + 1, mask=mask, other=0)
    both = mask[:, None] & (c < CP)
    x = tl.load(source + (base + v)[:, None] * CP + c, mask=both, other=0.0)
    a = tl.load(source + (base + one)[:, None] * CP + c, mask=both, other=0.0)
    b = tl.load(source + (base + two)[:, None] * CP + c, mask=both, other=0.0)
    tl.store(target + (base + v)[:, None] * CP + c, x + 0.5 * (a + b), mask=both)


@triton.jit(do_not_specialize=["b_m", "b_blocks", "s_m", "s_blocks", "axis"])
def blur(
    b_source, b_target, b_neighbours, b_m, b_blocks, s_source, s_target, s_neighbours, s_m, s_blocks, axis,
    CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Blur along one axis of each lattice."""
    program = tl.program_id(0)
    if program < b_blocks:
        _blur_block(b_source, b_target, b_neighbours, b_m, axis, program, program * 0, CP, BLOCK)
    else:
        number = program - b_blocks
        _blur_block(
            s_source, s_target, s_neighbours, s_m, axis, number % s_blocks, number // s_blocks, CP, BLOCK
        )


@triton.jit(do_not_specialize=["N", "P", "s_rows", "row"])
def update(
    likelihood, q, labels, b_vertices, b_weights, b_values, s_vertices, s_weights, s_values, w_b, w_s,
    N, P, s_rows, row, CP: tl.constexpr, DB: tl.constexpr, DS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Slice both lattices, add the unary, take softmax and argmax; DB, DS: corners, 0 for no kernel."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c, mask = tl.arange(0, CP)[None, :], n < N
    both = mask[:, None] & (c < CP)
    place = n[:, None].to(tl.int64) * CP + c
    energy = tl.load(likelihood + place, mask=both, other=0.0)
    if DB > 0:
        heard = tl.zeros((BLOCK, CP), tl.float32)
        for k in tl.static_range(DB):
            vertex = tl.load(b_vertices + n.to(tl.int64) * DB + k, mask=mask, other=0).to(tl.int64)
            w = tl.load(b_weights + n.to(tl.int64) * DB + k, mask=mask, other=0.0)
            heard += w[:, None] * tl.load(b_values + vertex[:, None] * CP + c, mask=both, other=0.0)
        energy += w_b * heard
    if DS > 0:
        heard = tl.zeros((BLOCK, CP), tl.float32)
        base, p = (n // P).to(tl.int64) * s_rows, (n % P).to(tl.int64)
        for k in tl.static_range(DS):
            vertex = base + tl.load(s_vertices + p * DS + k, mask=mask, other=0)
            w = tl.load(s_weights + p * DS + k, mask=mask, other=0.0)
            heard += w[:, None] * tl.load(s_values + vertex[:, None] * CP + c, mask=both, other=0.0)
        energy += w_s * heard
    largest = tl.max(energy, axis=1)
    power = tl.exp(energy - largest[:, None])
    tl.store(q + place, power / tl.sum(power, axis=1)[:, None], mask=both)
    best = tl.argmax(energy, axis=1).to(tl.uint8)
    tl.store(labels + row.to(tl.int64) * N + n, best, mask=mask)


@triton.jit(do_not_specialize=["N", "rows", "K", "most"])
def count(
    labels, truth, ids, table, counts, N, rows, K, most,
    IGNORED: tl.constexpr, COLUMNS: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the pairs of truth and label of a block of pixels of a tile after an iteration to its K * K counts.

    `table` as in `build_kernels`; `ids`: class ids of the rows of each tile's scores, `most` places each.
    """
    tile, row = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    start, pixels = tl.load(table + tile * COLUMNS), tl.load(table + tile * COLUMNS + 1)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < pixels
    true = tl.load(truth + start + p, mask=mask, other=IGNORED).to(tl.int32)
    label = tl.load(labels + row * N + start + p, mask=mask, other=0).to(tl.int32)
    found = tl.load(ids + tile * most + label, mask=mask, other=0).to(tl.int32)
    # What is left out falls into the last bin, behind all others.
    pairs = tl.histogram(tl.where(true == IGNORED, BINS - 1, true * K + found), BINS)
    bins = tl.arange(0, BINS)
    place = counts + (row * tl.num_programs(1) + tile) * K * K + bins
    tl.atomic_add(place, pairs, mask=(bins < K * K) & (pairs > 0))
