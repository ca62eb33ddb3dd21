"""Races: what the contributions add up to, when a trial has lost, and what order tells most."""

from functools import partial

import numpy as np
import pytest
import race_stops
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.racing import LEAST_TILES, LEVEL, Race, counted_tiles, incumbent_of, race_order
from objectives.tuning_tiles import informative_order
from sonarseg.metrics.iou import METRICS

CLASSES = 3


def confusions_of(tiles, error, seed):
    """Confusion matrices (T, K, K) in which a share of every class is taken for another one."""
    generator = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(50, 400, (tiles, CLASSES))
    found = np.zeros((tiles, CLASSES, CLASSES), dtype=np.int64)
    for tile in range(tiles):
        for true in range(CLASSES):
            share = float(np.clip(error + generator.normal(0, 0.05), 0, 1))
            wrong = int(truth[tile, true] * share)
            found[tile, true, true] = truth[tile, true] - wrong
            found[tile, true, (true + 1) % CLASSES] = wrong
    return found


@pytest.mark.parametrize("metric", ["miou", "miou_multiclass"])
def test_contributions_of_the_incumbent_add_up_to_nothing(metric):
    confusions = confusions_of(30, 0.3, 0)
    confusions[::3, 1:] = 0
    incumbent = incumbent_of(confusions, metric, 0.5)
    counted = counted_tiles(confusions, metric)
    assert counted.sum() == (20 if metric == "miou_multiclass" else 30)
    assert abs(incumbent.contributions[counted].sum()) < 1e-12


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 0.6), st.integers(0, 1000))
def test_differences_add_up_to_the_change_of_miou_to_first_order(error, seed):
    incumbent_confusions = confusions_of(25, error, seed)
    other = confusions_of(25, error + 0.01, seed + 1)
    incumbent = incumbent_of(incumbent_confusions, "miou", METRICS["miou"](incumbent_confusions))
    race = Race(incumbent, np.ones(25))
    for tile in range(25):
        race.add(tile, other[tile][None])
    change = METRICS["miou"](other) - incumbent.value
    assert np.sum(race.differences) == pytest.approx(change, abs=0.15 * abs(change) + 1e-3)


def race_between(mine, incumbents, tiles=60):
    race = Race(incumbent_of(incumbents, "miou", METRICS["miou"](incumbents)), np.ones(tiles))
    for tile in range(tiles):
        race.add(tile, mine[tile][None])
        if race.lost():
            return race, tile + 1
    return race, None


def test_a_clearly_worse_trial_ends_early_and_never_looks_better_than_the_incumbent():
    race, ended = race_between(confusions_of(60, 0.45, 1), confusions_of(60, 0.3, 2))
    assert LEAST_TILES <= ended < 30
    assert race.expected() < race.incumbent.value


def test_a_better_or_equal_trial_is_never_ended():
    assert race_between(confusions_of(60, 0.2, 1), confusions_of(60, 0.3, 2))[1] is None
    same = confusions_of(60, 0.3, 2)
    assert race_between(same, same)[1] is None


@pytest.mark.parametrize("strays_too", [False, True])
def test_a_trial_without_the_stray_pixels_of_the_incumbent_is_not_ended(strays_too):
    """One pixel of a class without truth costs the incumbent a fourth of its mIoU."""
    incumbents = np.pad(confusions_of(60, 0.3, 2), ((0, 0), (0, 1), (0, 1)))
    mine = np.pad(confusions_of(60, 0.38, 2), ((0, 0), (0, 1), (0, 1)))
    incumbents[5, 0, 3] = 1
    mine[5, 0, 3] = strays_too
    assert (METRICS["miou"](mine) < METRICS["miou"](incumbents)) == strays_too
    assert (race_between(mine, incumbents)[1] is not None) == strays_too


def test_expected_value_is_capped_below_the_incumbent():
    race, _ = race_between(confusions_of(60, 0.2, 1), confusions_of(60, 0.3, 2))
    assert race.expected() == np.nextafter(race.incumbent.value, -np.inf)


def test_one_good_number_of_iterations_keeps_a_trial_in():
    incumbents = confusions_of(60, 0.3, 2)
    bad, good = confusions_of(60, 0.6, 1), confusions_of(60, 0.25, 3)
    race = Race(incumbent_of(incumbents, "miou", METRICS["miou"](incumbents)), np.ones(60))
    for tile in range(60):
        race.add(tile, np.stack([bad[tile], good[tile]]))
        assert not race.lost()


def test_tiles_that_the_metric_leaves_out_do_not_race():
    incumbents = confusions_of(20, 0.3, 2)
    counted = np.arange(20) % 2 == 0
    race = Race(incumbent_of(incumbents, "miou", 0.5), counted.astype(float))
    for tile in range(20):
        race.add(tile, incumbents[tile][None])
    assert race.scored == 10


def test_the_first_tiles_show_every_class():
    generator = np.random.default_rng(0)
    pixels = np.zeros((40, 4), dtype=np.int64)
    pixels[:, 0] = generator.integers(500, 1000, 40)
    pixels[7, 1], pixels[20, 1], pixels[31, 2], pixels[33, 3] = 400, 100, 50, 10
    counted = np.ones(40, dtype=bool)
    counted[[0, 1]] = False
    order = informative_order(pixels, counted)
    assert sorted(order) == list(range(40))
    assert {7, 31, 33} <= set(order[:5])
    assert order[-2:] == [0, 1]


def test_large_tiles_tend_to_come_early_and_those_that_do_not_race_last():
    share = np.array([1.0, 20.0, 0.0, 1.0])
    orders = [race_order(share, np.random.default_rng(seed)).tolist() for seed in range(400)]
    assert all(sorted(order) == [0, 1, 2, 3] and order[-1] == 2 for order in orders)
    assert np.mean([order[0] == 1 for order in orders]) == pytest.approx(20 / 22, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_the_estimate_does_not_depend_on_how_differences_grow_with_size(seed):
    """On average over orders the expected score is the true one; a mean over the largest tiles is not."""
    generator = np.random.default_rng(seed)
    share = np.exp(generator.uniform(0, 3, 12))
    differences = -(share**1.5) / (share**1.5).sum()
    found = []
    for order in (race_order(share, generator) for _ in range(300)):
        race = race_stops.Differences(race_stops.no_contributions(12), share)
        for tile in order[:4]:
            race.add_difference(tile, differences[tile])
        found.append(race.expected())
    assert np.mean(found) == pytest.approx(-1, abs=5 * np.std(found) / np.sqrt(300))


@pytest.mark.parametrize("slope", [0.0, 0.7, -0.7])
@pytest.mark.parametrize("noise", ["normal", "t", "skewed"])
def test_equal_settings_are_stopped_at_the_stated_level_at_most(noise, slope):
    draw = partial(race_stops.simulated, tiles=60, noise=noise, slope=slope, falling=0.0)
    stopped, saved = race_stops.rates(draw, race_stops.RACE, repeats=120)
    assert stopped <= LEVEL + 0.05
    assert saved >= 0.5


def test_largest_tiles_first_stopped_settings_that_are_as_good():
    draw = partial(race_stops.simulated, tiles=60, noise="t", slope=-0.7, falling=0.0)
    largest_first, *_ = race_stops.RULES
    assert (
        race_stops.rates(draw, largest_first, repeats=120)[0]
        > race_stops.rates(draw, race_stops.RACE, repeats=120)[0] + 0.1
    )
