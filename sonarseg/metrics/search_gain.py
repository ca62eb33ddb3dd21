"""What a search has gained, judged on strips that did not choose its winner.

The best of many settings owes part of its score to the strips that chose it. So strips are drawn with
replacement; in each draw the best setting and the best untuned one are chosen on the strips drawn, and their
counts are read on the strips left out (bootstrap bias-corrected selection: Tsamardinos, Greasidou and
Borboudakis 2018, doi 10.1007/s10994-018-5714-4). Averaged over draws, this gives for every strip what the
search and the best untuned setting score there without having seen it. It is the gain of the search, not of
one setting: in other draws other settings win.

Results on different strips are not independent, because each strip helps to choose for the others. The
variance is that of the corrected resampled t-test (Nadeau and Bengio 2003, doi 10.1023/A:1024068626366). The
percentiles of the draws would be far too wide, because a draw leaves out a third of the strips only.

Only settings that were proposed without looking at scores may take part. A sampler that proposes settings
near those that did well has seen all strips, and no strip can then be left out (docs/statistics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sonarseg.metrics.bootstrap import LEVEL, Interval, draw_strips, pseudo_values, why_missing, within_range
from sonarseg.metrics.iou import Confusions
from sonarseg.metrics.strip_counts import Floats, counted_strips, score_of_counts, strip_counts

RESAMPLES = 2000
_BLOCK = 200


def search_gain(
    confusions: Confusions,
    baselines: NDArray[np.bool_],
    metric: str,
    *,
    groups: Sequence[str | None] | None,
    seeds: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Gain of choosing among all settings over choosing among the untuned ones, and its 95 % interval.

    See `search_gains`; `baselines`, bool (S,), are the untuned settings.
    """
    return search_gains(
        confusions, [baselines], metric, groups=groups, seeds=seeds, seed=seed, resamples=resamples
    )[0]


def search_gains(
    confusions: Confusions,
    baselines: Sequence[NDArray[np.bool_]],
    metric: str,
    *,
    groups: Sequence[str | None] | None,
    seeds: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Gain of one search over each of several choices of untuned settings, all judged on the same draws.

    Parameters
    ----------
    confusions : ndarray, int (S, R, T, K, K)
        Confusion matrices of S settings, untuned ones among them, with R runs each, on the same T tiles.
        Run i of every setting has the same random seed.
    baselines : sequence of ndarray, bool (S,)
        The untuned settings of each comparison; if several, the best of them is chosen in each draw too.
    metric : str
        A key of `sonarseg.metrics.iou.METRICS`.
    groups : sequence of (str or None), or None
        Strip of each tile; see `sonarseg.metrics.bootstrap.paired_interval`.
    seeds : bool
        Whether the runs differ by a random seed; then seeds are drawn and left out as strips are.
        If not, R must be 1.
    seed : int
        Random seed of the draws.
    resamples : int
        Number of draws.

    Returns
    -------
    list of Interval
        One for each of `baselines`. A value is NaN if there is no interval: without strips left out nothing
        is known of the gain.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a comparison has no untuned setting.
    """
    settings, runs = confusions.shape[:2]
    for untuned in baselines:
        if confusions.ndim != 5 or untuned.shape != (settings,) or not untuned.any():
            raise ValueError(
                f"shapes {confusions.shape} and {untuned.shape}: expected (S, R, T, K, K) and (S,)"
            )
    if runs > 1 and not seeds:
        raise ValueError(f"{runs} runs without seeds: expected one")
    names = list(groups) if groups is not None else [None] * confusions.shape[2]
    counts = strip_counts(confusions, metric, names)
    counted = counted_strips(counts)
    counts = counts[:, :, counted]
    known = any(name is not None for name in names)
    found = Interval(
        0.0,
        strips=int(counted.sum()) if known else 0,
        seeds=runs if seeds else 0,
        settings=settings,
    )
    missing = why_missing(found, known)
    if missing is not None:
        return [replace(found, value=math.nan, missing=missing)] * len(baselines)
    generator = np.random.default_rng(seed)
    held = held_out_counts(counts, baselines, metric, generator, crossed=seeds, resamples=resamples)
    return [_judged(found, np.stack([held[0], untuned]), metric, crossed=seeds) for untuned in held[1:]]


def _judged(found: Interval, held: Floats, metric: str, *, crossed: bool) -> Interval:
    """Fill in the gain and its interval from counts (2, R, G, F) of both sides on what was left out."""
    scores = score_of_counts(held.sum(axis=2), metric)
    value = float((scores[0] - scores[1]).mean())
    margin = _margin(pseudo_values(held, metric), crossed=crossed)
    if math.isnan(value) or math.isnan(margin):
        return replace(found, value=value, missing="undefined")
    return within_range(replace(found, value=value, low=value - margin, high=value + margin))


def held_out_counts(
    counts: Floats,
    baselines: Sequence[NDArray[np.bool_]],
    metric: str,
    generator: np.random.Generator,
    *,
    crossed: bool,
    resamples: int = RESAMPLES,
) -> Floats:
    """Counts (1 + N, R, G, F) of the search and N best untuned settings on strips (and seeds) left out.

    Parameters
    ----------
    counts : ndarray, float64 (S, R, G, F)
        Counts of each setting, run and strip.
    baselines : sequence of N ndarray, bool (S,)
    crossed : bool
        Whether a run is left out as well as a strip.
    resamples : int
        Number of draws.
    """
    _, runs, strips, features = counts.shape
    pools = [np.arange(len(counts)), *(np.flatnonzero(untuned) for untuned in baselines)]
    sums, times = np.zeros((len(pools), runs, strips, features)), np.zeros((runs, strips))
    for _ in range(resamples // _BLOCK):
        of_strips = draw_strips(_BLOCK, strips, generator)
        of_runs = draw_strips(_BLOCK, runs, generator) if crossed else np.ones((_BLOCK, 1))
        scores = _drawn_scores(counts, of_strips, of_runs, metric)
        runs_out = (of_runs == 0) if crossed else np.ones((_BLOCK, 1), dtype=np.bool_)
        out = (runs_out[:, :, None] & (of_strips == 0)[:, None, :]).astype(np.float64)
        times += out.sum(axis=0)
        for side, pool in enumerate(pools):
            chosen = pool[scores[pool].argmax(axis=0)]
            sums[side] += np.einsum("brg,brgf->rgf", out, counts[chosen], optimize=True)
    return np.asarray(sums / np.maximum(times, 1.0)[None, :, :, None])


def _drawn_scores(counts: Floats, of_strips: Floats, of_runs: Floats, metric: str) -> Floats:
    """Score (S, B) of each setting in each draw: mean over the runs drawn; -inf if undefined."""
    totals = np.einsum("bg,srgf->srbf", of_strips, counts, optimize=True)
    scores = score_of_counts(totals, metric)
    mean = np.einsum("br,srb->sb", of_runs, scores) / of_runs.sum(axis=1)
    return np.where(np.isnan(mean), -np.inf, mean)


def _margin(pseudo: Floats, *, crossed: bool) -> float:
    """Half the width of the interval, from pseudo-values (R, G)."""
    margin = corrected_margin(pseudo.mean(axis=0))
    return math.hypot(margin, corrected_margin(pseudo.mean(axis=1))) if crossed else margin


def corrected_margin(values: Floats) -> float:
    """Half the width of the corrected resampled t-test's interval, of n values each left out once.

    Each was judged by a choice that the n - 1 others made: the variance of their mean is
    (1 / n + 1 / (n - 1)) times that of one (Nadeau and Bengio 2003, section 3).
    """
    number = len(values)
    error = math.sqrt((1 / number + 1 / (number - 1)) * float(values.var(ddof=1)))
    return float(stdtrit(number - 1, (1 + LEVEL) / 2)) * error
