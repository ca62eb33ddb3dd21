"""What the runs of a loss were worth after each of their rounds, if rounds are searched."""

from __future__ import annotations

from objectives.records.study import Study, Trial
from objectives.records.trial import ROUNDS, is_branch_alone


def all_rounds(study: Study, runs: list[Trial]) -> list[list[Trial]]:
    """The same runs after each number of rounds that all of them were scored after, the whole runs last.

    Parameters
    ----------
    study : Study
        The loss study.
    runs : list of Trial
        Runs of one setting, each with its seed.
    """
    if not all(ROUNDS in trial.params for trial in runs):
        return [runs]
    sources = [_source(trial) for trial in runs]
    known = {(_source(trial), trial.params.get(ROUNDS)): trial for trial in study.complete}
    numbers = sorted({number for source, number in known if source in sources and number})
    rounds = [[known.get((source, number)) for source in sources] for number in numbers]
    found = [[trial for trial in each if trial is not None] for each in rounds]
    return [each for each in found if len(each) == len(runs)]


def branch_alone(study: Study) -> Trial | None:
    """Find the trial of the classification branch alone, before the first round; None if it is not scored."""
    return next((trial for trial in study.complete if is_branch_alone(trial.params)), None)


def _source(trial: Trial) -> int:
    return trial.number if trial.derived_from is None else trial.derived_from
