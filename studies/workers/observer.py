"""Watches a study from outside, while workers in other processes work on it."""

from __future__ import annotations

import optuna

from objectives.records import attributes as attr
from objectives.records.trial import is_finished
from studies.stages.batch_size import restart_sentence
from studies.stages.race_remainder import tell_remainder
from studies.stages.superseded import is_superseded, successor
from studies.trials.loop import TrialCallbacks, show_progress


class Observer:
    """Tells of every trial that has ended since the last look.

    Parameters
    ----------
    study : optuna.Study
        The study; what has ended in it before is not told.
    budget : int
        Trials of the whole study.
    callbacks : TrialCallbacks
        Its progress is called if something has changed, its listeners if a trial has ended.
    """

    def __init__(self, study: optuna.Study, budget: int, callbacks: TrialCallbacks) -> None:
        self.study = study
        self.budget = budget
        self.callbacks = callbacks
        self.progress = callbacks.progress
        self._told = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}

    def __call__(self) -> int:
        """Look once; return how many trials of the budget have ended."""
        if is_superseded(self.study):
            self._follow_restart()
        trials = self.study.get_trials(deepcopy=False)
        done = [trial for trial in trials if trial.state.is_finished()]
        new = [trial for trial in done if trial.number not in self._told]
        for trial in new:
            self._told.add(trial.number)
            self.callbacks.on_ended(self.study, trial)
        if new:
            show_progress(self.study, trials, self.budget, self.progress)
            tell_remainder(self.study, self.progress)
        return sum(map(is_finished, trials))

    def show(self) -> None:
        """Tell how far the study is, before anything has ended."""
        show_progress(self.study, self.study.get_trials(deepcopy=False), self.budget, self.progress)

    def _follow_restart(self) -> None:
        known = len(self.study.user_attrs[attr.BATCH_SIZE])
        self.study, self._told = successor(self.study), set()
        for step in self.study.user_attrs[attr.BATCH_SIZE][known:]:
            self.progress("batch size", 1, 1, restart_sentence(step["batch_size"], step["why"]))
