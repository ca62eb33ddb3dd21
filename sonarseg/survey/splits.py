"""Splits that keep tiles of one strip together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.15, 0.25)


def split_by_group(
    tiles: Sequence[str], groups: Mapping[str, str], *, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Share tiles out to train, val and test; tiles of one group stay in one split.

    Groups are dealt largest first, each to the split that lacks most of its share, so that every
    split gets tiles where there are at least three groups.

    Parameters
    ----------
    tiles : sequence of str
    groups : mapping
        Tile to group; a tile without one is a group of its own.
    seed : int
        Breaks ties between groups of one size.
    """
    members: dict[str, list[str]] = {}
    for tile in tiles:
        members.setdefault(groups.get(tile, f"tile {tile}"), []).append(tile)
    order = np.random.default_rng(seed).permutation(len(members))
    names = sorted((list(members)[i] for i in order), key=lambda name: -len(members[name]))
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        lacking = [share * len(tiles) - len(dealt[split]) for split, share in zip(SPLITS, SHARES, strict=True)]
        relative = [lack / share for lack, share in zip(lacking, SHARES, strict=True)]
        dealt[SPLITS[int(np.argmax(relative))]] += members[name]
    return {split: tuple(sorted(dealt[split])) for split in SPLITS}


def write_splits(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write `root/splits/{train,val,test}.txt`, one tile a line."""
    folder = root / "splits"
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        partial = folder / f"{split}.partial"
        partial.write_text("".join(f"{tile}\n" for tile in splits[split]), encoding="utf-8")
        partial.replace(folder / f"{split}.txt")
