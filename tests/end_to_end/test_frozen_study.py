"""A study with the settings that `init` writes: a frozen encoder, and rounds that are searched."""

import json
import re
import shutil
from pathlib import Path

import pytest

from objectives.records.read import read_studies
from studies.stages.loss import best_run_dir
from studies.storage.open import load_study
from studies.workspace import Workspace
from tests.support.command_line import done, done_here


def test_the_first_round_of_a_run_is_trained_to_the_score_that_was_read_off(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(survey, tmp_path / "survey")
    done_here("init", "survey", "--background", "none", cwd=tmp_path)
    workspace = Workspace(tmp_path / "survey-study")
    settings = workspace.root / "study.toml"
    text = re.sub(
        r"(?m)^(warmup_epochs|fine_tune_epochs|epochs_per_round) = \d+", r"\g<1> = 2", settings.read_text()
    )
    for section, trials in (("crf", 6), ("loss", 1)):
        text = re.sub(rf"(?s)(\n\[{section}\].*?\ntrials = )\d+", rf"\g<1>{trials}", text)
    settings.write_text(text)
    config = Workspace(workspace.root).config
    assert (
        config.network.encoder_training == "fine-tune"
        and config.training.restart_each_round
        and config.training.rounds == 2
    )
    done("tune", "all", cwd=tmp_path)
    stores = [path.name.rsplit("-", 1)[0] for path in workspace.tiles_dir.glob("[!.]*-features-*")]
    # Of the encoder as its weights are, and of the tuned one, which all trials share
    assert sorted(stores) == 2 * ["train-features"] + 2 * ["val-features"]
    study = read_studies(workspace.root)["loss"]
    whole, branch, first = study.complete
    assert [trial.params["rounds"] for trial in study.complete] == [2, 0, 1]
    assert whole.counted
    assert not first.counted
    assert branch.value is not None
    # A few epochs on frozen features know more than a guess does.
    assert whole.value > 0.3
    # Whichever round was best: here the first one is taken for the winner.
    trials = load_study(workspace.database_path, "loss").trials
    chosen = next(trial for trial in trials if trial.number == first.number)
    for place in ("studies.stages.loss.best_loss_run", "studies.stages.lost_winner.best_loss_run"):
        monkeypatch.setattr(place, lambda _: chosen)
    # As many threads as above: they decide the last digits.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done_here("tune", "loss", cwd=tmp_path)
    summary = json.loads((best_run_dir(workspace) / "summary.json").read_text())
    assert summary["metrics"][study.metric] == first.value
    assert summary["confusions"] == chosen.user_attrs["confusions"]
    done_here("evaluate", f"loss:{first.number}", "--split", "val", cwd=tmp_path)
    found = json.loads((workspace.root / "evaluations" / f"loss-{first.number}-val.json").read_text())
    assert found["scores"][study.metric] == pytest.approx(first.value)
