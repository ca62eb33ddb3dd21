"""Trials that another program added to a study: left out of every figure, and said."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.records.foreign import is_foreign
from objectives.records.read import read_studies
from reports.dashboard.notes import write_dashboard_notes
from reports.export.files import export
from reports.overview.summary import summarise
from reports.page.build import render
from reports.style.study_words import foreign_note
from sonarseg.metrics.confusion import pack_confusions
from tests.support.fake_studies import CLASSES, CRF_SPACE, LOSS_SPACE, TILES, add, confusions, new_study
from tests.support.report_page import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ATTRS = {"kind": "crf", "tiles": TILES, "survey": {"classes": CLASSES}}


def own_trial(tmp_path: Path, kind: str = "crf") -> FrozenTrial:
    study = new_study(tmp_path / "own", kind)
    params = {} if kind == "crf" else {"loss": "focal", "gamma": 2.0, "alpha": 0.5}
    add(study, CRF_SPACE if kind == "crf" else LOSS_SPACE, params, 0.7)
    return study.get_trials()[0]


def _bare(trial: FrozenTrial) -> None:
    trial.user_attrs = {}


def _value(value: float) -> Callable[[FrozenTrial], None]:
    def change(trial: FrozenTrial) -> None:
        trial._values = [value]

    return change


def _confusions(packed: object) -> Callable[[FrozenTrial], None]:
    def change(trial: FrozenTrial) -> None:
        trial.user_attrs["confusions"] = packed

    return change


def _attribute(name: str, value: object) -> Callable[[FrozenTrial], None]:
    def change(trial: FrozenTrial) -> None:
        trial.user_attrs[name] = value

    return change


def _other_params(trial: FrozenTrial) -> None:
    trial.params, trial.distributions = {"x": 1.0}, {"x": FloatDistribution(0, 2)}


def _two_values(trial: FrozenTrial) -> None:
    trial._values = [0.9, 0.1]


def _no_value(trial: FrozenTrial) -> None:
    trial._values = None


def _failed(trial: FrozenTrial) -> None:
    _bare(trial)
    trial.state = TrialState.FAIL


def _pruned(trial: FrozenTrial) -> None:
    _bare(trial)
    trial.state = TrialState.PRUNED


def _running(trial: FrozenTrial) -> None:
    _bare(trial)
    trial.state = TrialState.RUNNING


@pytest.mark.parametrize(
    "change",
    [
        _bare,
        _value(math.inf),
        _value(-math.inf),
        _value(math.nan),
        _confusions(None),
        _confusions(7),
        _confusions("no confusions"),
        _confusions(pack_confusions(confusions(0.7, 0)[:3])),
        _confusions(pack_confusions(confusions(0.7, 0)[:, :2, :2])),
        _attribute("curve", "zzz"),
        _attribute("curve", math.nan),
        _attribute("curve", ["zzz"]),
        _attribute("derived_from", [1]),
        _attribute("seconds", "long"),
        _attribute("metrics", "good"),
        _other_params,
        _two_values,
        _no_value,
        _failed,
        _pruned,
        _running,
    ],
)
def test_what_is_foreign(tmp_path: Path, change: Callable[[FrozenTrial], None]) -> None:
    trial = own_trial(tmp_path)
    assert not is_foreign(trial, ATTRS)
    foreign = copy.deepcopy(trial)
    change(foreign)
    assert is_foreign(foreign, ATTRS)


@pytest.mark.parametrize("missing", ["setting", "run"])
def test_a_loss_trial_without_its_notes_is_foreign(tmp_path: Path, missing: str) -> None:
    attrs, trial = {**ATTRS, "kind": "loss"}, own_trial(tmp_path, "loss")
    assert not is_foreign(trial, attrs)
    del trial.user_attrs[missing]
    assert is_foreign(trial, attrs)


def test_what_waits_or_has_begun_to_wait_is_not_foreign() -> None:
    waiting = create_trial(state=TrialState.WAITING)
    running = create_trial(state=TrialState.RUNNING)
    assert not is_foreign(waiting, ATTRS)
    assert not is_foreign(running, ATTRS)


@pytest.fixture
def visited(tmp_path: Path) -> Path:
    """A workspace with one good trial a study, and three from elsewhere."""
    for kind, space, params in (("crf", CRF_SPACE, {}), ("loss", LOSS_SPACE, {"loss": "cross-entropy"})):
        study = new_study(tmp_path, kind)
        add(study, space, params, 0.7)
        trial = study.get_trials()[0]
        for value in (0.99, math.inf):
            study.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=value))
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={0: math.inf}))
    return tmp_path


def test_they_are_in_no_figure_and_said_everywhere(visited: Path) -> None:
    sentence = "3 trials were added by another program: left out (trials 1, 2 and 3)"
    for study in read_studies(visited).values():
        assert [trial.number for trial in study.trials] == [0]
        assert [trial.number for trial in study.frozen] == [0]
        assert foreign_note(study.foreign) == sentence
    for facts in summarise(visited)["studies"].values():
        assert facts["best"]["trial"] == 0
        assert facts["left_out"] == [1, 2, 3]
    page = Page(render(visited, NOW))
    for part in ("in-short", "trials"):
        assert page.text[part].count(sentence) == 2
    write_dashboard_notes(visited)
    study = optuna.load_study(study_name="crf", storage=f"sqlite:///{visited / 'study.db'}")
    attrs = study._storage.get_study_system_attrs(study._study_id)
    notes = [str(text) for key, text in attrs.items() if "note" in key]
    assert any("3 trials were added by another program" in note for note in notes)


def test_they_are_not_exported(visited: Path, tmp_path: Path) -> None:
    export(visited, tmp_path / "out", ["csv"])
    for kind in ("crf", "loss"):
        assert len((tmp_path / "out" / f"{kind}_trials.csv").read_text().splitlines()) == 2
