"""Turn what went wrong into one sentence and an exit code; what nobody foresaw keeps its traceback."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from sonarseg.errors import UserError
from studies.commands.terminal.tables import visible

WRONG_INPUT, FAILED, INTERRUPTED = 2, 3, 130

# What the person can put right; other system errors are faults of ours and keep their traceback.
_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again, it resumes",
    errno.EDQUOT: "free some space and run the same command again, it resumes",
    errno.EACCES: "choose a place you may write to, or change its permissions",
    errno.EPERM: "choose a place you may write to, or change its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "a folder is needed there: name another place, or move the file away",
    errno.EEXIST: "a folder is needed there: name another place, or move the file away",
    errno.EISDIR: "a file is needed there: name another place, or move the folder away",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EIO: "check the disk, then run the same command again, it resumes",
}
_DATABASE_REMEDIES = {
    "disk is full": "free some space and run the same command again, it resumes",
    "readonly database": "make the workspace writable, or copy it to a place that is",
    "unable to open database file": "put it back if it was moved away, or make the workspace a folder that "
    "you may write to",
    "disk i/o error": "check the disk and its free space, then run the same command again, it resumes",
    "database is locked": "another command holds it: wait for that one, then run this one again",
    "file is not a database": "it is damaged: put a copy back, or move it away and start anew",
    "malformed": "it is damaged: put a copy back, or move it away and start anew",
}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through an exception, those it was raised from, and the driver's own inside SQLAlchemy's."""
    current: BaseException | None = error
    while current is not None:
        yield current
        inner = getattr(current, "orig", None)
        if isinstance(inner, BaseException):
            yield inner
        current = current.__cause__


def _system_sentence(error: OSError) -> str | None:
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror}; {remedy}."


def _database_sentence(error: sqlite3.Error) -> str | None:
    message = str(error).lower()
    for sign, remedy in _DATABASE_REMEDIES.items():
        if sign in message:
            return f"The study database study.db: {error}; {remedy}."
    return None


def _is_failed_run(error: BaseException) -> bool:
    # Its module imports torch; where that was not imported yet, no run can have failed.
    failures = sys.modules.get("sonarseg.training.failures")
    return failures is not None and isinstance(error, failures.RunFailed)


def explain(error: BaseException) -> tuple[str, int] | None:
    """Find the sentence and the exit code for an error.

    Returns
    -------
    (str, int) or None
        None where the error is no fault of the person's or the machine's.
    """
    for link in _chain(error):
        if isinstance(link, UserError):
            return str(link), WRONG_INPUT
        if _is_failed_run(link):
            return str(link), FAILED
        if isinstance(link, OSError) and (sentence := _system_sentence(link)):
            return sentence, WRONG_INPUT
        if isinstance(link, sqlite3.Error) and (sentence := _database_sentence(link)):
            return sentence, WRONG_INPUT
    return None


def print_error(sentence: str) -> None:
    """Write a sentence to the standard error; a name in it cannot command the terminal."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(visible(sentence))


class SentenceGroup(TyperGroup):
    """The top group of commands: errors of the person end in one sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named.

        Raises
        ------
        typer.Exit
            With 2 for wrong input or a machine's limit, 3 for a training run that failed,
            130 where it was interrupted.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            print_error("stopped; the same command resumes")
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            if type(error).__module__.split(".")[0] in {"typer", "click"}:
                raise
            found = explain(error)
            if found is None:
                raise
            print_error(found[0])
            raise typer.Exit(found[1]) from error
