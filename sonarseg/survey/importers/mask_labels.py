"""Image-level labels from masks, for a person who has masks but no labels.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import write_csv
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import LEAST_AREA, check_mask, classes_in_mask
from sonarseg.survey.lists import find_pictures, read_classes
from sonarseg.survey.no_data import read_valid, without_invalid
from sonarseg.survey.pictures import picture_size, read_mask_file
from sonarseg.survey.tile_names import listed_name, unlistable


def labels_from_masks(
    root: Path, least_area: float = LEAST_AREA, *, progress: Progress = silent
) -> dict[str, NDArray[np.bool_]]:
    """Find the classes that each mask shows. This opens the masks of every split.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    least_area : float
        Share of a tile's pixels with data that a class must cover to count as shown, 0 to 1.
    progress : Progress
        Called a mask.

    Returns
    -------
    dict
        Tile to bool (K,), in the order of names; tiles without a mask are left out.

    Raises
    ------
    UserError
        Where there are no classes, no masks, or a mask that does not fit its tile.
    """
    if not 0 <= least_area <= 1:
        raise UserError(f"The least area is {least_area}: it is a share of a tile, from 0 to 1.")
    problems: list[str] = []
    classes = read_classes(root, problems)
    images = find_pictures(root / "images", problems)
    problems += unlistable(images)
    masks = find_pictures(root / "masks", problems)
    tiles = [tile for tile in images if tile in masks]
    if not tiles:
        problems.append(
            f"{root / 'masks'} holds no mask of a tile in images: put masks of the same names there."
        )
    if problems:
        raise UserError(problems[0])
    labels = {}
    for number, tile in enumerate(tiles, start=1):
        mask = read_mask_file(masks[tile])
        check_mask(masks[tile], mask, picture_size(images[tile]), len(classes))
        seen = without_invalid(mask, read_valid(images[tile]))
        labels[tile] = classes_in_mask(seen, len(classes), least_area)
        progress("reading masks", number, len(tiles))
    return labels


def write_labels(
    root: Path,
    least_area: float = LEAST_AREA,
    *,
    background: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Write labels.csv of a survey from its masks, once, and return its path.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    least_area : float
        As in `labels_from_masks`.
    background : str or None
        The background class, which gets no column.
    progress : Progress
        Called a mask.

    Raises
    ------
    UserError
        Where it exists already, or the masks are not right.
    """
    path = refuse_labels(root)
    problems: list[str] = []
    classes = read_classes(root, problems)
    if background is not None and background not in classes:
        raise UserError(f'"{background}" is not in {root / "classes.txt"}: use one of {", ".join(classes)}.')
    write_labels_csv(path, classes, labels_from_masks(root, least_area, progress=progress), background)
    return path


def refuse_labels(root: Path) -> Path:
    """Path of labels.csv; refuse (UserError) if it is there: what a person labelled is not overwritten."""
    path = root / "labels.csv"
    if path.exists():
        raise UserError(f"{path} exists and is not overwritten: move it away first.")
    return path


def write_labels_csv(
    path: Path,
    classes: tuple[str, ...],
    labels: dict[str, NDArray[np.bool_]],
    background: str | None = None,
) -> None:
    """Write labels.csv, whole or not at all; the background gets no column."""
    columns = [index for index, name in enumerate(classes) if name != background]
    rows = [[listed_name(tile), *(int(shown[index]) for index in columns)] for tile, shown in labels.items()]
    write_csv(path, [["tile", *(classes[index] for index in columns)], *rows])
