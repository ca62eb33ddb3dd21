"""Rounds as a parameter of the loss study: trials that were read off runs, and the model of one that wins."""

import json
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from objectives.enqueued import enqueued_params
from objectives.records.ranking import first_choices, rank_losses
from objectives.records.trial import without_rounds
from objectives.samplers import make_sampler
from objectives.space import NAMED_LOSSES, suggest_loss
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import unpack_confusions
from studies.commands.lone_runs.settings import Wishes, lone_run_config
from studies.commands.options.targets import run_target
from studies.commands.status import log_tail
from studies.confirmation.confirm import confirm
from studies.confirmation.contenders import contenders
from studies.pipeline import WorkerOptions, tune_crf, tune_loss
from studies.stages.earlier_rounds import add_earlier_rounds, searched_rounds
from studies.stages.loss import best_loss_trial, best_run_dir
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.stages.superseded import restart
from studies.stages.warm_start import take_over
from studies.storage.open import load_study
from studies.workspace import Workspace
from tests.support.simulated_backend import Fate, SimulatedBackend
from tests.support.workspaces import make_run_settings, make_workspace, rewrite, without_network
from tests.support.wrong_columns import evaluate

RESTART = "rounds = 2\nrestart_each_round = true"


@pytest.fixture
def overshoots() -> RunSettings:
    """Runs that are best after their first round, and whose classification branch alone beats them all."""
    return make_run_settings("overshoots")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Survey and workspace after the crf study, made once."""
    folder = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as monkeypatch:
        workspace = rewrite(make_workspace(folder, monkeypatch), "rounds = 2", RESTART)
        study = tune_crf(workspace, make_run_settings("good"))
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return folder


@pytest.fixture
def searched(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of its own, whose loss study is to search the rounds."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    without_network(tmp_path / "survey", monkeypatch)
    return Workspace(tmp_path / "study")


def derived(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.trials if "derived_from" in trial.user_attrs]


def own(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.trials if "derived_from" not in trial.user_attrs]


def test_each_earlier_round_is_a_trial_outside_the_budget_and_round_0_one_of_the_study(
    searched: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(searched, run_settings)
    runs, rounds = own(study), derived(study)
    assert len(runs) == 6
    assert {trial.params["rounds"] for trial in runs} == {2}
    assert [trial.params["rounds"] for trial in rounds].count(0) == 1
    firsts = [trial for trial in rounds if trial.params["rounds"] == 1]
    assert sorted(trial.user_attrs["derived_from"] for trial in firsts) == [trial.number for trial in runs]
    for trial in firsts:
        source = next(run for run in runs if run.number == trial.user_attrs["derived_from"])
        assert trial.value == source.intermediate_values[2] == trial.user_attrs["metrics"]["miou_multiclass"]
        assert trial.params == source.params | {"rounds": 1}
        assert trial.user_attrs["seed"] == source.user_attrs["seed"]
        assert unpack_confusions(trial.user_attrs["confusions"])[0].tolist() == [[8, 1], [1, 5]]
        assert trial.intermediate_values == {}
    assert tune_loss(searched, run_settings).trials == study.trials


def test_the_first_rounds_of_a_run_may_win_and_are_trained_as_a_run_of_their_own(
    searched: Workspace, overshoots: RunSettings
) -> None:
    study = tune_loss(searched, overshoots)
    winner = best_loss_trial(study)
    assert winner.params == {"loss": "lovasz_softmax", "rounds": 1}
    folder = best_run_dir(searched)
    source = next(trial for trial in study.trials if trial.number == winner.user_attrs["derived_from"])
    assert folder.name == f"{Path(source.user_attrs['run']).name}-rounds-1"
    config = json.loads((folder / "config.json").read_text())
    assert config["training"]["rounds"] == 1
    assert config["seed"] == source.user_attrs["seed"]
    whole = json.loads((searched.root / source.user_attrs["run"] / "config.json").read_text())
    whole["training"]["rounds"] = 1
    assert config == whole
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["metrics"]["miou_multiclass"] == winner.value
    assert run_target(searched, "best") == folder == run_target(searched, f"loss:{winner.number}")
    tune_loss(searched, overshoots)
    assert len((folder / "starts.txt").read_text().split()) == 1


def test_rounds_without_a_run_of_their_own_and_the_branch_alone_are_no_model(
    searched: Workspace, overshoots: RunSettings
) -> None:
    study = tune_loss(searched, overshoots)
    branch = next(trial for trial in study.trials if trial.params["rounds"] == 0)
    assert branch.value == max(trial.value or 0 for trial in study.trials) == 0.95
    assert 0 not in {
        study.trials[run.number].params["rounds"]
        for row in rank_losses(study.trials).rows.values()
        for run in row.all_runs
    }
    with pytest.raises(UserError, match="the classification branch alone, before the first round"):
        run_target(searched, f"loss:{branch.number}")
    other = next(trial for trial in derived(study) if trial.params == {"loss": "cross-entropy", "rounds": 1})
    with pytest.raises(UserError, match=rf"trial {other.number}, the first round of trial 0, has no run"):
        run_target(searched, f"loss:{other.number}")
    shutil.rmtree(best_run_dir(searched))
    with pytest.raises(UserError, match=r"the first round of trial 3, has no run .* `sonarseg tune loss"):
        run_target(searched, "best")


def test_more_seeds_go_to_the_runs_whose_first_rounds_are_best(
    searched: Workspace, overshoots: RunSettings
) -> None:
    searched = rewrite(searched, "trials = 6", "trials = 10\nseeds = 3")
    study = tune_loss(searched, overshoots)
    assert len(own(study)) == 10
    for loss in ("cross-entropy", "lovasz_softmax"):
        runs = [trial for trial in own(study) if trial.params["loss"] == loss]
        assert [trial.user_attrs["seed"] for trial in runs] == [4, 5, 6]
        assert {trial.user_attrs["setting"] for trial in runs} == {loss}
    assert all(len(runs) == 3 for runs in first_choices(study.trials))
    ranking = rank_losses(study.trials)
    # Rounds are a choice too: the seed that made it is left out of every mean.
    assert ranking.seeds == 2
    assert {row.runs[0].seed for row in ranking.rows.values() if row.compared} == {5}
    assert ranking.rows["class-weighted cross-entropy"].runs[0].setting == "focal gamma=0 alpha=1 rounds=1"


def test_what_a_killed_launcher_did_not_add_is_added_at_the_next_start(
    searched: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("studies.stages.loss.add_and_tell", lambda *_: None)
        patch.setattr("studies.stages.loss.add_earlier_rounds", lambda _: [])
        assert derived(tune_loss(searched, run_settings)) == []
    study = tune_loss(searched, run_settings)
    assert len(derived(study)) == 7
    assert add_earlier_rounds(study) == []


def test_workers_that_are_killed_leave_no_run_without_its_rounds(
    searched: Workspace, run_settings: RunSettings
) -> None:
    """A worker is killed after a run has ended, and before its earlier rounds are added."""
    told: list[int] = []
    backend = SimulatedBackend([Fate(1, "killed"), Fate(2, "killed")])
    options = WorkerOptions(workers=2, backend=backend, ended=(lambda _, trial: told.append(trial.number),))
    study = tune_loss(searched, run_settings, options)
    complete = [trial.number for trial in own(study) if trial.state == TrialState.COMPLETE]
    assert len(complete) == 6
    firsts = [trial.user_attrs["derived_from"] for trial in derived(study) if trial.params["rounds"] == 1]
    assert sorted(firsts) == complete
    assert len(derived(study)) == 7
    assert {trial.number for trial in derived(study)} <= set(told)
    assert len(told) == len(set(told))


def test_a_study_that_was_begun_without_rounds_as_a_parameter_goes_on_without(
    searched: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("studies.stages.loss.searched_rounds", lambda *_: None)
        tune_loss(rewrite(searched, "trials = 6", "trials = 4"), run_settings)
    study = tune_loss(rewrite(searched, "trials = 4", "trials = 6"), run_settings)
    assert len(study.trials) == 6
    assert "searched_rounds" not in study.user_attrs
    assert all("rounds" not in trial.params for trial in study.trials)


def test_without_restart_each_round_rounds_are_no_parameter(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(tuned, run_settings)
    assert all("rounds" not in trial.params for trial in study.trials)
    assert derived(study) == []


def test_pruned_and_failed_runs_give_no_trials(searched: Workspace) -> None:
    study = tune_loss(searched, make_run_settings("killed"))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 6


def test_a_grid_tries_each_point_once(
    searched: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.stages.loss.loss_grid", lambda: [{"loss": "cross-entropy"}])
    study = tune_loss(rewrite(searched, "trials = 6", 'trials = 30\nsampler = "grid"'), run_settings)
    assert len(own(study)) == len(NAMED_LOSSES)
    assert study.user_attrs["stopped"] == "every point of the grid was tried"


def test_a_confirmation_trains_the_winner_with_its_rounds_and_the_baseline_with_all(
    searched: Workspace, overshoots: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune_loss(searched, overshoots)
    winner, baseline = contenders(searched, "loss")
    assert (winner.rounds, baseline.rounds) == (1, 2)
    assert winner.name.startswith("lovasz_softmax, 1 round, tuned CRF")
    monkeypatch.setattr("studies.confirmation.confirm.evaluate_run", evaluate)
    record = confirm(searched, "loss", seeds=1, run_settings=overshoots)
    assert (record["winner"]["rounds"], record["baseline"]["rounds"]) == (1, 2)
    folders = [searched.root / run["run"] for run in record["runs"]]
    trained = [json.loads((folder / "config.json").read_text())["training"]["rounds"] for folder in folders]
    assert trained == [1, 2]
    assert confirm(searched, "loss", seeds=1, run_settings=overshoots)["runs"] == record["runs"]


def test_a_lone_run_with_the_tuned_loss_has_its_rounds(searched: Workspace, overshoots: RunSettings) -> None:
    tune_loss(searched, overshoots)
    config = lone_run_config(searched, searched.runs_dir / "mine", Wishes(loss="tuned"))
    assert (config.loss.name, config.training.rounds) == ("lovasz_softmax", 1)
    assert lone_run_config(searched, searched.runs_dir / "mine", Wishes()).training.rounds == 2


def test_another_workspace_takes_losses_over_not_rounds(
    searched: Workspace, overshoots: RunSettings, tmp_path: Path
) -> None:
    theirs = tune_loss(searched, overshoots)
    second = tmp_path / "second"
    second.mkdir()
    shutil.copy(searched.root / "study.toml", second)
    other = Workspace(second)
    _, studies = open_studies(other)
    assert take_over({"loss": studies["loss"]}, other, searched.root) == 2
    asked = [trial.system_attrs["fixed_params"] for trial in studies["loss"].trials]
    searches = [trial for trial in own(theirs) if "name" not in trial.user_attrs]
    expected = [without_rounds(trial.params) for trial in searches]
    assert sorted(asked, key=str) == sorted(expected, key=str)
    # What waits to be tried does not mean that the study was begun.
    assert searched_rounds(studies["loss"], other.config) == 2


def test_the_log_of_rounds_that_were_read_off_is_that_of_the_run(
    searched: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(searched, run_settings)
    first = derived(study)[0]
    source = next(trial for trial in own(study) if trial.number == first.user_attrs["derived_from"])
    (searched.root / source.user_attrs["run"] / "log.txt").write_text("epoch 1\n")
    assert log_tail(searched, first.number, 20) == "epoch 1"


def test_a_study_that_begins_anew_with_smaller_batches_tries_no_rounds(
    searched: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(searched, run_settings)
    restart(study, "loss (before)", {}, first=0)
    again = load_study(searched.database_path, "loss")
    waiting = [enqueued_params(trial.system_attrs) for trial in again.trials]
    assert waiting == [trial.params for trial in own(study) if not trial.user_attrs["repetition"]]
    assert again.user_attrs["searched_rounds"] == 2


@pytest.mark.parametrize("sampler", ["auto", "gp", "cmaes", "random", "qmc"])
def test_every_sampler_bears_rounds_that_were_read_off(sampler: str) -> None:
    study = optuna.create_study(direction="maximize")
    study.sampler = make_sampler(sampler, seed=0, moved_on=0, budget=4)  # type: ignore[arg-type]
    for number in range(6):
        trial = study.ask()
        loss = suggest_loss(trial, 3)
        trial.set_user_attr("setting", loss.name)
        trial.set_user_attr("run", f"runs/{number}")
        rounds = [{"round": n, "value": 0.1 * n, "metrics": {}, "confusions": ""} for n in range(3)]
        trial.set_user_attr("earlier_rounds", rounds)
        study.tell(trial, 0.5 + loss.gamma / 100)
        add_earlier_rounds(study)
    assert {trial.params["rounds"] for trial in own(study)} == {3}
    assert len(derived(study)) == 6 * 2 + 1
