"""How sure the gain of a loss over cross-entropy is, and whether the metrics agree on the winner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objectives.records.study import Study
from objectives.records.trial import ROUNDS
from reports.findings.comparison import compare_runs, seed_pairs
from reports.findings.loss_rounds import all_rounds
from reports.findings.loss_table import TABLE_METRICS, LossRow, LossTable
from reports.findings.search_gains import loss_search_gain
from reports.style.formatting import listing, score
from reports.style.interval_words import scope
from sonarseg.metrics.bootstrap import Interval

BASELINE = "cross-entropy"


@dataclass(frozen=True)
class LossGains:
    """Differences of every compared loss from the baseline, by row key and metric.

    Attributes
    ----------
    baseline : LossRow
        Cross-entropy.
    gains : dict
        Row key to metric to difference. It has an interval only if the loss was fixed beforehand: strips
        that chose a setting among several say nothing new of it, whatever the seed.
    search : Interval or None
        Gain of choosing the best loss over cross-entropy in the study's metric, on strips and seeds that
        did not choose, among the losses that were fixed beforehand. If rounds are searched, each number of
        them is a choice too, and the baseline is cross-entropy with all of them.
    rounds : bool
        Whether rounds are searched.
    """

    baseline: LossRow
    gains: dict[str, dict[str, Interval]]
    search: Interval | None = None
    rounds: bool = False

    def of(self, row: LossRow, metric: str) -> Interval | None:
        """Find one difference; None for the baseline itself and where it cannot be computed."""
        return self.gains.get(row.key, {}).get(metric)

    @property
    def covers(self) -> str:
        """What the intervals cover, or why there are none."""
        found = [gain for gains in self.gains.values() for gain in gains.values()]
        if not found:
            return ""
        told = scope(next((gain for gain in found if gain.known), found[0]), "val")
        chosen = self.known and any(gain.missing == "chosen here" for gain in found)
        return f"{told}; none for a setting that the same tiles chose" if chosen else told

    @property
    def known(self) -> bool:
        """Whether any difference has an interval."""
        return any(gain.known for gains in self.gains.values() for gain in gains.values())


def loss_gains(study: Study, table: LossTable) -> LossGains | None:
    """Compare every loss with cross-entropy, in each metric of Table I; None without that baseline."""
    compared = [row for row in table.rows if row.compared]
    baseline = next((row for row in compared if row.key == BASELINE), None)
    if baseline is None or len(compared) < 2:
        return None
    gains: dict[str, dict[str, Interval]] = {}
    for row in compared:
        if row is not baseline:
            found = {
                name: compare_runs(study, row.trials, baseline.trials, name)
                for name in dict.fromkeys((*TABLE_METRICS, study.metric))
            }
            gains[row.key] = {
                name: gain.chosen_here() if gain.known and row.tried > 1 else gain
                for name, gain in found.items()
                if gain is not None
            }
    paired = all(len(seed_pairs(row.trials, baseline.trials)) == len(row.trials) for row in compared)
    runs = [each for row in compared if row.fixed for each in all_rounds(study, row.trials)]
    untuned = all_rounds(study, baseline.trials)[-1]
    search = loss_search_gain(study, runs, untuned, study.metric) if paired else None
    return LossGains(baseline, gains, search, any(ROUNDS in trial.params for trial in baseline.trials))


def agreement(study: Study, table: LossTable) -> str | None:
    """Say whether the three metrics agree on the winner, and if not, why; None with one loss."""
    if len([row for row in table.rows if row.compared]) < 2:
        return None
    winners = {name: table.winner(name) for name in TABLE_METRICS}
    known = {name: row for name, row in winners.items() if row is not None}
    labels = list(dict.fromkeys(row.label for row in known.values()))
    if len(labels) == 1:
        return f"All three metrics agree that {labels[0]} is best."
    parts = [
        f"{label} by {listing([name for name, row in known.items() if row.label == label])}"
        for label in labels
    ]
    best = table.winner(study.metric)
    confusions = None if best is None else best.trials[0].confusions
    text = f"The metrics disagree on the winner: {listing(parts)}."
    if confusions is None:
        return f"{text} miou_paper counts a class absent from a tile as 1."
    union = confusions.sum(axis=1) + confusions.sum(axis=2)
    absent = float(np.mean(union[confusions.sum(axis=(1, 2)) > 0] == 0))
    single = int(((confusions.sum(axis=2) > 0).sum(axis=1) == 1).sum())
    return (
        f"{text} miou_paper counts a class absent from a tile as 1: under {best.label if best else ''} "
        f"{score(absent)} of all pairs of tile and class are such free points, and {single} of "
        f"{len(confusions)} tiles hold one class only. miou_multiclass leaves those tiles out."
    )
