"""Table I: the losses, each in its best setting, averaged over equal numbers of seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from reports.database import Study, Trial
from reports.formatting import parameter
from reports.palette import LOSS_COLOURS, NEUTRAL

TABLE_METRICS = ("miou_paper", "miou", "miou_multiclass")
WEIGHTED = "class-weighted cross-entropy"
LOSSES = {
    "cross-entropy": "Cross-entropy",
    WEIGHTED: "Class-weighted cross-entropy",
    "focal": "Focal",
    "lovasz_softmax": "Lovász-Softmax",
}
# The paper's own Table I, on its own survey, in per cent
PUBLISHED = {"cross-entropy": "91.51", "focal": "85.06", "lovasz_softmax": "92.94"}


@dataclass(frozen=True)
class LossRow:
    """A loss in its best setting.

    Attributes
    ----------
    key, label : str
        Key of `LOSSES` and what is shown.
    params : dict
        Parameters of the setting, the loss itself left out.
    trials : list of Trial
        The runs that are averaged, one a seed.
    runs : int
        Completed runs of this setting, those beyond the equal number included.
    tried : int
        Completed settings of this loss.
    means : dict
        Mean score a metric.
    spread : float or None
        Standard deviation of the study's metric over the seeds; None for a single one.
    """

    key: str
    label: str
    params: dict[str, Any]
    trials: list[Trial]
    runs: int
    tried: int
    means: dict[str, float | None]
    spread: float | None

    @property
    def colour(self) -> str:
        """Colour of the loss in every plot."""
        return LOSS_COLOURS.get(self.key, NEUTRAL)

    @property
    def setting(self) -> str:
        """The parameters in a few words."""
        return ", ".join(f"{name} {parameter(value)}" for name, value in self.params.items())


def loss_rows(study: Study) -> tuple[list[LossRow], int]:
    """Choose the best setting of every loss, and the number of seeds that all are averaged over.

    A setting that got more runs is preferred (the study gives further seeds to the best setting of a
    loss), then the larger mean. The number of seeds is that of the loss with the fewest; seeds that
    all losses share are taken first, so that the comparison is paired.
    """
    chosen: dict[str, tuple[list[Trial], int]] = {}
    for key, settings in _runs_by_loss(study).items():
        ranked = sorted(
            settings, key=lambda runs: (-len(runs), -_mean([r.value for r in runs]), runs[0].number)
        )
        chosen[key] = (ranked[0], len(settings))
    if not chosen:
        return [], 0
    seeds = min(len(runs) for runs, _ in chosen.values())
    shared = set.intersection(*({run.seed for run in runs} for runs, _ in chosen.values()))
    rows = []
    for key in sorted(chosen, key=lambda key: list(LOSSES).index(key) if key in LOSSES else len(LOSSES)):
        runs, tried = chosen[key]
        used = sorted(runs, key=lambda run: (run.seed not in shared, run.number))[:seeds]
        values = [run.value for run in used if run.value is not None]
        rows.append(
            LossRow(
                key=key,
                label=LOSSES.get(key, key),
                params={name: value for name, value in used[0].params.items() if name != "loss"},
                trials=used,
                runs=len(runs),
                tried=tried,
                means={name: _mean_score(used, name) for name in {*TABLE_METRICS, study.metric}},
                spread=statistics.stdev(values) if len(values) > 1 else None,
            )
        )
    return rows, seeds


def _runs_by_loss(study: Study) -> dict[str, list[list[Trial]]]:
    """Completed trials by loss, then by setting; of one seed that ran twice the later trial."""
    weighted = {trial.setting for trial in study.complete if trial.name == WEIGHTED}
    by_loss: dict[str, dict[str, dict[int | None, Trial]]] = defaultdict(lambda: defaultdict(dict))
    for trial in study.complete:
        key = WEIGHTED if trial.setting in weighted else str(trial.params.get("loss", ""))
        by_loss[key][trial.setting][trial.seed] = trial
    return {key: [list(runs.values()) for runs in settings.values()] for key, settings in by_loss.items()}


def _mean(values: list[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def _mean_score(trials: list[Trial], name: str) -> float | None:
    values = [trial.scores.get(name) for trial in trials]
    return None if any(value is None for value in values) else _mean(values)


def class_means(trials: list[Trial]) -> dict[str, float | None]:
    """Mean IoU of each class over runs; None where a run has none."""
    found = {name: [trial.iou.get(name) for trial in trials] for name in trials[0].iou}
    return {name: None if None in values else _mean(values) for name, values in found.items()}
