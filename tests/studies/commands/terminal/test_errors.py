"""Errors of the command line: one sentence, an exit code, and tracebacks for faults of ours only."""

import errno
import resource
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy
import typer
from typer.testing import CliRunner

from sonarseg.errors import UserError
from sonarseg.training.failures import RunFailed
from studies.commands.terminal.errors import SentenceGroup, explain


def raising(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=SentenceGroup, pretty_exceptions_enable=False)

    @app.command()
    def work() -> None:
        raise error

    @app.command()
    def other() -> None:
        """Two commands make a group."""

    return app


def chained(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


FULL = sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("tile.png is missing."), 2, "tile.png is missing."),
        (RunFailed("the loss was not finite."), 3, "the loss was not finite."),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes"),
        (OSError(errno.ENOSPC, "No space left on device", "/w/x"), 2, "/w/x: No space left on device; free"),
        (OSError(errno.EACCES, "Permission denied", "/w/x"), 2, "/w/x: Permission denied; choose"),
        (OSError(errno.EROFS, "Read-only file system"), 2, "Read-only file system; choose"),
        (sqlalchemy.exc.OperationalError("INSERT", {}, FULL), 2, "study.db: database or disk is full; free"),
        (chained(RuntimeError("wrapped"), FULL), 2, "study.db: database or disk is full; free"),
        (sqlite3.OperationalError("attempt to write a readonly database"), 2, "make the workspace writable"),
    ],
)
def test_one_sentence_and_an_exit_code(error: BaseException, code: int, sentence: str) -> None:
    result = CliRunner().invoke(raising(error), ["work"])
    assert result.exit_code == code
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), FileNotFoundError(errno.ENOENT, "z")])
def test_our_own_faults_keep_their_traceback(error: Exception) -> None:
    assert explain(error) is None
    result = CliRunner().invoke(raising(error), ["work"])
    assert result.exception is error


def test_brackets_in_a_sentence_are_not_taken_for_markup() -> None:
    result = CliRunner().invoke(raising(UserError("study.toml: [loss] trials is wrong.")), ["work"])
    assert result.stderr == "study.toml: [loss] trials is wrong.\n"


def test_a_wrong_option_is_exit_code_2() -> None:
    assert CliRunner().invoke(raising(ValueError()), ["work", "--nonsense"]).exit_code == 2


def seconds_of_processor(command: list[str]) -> float:
    """Processor time of a child process: unlike the clock's, it hardly depends on what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_quick() -> None:
    command = [sys.executable, "-c", "from studies.main import main; main()", "--help"]
    assert min(seconds_of_processor(command) for _ in range(4)) < 0.5


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, studies.main; "
        "print([m for m in ('torch', 'optuna', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"
