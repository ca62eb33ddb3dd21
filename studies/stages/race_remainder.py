"""What a crf study's races have left to finish: stopped settings that could still be the best.

Only settings that were proposed at random matter: they are among those that tell what the search has gained,
and what a race stopped must not make that gain look smaller or larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.partial import read_partial
from objectives.records.ranking import best_trial
from objectives.records.trial import finishes_race, is_drawn_at_random, is_named
from objectives.unfinished_races import LEAST_CHANCE, Stopped, chances
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.strip_counts import Floats, strip_counts
from sonarseg.progress import Progress

# Of the time that the study's trials took
MOST_TIME = 0.25


@dataclass(frozen=True)
class Candidate:
    """A stopped trial that could still be the best; `seconds` is what its remaining tiles take."""

    trial: FrozenTrial
    stopped: Stopped
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What is to be scored, in this order, and how many candidates are left out for lack of time."""

    scored: int
    candidates: list[Candidate]
    left_out: int

    @property
    def facts(self) -> dict[str, Any]:
        """For the study's attribute."""
        seconds = round(sum(each.seconds for each in self.candidates), 1)
        planned = len(self.candidates)
        return {"scored": self.scored, "planned": planned, "left_out": self.left_out, "seconds": seconds}


class Remainder:
    """What a study's races have left to finish; keeps what it has read of ended trials."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self.metric = str(study.user_attrs[attr.METRIC])
        self.groups: list[str | None] = study.user_attrs.get(attr.GROUPS) or []
        self._strips: dict[int, Floats] = {}

    def plan(self) -> Plan:
        """Choose what is scored next from the trials as they are now."""
        trials = self.study.get_trials(deepcopy=False)
        done = {t.user_attrs[attr.DERIVED]: t for t in trials if finishes_race(t)}
        lost = [t for t in trials if _matters(t) and t.state == TrialState.PRUNED and t.number not in done]
        compared = [t for t in trials if t.state == TrialState.COMPLETE and _matters(t)]
        leader = best_trial(compared)
        if leader is None or not (lost and self.groups):
            return Plan(len(done), [], 0)
        best = unpack_confusions(leader.user_attrs[attr.CONFUSIONS])
        stopped = [Stopped(*read_partial(t.user_attrs, len(best), best.shape[-1])) for t in lost]
        complete = np.stack([self._strip_counts(trial) for trial in compared])
        found = chances(stopped, best, complete, self.metric, self.groups)
        order = [int(place) for place in np.argsort(-found, kind="stable") if found[place] > LEAST_CHANCE]
        usual = float(np.median([_seconds(trial) for trial in compared]))
        ordered = [Candidate(lost[i], stopped[i], _rest_seconds(lost[i], stopped[i], usual)) for i in order]
        spent = sum(_seconds(trial) for trial in done.values())
        budget = MOST_TIME * sum(_seconds(t) for t in trials if not finishes_race(t))
        fitting = int((spent + np.cumsum([each.seconds for each in ordered]) <= budget).sum())
        return Plan(len(done), ordered[:fitting], len(ordered) - fitting)

    def _strip_counts(self, trial: FrozenTrial) -> Floats:
        if trial.number not in self._strips:
            confusions = unpack_confusions(trial.user_attrs[attr.CONFUSIONS])
            self._strips[trial.number] = strip_counts(confusions, self.metric, self.groups)
        return self._strips[trial.number]


def _matters(trial: FrozenTrial) -> bool:
    """Whether a trial is among those that tell the gain of the search: named, or proposed at random."""
    return is_drawn_at_random(trial) or (is_named(trial) and trial.state == TrialState.COMPLETE)


def _seconds(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get(attr.SECONDS) or 0.0)


def _rest_seconds(trial: FrozenTrial, stopped: Stopped, usual: float) -> float:
    """Seconds that a stopped trial's other tiles take: as long as those that it was scored on, each."""
    scored = int(stopped.scored.sum())
    return _seconds(trial) * (len(stopped.scored) - scored) / scored if scored else usual


def note_plan(study: optuna.Study, plan: Plan, *, late: bool) -> None:
    """Note in the study how far it is; if the hours are over (`late`), all that is planned is left out."""
    facts = plan.facts
    if late:
        facts |= {"planned": 0, "left_out": plan.left_out + len(plan.candidates), "seconds": 0.0}
    known = study.user_attrs.get(attr.RACE_FINISHED)
    if facts != known and (known is not None or any(facts.values())):
        study.set_user_attr(attr.RACE_FINISHED, facts)


def tell_remainder(study: optuna.Study, progress: Progress) -> None:
    """Tell how many stopped trials were scored on their remaining tiles, and how long the others take."""
    facts = study.user_attrs.get(attr.RACE_FINISHED) or {}
    scored, planned = facts.get("scored", 0), facts.get("planned", 0)
    if not scored + planned:
        return
    note = "scored on their remaining tiles"
    if planned:
        note += f", about {facts['seconds']:.0f} s left"
    elif facts["left_out"]:
        note += f", {facts['left_out']} left out for lack of time"
    progress("trials stopped early", scored, scored + planned, note)
