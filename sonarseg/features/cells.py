"""Maps of any stride brought to cells of one size: interpolated to pixels, averaged over each cell."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def grid(size: tuple[int, int], cell: int) -> tuple[int, int]:
    """Rows and columns of cells of a tile of `size` = (H, W): sides over `cell`, rounded, at least one."""
    return max(1, round(size[0] / cell)), max(1, round(size[1] / cell))


def to_cells(
    maps: Tensor, size: tuple[int, int], cells: tuple[int, int], stride: float = 1, offset: float = 0
) -> Tensor:
    """Bring maps to cells.

    Parameters
    ----------
    maps : float32 (B, F, h, w)
    size : (H, W)
        Of the tile, pixels.
    cells : (rows, columns)
        Cells, which share the tile evenly.
    stride : float
        Pixels from the centre of one entry of the maps to the next.
    offset : float
        Pixel, from 0, at the centre of the first entry. Before it and after the last, maps go on evenly.

    Returns
    -------
    float32 (B, F, rows, columns)
    """
    rows = _weights(cells[0], size[0], maps.shape[2], stride, offset).to(maps.device)
    columns = _weights(cells[1], size[1], maps.shape[3], stride, offset).to(maps.device)
    return rows @ maps @ columns.T


@lru_cache(maxsize=64)
def _weights(cells: int, side: int, length: int, stride: float, offset: float) -> Tensor:
    """Share of each entry in each cell along one axis: float32 (cells, length), rows sum to 1."""
    with torch.inference_mode(False):
        borders = torch.arange(cells + 1, dtype=torch.float64) * side / cells
        pixels = torch.arange(side, dtype=torch.float64)
        overlap = torch.minimum(borders[1:, None], pixels + 1) - torch.maximum(borders[:-1, None], pixels)
        area = overlap.clamp_min(0) * cells / side
        place = ((pixels - offset) / stride).clamp(0, length - 1)
        hats = (1 - (place[:, None] - torch.arange(length, dtype=torch.float64)).abs()).clamp_min(0)
        return (area @ hats).float()
