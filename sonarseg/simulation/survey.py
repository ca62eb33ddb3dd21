"""Simulated strips cut into tiles and written as a survey."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from sonarseg.simulation.insonification import record
from sonarseg.simulation.regions import class_fields, offsets_for_shares, regions
from sonarseg.simulation.settings import CLASSES, SHARES, SeaFloor, SonarSettings
from sonarseg.simulation.terrain import terrain
from sonarseg.survey.layout import classes_in_mask
from sonarseg.survey.pictures import write_index_png, write_png
from sonarseg.survey.splits import SPLITS, split_by_group, write_splits

FEWEST_STRIPS = 10
TILES_PER_STRIP = 10
TILES_ACROSS = 2
# Length of the largest regions in tiles: most tiles then hold one class.
REGION_LENGTH = 1.5
SPLIT_ATTEMPTS = 200
FEWEST_TILES = 3 * FEWEST_STRIPS


@dataclass(frozen=True)
class Tile:
    """One tile of a strip: picture uint8 (S, S) and class ids uint8 (S, S)."""

    name: str
    strip: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def simulate(root: Path, *, tiles: int, size: int, seed: int, progress: Progress = silent) -> None:
    """Write a simulated survey.

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
    if size < 24:
        raise UserError(f"--size {size} is too small to show a texture: use 24 pixels or more.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} exists and is not empty: name a new folder.")
    made = list(_tiles(tiles, size, seed, progress))
    shown = {tile.name: classes_in_mask(tile.mask, len(CLASSES)) for tile in made}
    groups = {tile.name: tile.strip for tile in made}
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for tile in made:
        write_png(root / "images" / f"{tile.name}.png", tile.image)
        write_index_png(root / "masks" / f"{tile.name}.png", tile.mask)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    _write_csv(root / "groups.csv", [("tile", "strip"), *groups.items()])
    rows = [(name, *(int(value) for value in flags)) for name, flags in shown.items()]
    _write_csv(root / "labels.csv", [("tile", *CLASSES), *rows])
    write_splits(root, balanced_splits(shown, groups, seed))


def _tiles(count: int, size: int, seed: int, progress: Progress) -> list[Tile]:
    strips = max(FEWEST_STRIPS, round(count / TILES_PER_STRIP))
    per_strip = -(-count // strips)
    rows = -(-per_strip // TILES_ACROSS)
    shape = (rows * size, TILES_ACROSS * size)
    sonar, floor = SonarSettings(), SeaFloor()
    seeds = np.random.SeedSequence(seed).spawn(2 * strips)
    fields = [
        class_fields(shape, len(CLASSES), REGION_LENGTH * size, np.random.default_rng(s))
        for s in seeds[:strips]
    ]
    offsets = offsets_for_shares(fields, SHARES)
    made: list[Tile] = []
    for number in range(strips):
        rng = np.random.default_rng(seeds[strips + number])
        mask = regions(fields[number], offsets)
        height, strength = terrain(mask, floor, sonar.pixel, rng)
        image = record(height, strength, sonar, rng)
        wanted = count // strips + (number < count % strips)
        for index in range(wanted):
            row, column = divmod(index, TILES_ACROSS)
            cut = np.s_[row * size : (row + 1) * size, column * size : (column + 1) * size]
            made.append(Tile(f"s{number:02d}_{index:03d}", f"s{number:02d}", image[cut], mask[cut]))
        progress("simulating strips", number + 1, strips)
    return made


def balanced_splits(
    shown: Mapping[str, NDArray[np.bool_]], groups: Mapping[str, str], seed: int
) -> dict[str, tuple[str, ...]]:
    """Split by strip so that the splits show the classes, and tiles of several classes, about equally often.

    Of several random splits the one is taken whose rarest sight is least rare, relative to the survey.
    """
    tiles = list(shown)
    order = {tile: index for index, tile in enumerate(tiles)}
    flags = np.stack([shown[tile] for tile in tiles])
    sights = np.column_stack([flags, flags.sum(axis=1) > 1]).astype(float)
    overall = np.maximum(sights.mean(axis=0), 1e-9)
    best, best_score = split_by_group(tiles, groups, seed=seed), -np.inf
    for attempt in range(SPLIT_ATTEMPTS):
        splits = split_by_group(tiles, groups, seed=seed * SPLIT_ATTEMPTS + attempt)
        ratios = [
            sights[[order[tile] for tile in splits[split]]].mean(axis=0) / overall
            for split in SPLITS
            if splits[split]
        ]
        score = float(np.min(ratios)) if len(ratios) == len(SPLITS) else -np.inf
        if score > best_score:
            best, best_score = splits, score
    return best


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
