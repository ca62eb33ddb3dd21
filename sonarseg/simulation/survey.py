"""The simulated survey on disk: pictures, masks, labels, strips and splits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import write_csv
from sonarseg.progress import Progress, silent
from sonarseg.simulation.settings import CLASSES, SeaFloor, SonarSettings
from sonarseg.simulation.strips import FEWEST_STRIPS, TILES_PER_STRIP, Strip, insonify, lay_out
from sonarseg.survey.layout import classes_in_mask
from sonarseg.survey.pictures import write_index_png, write_png
from sonarseg.survey.splits.draw import SPLITS, split_by_group
from sonarseg.survey.splits.lists import write_splits

SPLIT_ATTEMPTS = 200
LAYOUT_ATTEMPTS = 50
FEWEST_TILES = 3 * FEWEST_STRIPS
SMALLEST_SIZE = 24

Splits = dict[str, tuple[str, ...]]
Shown = dict[str, NDArray[np.bool_]]


def simulate(
    root: Path,
    *,
    tiles: int,
    size: int,
    seed: int,
    tiles_per_strip: int = TILES_PER_STRIP,
    progress: Progress = silent,
) -> None:
    """Write a simulated survey.

    Every split shows every class and holds tiles of several classes.

    Parameters
    ----------
    root : Path
        Folder to make.
    tiles : int
        Number of tiles, 30 at least.
    size : int
        Side of a tile, pixels of 0.1 m, 24 at least.
    seed : int
        The same seed makes the same survey.
    tiles_per_strip : int
        Tiles of a strip, about: the fewer, the more strips are there to tell how sure a score is.
    progress : Progress
        Called a strip.

    Raises
    ------
    UserError
        Where a number is out of range or the folder is not empty.
    """
    if tiles < FEWEST_TILES:
        raise UserError(
            f"--tiles {tiles} is too few to share out to train, val and test: use {FEWEST_TILES} or more."
        )
    if size < SMALLEST_SIZE:
        raise UserError(f"--size {size} is too small to show a texture: use {SMALLEST_SIZE} pixels or more.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} exists and is not empty: name a new folder.")
    progress("laying the sea floor out", 0, 0, "")
    strips, shown, splits = _lay_out_and_split(tiles, size, seed, tiles_per_strip)
    root.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, and moved into place whole: after Ctrl-C the same command begins again.
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
        whole = Path(folder) / "survey"
        _write(whole, strips, shown, splits, progress)
        if root.exists():
            root.rmdir()
        whole.replace(root)


def _write(root: Path, strips: Sequence[Strip], shown: Shown, splits: Splits, progress: Progress) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    sonar, floor = SonarSettings(), SeaFloor()
    for number, strip in enumerate(strips):
        for name, image in strip.cut(insonify(strip, sonar, floor)):
            write_png(root / "images" / f"{name}.png", image)
        for name, mask in strip.cut(strip.mask):
            write_index_png(root / "masks" / f"{name}.png", mask)
        progress("simulating strips", number + 1, len(strips))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    write_csv(root / "groups.csv", [("tile", "strip"), *_groups(strips).items()])
    rows = [(name, *(int(value) for value in flags)) for name, flags in shown.items()]
    write_csv(root / "labels.csv", [("tile", *CLASSES), *rows])
    write_splits(root, splits)


def _lay_out_and_split(
    tiles: int, size: int, seed: int, tiles_per_strip: int
) -> tuple[list[Strip], Shown, Splits]:
    for attempt in range(LAYOUT_ATTEMPTS):
        strips = lay_out(
            tiles, size, np.random.SeedSequence((seed, attempt) if attempt else seed), tiles_per_strip
        )
        shown = {
            name: classes_in_mask(mask, len(CLASSES))
            for strip in strips
            for name, mask in strip.cut(strip.mask)
        }
        splits = balanced_splits(shown, _groups(strips), seed)
        # In a small survey the rarest class may lie in too few strips: such a sea floor is drawn again.
        if splits is not None:
            return strips, shown, splits
    raise UserError(f"--tiles {tiles} are too few to show every class in train, val and test: use more.")


def _groups(strips: Sequence[Strip]) -> dict[str, str]:
    return {name: strip.name for strip in strips for name, _ in strip.cut(strip.mask)}


def balanced_splits(
    shown: Mapping[str, NDArray[np.bool_]], groups: Mapping[str, str], seed: int
) -> Splits | None:
    """Split by strip so that the splits show the classes, and tiles of several classes, about equally often.

    Of several random splits the one is taken whose rarest sight is least rare, relative to the survey;
    None where each of them has a split that lacks a class or a tile of several classes.
    """
    tiles = list(shown)
    order = {tile: index for index, tile in enumerate(tiles)}
    flags = np.stack([shown[tile] for tile in tiles])
    sights = np.column_stack([flags, flags.sum(axis=1) > 1]).astype(float)
    overall = np.maximum(sights.mean(axis=0), 1e-9)
    best, best_score = None, 0.0
    for attempt in range(SPLIT_ATTEMPTS):
        splits = split_by_group(tiles, groups, seed=seed * SPLIT_ATTEMPTS + attempt)
        if not all(splits[split] for split in SPLITS):
            continue
        score = min(
            float((sights[[order[tile] for tile in splits[split]]].mean(axis=0) / overall).min())
            for split in SPLITS
        )
        if score > best_score:
            best, best_score = splits, score
    return best
