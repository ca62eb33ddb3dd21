"""Splits by group."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from sonarseg.survey.splits.draw import SPLITS, split_by_group
from sonarseg.survey.splits.lists import write_splits

K = 4
GROUPS = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.booleans(), min_size=K, max_size=K)), min_size=1, max_size=40
)


def build(groups: list[tuple[int, list[bool]]]) -> tuple[list[str], dict[str, str], dict[str, np.ndarray]]:
    tiles, strips, labels = [], {}, {}
    for number, (size, shown) in enumerate(groups):
        for index in range(size):
            tile = f"{number}-{index}"
            tiles.append(tile)
            strips[tile] = f"strip {number}"
            labels[tile] = np.array(shown)
    return tiles, strips, labels


@settings(max_examples=80, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 5), with_labels=st.booleans())
def test_every_tile_once_and_groups_whole(
    groups: list[tuple[int, list[bool]]], seed: int, with_labels: bool
) -> None:
    tiles, strips, labels = build(groups)
    splits = split_by_group(tiles, strips, seed=seed, labels=labels if with_labels else None)
    assert sorted(sum(splits.values(), ())) == sorted(tiles)
    homes = {(strips[tile], split) for split in SPLITS for tile in splits[split]}
    assert len(homes) == len(groups)
    assert splits == split_by_group(tiles, strips, seed=seed, labels=labels if with_labels else None)
    assert splits["train"]


@settings(max_examples=80, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 5))
def test_train_shows_every_class(groups: list[tuple[int, list[bool]]], seed: int) -> None:
    tiles, strips, labels = build(groups)
    train = split_by_group(tiles, strips, seed=seed, labels=labels)["train"]
    everywhere = np.any(list(labels.values()), axis=0)
    np.testing.assert_array_equal(np.any([labels[tile] for tile in train], axis=0), everywhere)


@pytest.mark.parametrize("with_labels", [False, True])
def test_shares(with_labels: bool) -> None:
    rng = np.random.default_rng(2)
    tiles, strips, labels = build([(5, [True, *(rng.random(3) < 0.3)]) for _ in range(80)])
    splits = split_by_group(tiles, strips, labels=labels if with_labels else None)
    shares = [len(splits[split]) / len(tiles) for split in SPLITS]
    np.testing.assert_allclose(shares, [0.6, 0.15, 0.25], atol=0.06)


def test_rare_classes_are_shared_out() -> None:
    tiles, strips, labels = build([(4, [True, number < 10, False, False]) for number in range(60)])
    splits = split_by_group(tiles, strips, labels=labels)
    assert all(any(labels[tile][1] for tile in splits[split]) for split in SPLITS)


@pytest.mark.parametrize("with_labels", [False, True])
def test_three_strips_fill_three_splits(with_labels: bool) -> None:
    tiles, strips, labels = build([(4, [True] * K)] * 3)
    splits = split_by_group(tiles, strips, labels=labels if with_labels else None)
    assert [len(splits[split]) for split in SPLITS] == [4, 4, 4]


def test_tiles_without_groups_are_groups_of_their_own() -> None:
    splits = split_by_group([f"t{number}" for number in range(100)], {})
    assert [len(splits[split]) for split in SPLITS] == [60, 15, 25]


def test_unlabelled_tiles_stay_out_of_train() -> None:
    tiles, strips, labels = build([(3, [True] * K)] * 12)
    known = {tile: row for tile, row in labels.items() if not tile.endswith("-0")}
    splits = split_by_group(tiles, strips, labels=known)
    assert splits["train"]
    assert set(splits["train"]) <= known.keys()


def test_another_seed_gives_another_split() -> None:
    tiles = [f"t{number}" for number in range(40)]
    assert split_by_group(tiles, {}, seed=0) != split_by_group(tiles, {}, seed=1)


def test_written_splits_come_back(root: Path) -> None:
    for path in (root / "splits").iterdir():
        path.unlink()
    (root / "splits").rmdir()
    made = open_survey(root).splits
    write_splits(root, made)
    assert open_survey(root).splits == made
    assert sorted(path.name for path in (root / "splits").iterdir()) == ["test.txt", "train.txt", "val.txt"]


def test_splits_are_not_overwritten(root: Path) -> None:
    before = (root / "splits" / "train.txt").read_text()
    with pytest.raises(UserError, match="not overwritten"):
        write_splits(root, dict.fromkeys(SPLITS, ()))
    assert (root / "splits" / "train.txt").read_text() == before
