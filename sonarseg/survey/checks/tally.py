"""Counts of one split, taken tile by tile: nothing but the counts stays in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.survey.layout import Survey, check_mask, classes_in_mask
from sonarseg.survey.no_data import without_invalid
from sonarseg.survey.pictures import Picture, read_mask_file
from sonarseg.survey.scaling import FLOATING, bits_of, is_grey

# Values of 16 bits that many programs fill pixels without data with
EXTREMES = (0, 65535)


@dataclass
class SplitTally:
    """Counts of one split.

    Attributes
    ----------
    tiles : int
        Tiles that the split lists.
    sizes : Counter
        (height, width) to number of tiles.
    kinds : Counter
        For instance "8-bit grey" or "float" to number of tiles.
    examples : dict
        Bits to a tile of that depth.
    deep_pixels : int
        Pixels of 16-bit pictures that are not marked as having no data.
    extremes : Counter
        0 and 65535 to the number of those pixels that hold it in all channels.
    labelled : int
        Tiles with image-level labels.
    label_counts : ndarray, int64 (K,)
        Tiles whose labels show each class.
    several_by_labels : int
        Tiles whose labels show two or more classes, the background counted.
    masks : int
        Tiles with a mask, opened or not.
    masks_read : int
        Masks that were opened and found right.
    pixels : ndarray, int64 (K,)
        Pixels of each class in the masks that were read.
    no_data : int
        Pixels without data (255) in them.
    several_by_masks : int
        Tiles whose masks show two or more classes.
    first_shown : dict
        Class id to the first tile that shows it, by labels or by a mask that was read.
    contradicted : list of str
        Tiles whose mask shows at least 1 % of a class that their labels deny.
    """

    num_classes: int
    tiles: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[int, str] = field(default_factory=dict)
    deep_pixels: int = 0
    extremes: Counter[int] = field(default_factory=Counter)
    labelled: int = 0
    label_counts: NDArray[np.int64] = field(init=False)
    several_by_labels: int = 0
    masks: int = 0
    masks_read: int = 0
    pixels: NDArray[np.int64] = field(init=False)
    no_data: int = 0
    several_by_masks: int = 0
    first_shown: dict[int, str] = field(default_factory=dict)
    contradicted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label_counts = np.zeros(self.num_classes, dtype=np.int64)
        self.pixels = np.zeros(self.num_classes, dtype=np.int64)


def tally_split(survey: Survey, split: str, problems: list[str], step: Callable[[], None]) -> SplitTally:
    """Count a split; what cannot be counted becomes a problem and the rest goes on.

    Masks are read where the split is opened in `survey`, and only counted elsewhere.
    """
    tally = SplitTally(survey.num_classes)
    for tile in survey.splits[split]:
        tally.tiles += 1
        _add_labels(tally, survey, tile)
        tally.masks += survey.has_mask(tile)
        try:
            size = _add_picture(tally, survey, tile)
            if size is not None and split in survey.opened and survey.has_mask(tile):
                _add_mask(tally, survey, tile, size)
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename or survey.image_path(tile)} cannot be read: {error.strerror}.")
        step()
    return tally


def _add_labels(tally: SplitTally, survey: Survey, tile: str) -> None:
    if tile not in survey.labels:
        return
    labels = survey.labels[tile]
    tally.labelled += 1
    tally.label_counts += labels
    tally.several_by_labels += survey.multiclass(tile)
    _note_first(tally, labels, tile)


def _note_first(tally: SplitTally, shown: NDArray[np.bool_], tile: str) -> None:
    for index in np.flatnonzero(shown).tolist():
        tally.first_shown.setdefault(index, tile)


def _add_picture(tally: SplitTally, survey: Survey, tile: str) -> tuple[int, int] | None:
    if tile not in survey.images:
        return None
    picture, valid = survey.read_image(tile), survey.read_valid(tile)
    size = (picture.shape[0], picture.shape[1])
    tally.sizes[size] += 1
    tally.kinds[_kind(picture, valid)] += 1
    tally.examples.setdefault(bits_of(picture), tile)
    if picture.dtype == np.uint16:
        marked = np.ones(size, dtype=np.bool_) if valid is None else valid
        tally.deep_pixels += int(marked.sum())
        for value in EXTREMES:
            same = picture == value if picture.ndim == 2 else (picture == value).all(axis=2)
            tally.extremes[value] += int((same & marked).sum())
    return size


def _kind(picture: Picture, valid: NDArray[np.bool_] | None) -> str:
    bits = bits_of(picture)
    return "float" if bits == FLOATING else f"{bits}-bit {'grey' if is_grey(picture, valid) else 'RGB'}"


def _add_mask(tally: SplitTally, survey: Survey, tile: str, size: tuple[int, int]) -> None:
    path = survey.mask_path(tile)
    mask = read_mask_file(path)
    check_mask(path, mask, size, survey.num_classes)
    mask = without_invalid(mask, survey.read_valid(tile))
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    tally.masks_read += 1
    tally.pixels += counts[: survey.num_classes]
    tally.no_data += int(counts[IGNORE])
    tally.several_by_masks += int((counts[: survey.num_classes] > 0).sum() >= 2)
    _note_first(tally, counts[: survey.num_classes] > 0, tile)
    denied = classes_in_mask(mask, survey.num_classes)
    if survey.background_id is not None:
        denied[survey.background_id] = False
    if tile in survey.labels and (denied & ~survey.labels[tile]).any():
        tally.contradicted.append(tile)
