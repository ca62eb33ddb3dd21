from datetime import datetime, timedelta

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.trials.stopping import StopRules, without_gain
from studies.workers.progress import seconds_a_trial, study_progress

START = datetime(2026, 5, 4, 12)


def _trial(number: int, value: float | None, minutes: float | None = None) -> FrozenTrial:
    trial = create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
    )
    trial.number = number
    trial.datetime_complete = START + timedelta(minutes=number if minutes is None else minutes)
    return trial


@given(values=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
def test_trials_since_the_best_are_counted_in_the_order_in_which_they_ended(
    values: list[float | None],
) -> None:
    trials = [_trial(number, value) for number, value in enumerate(values)]
    complete = [value for value in values if value is not None]
    expected = len(values) - 1 - values.index(max(complete)) if complete else len(values)
    assert without_gain(trials) == without_gain(trials[::-1]) == expected


def test_patience_stops_and_says_why() -> None:
    trials = [_trial(0, 0.7), _trial(1, 0.6), _trial(2, None)]
    assert StopRules(patience=3).reason(trials) is None
    assert StopRules(patience=2).reason(trials) == "the last 2 trials brought no better value"


def test_hours_stop_and_say_why() -> None:
    now = [1000.0]
    rules = StopRules(hours=2.5, started=1000.0, clock=lambda: now[0])
    assert rules.reason([]) is None
    now[0] += 2.5 * 3600
    assert rules.reason([]) == "the 2.5 hours are over"


def test_a_pause_of_the_study_is_no_pace() -> None:
    minutes = [0, 1, 2, 3, 4, 604, 605, 606]
    assert seconds_a_trial([_trial(n, 0.5, m) for n, m in enumerate(minutes)]) == pytest.approx(60)
    assert seconds_a_trial([_trial(0, 0.5)]) is None


def test_the_forecast_is_the_rest_of_the_budget_at_the_latest_pace() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(5):
        study.add_trial(_trial(number, 0.5))
    now = START + timedelta(minutes=10)
    assert study_progress(study, 9, now)["ends"] is None
    study.ask()
    facts = study_progress(study, 9, now)
    assert facts["trials_per_hour"] == 60
    assert facts["ends"] == (now + timedelta(minutes=4)).isoformat(timespec="seconds")
    assert len(facts["workers"]) == 1
