"""Local statistics of the log amplitude: what a sea floor's texture is, without learning."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonarseg.features.cells import to_cells

# Added to the amplitude before the logarithm: about five grey levels of 255
FLOOR = 0.02
DARK, BRIGHT = 0.03, 0.5
# Sides of the boxes that detail is taken against, one after the other, pixels
DETAIL = (3, 5, 9)
# Sides of the windows, cells
WINDOWS = (1, 3, 5, 9)
CHANNELS = len(WINDOWS) * (6 + 4 * len(DETAIL))


def local_statistics(amplitude: Tensor, cells: tuple[int, int]) -> Tensor:
    """Compute statistics around each cell.

    For each window, the smallest first: mean and deviation of the log amplitude, mean absolute
    gradient down and to the right, share of dark and of bright pixels; then for each size of detail the
    mean absolute detail, the mean cube of bright detail, and the mean absolute differences of the
    smoothed picture along both diagonals.

    Parameters
    ----------
    amplitude : float32 (B, 1, H, W)
        In 0..1.
    cells : (rows, columns)
        Cells, which share the tile evenly. A window that leaves the tile sees its outermost cells repeated.

    Returns
    -------
    float32 (B, CHANNELS, rows, columns)
    """
    size = (amplitude.shape[2], amplitude.shape[3])
    means = to_cells(torch.cat(_of_pixels(amplitude), dim=1), size, cells)
    found = []
    for side in WINDOWS:
        window = _box(means, side)
        mean, square = window[:, :1], window[:, 1:2]
        found += [mean, (square - mean.square()).clamp_min(0).sqrt(), window[:, 2:]]
    return torch.cat(found, dim=1)


def _of_pixels(amplitude: Tensor) -> list[Tensor]:
    """The quantities whose means are taken, each (B, 1, H, W)."""
    log = torch.log(amplitude + FLOOR)
    down = F.pad((log[:, :, 1:] - log[:, :, :-1]).abs(), (0, 0, 0, 1))
    right = F.pad((log[:, :, :, 1:] - log[:, :, :, :-1]).abs(), (0, 1, 0, 0))
    found = [log, log.square(), down, right, (amplitude < DARK).float(), (amplitude > BRIGHT).float()]
    smooth = log
    for side in DETAIL:
        smoother = _box(smooth, side)
        detail = smooth - smoother
        smooth = smoother
        found += [detail.abs(), detail.clamp_min(0) ** 3]
        found += [_difference(smooth, side // 2, left) for left in (True, False)]
    return found


def _box(maps: Tensor, side: int) -> Tensor:
    """Mean over a square around each entry; the outermost entries go on outside."""
    return F.avg_pool2d(F.pad(maps, (side // 2,) * 4, mode="replicate"), side, 1)


def _difference(picture: Tensor, reach: int, left: bool) -> Tensor:
    """Absolute difference to the pixel `reach` above and as far to the left or to the right."""
    height, width = picture.shape[2:]
    padded = F.pad(picture, (reach, reach, reach, 0), mode="replicate")
    begin = 0 if left else 2 * reach
    return (picture - padded[:, :, :height, begin : begin + width]).abs()
