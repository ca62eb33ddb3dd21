"""The record of a confirmation: what was compared, each run's confusion matrices, and the differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from objectives.records import attributes as attr
from sonarseg.metrics.confirmed_runs import ConfirmedDifference, confirmed_differences
from studies.confirmation.contenders import Contender

# Seeds of the study count up from its own; no setting is repeated a thousand times.
FIRST_NEW_SEED = 1000


def new_seeds(first: int, seeds: int) -> list[int | None]:
    """Random seeds that no run of the study has, which begins with the seed `first`."""
    return [(first + FIRST_NEW_SEED + i) % 2**31 for i in range(seeds)]


def begin_record(
    study: optuna.Study, winner: Contender, baseline: Contender, seeds: list[int | None]
) -> dict[str, Any]:
    """Make the record, with what an earlier call measured of the same settings."""
    before = study.user_attrs.get(attr.CONFIRM, {})
    record: dict[str, Any] = {
        "metric": study.user_attrs[attr.METRIC],
        "winner": {"name": winner.name, **winner.settings()},
        "baseline": {"name": baseline.name, **baseline.settings()},
        "seeds": seeds,
        "tiles": before.get("tiles", {}),
        "groups": before.get("groups", {}),
        "runs": [],
        "finished": False,
    }
    for seed in seeds:
        for contender in (winner, baseline):
            record["runs"].append(_known(before, contender, seed) or _new_run(contender, seed))
    return record


def _new_run(contender: Contender, seed: int | None) -> dict[str, Any]:
    return {"role": contender.role, "seed": seed, "run": None, "reason": None, "confusions": {}}


def _known(before: dict[str, Any], contender: Contender, seed: int | None) -> dict[str, Any] | None:
    stored = before.get(contender.role, {})
    if {name: value for name, value in stored.items() if name != "name"} != contender.settings():
        return None
    runs: Iterator[dict[str, Any]] = iter(before["runs"])
    return next((run for run in runs if (run["role"], run["seed"]) == (contender.role, seed)), None)


def results_of(record: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Compute the differences of a record as JSON: split to metric to means, difference and interval."""
    return {
        split: {metric: _stored(found) for metric, found in metrics.items()}
        for split, metrics in confirmed_differences(record).items()
    }


def _stored(found: ConfirmedDifference) -> dict[str, Any]:
    """Write a difference as JSON; None for what is undefined."""
    difference = found.difference
    numbers = {"difference": difference.value, "low": difference.low, "high": difference.high}
    return {
        "winner": found.winner,
        "baseline": found.baseline,
        **{name: None if math.isnan(number) else number for name, number in numbers.items()},
        "pairs": max(1, difference.seeds),
        "missing": difference.missing,
    }
