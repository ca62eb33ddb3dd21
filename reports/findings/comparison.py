"""A difference between two trials on the same tiles, and how sure it is."""

from __future__ import annotations

import numpy as np

from objectives.records.study import Study, Trial
from sonarseg.metrics.bootstrap import Interval, paired_interval
from sonarseg.metrics.iou import METRICS


def compare_runs(study: Study, better: list[Trial], other: list[Trial], metric: str) -> Interval | None:
    """Difference of a metric's mean over runs, strips and seeds resampled; runs are paired by seed.

    None if no seed is common to both sides, a run has no confusion matrices, or their tiles differ.
    """
    pairs = seed_pairs(better, other)
    a = [trial.confusions for trial, _ in pairs if trial.confusions is not None]
    b = [trial.confusions for _, trial in pairs if trial.confusions is not None]
    complete = len(a) == len(b) == len(pairs) > 0
    if metric not in METRICS or not complete or len({found.shape for found in a + b}) != 1:
        return None
    return paired_interval(
        np.stack(a), np.stack(b), metric, groups=scored_groups(study, len(a[0])), seeds=True
    )


def seed_pairs(better: list[Trial], other: list[Trial]) -> list[tuple[Trial, Trial]]:
    """Runs of both sides that have the same random seed, in the order of the first side."""
    by_seed = {trial.seed: trial for trial in other if trial.seed is not None}
    return [(trial, by_seed[trial.seed]) for trial in better if trial.seed in by_seed]


def scored_groups(study: Study, tiles: int) -> list[str | None] | None:
    """Strip of each scored tile; None if the survey names none or other tiles were scored."""
    groups = study.groups
    return groups if groups is not None and len(groups) == tiles else None
