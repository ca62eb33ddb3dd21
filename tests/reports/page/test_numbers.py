"""Every number on the page is the one that the database gives, computed here by other means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
import pytest
from optuna.trial import FrozenTrial, TrialState

from objectives.records.ranking import rank_losses
from reports.overview.summary import summarise
from tests.support.report_page import Page
from tests.support.stored_scores import load, of_trial


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page.of(report)


def test_table_one_holds_the_means_over_equal_numbers_of_seeds(workspace: Path, page: Page) -> None:
    by_setting: dict[str, list[FrozenTrial]] = {}
    for trial in load(workspace, "loss").trials:
        if trial.state == TrialState.COMPLETE:
            by_setting.setdefault(trial.user_attrs["setting"], []).append(trial)
    expected = {
        "Cross-entropy": "loss=cross-entropy",
        "Class-weighted cross-entropy": "loss=focal gamma=0.0 alpha=1.0",
        "Focal": "loss=focal gamma=0.62 alpha=0.31",
        "Lovász-Softmax": "loss=lovasz_softmax",
    }
    head, *rows = page.table("table-one", "Loss")
    assert head[1:4] == ["miou_paper", "miou", "miou_multiclass"]
    assert [row[0] for row in rows] == list(expected)
    for row in rows:
        # The seed of the first runs chose the focal setting, so it stands in no mean.
        runs = [run for run in by_setting[expected[row[0]]] if run.user_attrs["seed"] > 0]
        assert len(runs) == 3
        scores = [of_trial(run) for run in runs]
        shown = [cell.split()[0][:5] for cell in row[1:4]]
        assert shown == [f"{np.mean([s[name] for s in scores]):.3f}" for name in head[1:4]]
        every = [of_trial(run)["miou_multiclass"] for run in by_setting[expected[row[0]]]]
        assert row[4] == f"{np.mean(every):.3f} ± {np.std(every, ddof=1):.3f} (4 runs)"


def test_the_winner_is_the_one_that_the_study_hands_on(workspace: Path) -> None:
    comparison = rank_losses(load(workspace, "loss").trials)
    loss = summarise(workspace)["studies"]["loss"]
    winner = next(iter(comparison.rows.values()))
    assert loss["seeds"] == comparison.seeds == 3
    assert loss["best"]["trial"] == winner.all_runs[1].number
    assert loss["best"]["value"] == pytest.approx(winner.mean)
    assert loss["best"]["value"] == pytest.approx(np.mean([run.value for run in winner.all_runs[1:]]))


def test_settings_table_holds_tuned_and_untuned_scores_and_gains(workspace: Path, page: Page) -> None:
    trials = {t.number: t for t in load(workspace, "crf").trials}
    head, *rows = page.table("crf", "Setting")
    searched = [t for t in trials.values() if t.value is not None and "name" not in t.user_attrs]
    best = max(searched, key=lambda t: t.value or 0)
    assert {row[0] for row in rows} == {
        f"Tuned, best of {len([t for t in trials.values() if 'name' not in t.user_attrs])} searched",
        "no CRF",
        "w-s3Tseg",
        "IRN",
        "PSA",
        "DeepLab",
    }
    for row in rows:
        scores = of_trial(trials[int(row[1])])
        assert row[2:5] == [f"{scores[name]:.3f}" for name in head[2:5]]
        if row[0].startswith("Tuned"):
            assert int(row[1]) == best.number
        else:
            gain = of_trial(best)["miou_multiclass"] - scores["miou_multiclass"]
            assert row[6] == f"{gain:+.3f}".replace("-", "−")
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)


def test_parameters_table_holds_the_parameters(workspace: Path, page: Page) -> None:
    settings = page.table("crf", "Setting")[1:]
    trials = load(workspace, "crf").trials
    head, *rows = page.table("crf", "Parameter")
    assert len(head) == len(settings) + 1
    for row in rows:
        name = row[0].split()[0]
        for cell, setting in zip(row[1:], settings, strict=True):
            value = trials[int(setting[1])].params.get(name)
            assert cell == (
                "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
            )


@pytest.mark.parametrize("kind", ["crf", "loss"])
def test_trials_table_holds_every_trial(workspace: Path, page: Page, kind: str) -> None:
    tables: list[list[list[str]]] = []
    for row in page.rows["trials"]:
        if row[0] == "Trial":
            tables.append([])
        else:
            tables[-1].append(row)
    rows = tables[0 if kind == "crf" else 1]
    trials = load(workspace, kind).trials
    assert [int(row[0]) for row in rows] == [t.number for t in trials]
    words = {"COMPLETE": "complete", "FAIL": "failed", "PRUNED": "pruned"}
    for row, trial in zip(rows, trials, strict=True):
        assert row[1] == words[trial.state.name]
        if "confusions" in trial.user_attrs:
            scores = of_trial(trial)
            assert row[2:5] == [f"{scores[n]:.3f}" for n in ("miou_multiclass", "miou", "miou_paper")]
        else:
            assert row[2:5] == ["–"] * 3
        if trial.state != TrialState.COMPLETE:
            assert trial.user_attrs["reason"] in " ".join(row)
            assert trial.user_attrs["reason"] in page.text["trials"]


def test_head_says_what_the_tables_say(workspace: Path, page: Page) -> None:
    crf, loss = (summarise(workspace)["studies"][kind] for kind in ("crf", "loss"))
    text = page.text["in-short"]
    assert f"miou_multiclass {crf['best']['value']:.3f} on val" in text
    assert f"({crf['best_untuned']['name']}) {crf['best_untuned']['value']:.3f}" in text
    assert f"Lovász-Softmax is best with miou_multiclass {loss['best']['value']:.3f}" in text


def test_curves_are_the_means_of_the_runs(workspace: Path, page: Page) -> None:
    import json

    figures = page.figures()
    trials = [t for t in load(workspace, "loss").trials if t.params.get("loss") == "lovasz_softmax"]
    runs = [t.user_attrs["run"] for t in trials if t.user_attrs["seed"] > 0]
    lines = [
        [json.loads(line) for line in (workspace / run / "metrics.jsonl").read_text().splitlines()]
        for run in runs
    ]
    assert len(lines) == 3
    drawn = next(t for t in figures["loss-comparison-miou"]["data"] if t["name"] == "Lovász-Softmax")
    assert drawn["x"] == list(range(1, 41))  # ten epochs of warm-up, then thirty
    assert drawn["y"][:10] == [None] * 10
    assert drawn["y"][10:] == pytest.approx(
        [np.mean([line["miou"] for line in epoch]) for epoch in zip(*lines, strict=True)]
    )
    warm_up = (workspace / "runs" / "warm-up" / "metrics.jsonl").read_text().splitlines()
    losses = figures["loss-lovasz-softmax-losses"]["data"]
    classification = next(t for t in losses if t["name"] == "classification, val")
    expected = [json.loads(line)["val_loss_classification"] for line in warm_up]
    assert classification["y"][:10] == pytest.approx(expected)


def test_history_and_slices_hold_every_completed_trial(workspace: Path, page: Page) -> None:
    figures = page.figures()
    complete = [t for t in load(workspace, "crf").trials if t.state == TrialState.COMPLETE]
    values = sorted(t.value for t in complete)
    fence = values[len(values) // 20] - (values[-1] - values[len(values) // 20]) / 2
    floor = min(value for value in values if value >= fence)
    below = [t for t in complete if t.value < floor]
    assert below
    word = f"{len(below)} trial" + ("" if len(below) == 1 else "s")
    assert page.text["crf"].count(f"Triangles at the lower edge: {word} below {floor:.3f}.") == 2

    def shown(trial: Any) -> float:
        return max(trial.value, floor)

    def drawn(figure: dict[str, Any]) -> list[tuple[Any, float]]:
        points = [t for t in figure["data"] if t["mode"] == "markers"]
        return sorted((x, y) for t in points for x, y in zip(t["x"], t["y"], strict=True))

    assert drawn(figures["crf-history"]) == sorted((t.number, shown(t)) for t in complete)
    place = [row[0].split()[0] for row in page.table("crf", "Parameter")[1:]].index("sigma_beta")
    assert drawn(figures[f"crf-slice-{place}"]) == sorted(
        (t.params["sigma_beta"], shown(t)) for t in complete
    )


def test_importance_is_that_of_optuna(workspace: Path, page: Page) -> None:
    expected = optuna.importance.get_param_importances(
        load(workspace, "crf"), evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    bars = page.figures()["crf-importance"]["data"][0]
    assert dict(zip(bars["y"], bars["x"], strict=True)) == pytest.approx(expected)


def test_every_figure_is_a_valid_plotly_figure(page: Page) -> None:
    figures = page.figures()
    assert len(figures) > 20
    for figure in figures.values():
        go.Figure(figure)
