"""What `sonarseg confirm` measured: winner against baseline, with new seeds, on val and on test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.records import attributes as attr
from objectives.records.study import Study
from reports.style.formatting import count, score
from reports.style.interval_words import gain_sentence, scope
from sonarseg.files.plain_text import plain
from sonarseg.metrics.bootstrap import Interval
from sonarseg.metrics.confirmed_runs import CHOOSING_SPLIT, confirmed_differences
from sonarseg.metrics.confusion import unpack_confusions

_NAMES = {"crf": "dense CRF", "loss": "loss"}


@dataclass(frozen=True)
class ConfirmedRow:
    """One metric on one split; means over seeds."""

    split: str
    metric: str
    winner: float | None
    baseline: float | None
    gain: Interval

    @property
    def confirms(self) -> bool:
        """Whether the gain is confirmed: unseen tiles, and an interval above zero."""
        return self.split != CHOOSING_SPLIT and self.gain.known and self.gain.low > 0

    @property
    def title(self) -> str:
        """What the difference is called; only test can confirm it."""
        return "confirmed gain" if self.confirms else f"winner less baseline on {self.split}"

    @property
    def verdict(self) -> str:
        """What the interval says of the difference."""
        if self.split == CHOOSING_SPLIT:
            return "nothing new: the same tiles"
        if not self.gain.known:
            return "not known"
        if not self.gain.certain:
            return "may be chance"
        return "better" if self.gain.value > 0 else "worse"


@dataclass(frozen=True)
class Confirmed:
    """The confirmation of one study.

    Attributes
    ----------
    winner, baseline : str
        What was compared.
    seeds : int
        New seeds per side; 0 where nothing is trained.
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
        if row is None or math.isnan(row.gain.value):
            return f"The comparison of the {self.title} with its baseline has no result yet."
        seeds = f" with {count(self.seeds, 'new seed')} per side" if self.seeds else ""
        means = f"winner and untuned baseline reach {score(row.winner)} and {score(row.baseline)}"
        if row.split == CHOOSING_SPLIT and not self.seeds:
            return f"On {row.split} {means}; nothing new: the same tiles chose the winner."
        verb = "Scored again" if row.split == CHOOSING_SPLIT else "Confirmed" if row.confirms else "Measured"
        return f"{verb} on {row.split}{seeds}, {means}: {gain_sentence(row.gain, row.split)}."

    @property
    def covers(self) -> str:
        """What the intervals cover, or why there are none."""
        row = self.decisive
        return "" if row is None else scope(row.gain, row.split)


def winner_runs(record: Mapping[str, Any], split: str) -> list[NDArray[np.int64] | None]:
    """Confusion matrices (T, K, K) of the winner's runs on a split, of what `confirm` stored."""
    return [
        unpack_confusions(run["confusions"][split])
        for run in record["runs"]
        if run["role"] == "winner" and split in run["confusions"]
    ]


def confirmed(study: Study) -> Confirmed | None:
    """Read the confirmation of a study; None where there was none."""
    record = study.attrs.get(attr.CONFIRM)
    if not isinstance(record, dict) or "winner" not in record:
        return None
    rows = [
        ConfirmedRow(split, metric, found.winner, found.baseline, found.difference)
        for split, metrics in confirmed_differences(record).items()
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
