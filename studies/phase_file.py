"""The phase that a command at work is in, noted beside the studies for `status` in another terminal."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonarseg.files.whole import whole_file
from sonarseg.processes.identity import is_alive, is_of_this_machine, process_identity
from sonarseg.progress import Progress
from studies.workspace import Workspace

# Names of the notes begin like this; each program has its own.
NOTE = ".phase"
# Steps of one phase are noted so often at most.
NOTE_SECONDS = 1.0
# A note of another machine, whose processes cannot be asked, is believed for so long.
STALE_SECONDS = 600.0
_log = logging.getLogger(__name__)


@contextmanager
def noted(workspace: Workspace, command: str) -> Iterator[Progress]:
    """Yield a Progress that notes what it hears in a file of the workspace, as long as the block lasts.

    A folder that cannot be written to gets no notes: the work itself says what is wrong with it.

    Parameters
    ----------
    workspace : Workspace
    command : str
        What is at work.
    """
    path = workspace.root / f"{NOTE}-{process_identity(os.getpid())['host']}-{os.getpid()}.json"
    _remove_dead(workspace.root)
    note = _Note(path, command)
    try:
        yield note
    finally:
        note.remove()


def phases_at_work(workspace: Workspace) -> list[dict[str, Any]]:
    """Read what the commands at work in a workspace do, the one that began its phase last first.

    Returns
    -------
    list of dict
        Each with `command`, `what`, `done`, `total` (0 where nothing is counted), `note`, `seconds` (how long
        this phase lasts) and `process` (host and pid). Notes of programs that have ended are left out.
    """
    now = time.time()
    found = [entry for path in _notes(workspace.root) if (entry := _read(path)) and _is_believed(entry, now)]
    found.sort(key=lambda entry: -float(entry["since"]))
    return [
        {name: entry[name] for name in ("command", "what", "done", "total", "note")}
        | {"seconds": round(max(0.0, now - entry["since"]), 1)}
        | {"process": {name: entry["process"][name] for name in ("host", "pid")}}
        for entry in found
    ]


class _Note:
    def __init__(self, path: Path, command: str) -> None:
        self._path = path
        self._facts = {"command": command, "process": process_identity(os.getpid())}
        self._what = ""
        self._since = self._written = 0.0
        self._broken = False

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.time()
        if what != self._what:
            self._what, self._since = what, now
        elif now - self._written < NOTE_SECONDS and done < total:
            return
        self._written = now
        phase = {"what": what, "done": done, "total": total, "note": note}
        self._write(json.dumps(self._facts | phase | {"since": self._since, "time": now}))

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            with whole_file(self._path) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            self._broken = True
            _log.debug("the phase is not noted: %s", error)

    def remove(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.debug("the note of the phase stays: %s", error)


def _notes(root: Path) -> list[Path]:
    return sorted(root.glob(f"{NOTE}-*.json"))


def _read(path: Path) -> dict[str, Any] | None:
    """Read a note; None if its program has just removed it, or it is not one."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(entry, dict) and {"process", "since", "time", "what"} <= entry.keys()
    return entry if known else None


def _is_believed(entry: dict[str, Any], now: float) -> bool:
    if is_of_this_machine(entry["process"]):
        return is_alive(entry["process"])
    return bool(now - entry["time"] < STALE_SECONDS)


def _remove_dead(root: Path) -> None:
    """Remove what programs of this machine left that were killed."""
    for path in _notes(root):
        entry = _read(path)
        if entry and is_of_this_machine(entry["process"]) and not is_alive(entry["process"]):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.debug("an old note of a phase stays: %s", error)
