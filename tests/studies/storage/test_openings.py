"""Openings of the test split's masks."""

from pathlib import Path

from studies.storage.open import create_database, load_study
from studies.storage.openings import log_test_opening
from studies.workspace import Workspace


def test_openings_of_the_test_split_are_logged_in_both_studies(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    workspace = Workspace(tmp_path)
    log_test_opening(workspace, "before any study")
    create_database(path, {"crf": {"kind": "crf"}, "loss": {"kind": "loss"}})
    log_test_opening(workspace, "runs/loss-0001")
    log_test_opening(workspace, "crf:12")
    for kind in ("crf", "loss"):
        openings = load_study(path, kind).user_attrs["test_openings"]  # type: ignore[arg-type]
        assert [entry["what"] for entry in openings] == ["runs/loss-0001", "crf:12"]
