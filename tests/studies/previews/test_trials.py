"""Pictures of trials in the dashboard, and filling it in while a study runs."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image

from reports.dashboard.pictures import PicturePanel
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from studies.commands import dashboard_server
from studies.commands.dashboard_server import keep_filled, with_report
from studies.commands.results.scaling import workspace_scaling
from studies.commands.results.write import write_results
from studies.pipeline import tune_loss
from studies.previews import rows as picture_rows
from studies.previews import trials as trial_pictures
from studies.previews.rows import chosen_tiles
from studies.previews.trials import write_trial_pictures
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_studies, load_study
from studies.workspace import Workspace


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[list[PicturePanel]]]:
    """What is given to be drawn, picture by picture."""
    found: list[list[list[PicturePanel]]] = []

    def record(rows: list[list[PicturePanel]], classes: tuple[str, ...]) -> bytes:
        found.append(rows)
        return b"picture"

    monkeypatch.setattr(trial_pictures, "trial_picture", record)
    return found


def pictures(study: optuna.Study) -> int:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return sum(key.startswith("dashboard:artifacts:") for key in attrs)


def test_each_complete_crf_trial_gets_its_own_labels(
    tuned: Workspace, drawn: list[list[list[PicturePanel]]]
) -> None:
    study = load_study(tuned.database_path, "crf")
    complete = [t for t in study.trials if t.value is not None]
    scaling = workspace_scaling(tuned)
    assert write_trial_pictures(tuned, scaling) == len(complete) == len(drawn)
    assert write_trial_pictures(tuned, scaling) == 0
    assert pictures(study) == len(list(tuned.artifacts_dir.iterdir())) == len(complete)
    best = CrfParameters.model_validate(study.best_params)
    survey = tuned.survey()
    assert [row[0].title for row in drawn[0]] == ["val1", "val3"]
    for tile, _, labels, truth in drawn[0]:
        scores = np.load(tuned.cams_dir / "val" / f"{tile.title}.npy").astype(np.float32)
        expected = refine(scores, tile.pixels, best, shown=survey.shown(tile.title), background_id=None)
        assert np.array_equal(labels.pixels, expected)
        assert np.array_equal(truth.pixels, survey.read_mask(tile.title))


@pytest.mark.parametrize(
    ("begun_with", "expected"), [("pydensecrf", "pydensecrf"), ("numba", "numba"), ("torch", "numba")]
)
def test_pictures_are_made_by_the_engine_of_the_study(
    tuned: Workspace,
    drawn: list[list[list[PicturePanel]]],
    monkeypatch: pytest.MonkeyPatch,
    begun_with: str,
    expected: str,
) -> None:
    used: list[str] = []

    def refine_with(*arguments: object, engine: Engine, **options: object) -> np.ndarray:
        used.append(engine.name)
        return refine(*arguments, engine=engine, **options)  # type: ignore[call-overload, no-any-return]

    load_study(tuned.database_path, "crf").set_user_attr("engine", begun_with)
    for module in (trial_pictures, picture_rows):
        monkeypatch.setattr(module, "refine", refine_with)
    write_trial_pictures(tuned, workspace_scaling(tuned))
    assert drawn
    assert set(used) == {expected}
    used.clear()
    write_results(tuned)
    assert set(used) == {expected}


def test_a_loss_trial_shows_what_its_run_predicted(
    tuned: Workspace, run_settings: RunSettings, drawn: list[list[list[PicturePanel]]]
) -> None:
    study = tune_loss(tuned, run_settings)
    masks = tuned.root / study.best_trial.user_attrs["run"] / "masks"
    masks.mkdir(exist_ok=True)
    predicted = np.tile(np.arange(24, dtype=np.uint8) % 2, (20, 1))
    for tile in ("val1", "val3"):
        Image.fromarray(predicted).save(masks / f"{tile}.png")
    write_trial_pictures(tuned, workspace_scaling(tuned))
    assert pictures(study) == 1
    assert np.array_equal(drawn[-1][0][2].pixels, predicted)


def test_tiles_are_chosen_evenly_among_those_of_several_classes(tuned: Workspace) -> None:
    survey = open_survey(tuned.survey_path)
    assert chosen_tiles(survey) == ["val1", "val3"]
    assert chosen_tiles(survey, 1) == ["val1"]


def test_a_running_study_is_filled_in(tuned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_server, "FILL_SECONDS", 0.05)
    study, stop, seen = load_study(tuned.database_path, "crf"), threading.Event(), threading.Event()
    real, said = dashboard_server.write_trial_pictures, list[str]()

    def write(*arguments: object) -> int:
        made = real(*arguments)  # type: ignore[arg-type]
        seen.set()
        return made

    monkeypatch.setattr(dashboard_server, "write_trial_pictures", write)
    thread = threading.Thread(target=keep_filled, args=(tuned, said.append, stop))
    thread.start()
    try:
        assert seen.wait(60)
        before = pictures(study)
        study.add_trial(study.best_trial)
        for _ in range(600):
            if pictures(study) > before:
                break
            stop.wait(0.05)
        assert pictures(study) == before + 1
        shutil.rmtree(tuned.cams_dir)
        (tuned.root / "study.db").rename(tuned.root / "gone.db")
        for _ in range(600):
            if said:
                break
            stop.wait(0.05)
    finally:
        stop.set()
        thread.join()
    assert len(said) == 1
    # Renamed before it was opened, between that and the first statement, or later.
    sentences = ("study.db is missing", "study.db cannot be read", "put it back if it was moved away")
    assert any(sentence in said[0] for sentence in sentences), said


def test_a_study_that_is_removed_while_it_is_filled_in_does_not_end_the_filling(
    tuned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_server, "FILL_SECONDS", 0.01)
    crf, stop = load_study(tuned.database_path, "crf"), threading.Event()
    fillings: list[object] = []

    def fill(workspace: Workspace, *rest: object) -> None:
        opened = load_studies(workspace.database_path) if not fillings else {"crf": crf}
        if not fillings:
            optuna.delete_study(study_name="loss", storage=crf._storage)
        fillings.append(opened)
        if len(fillings) == 3:
            stop.set()
        for study in opened.values():
            study.set_user_attr("filled", len(fillings))

    monkeypatch.setattr(dashboard_server, "fill", fill)
    said = list[str]()
    keep_filled(tuned, said.append, stop)
    assert said == []
    assert crf.user_attrs["filled"] == 3


def test_a_journal_that_vanishes_while_it_is_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    (tmp_path / "study.db").write_text("x")
    assert [size for _, size in dashboard_server._state(tmp_path / "study.db")] == [1]


def test_a_lost_key_that_is_no_removed_study_is_a_fault(
    tuned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*arguments: object) -> None:
        raise KeyError("width")

    monkeypatch.setattr(dashboard_server, "fill", fill)
    with pytest.raises(KeyError, match="width"):
        keep_filled(tuned, print, threading.Event())


def test_the_report_is_served_as_it_is_now(tmp_path: Path) -> None:
    def serve(path: str) -> tuple[str, bytes]:
        found: list[str] = []
        body = application({"PATH_INFO": path}, lambda status, headers: found.append(status))
        return found[0], b"".join(body)

    def inner(environ: dict[str, object], start_response: object) -> list[bytes]:
        start_response("200 OK", [])  # type: ignore[operator]
        return [json.dumps(environ["PATH_INFO"]).encode()]

    application = with_report(inner, tmp_path / "report.html")
    assert serve("/report.html")[0].startswith("404")
    (tmp_path / "report.html").write_text("<p>one")
    assert serve("/report.html") == ("200 OK", b"<p>one")
    assert serve("/dashboard/") == ("200 OK", b'"/dashboard/"')


def test_a_storage_and_a_workspace_exclude_each_other(tuned: Workspace, tmp_path: Path) -> None:
    from studies.commands.dashboard import dashboard

    for arguments, message in (
        ({"workspace": tuned.root, "storage": "sqlite:///x.db"}, "both given"),
        ({"workspace": tuned.root, "artifacts": tmp_path}, "--artifacts goes with"),
        ({"storage": f"sqlite:///{tmp_path / 'no.db'}"}, "is missing"),
        ({"storage": "nonsense://user@host/"}, "cannot be opened"),
        ({"storage": "nonsense://user:secret@host/"}, "holds a password"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            dashboard(**arguments)  # type: ignore[arg-type]
        assert "secret" not in str(raised.value)
