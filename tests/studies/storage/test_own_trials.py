"""Trials that others add to a study with Optuna itself: the studies go on as if they were not there."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from objectives.records.read import read_studies
from objectives.records.study import StudyKind
from studies.confirmation.contenders import contenders
from studies.pipeline import tune_crf, tune_loss
from studies.stages.crf import best_crf_trial
from studies.stages.loss import best_loss_trial
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.stages.warm_start import take_over
from studies.storage.open import load_studies, load_study
from studies.trials.loop import best_note, finished
from studies.workers.progress import study_progress
from studies.workspace import Workspace
from tests.support.workspaces import make_workspace, rewrite

STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


def add_foreign(workspace: Workspace, kind: StudyKind) -> list[int]:
    """Add trials of every kind with Optuna itself; give their numbers."""
    plain = optuna.load_study(study_name=kind, storage=f"sqlite:///{workspace.database_path}")
    known = plain.trials
    last = next(trial for trial in reversed(known) if trial.state == TrialState.COMPLETE)
    own = {"params": last.params, "distributions": last.distributions}
    for value in (0.99, math.inf):
        plain.add_trial(create_trial(**own, value=value))
    for state in STATES:
        value = 0.98 if state == TrialState.COMPLETE else None
        other = {"params": {"y": 1.0}, "distributions": {"y": FloatDistribution(0, 2)}}
        plain.add_trial(create_trial(**other, state=state, value=value))
    return [trial.number for trial in plain.trials[len(known) :]]


@pytest.mark.parametrize("sampler", ["auto", "cmaes"])
def test_the_crf_study_goes_on_without_them(
    tuned: Workspace, run_settings: RunSettings, sampler: str
) -> None:
    best = best_crf_trial(load_study(tuned.database_path, "crf"))
    foreign = add_foreign(tuned, "crf")
    more = rewrite(rewrite(tuned, "trials = 7", "trials = 10"), "[crf]", f'[crf]\nsampler = "{sampler}"')
    study = tune_crf(more, run_settings)
    assert len(finished(study)) == 10
    assert not {trial.number for trial in study.get_trials()} & set(foreign)
    assert best_crf_trial(study).number not in foreign
    assert best_crf_trial(study).values[0] >= best.values[0]
    assert "(trial 1" not in best_note(study, study.trials) or best_crf_trial(study).number >= 10
    assert study_progress(study, 10)["finished"] == 10
    assert study_progress(study, 10)["workers"] == []
    assert read_studies(tuned.root)["crf"].foreign == tuple(foreign)


def test_the_loss_study_and_what_reads_it_go_on_without_them(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(tuned, run_settings)
    best = best_loss_trial(study).number
    foreign = add_foreign(tuned, "loss")
    study = tune_loss(rewrite(tuned, "trials = 6", "trials = 7"), run_settings)
    assert len(finished(study)) == 7
    assert best_loss_trial(study).number not in foreign
    assert best_loss_trial(study).number in (best, *(trial.number for trial in finished(study)))
    add_foreign(tuned, "crf")
    for kind in ("crf", "loss"):
        winner, baseline = contenders(tuned, kind)  # type: ignore[arg-type]
        assert winner.crf != baseline.crf or winner.loss != baseline.loss


def test_both_sides_agree_which_they_are(tuned: Workspace) -> None:
    add_foreign(tuned, "crf")
    shown = read_studies(tuned.root)["crf"]
    own = load_study(tuned.database_path, "crf").get_trials()
    assert [trial.number for trial in shown.trials] == [trial.number for trial in own]
    assert len(own) < len(shown.trials) + len(shown.foreign)


def test_they_are_not_taken_over(tuned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    workspace = make_workspace(tmp_path / "other", monkeypatch)
    foreign = add_foreign(tuned, "crf")
    numbers = {trial.number for trial in load_study(tuned.database_path, "crf").get_trials()}
    _, studies = open_studies(workspace)
    assert take_over(studies, workspace, tuned.root) > 0
    origins = [
        trial.user_attrs["warm_start"]["trial"]
        for trial in load_studies(workspace.database_path)["crf"].get_trials()
        if "warm_start" in trial.user_attrs
    ]
    assert origins and set(origins) <= numbers
    assert not set(origins) & set(foreign)


@pytest.mark.parametrize(
    ("kind", "wrong"), [("crf", {"unary": "hard"}), ("loss", {"loss": "focal", "gamma": 99})]
)
def test_a_wrong_setting_that_a_person_enqueued_fails_once(
    tuned: Workspace, run_settings: RunSettings, kind: StudyKind, wrong: dict[str, object]
) -> None:
    load_study(tuned.database_path, kind).enqueue_trial(wrong)
    more = rewrite(tuned, "trials = 7", "trials = 9")
    tune = tune_crf if kind == "crf" else tune_loss
    for _ in range(2):
        study = tune(more, run_settings)
    refused = [t for t in study.get_trials() if t.system_attrs.get("fixed_params") == wrong]
    assert [t.state for t in refused] == [TrialState.FAIL]
    assert "was enqueued: expected" in refused[0].user_attrs["reason"]
    assert len(finished(study)) == (9 if kind == "crf" else 6)
