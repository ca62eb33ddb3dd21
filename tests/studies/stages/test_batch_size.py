"""One batch size for all runs of a study, lowered for all of them where memory runs out."""

import json
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from objectives.records.attributes import BATCH_SIZE
from objectives.space import NAMED_LOSSES
from sonarseg.errors import UserError
from studies.pipeline import WorkerOptions, tune_loss
from studies.stages.loss import best_loss_trial
from studies.stages.prepare import prepare
from studies.stages.run_settings import RunSettings
from studies.stages.superseded import is_superseded, restart, successor
from studies.storage.open import load_study, open_storage
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings, make_workspace, rewrite


def batch_size_of(workspace: Workspace, run: str) -> int:
    config = json.loads((workspace.root / run / "config.json").read_text())
    return int(config["training"]["batch_size"])


def names(workspace: Workspace) -> list[str]:
    return optuna.get_all_study_names(open_storage(workspace.database_path))


def history(study: optuna.Study) -> list[int]:
    return [step["batch_size"] for step in study.user_attrs[BATCH_SIZE]]


def test_a_study_has_the_batch_size_of_study_toml(tuned: Workspace, run_settings: RunSettings) -> None:
    tuned = rewrite(tuned, "trials = 6", "trials = 1")
    study = tune_loss(tuned, run_settings)
    assert history(study) == [16]
    assert {trial.user_attrs["batch_size"] for trial in study.trials[:1]} == {16}


@pytest.mark.parametrize(("workers", "fitting", "sizes"), [(1, 4, [16, 8, 4]), (2, 8, [16, 8])])
def test_where_memory_runs_out_every_trial_is_run_with_smaller_batches(
    tuned: Workspace, workers: int, fitting: int, sizes: list[int]
) -> None:
    tuned = rewrite(tuned, "trials = 6", "trials = 5")
    said: list[str] = []
    run_settings = make_run_settings(f"memory:{fitting}", progress=lambda *told: said.append(str(told[-1])))
    study = tune_loss(tuned, run_settings, WorkerOptions(workers=workers))
    assert history(study) == sizes
    assert sum("begins anew" in sentence for sentence in said) == len(sizes) - 1
    assert {trial.user_attrs.get("name") for trial in study.trials} == {*NAMED_LOSSES, None}
    assert study.trials[0].params["loss"] == "lovasz_softmax"
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    for trial in study.trials:
        assert trial.user_attrs["batch_size"] == batch_size_of(tuned, trial.user_attrs["run"]) == fitting
    assert best_loss_trial(study).params["loss"] == "lovasz_softmax"
    assert sorted(names(tuned)) == sorted(
        ["crf", "loss", *(f"loss, batch size {size}" for size in sizes[:-1])]
    )
    archive = optuna.load_study(study_name="loss, batch size 16", storage=study._storage)
    done = archive.get_trials(states=(TrialState.COMPLETE,))
    assert done
    assert all(batch_size_of(tuned, trial.user_attrs["run"]) == 16 for trial in done)
    again = tune_loss(tuned, run_settings, WorkerOptions(workers=1))
    assert again.trials == study.trials


def test_a_trial_goes_on_as_it_is_where_its_loss_has_fitted_before(tuned: Workspace) -> None:
    study = load_study(tuned.database_path, "loss")
    for _ in range(2):
        study.enqueue_trial({"loss": "cross-entropy"})
    study = tune_loss(tuned, make_run_settings("memory-once"))
    assert history(study) == [16]
    (broken,) = study.get_trials(states=(TrialState.FAIL,))
    again = next(trial for trial in study.trials if trial.user_attrs.get("retry_of") == broken.number)
    assert again.state == TrialState.COMPLETE
    assert again.user_attrs["run"] == broken.user_attrs["run"] == "runs/loss-0001"
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 6


def test_a_trial_that_fits_with_no_batch_size_fails_and_the_others_go_on(tuned: Workspace) -> None:
    tuned = rewrite(tuned, "trials = 6", "trials = 4")
    study = tune_loss(tuned, make_run_settings("memory:1"))
    assert history(study) == [16, 8, 4, 2]
    states = {trial.user_attrs["setting"]: trial.state for trial in study.trials}
    assert states.pop("lovasz_softmax") == TrialState.FAIL
    assert set(states.values()) == {TrialState.COMPLETE}
    failed = next(trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert "out of memory" in failed.user_attrs["reason"]


def test_a_warm_up_that_does_not_fit_sets_the_batch_size_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, monkeypatch)
    rewrite(workspace, "warmup_epochs = 1", "warmup_epochs = 3")
    ready = prepare(workspace, make_run_settings("memory:8"))
    assert history(ready.loss) == [8]
    assert len((workspace.warm_up_dir / "starts.txt").read_text().split()) == 2
    # The settings in study.toml are still those of the warm-up.
    assert history(prepare(workspace, make_run_settings("refuse")).loss) == [8]


def test_a_warm_up_that_never_fits_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, monkeypatch)
    rewrite(workspace, "warmup_epochs = 1", "warmup_epochs = 3")
    with pytest.raises(UserError, match=r"the warm-up in .* failed: out of memory"):
        prepare(workspace, make_run_settings("memory:1"))


def test_auto_is_settled_by_the_warm_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, monkeypatch)
    workspace = rewrite(workspace, "rounds = 2", 'rounds = 2\nbatch_size = "auto"')
    ready = prepare(workspace, make_run_settings("good"))
    assert history(ready.loss) == [32]
    study = ready.loss
    study.set_user_attr(BATCH_SIZE, [{"batch_size": 8, "why": "for this test"}])
    assert history(prepare(workspace, make_run_settings("good")).loss) == [8]


def test_a_study_without_val_masks_starts_its_one_run_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, monkeypatch, val_masks=False)
    run_settings = make_run_settings("memory:8")
    tune_loss(workspace, run_settings)
    assert json.loads((workspace.final_dir / "summary.json").read_text())["batch_size"] == 8


def test_a_study_that_is_killed_while_it_begins_anew_is_as_it_was(
    tuned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(tuned.database_path, "loss")
    study.enqueue_trial({"loss": "focal"}, user_attrs={"name": "mine"})

    def killed(table: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sqlalchemy, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            restart(study, "old", {"batch_size": 1}, first=0)
    assert not is_superseded(study)
    assert len(successor(study).trials) == 1
    restart(study, "old", {"batch_size": 1}, first=0)
    assert is_superseded(study)
    assert sorted(names(tuned)) == ["crf", "loss", "old"]
    new = successor(study)
    assert new.user_attrs == study.user_attrs | {"batch_size": 1}
    (trial,) = new.trials
    assert trial.state == TrialState.WAITING
    assert trial.user_attrs == {"name": "mine"}
    assert trial.system_attrs["fixed_params"] == {"loss": "focal"}
