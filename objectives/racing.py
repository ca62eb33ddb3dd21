"""End a crf trial as soon as the tiles scored so far say that it cannot win.

The survey's mIoU is not a mean over tiles, and a mean of per-tile mIoU orders some settings otherwise. To
first order, though, its change against the incumbent (the best trial so far) is a sum over tiles: with the
incumbent's IoU J_c and union U_c of the C classes present, tile t contributes
sum_c (i_tc - J_c u_tc) / (C U_c), which adds up to 0 for the incumbent itself.

Tiles come in a random order in which large ones tend to be early (`race_order`): each is drawn from those
left with a chance proportional to its share p_t of the classes' pixels. The n-th tile drawn then estimates
the sum of the differences d without bias, whatever the sizes and however d depends on them: the d already
known, plus d_t / p_t for all that was left (Des Raj, J. Amer. Stat. Assoc. 51, 1956, p. 269). The estimates
are uncorrelated, and they spread less as less is left. They are put to a one-sided t-test, a few times on the
way; docs/statistics.md has the measured rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from sonarseg.metrics.iou import multiclass_tiles

# Fewer tiles than this say nothing about the spread.
LEAST_TILES = 8
# Scores are compared so often at most: every comparison is another chance to end a winner.
LOOKS = 10
# Chance to end a trial that is as good as the incumbent, over all looks together: each gets its share.
LEVEL = 0.5


@dataclass(frozen=True)
class Incumbent:
    """The best trial so far, as a race needs it.

    Attributes
    ----------
    value : float
        Its score.
    iou : float (K,)
        IoU J_c of each class, 0 where absent.
    weight : float (K,)
        1 / (C U_c), 0 where absent.
    contributions : float (T,)
        Of its own tiles; they add up to 0.
    stray : bool (T, K)
        Tiles in which it predicts a class that no counted tile truly holds.
    """

    value: float
    iou: NDArray[np.float64]
    weight: NDArray[np.float64]
    contributions: NDArray[np.float64]
    stray: NDArray[np.bool_]


def counted_tiles(confusions: NDArray[np.int64], metric: str) -> NDArray[np.bool_]:
    """Tiles, bool (T,), that a metric counts: for `miou_multiclass` those of several true classes."""
    return multiclass_tiles(confusions) if metric == "miou_multiclass" else confusions.sum(axis=(1, 2)) > 0


def incumbent_of(confusions: NDArray[np.int64], metric: str, value: float) -> Incumbent:
    """Read off a trial's confusion matrices (T, K, K) what others are raced against."""
    counts = counted_tiles(confusions, metric)
    counted = confusions[counts]
    intersection, union = _intersection_and_union(counted.sum(axis=0))
    present = union > 0
    iou = np.where(present, intersection / np.maximum(1, union), 0.0)
    weight = np.where(present, 1.0 / (max(1, present.sum()) * np.maximum(1, union)), 0.0)
    own = _contributions(confusions, iou, weight)
    stray = (confusions.sum(axis=1) > 0) & (counted.sum(axis=(0, 2)) == 0) & counts[:, None]
    return Incumbent(value, iou, weight, own, stray)


def _intersection_and_union(confusions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    intersection = np.diagonal(confusions, axis1=-2, axis2=-1)
    return intersection, confusions.sum(axis=-1) + confusions.sum(axis=-2) - intersection


def _contributions(
    confusions: NDArray[np.int64], iou: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    intersection, union = _intersection_and_union(confusions)
    return np.asarray(((intersection - iou * union) * weight).sum(axis=-1))


def race_order(share: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw the order of tiles, (T,): each from those left with a chance proportional to its share.

    Parameters
    ----------
    share : float (T,)
        Tiles of share 0 come last.
    generator : numpy.random.Generator
    """
    # The first of several exponential waiting times is that of a tile with a chance proportional to its rate.
    with np.errstate(divide="ignore"):
        waiting = generator.exponential(size=len(share)) / share
    return np.argsort(waiting, kind="stable")


class Race:
    """A trial against the incumbent, tile by tile.

    Parameters
    ----------
    incumbent : Incumbent
    share : float (T,)
        By which the order of tiles was drawn. Above 0 in tiles that the metric counts and in which trials can
        differ; the others are not looked at.
    """

    def __init__(self, incumbent: Incumbent, share: NDArray[np.float64]) -> None:
        racing = share > 0
        self.incumbent = incumbent
        self.share = share / share.sum() if racing.any() else share
        self.total = int(racing.sum())
        self.differences: list[NDArray[np.float64]] = []
        self._shares: list[float] = []
        self._looked = 0
        # A class without truth has an IoU of 0 once any tile predicts it, a step that no sum shows.
        # Those that raced tiles alone bring, a trial may do without.
        self._avoidable = incumbent.stray[racing].any(axis=0) & ~incumbent.stray[~racing].any(axis=0)
        self._predicted: NDArray[np.bool_] = np.zeros(len(incumbent.iou), dtype=np.bool_)

    def add(self, tile: int, confusions: NDArray[np.int64]) -> None:
        """Add the next tile's confusion matrices, int64 (V, K, K), of V variants of the trial."""
        if self.share[tile] > 0:
            own = _contributions(confusions, self.incumbent.iou, self.incumbent.weight)
            self.differences.append(own - self.incumbent.contributions[tile])
            self._shares.append(float(self.share[tile]))
            self._predicted = self._predicted | (confusions.sum(axis=-2) > 0)

    @property
    def scored(self) -> int:
        """Racing tiles that were added."""
        return len(self.differences)

    def _next_look(self) -> int:
        """Racing tiles that must be scored before the scores are compared again."""
        return max(LEAST_TILES, self._looked + math.ceil((self.total - LEAST_TILES) / LOOKS))

    def until_look(self) -> int | None:
        """Tiles to add until the scores are compared again, None if they are not."""
        due = self._next_look()
        return max(1, due - self.scored) if due < self.total else None

    def lost(self) -> bool:
        """Whether no variant can be better than the incumbent, and not all are the incumbent again."""
        if self.scored < self._next_look() or self.scored == self.total:
            return False
        self._looked = self.scored
        differences, estimates = np.stack(self.differences), self._estimates()
        mean, error = estimates.mean(axis=0), estimates.std(axis=0, ddof=1) / math.sqrt(self.scored)
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = np.where(error > 0, stdtr(self.scored - 1, mean / error), np.where(mean < 0, 0.0, 1.0))
        undecided = chance >= LEVEL / LOOKS
        # Without iterations a setting is "no CRF" again: what equals the incumbent tile by tile wins nothing.
        tied = (differences == 0).all(axis=0)
        cleaner = (self._avoidable & ~self._predicted).any(axis=-1)
        return not tied.all() and not bool(((undecided & ~tied) | cleaner).any())

    def _estimates(self) -> NDArray[np.float64]:
        """What each tile scored says of the sum of all differences, (n, V)."""
        differences, shares = np.stack(self.differences), np.array(self._shares)[:, None]
        known, drawn = np.cumsum(differences, axis=0) - differences, np.cumsum(shares, axis=0) - shares
        return np.asarray(known + differences / shares * (1 - drawn))

    def expected(self) -> float:
        """Score of the best variant if the other tiles are like those scored, below the incumbent's."""
        value = self.incumbent.value + float(self._estimates().mean(axis=0).max())
        return min(value, float(np.nextafter(self.incumbent.value, -np.inf)))


FindIncumbent = Callable[[], Incumbent | None]
