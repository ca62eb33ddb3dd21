"""How a study stands: its pace, when it ends, and what each worker does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import mean, median
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.trial import is_finished, is_interrupted
from studies.trials.heartbeat import died_here

# Trials from whose ends the pace is read
_LATEST = 20
# A gap so many times the usual one was a pause of the study, not work.
_PAUSE = 10.0


def study_progress(study: optuna.Study, budget: int, now: datetime | None = None) -> dict[str, Any]:
    """Tell how far a study is, fit for JSON.

    Parameters
    ----------
    study : optuna.Study
    budget : int
        Trials of the whole study.
    now : datetime, optional
        Local time, as Optuna's time stamps.

    Returns
    -------
    dict
        `finished`, `budget`, `interrupted`, `died` (trials whose worker on this machine is gone, which are
        still called running), `trials_per_hour` (None before it is known), `ends` (None where
        nobody works), `stopped` (why no more trials are begun), `workers` (a dict each, without those
        of this machine that have died).
    """
    now = now or datetime.now()
    trials = study.get_trials(deepcopy=False)
    done = list(filter(is_finished, trials))
    running = [t for t in trials if t.state == TrialState.RUNNING and not died_here(t)]
    seconds = seconds_a_trial(done)
    left = max(0, budget - len(done))
    ends = now + timedelta(seconds=left * seconds) if running and left and seconds is not None else None
    return {
        "finished": len(done),
        "budget": budget,
        "interrupted": sum(map(is_interrupted, trials)),
        "died": sum(trial.state == TrialState.RUNNING for trial in trials) - len(running),
        "trials_per_hour": None if not seconds else round(3600 / seconds, 1),
        "ends": None if ends is None else ends.isoformat(timespec="seconds"),
        "stopped": study.user_attrs.get(attr.STOPPED) if left and not running else None,
        "workers": [_worker(trial, now) for trial in running],
    }


def seconds_a_trial(finished: Sequence[FrozenTrial]) -> float | None:
    """Mean time between the latest ends of trials, pauses of the study left out.

    Workers that work side by side end trials side by side, so this counts them all.
    """
    ends = sorted(trial.datetime_complete for trial in finished if trial.datetime_complete is not None)
    latest = ends[-_LATEST - 1 :]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(latest)]
    if not gaps:
        return None
    usual = median(gaps)
    return mean(gap for gap in gaps if gap <= _PAUSE * max(usual, 1e-3))


def _worker(trial: FrozenTrial, now: datetime) -> dict[str, Any]:
    # Between asking for a trial and saying who it is, a worker has no name yet.
    identity = trial.user_attrs.get(attr.WORKER, {})
    step = trial.last_step
    return {
        "trial": trial.number,
        "setting": trial.user_attrs.get(attr.SETTING) or trial.user_attrs.get(attr.NAME),
        "host": identity.get("host"),
        "pid": identity.get("pid"),
        "device": trial.user_attrs.get(attr.DEVICE),
        "run": trial.user_attrs.get(attr.RUN),
        "seconds": None
        if trial.datetime_start is None
        else round((now - trial.datetime_start).total_seconds(), 1),
        "step": step,
        "value": None if step is None else trial.intermediate_values[step],
    }
