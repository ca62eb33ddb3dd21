"""Scores from counts that add up over tiles, so that thousands of resamples of strips are one matrix product.

Every metric of `sonarseg.metrics.iou.METRICS` is a function of sums over tiles: intersection and union
of each class, say. A resample of strips then needs no confusion matrices, only how often it holds each strip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.iou import METRICS, PAPER_EPSILON, Confusions

Floats = NDArray[np.float64]


def tile_counts(confusions: Confusions, metric: str) -> Floats:
    """Counts of each tile from which the metric of any set of tiles follows.

    Parameters
    ----------
    confusions : ndarray, int (..., T, K, K)
        Rows truth, columns prediction.
    metric : str
        A key of `METRICS`.

    Returns
    -------
    ndarray, float64 (..., T, F)
        For `miou`: intersections and unions of the K classes. `miou_multiclass`: the same, zero for
        tiles that it leaves out. `fwiou`: true pixels of each class after them. `miou_paper`: sum of the
        tile's K fractions and 1. `pixel_accuracy`: pixels that are right and all pixels. A tile that the
        metric does not count is zero throughout.

    Raises
    ------
    ValueError
        If the metric is unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(METRICS)}")
    right = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)
    truth = confusions.sum(axis=-1).astype(np.float64)
    union = truth + confusions.sum(axis=-2) - right
    if metric == "pixel_accuracy":
        return np.stack([right.sum(axis=-1), truth.sum(axis=-1)], axis=-1)
    if metric == "miou_paper":
        scored = (truth.sum(axis=-1) > 0).astype(np.float64)
        fractions = ((right + PAPER_EPSILON) / (union + PAPER_EPSILON)).mean(axis=-1)
        return np.stack([fractions * scored, scored], axis=-1)
    parts = [right, union, truth] if metric == "fwiou" else [right, union]
    counts = np.concatenate(parts, axis=-1)
    if metric == "miou_multiclass":
        counts *= ((truth > 0).sum(axis=-1) >= 2)[..., None]
    return counts


def score_of_counts(totals: Floats, metric: str) -> Floats:
    """Metric of each total: float64 (...) of counts (..., F) summed over tiles; NaN if undefined."""
    if metric in ("miou_paper", "pixel_accuracy"):
        return _ratio(totals[..., 0], totals[..., 1])
    if metric == "fwiou":
        right, union, truth = np.split(totals, 3, axis=-1)
        return _ratio((truth * _ratio(right, union, empty=0.0)).sum(axis=-1), truth.sum(axis=-1))
    right, union = np.split(totals, 2, axis=-1)
    # Sums of weights such as 1/3 leave crumbs in place of zero.
    present = union > 1e-6
    iou = np.where(present, right / np.where(present, union, 1.0), 0.0)
    return _ratio(iou.sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def _ratio(above: Floats, below: Floats, empty: float = float("nan")) -> Floats:
    some = below > 1e-6
    return np.where(some, above / np.where(some, below, 1.0), empty)


def strip_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Number of each tile's strip, (T,), in the order of first appearance; a tile without one is its own."""
    numbers: dict[tuple[str, str | int], int] = {}
    found = []
    for tile, group in enumerate(groups):
        key: tuple[str, str | int] = ("tile", tile) if group is None else ("strip", group)
        found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found, dtype=np.int64)


def strip_counts(confusions: Confusions, metric: str, groups: Sequence[str | None]) -> Floats:
    """Counts of each strip, float64 (..., G, F), of confusion matrices (..., T, K, K).

    Raises
    ------
    ValueError
        If `groups` does not name T strips.
    """
    tiles = confusions.shape[-3]
    if len(groups) != tiles:
        raise ValueError(f"{len(groups)} groups for {tiles} tiles")
    counts = tile_counts(confusions, metric)
    numbers = strip_numbers(groups)
    member = np.zeros((int(numbers.max(initial=-1)) + 1, tiles))
    member[numbers, np.arange(tiles)] = 1.0
    return np.asarray(member @ counts)


def counted_strips(counts: Floats) -> NDArray[np.bool_]:
    """Strips, bool (G,), in which the metric counts a tile, of counts (..., G, F)."""
    some = counts.any(axis=-1)
    return np.asarray(some.reshape(-1, some.shape[-1]).any(axis=0))
