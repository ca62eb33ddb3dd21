from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from objectives.records.attributes import ORIGIN
from objectives.records.read import read_studies
from objectives.records.trial import is_searched
from reports.style.study_words import progress
from sonarseg.errors import UserError
from studies.pipeline import tune_crf
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.stages.warm_start import BEST, take_over
from studies.trials.loop import finished
from studies.workspace import Workspace
from tests.support.workspaces import rewrite


def _beside(tuned: Workspace, *changes: tuple[str, str]) -> Workspace:
    folder = tuned.root.parent / "second"
    folder.mkdir()
    (folder / "study.toml").write_text((tuned.root / "study.toml").read_text())
    workspace = Workspace(folder)
    for old, new in changes:
        workspace = rewrite(workspace, old, new)
    return workspace


def _searched(workspace: Workspace) -> list[FrozenTrial]:
    """Complete trials that are not of a published setting, which every study tries itself."""
    trials = open_studies(workspace)[1]["crf"].trials
    return [t for t in trials if t.state == TrialState.COMPLETE and not t.user_attrs.get("name")]


def test_trials_of_the_same_question_are_taken_over_whole(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    second = _beside(tuned)
    _, studies = open_studies(second)
    theirs = _searched(tuned)
    assert take_over(studies, second, tuned.root) == len(theirs)
    assert take_over(studies, second, tuned.root) == 0
    ours = studies["crf"].trials
    assert [(t.params, t.value) for t in ours] == [(t.params, t.value) for t in theirs]
    assert [t.user_attrs[ORIGIN]["trial"] for t in ours] == [t.number for t in theirs]
    assert finished(studies["crf"]) == []
    study = tune_crf(second, run_settings)
    assert len(finished(study)) == 7


def test_of_another_question_the_best_settings_are_tried_anew(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    second = _beside(tuned, ("seed = 4", "seed = 5"))
    _, studies = open_studies(second)
    theirs = _searched(tuned)
    best = sorted(theirs, key=lambda t: (-t.value, t.number))[:BEST]
    assert take_over(studies, second, tuned.root) == BEST
    assert take_over(studies, second, tuned.root) == 0
    study = tune_crf(second, run_settings)
    again = [t for t in finished(study) if ORIGIN in t.user_attrs]
    assert [t.user_attrs[ORIGIN]["trial"] for t in again] == [t.number for t in best][: len(again)]
    assert all(t.params == b.params for t, b in zip(again, best, strict=False))
    assert not any(t.user_attrs[ORIGIN]["complete"] for t in again)


def test_what_was_taken_over_cost_nothing_here_and_is_no_published_setting(tuned: Workspace) -> None:
    second = _beside(tuned)
    take_over(open_studies(second)[1], second, tuned.root)
    study = read_studies(second.root)["crf"]
    assert study.trials
    assert [trial.seconds for trial in study.trials] == [None] * len(study.trials)
    assert not any(trial.counted or trial.device or trial.name for trial in study.trials)
    assert progress(study) == "crf: not begun"
    # They have seen the strips, and are neither evidence nor part of this study's random draws.
    assert any(trial.drawn_at_random for trial in read_studies(tuned.root)["crf"].complete)
    assert not any(trial.drawn_at_random for trial in study.trials)
    assert not any(is_searched(trial) for trial in study.frozen)
    published = {t.number for t in open_studies(tuned)[1]["crf"].trials if t.user_attrs.get("name")}
    origins = {t.user_attrs[ORIGIN]["trial"] for t in open_studies(second)[1]["crf"].trials}
    assert published
    assert not published & origins


def test_a_study_cannot_begin_with_itself(tuned: Workspace, tmp_path: Path) -> None:
    _, studies = open_studies(tuned)
    with pytest.raises(UserError, match="names this workspace itself"):
        take_over(studies, tuned, tuned.root)
    with pytest.raises(UserError, match="is missing"):
        take_over(studies, tuned, tmp_path / "none.db")


def test_taking_over_that_was_interrupted_goes_on(tuned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    second = _beside(tuned)
    _, studies = open_studies(second)
    theirs = _searched(tuned)
    added, real = [], studies["crf"].add_trial

    def add(trial: FrozenTrial) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(trial)
        real(trial)

    monkeypatch.setattr(studies["crf"], "add_trial", add)
    with pytest.raises(KeyboardInterrupt):
        take_over(studies, second, tuned.root)
    monkeypatch.undo()
    assert take_over(open_studies(second)[1], second, tuned.root) == len(theirs) - 2
    origins = [t.user_attrs[ORIGIN]["trial"] for t in studies["crf"].trials]
    assert origins == [t.number for t in theirs]


def test_values_of_another_number_are_not_taken_over(tuned: Workspace) -> None:
    second = _beside(tuned, ("[crf]\n", "[crf]\nweigh_seconds = true\n"))
    _, studies = open_studies(second)
    assert take_over(studies, second, tuned.root) == BEST
    assert {t.state for t in studies["crf"].trials} == {TrialState.WAITING}


def test_values_of_another_engine_are_not_taken_over(tuned: Workspace) -> None:
    open_studies(tuned)[1]["crf"].set_user_attr("engine", "pydensecrf")
    second = _beside(tuned)
    _, studies = open_studies(second)
    assert take_over(studies, second, tuned.root) == BEST
    assert {t.state for t in studies["crf"].trials} == {TrialState.WAITING}


def test_numbers_of_interrupted_trials_are_not_taken_over(tuned: Workspace) -> None:
    """Else the trial of that number here, once interrupted, would pass for one that was tried again."""
    theirs = open_studies(tuned)[1]["crf"]
    retried = _searched(tuned)[0]
    retried.user_attrs |= {"retry_of": 3, "deaths": 2}
    theirs.add_trial(retried)
    second = _beside(tuned)
    _, studies = open_studies(second)
    take_over(studies, second, tuned.root)
    ours = studies["crf"].trials
    assert ours[-1].params == retried.params
    assert not any({"retry_of", "deaths"} & t.user_attrs.keys() for t in ours)
