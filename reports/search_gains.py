"""What the searches gained, on strips that did not choose, from the trials of a study."""

from __future__ import annotations

import math

import numpy as np

from reports.comparison import scored_groups
from reports.study_records import Study, Trial
from sonarseg.metrics.bootstrap import Interval
from sonarseg.metrics.scores import METRICS
from sonarseg.metrics.search_gain import search_gain


def crf_search_gain(study: Study, baselines: list[Trial]) -> Interval | None:
    """Gain of the crf search over untuned settings; None if it cannot be computed.

    Settings that a sampler proposed after looking at scores are left out: they have seen all strips.

    Parameters
    ----------
    study : Study
        The crf study.
    baselines : list of Trial
        Untuned settings; if several, the best of them is chosen in each draw too.
    """
    pool = [trial for trial in study.complete if trial.name or trial.drawn_at_random]
    return _gain(
        study, [[trial] for trial in pool], [[trial] for trial in baselines], study.metric, seeds=False
    )


def loss_search_gain(
    study: Study, settings: list[list[Trial]], baseline: list[Trial], metric: str
) -> Interval | None:
    """Gain of choosing a loss over cross-entropy; seeds are left out as strips are.

    Parameters
    ----------
    study : Study
        The loss study.
    settings : list of list of Trial
        Runs of each compared setting, the baseline's among them, in the same order of random seeds.
    baseline : list of Trial
        Runs with cross-entropy.
    metric : str
    """
    return _gain(study, settings, [baseline], metric, seeds=True)


def _gain(
    study: Study, settings: list[list[Trial]], baselines: list[list[Trial]], metric: str, *, seeds: bool
) -> Interval | None:
    runs = [[trial.confusions for trial in trials] for trials in settings]
    known = [[found for found in row if found is not None] for row in runs]
    if (
        metric not in METRICS
        or len(settings) < 2
        or any(len(a) != len(b) for a, b in zip(runs, known, strict=True))
    ):
        return None
    if len({(len(row), *found.shape) for row in known for found in row}) != 1:
        return None
    numbers = {trials[0].number for trials in baselines}
    untuned = np.array([trials[0].number in numbers for trials in settings])
    if not untuned.any() or untuned.all():
        return None
    stacked = np.stack([np.stack(row) for row in known])
    found = search_gain(stacked, untuned, metric, groups=scored_groups(study, stacked.shape[2]), seeds=seeds)
    return None if found.missing == "undefined" and math.isnan(found.value) else found
