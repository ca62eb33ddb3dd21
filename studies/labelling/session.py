"""What one labelling page works on: a survey that is open here and in no other program of this kind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonarseg.class_colours import class_colour
from sonarseg.errors import UserError
from sonarseg.files.together import finish_change
from sonarseg.survey.lists import read_groups, read_splits
from studies.labelling.label_table import LabelTable
from studies.labelling.masks import Masks
from studies.labelling.pictures import TilePictures

_LOCK = ".label.lock"


@dataclass(frozen=True)
class Session:
    """A survey that is being labelled.

    Attributes
    ----------
    name : str
        Name of the survey's folder.
    table : LabelTable
    masks : Masks
    pictures : TilePictures
    groups, splits : dict
        Tile to strip; tile to split, where there are lists.
    """

    name: str
    table: LabelTable
    masks: Masks
    pictures: TilePictures
    groups: dict[str, str]
    splits: dict[str, str]

    def state(self) -> dict[str, Any]:
        """All that the page shows, for JSON."""
        with self.table.lock:
            shown = self.table.shown()
            count, _ = self.table.changes(0)
            masked = self.masks.tiles()
            return {
                "survey": self.name,
                "generation": self.table.generation,
                "changes": count,
                "classes": [
                    {"name": name, "colour": class_colour(index), "labelled": name != self.table.unlabelled}
                    for index, name in enumerate(self.table.classes)
                ],
                "tiles": list(shown),
                "shown": list(shown.values()),
                "strips": [self.groups.get(tile, "") for tile in shown],
                "splits": [self.splits.get(tile, "") for tile in shown],
                "masked": [tile in masked for tile in shown],
            }


@contextmanager
def opened_session(root: Path) -> Iterator[Session]:
    """Open a survey for labelling, and keep other labelling pages out of it meanwhile.

    Raises
    ------
    UserError
        If it cannot be written to, is open in another page, or one of its lists has a fault.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: name the folder of your survey.")
    if not os.access(root, os.W_OK):
        raise UserError(
            f"{root} is read-only: labels are written there, so that you need the right to write."
        )
    with (root / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{root} is open in another `sonarseg label`: use its page, or stop it with Ctrl-C first."
            ) from error
        yield _open(root.resolve())


def _open(root: Path) -> Session:
    finish_change(root)
    table = LabelTable(root)
    problems: list[str] = []
    groups = read_groups(root, problems)
    splits = read_splits(root, problems) or {}
    if problems:
        raise UserError(problems[0])
    return Session(
        root.name,
        table,
        Masks(root, table.images),
        TilePictures(table.images),
        groups,
        {tile: split for split, tiles in splits.items() for tile in tiles},
    )
