"""Import the layout of the University of Girona's framework (w-s3Tseg)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from sonarseg.survey.formats.found import SUFFIXES
from sonarseg.survey.importers.mask_labels import write_labels_csv
from sonarseg.survey.layout import Survey, check_mask, open_survey
from sonarseg.survey.lists import find_pictures, read_table
from sonarseg.survey.pictures import read_mask_file, read_picture
from sonarseg.survey.splits.lists import write_splits
from sonarseg.survey.tile_names import tile_name, unlistable

SPLITS = ("train", "val")


def import_girona(source: Path, destination: Path, *, progress: Progress = silent) -> Survey:
    """Make a survey from `source`, in full or not at all, and open it.

    The framework keeps, under train/ and val/, images/uni_class/*.tiff and images/multi_class/*.tiff,
    class_labels/NAME.csv with the columns class and presence, and masks/*.tiff. Numbered classes
    become "class 0", "class 1", ... because the layout has no names. Its two splits stay as they are and
    the test split stays empty: the framework draws tiles at random, so that no group could be told.

    Parameters
    ----------
    source : Path
        Folder that holds train/ and val/.
    destination : Path
        Folder to make; it must be empty or new.
    progress : Progress
        Called a tile.

    Raises
    ------
    UserError
        Where something is missing or malformed; then `destination` is as it was.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UserError(f"{destination} is not an empty folder: name a new one.")
    pictures = {split: _find_pictures(source / split / "images") for split in SPLITS}
    for tile in pictures["train"].keys() & pictures["val"].keys():
        raise UserError(f"{pictures['val'][tile]} has the name of a train tile: rename one of them.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Beside the destination: moving into place is then one step of the file system.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as folder:
        root = Path(folder) / "survey"
        _fill(source, root, pictures, progress)
        open_survey(root)
        if destination.exists():
            destination.rmdir()
        root.replace(destination)
    return open_survey(destination)


def _fill(source: Path, root: Path, pictures: dict[str, dict[str, Path]], progress: Progress) -> None:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    classes: tuple[str, ...] | None = None
    labels: dict[str, NDArray[np.bool_]] = {}
    total = sum(len(found) for found in pictures.values())
    for split, found in pictures.items():
        masks = _find_masks(source / split / "masks")
        for tile, picture in found.items():
            table = source / split / "class_labels" / f"{tile}.csv"
            names, labels[tile] = _read_presence(table)
            if classes not in (None, names):
                raise UserError(f"{table} lists other classes than the tables before it: make all alike.")
            classes = names
            size = read_picture(picture).shape[:2]
            shutil.copyfile(picture, root / "images" / f"{tile}{picture.suffix.lower()}")
            if tile in masks:
                check_mask(masks[tile], read_mask_file(masks[tile]), (size[0], size[1]), len(names))
                shutil.copyfile(masks[tile], root / "masks" / f"{tile}{masks[tile].suffix.lower()}")
            progress("importing tiles", len(labels), total)
    assert classes is not None, "every split has pictures, each with its classes"
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    write_labels_csv(root / "labels.csv", classes, labels)
    write_splits(root, {**{split: tuple(found) for split, found in pictures.items()}, "test": ()})


def _find_pictures(folder: Path) -> dict[str, Path]:
    """Tile to picture, over uni_class and multi_class (or whatever subfolders there are)."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        tile = tile_name(path.name)
        if tile in found:
            raise UserError(f"{path} has the name of {found[tile]}: rename one of them.")
        found[tile] = path
    for problem in unlistable(found):
        raise UserError(problem)
    if not found:
        raise UserError(f"{folder} holds no .tiff pictures: expected uni_class and multi_class with tiles.")
    return dict(sorted(found.items()))


def _find_masks(folder: Path) -> dict[str, Path]:
    problems: list[str] = []
    masks = find_pictures(folder, problems)
    if problems:
        raise UserError(problems[0])
    return masks


def _read_presence(path: Path) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Class names and which of them a tile shows."""
    if not path.is_file():
        raise UserError(f"{path} is missing: every tile needs a table of class and presence.")
    problems: list[str] = []
    rows = list(read_table(path, problems))
    if problems:
        raise UserError(problems[0])
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    if header[:2] != ["class", "presence"] or len(rows) < 2:
        raise UserError(
            f'{path} starts with "{",".join(header)}": expected class,presence and a row a class.'
        )
    names, shown = [], []
    for number, cells in rows[1:]:
        if len(cells) < 2 or cells[1] not in ("0", "1"):
            raise UserError(f'{path} line {number} is "{",".join(cells)}": expected a class and 0 or 1.')
        names.append(cells[0])
        shown.append(cells[1] == "1")
    if all(name.isdecimal() for name in names):
        # Numbers are the ids in the masks: their order must be that of the ids.
        if [int(name) for name in names] != list(range(len(names))):
            raise UserError(f"{path} lists the classes {', '.join(names)}: expected 0, 1, 2 and so on.")
        names = [f"class {name}" for name in names]
    return tuple(names), np.array(shown, dtype=bool)
