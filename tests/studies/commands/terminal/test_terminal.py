"""What the terminal shows: calm tables that fit, no colours on a pipe, names that command nothing."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from sonarseg.processes.identity import process_identity
from studies.commands.status import gather, shown
from studies.commands.terminal.console import ConsoleProgress, say
from studies.commands.terminal.ending import ending
from studies.commands.terminal.errors import print_error
from studies.commands.terminal.scores_table import scores_table
from studies.commands.terminal.tables import FittingTable, inert, show, visible
from studies.storage.open import load_study
from studies.workspace import Workspace
from tests.support.fake_studies import CLASSES, new_study, study_attrs
from tests.support.fake_workspace import full_workspace

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \u202edesrever [bold]b[/bold]"


def printed(*parts: object, width: int = 80, terminal: bool = True) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system="truecolor", highlight=False
    )
    show(console, *parts)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def lines_of(text: str) -> list[str]:
    """Lines without the codes of styles."""
    return re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    table = FittingTable(["setting", "value"], [["a long name " * 9, 0.5], ["b", 0.25]])
    text = printed(table, inert("many words " * 30), width=width)
    assert max(map(len, lines_of(text))) <= width
    assert " ".join(text.split()).count("many words") == 30


def test_a_pipe_is_neither_folded_nor_coloured() -> None:
    text = printed(FittingTable(["a", "b"], [["x" * 150, 1]]), inert("y " * 200), width=40, terminal=False)
    assert "x" * 150 in text
    assert "y " * 199 in text
    assert "\x1b" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_names_command_nothing(terminal: bool) -> None:
    scores = {"miou": 0.5, "iou": {HOSTILE: 0.25}}
    text = printed(scores_table({HOSTILE: scores}), inert(HOSTILE), width=160, terminal=terminal)
    assert "]0;title" in text
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold]b[/bold]" in text


def test_an_error_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(f"{HOSTILE} is missing.")
    assert capsys.readouterr().err == f"{visible(HOSTILE)} is missing.\n"


def test_progress_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        progress(HOSTILE, 1, 1, HOSTILE)
    assert capsys.readouterr().out == f"{visible(HOSTILE)} 1/1: {visible(HOSTILE)}\n"


def test_the_end_of_a_study_is_told_in_its_own_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports.overview.summary import summarise

    full_workspace(tmp_path / "bay")
    (tmp_path / "bay" / "study.toml").touch()
    monkeypatch.chdir(tmp_path / "bay")
    text = printed(*ending(Workspace(tmp_path / "bay")), width=100)
    facts = summarise(tmp_path / "bay")["studies"]
    lines = {line.split()[0]: line for line in lines_of(text) if line.strip()}
    for kind in ("crf", "loss"):
        best = facts[kind]["best"]["value"]
        assert f"{best:.3f}" in lines[kind]
    gain = facts["crf"]["best"]["value"] - facts["crf"]["best_untuned"]["value"]
    assert f"+{gain:.3f}" in lines["crf"]
    assert facts["crf"]["best_untuned"]["name"] in lines["crf"]
    assert lines_of(text)[0].startswith("Usable, not confirmed: miou_multiclass 0.")
    assert "`sonarseg confirm --split test`" in text
    assert max(map(len, lines_of(text))) <= 100


def test_a_study_that_nothing_scores_ends_without_a_table_of_dashes(tmp_path: Path) -> None:
    for kind in ("crf", "loss"):
        new_study(tmp_path, kind, study_attrs(kind, CLASSES, untuned="val is empty.", tiles=[]))
    text = printed(*ending(Workspace(tmp_path)))
    assert lines_of(text) == ["Not scored: val has no masks.", "Nothing was tuned: val is empty."]


@pytest.mark.parametrize(
    ("here", "named"), [("..", "'old bay'/study"), (".", ""), ("study", ""), ("../new", "'../old bay/study'")]
)
def test_the_next_command_works_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, named: str
) -> None:
    root = tmp_path / "old bay"
    (tmp_path / "new").mkdir()
    full_workspace(root / "study")
    (root / "study" / "study.toml").touch()
    monkeypatch.chdir((root / here).resolve())
    (line,) = (
        line for line in lines_of(printed(*ending(Workspace(root / "study")), width=200)) if "Next" in line
    )
    command = shlex.split(line.split("`")[1])
    assert command[:2] + command[-2:] == ["sonarseg", "confirm", "--split", "test"]
    assert [Path(name).resolve() for name in command[2:-2]] == ([root / "study"] if named else [])


def test_the_end_of_a_study_that_learned_nothing_says_so_first_and_asks_for_no_confirmation(
    tmp_path: Path,
) -> None:
    from tests.support.learned_studies import by_chance, learned

    text = printed(*ending(Workspace(learned(tmp_path / "bay", [by_chance(0)]))), width=200)
    assert text.startswith("No better than guessing: miou_multiclass 0.")
    assert "confirm" not in text


def test_a_study_without_a_complete_trial_says_so(tmp_path: Path) -> None:
    from tests.support.fake_studies import new_study

    new_study(tmp_path / "bay", "crf")
    text = printed(*ending(Workspace(tmp_path / "bay")))
    assert "crf: no trial is complete." in text
    assert "confirm" not in text


def test_colours_on_a_terminal_and_none_on_a_pipe() -> None:
    code = "from studies.commands.terminal.console import console; console.print('[green]word[/green]')"
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color"}
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert piped.stdout == b"word\n"
    leader, follower = pty.openpty()
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        subprocess.run([sys.executable, "-c", code], stdout=follower, env=environment | extra, check=True)
        assert (b"\x1b[" in os.read(leader, 1000)) is coloured


def test_status_tells_of_interrupted_trials(tuned: Workspace) -> None:
    facts = gather(tuned)
    facts["studies"]["crf"]["trials"]["interrupted"] = 2
    console = Console(file=io.StringIO(), width=200)
    console.print(shown(facts))
    assert "crf: 2 trials interrupted, which" in console.file.getvalue()  # type: ignore[attr-defined]


def test_status_names_the_stage_in_which_an_encoder_is_tuned(tuned: Workspace) -> None:
    facts = gather(tuned)
    assert facts["warm_up"]["epochs"] == tuned.config.training.warmup_epochs
    facts["warm_up"] |= {"finished": False, "epochs_done": 3, "epochs": 6, "stage": "fine-tune"}
    console = Console(file=io.StringIO(), width=200)
    console.print(shown(facts))
    assert "warm-up: 3 of 6 epochs, fine-tune" in console.file.getvalue()  # type: ignore[attr-defined]


def test_status_calls_a_trial_interrupted_whose_worker_was_killed(tuned: Workspace) -> None:
    study = load_study(tuned.database_path, "crf")
    dead = process_identity(os.getpid()) | {"started": "long ago"}
    study.ask().set_user_attr("worker", dead)
    states = gather(tuned)["studies"]["crf"]["trials"]
    assert (states["running"], states["interrupted"]) == (0, 1)
    study.ask().set_user_attr("worker", process_identity(os.getpid()))
    states = gather(tuned)["studies"]["crf"]["trials"]
    assert (states["running"], states["interrupted"]) == (1, 1)


def test_status_says_first_whether_the_model_is_of_use(tuned: Workspace) -> None:
    facts = gather(tuned)
    assert facts["verdict"]["kind"] == "no model yet"
    assert next(iter(facts)) == "verdict"
    console = Console(file=io.StringIO(), width=400)
    console.print(shown(facts))
    first = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert first.strip() == facts["verdict"]["sentence"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_status_keeps_words_and_figures_whole_on_a_narrow_terminal(tuned: Workspace, width: int) -> None:
    facts = gather(tuned)
    for study in facts["studies"].values():
        study["trials"] |= {"complete": 123, "pruned": 45, "failed": 6, "running": 7}
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    console.print(shown(facts))
    lines = lines_of(console.file.getvalue())  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    for word in ("crf", "loss", "complete", "pruned", "failed", "running", "123", "45", "finished"):
        assert any(word in line.split() for line in lines), word


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [40, 200])
def test_status_obeys_no_name_and_folds_no_figure(
    tuned: Workspace, monkeypatch: pytest.MonkeyPatch, terminal: bool, width: int
) -> None:
    facts = gather(tuned)
    study = facts["studies"]["crf"]
    study["best"]["params"] = {HOSTILE: HOSTILE}
    study["workers"] = [
        {"host": HOSTILE, "pid": 7, "trial": 12, "device": HOSTILE, "seconds": 61, "step": 3, "value": 0.1234}
        | {"setting": HOSTILE}
    ]
    study["stopped"] = HOSTILE
    facts |= {"name": HOSTILE, "survey": HOSTILE, "report": HOSTILE}
    facts["test_openings"] = [{"time": "now", "what": HOSTILE}] * 2
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system="truecolor")
    console.print(shown(facts))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold]b[/bold]" in "".join(lines_of(text)) or width == 40
    assert f"{study['best']['value']:.3f}" in text
    assert "loss: batches of 16 tiles" in " ".join(text.split())
    assert "failed" not in "\n".join(line for line in lines_of(text) if line.startswith("study"))
    assert "test masks opened 2 times" in " ".join(text.split())


def test_a_path_with_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say("Report: /data/[bold]bay[/bold]/\x1b[31mreport.html")
    assert (
        capsys.readouterr().out == "Report: /data/[bold]bay[/bold]/\N{REPLACEMENT CHARACTER}[31mreport.html\n"
    )


def test_a_class_that_is_not_scored_is_no_figure() -> None:
    scores = {"miou": 0.5, "iou": {"mud": 0.5, "rock": 0.0, "weed": None}}
    text = printed(scores_table({"best": scores}, ["rock"]), terminal=False)
    words = {line.split()[0]: line.split()[1:] for line in text.splitlines() if "iou/" in line}
    assert words == {"iou/mud": ["0.500"], "iou/rock": ["not", "scored"], "iou/weed": ["not", "scored"]}


def test_status_names_why_trials_failed_and_what_is_not_scored(tuned: Workspace) -> None:
    study = load_study(tuned.database_path, "crf")
    study.set_user_attr("unscored", ["rock"])
    for number in range(5):
        reason = f"reason {number % 4}."
        study.add_trial(create_trial(state=TrialState.FAIL, params={}, user_attrs={"reason": reason}))
    facts = gather(tuned)
    assert [each["trials"] for each in facts["studies"]["crf"]["failures"]] == [2, 1, 1, 1]
    text = printed(shown(facts), width=200, terminal=False)
    assert "2 trials failed, trial " in text
    assert "last: reason 0." in text
    assert "1 more reason of failed trials: see --json" in text
    assert 'crf: not scored: "rock": the labels of val show it, no mask of val holds it' in text
