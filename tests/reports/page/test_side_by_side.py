"""Studies side by side: what is said of comparing them, and every value straight from the databases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from reports.page.build import render_side_by_side
from tests.support.fake_studies import add, new_study
from tests.support.fake_workspace import full_workspace
from tests.support.report_page import Page
from tests.support.stored_scores import load, of_trial

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def change_survey(workspace: Path, **more: str) -> None:
    for kind in ("crf", "loss"):
        study = optuna.load_study(study_name=kind, storage=f"sqlite:///{workspace / 'study.db'}")
        study.set_user_attr("survey", study.user_attrs["survey"] | more)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of another survey."""
    made = full_workspace(tmp_path_factory.mktemp("other") / "elsewhere")
    change_survey(made, name="elsewhere", fingerprint="1f")
    return made


def best(workspace: Path) -> FrozenTrial:
    trials = load(workspace, "crf").get_trials(states=(TrialState.COMPLETE,))
    return max(trials, key=lambda trial: trial.value)


def test_values_are_those_of_the_databases(workspace: Path, elsewhere: Path) -> None:
    page = Page(render_side_by_side([workspace, elsewhere], NOW))
    rows = {row[0]: row[1:] for row in page.rows["in-short"]}
    assert rows["survey"] == ["simulated-bay", "elsewhere"]
    sides = (workspace, elsewhere)
    assert rows["tiles scored"] == [str(len(load(side, "crf").user_attrs["tiles"])) for side in sides]
    crf = {row[0].strip(): row[1:] for row in page.rows["crf"]}
    beta = next(values for name, values in crf.items() if name.startswith("sigma_beta"))
    for place, side in enumerate(sides):
        trial = best(side)
        assert crf["best setting"][place].endswith(f"trial {trial.number}")
        for name in ("miou", "miou_multiclass", "miou_paper"):
            assert float(crf[name][place]) == pytest.approx(of_trial(trial)[name], abs=5e-4)
        assert float(beta[place]) == pytest.approx(trial.params["sigma_beta"], rel=5e-3)


def test_on_different_surveys_gains_are_drawn_not_scores(workspace: Path, elsewhere: Path) -> None:
    page = Page(render_side_by_side([workspace, elsewhere], NOW))
    assert "These studies are on different surveys" in page.text["in-short"]
    assert "one to one" not in page.text["in-short"]
    trials = load(workspace, "crf").get_trials(states=(TrialState.COMPLETE,))
    untuned = max(trial.value for trial in trials if trial.user_attrs.get("name"))
    expected = [max(t.value for t in trials[: place + 1]) - untuned for place in range(len(trials))]
    drawn = page.figures()["sides-history"]["data"][0]
    assert drawn["x"] == [trial.number for trial in trials]
    assert drawn["y"] == pytest.approx(expected)


def test_on_one_survey_scores_are_compared(workspace: Path, tmp_path: Path) -> None:
    other = full_workspace(tmp_path / "again")
    page = Page(render_side_by_side([workspace, other], NOW))
    assert "scores may be compared one to one" in page.text["in-short"]
    value = f"{best(workspace).value:.3f}"
    assert f"bay and again reach the same miou_multiclass, {value}." in page.text["in-short"]
    assert page.figures()["sides-history"]["data"][0]["y"][-1] == best(workspace).value


def test_unequal_numbers_of_seeds_are_compared_over_equally_many(workspace: Path, tmp_path: Path) -> None:
    one_seed = full_workspace(tmp_path / "one", seeds=1)
    page = Page(render_side_by_side([workspace, one_seed], NOW))
    assert "over 1 run of each" in page.text["in-short"]

    assert "on the tiles that chose both, which is no evidence" in page.text["in-short"]


def test_without_an_interval_nothing_is_left_of_it(tmp_path: Path) -> None:
    sides = []
    for name in ("few", "fewer"):
        study = new_study(tmp_path / name, "crf")
        study.set_user_attr("groups", ["one strip"] * len(study.user_attrs["tiles"]))
        for trial_name, beta in (("no CRF", 5.0), (None, 9.0)):
            named = {"name": trial_name} if trial_name else {}
            space = {"sigma_beta": FloatDistribution(1, 20)}
            add(study, space, {"sigma_beta": beta}, 0.5 + beta / 100, **named)
        sides.append(tmp_path / name)
    text = Page(render_side_by_side(sides, NOW)).text["crf"]
    assert "ahead of the best untuned, on the tiles that chose it" in text
    assert "gain of the search, on strips that did not choose" in text
    assert "95 %" not in text
