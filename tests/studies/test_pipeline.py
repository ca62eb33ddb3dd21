import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from PIL import Image

from objectives.records.attributes import DERIVED
from sonarseg.densecrf.published import PUBLISHED, published
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS
from sonarseg.survey.pictures import write_index_png
from sonarseg.training.config import RunConfig
from studies.commands.results.write import write_results
from studies.commands.terminal.trial_lines import trial_facts, trial_line
from studies.pipeline import WorkerOptions, tune_all, tune_crf, tune_loss
from studies.stages import crf as crf_stage
from studies.stages.crf import best_crf_parameters, best_crf_trial
from studies.stages.loss import best_run_dir
from studies.stages.prepare import prepare
from studies.stages.run_settings import RunSettings
from studies.storage import snapshot
from studies.storage.open import load_study
from studies.trials.loop import finished
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings, make_workspace, rewrite


def test_the_crf_study_holds_its_baselines_and_its_best(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    study = tune_crf(workspace, run_settings)
    assert len(finished(study)) == 7
    assert [t.user_attrs.get("name") for t in finished(study)] == [*PUBLISHED, None, None]
    assert all(t.user_attrs.get("enqueued", False) == ("name" in t.user_attrs) for t in study.trials)
    best = best_crf_parameters(study)
    assert best.sigma_alpha == study.best_params["sigma_alpha"]
    assert study.best_value >= study.trials[0].value
    assert study.user_attrs["device"] == "cpu"


def test_the_engine_is_told(workspace: Workspace) -> None:
    told: list[tuple[str, str]] = []
    workspace = rewrite(workspace, "trials = 7", 'trials = 7\nengine = "pydensecrf"')
    run_settings = make_run_settings(
        "good", progress=lambda what, done, total, note="": told.append((what, note))
    )
    tune_crf(workspace, run_settings)
    assert ("dense CRF", "pydensecrf on cpu") in told


def test_more_trials_are_added_to_those_there_are(tuned: Workspace, run_settings: RunSettings) -> None:
    before = load_study(tuned.database_path, "crf").trials
    assert tune_crf(tuned, run_settings).trials == before
    study = tune_crf(rewrite(tuned, "trials = 7", "trials = 9"), run_settings)
    assert study.trials[: len(before)] == before
    assert len(finished(study)) == 9
    assert finished(study)[7].params != finished(study)[5].params


def test_a_better_number_of_iterations_becomes_a_trial_of_its_own(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    told: list[int] = []
    ended = (lambda study, trial: told.append(trial.number),)
    study = tune_crf(workspace, run_settings, WorkerOptions(workers=1, ended=ended))
    assert sorted(told) == list(range(len(study.trials)))
    derived = [trial for trial in study.trials if DERIVED in trial.user_attrs]
    assert derived
    for trial in derived:
        parent = study.trials[trial.user_attrs[DERIVED]]
        assert told.index(trial.number) == told.index(parent.number) + 1
        assert trial.params == {**parent.params, "iterations": trial.params["iterations"]}
        curve = parent.user_attrs["curve"]
        assert trial.value == curve[trial.params["iterations"]] == max(curve[1:4]) > parent.value
        confusions = unpack_confusions(trial.user_attrs["confusions"])
        assert METRICS[study.user_attrs["metric"]](confusions) == trial.value
    assert crf_stage.add_missing_iterations(study) == []
    assert len(study.trials) == 7 + len(derived)


def test_another_engine_is_refused(workspace: Workspace, run_settings: RunSettings) -> None:
    study = tune_crf(workspace, run_settings)
    assert study.user_attrs["engine"] == "numba"
    for engine in ("numba", "auto"):
        tune_crf(rewrite(workspace, "trials = 7", f'engine = "{engine}"\ntrials = 7'), run_settings)
        rewrite(workspace, f'engine = "{engine}"\n', "")
    with pytest.raises(UserError, match=r'begun with the engine numba.*write engine = "numba" under'):
        tune_crf(rewrite(workspace, "trials = 7", 'engine = "pydensecrf"\ntrials = 8'), run_settings)


def test_the_same_seed_finds_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_settings: RunSettings
) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        study = tune_crf(make_workspace(tmp_path / name, monkeypatch), run_settings)
        found.append([(t.params, t.value) for t in study.trials])
    assert found[0] == found[1]


def test_train_masks_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_settings: RunSettings
) -> None:
    found = []
    for name in ("clean", "noise"):
        (tmp_path / name).mkdir()
        workspace = make_workspace(tmp_path / name, monkeypatch)
        if name == "noise":
            noise = np.random.default_rng(0).integers(0, 2, (20, 24)).astype(np.uint8)
            for path in (workspace.survey_path / "masks").glob("train*.png"):
                Image.fromarray(noise).save(path)
        tune_all(workspace, run_settings)
        found.append(
            [
                [(t.params, t.value, t.user_attrs["confusions"]) for t in load_study(path, kind).trials]  # type: ignore[arg-type]
                for path in [workspace.database_path]
                for kind in ("crf", "loss")
            ]
            + [p.read_bytes() for p in sorted(workspace.pseudo_labels_dir.glob("*/*.png"))]
        )
    assert found[0] == found[1]


def test_both_studies_one_after_the_other(workspace: Workspace, run_settings: RunSettings) -> None:
    tune_all(workspace, run_settings)
    assert len(load_study(workspace.database_path, "loss").trials) == 6
    assert (workspace.cams_dir / "val" / "val0.npy").is_file()


def test_a_workspace_that_was_moved_goes_on(
    tmp_path: Path, tuned: Workspace, run_settings: RunSettings
) -> None:
    shutil.copytree(tuned.root, tmp_path / "elsewhere" / "study")
    shutil.copytree(tuned.survey_path, tmp_path / "elsewhere" / "survey")
    shutil.rmtree(tuned.survey_path)
    moved = Workspace(tmp_path / "elsewhere" / "study")
    assert len(tune_loss(moved, run_settings).trials) == 6
    assert best_run_dir(moved).is_dir()


def test_losses_stay_on_the_pseudo_labels_they_began_with(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    chosen = tune_loss(tuned, run_settings).user_attrs["crf"]
    crf = load_study(tuned.database_path, "crf")
    crf.enqueue_trial(crf.best_params)
    trial = crf.ask()
    for name, distribution in crf.best_trial.distributions.items():
        trial._suggest(name, distribution)
    for name, value in crf.best_trial.user_attrs.items():
        trial.set_user_attr(name, value)
    crf.tell(trial, 0.999)
    notes: list[str] = []
    more = rewrite(tuned, "trials = 6", "trials = 7")
    study = tune_loss(more, make_run_settings("good", progress=lambda *args: notes.append(args[-1])))
    assert study.user_attrs["crf"] == chosen
    assert any("goes on with crf trial" in note for note in notes)
    assert len(list(tuned.pseudo_labels_dir.iterdir())) == 1


def test_losses_wait_for_a_crf_setting(workspace: Workspace, run_settings: RunSettings) -> None:
    with pytest.raises(UserError, match="run `sonarseg tune crf` first"):
        tune_loss(workspace, run_settings)


def test_without_val_masks_there_is_one_plain_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, int, str]] = []
    run_settings = make_run_settings("good", progress=lambda *args: shown.append((*args, "")[:4]))
    workspace = make_workspace(tmp_path, monkeypatch, val_masks=False)
    for _ in range(2):
        tune_all(workspace, run_settings)
    for kind in ("crf", "loss"):
        study = load_study(workspace.database_path, kind)  # type: ignore[arg-type]
        assert study.trials == []
        assert "no masks" in study.user_attrs["untuned"]
    epochs = [each for each in shown if each[0] in ("warm-up", "final run") and each[3]]
    assert [each[:3] for each in epochs] == [("warm-up", 1, 1), *(("final run", n, 4) for n in range(1, 5))]
    assert [each[3].rpartition(" ")[0] for each in epochs] == [
        "classification loss",
        *4 * ["segmentation loss"],
    ]
    config = RunConfig.model_validate_json((workspace.final_dir / "config.json").read_text())
    assert config.crf == published("w-s3Tseg", 1)
    assert config.loss.name == "cross-entropy"
    assert best_run_dir(workspace) == workspace.final_dir
    assert len((workspace.final_dir / "starts.txt").read_text().split()) == 1
    survey = workspace.survey()
    (workspace.final_dir / "masks").mkdir(exist_ok=True)
    for tile in survey.splits["val"]:
        labels = np.zeros(survey.read_image(tile).shape[:2], np.uint8)
        write_index_png(workspace.final_dir / "masks" / f"{tile}.png", labels)
    write_results(workspace, quiet=True)
    rows = json.loads((workspace.pictures_dir / "rows.json").read_text())["rows"]
    assert rows
    assert all("prediction" in {panel["title"] for panel in row["panels"]} for row in rows)


def test_the_warm_up_is_trained_once(workspace: Workspace, run_settings: RunSettings) -> None:
    for _ in range(2):
        prepare(workspace, run_settings)
    assert len((workspace.warm_up_dir / "starts.txt").read_text().split()) == 1


def test_a_warm_up_that_fails_is_one_sentence_and_is_tried_again(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    workspace = rewrite(workspace, "warmup_epochs = 1", "warmup_epochs = 2")
    with pytest.raises(UserError, match=r"the warm-up in .* failed: out of memory"):
        prepare(workspace, make_run_settings("fail"))
    prepare(workspace, run_settings)


def test_a_warm_up_of_other_settings_is_not_used(workspace: Workspace, run_settings: RunSettings) -> None:
    prepare(workspace, run_settings)
    workspace.database_path.unlink()
    with pytest.raises(UserError, match="other settings"):
        prepare(rewrite(workspace, "seed = 4", "seed = 5"), run_settings)


def test_a_new_device_needs_no_new_warm_up(workspace: Workspace, run_settings: RunSettings) -> None:
    prepare(workspace, run_settings)
    prepare(rewrite(workspace, "seed = 4", 'seed = 4\ndevice = "cpu"'), run_settings)
    assert len((workspace.warm_up_dir / "starts.txt").read_text().split()) == 1


def test_an_interrupted_crf_study_goes_on(workspace: Workspace, run_settings: RunSettings) -> None:
    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        if what == "crf study" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_crf(workspace, make_run_settings("good", progress=interrupt))
    study = tune_crf(workspace, run_settings)
    assert [t.state for t in finished(study)] == [TrialState.COMPLETE] * 7


@pytest.mark.parametrize("sampler", ["auto", "nsga2"])
def test_quality_is_weighed_against_seconds(
    workspace: Workspace, run_settings: RunSettings, sampler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = rewrite(workspace, "[crf]\n", f'[crf]\nweigh_seconds = true\nsampler = "{sampler}"\n')
    study = tune_crf(workspace, run_settings)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    scored = finished(study)
    assert {trial.state for trial in scored} == {TrialState.COMPLETE}
    for trial in scored:
        score, seconds = trial.values
        assert score == trial.user_attrs["curve"][trial.params["iterations"]]
        assert seconds > 0
        facts = trial_facts(study, trial)
        assert (facts["value"], facts["seconds_a_tile"]) == (score, seconds)
    trial_line(workspace)(study, scored[-1])
    assert f"{1000 * scored[-1].values[1]:.1f} ms a tile" in capsys.readouterr().out
    best = best_crf_trial(study)
    assert best.values[0] == max(trial.values[0] for trial in study.trials)
    front = study.best_trials
    assert best.values[0] == max(trial.values[0] for trial in front)
    # The loss study starts from the best quality.
    loss = tune_loss(workspace, run_settings)
    assert loss.user_attrs["crf"]["trial"] == best.number


def test_a_snapshot_that_fails_is_said_and_costs_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(workspace: Workspace) -> None:
        raise UserError("the disk is full.")

    monkeypatch.setattr(snapshot, "refresh_snapshot", refuse)
    snapshot.leave_snapshot(workspace)
    assert [record.getMessage() for record in caplog.records] == [
        f"{workspace.database_path} is not up to date; the next command copies it anew: the disk is full."
    ]


def test_the_hours_are_those_of_the_command_not_of_each_study(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    study = tune_loss(tuned, run_settings, WorkerOptions(workers=1, hours=1, started=time.time() - 3601))
    assert finished(study) == []
    assert study.user_attrs["stopped"] == "the 1 hours are over"
