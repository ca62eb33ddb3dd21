"""What a confirmation found: means over seeds, differences and intervals, from stored confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.run_interval import paired_run_interval
from sonarseg.metrics.scores import METRICS

SHOWN_METRICS = ("miou_multiclass", "miou", "miou_paper")
INTERVAL_SEED = 0


def confirm_results(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare winner and baseline on every split in which both have been scored.

    Parameters
    ----------
    record : mapping
        The user attribute `confirm`: `runs` (each with `role`, `seed` and `confusions` a split) and
        the `groups` of each split's tiles.

    Returns
    -------
    dict
        Split to metric to `winner` and `baseline` (means over seeds), `difference`, `low` and `high`
        (95 % interval over strips and seeds) and the number of `pairs`; None for what is undefined.
        A seed counts where both of its runs have been scored.
    """
    results: dict[str, dict[str, Any]] = {}
    for split, groups in record["groups"].items():
        pairs = _pairs(record["runs"], split)
        if pairs is not None:
            known = groups if any(group is not None for group in groups) else None
            results[split] = {name: _compare(*pairs, name, known) for name in SHOWN_METRICS}
    return results


def _pairs(
    runs: Sequence[Mapping[str, Any]], split: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Confusions (R, T, K, K) of winner and baseline of the seeds that both have."""
    found: dict[str, dict[Any, NDArray[np.int64]]] = {"winner": {}, "baseline": {}}
    for run in runs:
        if split in run["confusions"]:
            found[run["role"]][run["seed"]] = unpack_confusions(run["confusions"][split])
    seeds = [seed for seed in found["winner"] if seed in found["baseline"]]
    if not seeds:
        return None
    winner, baseline = (np.stack([found[role][seed] for seed in seeds]) for role in ("winner", "baseline"))
    return winner, baseline


def _compare(
    winner: NDArray[np.int64], baseline: NDArray[np.int64], metric: str, groups: Sequence[str | None] | None
) -> dict[str, Any]:
    difference, low, high = paired_run_interval(winner, baseline, metric, groups=groups, seed=INTERVAL_SEED)
    return {
        "winner": _mean(winner, metric),
        "baseline": _mean(baseline, metric),
        "difference": _defined(difference),
        "low": _defined(low),
        "high": _defined(high),
        "pairs": len(winner),
    }


def _mean(runs: NDArray[np.int64], metric: str) -> float | None:
    values = [METRICS[metric](run) for run in runs]
    return None if None in values else float(np.mean([value or 0.0 for value in values]))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
