"""The whole page from a whole workspace."""

from pathlib import Path

from fake_workspace import full_workspace

from reports.html import write_report


def test_report_is_written_into_the_workspace(tmp_path: Path) -> None:
    path = write_report(full_workspace(tmp_path / "w"))
    assert path == tmp_path / "w" / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
