"""Targets by name, and the configuration of a lone run."""

import shutil
from pathlib import Path

import pytest

from objectives.space import CrfRanges, crf_params, suggest_crf
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import PUBLISHED, published
from sonarseg.errors import UserError
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import RunConfig
from studies.commands.lone_runs.settings import refuse_other_settings
from studies.commands.options.targets import crf_named, crf_target, run_target
from studies.storage.open import create_database, load_study
from studies.workspace import Workspace

GREY = GreyScaling()
BEST = CrfParameters(sigma_alpha=31.0, unary="soft", unary_scale=2.0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "study.toml").write_text('name = "n"\nsurvey = "s"\n')
    workspace = Workspace(tmp_path)
    create_database(workspace.database_path, {"crf": {"kind": "crf"}, "loss": {"kind": "loss"}})
    study = load_study(workspace.database_path, "crf")
    for parameters, value in ((CrfParameters(), 0.4), (BEST, 0.6)):
        study.enqueue_trial(crf_params(parameters, False))
        trial = study.ask()
        trial.set_user_attr("worker", {"pid": 1})
        suggest_crf(trial, CrfRanges(), has_background=False)
        study.tell(trial, value)
    return workspace


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_settings_in_any_case(workspace: Workspace, name: str) -> None:
    for text in (name, name.upper(), name.lower().replace(" ", "-")):
        assert crf_target(workspace, text, GREY) == published(name, 1)
        assert crf_target(workspace, text, GreyScaling(channels=3)) == published(name, 3)


def test_cam_is_the_argmax(workspace: Workspace) -> None:
    assert crf_named(workspace, "cam", GREY).iterations == 0


def test_tuned_is_the_best_trial(workspace: Workspace) -> None:
    assert crf_named(workspace, "tuned", GREY) == BEST
    assert crf_named(workspace, "crf:0", GREY) == CrfParameters()


def test_a_trial_that_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"crf study has no trial 9: its trials are 0 to 1\."):
        crf_target(workspace, "crf:9", GREY)


def test_an_unknown_setting_lists_the_known(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="w-s3tseg"):
        crf_named(workspace, "magic", GREY)


def test_tuned_before_tuning_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sonarseg tune"):
        crf_target(Workspace(tmp_path), "tuned", GREY)


def test_a_run_by_folder_by_name_and_by_trial(workspace: Workspace) -> None:
    run_dir = workspace.runs_dir / "loss-0000"
    run_dir.mkdir(parents=True)
    (run_dir / "config.json").write_text('{"loss": {"name": "cross-entropy"}, "seed": 3}')
    (run_dir / "checkpoint.pt").write_bytes(b"")
    study = load_study(workspace.database_path, "loss")
    trial = study.ask()
    trial.set_user_attr("run", "runs/loss-0000")
    trial.set_user_attr("setting", "cross-entropy")
    trial.set_user_attr("seed", 3)
    trial.suggest_categorical("loss", ["cross-entropy"])
    study.tell(trial, 0.5)
    for text in ("loss:0", "best", "loss-0000", str(run_dir)):
        assert run_target(workspace, text).resolve() == run_dir.resolve()
    again = r"`sonarseg tune loss .*` trains the run of the best trial again"
    (run_dir / "config.json").write_text('{"loss": {"name": "lovasz_softmax"}, "seed": 3}')
    with pytest.raises(UserError, match=f"holds another run than trial 0 .*{again}"):
        run_target(workspace, "best")
    shutil.rmtree(run_dir)
    with pytest.raises(UserError, match=f"is lost: {again}"):
        run_target(workspace, "loss:0")


def test_a_trial_without_run(workspace: Workspace) -> None:
    load_study(workspace.database_path, "loss").ask()
    with pytest.raises(UserError, match="no run yet"):
        run_target(workspace, "loss:0")


def test_neither_run_nor_setting(workspace: Workspace) -> None:
    with pytest.raises(UserError, match='"nothing" is neither a run folder nor a CRF setting'):
        run_target(workspace, "nothing")


def test_a_run_is_not_gone_on_with_under_other_settings(tmp_path: Path) -> None:
    stored = RunConfig(survey="s", seed=1)
    wanted = stored.model_copy(update={"seed": 2, "supervision": "masks"})
    refuse_other_settings(stored, stored, {"seed", "supervision"}, tmp_path)
    refuse_other_settings(stored, wanted, {"crf"}, tmp_path)
    with pytest.raises(UserError, match="has another seed than was asked for"):
        refuse_other_settings(stored, wanted, {"seed"}, tmp_path)
