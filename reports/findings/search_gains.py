"""What the searches gained, on strips that did not choose, from the trials of a study."""

from __future__ import annotations

import math

import numpy as np

from objectives.records.study import Study, Trial
from reports.findings.comparison import scored_groups
from sonarseg.metrics.bootstrap import Interval
from sonarseg.metrics.iou import METRICS
from sonarseg.metrics.search_gain import search_gains


def crf_search_gains(study: Study, baselines: list[list[Trial]]) -> list[Interval | None]:
    """Gain of the crf search over each of several choices of untuned settings; None if it is not known.

    Settings that a sampler proposed after looking at scores are left out: they have seen all strips.

    Parameters
    ----------
    study : Study
        The crf study.
    baselines : list of list of Trial
        Untuned settings; if several, the best of them is chosen in each draw too.
    """
    drawn = [trial for trial in study.complete if trial.drawn_at_random]
    if not drawn:
        return [None] * len(baselines)
    named = [trial for trial in study.complete if trial.name and not trial.drawn_at_random]
    pool = [[trial] for trial in named + drawn]
    return _gains(study, pool, baselines, study.metric, seeds=False)


def loss_search_gain(
    study: Study, settings: list[list[Trial]], baseline: list[Trial], metric: str
) -> Interval | None:
    """Gain of choosing a loss over cross-entropy; seeds are left out as strips are.

    Parameters
    ----------
    study : Study
        The loss study.
    settings : list of list of Trial
        Runs of losses whose settings were fixed beforehand, the baseline's among them, in the same order of
        random seeds. A setting that was chosen from scores has seen all strips.
    baseline : list of Trial
        Runs with cross-entropy.
    """
    return _gains(study, settings, [baseline[:1]], metric, seeds=True)[0]


def _gains(
    study: Study, settings: list[list[Trial]], baselines: list[list[Trial]], metric: str, *, seeds: bool
) -> list[Interval | None]:
    """Gain over each of `baselines`, which name settings by their first trials."""
    unknown: list[Interval | None] = [None] * len(baselines)
    runs = [[trial.confusions for trial in trials] for trials in settings]
    known = [[found for found in row if found is not None] for row in runs]
    if metric not in METRICS or any(len(a) != len(b) for a, b in zip(runs, known, strict=True)):
        return unknown
    if len({(len(row), *found.shape) for row in known for found in row}) != 1:
        return unknown
    chosen = [{trial.number for trial in trials} for trials in baselines]
    masks = [np.array([trials[0].number in numbers for trials in settings]) for numbers in chosen]
    if any(not mask.any() or mask.all() for mask in masks):
        return unknown
    stacked = np.stack([np.stack(row) for row in known])
    groups = scored_groups(study, stacked.shape[2])
    found = search_gains(stacked, masks, metric, groups=groups, seeds=seeds)
    return [None if each.missing == "undefined" and math.isnan(each.value) else each for each in found]
