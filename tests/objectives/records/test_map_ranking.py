"""Who wins a cam study, and whose maps go on."""

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.records.map_ranking import FINALISTS, best_maps, finalists


def trials(*runs: tuple[str, float]) -> list[FrozenTrial]:
    found = []
    for number, (setting, value) in enumerate(runs):
        trial = create_trial(value=value, user_attrs={"setting": setting})
        trial.number = number
        found.append(trial)
    return found


def test_the_mean_wins_and_the_median_run_goes_on() -> None:
    lucky = [("lucky", 0.9), ("even", 0.8), ("lucky", 0.3), ("even", 0.7), ("lucky", 0.4), ("even", 0.75)]
    best = best_maps(trials(*lucky))
    assert best is not None
    assert best.mean == pytest.approx(0.75) and best.median.number == 5


def test_the_same_number_of_runs_stands_behind_every_mean() -> None:
    best = best_maps(trials(("a", 0.8), ("b", 0.7), ("a", 0.1)))
    assert best is not None
    assert [run.number for run in best.runs] == [0]


def test_of_an_even_number_the_lower_middle_run_goes_on() -> None:
    best = best_maps(trials(("a", 0.8), ("a", 0.6)))
    assert best is not None and best.median.number == 1


def test_only_first_runs_choose_the_finalists() -> None:
    first = [(f"s{n}", 0.9 - 0.1 * n) for n in range(FINALISTS + 2)]
    again = [(f"s{FINALISTS}", 1.0)]
    assert [runs[0].number for runs in finalists(trials(*first, *again))] == list(range(FINALISTS))


def test_nothing_complete_has_no_winner() -> None:
    assert best_maps([]) is None
    assert best_maps([create_trial(state=TrialState.FAIL, user_attrs={"setting": "a"})]) is None
