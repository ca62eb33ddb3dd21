"""What cards, class figure, tile figure, intervals and sentences say, recomputed from the stored counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_workspace import LOSS_SPACE, add, new_study
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from report_page import Page
from test_report_numbers import load, of_trial

from reports.database import read_studies
from reports.loss_table import loss_table
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.scores import paired_interval


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page.of(report)


def counts(trial: FrozenTrial) -> NDArray[np.int64]:
    return unpack_confusions(trial.user_attrs["confusions"])


def ious(total: NDArray[np.int64]) -> NDArray[np.float64]:
    right = np.diag(total)
    return np.asarray(right / (total.sum(0) + total.sum(1) - right))


def crf_pair(workspace: Path) -> tuple[FrozenTrial, FrozenTrial]:
    """The best searched trial and the best untuned one."""
    found = [t for t in load(workspace, "crf").trials if t.state == TrialState.COMPLETE]
    sides = [[t for t in found if bool(t.user_attrs.get("name")) is named] for named in (False, True)]
    tuned, untuned = (max(side, key=lambda t: of_trial(t)["miou_multiclass"]) for side in sides)
    return tuned, untuned


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def test_gain_and_interval_of_the_card_and_the_sentence(workspace: Path, page: Page) -> None:
    tuned, untuned = crf_pair(workspace)
    groups = load(workspace, "crf").user_attrs["groups"]
    gain, low, high = paired_interval(
        counts(tuned), counts(untuned), "miou_multiclass", groups=groups, seed=0
    )
    text = " ".join(page.text["in-short"].split())
    interval = f"{signed(low)} to {signed(high)}"
    assert f"gain by tuning{signed(gain)}over" in text
    assert f"95 % {interval}" in text
    assert f"a gain of {gain:.3f} (95 % interval {interval}" in text


def test_class_figure_holds_the_iou_of_each_class(workspace: Path, page: Page) -> None:
    tuned, _ = crf_pair(workspace)
    drawn = next(t for t in page.figures()["crf-classes"]["data"] if t["name"] == "tuned")
    assert drawn["x"] == pytest.approx(ious(counts(tuned).sum(axis=0)))


def test_quartiles_of_the_tiles(workspace: Path, page: Page) -> None:
    tuned, _ = crf_pair(workspace)
    of_tile = []
    for matrix in counts(tuned):
        shown = (matrix.sum(0) + matrix.sum(1)) > 0
        of_tile.append(np.mean(ious(matrix[np.ix_(shown, shown)])))
    low, middle, high = np.quantile(of_tile, [0.25, 0.5, 0.75])
    told = f"tuned: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}"
    assert any(told in str(value) for _, attrs in page.tags for value in attrs.values())


def test_weakest_class_of_the_winner(workspace: Path, page: Page) -> None:
    runs = [t for t in load(workspace, "loss").trials if t.params.get("loss") == "lovasz_softmax"]
    study = load(workspace, "loss")
    means = np.mean([ious(counts(run).sum(axis=0)) for run in runs], axis=0)
    weakest = int(means.argmin())
    name = study.user_attrs["survey"]["classes"][weakest]
    assert f"is weakest on {name}: IoU {means[weakest]:.3f}." in "".join(page.text.values())


def test_print_hides_the_screen_sentence_and_keeps_the_caption_wide(report: Path, page: Page) -> None:
    style = report.read_text(encoding="utf-8")
    assert "font-size: 0;" not in style
    assert ".on-screen { display: none; }" in style
    assert ("span", {"class": "on-screen"}) in page.tags


def test_focal_keeps_its_row_where_weighted_cross_entropy_is_better(tmp_path: Path) -> None:
    study = new_study(tmp_path, "loss")
    weighted = {"loss": "focal", "gamma": 0.0, "alpha": 1.0}
    add(study, LOSS_SPACE, weighted, 0.9, name="class-weighted cross-entropy", setting="a", seed=0)
    add(study, LOSS_SPACE, {"loss": "focal", "gamma": 2.0, "alpha": 0.5}, 0.6, setting="b", seed=0)
    rows = loss_table(read_studies(tmp_path)["loss"]).rows
    assert [(row.key, row.params["gamma"]) for row in rows] == [
        ("class-weighted cross-entropy", 0.0),
        ("focal", 2.0),
    ]
