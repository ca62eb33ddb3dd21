"""Classes that are added, renamed or merged: classes.txt, labels.csv and all masks change together."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.texts import control_character
from sonarseg.files.together import Change, replaced_together
from sonarseg.ignore import IGNORE
from sonarseg.survey.lists import MOST_CLASSES, find_pictures
from sonarseg.survey.pictures import read_mask_file, write_index_png
from studies.labelling.label_table import LabelTable, Shown


def add_class(table: LabelTable, name: str) -> None:
    """Add a class behind the others; tiles that are labelled already do not show it.

    Raises
    ------
    UserError
        If the name cannot be one, or is there already.
    """
    with table.lock:
        name = _checked(table, name)
        if len(table.classes) == MOST_CLASSES:
            raise UserError(f"There are {MOST_CLASSES} classes: no more fit into a mask.")
        shown = {tile: text and f"{text}0" for tile, text in table.all_shown().items()}
        _replace(table, (*table.classes, name), shown, table.unlabelled)


def rename_class(table: LabelTable, index: int, name: str) -> None:
    """Give a class another name.

    Raises
    ------
    UserError
        If there is no such class, or the name cannot be one or is there already.
    """
    with table.lock:
        old = _known(table, index)
        if unicodedata.normalize("NFC", name.strip()) == old:
            return
        name = _checked(table, name)
        classes = tuple(name if place == index else kept for place, kept in enumerate(table.classes))
        without = name if table.unlabelled == old else table.unlabelled
        _replace(table, classes, table.all_shown(), without)


def merge_classes(table: LabelTable, index: int, into: int) -> None:
    """Merge a class into another one: in labels either counts, and masks get the other's id.

    Raises
    ------
    UserError
        If there are no such two classes, or a mask cannot be read or holds an unknown class id.
    """
    with table.lock:
        _known(table, index)
        kept = _known(table, into)
        if index == into:
            raise UserError("A class cannot be merged into itself: choose another one.")
        without = kept if table.unlabelled in (table.classes[index], kept) else table.unlabelled
        shown = {
            tile: text and _merged(text, index, into, silent=without == kept)
            for tile, text in table.all_shown().items()
        }
        classes = tuple(name for place, name in enumerate(table.classes) if place != index)
        _replace(table, classes, shown, without, _lookup(len(table.classes), index, into))


def _merged(text: Shown, index: int, into: int, *, silent: bool) -> Shown:
    cells = list(text)
    cells[into] = "0" if silent else max(cells[index], cells[into])
    del cells[index]
    return "".join(cells)


def _lookup(count: int, index: int, into: int) -> NDArray[np.uint8]:
    """New id of each id, uint8 (256,)."""
    table = np.arange(256, dtype=np.uint8)
    table[index] = into
    table[index + 1 : count] -= 1
    if into > index:
        table[index] = into - 1
    return table


def _replace(
    table: LabelTable,
    classes: Sequence[str],
    shown: dict[str, Shown],
    without: str | None,
    lookup: NDArray[np.uint8] | None = None,
) -> None:
    with replaced_together(table.root) as change:
        if lookup is not None:
            _change_masks(table.root, len(table.classes), lookup, change)
        change.path("classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        text = table.text(classes, shown, without)
        change.path("labels.csv").write_text(text, encoding="utf-8", newline="")
    table.load()
    table.generation += 1


def _change_masks(root: Path, count: int, lookup: NDArray[np.uint8], change: Change) -> None:
    for tile, path in find_pictures(root / "masks", []).items():
        mask = read_mask_file(path)
        ids = mask[mask != IGNORE]
        if ids.size and int(ids.max()) >= count:
            raise UserError(
                f"{path} holds the class id {int(ids.max())}, but there are {count} classes (ids 0 to "
                f"{count - 1}): correct the mask first."
            )
        changed = lookup[mask]
        if (changed == mask).all():
            continue
        write_index_png(change.path(f"masks/{tile}.png"), changed)
        if path.name != f"{tile}.png":
            change.removed.append(f"masks/{path.name}")


def _known(table: LabelTable, index: int) -> str:
    if not 0 <= index < len(table.classes):
        raise UserError("This class is not there any more: load the page again.")
    return table.classes[index]


def _checked(table: LabelTable, name: str) -> str:
    """The name as classes.txt gives it back."""
    name = unicodedata.normalize("NFC", name.strip().lstrip("\ufeff").strip())
    if not name:
        raise UserError("A class needs a name: type one.")
    if control_character(name) is not None or not name.isprintable():
        raise UserError("The name of a class holds a character that is not seen: type it again.")
    if name == "tile":
        raise UserError('A class cannot be called "tile": choose another name.')
    if name in table.classes:
        raise UserError(f'There is a class "{name}" already: choose another name.')
    return name
