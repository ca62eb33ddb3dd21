"""Notes and metric names reach the database; trials stay as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
from optuna_dashboard._note import get_note_from_system_attrs

from reports.dashboard.notes import write_dashboard_notes
from reports.overview.summary import summarise


def test_both_studies_get_a_note(workspace: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(workspace / "study.db", copy)
    address = f"sqlite:///{copy / 'study.db'}"
    before = {kind: optuna.load_study(study_name=kind, storage=address).trials for kind in ("crf", "loss")}
    write_dashboard_notes(copy)
    write_dashboard_notes(copy)
    facts = summarise(copy)["studies"]
    for kind in ("crf", "loss"):
        study = optuna.load_study(study_name=kind, storage=address)
        assert study.trials == before[kind]
        assert study.metric_names == ["miou_multiclass"]
        body = get_note_from_system_attrs(study._storage.get_study_system_attrs(study._study_id), None)[
            "body"
        ]
        assert f"{facts[kind]['best']['value']:.3f}" in body
        assert "simulated\\-bay" in body
        rows = [line for line in body.splitlines() if line.startswith("| ")]
        assert len(rows) == {"crf": 2 + 6, "loss": 2 + 4}[kind]
