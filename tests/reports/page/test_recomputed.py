"""What cards, class figure, tile figure, intervals and sentences say, recomputed from the stored counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from objectives.records.read import read_studies
from reports.findings.loss_table import loss_table
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.search_gain import search_gain
from tests.support.fake_studies import LOSS_SPACE, add, new_study
from tests.support.report_page import Page
from tests.support.stored_scores import load, of_trial


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


def test_gain_of_the_search_on_the_card_and_in_the_sentence(workspace: Path, page: Page) -> None:
    tuned, untuned = crf_pair(workspace)
    study = load(workspace, "crf")
    done = [t for t in study.trials if t.state == TrialState.COMPLETE]
    pool = [t for t in done if t.user_attrs.get("name") or t.user_attrs.get("proposal") == "random"]
    found = search_gain(
        np.stack([counts(t)[None] for t in pool]),
        np.array([bool(t.user_attrs.get("name")) for t in pool]),
        "miou_multiclass",
        groups=study.user_attrs["groups"],
    )
    text = " ".join(page.text["in-short"].split())
    ahead = of_trial(tuned)["miou_multiclass"] - of_trial(untuned)["miou_multiclass"]
    interval = f"{signed(found.low)} to {signed(found.high)}"
    assert f"gain of the search{signed(found.value)}over" in text
    assert f"95 % interval {interval}" in text
    assert f"{signed(ahead)} on the tiles that chose it" in text
    assert (
        f"the search gains {signed(found.value)} (95 % interval {interval}, 6 strips of val resampled" in text
    )


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
    trials = [t for t in load(workspace, "loss").trials if t.params.get("loss") == "lovasz_softmax"]
    runs = [t for t in trials if t.user_attrs["seed"] > 0]  # the first runs chose
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


def confusion_rows(page: Page, section: str) -> list[list[list[str]]]:
    """The rows of each confusion table of a section, without heads."""
    tables: list[list[list[str]]] = []
    for row in page.rows[section]:
        if row and row[0] == "truth":
            tables.append([])
        elif tables and len(tables[-1]) < len(row) - 2:
            tables[-1].append(row)
    return tables


def shares_of(total: NDArray[np.int64], classes: list[str]) -> list[list[str]]:
    per_cent = 100 * total / total.sum(axis=1, keepdims=True)
    return [[name, *(f"{share:.1f}" for share in row)] for name, row in zip(classes, per_cent, strict=True)]


def test_confusion_tables_hold_the_shares_of_the_true_pixels(workspace: Path, page: Page) -> None:
    tuned, untuned = crf_pair(workspace)
    classes = load(workspace, "crf").user_attrs["survey"]["classes"]
    found = [[row[:-1] for row in table] for table in confusion_rows(page, "crf")]
    assert found == [shares_of(counts(trial).sum(axis=0), classes) for trial in (untuned, tuned)]


def test_focal_map_is_coloured_by_the_mean_over_seeds(workspace: Path, page: Page) -> None:
    values: dict[tuple[float, float], list[float]] = {}
    for trial in load(workspace, "loss").trials:
        if trial.params.get("loss") == "focal" and trial.state == TrialState.COMPLETE:
            place = (trial.params["gamma"], trial.params["alpha"])
            values.setdefault(place, []).append(float(of_trial(trial)["miou_multiclass"] or 0.0))
    drawn = next(t for t in page.figures()["loss-focal-map"]["data"] if t["name"] == "completed")
    colours = dict(zip(zip(drawn["x"], drawn["y"], strict=True), drawn["marker"]["color"], strict=True))
    assert colours == {place: pytest.approx(np.mean(scores), abs=1e-4) for place, scores in values.items()}


def test_time_figure_and_provenance_tell_the_stored_seconds(workspace: Path, page: Page) -> None:
    trials = load(workspace, "crf").trials
    by_number: dict[int, list[float]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            by_number.setdefault(trial.params["iterations"], []).append(trial.user_attrs["seconds"])
    drawn = next(t for t in page.figures()["crf-time"]["data"] if t["name"] == "median")
    found = dict(zip(drawn["x"], drawn["y"], strict=True))
    assert found == {number: pytest.approx(np.median(taken)) for number, taken in by_number.items()}
    for kind in ("crf", "loss"):
        spent = sum(trial.user_attrs.get("seconds", 0.0) for trial in load(workspace, kind).trials)
        told = f"{spent / 60:.1f} min" if spent < 7200 else f"{spent / 3600:.1f} h"
        assert f"time of all {kind} trials{told}" in "".join(page.text["provenance"].split("\n"))


def test_heights_of_the_parallel_lines(workspace: Path, page: Page) -> None:
    params = {trial.number: trial.params for trial in load(workspace, "crf").trials}
    heights = {
        trace["customdata"][place]: trace["y"][place]
        for trace in page.figures()["crf-parallel"]["data"]
        for place, axis in enumerate(trace["x"])
        if axis == 0
    }
    sigma = {number: np.log(params[number]["sigma_alpha"]) for number in heights}
    low, high = min(sigma.values()), max(sigma.values())
    assert len(heights) > 20
    assert heights == {n: pytest.approx((s - low) / (high - low), abs=1e-3) for n, s in sigma.items()}
