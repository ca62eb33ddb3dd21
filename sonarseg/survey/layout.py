"""The layout of a survey on disk, and who may open which masks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.survey.fingerprint import survey_fingerprints
from sonarseg.survey.formats.found import SUFFIX_WORDS
from sonarseg.survey.lists import (
    Labels,
    find_pictures,
    read_classes,
    read_groups,
    read_label_table,
    read_splits,
)
from sonarseg.survey.no_data import read_valid, without_invalid
from sonarseg.survey.pictures import Picture, picture_size, read_mask_file, read_picture
from sonarseg.survey.splits.lists import added_to_train, make_splits

LEAST_AREA = 0.01


@dataclass(frozen=True)
class Survey:
    """A survey as read from its folder; pixels are read when asked for.

    Attributes
    ----------
    classes : tuple of str
        Class names; the position is the class id.
    background : str or None
        The class that every tile may contain and no image-level label speaks of.
    splits : dict
        "train", "val", "test" to tile names.
    labels : dict
        Tile to bool (K,), from labels.csv.
    groups : dict
        Tile to strip, from groups.csv.
    images : dict
        Tile to picture file.
    opened : frozenset of str
        Splits whose masks may be read.
    added : tuple of str
        Tiles of train that came after sonarseg made the lists, and are in none of them.
    """

    root: Path
    classes: tuple[str, ...]
    background: str | None
    splits: dict[str, tuple[str, ...]]
    labels: dict[str, NDArray[np.bool_]]
    groups: dict[str, str]
    images: dict[str, Path] = field(repr=False)
    opened: frozenset[str] = frozenset({"val"})
    added: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the survey's folder."""
        return self.root.name

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)

    @property
    def background_id(self) -> int | None:
        """Class id of the background, where there is one."""
        return None if self.background is None else self.classes.index(self.background)

    @cached_property
    def _fingerprints(self) -> tuple[str, str]:
        return survey_fingerprints(self)

    @property
    def fingerprint(self) -> str:
        """Hash of what can change a study's results; every file is read, the first time it is asked for."""
        return self._fingerprints[0]

    @property
    def fingerprint_without_masks(self) -> str:
        """As `fingerprint`, as if val had no masks."""
        return self._fingerprints[1]

    @cached_property
    def split_of(self) -> dict[str, str]:
        """Tile to split."""
        return {tile: split for split, tiles in self.splits.items() for tile in tiles}

    @cached_property
    def _masks(self) -> dict[str, Path]:
        return find_pictures(self.root / "masks", [])

    def image_path(self, tile: str) -> Path:
        """Picture file of a tile; where none was found, the PNG that is expected."""
        return self.images.get(tile, self.root / "images" / f"{tile}.png")

    def mask_path(self, tile: str) -> Path:
        """Mask file of a tile; where none was found, the PNG that is expected."""
        usual = self.root / "masks" / f"{tile}.png"
        return usual if usual.is_file() else self._masks.get(tile, usual)

    def has_mask(self, tile: str) -> bool:
        """Whether a tile has a mask, even one that cannot be read."""
        return os.path.lexists(self.mask_path(tile))

    def read_image(self, tile: str) -> Picture:
        """Read a tile: uint8 or uint16, (H, W) or (H, W, 3), or float32 (H, W)."""
        return read_picture(self.image_path(tile))

    def read_valid(self, tile: str) -> NDArray[np.bool_] | None:
        """Read which pixels of a tile have data, bool (H, W), or None if all have."""
        return read_valid(self.image_path(tile))

    def read_mask(self, tile: str) -> NDArray[np.uint8]:
        """Read a tile's class ids, uint8 (H, W), 255 = ignore: where the mask or the picture says so.

        Raises
        ------
        PermissionError
            Where the tile's split is not opened: train masks stay closed in weakly supervised work.
        UserError
            Where the mask is missing, of another size than the picture, or holds a wrong class id.
        """
        split = self.split_of.get(tile)
        if split not in self.opened:
            raise PermissionError(f"masks of the {split} split are closed here ({tile})")
        path = self.mask_path(tile)
        mask = read_mask_file(path)
        check_mask(path, mask, picture_size(self.image_path(tile)), self.num_classes)
        return without_invalid(mask, self.read_valid(tile))

    def with_masks_of(self, *splits: str) -> Survey:
        """Copy the survey with the masks of more splits opened."""
        return replace(self, opened=self.opened | set(splits))

    def shown(self, tile: str) -> NDArray[np.bool_]:
        """Classes that a tile may hold, bool (K,): its image-level labels, and the background.

        A tile of an opened split without a row in labels.csv is labelled by its mask: classes that
        cover at least 1 % of the pixels with data.

        Raises
        ------
        UserError
            Where neither tells.
        """
        shown = self._labelled(tile)
        if self.background_id is not None:
            shown[self.background_id] = True
        return shown

    def multiclass(self, tile: str) -> bool:
        """Whether a tile may hold two or more classes, background counted."""
        return int(self.shown(tile).sum()) >= 2

    def has_labels(self, tile: str) -> bool:
        """Whether `shown` can tell: a row in labels.csv, or a mask that may be read."""
        return tile in self.labels or (self.split_of.get(tile) in self.opened and self.has_mask(tile))

    def _labelled(self, tile: str) -> NDArray[np.bool_]:
        if tile in self.labels:
            return self.labels[tile].copy()
        if self.has_labels(tile):
            return classes_in_mask(self.read_mask(tile), self.num_classes)
        raise UserError(
            f"{self.root / 'labels.csv'} has no row for the tile {tile}: add one with 0 or 1 for each class."
        )


def classes_in_mask(
    mask: NDArray[np.uint8], num_classes: int, least_area: float = LEAST_AREA
) -> NDArray[np.bool_]:
    """Classes that cover at least `least_area` of a mask's pixels with data, bool (K,)."""
    counts = np.bincount(mask[mask != IGNORE].ravel(), minlength=num_classes)[:num_classes]
    return (counts > 0) & (counts >= least_area * max(1, int(counts.sum())))


def check_mask(path: Path, mask: NDArray[np.uint8], size: tuple[int, int], num_classes: int) -> None:
    """Refuse (UserError) a mask of another size or with an unknown class id."""
    if mask.shape != size:
        raise UserError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} pixels but its tile is {size[1]} x {size[0]}: "
            "make both the same size."
        )
    ids = mask[mask != IGNORE]
    if ids.size and int(ids.max()) >= num_classes:
        raise UserError(
            f"{path} holds the class id {int(ids.max())}, but classes.txt has {num_classes} classes "
            f"(ids 0 to {num_classes - 1}, 255 for no data): correct one of them."
        )


def open_survey(root: Path, background: str | None = None) -> Survey:
    """Read a survey's lists: classes, splits, labels and groups. No picture is opened.

    Splits that are missing are made by group, the same every time; `write_splits` keeps them. Tiles
    that are added later then go to train.
    A single class without a column in labels.csv is the background where none is named.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    background : str or None
        The class that every tile may contain; its column in labels.csv is passed over.

    Raises
    ------
    UserError
        Where something needed is missing or malformed.
    """
    problems: list[str] = []
    survey = read_survey(root, background, problems).survey
    if problems:
        raise UserError(problems[0])
    return survey


@dataclass(frozen=True)
class ReadSurvey:
    """A survey with what a check wants to know of its lists.

    Attributes
    ----------
    label_lines : dict
        Tile to its line in labels.csv.
    made_splits : bool
        Whether the splits were made, for want of files.
    inferred_background : bool
        Whether the background is the one class without a column in labels.csv.
    blank : frozenset of str
        Tiles that are not labelled yet: their row in labels.csv is blank. Train goes without them.
    """

    survey: Survey
    label_lines: dict[str, int]
    made_splits: bool
    inferred_background: bool
    blank: frozenset[str]


def read_survey(root: Path, background: str | None, problems: list[str]) -> ReadSurvey:
    """Read what can be read of a survey's lists and append the rest to `problems`.

    Raises
    ------
    UserError
        Where there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: name the folder of your survey.")
    images = find_pictures(root / "images", problems)
    if not images:
        problems.append(f"{root / 'images'} holds no {SUFFIX_WORDS} picture: put the tiles there.")
    classes = read_classes(root, problems)
    if background is not None and background not in classes:
        problems.append(
            f'background = "{background}" is not in {root / "classes.txt"}: use one of {", ".join(classes)}.'
        )
        background = None
    labels = Labels()
    if classes:
        labels = read_label_table(root / "labels.csv", classes, background, problems)
    inferred = background is None and len(labels.unlabelled) == 1 and len(classes) > 1
    if inferred:
        background = labels.unlabelled[0]
    groups = read_groups(root, problems)
    splits = read_splits(root, problems)
    made = splits is None
    added: tuple[str, ...] = ()
    if splits is None:
        has_masks = bool(find_pictures(root / "masks", []))
        splits = make_splits(list(images), groups, labels.shown, has_masks=has_masks)
    else:
        added = added_to_train(root, splits, images, groups, labels.shown.keys())
        splits = {**splits, "train": splits["train"] + added}
    if labels.blank:
        splits = {**splits, "train": tuple(t for t in splits["train"] if t not in labels.blank)}
    survey = Survey(
        root.resolve(),
        classes,
        background,
        splits,
        labels.shown,
        groups,
        images,
        added=added,
    )
    return ReadSurvey(survey, labels.lines, made, inferred, frozenset(labels.blank))
