import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from studies.compatibility import describe
from studies.pipeline import tune_crf
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.stages.warm_start import take_over
from studies.storage.open import load_study
from studies.workspace import Workspace
from tests.support.workspaces import make_workspace, rewrite


def test_what_a_study_knows_of_itself(workspace: Workspace) -> None:
    open_studies(workspace)
    for kind in ("crf", "loss"):
        attrs = load_study(workspace.database_path, kind).user_attrs  # type: ignore[arg-type]
        assert attrs["kind"] == kind
        assert attrs["metric"] == "miou_multiclass"
        assert attrs["survey"]["tiles"] == {"train": 4, "val": 5, "test": 2}
        assert attrs["survey"]["multiclass"] == {"train": 2, "val": 2}
        assert attrs["survey"]["classes"] == ["mud", "rock"]
        assert attrs["tiles"] == [f"val{i}" for i in range(5)]
        assert attrs["groups"] == ["val-strip0", "val-strip0", "val-strip1", "val-strip1", "val-strip2"]
        assert attrs["config"]["crf"]["trials"] == 7
        assert {"python", "optuna", "torch"} <= set(attrs["versions"])
        assert attrs["test_openings"] == []
        assert "untuned" not in attrs


def test_without_tiles_of_several_classes_the_metric_is_miou(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, monkeypatch, several=False)
    attrs = describe(workspace.survey(), workspace.config)["crf"]
    assert attrs["metric"] == "miou"
    assert "no val tile shows two or more classes" in attrs["metric_note"]


def test_without_val_masks_it_says_why_nothing_was_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, monkeypatch, val_masks=False)
    attrs = describe(workspace.survey(), workspace.config)["loss"]
    assert "has no masks for its val split" in attrs["untuned"]
    assert attrs["tiles"] == []


def test_an_empty_val_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, monkeypatch, val_masks=False)
    survey = workspace.survey()
    survey = replace(survey, splits={**survey.splits, "val": ()})
    assert "has no tile in its val split" in describe(survey, workspace.config)["loss"]["untuned"]


def _redraw(workspace: Workspace, was: int, now: int) -> None:
    for path in (workspace.survey_path / "masks").glob("val*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == was, now, mask).astype(np.uint8)).save(path)


def test_val_masks_without_data_tune_nothing(workspace: Workspace) -> None:
    _redraw(workspace, 0, 255)
    _redraw(workspace, 1, 255)
    attrs = describe(workspace.survey(), workspace.config)["crf"]
    assert "has no pixel with data in the masks of its val split" in attrs["untuned"]
    assert (attrs["tiles"], attrs["unscored"]) == ([], [])
    assert attrs["metric"] == "miou_multiclass"


@pytest.mark.parametrize("now", [0, 255])
def test_a_class_that_labels_show_and_val_masks_lack_is_kept_in_mind(workspace: Workspace, now: int) -> None:
    assert describe(workspace.survey(), workspace.config)["crf"]["unscored"] == []
    _redraw(workspace, 1, now)
    attrs = describe(workspace.survey(), workspace.config)
    assert attrs["crf"]["unscored"] == attrs["loss"]["unscored"] == ["rock"]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 4", "seed = 5", "seed in study.toml changed from 4 to 5"),
        (
            "iterations = [0, 3]",
            "iterations = [0, 4]",
            "crf.iterations in study.toml changed from [0, 3] to",
        ),
        ('guides = ["raw"]', 'guides = ["raw", "lee"]', "crf.guides"),
        ("rounds = 2", "rounds = 3", "training.rounds"),
        (
            "seed = 4",
            'seed = 4\nmetric = "miou"',
            "metric in study.toml changed from miou_multiclass",
        ),
        ("[training]", '[network]\nencoder = "resnet34"\n[training]', "network.encoder"),
        ("seed = 4", 'seed = 4\nbackground = "mud"', "background in study.toml changed from nothing to mud"),
    ],
)
def test_a_change_that_would_mix_trials_is_refused(
    workspace: Workspace, old: str, new: str, named: str
) -> None:
    open_studies(workspace)
    with pytest.raises(UserError) as caught:
        open_studies(rewrite(workspace, old, new))
    assert named in str(caught.value)
    assert "put it back, or begin a study of another name" in str(caught.value)


def test_what_a_refusal_names_begins_a_study_beside_the_other(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    before = tune_crf(workspace, run_settings)
    with pytest.raises(UserError) as caught:
        open_studies(rewrite(workspace, "seed = 4", "seed = 5"))
    beside, copied, tuned = str(caught.value).split("`")[1].split(" && ")
    for command in (beside, copied):
        subprocess.run(command, shell=True, check=True)
    *tune, new, origin, old = shlex.split(tuned)
    assert (tune, origin, Path(old)) == (["sonarseg", "tune", "all"], "--from", workspace.root)
    fresh = Workspace(Path(new))
    assert fresh.survey_path == workspace.survey_path
    _, studies = open_studies(fresh)
    assert take_over(studies, fresh, Path(old)) > 0
    study = tune_crf(fresh, run_settings)
    assert study.user_attrs["config"]["seed"] == 5
    assert len(load_study(workspace.database_path, "crf").trials) == len(before.trials)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trials = 7", "trials = 9"),
        ("trials = 6", "trials = 9\nseeds = 2\nprune = false"),
        ('"tiny"', '"new"'),
    ],
)
def test_budgets_and_the_name_may_change(workspace: Workspace, old: str, new: str) -> None:
    open_studies(workspace)
    changed = rewrite(workspace, old, new)
    open_studies(changed)
    stored = load_study(workspace.database_path, "loss").user_attrs["config"]
    assert stored == changed.config.model_dump(mode="json")


def _whiten(path: Path) -> None:
    Image.new("L", Image.open(path).size, 0).save(path)


def test_train_and_test_masks_are_no_part_of_what_must_stay(workspace: Workspace) -> None:
    open_studies(workspace)
    masks = workspace.survey_path / "masks"
    for tile in ("train1", "test1"):
        _whiten(masks / f"{tile}.png")
    open_studies(Workspace(workspace.root))
    _whiten(masks / "val1.png")
    with pytest.raises(UserError, match=r"the survey .* changed"):
        open_studies(Workspace(workspace.root))


def test_a_changed_class_list_is_refused(workspace: Workspace) -> None:
    open_studies(workspace)
    (workspace.survey_path / "classes.txt").write_text("mud\nrock\nsand\n")
    rows = (workspace.survey_path / "labels.csv").read_text().splitlines()
    rows = [rows[0] + ",sand", *(row + ",0" for row in rows[1:])]
    (workspace.survey_path / "labels.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(UserError, match="the class list changed from mud, rock to mud, rock, sand"):
        open_studies(Workspace(workspace.root))


def test_a_database_of_another_optuna_is_refused(workspace: Workspace) -> None:
    open_studies(workspace)
    study = load_study(workspace.database_path, "crf")
    study.set_user_attr("versions", study.user_attrs["versions"] | {"optuna": "4.9.0"})
    with pytest.raises(UserError, match=r"Optuna changed from 4\.9\.0"):
        open_studies(workspace)
