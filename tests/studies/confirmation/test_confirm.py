"""Confirmation of winners: new seeds, what it stores, resuming, and the test split."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.records.attributes import CONFIRM
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.evaluation import Evaluation
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS
from sonarseg.survey.layout import Survey
from studies.commands.confirm import outcome
from studies.confirmation.confirm import TestOpening, confirm
from studies.pipeline import tune_loss
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study
from studies.workers.leases import DeviceSlot
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings, make_workspace
from tests.support.wrong_columns import evaluate


@pytest.fixture
def both(tuned: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Both studies done; runs are scored by `evaluate`."""
    tune_loss(tuned, run_settings)
    monkeypatch.setattr("studies.confirmation.confirm.evaluate_run", evaluate)
    yield tuned


def stored(workspace: Workspace, kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = load_study(workspace.database_path, kind).user_attrs[CONFIRM]
    return found


def openings(workspace: Workspace) -> list[str]:
    return [o["what"] for o in load_study(workspace.database_path, "loss").user_attrs["test_openings"]]


def test_a_crf_winner_is_compared_with_the_best_untuned_setting(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    record = confirm(tuned, "crf", run_settings=run_settings)
    assert record == stored(tuned, "crf")
    study = load_study(tuned.database_path, "crf")
    untuned = max((t for t in study.trials if "name" in t.user_attrs), key=lambda t: (t.value, -t.number))
    assert record["baseline"]["name"] == untuned.user_attrs["name"]
    found = record["results"]["val"]["miou_multiclass"]
    assert (found["winner"], found["baseline"]) == (study.best_value, untuned.value)
    assert found["difference"] == pytest.approx(study.best_value - untuned.value)
    assert (found["low"], found["high"]) == (None, None)
    assert outcome(tuned, "crf")[-1].plain.endswith("nothing new: the same tiles chose the winner.")
    assert record["finished"]
    assert list(record["results"]) == ["val"]
    assert openings(tuned) == []


def test_runs_have_new_seeds_and_the_figures_are_those_of_their_confusions(
    both: Workspace, run_settings: RunSettings
) -> None:
    record = confirm(both, "loss", seeds=3, run_settings=run_settings)
    used = {trial.user_attrs["seed"] for trial in load_study(both.database_path, "loss").trials}
    assert record["seeds"] == [1004, 1005, 1006]
    assert not used & set(record["seeds"])
    assert record["winner"]["loss"]["name"] == "lovasz_softmax"
    configs = [json.loads((both.root / r["run"] / "config.json").read_text()) for r in record["runs"]]
    assert [(c["seed"], c["loss"]["name"]) for c in configs] == [
        (seed, loss) for seed in record["seeds"] for loss in ("lovasz_softmax", "cross-entropy")
    ]
    assert [CrfParameters.model_validate(c["crf"]) for c in configs[:2]] == [
        CrfParameters.model_validate(record[role]["crf"]) for role in ("winner", "baseline")
    ]
    for config, run in zip(configs, record["runs"], strict=True):
        first = (both.root / run["run"] / config["first_pseudo_labels"]).resolve()
        assert first.parent == both.pseudo_labels_dir.resolve()
        assert len(list(first.glob("*.png"))) == 4
    runs = {
        role: np.stack(
            [unpack_confusions(r["confusions"]["val"]) for r in record["runs"] if r["role"] == role]
        )
        for role in ("winner", "baseline")
    }
    for name in ("miou_multiclass", "miou", "miou_paper"):
        found = record["results"]["val"][name]
        assert found["winner"] == pytest.approx(np.mean([METRICS[name](run) for run in runs["winner"]]))
        assert found["difference"] == pytest.approx(found["winner"] - found["baseline"])


def test_test_is_opened_once_and_only_when_asked_for(both: Workspace, run_settings: RunSettings) -> None:
    for kind in ("crf", "loss"):
        for _ in range(2):
            record = confirm(both, kind, seeds=2, test=True, run_settings=run_settings)  # type: ignore[arg-type]
        assert list(record["results"]) == ["val", "test"]
        assert record["tiles"]["test"] == ["test0", "test1"]
    assert openings(both) == [f"sonarseg confirm --study {kind} --split test" for kind in ("crf", "loss")]
    assert "on test" in outcome(both, "loss")[-1].plain


def test_one_command_for_both_studies_is_one_opening(both: Workspace, run_settings: RunSettings) -> None:
    opening = TestOpening("sonarseg confirm --split test")
    for kind in ("crf", "loss"):
        confirm(both, kind, seeds=1, test=True, opening=opening, run_settings=run_settings)  # type: ignore[arg-type]
    assert openings(both) == ["sonarseg confirm --split test"]


def test_an_opening_that_failed_is_not_logged(
    both: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run_dir: Path, survey: Survey, split: str, *, device: str) -> Evaluation:
        if split == "test":
            raise UserError("masks/test0.png is missing")
        return evaluate(run_dir, survey, split, device=device)

    monkeypatch.setattr("studies.confirmation.confirm.evaluate_run", broken)
    with pytest.raises(UserError, match="missing"):
        confirm(both, "loss", seeds=1, test=True, run_settings=run_settings)
    assert openings(both) == []


def test_what_was_measured_stays_and_more_seeds_are_added(both: Workspace, run_settings: RunSettings) -> None:
    first = confirm(both, "loss", seeds=1, run_settings=run_settings)
    again = confirm(both, "loss", seeds=2, run_settings=run_settings)
    assert [run for run in again["runs"] if run["seed"] == 1004] == first["runs"]
    for run in again["runs"]:
        assert len((both.root / run["run"] / "starts.txt").read_text().splitlines()) == 1
    assert first["results"]["val"]["miou"]["pairs"] == 1
    assert again["results"]["val"]["miou"]["pairs"] == 2


def test_ctrl_c_loses_nothing(both: Workspace, run_settings: RunSettings) -> None:
    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        if what.startswith("baseline") and "1005" in what:
            raise KeyboardInterrupt

    broken = RunSettings(1, run_settings.command, run_settings.timing, interrupt)
    with pytest.raises(KeyboardInterrupt):
        confirm(both, "loss", seeds=2, run_settings=broken)
    partial = stored(both, "loss")
    assert [bool(run["confusions"]) for run in partial["runs"]] == [True, True, True, False]
    assert not partial["finished"]
    whole = confirm(both, "loss", seeds=2, run_settings=run_settings)
    assert whole["runs"][:3] == partial["runs"][:3]
    assert whole["finished"]


def test_a_failed_run_is_told_and_tried_again(both: Workspace, run_settings: RunSettings) -> None:
    record = confirm(both, "loss", seeds=1, run_settings=make_run_settings("crash"))
    assert [bool(run["reason"]) for run in record["runs"]] == [True, True]
    assert record["results"] == {}
    assert not record["finished"]
    assert "failed" in outcome(both, "loss")[-1].plain
    assert confirm(both, "loss", seeds=1, run_settings=run_settings)["finished"]


def test_a_winner_that_is_the_baseline_is_refused(tuned: Workspace, run_settings: RunSettings) -> None:
    best = load_study(tuned.database_path, "crf").best_trial
    same = ("again", CrfParameters.model_validate(best.params))
    with pytest.raises(UserError, match=r"the baseline itself .*--against"):
        confirm(tuned, "crf", against=same, run_settings=run_settings)


def test_nothing_tuned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, monkeypatch, val_masks=False)
    with pytest.raises(UserError, match="start a study"):
        confirm(workspace, "crf")
    tune_loss(workspace, make_run_settings("good"))
    with pytest.raises(UserError, match="no winner to confirm: the survey"):
        confirm(workspace, "crf")


def test_other_settings_in_a_run_folder_are_refused(both: Workspace, run_settings: RunSettings) -> None:
    record = confirm(both, "loss", seeds=1, run_settings=run_settings)
    path = both.root / record["runs"][0]["run"] / "config.json"
    path.write_text(path.read_text().replace('"batch_size": 16', '"batch_size": 8'))
    study = load_study(both.database_path, "loss")
    study.set_user_attr(CONFIRM, {})
    with pytest.raises(UserError, match="move the folder away"):
        confirm(both, "loss", seeds=1, run_settings=run_settings)


def test_runs_are_trained_on_a_leased_device(
    both: Workspace, run_settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def spy(run_dir: Path, survey: Survey, split: str, *, device: str) -> Evaluation:
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return evaluate(run_dir, survey, split, device=device)

    monkeypatch.setattr("studies.confirmation.confirm.evaluate_run", spy)
    monkeypatch.setattr(
        "studies.confirmation.confirm.device_slots", lambda device, places: [DeviceSlot("cuda:3", 0, "3")]
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    confirm(both, "loss", seeds=1, run_settings=run_settings)
    assert seen == ["3", "3"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
