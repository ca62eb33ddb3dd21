"""The batch size of a study: one for all its runs, noted in the study, lowered where memory runs out.

Smaller batches change batch normalisation and the Lovász-Softmax loss, so that trials of different batch
sizes cannot be compared: where one does not fit, the study begins anew with a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.outcome import OutOfMemory
from objectives.records import attributes as attr
from sonarseg.progress import Progress
from sonarseg.training.batch_size import chosen_batch_size, smaller, start_over
from sonarseg.training.run_folder.config import read_config
from studies.config import StudyConfig
from studies.stages.superseded import restart


def study_batch_size(study: optuna.Study, config: StudyConfig) -> int | Literal["auto"]:
    """The batch size of all runs; before the warm-up has ended, what study.toml says."""
    chosen = study.user_attrs.get(attr.BATCH_SIZE)
    return config.training.batch_size if chosen is None else int(chosen[-1]["batch_size"])


def runs_folder(study: optuna.Study) -> str:
    """How names of the study's run folders begin: not as those of the superseded study."""
    chosen = study.user_attrs.get(attr.BATCH_SIZE, [])
    return f"loss-batch-{chosen[-1]['batch_size']}" if len(chosen) > 1 else "loss"


def note_batch_size(study: optuna.Study, config: StudyConfig, warm_up: Mapping[str, Any]) -> None:
    """Note in a study that has none yet the batch size with which the warm-up ended.

    Parameters
    ----------
    study : optuna.Study
        The loss study.
    config : StudyConfig
    warm_up : mapping
        The warm-up's summary; those of earlier versions do not tell their batch size.
    """
    if attr.BATCH_SIZE in study.user_attrs:
        return
    wanted = config.training.batch_size
    used = warm_up.get("batch_size", wanted)
    if used == "auto":
        return
    why = "set in study.toml" if used == wanted else "found by the warm-up"
    study.set_user_attr(attr.BATCH_SIZE, [{"batch_size": used, "why": why}])


def lower_where_memory_ran_out(study: optuna.Study, config: StudyConfig, progress: Progress) -> bool:
    """Begin the study anew with batches half as large where a trial of it has run out of memory.

    Where the same loss has been trained to its end with this batch size, something else took the memory:
    the trial is gone on with as it is, once.

    Call it under the ask lock.

    Returns
    -------
    bool
        Whether the study was superseded.
    """
    trials = study.get_trials(deepcopy=False)
    fitted = {trial.params.get("loss") for trial in trials if trial.state == TrialState.COMPLETE}
    culprit = next((trial for trial in trials if _does_not_fit(trial, fitted)), None)
    if culprit is None:
        return False
    before = study_batch_size(study, config)
    assert before != "auto"
    half = smaller(before)
    assert half is not None, "the objective fails such a trial for good"
    why = f"memory ran out with {before} in trial {culprit.number}: {culprit.user_attrs.get(attr.SETTING)}"
    history = study.user_attrs.get(attr.BATCH_SIZE, [{"batch_size": before, "why": "set in study.toml"}])
    restart(
        study,
        f"{study.study_name}, batch size {before}",
        {attr.BATCH_SIZE: [*history, {"batch_size": half, "why": why}]},
        # At once it shows whether it fits now: nothing else is trained in vain.
        first=culprit.number,
    )
    progress("batch size", 1, 1, restart_sentence(half, why))
    return True


def _does_not_fit(trial: FrozenTrial, fitted: set[Any]) -> bool:
    times = trial.user_attrs.get(attr.MEMORY_RAN_OUT, 0)
    return trial.state == TrialState.FAIL and times > int(trial.params.get("loss") in fitted)


def restart_sentence(batch_size: int, why: str) -> str:
    """Tell a person that the study began anew."""
    return f"the loss study begins anew with batches of {batch_size} tiles, all its trials alike: {why}"


def follow_with_fitting_batches(
    run_dir: Path, follow: Callable[[], dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    """Follow a run that is no trial; where memory runs out, it starts over with batches half as large.

    Parameters
    ----------
    run_dir : Path
        Its folder.
    follow : callable
        Follows it once and returns its summary.
    progress : Progress
        Told of it.

    Returns
    -------
    dict
        The content of summary.json, which names the batch size.

    Raises
    ------
    OutOfMemory
        Where not even the smallest batches fit.
    """
    while True:
        try:
            return follow()
        except OutOfMemory:
            config = read_config(run_dir)
            before = chosen_batch_size(run_dir, config)
            half = None if before is None else smaller(before)
            if half is None:
                raise
            why = f"memory ran out with {before}"
            start_over(run_dir, half, why)
            progress("batch size", 1, 1, f"{run_dir.name} starts over with batches of {half} tiles: {why}")
