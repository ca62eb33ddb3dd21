"""Where all settings score alike, nothing is drawn of the parameters, and a note says why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from optuna.trial import create_trial

from reports.figures.base import whole_ticks
from reports.page.build import render
from reports.sections.crf import LEAST_SPREAD
from tests.support.fake_studies import CLASSES, CRF_SPACE, new_study, study_attrs
from tests.support.report_page import Page

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF_PARAMETERS = {"crf-importance", "crf-map", "crf-slice-0"}


def page_of_spread(workspace: Path, spread: float) -> Page:
    """A crf study of 25 searched trials whose scores differ by `spread`."""
    attrs = study_attrs("crf", CLASSES, tiles=[], groups=[])
    study = new_study(workspace, "crf", attrs)
    for number in range(25):
        params = {
            "sigma_alpha": 5.0 + number,
            "sigma_beta": 2.0 + number * 7 % 25,
            "iterations": 1 + number % 9,
        }
        distributions = {name: CRF_SPACE[name] for name in params}
        value = 0.6 + spread * number / 24
        marks = {"worker": {"host": "here"}}
        study.add_trial(
            create_trial(value=value, params=params, distributions=distributions, user_attrs=marks)
        )
    return Page(render(workspace, NOW))


def test_scores_that_hardly_differ_tell_nothing_of_the_parameters(tmp_path: Path) -> None:
    flat = page_of_spread(tmp_path / "flat", 0.9 * LEAST_SPREAD)
    assert not OF_PARAMETERS & set(flat.figures())
    assert "crf-history" in flat.figures()
    assert "the 25 completed trials differ by 0.0045 in miou_multiclass at most" in flat.text["crf"]
    steep = page_of_spread(tmp_path / "steep", 1.1 * LEAST_SPREAD)
    assert set(steep.figures()) >= OF_PARAMETERS
    assert "at most" not in steep.text["crf"]


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [(0, 0, 1), (1, 3, 1), (10.5, 20.5, 2), (0, 15, 2), (10.5, 40.5, 5), (1, 200, 50)],
)
def test_ticks_lie_at_whole_numbers(low: float, high: float, step: int) -> None:
    assert whole_ticks(low, high) == {"tick0": 0, "dtick": step}


def test_no_epoch_iteration_or_trial_is_half_a_one(report: Path) -> None:
    counted = [
        axis
        for figure in Page.of(report).figures().values()
        for name, axis in figure["layout"].items()
        if name.startswith("xaxis") and axis["title"]["text"] in ("epoch", "trial", "mean-field iterations")
    ]
    assert len(counted) > 5
    assert all(isinstance(axis["dtick"], int) and axis["tick0"] == 0 for axis in counted)


def test_the_paper_is_named(report: Path) -> None:
    text = " ".join(Page.of(report).text["table-one"].split())
    assert "Nwafor, M. F. Akram, E. Hidri, Weakly Supervised Sea-floor Segmentation" in text
    assert "The paper" not in text
