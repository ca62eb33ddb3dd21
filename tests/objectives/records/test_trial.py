"""What a trial is: one rule, and the trial that reports read follows it."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from objectives.records import trial as rules
from objectives.records.read import read_studies
from tests.support.fake_studies import CRF_SPACE, add, new_study

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
TAKEN = {"database": "/a/study.db", "trial": 3, "value": 0.5}
PREDICATES = (
    rules.is_named,
    rules.is_drawn_at_random,
    rules.is_searched,
    rules.is_derived,
    rules.finishes_race,
    rules.is_inherited,
    rules.is_interrupted,
    rules.in_budget,
)


@pytest.mark.parametrize(
    ("state", "attrs", "expected"),
    [
        (COMPLETE, {}, {"is_searched", "in_budget"}),
        (COMPLETE, {"name": "PSA"}, {"is_named", "is_searched", "in_budget"}),
        (PRUNED, {"proposal": "random"}, {"is_drawn_at_random", "is_searched", "in_budget"}),
        (COMPLETE, {"proposal": "adaptive"}, {"is_searched", "in_budget"}),
        (COMPLETE, {"derived_from": 0}, {"is_derived"}),
        (
            COMPLETE,
            {"derived_from": 2, "finished_race": True, "proposal": "random"},
            {"is_derived", "finishes_race", "is_drawn_at_random"},
        ),
        (COMPLETE, {"warm_start": TAKEN | {"complete": True}}, {"is_inherited"}),
        (COMPLETE, {"warm_start": TAKEN | {"complete": False}}, {"in_budget"}),
        (COMPLETE, {"warm_start": "overwritten"}, {"in_budget"}),
        (FAIL, {"interrupted": True}, {"is_searched", "is_interrupted"}),
        (FAIL, {"reason": "no"}, {"is_searched", "in_budget"}),
    ],
)
def test_what_a_trial_is(state: TrialState, attrs: dict[str, Any], expected: set[str]) -> None:
    value = 0.5 if state is COMPLETE else None
    trial = create_trial(state=state, value=value, user_attrs=attrs)
    assert {rule.__name__ for rule in PREDICATES if rule(trial)} == expected


def test_an_enqueued_setting_was_not_searched_unless_it_is_noted() -> None:
    enqueued = create_trial(value=0.5, system_attrs={"fixed_params": {"sigma_beta": 5.0}})
    assert not rules.is_searched(enqueued)
    enqueued.user_attrs = {"proposal": "random"}
    assert rules.is_searched(enqueued)


def test_the_value_of_a_study_with_two_objectives_is_its_quality() -> None:
    assert rules.objective_value(create_trial(values=[0.5, 12.0])) == 0.5


def test_reports_count_the_trials_that_the_budget_counts(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    add(study, CRF_SPACE, {}, 0.7, name="PSA")
    add(study, CRF_SPACE, {}, 0.7, derived_from=0)
    add(study, CRF_SPACE, {}, 0.7, warm_start=TAKEN | {"complete": True})
    add(study, CRF_SPACE, {}, None, state=FAIL, interrupted=True)
    add(study, CRF_SPACE, {}, None, state=FAIL, reason="no")
    read = read_studies(tmp_path)["crf"]
    assert [trial.counted for trial in read.trials] == [True, False, False, False, True]
    assert [rules.in_budget(trial) for trial in read.frozen] == [trial.counted for trial in read.trials]
