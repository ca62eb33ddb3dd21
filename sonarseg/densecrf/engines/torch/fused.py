"""Mean field of a batch of tiles by the fused kernels; the same labels as `mean_field` on `Lattice`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sonarseg.densecrf.engines.torch import build_kernels, kernels
from sonarseg.densecrf.engines.torch.fused_lattice import FusedLattice, Layout, Values, filtered, normalise
from sonarseg.densecrf.engines.torch.placed import PlacedTile
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.unary import SCORE_FLOOR, background_score

# Elements of a block of threads: pixels times classes
_BLOCK = 1024


class FusedField:
    """Lattices and unaries of a batch, made once; `run` iterates any number of times.

    Parameters
    ----------
    tiles : sequence of PlacedTile
        Of any sizes and numbers of classes, with one number of channels.
    parameters : CrfParameters
        All but `iterations` is used.

    Raises
    ------
    UserError
        If a kernel is too narrow for a tile.
    """

    def __init__(self, tiles: Sequence[PlacedTile], parameters: CrfParameters) -> None:
        self.parameters = parameters
        self.device = tiles[0].guide.device
        self.width = width_of(max(len(tile.scores) for tile in tiles))
        self.block = max(16, _BLOCK // self.width)
        rows, pixel, score = [], 0, 0
        for tile in tiles:
            pixels, background = tile.shape[0] * tile.shape[1], tile.background
            rows.append(
                (
                    pixel,
                    pixels,
                    tile.shape[1],
                    score,
                    len(tile.scores),
                    -1 if background is None else background,
                )
            )
            pixel, score = pixel + pixels, score + tile.scores.numel()
        self.pixels = pixel
        with torch.inference_mode():
            layout = Layout(rows, self.device)
            self.table = layout.table
            self.likelihood = self._likelihood(tiles, layout)
            self.bilateral, self.spatial = self._lattices(tiles, layout, rows)
            if self.bilateral is not None or self.spatial is not None:
                normalise(self.bilateral, self.spatial)

    def _likelihood(self, tiles: Sequence[PlacedTile], layout: Layout) -> Tensor:
        p = self.parameters
        kind = torch.float16 if all(t.scores.dtype == torch.float16 for t in tiles) else torch.float32
        scores = torch.cat([tile.scores.reshape(-1).to(kind) for tile in tiles])
        valid = None
        if any(tile.valid is not None for tile in tiles):
            parts = [
                torch.ones_like(tile.guide.reshape(-1)[: tile.shape[0] * tile.shape[1]], dtype=torch.uint8)
                if tile.valid is None
                else tile.valid.reshape(-1).view(torch.uint8)
                for tile in tiles
            ]
            valid = torch.cat(parts)
        others = [max(1, len(tile.scores) - 1) for tile in tiles]
        trust = [(math.log(p.gt_prob), math.log((1 - p.gt_prob) / count)) for count in others]
        found = torch.empty(self.pixels, self.width, device=self.device)
        build_kernels.log_likelihood[(-(-layout.longest // self.block), layout.tiles)](
            scores, layout.table if valid is None else valid, layout.table,
            torch.tensor(trust, dtype=torch.float32).to(self.device), found,
            float(background_score(p)), float(p.unary_scale), SCORE_FLOOR,
            SEEDS=p.unary == "seeds", VALID=valid is not None, CP=self.width, BLOCK=self.block, num_warps=4,
        )  # fmt: skip
        return found

    def _lattices(
        self, tiles: Sequence[PlacedTile], layout: Layout, rows: Sequence[Sequence[int]]
    ) -> tuple[FusedLattice | None, FusedLattice | None]:
        p, bilateral, spatial = self.parameters, None, None
        guides = torch.cat([tile.guide.reshape(-1) for tile in tiles])
        if p.w_bilateral > 0:
            levels = min(tile.levels[0] for tile in tiles), max(tile.levels[1] for tile in tiles)
            channels = 1 if tiles[0].guide.ndim == 2 else tiles[0].guide.shape[2]
            bilateral = FusedLattice(
                layout, guides, channels, levels, (p.sigma_alpha, p.sigma_beta),
                f"sigma_alpha {p.sigma_alpha:g} and sigma_beta {p.sigma_beta:g}", copies=1, longest=32,
            )  # fmt: skip
        if p.w_spatial > 0:
            one_shape = len({tile.shape for tile in tiles}) == 1
            spatial = FusedLattice(
                Layout(rows[:1], self.device) if one_shape else layout, guides, 0, (0, 0),
                (p.sigma_gamma, 1.0), f"sigma_gamma {p.sigma_gamma:g}",
                copies=len(tiles) if one_shape else 1, longest=64,
            )  # fmt: skip
        return bilateral, spatial

    def run(self, iterations: int, rows: int) -> tuple[Tensor, Tensor]:
        """Labels uint8 (rows, N) after the last `rows` of 0 to `iterations`, marginals (N, width) after all.

        Labels are the class of highest probability, the lowest of equals.
        """
        with torch.inference_mode():
            labels = torch.empty(rows, self.pixels, dtype=torch.uint8, device=self.device)
            q = torch.empty(self.pixels, self.width, device=self.device)
            b, s = (
                None if lattice is None else Values(lattice, self.width, lattice.copies)
                for lattice in (self.bilateral, self.spatial)
            )
            first = iterations + 1 - rows
            self._update(labels, max(0, -first), q, None, None)
            for iteration in range(1, iterations + 1):
                if b is not None or s is not None:
                    filtered(b, s, q)
                self._update(labels, max(0, iteration - first), q, b, s)
            return labels, q

    def _update(self, labels: Tensor, row: int, q: Tensor, b: Values | None, s: Values | None) -> None:
        none, p = self.likelihood, self.parameters
        from_b = (none, none, none) if b is None else (b.lattice.vertices, b.lattice.weights, b.now)
        from_s = (none, none, none) if s is None else (s.lattice.vertices, s.lattice.weights, s.now)
        kernels.update[(-(-self.pixels // self.block),)](
            self.likelihood, q, labels, *from_b, *from_s,
            float(p.w_bilateral), float(p.w_spatial), self.pixels,
            self.pixels if s is None else s.lattice.pixels_of_copy, 0 if s is None else s.rows, row,
            CP=self.width, DB=0 if b is None else b.lattice.corners, DS=0 if s is None else s.lattice.corners,
            BLOCK=self.block, num_warps=4,
        )  # fmt: skip


def width_of(classes: int) -> int:
    """Columns of the kernels' rows: the next power of two, 4 at least."""
    return max(4, 1 << (classes - 1).bit_length())
