"""Paired bootstrap of a mIoU, every draw at once.

The same draws as `sonarseg.metrics.scores.paired_interval` makes, told by how often each strip is drawn:
a draw's counts are then one row of a matrix product, and thousands of draws take milliseconds. A report
has dozens of intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.scores import FEWEST_GROUPS, METRICS, PAPER_EPSILON, multiclass_tiles, paired_interval

RESAMPLES = 2000
LEVEL = 0.95
Runs = Sequence[NDArray[np.int64]]


def paired_intervals(
    a: Runs, b: Runs, metric: str, *, groups: Sequence[str | None] | None, seed: int
) -> tuple[float, float, float]:
    """Difference a - b of a metric's mean over runs, and its 95 % interval over the same tiles.

    Run i of a and run i of b are a pair. Of R > 1 pairs R - 1 are drawn with each draw of strips, as
    `sonarseg.metrics.run_interval.paired_run_interval` does.

    Parameters
    ----------
    a, b : sequence of int (T, K, K)
        Confusion matrices of the runs (one a seed) of two things.
    metric : str
        A key of `METRICS`.
    groups : sequence of (str or None), optional
        Strip of each tile; whole strips are drawn. A tile with None is drawn alone.
    seed : int
        Seed of the draws.

    Returns
    -------
    tuple of float
        Difference, lower and upper end; NaN for what is undefined, and for the ends where fewer than
        `FEWEST_GROUPS` strips are there.
    """
    if metric not in ("miou", "miou_multiclass", "miou_paper"):
        return _one_by_one(a, b, metric, groups, seed)
    blocks = _blocks(len(a[0]), groups)
    everything = np.ones((1, blocks.max() + 1))
    of_runs = np.full((1, len(a)), 1 / len(a))
    observed = _difference(a, b, metric, blocks, everything, of_runs)[0]
    strips = int(blocks.max()) + 1
    if strips < FEWEST_GROUPS:
        return float(observed), float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    draws = generator.integers(strips, size=(RESAMPLES, strips))
    times = np.zeros((RESAMPLES, strips))
    np.add.at(times, (np.arange(RESAMPLES)[:, None], draws), 1.0)
    drawn = _difference(a, b, metric, blocks, times, _drawn_runs(len(a), generator))
    defined = drawn[~np.isnan(drawn)]
    if not defined.size:
        return float(observed), float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(observed), float(low), float(high)


def _blocks(tiles: int, groups: Sequence[str | None] | None) -> NDArray[np.int64]:
    """Number of the strip of each tile, in the order in which strips first appear."""
    numbers: dict[tuple[str, str | int], int] = {}
    found = []
    for tile in range(tiles):
        group = None if groups is None else groups[tile]
        key = ("tile", tile) if group is None else ("group", group)
        found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found, dtype=np.int64)


def _drawn_runs(runs: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Share of each pair of runs in each draw, (R, runs)."""
    if runs == 1:
        return np.ones((RESAMPLES, 1))
    pairs = generator.integers(runs, size=(RESAMPLES, runs - 1))
    shares = np.zeros((RESAMPLES, runs))
    np.add.at(shares, (np.arange(RESAMPLES)[:, None], pairs), 1 / (runs - 1))
    return shares


def _difference(
    a: Runs,
    b: Runs,
    metric: str,
    blocks: NDArray[np.int64],
    times: NDArray[np.float64],
    of_runs: NDArray[np.float64],
) -> NDArray[np.float64]:
    differences = [
        _scores(one, metric, blocks, times) - _scores(other, metric, blocks, times)
        for one, other in zip(a, b, strict=True)
    ]
    return np.asarray((np.stack(differences, axis=1) * of_runs).sum(axis=1))


def _scores(
    confusions: NDArray[np.int64], metric: str, blocks: NDArray[np.int64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score of each draw (R,); `times` (R, G) tells how often each strip was drawn."""
    if metric == "miou_paper":
        return _paper_scores(confusions, blocks, times)
    if metric == "miou_multiclass":
        counted = multiclass_tiles(confusions)
        confusions, blocks = confusions[counted], blocks[counted]
    classes = confusions.shape[1]
    sums = np.zeros((times.shape[1], classes * classes))
    np.add.at(sums, blocks, confusions.reshape(len(confusions), classes * classes))
    totals = (times @ sums).reshape(-1, classes, classes)
    intersection = np.diagonal(totals, axis1=1, axis2=2)
    union = totals.sum(axis=1) + totals.sum(axis=2) - intersection
    present = union > 0
    iou = np.where(present, intersection / np.where(present, union, 1), 0.0).sum(axis=1)
    number = present.sum(axis=1)
    return np.where(number > 0, iou / np.maximum(1, number), np.nan)


def _paper_scores(
    confusions: NDArray[np.int64], blocks: NDArray[np.int64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    scored = confusions.sum(axis=(1, 2)) > 0
    confusions, blocks = confusions[scored], blocks[scored]
    intersection = np.diagonal(confusions, axis1=1, axis2=2)
    union = confusions.sum(axis=1) + confusions.sum(axis=2) - intersection
    of_tile = ((intersection + PAPER_EPSILON) / (union + PAPER_EPSILON)).mean(axis=1)
    sums, numbers = np.zeros(times.shape[1]), np.zeros(times.shape[1])
    np.add.at(sums, blocks, of_tile)
    np.add.at(numbers, blocks, 1.0)
    number = times @ numbers
    return np.where(number > 0, (times @ sums) / np.maximum(1, number), np.nan)


def _one_by_one(
    a: Runs, b: Runs, metric: str, groups: Sequence[str | None] | None, seed: int
) -> tuple[float, float, float]:
    """Draw after draw, for the metrics that no table shows."""

    def mean(stacked: NDArray[np.integer]) -> float | None:
        found = [METRICS[metric](stacked[:, run]) for run in range(stacked.shape[1])]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if len(known) == len(found) else None

    return paired_interval(
        np.stack(a, axis=1), np.stack(b, axis=1), mean, groups=groups, seed=seed, resamples=RESAMPLES
    )
