"""What takes a computation of its own: the map of two parameters, the confirmed interval."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fake_studies import TILES, confusions
from optuna.trial import TrialState
from report_page import Page
from scipy.stats import t as student
from test_report_confirmed import page_of, record
from test_report_numbers import load

from tests.sonarseg.metrics.slow_bootstrap import difference, strips_of, studentised_interval


def test_the_map_is_the_kernel_regression_of_the_database(workspace: Path, report: Path) -> None:
    """Nadaraya and Watson, place by place, trial by trial."""
    drawn = Page.of(report).figures()["crf-map"]["data"][0]
    found = []
    for trial in load(workspace, "crf").trials:
        value = trial.value
        if trial.state == TrialState.PRUNED and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        alpha, beta = (trial.params.get(name, 0) for name in ("sigma_alpha", "sigma_beta"))
        if value is not None and alpha > 0 and beta > 0 and trial.params["iterations"] != 0:
            found.append((math.log(alpha), math.log(beta), value))
    ends = [(min(column), max(column)) for column in list(zip(*found, strict=True))[:2]]
    assert drawn["x"][0] == pytest.approx(math.exp(ends[0][0]))
    assert drawn["y"][-1] == pytest.approx(math.exp(ends[1][1]))
    empty = 0
    for row in range(0, len(drawn["y"]), 7):
        for column in range(0, len(drawn["x"]), 5):
            weights = scores = 0.0
            for alpha, beta, value in found:
                here = (math.log(drawn["x"][column]), math.log(drawn["y"][row]))
                away = [
                    (at - trial) / (high - low) / 0.09
                    for at, trial, (low, high) in zip(here, (alpha, beta), ends, strict=True)
                ]
                weight = math.exp(-0.5 * (away[0] ** 2 + away[1] ** 2))
                weights, scores = weights + weight, scores + weight * value
            if weights < 0.35:
                assert drawn["z"][row][column] is None
                empty += 1
            else:
                assert drawn["z"][row][column] == pytest.approx(scores / weights, abs=2e-5)
    assert empty > 0


def test_the_confirmed_interval_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    """The strips' part by resampling, the seeds' part by Student's t, put together as limits."""
    seeds, draws = 3, 300
    page = page_of(tmp_path, record(0.06, splits=("test",), seeds=seeds))
    (row,) = (row for row in page.table("confirmed", "Split") if row[:2] == ["test", "miou"])
    low, high = (float(end.replace("−", "-")) for end in row[5].split(" to "))
    runs = [
        np.stack([confusions(quality, 10 * seed + len(role)) for seed in range(seeds)])
        for role, quality in (("winner", 0.76), ("baseline", 0.7))
    ]
    groups = [tile.split("_")[0] for tile in TILES]
    strips = len(set(groups))
    times = np.random.default_rng(12345).multinomial(strips, np.full(strips, 1 / strips), size=draws)
    value, below, above = studentised_interval(*runs, "miou", groups, times)
    of_runs = [difference(a[None], b[None], "miou", strips_of(groups)) for a, b in zip(*runs, strict=True)]
    margin = student.ppf(0.975, seeds - 1) * np.std(of_runs, ddof=1) / np.sqrt(seeds)
    # Half of the noise of single runs on single strips is taken off the seeds' part: at most this share.
    expected = [value - np.hypot(value - below, margin), value + np.hypot(above - value, margin)]
    # The draws differ, so the ends differ by some tenths of the width.
    assert [low, high] == pytest.approx(expected, abs=0.15 * (expected[1] - expected[0]))
