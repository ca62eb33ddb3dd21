"""Several files of one folder that are replaced together, also if the program is killed in between."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonarseg.files.whole import read_json, write_atomically

_FOLDER = ".change-under-way"
_PLAN = "plan.json"
_NEW = "new"


class Change:
    """New files and files to remove, by their path relative to the folder.

    Parameters
    ----------
    folder : Path
        Where new files wait.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.removed: list[str] = []

    def path(self, relative: str) -> Path:
        """Path to write the new content of a file to."""
        place = self._folder / _NEW / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@contextmanager
def replaced_together(root: Path) -> Iterator[Change]:
    """Give a change to fill; at the end all of it takes place, after an error nothing.

    A change that was complete when the program was killed takes place when `finish_change` is called next.
    """
    folder = root / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / _NEW).mkdir(parents=True)
    change = Change(folder)
    try:
        yield change
        for path in _files(folder / _NEW):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        write_atomically(folder / _PLAN, json.dumps({"remove": change.removed}))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finish_change(root)


def finish_change(root: Path) -> bool:
    """Finish a change that was interrupted, or forget it if it was not complete; whether one was finished.

    Raises
    ------
    UserError
        If the plan of the change is damaged.
    """
    folder = root / _FOLDER
    complete = (folder / _PLAN).is_file()
    if complete:
        plan = read_json(folder / _PLAN, f"remove the folder {folder}")
        for path in _files(folder / _NEW):
            place = root / path.relative_to(folder / _NEW)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        for relative in plan["remove"]:
            (root / relative).unlink(missing_ok=True)
        # First the plan: without it, what is left of the folder means nothing.
        (folder / _PLAN).unlink()
    shutil.rmtree(folder, ignore_errors=True)
    return complete


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
