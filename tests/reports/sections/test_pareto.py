"""A study that weighs quality against seconds: its Pareto front in report, dashboard and export."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from objectives.records.read import read_studies
from reports.dashboard.notes import write_dashboard_notes
from reports.export.files import export
from reports.figures.iterations import front, timed_trials
from reports.overview.summary import summarise
from reports.page.build import render
from tests.support.fake_studies import fill_crf, new_study
from tests.support.report_page import Page


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crf study of two objectives; a trial of it failed, one was never timed well."""
    workspace = tmp_path_factory.mktemp("weighed")
    small = optuna.create_study(direction="maximize")
    fill_crf(small)
    study = new_study(workspace, "crf", directions=("maximize", "minimize"))
    generator = np.random.default_rng(0)
    for trial in small.trials:
        values = None
        if trial.state is TrialState.COMPLETE:
            values = [trial.value, 0.0004 + 0.002 * trial.params["iterations"] * generator.uniform(0.8, 1.2)]
        study.add_trial(
            create_trial(
                state=trial.state,
                values=values,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=trial.user_attrs,
            )
        )
    return workspace


def unbeaten(study: optuna.Study) -> set[int]:
    """Trials of which no other is at least as good in both and better in one."""
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE]
    return {
        t.number
        for t in complete
        if not any(
            o.values[0] >= t.values[0] and o.values[1] <= t.values[1] and o.values != t.values
            for o in complete
        )
    }


def test_the_front_is_that_of_all_pairs(weighed: Path) -> None:
    opened = optuna.load_study(study_name="crf", storage=f"sqlite:///{weighed / 'study.db'}")
    expected = unbeaten(opened)
    study = read_studies(weighed)["crf"]
    assert {trial.number for trial in front(timed_trials(study))} == expected
    assert len(expected) > 2
    page = Page(render(weighed, datetime(2026, 1, 1, tzinfo=UTC)))
    best = max((t for t in opened.trials if t.values), key=lambda t: t.values[0])
    fastest = min((t for t in opened.trials if t.values), key=lambda t: t.values[1])
    assert f"(trial {best.number}) reaches miou_multiclass {best.values[0]:.3f}" in page.text["in-short"]
    offer = f"{len(expected)} settings lie on the Pareto front of quality and time, from "
    assert offer + f"{fastest.values[0]:.3f} in {fastest.values[1] * 1000:.1f} ms" in page.text["in-short"]
    figure = page.figures()["crf-front"]
    drawn = figure["data"][-1]
    assert list(zip(drawn["x"], drawn["y"], strict=True)) == [
        (t.values[1], t.values[0])
        for t in sorted((opened.trials[n] for n in expected), key=lambda t: t.values[1])
    ]
    assert figure["layout"]["xaxis"]["title"]["text"] == "seconds per tile"
    assert {"crf-importance", "crf-map", "crf-time"} <= set(page.figures())
    heads = next(row for row in page.rows["trials"] if row[0] == "Trial")
    assert "Time per tile" in heads


def test_the_dashboard_names_both_and_the_export_holds_both(weighed: Path, tmp_path: Path) -> None:
    write_dashboard_notes(weighed)
    opened = optuna.load_study(study_name="crf", storage=f"sqlite:///{weighed / 'study.db'}")
    assert opened.metric_names == ["miou_multiclass", "seconds per tile"]
    export(weighed, tmp_path, ["csv"])
    rows = list(csv.DictReader((tmp_path / "crf_trials.csv").open()))
    for row, trial in zip(rows, opened.trials, strict=True):
        values = [float(row[name]) for name in ("miou_multiclass", "seconds_a_tile") if row[name]]
        assert values == pytest.approx(trial.values or [])
    assert summarise(weighed)["studies"]["crf"]["best"]["value"] == max(
        trial.values[0] for trial in opened.trials if trial.values
    )
