"""The cam study, and how its winner becomes the warm-up that the later studies start from."""

import json
import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from objectives.records.map_ranking import best_maps
from sonarseg.errors import UserError
from sonarseg.training.run_folder.config import read_config
from studies.commands.status import gather, shown
from studies.pipeline import tune_all, tune_cam, tune_crf
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study, present_studies
from studies.workspace import CHOSEN_MAPS, Workspace
from tests.support.workspaces import make_run_settings, rewrite

CAM = '[cam]\ntrials = 15\nsampler = "random"\n\n[crf]\n'


@pytest.fixture
def with_cam_study(workspace: Workspace) -> Workspace:
    return rewrite(workspace, "[crf]\n", CAM)


def test_the_best_five_settings_get_three_seeds(with_cam_study: Workspace, run_settings: RunSettings) -> None:
    study = tune_cam(with_cam_study, run_settings)
    names = [trial.user_attrs.get("name") for trial in study.trials]
    assert names[:3] == ["w-s3Tseg", "candidate loss", None]
    assert len(study.trials) == 15 and all(t.state == TrialState.COMPLETE for t in study.trials)
    by_setting: dict[str, list[int]] = {}
    for trial in study.trials:
        by_setting.setdefault(trial.user_attrs["setting"], []).append(trial.user_attrs["seed"])
    assert sorted(map(len, by_setting.values())) == [3, 3, 3, 3, 3]
    assert all(seeds == [4, 5, 6] for seeds in by_setting.values())


def test_the_median_run_of_the_best_maps_is_the_warm_up_of_the_later_studies(
    with_cam_study: Workspace, run_settings: RunSettings
) -> None:
    workspace = with_cam_study
    tune_all(workspace, run_settings)
    best = best_maps(load_study(workspace.database, "cam").trials)
    assert best is not None
    chosen = {kind: load_study(workspace.database, kind).user_attrs["cam"] for kind in ("crf", "loss")}
    assert chosen["crf"] == chosen["loss"] == workspace.chosen_maps
    assert chosen["crf"]["trial"] == best.median.number
    ran, warm_up = (read_config(workspace.root / folder) for folder in (chosen["crf"]["run"], "runs/warm-up"))
    assert ran == warm_up
    assert warm_up.seed == best.median.user_attrs["seed"]
    starts = (workspace.warm_up_dir / "starts.txt").read_text().split()
    assert len(starts) == 1, "it is not trained again"
    trial = read_config(workspace.runs_dir / "loss-0000")
    assert (trial.cam, trial.network, trial.training) == (warm_up.cam, warm_up.network, warm_up.training)
    assert (trial.seed, trial.score_maps) == (4, False)
    told = gather(workspace)["studies"]
    assert list(told) == ["cam", "crf", "loss"] and told["cam"]["median"] == chosen["crf"]["trial"]
    assert told["loss"]["lineage"] == {"cam": chosen["crf"]["trial"], "crf": told["crf"]["best"]["trial"]}
    lines = "\n".join(map(str, shown(gather(workspace)).renderables))
    assert f"crf: starts from the maps of cam trial {chosen['crf']['trial']}\n" in lines
    # All is done: the same command changes nothing.
    before = (workspace.warm_up_dir / CHOSEN_MAPS).stat().st_mtime_ns
    tune_all(Workspace(workspace.root), run_settings)
    assert (workspace.warm_up_dir / CHOSEN_MAPS).stat().st_mtime_ns == before


def test_a_warm_up_that_is_lost_is_trained_again_with_the_chosen_settings(
    with_cam_study: Workspace, run_settings: RunSettings
) -> None:
    workspace = with_cam_study
    tune_cam(workspace, run_settings)
    tune_crf(workspace, run_settings)
    before = read_config(workspace.warm_up_dir)
    for folder in workspace.runs_dir.iterdir():
        shutil.rmtree(folder)
    tune_crf(Workspace(workspace.root), run_settings)
    assert read_config(workspace.warm_up_dir).model_copy(update={"score_maps": True}) == before


def test_without_a_complete_trial_the_crf_study_has_no_maps(
    with_cam_study: Workspace, run_settings: RunSettings
) -> None:
    with pytest.raises(UserError, match="no trial of the cam study is complete: run `sonarseg tune cam`"):
        tune_crf(with_cam_study, run_settings)
    assert not with_cam_study.warm_up_dir.exists()


def test_a_run_that_fails_is_a_failed_trial(with_cam_study: Workspace) -> None:
    workspace = rewrite(with_cam_study, "warmup_epochs = 1", "warmup_epochs = 2")
    study = tune_cam(workspace, make_run_settings("fail"))
    named = study.trials[:2]
    assert [trial.state for trial in named] == [TrialState.FAIL] * 2
    assert all("out of memory" in trial.user_attrs["reason"] for trial in named)


def test_without_trials_there_is_no_cam_study(workspace: Workspace, run_settings: RunSettings) -> None:
    with pytest.raises(UserError, match=r"gives the cam study no trials: write trials = 30"):
        tune_cam(workspace, run_settings)
    tune_crf(workspace, run_settings)
    assert list(present_studies(workspace.database)) == ["crf", "loss"]
    assert workspace.settled == workspace.config


def test_a_crf_study_that_has_begun_keeps_its_maps(workspace: Workspace, run_settings: RunSettings) -> None:
    tune_crf(workspace, run_settings)
    trained = read_config(workspace.warm_up_dir)
    later = rewrite(workspace, "[crf]\n", CAM)
    with pytest.raises(
        UserError, match=r"has begun on the maps of .*start a new workspace with `sonarseg init"
    ):
        tune_cam(later, run_settings)
    tune_all(later, run_settings)
    assert read_config(later.warm_up_dir) == trained
    assert not load_study(later.database, "cam").trials


def test_a_warm_up_of_study_toml_is_moved_aside(workspace: Workspace, run_settings: RunSettings) -> None:
    rewrite(workspace, "trials = 7", "trials = 5")
    tune_crf(workspace, run_settings)
    aside = read_config(workspace.warm_up_dir)
    workspace.database_path.unlink()
    tune_all(rewrite(workspace, "[crf]\n", CAM), run_settings)
    assert read_config(workspace.runs_dir / "other-1-warm-up") == aside
    assert json.loads((workspace.warm_up_dir / CHOSEN_MAPS).read_text())["run"].startswith("runs/cam-")


def test_other_workspaces_settings_are_tried_once_each(
    with_cam_study: Workspace, run_settings: RunSettings, tmp_path: Path
) -> None:
    from studies.stages.open_studies import open_studies
    from studies.stages.warm_start import take_over

    tune_cam(with_cam_study, run_settings)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(with_cam_study.root / "study.toml", other)
    workspace = Workspace(other)
    _, studies = open_studies(workspace)
    # Of the five settings two have a name.
    assert take_over(studies, workspace, with_cam_study.root) == 3
    assert all(trial.state == TrialState.WAITING for trial in studies["cam"].trials)
