"""Which stopped settings could still be the best: what is estimated of their missing tiles."""

import numpy as np
import pytest

from objectives.unfinished_races import LEAST_CHANCE, Stopped, chances
from sonarseg.metrics.strip_counts import strip_counts

STRIPS, TILES = 8, 6
GROUPS = [f"strip{tile // TILES}" for tile in range(STRIPS * TILES)]
SIZES = np.exp(np.random.default_rng(5).uniform(np.log(100), np.log(2000), len(GROUPS))).astype(np.int64)


def setting(error, seed, strips=None):
    """Confusion matrices (T, 2, 2); a share of the pixels is wrong, by strip if `strips` gives one each."""
    generator = np.random.default_rng(seed)
    shares = np.full(len(GROUPS), error) if strips is None else np.repeat(strips, TILES)
    shares = np.clip(shares + generator.normal(0, 0.02, len(GROUPS)), 0, 1)
    found = np.zeros((len(GROUPS), 2, 2), dtype=np.int64)
    for tile, (size, share) in enumerate(zip(SIZES, shares, strict=True)):
        wrong = int(size * share)
        found[tile] = [[size - wrong, wrong], [wrong, size - wrong]]
    return found


def chance(confusions, scored, best, others=(), groups=GROUPS, metric="miou"):
    complete = strip_counts(np.stack([best, *others]), metric, groups)
    (found,) = chances([Stopped(scored, confusions)], best, complete, metric, groups)
    return found


def first_of_each_strip(number):
    return np.arange(len(GROUPS)) % TILES < number


@pytest.mark.parametrize("metric", ["miou", "miou_multiclass", "fwiou", "miou_paper", "pixel_accuracy"])
def test_a_clearly_worse_setting_has_no_chance_and_a_better_one_has(metric):
    best = setting(0.2, 0)
    scored = first_of_each_strip(3)
    assert chance(setting(0.3, 1), scored, best, metric=metric) < LEAST_CHANCE
    assert chance(setting(0.15, 1), scored, best, metric=metric) > 0.9


def test_a_setting_that_is_worse_overall_and_better_in_some_strips_has_a_chance():
    best = setting(0.2, 0)
    some = setting(0, 1, strips=[0.1, 0.1, 0.1, 0.1, 0.36, 0.36, 0.36, 0.36])
    assert LEAST_CHANCE < chance(some, first_of_each_strip(3), best) < 0.5


def test_what_is_missing_is_granted_its_error():
    """Scored on large tiles of two strips alone, a somewhat worse setting may still be better elsewhere."""
    best, worse = setting(0.2, 0), setting(0, 1, strips=[0.21, 0.26] * 4)
    few = np.arange(len(GROUPS)) < 2 * TILES
    assert chance(worse, few, best) > 0.1 + chance(worse, np.ones(len(GROUPS), dtype=bool), best)


def test_tiles_that_were_not_scored_are_not_looked_at():
    best, scored = setting(0.2, 0), first_of_each_strip(3)
    one = setting(0.22, 1)
    other = np.where(scored[:, None, None], one, 7)
    assert chance(one, scored, best) == chance(other, scored, best)


def test_a_setting_of_which_nothing_is_known_is_a_candidate():
    assert chance(setting(0.5, 1), np.zeros(len(GROUPS), dtype=bool), setting(0.2, 0)) == 1


@pytest.mark.parametrize(
    "groups", [[None] * len(GROUPS), [f"strip{tile % 5}" for tile in range(len(GROUPS))]]
)
def test_without_strips_or_with_few_nothing_is_finished(groups):
    assert chance(setting(0.1, 1), first_of_each_strip(3), setting(0.2, 0), groups=groups) == 0


def test_the_best_complete_setting_of_each_draw_counts():
    """Beside one that is better in half of the strips, a setting is seldom the best of a draw."""
    best, scored = setting(0.2, 0), first_of_each_strip(3)
    middling = setting(0.205, 1)
    rival = setting(0, 2, strips=[0.05, 0.36] * 4)
    assert chance(middling, scored, best, [rival]) < chance(middling, scored, best)
