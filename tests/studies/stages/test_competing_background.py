"""A workspace whose classes compete: no background score is searched, and none is put on the CAMs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.records import attributes as attr
from reports.dashboard.pictures import PicturePanel
from sonarseg.cam.files import read_cam
from sonarseg.cam.hard_labels import argmax_labels
from sonarseg.densecrf.published import NO_CRF, published
from sonarseg.metrics.confusion import confusion, unpack_confusions
from sonarseg.metrics.iou import miou
from studies.commands.results.scaling import workspace_scaling
from studies.commands.results.scoring import score_target
from studies.pipeline import tune_crf
from studies.previews import trials as trial_pictures
from studies.previews.rows import write_picture_rows
from studies.storage.open import load_study
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings, make_workspace, rewrite


@pytest.fixture(params=["auto", "grid"])
def competing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = make_workspace(tmp_path, monkeypatch)
    cam = 'background = "mud"\n\n[cam]\nloss = "candidate"\nform = "softmax"\n'
    workspace = rewrite(workspace, "seed = 4\n", f"seed = 4\n{cam}")
    workspace = rewrite(workspace, "[crf]\n", f'[crf]\nsampler = "{request.param}"\n')
    monkeypatch.setenv("FAKE_FINGERPRINT", workspace.survey().fingerprint)
    tune_crf(workspace, make_run_settings("good"))
    return workspace


def test_study_evaluation_and_pictures_take_the_scores_as_they_are(
    competing: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, survey = load_study(competing.database, "crf"), competing.survey()
    assert len(study.trials) >= 7
    assert not any("background_score" in trial.params for trial in study.trials)
    labels = {
        tile: argmax_labels(read_cam(competing.cams_dir / "val" / f"{tile}.npy"), survey.shown(tile))
        for tile in study.user_attrs[attr.TILES]
    }
    expected = np.stack([confusion(survey.read_mask(tile), found, 2) for tile, found in labels.items()])
    (plain,) = (trial for trial in study.trials if trial.user_attrs.get(attr.NAME) == NO_CRF)
    np.testing.assert_array_equal(unpack_confusions(plain.user_attrs[attr.CONFUSIONS]), expected)
    scored = score_target(competing, "cam", "val")
    np.testing.assert_array_equal(unpack_confusions(scored["confusions"]), expected)

    pictures, scaling = tmp_path / "pictures", workspace_scaling(competing)
    settings = {"labels": published(NO_CRF)}
    write_picture_rows(
        pictures, survey, competing.cams_dir, scaling, settings, None, cam=competing.config.cam
    )
    for row in json.loads((pictures / "rows.json").read_text())["rows"]:
        (panel,) = (panel for panel in row["panels"] if panel["title"] == "labels")
        own = confusion(survey.read_mask(row["tile"]), labels[row["tile"]], 2)
        assert panel["miou"] == pytest.approx(miou(own[None]))

    drawn: list[list[list[PicturePanel]]] = []

    def record(rows: list[list[PicturePanel]], classes: Any) -> bytes:
        drawn.append(rows)
        return b"picture"

    monkeypatch.setattr(trial_pictures, "trial_picture", record)
    trial_pictures.write_trial_pictures(competing, scaling)
    assert all(np.array_equal(row[1].pixels, labels[row[0].title]) for rows in drawn for row in rows)
    assert drawn
