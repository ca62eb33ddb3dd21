"""Boundary IoU: how well the outlines agree, whatever the size of the regions.

Cheng et al., "Boundary IoU" (arXiv 2103.16562). Counts of a tile add up to those of the survey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sonarseg.ignore import IGNORE

# Share of the tile's diagonal; the paper's value but for Cityscapes' large pictures (0.005)
DILATION_RATIO = 0.02


def boundary_width(height: int, width: int, ratio: float = DILATION_RATIO) -> int:
    """Width of the boundary band in pixels: a share of the tile's diagonal, at least 1."""
    return max(1, round(ratio * float(np.hypot(height, width))))


def inner_boundary(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a region within `width` steps (8 neighbours) of a pixel outside it.

    What lies beyond the tile is outside, as in the paper's code.

    Parameters
    ----------
    region : ndarray, bool (H, W)
        Pixels of one class.
    width : int
        Pixels, at least 1.
    """
    inside = ndimage.binary_erosion(region, np.ones((3, 3), dtype=bool), iterations=width)
    return np.asarray(region & ~inside, dtype=np.bool_)


def boundary_counts(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int, width: int
) -> NDArray[np.int64]:
    """Count the pixels in intersection and union of the boundary bands of one tile.

    Pixels that are 255 in the truth are taken out of the prediction too, so that both have an
    outline along them and neither gains by it.

    Parameters
    ----------
    truth, predicted : ndarray, int (H, W)
        Class ids.
    num_classes : int
        K.
    width : int
        Width of the band in pixels (`boundary_width`), at least 1.

    Returns
    -------
    ndarray, int64 (2, K)
        Intersections and unions; sum them over tiles.

    Raises
    ------
    ValueError
        Where the shapes differ or `width` is below 1.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and the prediction {predicted.shape}: they must be equal")
    if width < 1:
        raise ValueError(f"the boundary is {width} pixels wide, expected 1 or more")
    valid = truth != IGNORE
    counts = np.zeros((2, num_classes), dtype=np.int64)
    for label in range(num_classes):
        true_band = inner_boundary(truth == label, width)
        predicted_band = inner_boundary((predicted == label) & valid, width)
        counts[0, label] = (true_band & predicted_band).sum()
        counts[1, label] = (true_band | predicted_band).sum()
    return counts


def boundary_iou(counts: NDArray[np.integer]) -> float | None:
    """Mean boundary IoU over the classes present in truth or prediction.

    Parameters
    ----------
    counts : ndarray, int (2, K)
        Sum of `boundary_counts` over tiles.

    Returns
    -------
    float or None
        None where no class is present.
    """
    present = counts[1] > 0
    return float(np.mean(counts[0][present] / counts[1][present])) if present.any() else None
