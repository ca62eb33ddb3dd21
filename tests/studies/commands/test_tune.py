"""How `tune` ends, and that its commands share their options."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from studies.commands import tune
from studies.commands.results import write
from studies.commands.tune import TuneOptions, tune_studies
from studies.main import app
from studies.workspace import Workspace
from tests.support.report_page import Page
from tests.support.workspaces import make_run_settings, rewrite

CAM = "[cam]\ntrials = 15\n\n[crf]\n"


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in of a run leaves no network that could draw them."""
    monkeypatch.setattr(write, "_write_pictures", lambda *_: None)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def in_short(workspace: Workspace) -> str:
    return Page((workspace.root / "report.html").read_text()).text["in-short"]


def test_where_every_run_failed_the_report_says_so(
    tuned: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end:
        tune_studies(tuned, TuneOptions("all", workers=1), make_run_settings("fail"))
    assert end.value.exit_code == 3
    assert "No run is complete, so no maps were written: 6 trials failed" in printed(capsys)
    assert not (tuned.root / "maps").exists()
    assert "6 failed" in in_short(tuned)


def test_out_of_time_before_the_first_run(tuned: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tune_studies(tuned, TuneOptions("all", hours=0), make_run_settings("good"))
    assert "No run is complete, so no maps were written. The same command goes on." in printed(capsys)
    assert "loss: not begun" in in_short(tuned)


def test_out_of_time_before_the_first_crf_trial(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    tune_studies(workspace, TuneOptions(hours=0), make_run_settings("good"))
    assert "No run is complete" in printed(capsys)
    assert (workspace.root / "report.html").is_file()


def test_one_study_leaves_the_other_alone(tuned: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tune_studies(tuned, TuneOptions("crf", quiet=True), make_run_settings("good"))
    assert printed(capsys) == f"Report: {tuned.root / 'report.html'}"
    assert "loss: not begun" in in_short(tuned)


def test_json_is_a_line_per_trial_and_nothing_else(
    tuned: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    tune_studies(tuned, TuneOptions("loss", workers=1, as_json=True), make_run_settings("good"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(line.startswith('{"study": "loss"') for line in lines)
    assert not (tuned.root / "report.html").exists()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TuneOptions]:
    """What commands have asked for; nothing is run."""
    found: list[TuneOptions] = []
    monkeypatch.setattr(tune, "tune_studies", lambda workspace, options: found.append(options))
    monkeypatch.setattr(tune, "_run", lambda workspace, options: found.append(options))
    return found


@pytest.mark.parametrize("study", ["crf", "loss", "all"])
def test_the_commands_share_their_options(workspace: Workspace, asked: list[TuneOptions], study: str) -> None:
    words = ["tune", study, str(workspace.root), "--workers", "3", "--hours", "2", "--engine", "dask"]
    words += ["--scheduler", "tcp://ship:8786", "--storage", "postgresql://ship/sonar", "--from", "other"]
    assert CliRunner().invoke(app, [*words, "-q", "--json"]).exit_code == 0
    assert asked == [
        TuneOptions(
            study,  # type: ignore[arg-type]
            workers=3,
            hours=2,
            storage="postgresql://ship/sonar",
            scheduler="tcp://ship:8786",
            warm_start=Path("other"),
            quiet=True,
            as_json=True,
        )
    ]


def test_a_worker_is_one_worker_of_this_machine(workspace: Workspace, asked: list[TuneOptions]) -> None:
    words = ["worker", str(workspace.root), "--study", "loss", "--hours", "1", "-q"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert asked == [TuneOptions("loss", workers=1, hours=1, quiet=True)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "0"], "0 is not a number of workers: use 1, 2, ... or auto."),
        (["--engine", "dask"], "--engine dask needs --scheduler tcp://HOST:8786."),
        (["--scheduler", "tcp://ship:8786"], "--scheduler needs --engine dask."),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    workspace: Workspace, asked: list[TuneOptions], words: list[str], sentence: str
) -> None:
    result = CliRunner().invoke(app, ["tune", "crf", str(workspace.root), *words])
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.replace("│", " ").split())
    assert asked == []


def test_each_command_says_what_it_runs() -> None:
    for study, help_text in tune.HELP.items():
        shown = CliRunner().invoke(app, ["tune", study, "--help"], terminal_width=200).output
        assert help_text in " ".join(shown.replace("│", " ").split())


def test_the_cam_study_alone_ends_with_its_winner(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    searched = rewrite(workspace, "[crf]\n", CAM)
    tune_studies(searched, TuneOptions("cam"), make_run_settings("swaps"))
    told = printed(capsys)
    assert "Best cam: trial" in told and "cam w-s3Tseg" not in told
    page = in_short(searched)
    assert "The best class activation maps" in page and "classes have swapped: mud is called rock" in page


def test_out_of_time_before_the_first_cam_trial(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    tune_studies(rewrite(workspace, "[crf]\n", CAM), TuneOptions(hours=0), make_run_settings("good"))
    assert "No run is complete, so no maps were written. The same command goes on." in printed(capsys)
    assert "No trial of the cam study has ended well yet (2 waiting)." in in_short(workspace)
