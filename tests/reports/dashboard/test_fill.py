"""Notes, figures and pictures of the dashboard: written once, a person's own words kept."""

from __future__ import annotations

import io
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard._app import create_app
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from optuna_dashboard.artifact._backend import get_trial_artifact_meta
from PIL import Image

from objectives.records.read import read_studies
from reports.dashboard.figures import confusion_figure
from reports.dashboard.notes import write_dashboard_notes
from reports.dashboard.pictures import PicturePanel, trial_picture
from reports.dashboard.store import OWN_NOTES, DashboardStore
from sonarseg.class_colours import class_rgb


@pytest.fixture
def crf(workspace: Path, tmp_path: Path) -> optuna.Study:
    for name in ("study.db", "runs"):
        source = workspace / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return optuna.load_study(study_name="crf", storage=f"sqlite:///{tmp_path / 'study.db'}")


def note(study: optuna.Study, trial_id: int | None = None) -> str:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return str(get_note_from_system_attrs(attrs, trial_id)["body"])


def test_every_ended_trial_has_a_note_with_its_score_or_its_reason(crf: optuna.Study, tmp_path: Path) -> None:
    write_dashboard_notes(tmp_path)
    for trial in read_studies(tmp_path)["crf"].trials:
        body = note(crf, crf.trials[trial.number]._trial_id)
        if trial.state == "complete":
            assert f"{trial.value:.3f}** on val" in body
        else:
            assert "**Failed:** The worker was stopped by signal 9." in body
    # filling in again writes nothing
    before = crf._storage.get_study_system_attrs(crf._study_id)
    write_dashboard_notes(tmp_path)
    assert crf._storage.get_study_system_attrs(crf._study_id) == before
    assert {"crf-confusion", "crf-classes"} <= set(get_plotly_graph_objects(before))


def test_an_interrupted_trial_is_called_so_and_not_failed(crf: optuna.Study, tmp_path: Path) -> None:
    why = {"interrupted": True, "reason": "Ctrl-C ended its worker."}
    crf.add_trial(optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=why))
    write_dashboard_notes(tmp_path)
    assert "**Interrupted:** Ctrl\\-C ended its worker." in note(crf, crf.trials[-1]._trial_id)
    assert "1 interrupted" in note(crf)


def test_a_picture_is_an_artifact_of_its_trial_and_stays_away_once_removed(
    crf: optuna.Study, tmp_path: Path
) -> None:
    trial = crf.trials[0]
    store = DashboardStore(crf)
    assert not store.has_picture(trial._trial_id)
    store.write_picture(trial._trial_id, "tiles.webp", b"content", tmp_path / "artifacts")
    (file,) = (tmp_path / "artifacts").iterdir()
    assert file.read_bytes() == b"content"
    meta = get_trial_artifact_meta(crf._storage, crf._study_id, trial._trial_id, file.name)
    assert meta is not None
    assert (meta["filename"], meta["mimetype"]) == ("tiles.webp", "image/webp")
    assert crf.trials[0] == trial
    crf._storage.set_study_system_attr(
        crf._study_id, f"dashboard:artifacts:{trial._trial_id}:{file.name}", "null"
    )
    assert DashboardStore(crf).has_picture(trial._trial_id)
    assert create_app(crf._storage) is not None


def test_a_trial_picture_shows_classes_in_their_colours() -> None:
    labels = np.zeros((40, 80), np.uint8)
    labels[:, 40:] = 1
    grey = np.full((40, 80), 120, np.uint8)
    row = [PicturePanel("t", grey, labels=False), PicturePanel("truth", labels, miou=0.5)]
    picture = np.asarray(Image.open(io.BytesIO(trial_picture([row, row], ["mud", "rock"]))).convert("RGB"))
    # Two panels of 176 x 88 beside each other, gaps of 8, a line of text above each.
    assert picture.shape[1] == 2 * 176 + 3 * 8
    for x, expected in ((30, (120,) * 3), (220, class_rgb(0)), (350, class_rgb(1))):
        assert np.abs(picture[60, x].astype(int) - expected).max() < 16, x


def test_a_confusion_figure_holds_the_share_of_each_true_class() -> None:
    figure = confusion_figure(np.array([[30, 10, 0], [0, 0, 0], [5, 5, 10]]), ["a", "<b>", "c"], "t")
    heatmap = figure.data[0]
    assert [list(row) for row in heatmap.z] == [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]]
    assert list(heatmap.x) == ["a", "&lt;b&gt;", "c"]


def test_what_a_person_wrote_stays_and_a_running_trial_has_no_note(crf: optuna.Study, tmp_path: Path) -> None:
    running = crf.ask({"sigma_alpha": optuna.distributions.FloatDistribution(2, 100, log=True)})
    write_dashboard_notes(tmp_path)
    assert note(crf, running._trial_id) == ""
    running.set_user_attr("reason", "lost")
    crf.tell(running, state=TrialState.PRUNED)
    trial_id = crf.trials[3]._trial_id
    save_note_with_version(crf._storage, crf._study_id, trial_id, 2, "mine")
    save_note_with_version(crf._storage, crf._study_id, None, 2, f"edited\n{OWN_NOTES}\nlook at strip 4\n")
    write_dashboard_notes(tmp_path)
    assert "**Pruned:** lost" in note(crf, running._trial_id)
    assert note(crf, trial_id) == "mine"
    assert note(crf).startswith("# Dense CRF of")
    assert "edited" not in note(crf)
    assert note(crf).endswith(f"{OWN_NOTES}\nlook at strip 4\n")
