"""A study and its trials as reports and the command line read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.ranking import best_of
from objectives.records.trial import read_off_run
from sonarseg.files.plain_text import plain, plain_or_none

StudyKind = Literal["cam", "crf", "loss"]
Direction = Literal["maximize", "minimize"]
# In the order in which they follow from each other
KINDS: tuple[StudyKind, ...] = ("cam", "crf", "loss")
# Those that every workspace has; the cam study is there if study.toml gives it trials.
REQUIRED: tuple[StudyKind, ...] = ("crf", "loss")
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
# A failed trial that had no end of its own: Ctrl-C, or its program died; it is run again.
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Trial:
    """One trial as a person reads it.

    Attributes
    ----------
    number : int
    state : str
        A value of `STATES`, or `INTERRUPTED`.
    value : float or None
        The objective value of a completed trial: the first of its values.
    tile_seconds : float or None
        What it is weighed against where the study weighs anything: seconds a tile of the dense CRF.
    params : dict
    name : str or None
        Name of an untuned setting that was enqueued.
    scores : dict
        Score a metric name, recomputed from the confusions where they are stored.
    iou : dict
        IoU a class name; None for a class in neither truth nor prediction.
    confusions : int64 (T, K, K) or None
    confusions_shown : int64 (T, K, K) or None
        With the prediction restricted to the classes of each tile's labels (loss study).
    seconds : float or None
    joules : float or None
        Energy that the run's GPU used meanwhile.
    reason : str or None
        Why the trial failed or was pruned.
    run : str or None
        Run folder relative to the workspace (loss study).
    seed : int or None
        Seed of the run (loss study).
    setting : str
        Canonical text of the loss and its parameters, without the seed.
    derived_from : int or None
        The trial from whose other numbers of iterations this one was read off, or that it finishes.
    finished_race : bool
        Whether it is that trial, which a race had stopped, scored on its remaining tiles.
    taken_from : str or None
        The trial of another workspace that it was taken over from, or whose setting it tries again.
    in_budget : bool
        Whether the budget counts it, once it has begun: no part of another trial, not taken over.
    host : str or None
        Machine that ran it.
    worker : str or None
        Machine and process that ran it.
    device : str or None
        What it ran on, where it was noted.
    intermediate : dict
        Reported values, an epoch each.
    drawn_at_random : bool
        Whether its setting was drawn without looking at the scores of other trials.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    name: str | None = None
    enqueued: bool = False
    scores: dict[str, float | None] = field(default_factory=dict)
    iou: dict[str, float | None] = field(default_factory=dict)
    confusions: NDArray[np.int64] | None = None
    confusions_shown: NDArray[np.int64] | None = None
    seconds: float | None = None
    joules: float | None = None
    reason: str | None = None
    run: str | None = None
    seed: int | None = None
    setting: str = ""
    retry_of: int | None = None
    derived_from: int | None = None
    finished_race: bool = False
    taken_from: str | None = None
    in_budget: bool = True
    host: str | None = None
    worker: str | None = None
    device: str | None = None
    tile_seconds: float | None = None
    intermediate: dict[int, float] = field(default_factory=dict)
    drawn_at_random: bool = False
    started: datetime | None = None

    @property
    def runs(self) -> list[str]:
        """Run folders that hold its epochs: its own, and the one whose first rounds it is."""
        if self.run is None:
            return []
        return list(dict.fromkeys((self.run, read_off_run(self.run, self.params))))

    @property
    def counted(self) -> bool:
        """Whether it has begun and the budget counts it."""
        return self.in_budget and self.state != "waiting"

    @property
    def searched(self) -> bool:
        """Whether it ended here and its setting was chosen by the search."""
        return self.counted and not self.name and self.state != "running"


@dataclass(frozen=True)
class Study:
    """One study and its trials, in the order of their numbers.

    `foreign` holds the numbers of the trials that another program added: they are in no other field.
    """

    name: str
    kind: str
    attrs: dict[str, Any]
    trials: tuple[Trial, ...]
    frozen: tuple[FrozenTrial, ...]
    weighs_seconds: bool = False
    foreign: tuple[int, ...] = ()

    @property
    def metric(self) -> str:
        """Name of the metric that the trials maximise."""
        return plain(self.attrs.get(attr.METRIC, "miou_multiclass"))

    @property
    def metric_note(self) -> str | None:
        """Why the metric is not the usual one."""
        return plain_or_none(self.attrs.get(attr.METRIC_NOTE))

    @property
    def unscored(self) -> list[str]:
        """Classes that the labels of val show and its masks never hold: no score tells of them."""
        return [plain(name) for name in self.attrs.get(attr.UNSCORED) or []]

    @property
    def untuned(self) -> str | None:
        """Why nothing could be tuned."""
        return plain_or_none(self.attrs.get(attr.UNTUNED))

    @property
    def val_is_empty(self) -> bool:
        """Whether no tile is in val, as in a survey that had no mask when its splits were made."""
        tiles = self.survey.get("tiles")
        return isinstance(tiles, dict) and tiles.get("val") == 0

    @property
    def sources(self) -> list[str]:
        """Workspaces that it was begun with, without the way to them on the machine where they were."""
        return [workspace_name(source) for source in self.attrs.get(attr.WARM_STARTS) or []]

    @property
    def survey(self) -> dict[str, Any]:
        """Name, fingerprint, classes and tile counts of the survey."""
        survey = self.attrs.get(attr.SURVEY)
        return survey if isinstance(survey, dict) else {}

    @property
    def classes(self) -> list[str]:
        """Class names by id."""
        return [plain(name) for name in self.survey.get("classes", [])]

    @property
    def groups(self) -> list[str | None] | None:
        """Strip of each scored tile, or None where the survey does not tell."""
        groups = self.attrs.get(attr.GROUPS)
        return groups if groups and any(group is not None for group in groups) else None

    def in_state(self, state: str) -> list[Trial]:
        """Trials of one state."""
        return [trial for trial in self.trials if trial.state == state]

    @property
    def complete(self) -> list[Trial]:
        """Completed trials that have a value."""
        return [t for t in self.trials if t.state == "complete" and t.value is not None]

    def counts(self) -> dict[str, int]:
        """Count the trials of each state, all states named; those interrupted or read off another apart."""
        own = [trial for trial in self.trials if trial.derived_from is None]
        found = Counter(trial.state for trial in own)
        counts = {state: found[state] for state in STATES.values()}
        more = {INTERRUPTED: found[INTERRUPTED], "derived": len(self.trials) - len(own)}
        return counts | {state: number for state, number in more.items() if number}

    def best(self) -> Trial | None:
        """Find the completed trial of the largest value; the earliest of equals."""
        return best_of(self.complete)

    def log_parameters(self) -> set[str]:
        """Parameters that were sampled on a log scale."""
        return {
            name
            for trial in self.frozen
            for name, distribution in trial.distributions.items()
            if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
        }


def workspace_name(database: object) -> str:
    """Name a workspace by where its studies are: FOLDER/study.db, or ADDRESS (NAME) on a server."""
    text = plain(database)
    if "://" in text:
        return text.rpartition(" (")[2].removesuffix(")")
    return PurePath(text).parent.name or "another workspace"


def test_openings(studies: Iterable[Study]) -> list[tuple[str, str]]:
    """Time and reason of every opening of the test split, in order; studies of a workspace share them."""
    return sorted(
        {
            (str(opening.get("time", "")), str(opening.get("what", "")))
            for study in studies
            for opening in study.attrs.get(attr.TEST_OPENINGS) or []
        }
    )
