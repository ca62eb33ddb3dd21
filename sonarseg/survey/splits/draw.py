"""Splits that keep tiles of one strip together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.15, 0.25)


def split_by_group(
    tiles: Sequence[str],
    groups: Mapping[str, str],
    *,
    seed: int = 0,
    labels: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Share tiles out to train, val and test; tiles of one group stay in one split.

    Groups are dealt largest first, each to the split that lacks most of its share, so that every
    split gets tiles where there are at least three groups. With labels, groups that show the rarest
    classes come first and go where those classes lack most (after the iterative stratification of
    Sechidis, Tsoumakas and Vlahavas, ECML 2011), and every class is shown in train.

    Parameters
    ----------
    groups : mapping
        Tile to group; a tile without one is a group of its own.
    seed : int
        Breaks ties between groups of one size.
    labels : mapping, optional
        Tile to shown classes, bool (K,). Tiles without labels are of no use in train and left out of it.
    """
    members: dict[str, list[str]] = {}
    for tile in tiles:
        members.setdefault(groups.get(tile, f"tile {tile}"), []).append(tile)
    order = np.random.default_rng(seed).permutation(len(members))
    names = sorted((list(members)[i] for i in order), key=lambda name: -len(members[name]))
    if labels:
        dealt = _deal_by_class(names, members, labels)
        dealt["train"] = [tile for tile in dealt["train"] if tile in labels]
    else:
        dealt = _deal_by_size(names, members)
    return {split: tuple(sorted(dealt[split])) for split in SPLITS}


def split_by_masks(
    tiles: Sequence[str],
    groups: Mapping[str, str],
    labels: Mapping[str, NDArray[np.bool_]],
    masked: Collection[str],
) -> dict[str, tuple[str, ...]]:
    """Share tiles out where few of them have masks: groups with masks go to val and test, the rest to train.

    Groups with most masks come first, to val and test in turn. A class that no other group shows stays in
    train.

    Parameters
    ----------
    groups : mapping
        Tile to group; a tile without one is a group of its own.
    labels : mapping
        Tile to shown classes, bool (K,). Tiles without labels are left out of train.
    masked : collection of str
        Tiles that have a mask.
    """
    members: dict[str, list[str]] = {}
    for tile in tiles:
        members.setdefault(groups.get(tile, f"tile {tile}"), []).append(tile)
    masks = {name: sum(tile in masked for tile in group) for name, group in members.items()}
    of_class = {name: _classes_of(group, labels) for name, group in members.items()}
    home = dict.fromkeys(members, "train")
    given = {"val": 0, "test": 0}
    for name in sorted((name for name in members if masks[name]), key=lambda name: (-masks[name], name)):
        others = [of_class[other] for other, split in home.items() if split == "train" and other != name]
        if of_class[name] <= set().union(*others):
            home[name] = min(given, key=lambda split: given[split])
            given[home[name]] += masks[name]
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, split in home.items():
        dealt[split] += [tile for tile in members[name] if split != "train" or tile in labels]
    return {split: tuple(sorted(dealt[split])) for split in SPLITS}


def _classes_of(group: Sequence[str], labels: Mapping[str, NDArray[np.bool_]]) -> set[int]:
    """Ids of the classes that the labelled tiles of a group show."""
    return {int(index) for tile in group if tile in labels for index in np.flatnonzero(labels[tile])}


def _deal_by_size(names: Sequence[str], members: Mapping[str, list[str]]) -> dict[str, list[str]]:
    total = sum(len(members[name]) for name in names)
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        # Relative to its share: an empty split comes before a fuller, larger one.
        lack = [1 - len(dealt[split]) / (share * total) for split, share in zip(SPLITS, SHARES, strict=True)]
        dealt[SPLITS[int(np.argmax(lack))]] += members[name]
    return dealt


def _deal_by_class(
    names: Sequence[str], members: Mapping[str, list[str]], labels: Mapping[str, NDArray[np.bool_]]
) -> dict[str, list[str]]:
    num_classes = len(next(iter(labels.values())))
    none = np.zeros(num_classes, dtype=bool)
    # Tiles of a group that show each class, and tiles of the group: (groups, K + 1)
    counts = np.array(
        [
            [*np.sum([labels.get(tile, none) for tile in members[name]], axis=0), len(members[name])]
            for name in names
        ],
        dtype=float,
    )
    groups_of_class = (counts[:, :-1] > 0).sum(axis=0)
    rarest = np.where(counts[:, :-1] > 0, groups_of_class, np.inf)
    wanted = np.maximum(np.outer(SHARES, counts.sum(axis=0)), 1e-9)
    given = np.zeros_like(wanted)
    home = np.empty(len(names), dtype=int)
    for index in np.argsort(rarest.min(axis=1), kind="stable"):
        lack = 1 - given / wanted
        scarce = int(np.argmin(rarest[index]))
        score = lack[:, -1] + (lack[:, scarce] if np.isfinite(rarest[index, scarce]) else 0)
        home[index] = int(np.argmax(score))
        given[home[index]] += counts[index]
    for scarce in np.argsort(groups_of_class, kind="stable"):
        showing = np.flatnonzero(counts[:, scarce])
        if showing.size and not (home[showing] == 0).any():
            home[showing[np.argmin(counts[showing, -1])]] = 0
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, number in zip(names, home, strict=True):
        dealt[SPLITS[number]] += members[name]
    return dealt
