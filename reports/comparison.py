"""A difference between two trials on the same tiles, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports.bootstrap import paired_intervals
from reports.formatting import difference, score
from reports.study_records import Study, Trial
from sonarseg.metrics.scores import FEWEST_GROUPS, METRICS

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Gain:
    """Difference of the study's metric and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def certain(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.known and (self.low > 0 or self.high < 0)


def compare(study: Study, better: Trial, other: Trial) -> Gain | None:
    """Difference of the study's metric over the same tiles, strips resampled.

    The confusions of both trials decide; without them the difference of the values stands alone.
    """
    if better.value is None or other.value is None:
        return None
    gain = compare_runs(study, [better], [other], study.metric)
    return gain or Gain(better.value - other.value, math.nan, math.nan)


def compare_runs(study: Study, better: list[Trial], other: list[Trial], metric: str) -> Gain | None:
    """Difference of a metric's mean over runs (equally many a side), strips and pairs of runs resampled.

    None where a run has no confusions or their tiles differ.
    """
    a = [trial.confusions for trial in better if trial.confusions is not None]
    b = [trial.confusions for trial in other if trial.confusions is not None]
    complete = len(a) == len(better) and len(b) == len(other)
    if metric not in METRICS or not complete or len({found.shape for found in a + b}) != 1:
        return None
    groups = study.groups
    if groups is not None and len(groups) != len(a[0]):
        groups = None
    return Gain(*paired_intervals(a, b, metric, groups=groups, seed=BOOTSTRAP_SEED))


def gain_sentence(gain: Gain | None, units: str, *, seeds: bool = False) -> str:
    """Put the gain and its interval into words; `units` tells what was resampled, "6 strips" for one."""
    if gain is None:
        return "a difference that cannot be computed"
    size = score(abs(gain.value))
    text = f"a gain of {size}" if gain.value >= 0 else f"{size} worse"
    if not gain.known:
        return f"{text} (no interval: {units} are too few, it takes {FEWEST_GROUPS})"
    by = units + (" and seeds" if seeds else "")
    verdict = "" if gain.certain else "; it holds 0, so this may be chance"
    return (
        f"{text} (95 % interval {difference(gain.low)} to {difference(gain.high)}, {by} resampled{verdict})"
    )
