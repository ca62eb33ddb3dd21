"""Winner against baseline with new seeds: means, differences and intervals from stored confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.bootstrap import Interval, paired_interval
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS

SHOWN_METRICS = ("miou_multiclass", "miou", "miou_paper")
CHOOSING_SPLIT = "val"


@dataclass(frozen=True)
class ConfirmedDifference:
    """One metric on one split.

    Attributes
    ----------
    winner, baseline : float or None
        Means over the seeds; None if undefined.
    difference : Interval
        Winner less baseline. On val, whose tiles chose the winner, it has no interval.
    """

    winner: float | None
    baseline: float | None
    difference: Interval


def confirmed_differences(record: Mapping[str, Any]) -> dict[str, dict[str, ConfirmedDifference]]:
    """Compare winner and baseline on every split on which both have been scored.

    Parameters
    ----------
    record : mapping
        The user attribute `confirm` of a study: `runs` (each with `role`, `seed` and `confusions` per
        split) and the `groups` of each split's tiles.

    Returns
    -------
    dict
        Split to metric to difference. A seed counts if both of its runs have been scored.
    """
    found: dict[str, dict[str, ConfirmedDifference]] = {}
    for split, groups in record.get("groups", {}).items():
        pairs = _pairs(record["runs"], split)
        if pairs is not None:
            found[split] = {name: _compare(*pairs, name, groups, split) for name in SHOWN_METRICS}
    return found


def _pairs(
    runs: Sequence[Mapping[str, Any]], split: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool] | None:
    """Confusions (R, T, K, K) of winner and baseline of the seeds that both have; whether there are seeds."""
    found: dict[str, dict[Any, NDArray[np.int64]]] = {"winner": {}, "baseline": {}}
    for run in runs:
        if split in run["confusions"]:
            found[run["role"]][run["seed"]] = unpack_confusions(run["confusions"][split])
    seeds = [seed for seed in found["winner"] if seed in found["baseline"]]
    if not seeds:
        return None
    winner, baseline = (np.stack([found[role][seed] for seed in seeds]) for role in ("winner", "baseline"))
    return winner, baseline, seeds != [None]


def _compare(
    winner: NDArray[np.int64],
    baseline: NDArray[np.int64],
    seeds: bool,
    metric: str,
    groups: Sequence[str | None],
    split: str,
) -> ConfirmedDifference:
    found = paired_interval(winner, baseline, metric, groups=groups, seeds=seeds)
    if split == CHOOSING_SPLIT:
        found = found.chosen_here()
    return ConfirmedDifference(_mean(winner, metric), _mean(baseline, metric), found)


def _mean(runs: NDArray[np.int64], metric: str) -> float | None:
    values = [METRICS[metric](run) for run in runs]
    return None if None in values else float(np.mean([value or 0.0 for value in values]))
