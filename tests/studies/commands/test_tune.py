"""How `tune all` ends where there is no model to use: the report is written and says so."""

import pytest
from typer.testing import CliRunner

from studies.commands.results import write as finish
from studies.main import app
from studies.stages import run_settings as stages
from studies.workspace import Workspace
from tests.support.report_page import Page
from tests.support.workspaces import make_run_settings


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in of a run leaves no network that could draw them."""
    monkeypatch.setattr(finish, "_write_pictures", lambda *_: None)


def _end(workspace: Workspace, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["tune", "all", str(workspace.root), *options])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.usefixtures("without_pictures")
def test_where_every_run_failed_the_report_says_so(tuned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "RunSettings", lambda **more: make_run_settings("fail", **more))
    code, output = _end(tuned)
    assert code == 3
    assert "No run is complete, so no maps were written: 6 trials failed" in output
    assert not (tuned.root / "maps").exists()
    text = Page((tuned.root / "report.html").read_text()).text
    assert "6 failed" in text["in-short"]


@pytest.mark.usefixtures("without_pictures")
def test_out_of_time_before_the_first_run(tuned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "RunSettings", lambda **more: make_run_settings("good", **more))
    code, output = _end(tuned, "--hours", "0")
    assert code == 0
    assert "No run is complete, so no maps were written. The same command goes on." in output
    assert "loss: not begun" in Page((tuned.root / "report.html").read_text()).text["in-short"]


@pytest.mark.usefixtures("without_pictures")
def test_out_of_time_before_the_first_crf_trial(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "RunSettings", lambda **more: make_run_settings("good", **more))
    code, output = _end(workspace, "--hours", "0")
    assert (code, "No run is complete" in output) == (0, True), output
    assert (workspace.root / "report.html").is_file()
