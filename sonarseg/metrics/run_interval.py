"""A paired interval over tiles and runs: what a difference would be on other strips, with other seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.scores import (
    FEWEST_GROUPS,
    METRICS,
    Confusions,
    Metric,
    paired_interval,
    resampling_blocks,
)


def paired_run_interval(
    runs_a: Confusions,
    runs_b: Confusions,
    metric: str | Metric,
    *,
    groups: Sequence[str | None] | None = None,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Difference a - b of a metric's mean over runs, and its bootstrap interval.

    Run i of a and run i of b are one pair, scored on the same tiles. Every draw takes strips and
    pairs of runs with replacement. Of R pairs R - 1 are drawn, which gives their mean the right
    variance (McCarthy and Snowden 1985, the with-replacement bootstrap); with R drawn it would be
    too small by the share 1 / R. With two or three pairs the interval is still too narrow.

    Parameters
    ----------
    runs_a, runs_b : ndarray, int (R, T, K, K)
        Counts of R runs each on the same T tiles in the same order.
    metric : str or callable
        A key of `METRICS`, or a function of (T, K, K).
    groups : sequence of (str or None), optional
        Strip of each tile, see `paired_interval`.
    seed : int
        Seed of the draws.
    resamples : int
        Number of draws. A draw in which the metric is undefined is left out.
    level : float
        Coverage of the interval.

    Returns
    -------
    tuple of float
        Difference, lower and upper end; NaN for what is undefined. With one run a side this is
        `paired_interval`.

    Raises
    ------
    ValueError
        Where the shapes differ or no run is there, `groups` has another length, or `level` is not
        in (0, 1).
    """
    if runs_a.shape != runs_b.shape or runs_a.ndim != 4 or not len(runs_a):
        raise ValueError(f"shapes {runs_a.shape} and {runs_b.shape}: expected (runs, tiles, K, K), equal")
    runs, tiles = runs_a.shape[:2]
    if runs == 1:
        return paired_interval(
            runs_a[0], runs_b[0], metric, groups=groups, seed=seed, resamples=resamples, level=level
        )
    if groups is not None and len(groups) != tiles:
        raise ValueError(f"{len(groups)} groups for {tiles} tiles")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a share between 0 and 1")
    score = METRICS[metric] if isinstance(metric, str) else metric

    def difference(chosen: NDArray[np.int64], pairs: NDArray[np.int64]) -> float:
        found: list[float] = []
        for pair, times in zip(*np.unique(pairs, return_counts=True), strict=True):
            a, b = score(runs_a[pair][chosen]), score(runs_b[pair][chosen])
            found += [float("nan") if a is None or b is None else a - b] * int(times)
        return float(np.mean(found))

    observed = difference(np.arange(tiles), np.arange(runs))
    blocks = resampling_blocks(tiles, groups)
    if len(blocks) < FEWEST_GROUPS:
        return observed, float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for place in range(resamples):
        drawn = generator.integers(len(blocks), size=len(blocks))
        pairs = generator.integers(runs, size=runs - 1)
        differences[place] = difference(np.concatenate([blocks[i] for i in drawn]), pairs)
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return observed, float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return observed, float(low), float(high)
