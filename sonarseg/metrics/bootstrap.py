"""The interval of a difference between two predictions of the same tiles.

Tiles of one strip resemble each other, so strips are the units. With few strips the percentiles of a plain
bootstrap are too narrow (95 % become 85 % at six strips). The difference is therefore studentised: every
resample of strips is measured in its own standard error, a jackknife over its strips (bootstrap-t; Efron
and Tibshirani 1993, chapter 12). docs/statistics.md has the measured coverage.

Trained networks vary with their random seed too. Every strip is scored by every seed, so both are crossed:
the two parts of the error are estimated separately and combined (MOVER, Zou and Donner 2008, doi
10.1002/sim.3095, and Welch 1947, doi 10.1093/biomet/34.1-2.28).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sonarseg.metrics.iou import Confusions
from sonarseg.metrics.strip_counts import Floats, counted_strips, score_of_counts, strip_counts

# Below this many strips there is no interval.
FEWEST_STRIPS = 6
# Of one or two seeds nobody can tell how far seeds spread.
FEWEST_SEEDS = 3
RESAMPLES = 4000
LEVEL = 0.95
# Numbers in one block of resamples: bounds the memory
_BLOCK = 4_000_000

Missing = Literal["no strips", "too few strips", "too few seeds", "undefined", "chosen here"]


@dataclass(frozen=True)
class Interval:
    """A difference and its 95 % interval.

    Attributes
    ----------
    value : float
        The difference; NaN if the metric is undefined.
    low, high : float
        Ends of the interval; NaN if there is none.
    strips : int
        Strips that the metric counts; 0 if the survey does not tell strips.
    seeds : int
        Pairs of runs, one per seed; 0 if nothing is trained.
    missing : str or None
        Why there is no interval.
    settings : int
        Settings among which a search chose; 0 if the two sides were fixed beforehand.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    strips: int = 0
    seeds: int = 0
    missing: Missing | None = None
    settings: int = 0

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def certain(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.known and (self.low > 0 or self.high < 0)

    def chosen_here(self) -> Interval:
        """The difference alone: the tiles that give it chose one of its sides, so no interval holds."""
        return replace(self, low=math.nan, high=math.nan, missing="chosen here")


def paired_interval(
    a: Confusions,
    b: Confusions,
    metric: str,
    *,
    groups: Sequence[str | None] | None,
    seeds: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Difference a - b of a metric, a mean over runs, and its 95 % interval over strips and seeds.

    Parameters
    ----------
    a, b : ndarray, int (R, T, K, K)
        Confusion matrices of R runs on the same T tiles. Run i of a and run i of b are a pair: they have
        the same random seed.
    metric : str
        A key of `sonarseg.metrics.iou.METRICS`.
    groups : sequence of (str or None), or None
        Strip of each tile; a tile with None counts as a strip of its own. Without any strip there is
        no interval: neighbouring tiles are no independent evidence.
    seeds : bool
        Whether the runs differ by a random seed. If not, R must be 1.
    seed : int
        Random seed of the resamples.
    resamples : int
        Number of resamples of strips.

    Raises
    ------
    ValueError
        If the shapes differ, no run is there, several runs have no seed, or `groups` has another length.
    """
    if a.shape != b.shape or a.ndim != 4 or not len(a):
        raise ValueError(f"shapes {a.shape} and {b.shape}: expected (runs, tiles, K, K), equal")
    if len(a) > 1 and not seeds:
        raise ValueError(f"{len(a)} runs without seeds: expected one")
    names = list(groups) if groups is not None else [None] * a.shape[1]
    counts = np.stack([strip_counts(side, metric, names) for side in (a, b)])
    counted = counted_strips(counts)
    counts = counts[:, :, counted]
    known = any(name is not None for name in names)
    found = Interval(
        float(_difference(counts.sum(axis=2), metric).mean()),
        strips=int(counted.sum()) if known else 0,
        seeds=len(a) if seeds else 0,
    )
    missing = why_missing(found, known)
    if missing is not None:
        return replace(found, missing=missing)
    times = draw_strips(resamples, found.strips, np.random.default_rng(seed))
    low, high = _ends(counts, metric, found.value, times, crossed=seeds)
    if math.isnan(low) or math.isnan(high):
        return replace(found, missing="undefined")
    return within_range(replace(found, low=low, high=high))


def within_range(found: Interval) -> Interval:
    """Cut an interval to what a difference of two scores in 0..1 can be."""
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))


def why_missing(found: Interval, strips_known: bool) -> Missing | None:
    """Why a difference can have no interval, if it cannot."""
    if math.isnan(found.value):
        return "undefined"
    if not strips_known:
        return "no strips"
    if found.strips < FEWEST_STRIPS:
        return "too few strips"
    return "too few seeds" if 0 < found.seeds < FEWEST_SEEDS else None


def _difference(totals: Floats, metric: str) -> Floats:
    """Difference of each run: (R, ...) of totals (2, R, ..., F)."""
    first, second = score_of_counts(totals, metric)
    return np.asarray(first - second)


def _ends(counts: Floats, metric: str, value: float, times: Floats, *, crossed: bool) -> tuple[float, float]:
    """Ends of the interval from counts (2, R, G, F) of each strip and resamples (B, G)."""
    pseudo = pseudo_values(counts, metric)
    error = _standard_error(pseudo.mean(axis=0))
    quantiles = _studentised_quantiles(counts, metric, value, times)
    below, above = quantiles[1] * error, -quantiles[0] * error
    if crossed:
        below, above = (_with_seeds(margin, error, pseudo) for margin in (below, above))
    else:
        strips = counts.shape[2]
        # Resamples hold strips twice, so they are too alike: at eight skewed strips 93 % become 94 %.
        wider = math.sqrt(strips / (strips - 1))
        below, above = wider * below, wider * above
    return value - below, value + above


def _with_seeds(margin: float, error: float, pseudo: Floats) -> float:
    """Add the spread of seeds to a margin that covers strips.

    Two rules combine the parts. Adding limits (MOVER) errs to the wide side with few seeds, degrees of
    freedom by Welch and Satterthwaite err to the narrow side; their mean covers 93 to 97 %.

    Parameters
    ----------
    margin : float
        From the difference to one end, by resampling strips.
    error : float
        Standard error of the difference over strips.
    pseudo : ndarray, float64 (R, G)
        Pseudo-values of each run and strip.
    """
    runs, strips = pseudo.shape
    of_seeds = _seed_variance(pseudo)
    quantile = _student(runs - 1)
    added = math.hypot(margin, quantile * math.sqrt(of_seeds))
    variance: float = error**2 + of_seeds
    if variance <= 0:
        return added
    freedom = variance**2 / (error**4 / (strips - 1) + of_seeds**2 / (runs - 1))
    # How much longer or shorter than Student's the strips' side is, by their share in the variance
    skew = margin / (_student(strips - 1) * error) if error > 0 else 1.0
    welch = _student(freedom) * math.sqrt(variance) * (1 + (skew - 1) * error**2 / variance)
    return float(added + welch) / 2


def _student(freedom: float) -> float:
    """Quantile of Student's t for one end of the interval."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def pseudo_values(counts: Floats, metric: str) -> Floats:
    """Jackknife pseudo-values (R, G) of the difference of each run, from counts (2, R, G, F).

    Leaving strip g out moves the difference d to d_g; G d - (G - 1) d_g is what strip g says.
    """
    totals = counts.sum(axis=2)
    strips = counts.shape[2]
    without = _difference(totals[:, :, None] - counts, metric)
    return np.asarray(strips * _difference(totals, metric)[:, None] - (strips - 1) * without)


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _seed_variance(pseudo: Floats) -> float:
    """Variance of the mean over R seeds because of the seeds, from pseudo-values (R, G).

    The noise of single runs on single strips is part of the variance over strips already, and taken off.
    """
    runs, strips = pseudo.shape
    of_runs = pseudo.mean(axis=1)
    rest = pseudo - of_runs[:, None] - pseudo.mean(axis=0) + pseudo.mean()
    noise = float((rest**2).sum()) / ((runs - 1) * (strips - 1)) / pseudo.size
    found: float = of_runs.var(ddof=1) / runs - noise
    return max(0.0, found)


def _studentised_quantiles(counts: Floats, metric: str, value: float, times: Floats) -> tuple[float, float]:
    """Quantiles of (resampled difference - difference) / its own standard error, over resamples of strips."""
    block = max(1, _BLOCK // counts.size)
    drawn = [_studentised(counts, metric, value, part) for part in _parts(times, block)]
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]
    if not found.size:
        # No resample differs from the data: all strips say the same.
        return (0.0, 0.0)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def draw_strips(resamples: int, strips: int, generator: np.random.Generator) -> Floats:
    """How often each of G strips is in each resample: float64 (resamples, G), G strips in each."""
    return generator.multinomial(strips, np.full(strips, 1 / strips), size=resamples).astype(np.float64)


def _parts(times: Floats, size: int) -> list[Floats]:
    return [times[start : start + size] for start in range(0, len(times), size)]


def _studentised(counts: Floats, metric: str, value: float, times: Floats) -> NDArray[np.float64]:
    """Studentised differences (B,) of resamples that hold each strip `times` (B, G) times."""
    strips = counts.shape[2]
    totals = np.einsum("bg,srgf->srbf", times, counts, optimize=True)
    differences = _difference(totals, metric).mean(axis=0)
    without = _difference(totals[:, :, :, None] - counts[:, :, None], metric).mean(axis=0)
    # A strip that a resample does not hold cannot be left out of it.
    without = np.where(times > 0, without, 0.0)
    centre = (times * without).sum(axis=1) / strips
    squares = (times * (without - centre[:, None]) ** 2).sum(axis=1)
    errors = np.sqrt((strips - 1) / strips * squares)
    # Rounding leaves an error of about 1e-17 in a resample of one strip only.
    return np.where(errors > 1e-12, (differences - value) / np.where(errors > 1e-12, errors, 1.0), np.nan)
