"""The lists in `splits/` that sonarseg makes: written once, kept when tiles are added."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.splits.draw import SHARES, SPLITS, split_by_group, split_by_masks
from sonarseg.survey.splits.strips_from_names import line_of
from sonarseg.survey.tile_names import listed_name

# Tells lists that sonarseg made from those that a person wrote, which are taken as they are
MARK = "made_by_sonarseg.txt"
_SAYS = (
    "These lists were made by `sonarseg init`. A labelled tile that is in none of them goes to train;\n"
    "`sonarseg init SURVEY --resplit` makes all of them again. Without this file they stay as they are.\n"
)
Splits = dict[str, tuple[str, ...]]


def make_splits(
    tiles: Sequence[str],
    groups: Mapping[str, str],
    labels: Mapping[str, NDArray[np.bool_]],
    *,
    has_masks: bool,
    masked: Collection[str] | None = None,
) -> Splits:
    """Make the splits of a survey without lists.

    Parameters
    ----------
    groups : mapping
        Tile to strip.
    labels : mapping
        Tile to shown classes, bool (K,).
    has_masks : bool
        Without any mask nothing can be scored: every labelled tile is trained on.
    masked : collection of str, optional
        Tiles that have a mask. If only a minority of the strips has any, these go to val and test.
    """
    if has_masks and labels and masked is not None:
        strips = {groups.get(tile, tile) for tile in tiles if tile in masked}
        if sum(groups.get(tile, tile) in strips for tile in tiles) <= (1 - SHARES[0]) * len(tiles):
            return split_by_masks(tiles, groups, labels, masked)
    if has_masks or not labels:
        return split_by_group(tiles, groups, labels=labels)
    return {"train": tuple(sorted(tile for tile in tiles if tile in labels)), "val": (), "test": ()}


def added_to_train(
    root: Path, splits: Splits, tiles: Iterable[str], groups: Mapping[str, str], labelled: Collection[str]
) -> tuple[str, ...]:
    """Find the tiles that came after sonarseg made the lists, and that train takes.

    Val and test keep theirs. A tile of a strip of val or test is left out: in train it would make
    scores too good.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    splits : dict
        The lists in it.
    tiles : iterable of str
        All tiles.
    groups : mapping
        Tile to strip.
    labelled : collection of str
        Tiles that have labels.
    """
    if not (root / "splits" / MARK).is_file():
        return ()
    listed = {tile for names in splits.values() for tile in names}
    scored = {groups[tile] for split in ("val", "test") for tile in splits[split] if tile in groups}
    new = (tile for tile in tiles if tile in labelled and tile not in listed)
    return tuple(sorted(tile for tile in new if groups.get(tile, line_of(tile)) not in scored))


def write_splits(
    root: Path, splits: Mapping[str, Sequence[str]], *, marked: bool = False, replace: bool = False
) -> None:
    """Write `root/splits/{train,val,test}.txt`, one tile a line.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    splits : mapping
        "train", "val" and "test" to tiles.
    marked : bool
        Note that sonarseg chose them, so that tiles added later go to train.
    replace : bool
        Move lists that are there to a folder `before-N` below.

    Raises
    ------
    UserError
        If one of them is there already, unless `replace`.
    """
    folder = root / "splits"
    before = [path for name in (*SPLITS, Path(MARK).stem) if (path := folder / f"{name}.txt").exists()]
    if before and not replace:
        raise UserError(f"{before[0]} exists and is not overwritten: move it away first.")
    partial = root / "splits.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for split in SPLITS:
            text = "".join(f"{listed_name(tile)}\n" for tile in splits[split])
            (partial / f"{split}.txt").write_text(text, encoding="utf-8")
        if marked:
            (partial / MARK).write_text(_SAYS, encoding="utf-8")
        if before:
            _keep_before(folder, before)
        folder.mkdir(exist_ok=True)
        # The mark comes first: lists without it would count as written by hand.
        for path in sorted(partial.iterdir(), key=lambda path: path.name != MARK):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _keep_before(folder: Path, paths: Iterable[Path]) -> None:
    kept = next(place for n in count(1) if not (place := folder / f"before-{n}").exists())
    kept.mkdir()
    for path in paths:
        path.replace(kept / path.name)
