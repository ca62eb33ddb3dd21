"""Winner against baseline from stored confusion matrices: pairs of seeds, and what val can tell."""

from typing import Any

import numpy as np
import pytest

from sonarseg.metrics.bootstrap import paired_interval
from sonarseg.metrics.confirmed_runs import confirmed_differences
from sonarseg.metrics.confusion import pack_confusions

STRIPS = [f"strip {i}" for i in range(8)]


def counts(right: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 9, 8)
    return np.array([[[n, 100 - n], [100 - n, n]] for n in right + noise])


def record_of(splits: tuple[str, ...], seeds: list[Any]) -> dict[str, Any]:
    sides = {"winner": 90, "baseline": 70}
    return {
        "groups": dict.fromkeys(splits, STRIPS),
        "runs": [
            {
                "role": role,
                "seed": seed,
                "confusions": {split: pack_confusions(counts(right, place)) for split in splits},
            }
            for place, seed in enumerate(seeds)
            for role, right in sides.items()
        ],
    }


def test_the_figures_are_those_of_the_confusions_of_both_sides() -> None:
    found = confirmed_differences(record_of(("test",), [5, 6, 7]))["test"]
    sides = [np.stack([counts(right, place) for place in range(3)]) for right in (90, 70)]
    for metric, difference in found.items():
        expected = paired_interval(*sides, metric, groups=STRIPS, seeds=True)
        assert difference.difference == expected
        assert difference.difference.low > 0
        assert difference.winner - difference.baseline == pytest.approx(expected.value)


def test_runs_are_paired_by_seed_whatever_their_order() -> None:
    record = record_of(("test",), [5, 6, 7])
    record["runs"].reverse()
    expected = confirmed_differences(record_of(("test",), [5, 6, 7]))["test"]["miou"].difference
    found = confirmed_differences(record)["test"]["miou"].difference
    assert (found.value, found.seeds) == (pytest.approx(expected.value), 3)
    record["runs"] = [run for run in record["runs"] if (run["role"], run["seed"]) != ("winner", 6)]
    assert confirmed_differences(record)["test"]["miou"].difference.seeds == 2


@pytest.mark.parametrize("seeds", [[None], [5, 6, 7]])
def test_on_val_the_same_tiles_chose_the_winner(seeds: list[Any]) -> None:
    found = confirmed_differences(record_of(("val", "test"), seeds))
    assert found["val"]["miou"].difference.missing == "chosen here"
    assert not found["val"]["miou"].difference.known
    assert found["test"]["miou"].difference.known


def test_one_seed_of_a_loss_has_no_interval() -> None:
    found = confirmed_differences(record_of(("test",), [5]))["test"]["miou"].difference
    assert found.missing == "too few seeds"
