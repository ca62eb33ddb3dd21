"""Confirm the winners of a finished study, and export it, by the commands a person types."""

import csv
import json
from pathlib import Path

from objectives.records.read import read_studies
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import miou
from tests.support.command_line import done, done_here, sonarseg_here


def test_winner_and_baseline_are_trained_anew_and_scored_on_test(study: Path) -> None:
    command = ("confirm", "--study", "loss", "--seeds", 1, "--split", "test", "--against", "psa")
    openings = len(read_studies(study / "survey-study")["loss"].attrs["test_openings"])
    shown = done(*command, cwd=study)
    assert "\x1b" not in shown
    attrs = read_studies(study / "survey-study")["loss"].attrs
    record = attrs["confirm"]
    assert attrs["test_openings"][openings:][0]["what"] == "sonarseg confirm --study loss --split test"
    assert record["finished"]
    for run in record["runs"]:
        config = json.loads((study / "survey-study" / run["run"] / "config.json").read_text())
        summary = json.loads((study / "survey-study" / run["run"] / "summary.json").read_text())
        assert config["seed"] == run["seed"] == record["seeds"][0]
        assert run["confusions"]["val"] == summary["confusions"]
        found = record["results"]["test"]["miou"][run["role"]]
        assert found == miou(unpack_confusions(run["confusions"]["test"]))
        assert f"{found:.3f}" in shown
    assert done_here(*command, cwd=study).splitlines()[-4:] == shown.splitlines()[-4:]
    assert len(read_studies(study / "survey-study")["loss"].attrs["test_openings"]) == openings + 1


def test_the_setting_to_compare_with_must_exist(study: Path) -> None:
    assert "is no CRF setting" in sonarseg_here("confirm", "--against", "magic", cwd=study).sentence()


def test_the_export_holds_every_trial(study: Path, tmp_path: Path) -> None:
    shown = done_here("export", "-o", tmp_path, "--to", "csv", "--to", "parquet", "--to", "latex", cwd=study)
    assert str(tmp_path) in shown
    for kind, found in read_studies(study / "survey-study").items():
        rows = list(csv.DictReader((tmp_path / f"{kind}_trials.csv").open()))
        assert [int(row["trial"]) for row in rows] == [trial.number for trial in found.trials]
    assert (tmp_path / "loss_epochs.parquet").is_file()
    assert r"\toprule" in (tmp_path / "table_1.tex").read_text()
