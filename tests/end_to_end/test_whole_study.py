"""From a survey to two studies, a report and maps, by the commands a person types."""

import csv
import json
import re
import shutil
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from objectives.records.read import read_studies
from objectives.records.study import Trial
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import miou
from tests.support.command_line import TRIALS, done, done_here, finish, shrink, sonarseg_here, start, wait_for


def status(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(done_here("status", "--json", cwd=folder))
    return facts


def identity(trial: Trial) -> tuple[object, ...]:
    confusions = None if trial.confusions is None else trial.confusions.tobytes()
    return (trial.state, trial.value, trial.params, trial.name, trial.setting, confusions, trial.intermediate)


def test_both_studies_are_finished(study: Path) -> None:
    facts = status(study)
    assert facts["warm_up"] == {"finished": True, "epochs_done": 1, "epochs": 1, "stage": "warm-up"}
    for kind, trials in TRIALS.items():
        found = facts["studies"][kind]
        assert found["trials"]["complete"] == trials == found["budget"]
        assert found["trials"]["running"] == found["trials"]["waiting"] == 0
        assert 0 < found["best"]["value"] <= 1
    assert "trial" in done("status", cwd=study)


def test_the_first_line_of_status_and_report_judges_the_model_beside_its_pseudo_labels(study: Path) -> None:
    told = status(study)["verdict"]
    assert told["figures"]["model_shown"] > told["figures"]["model"]
    assert told["figures"]["pseudo_labels"] > 0
    assert done("status", cwd=study).split("\n")[0] == told["sentence"]
    assert told["sentence"] in done("tune", "all", cwd=study)


def test_the_interrupted_trial_was_gone_on_with(study: Path) -> None:
    trials = read_studies(study / "survey-study")["loss"].trials
    retries = [trial for trial in trials if trial.retry_of is not None]
    for retry in retries:
        assert retry.run == next(t.run for t in trials if t.number == retry.retry_of)
    complete = [t for t in trials if t.state == "complete" and t.derived_from is None]
    assert len(complete) == TRIALS["loss"]
    assert {t.name for t in complete} == {
        "cross-entropy",
        "class-weighted cross-entropy",
        "focal gamma 2",
        "Lovász-Softmax",
    }


def test_the_untuned_settings_are_in_the_crf_study(study: Path) -> None:
    names = [trial.name for trial in read_studies(study / "survey-study")["crf"].trials]
    assert names[:5] == ["no CRF", "w-s3Tseg", "IRN", "PSA", "DeepLab"]


def test_running_again_repeats_nothing(study: Path) -> None:
    before = {kind: s.trials for kind, s in read_studies(study / "survey-study").items()}
    metrics = study / "survey-study" / "runs" / "loss-0000" / "metrics.jsonl"
    written = metrics.stat().st_mtime_ns
    done_here("tune", "all", cwd=study)
    after = read_studies(study / "survey-study")
    for kind, trials in before.items():
        assert [identity(t) for t in after[kind].trials] == [identity(t) for t in trials]
        assert [t.started for t in after[kind].trials] == [t.started for t in trials]
    assert metrics.stat().st_mtime_ns == written


def test_the_report_is_one_file_that_needs_no_network(study: Path) -> None:
    text = (study / "survey-study" / "report.html").read_text()
    assert "w-s3Tseg" in text
    assert "Lovász-Softmax" in text
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?https?:""", text)
    done("report", "survey-study", "-o", "elsewhere.html", cwd=study)
    assert (study / "elsewhere.html").stat().st_size > 10_000


@pytest.mark.parametrize("target", ["best", "loss:0", "tuned", "cam", "W-S3Tseg"])
def test_evaluation_agrees_with_its_confusions(study: Path, target: str) -> None:
    shown = done_here("evaluate", target, "--split", "val", cwd=study)
    name = target.lower().replace(":", "-")
    result = json.loads((study / "survey-study" / "evaluations" / f"{name}-val.json").read_text())
    assert result["scores"]["miou"] == miou(unpack_confusions(result["confusions"]))
    assert f"{result['scores']['miou']:.3f}" in shown
    assert len(result["tiles"]) == len(result["groups"]) == 6


def test_a_trial_is_evaluated_to_its_own_value(study: Path) -> None:
    done_here("evaluate", "tuned", cwd=study)
    result = json.loads((study / "survey-study" / "evaluations" / "tuned-val.json").read_text())
    best = read_studies(study / "survey-study")["crf"].best()
    assert best is not None
    assert result["scores"]["miou_multiclass"] == pytest.approx(best.value)


def test_each_opening_of_the_test_split_is_logged(study: Path) -> None:
    before = len(status(study)["test_openings"])
    done("evaluate", "best", "--split", "test", cwd=study)
    openings = status(study)["test_openings"]
    assert len(openings) == before + 1
    assert openings[-1]["what"] == "sonarseg evaluate best --split test"
    for found in read_studies(study / "survey-study").values():
        assert found.attrs["test_openings"] == openings


def test_maps_of_the_best_model(study: Path) -> None:
    done("predict", "-o", "maps", cwd=study)
    images = sorted(path.stem for path in (study / "survey" / "images").iterdir())
    with (study / "maps" / "areas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["tile"] for row in rows] == images
    for row in rows[:3]:
        mask = np.asarray(Image.open(study / "maps" / "masks" / f"{row['tile']}.png"))
        assert mask.shape == (48, 48)
        assert int(row["mud (pixels)"]) == int((mask == 0).sum())
        for folder in ("confidence", "overlays"):
            assert (study / "maps" / folder / f"{row['tile']}.png").is_file()


def test_a_lone_run_and_its_evaluation(study: Path) -> None:
    run = ("run", "lone", "--supervision", "single-label", "--seed", "3")
    assert "lone on val" in done_here(*run, cwd=study)
    config = json.loads((study / "lone" / "config.json").read_text())
    assert config["supervision"] == "single-label"
    assert config["seed"] == 3
    assert config["warm_up"] == "../survey-study/runs/warm-up"
    assert "is finished" in done_here(*run, cwd=study)
    assert "another seed" in sonarseg_here("run", "lone", "--seed", 4, cwd=study).sentence()
    done_here("evaluate", "lone", cwd=study)


def test_a_dry_run_forecasts_and_leaves_nothing(study: Path) -> None:
    before = sorted(study.rglob("*"))
    told = done_here("run", "--dry", cwd=study)
    assert sorted(study.rglob("*")) == before
    for part in ("batch size", "memory", "epoch of self-training", "the whole run"):
        assert part in told
    assert "The loss study is done: all " in told
    assert "name the folder" in sonarseg_here("run", cwd=study).err


def test_the_workspace_works_elsewhere(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "moved")
    assert status(tmp_path / "moved")["studies"]["loss"]["best"] == status(study)["studies"]["loss"]["best"]
    done_here("predict", "--images", "survey/images", cwd=tmp_path / "moved")
    assert (tmp_path / "moved" / "survey-study" / "maps" / "areas.csv").is_file()


def test_the_dashboard_serves_both_studies_on_loopback(study: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        assert "--port" in sonarseg_here("dashboard", "--port", port, cwd=study).sentence()
    process = start("dashboard", "--port", port, cwd=study)
    address = f"http://127.0.0.1:{port}/api/studies"
    found: list[dict[str, Any]] = []

    def answered() -> bool:
        assert process.poll() is None, finish(process)
        try:
            found[:] = json.load(urllib.request.urlopen(address, timeout=5))["study_summaries"]
        except OSError:
            return False
        return True

    wait_for(answered)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 0
    assert {one["study_name"] for one in found} == {"crf", "loss"}


def test_train_masks_change_nothing(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "survey", tmp_path / "survey")
    (tmp_path / "survey-study").mkdir()
    shutil.copy(study / "survey-study" / "study.toml", tmp_path / "survey-study" / "study.toml")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for tile in (tmp_path / "survey" / "splits" / f"{split}.txt").read_text().split():
            noise = rng.integers(0, 4, (48, 48)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / "survey" / "masks" / f"{tile}.png")
    # The same environment as the other study: another number of threads sums in another order.
    assert finish(start("tune", "all", cwd=tmp_path)).code == 0
    ours, theirs = read_studies(study / "survey-study"), read_studies(tmp_path / "survey-study")
    for kind in TRIALS:
        # The interrupted trial was run again after the others: only its number may differ.
        expected = [identity(t) for t in ours[kind].trials if t.state == "complete"]
        found = [identity(t) for t in theirs[kind].trials]
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert ours[kind].survey["fingerprint"] == theirs[kind].survey["fingerprint"]


def test_without_val_masks_it_trains_and_says_what_was_not_tuned(survey: Path, tmp_path: Path) -> None:
    shutil.copytree(survey, tmp_path / "survey")
    for tile in (tmp_path / "survey" / "splits" / "val.txt").read_text().split():
        (tmp_path / "survey" / "masks" / f"{tile}.png").unlink()
    done_here("init", "survey", "--background", "none", "--workspace", "ws", cwd=tmp_path)
    shrink(tmp_path / "ws" / "study.toml")
    done_here("tune", "all", cwd=tmp_path)
    reason = "no masks for its val split"
    assert reason in (tmp_path / "ws" / "report.html").read_text()
    facts = status(tmp_path)
    assert all(reason in facts["studies"][kind]["untuned"] for kind in TRIALS)
    assert "holds no mask of the val split" in sonarseg_here("evaluate", "best", cwd=tmp_path).sentence()
    assert "30 tiles mapped" in done_here("predict", cwd=tmp_path)
