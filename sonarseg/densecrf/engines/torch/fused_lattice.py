"""The lattice of `lattice.Lattice`, built by fused kernels for tiles on one device.

Vertices are numbered in the order of their keys, their entries keep the order of the pixels, and are cut into
segments of bounded length that begin with the vertex: the sums of a tile do not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sonarseg.densecrf.engines.torch import build_kernels, kernels
from sonarseg.densecrf.features import LARGEST_KEY, MOST_CELLS, elevation_scale, slice_factor, too_narrow

_BLOCK = 1024
# Elements of a block of threads of the splat: entries times classes
_SPLAT_BLOCK = 1024
# At most so many blocks of threads share the vertices of several segments.
_COMBINING = 2048
_KEYS_OF_32_BITS = 2**31


class Layout:
    """What the kernels must know of the tiles of a batch: see `build_kernels`.

    Parameters
    ----------
    rows : sequence of six int
        First pixel, pixels, width, first score, classes and row of the background (-1: none) of each tile.
    """

    def __init__(self, rows: Sequence[Sequence[int]], device: torch.device) -> None:
        self.tiles = len(rows)
        self.longest = max(row[1] for row in rows)
        self.pixels = sum(row[1] for row in rows)
        self.size = max(row[2] for row in rows), max(row[1] // row[2] for row in rows)
        self.table = torch.tensor(rows, dtype=torch.int64).to(device)


class FusedLattice:
    """Lattice of one kernel, not yet normalised: `normalise` does it for both kernels of a batch at once.

    Parameters
    ----------
    layout : Layout
        The tiles; of one tile if `copies` tiles of one shape share its lattice.
    guides : uint8 (N * channels,)
        Guide images, not read if `channels` is 0.
    levels : (int, int)
        The lowest and the highest level of the guides.
    sigmas : (float, float)
        Widths of positions and of levels.
    copies : int
        Tiles that share the lattice.
    longest : int
        Longest segment if vertices have many entries.
    """

    def __init__(
        self,
        layout: Layout,
        guides: Tensor,
        channels: int,
        levels: tuple[int, int],
        sigmas: tuple[float, float],
        kernel: str,
        *,
        copies: int,
        longest: int,
    ) -> None:
        device = guides.device
        self.copies, self.corners, self.pixels_of_copy = copies, 3 + channels, layout.pixels
        ranges = [(0.0, (side - 1) / sigmas[0]) for side in layout.size]
        ranges += [(levels[0] / sigmas[1], levels[1] / sigmas[1])] * channels
        box, stride_of_tile = _box(ranges, kernel, layout.tiles)
        numbers = torch.tensor(box, dtype=torch.int64).to(device)
        entries = layout.pixels * self.corners
        small = stride_of_tile * layout.tiles < _KEYS_OF_32_BITS
        keys = torch.empty(entries, dtype=torch.int32 if small else torch.int64, device=device)
        self.weights = torch.empty(layout.pixels, self.corners, device=device)
        columns = _columns(self.corners)
        block = 64
        build_kernels.locate[(-(-layout.longest // block), layout.tiles)](
            guides, layout.table, _scale(self.corners - 1, device), numbers, keys, self.weights,
            float(sigmas[0]), float(sigmas[1]), math.sqrt(slice_factor(self.corners - 1)),
            CH=channels, D=self.corners - 1, NC=columns, BLOCK=block, num_warps=4, enable_fp_fusion=False,
        )  # fmt: skip
        self._number(keys, longest)
        self._meet(numbers[2 * columns + 2 :])

    def _number(self, keys: Tensor, longest: int) -> None:
        """Number the vertices and cut their entries into segments."""
        entries, device = len(keys), keys.device
        keys, order = torch.sort(keys, stable=True)
        numbers = torch.zeros(entries, dtype=torch.int32, device=device)
        torch.cumsum(keys[1:] != keys[:-1], 0, dtype=torch.int32, out=numbers[1:])
        self.vertices, self.pixels = torch.empty_like(numbers), torch.empty_like(numbers)
        self.sorted_weights = torch.empty(entries, device=device)
        self._found, starts = (
            torch.empty_like(keys),
            torch.empty(entries + 1, dtype=torch.int32, device=device),
        )
        grid = (-(-entries // _BLOCK),)
        build_kernels.number[grid](
            keys, order, numbers, self.weights, self.vertices, self.pixels, self.sorted_weights,
            self._found, starts, entries, CORNERS=self.corners, BLOCK=_BLOCK,
        )  # fmt: skip
        # The host waits here, once for a lattice: what follows is launched over the vertices.
        self.size = int(numbers[-1]) + 1
        self.longest = longest if entries >= 12 * self.size else 8
        each = (starts[1 : self.size + 1] - starts[: self.size] + (self.longest - 1)) // self.longest
        several = each > 1
        self.first_part, first_many = _before(each * several), _before(several)
        self.how_many = first_many[-1:].clone()
        self.segments, self.parts = self.size + entries // self.longest, 2 * (entries // self.longest) + 1
        self.begin, self.end = torch.zeros(2, self.segments, dtype=torch.int32, device=device).unbind()
        self.target = torch.full((self.segments,), -1, dtype=torch.int32, device=device)
        self.many = torch.empty(entries // self.longest + 1, dtype=torch.int32, device=device)
        build_kernels.segment[grid](
            numbers, starts, _before(each), self.first_part, first_many, self.begin, self.end, self.target,
            self.many, entries, L=self.longest, BLOCK=_BLOCK,
        )  # fmt: skip

    def _meet(self, steps: Tensor) -> None:
        """Find the neighbours of the vertices."""
        self.neighbours = torch.empty(self.corners, self.size, 2, dtype=torch.int32, device=steps.device)
        build_kernels.neighbour[(-(-self.size // 256), self.corners)](
            self._found, steps, self.neighbours, self.size, CORNERS=self.corners, BLOCK=256
        )
        del self._found

    def scale(self, values: Tensor) -> None:
        """Normalise all weights by the lattice's values (M + 1, 1) of ones, blurred."""
        pixels = len(self.weights)
        norm = torch.empty(pixels, device=values.device)
        build_kernels.normalise[(-(-pixels // _BLOCK),)](
            self.vertices, self.weights, values, norm, pixels, CORNERS=self.corners, BLOCK=_BLOCK
        )
        entries = len(self.pixels)
        build_kernels.scale_sorted[(-(-entries // _BLOCK),)](
            self.sorted_weights, self.pixels, norm, entries, BLOCK=_BLOCK
        )


class Values:
    """Values at the vertices of one lattice during the iterations, of `width` classes, a power of two."""

    def __init__(self, lattice: FusedLattice, width: int, copies: int) -> None:
        self.lattice, self.copies, self.rows = lattice, copies, lattice.size + 1
        device = lattice.weights.device
        # The last row of each copy stands for missing neighbours and stays zero.
        self.now, self.then = (torch.empty(copies * self.rows, width, device=device) for _ in range(2))
        for values in (self.now, self.then):
            values.reshape(copies, self.rows, width)[:, -1] = 0
        self.partial = torch.empty(copies * lattice.parts, width, device=device)
        self.group = max(1, _SPLAT_BLOCK // (lattice.longest * width))
        self.groups = -(-lattice.segments // self.group)
        self.programs = min(_COMBINING, len(lattice.many))

    def splat(self, present: bool) -> tuple[Any, ...]:
        """Arguments of `kernels.splat`."""
        one = self.lattice
        return (
            one.pixels, one.sorted_weights, one.begin, one.end, one.target, self.now, self.partial,
            one.segments, one.parts, self.rows, self.groups if present else 0,
        )  # fmt: skip

    def combine(self, present: bool) -> tuple[Any, ...]:
        """Arguments of `kernels.combine`."""
        one = self.lattice
        return (
            self.now, self.partial, one.many, one.first_part, one.how_many, one.parts, self.rows,
            self.programs if present else 0,
        )  # fmt: skip


def filtered(b: Values | None, s: Values | None, q: Tensor) -> None:
    """Splat (N, width) on both lattices and blur; the values are then in `now`. One of them may be None."""
    width, block = q.shape[1], 64
    left, right = b or s, s or b
    assert left is not None and right is not None
    has_b, has_s = b is not None, s is not None
    groups = (left.groups if has_b else 0) + (right.groups * right.copies if has_s else 0)
    kernels.splat[(groups,)](
        q, *left.splat(has_b), *right.splat(True), right.lattice.pixels_of_copy, CP=width,
        B_L=left.lattice.longest, B_G=left.group, S_L=right.lattice.longest, S_G=right.group, num_warps=4,
    )  # fmt: skip
    programs = (left.programs if has_b else 0) + (right.programs * right.copies if has_s else 0)
    kernels.combine[(programs,)](
        *left.combine(has_b), *right.combine(True), CP=width, L=max(8, min(64, 512 // width)), num_warps=2
    )
    for axis in range(max(side.lattice.corners for side in (left, right))):
        in_b, in_s = has_b and axis < left.lattice.corners, has_s and axis < right.lattice.corners
        b_blocks = -(-left.lattice.size // block) if in_b else 0
        s_blocks = -(-right.lattice.size // block)
        kernels.blur[(b_blocks + (s_blocks * right.copies if in_s else 0),)](
            left.now, left.then, left.lattice.neighbours, left.lattice.size, b_blocks,
            right.now, right.then, right.lattice.neighbours, right.lattice.size, s_blocks, axis,
            CP=width, BLOCK=block, num_warps=4,
        )  # fmt: skip
        for side, took_part in ((left, in_b), (right, in_s)):
            if took_part:
                side.now, side.then = side.then, side.now


def normalise(b: FusedLattice | None, s: FusedLattice | None) -> None:
    """Make both kernels the symmetrically normalised ones; one may be None."""
    sides = [None if lattice is None else Values(lattice, 1, 1) for lattice in (b, s)]
    pixels = max(len(lattice.weights) for lattice in (b, s) if lattice is not None)
    device = next(lattice.weights.device for lattice in (b, s) if lattice is not None)
    filtered(sides[0], sides[1], torch.ones(pixels, 1, device=device))
    for side in sides:
        if side is not None:
            side.lattice.scale(side.now)


def _before(counts: Tensor) -> Tensor:
    """Sums of all counts before each, and of all, int32."""
    sums = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(counts, 0, dtype=torch.int32, out=sums[1:])
    return sums


def _columns(corners: int) -> int:
    return 4 if corners <= 4 else 8


@cache
def _scale(dimensions: int, device: torch.device) -> Tensor:
    scale = torch.zeros(_columns(dimensions + 1))
    scale[:dimensions] = torch.from_numpy(elevation_scale(dimensions))
    return scale.to(device)


def _box(ranges: list[tuple[float, float]], kernel: str, tiles: int) -> tuple[list[int], int]:
    """Cells that features of these ranges reach, as the kernels read them, and the stride of a tile.

    As in the numba engine: the bounds are known without a look at the device.
    """
    dimensions = len(ranges)
    corners, columns = dimensions + 1, _columns(dimensions + 1)
    scale = [float(factor) for factor in elevation_scale(dimensions)]
    low = [least * factor for (least, _), factor in zip(ranges, scale, strict=True)]
    high = [most * factor for (_, most), factor in zip(ranges, scale, strict=True)]
    lowest, counts = [], []
    for i in range(dimensions):
        smallest = sum(low[i:]) - (i * high[i - 1] if i else 0.0)
        greatest = sum(high[i:]) - (i * low[i - 1] if i else 0.0)
        lowest.append(math.floor(smallest / corners) - 3)
        counts.append(math.ceil(greatest / corners) + 3 - lowest[-1] + 1)
    size = math.prod(counts) * corners
    excess = max(max(counts) / MOST_CELLS, (size * tiles / LARGEST_KEY) ** (1 / dimensions))
    if not excess < 1:
        raise too_narrow(kernel, excess)
    packing = [corners * math.prod(counts[:i]) for i in range(dimensions)] + [0]
    every, pad = sum(packing), [0] * (columns - dimensions)
    steps = [step for own in packing for step in (own - every + dimensions, own - 1)]
    return [*lowest, *pad, *packing[:-1], *pad, size, 0, *steps], size
