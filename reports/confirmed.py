"""What `sonarseg confirm` measured anew: winner against baseline, with new seeds, on val and on test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from reports.comparison import Gain, gain_sentence
from reports.formatting import count, plain, score
from reports.study_records import Study, resampled_units

ATTRIBUTE = "confirm"
_NAMES = {"crf": "dense CRF", "loss": "loss"}


@dataclass(frozen=True)
class ConfirmedRow:
    """One metric on one split; means over seeds."""

    split: str
    metric: str
    winner: float | None
    baseline: float | None
    gain: Gain | None
    pairs: int
    units: str

    @property
    def verdict(self) -> str:
        """What the interval says of the difference."""
        if self.gain is None or not self.gain.known:
            return "not known"
        if not self.gain.certain:
            return "may be chance"
        return "better" if self.gain.value > 0 else "worse"


@dataclass(frozen=True)
class Confirmed:
    """The confirmation of one study.

    Attributes
    ----------
    study : Study
    winner, baseline : str
        What was compared.
    seeds : int
        New seeds per side; 0 where nothing is trained.
    rows : list of ConfirmedRow
    unfinished : list of str
        Reasons of runs that failed.
    """

    study: Study
    winner: str
    baseline: str
    seeds: int
    rows: list[ConfirmedRow]
    unfinished: list[str]

    @property
    def title(self) -> str:
        """Name of what was tuned."""
        return _NAMES.get(self.study.kind, self.study.kind)

    @property
    def decisive(self) -> ConfirmedRow | None:
        """The study's own metric, on test where it was opened, else on val."""
        own = {row.split: row for row in self.rows if row.metric == self.study.metric}
        return own.get("test") or own.get("val")

    def sentence(self) -> str:
        """Tell the outcome."""
        row = self.decisive
        if row is None or row.gain is None:
            return f"The confirmation of the {self.title} has no result yet."
        seeds = f" with {count(self.seeds, 'new seed')} per side" if self.seeds else ""
        gained = gain_sentence(row.gain, row.units, seeds=bool(self.seeds))
        means = f"{score(row.winner)} and {score(row.baseline)}"
        return f"Measured anew on {row.split}{seeds}, winner and untuned baseline reach {means}: {gained}."


def confirmed(study: Study) -> Confirmed | None:
    """Read the confirmation of a study; None where there was none."""
    record = study.attrs.get(ATTRIBUTE)
    if not isinstance(record, dict) or "winner" not in record:
        return None
    rows = [
        _row(split, metric, found, record["groups"][split])
        for split, metrics in record.get("results", {}).items()
        for metric, found in metrics.items()
    ]
    return Confirmed(
        study,
        plain(record["winner"]["name"]),
        plain(record["baseline"]["name"]),
        len([seed for seed in record["seeds"] if seed is not None]),
        rows,
        sorted({plain(run["reason"]) for run in record["runs"] if run["reason"]}),
    )


def _row(split: str, metric: str, found: dict[str, Any], groups: list[str | None]) -> ConfirmedRow:
    units = resampled_units(groups)
    means = (found["winner"], found["baseline"])
    return ConfirmedRow(split, metric, *means, _gain(found), int(found["pairs"]), units)


def _gain(found: dict[str, Any]) -> Gain | None:
    if found["difference"] is None:
        return None
    low, high = (math.nan if found[end] is None else found[end] for end in ("low", "high"))
    return Gain(found["difference"], low, high)
