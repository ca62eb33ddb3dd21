"""The default search and its races on a recorded table of scores: `make bench-studies`, smaller."""

import warnings
from collections.abc import Iterator

import optuna
import pytest
import table_search

SEEDS = 5


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(verbosity)


def test_the_default_takes_half_the_trials_of_random_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_search, "SEEDS", SEEDS)
    monkeypatch.setattr(table_search, "SHARES", (0.99,))
    row = next(table_search.search_rows(table_search.recorded()[0]))
    assert row["ours"] <= row["peer"] / 2


def test_races_save_two_fifths_of_the_tiles_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_search, "SEEDS", SEEDS)
    rows = table_search.race_rows(table_search.recorded()[1])
    assert next(rows)["ours"] >= 40
    assert next(rows)["ours"] <= 0.2
