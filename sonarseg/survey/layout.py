"""The layout of a survey on disk, and who may open which masks."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.pictures import SUFFIXES, Picture, read_mask_file, read_picture
from sonarseg.survey.splits import SPLITS, split_by_group

LEAST_AREA = 0.01
IGNORE = 255


@dataclass(frozen=True)
class Survey:
    """A survey as read from its folder; pixels are read when asked for.

    Attributes
    ----------
    root : Path
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
    opened : frozenset of str
        Splits whose masks may be read.
    """

    root: Path
    classes: tuple[str, ...]
    background: str | None
    splits: dict[str, tuple[str, ...]]
    labels: dict[str, NDArray[np.bool_]]
    groups: dict[str, str]
    images: dict[str, Path] = field(repr=False)
    opened: frozenset[str] = frozenset({"val"})

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
    def split_of(self) -> dict[str, str]:
        """Tile to split."""
        return {tile: split for split, tiles in self.splits.items() for tile in tiles}

    def image_path(self, tile: str) -> Path:
        """Picture file of a tile; where none was found, the PNG that is expected."""
        return self.images.get(tile, self.root / "images" / f"{tile}.png")

    def mask_path(self, tile: str) -> Path:
        """Mask file of a tile."""
        for suffix in SUFFIXES:
            path = self.root / "masks" / f"{tile}{suffix}"
            if path.is_file():
                return path
        return self.root / "masks" / f"{tile}.png"

    def has_mask(self, tile: str) -> bool:
        """Whether a tile has a mask."""
        return self.mask_path(tile).is_file()

    def read_image(self, tile: str) -> Picture:
        """Read a tile, uint8 or uint16, (H, W) or (H, W, 3)."""
        return read_picture(self.image_path(tile))

    def read_mask(self, tile: str) -> NDArray[np.uint8]:
        """Read a tile's class ids, uint8 (H, W), 255 = ignore.

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
        check_mask(path, mask, self.read_image(tile).shape[:2], self.num_classes)
        return mask

    def with_masks_of(self, *splits: str) -> Survey:
        """The same survey with the masks of more splits opened."""
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
            f"{self.root / 'labels.csv'} has no row for the tile {tile}: add one with a 0 or 1 for each class."
        )


def classes_in_mask(
    mask: NDArray[np.uint8], num_classes: int, least_area: float = LEAST_AREA
) -> NDArray[np.bool_]:
    """Classes that cover at least `least_area` of a mask's pixels with data, bool (K,)."""
    counts = np.bincount(mask[mask != IGNORE].ravel(), minlength=num_classes)[:num_classes]
    return (counts > 0) & (counts >= least_area * max(1, int(counts.sum())))


def check_mask(path: Path, mask: NDArray[np.uint8], size: tuple[int, ...], num_classes: int) -> None:
    """Refuse a mask of another size or with an unknown class id.

    Raises
    ------
    UserError
    """
    if mask.shape != tuple(size):
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

    Splits that are missing are made by group.

    Raises
    ------
    UserError
        Where something needed is missing or malformed.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: name the folder of your survey.")
    images = find_images(root)
    if not images:
        raise UserError(f"{root / 'images'} holds no .png, .tif or .tiff picture: put the tiles there.")
    classes = read_lines(root / "classes.txt")
    if not classes:
        raise UserError(f"{root / 'classes.txt'} is missing or empty: write one class name a line.")
    doubled = sorted({name for name in classes if classes.count(name) > 1})
    if doubled:
        raise UserError(f'{root / "classes.txt"} names the class "{doubled[0]}" twice: keep one.')
    if background is not None and background not in classes:
        raise UserError(
            f'background = "{background}" is not in {root / "classes.txt"}: use one of {", ".join(classes)}.'
        )
    groups = _read_groups(root / "groups.csv")
    return Survey(
        root.resolve(),
        tuple(classes),
        background,
        _read_splits(root, images, groups),
        _read_labels(root / "labels.csv", classes, background),
        groups,
        images,
    )


def find_images(root: Path) -> dict[str, Path]:
    """Tile name to picture file, in the order of names."""
    folder = root / "images"
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without blanks; none where the file is missing."""
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_splits(root: Path, images: Iterable[str], groups: dict[str, str]) -> dict[str, tuple[str, ...]]:
    paths = {split: root / "splits" / f"{split}.txt" for split in SPLITS}
    if not any(path.is_file() for path in paths.values()):
        return split_by_group(list(images), groups)
    return {split: tuple(read_lines(path)) for split, path in paths.items()}


def _read_labels(path: Path, classes: list[str], background: str | None) -> dict[str, NDArray[np.bool_]]:
    rows = read_table(path)
    if not rows:
        return {}
    header = rows[0]
    missing = [name for name in classes if name not in header and name != background]
    if "tile" not in header or missing:
        lacking = "tile" if "tile" not in header else missing[0]
        raise UserError(f'{path} line 1 has no column "{lacking}": expected tile and one column a class.')
    labels: dict[str, NDArray[np.bool_]] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = dict(zip(header, row, strict=False))
        shown = np.zeros(len(classes), dtype=bool)
        for index, name in enumerate(classes):
            if name == background:
                continue
            value = cells.get(name, "")
            if value not in ("0", "1"):
                raise UserError(f'{path} line {number}, column "{name}": expected 0 or 1, found "{value}".')
            shown[index] = value == "1"
        labels[cells["tile"]] = shown
    return labels


def _read_groups(path: Path) -> dict[str, str]:
    rows = read_table(path)
    if not rows:
        return {}
    if rows[0][:2] != ["tile", "strip"]:
        raise UserError(f'{path} line 1 is "{",".join(rows[0])}": expected tile,strip.')
    for number, row in enumerate(rows[1:], start=2):
        if len(row) < 2:
            raise UserError(f"{path} line {number}: expected a tile and its strip, separated by a comma.")
    return {row[0]: row[1] for row in rows[1:]}


def read_table(path: Path) -> list[list[str]]:
    """Rows of a CSV file with blanks trimmed; none where the file is missing."""
    return [[cell.strip() for cell in row] for row in csv.reader(read_lines(path))]
