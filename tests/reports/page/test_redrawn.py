"""What takes a computation of its own: the map of two parameters, the confirmed interval."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from sonarseg.metrics.bootstrap import paired_interval
from tests.support.confirmations import page_of, record
from tests.support.fake_studies import TILES, confusions
from tests.support.report_page import Page
from tests.support.stored_scores import load


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


def test_the_confirmed_interval_is_drawn_from_strips_and_pairs_of_seeds(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(0.06, splits=("test",), seeds=3))
    (row,) = (row for row in page.table("confirmed", "Split") if row[:2] == ["test", "miou"])
    runs = [
        np.stack([confusions(quality, 10 * seed + len(role)) for seed in range(3)])
        for role, quality in (("winner", 0.76), ("baseline", 0.7))
    ]
    found = paired_interval(*runs, "miou", groups=[tile.split("_")[0] for tile in TILES], seeds=True)
    low, high = (float(end.replace("−", "-")) for end in row[5].split(" to "))
    assert [low, high] == pytest.approx([found.low, found.high], abs=6e-4)
    assert "6 strips of test and 3 seeds resampled" in page.text["confirmed"]
