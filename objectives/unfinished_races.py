"""Which settings that a race stopped could still be the best on some draw of strips.

A race compares with the best setting on all strips. An interval over strips draws them with replacement, and
in some draws another setting is the best: perhaps one that was stopped. Its counts on the tiles that it has
not been scored on are estimated, strip by strip: those of the best setting there, plus what it differs by per
pixel on the strip's tiles that it has been scored on (a ratio estimator of the difference). The error of that
goes by the spread of the differences per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.bootstrap import FEWEST_STRIPS, draw_strips
from sonarseg.metrics.iou import Confusions
from sonarseg.metrics.strip_counts import (
    Floats,
    counted_strips,
    score_of_counts,
    strip_numbers,
    tile_counts,
)

DRAWS = 200
# A setting that is the best in fewer draws than this share does not matter.
LEAST_CHANCE = 0.01
# Standard errors of what is missing that are granted: one side of 90 %
ERRORS = 1.64


@dataclass(frozen=True)
class Stopped:
    """What is known of a setting that a race stopped.

    Attributes
    ----------
    scored : bool (T,)
        Tiles that it has been scored on.
    confusions : int (T, K, K)
        Not looked at where it has not been scored.
    """

    scored: NDArray[np.bool_]
    confusions: Confusions


def chances(
    stopped: Sequence[Stopped],
    best: Confusions,
    complete: Floats,
    metric: str,
    groups: Sequence[str | None],
    *,
    seed: int = 0,
) -> Floats:
    """Share of draws of strips, (N,), in which each of N stopped settings could reach the best complete one.

    Parameters
    ----------
    stopped : sequence of Stopped
    best : ndarray, int (T, K, K)
        Confusion matrices of the complete setting with the best score.
    complete : ndarray, float64 (S, G, F)
        `sonarseg.metrics.strip_counts.strip_counts` of all complete settings.
    metric : str
        A key of `sonarseg.metrics.iou.METRICS`.
    groups : sequence of (str or None)
        Strip of each tile.
    seed : int
        Random seed of the draws.

    Returns
    -------
    ndarray, float64 (N,)
        1 for a setting of which no counted tile was scored; 0 for all if strips are unknown or too few.
    """
    counted = counted_strips(complete)
    strips = int(counted.sum())
    if all(name is None for name in groups) or strips < FEWEST_STRIPS:
        return np.zeros(len(stopped))
    draws = draw_strips(DRAWS, strips, np.random.default_rng(seed))
    scores = score_of_counts(np.einsum("bg,sgf->sbf", draws, complete[:, counted]), metric)
    highest = np.fmax.reduce(scores, axis=0)
    remainder = _Remainder(best, metric, groups)
    found = []
    for setting in stopped:
        known = remainder.estimate(setting)
        if known is None:
            found.append(1.0)
            continue
        counts, variance = known
        score = score_of_counts(draws @ counts[counted], metric)
        error = np.sqrt(draws**2 @ variance[counted])
        found.append(float((score + ERRORS * error >= highest).mean()))
    return np.array(found)


class _Remainder:
    """Estimates what stopped settings would count on all tiles of each strip."""

    def __init__(self, best: Confusions, metric: str, groups: Sequence[str | None]) -> None:
        self.metric = metric
        self.counts = tile_counts(best, metric)
        self.pixels = best.sum(axis=(1, 2)) * self.counts.any(axis=-1)
        self.slope = _slope(self.counts.sum(axis=0), metric)
        numbers = strip_numbers(groups)
        self.member = (numbers == np.arange(numbers.max() + 1)[:, None]).astype(np.float64)

    def estimate(self, setting: Stopped) -> tuple[Floats, Floats] | None:
        """Counts (G, F) of a setting, and the variance (G,) that each strip brings to its score."""
        scored = setting.scored & (self.pixels > 0)
        if not scored.any():
            return None
        change = tile_counts(setting.confusions, self.metric) - self.counts
        change[~scored] = 0.0
        seen, missing = self.member @ (self.pixels * scored), self.member @ (self.pixels * ~scored)
        ratio = _per_pixel(self.member @ change, seen, change.sum(axis=0) / self.pixels[scored].sum())
        counts = self.member @ (self.counts + change) + missing[:, None] * ratio
        variance = self._variance(change @ self.slope, scored, seen, missing, ratio @ self.slope)
        return np.maximum(counts, 0.0), variance

    def _variance(
        self, change: Floats, scored: NDArray[np.bool_], seen: Floats, missing: Floats, ratio: Floats
    ) -> Floats:
        """Variance (G,) of the missing part of each strip's change of the score.

        A tile's change spreads around its strip's in proportion to its pixels; a strip of which no tile was
        scored spreads as the others do around their mean.
        """
        overall = change.sum() / seen.sum()
        strips = int((seen > 0).sum())
        free = int(scored.sum()) - strips
        around = (ratio @ self.member)[scored] if free > 0 else overall
        rest = change[scored] - around * self.pixels[scored]
        within = (rest**2 / self.pixels[scored]).sum() / max(1, free if free > 0 else scored.sum() - 1)
        between = (seen * (ratio - overall) ** 2).sum() / seen.sum() * strips / max(1, strips - 1)
        own = within * missing**2 / np.where(seen > 0, seen, 1.0)
        return np.asarray(within * missing + np.where(seen > 0, own, between * missing**2 * (1 + 1 / strips)))


def _per_pixel(sums: Floats, pixels: Floats, otherwise: Floats) -> Floats:
    return np.where((pixels > 0)[:, None], sums / np.where(pixels > 0, pixels, 1.0)[:, None], otherwise)


def _slope(totals: Floats, metric: str) -> Floats:
    """How the score changes with each count (F,), by a small step up and down."""
    steps = np.diag(1e-4 * totals)
    up, down = score_of_counts(totals + steps, metric), score_of_counts(totals - steps, metric)
    width = 2e-4 * totals
    return np.where(width > 0, (up - down) / np.where(width > 0, width, 1.0), 0.0)
