"""What a study has cost where programs died: no time is counted twice, none that nobody spent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from objectives.records.read import read_studies
from reports.page.build import render
from reports.sections.provenance import provenance
from reports.style.study_words import progress
from studies.trials.retry import requeue_dead_trials
from tests.support.fake_studies import CRF_SPACE, LOSS_SPACE, add, fill_crf, new_study
from tests.support.report_page import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
GONE = {"host": "another machine", "pid": 1, "started": "1"}
SECONDS = 4.0


def begun(study: optuna.Study, beta: float, **attrs: Any) -> None:
    """A trial that runs since the day before."""
    trial = create_trial(
        state=TrialState.RUNNING,
        params={"sigma_beta": beta},
        distributions={"sigma_beta": CRF_SPACE["sigma_beta"]},
        user_attrs={"worker": GONE, **attrs},
    )
    trial.datetime_start = datetime.now() - timedelta(days=1)
    study.add_trial(trial)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Eight searched trials and five published settings, of 4 s each."""
    study = new_study(tmp_path, "crf")
    fill_crf(study, searched=8)
    return study


def told(workspace: Path) -> Page:
    return Page(render(workspace, NOW))


def spent(page: Page) -> bool:
    """Whether the page tells the seconds of the trials that ended."""
    return f"time of all crf trials{13 * SECONDS:.1f} s" in "".join(page.text["provenance"].split("\n"))


@pytest.mark.parametrize("deaths", [0, 3], ids=["run again", "given up"])
def test_a_day_that_nobody_worked_is_not_counted(study: optuna.Study, tmp_path: Path, deaths: int) -> None:
    assert spent(told(tmp_path))
    begun(study, 5.0, deaths=deaths)
    requeue_dead_trials(study)
    assert spent(told(tmp_path))
    died = read_studies(tmp_path)["crf"].trials[13]
    assert died.state == ("failed" if deaths else "interrupted")
    assert died.seconds is None


def test_the_command_repeats_what_was_begun(study: optuna.Study, tmp_path: Path) -> None:
    def commands() -> str:
        return provenance(read_studies(tmp_path), tmp_path).command

    assert commands() == f"sonarseg tune crf {tmp_path.name}"
    add(new_study(tmp_path, "loss"), LOSS_SPACE, {"loss": "cross-entropy"}, 0.7, setting="c", seed=0)
    assert commands() == f"sonarseg tune all {tmp_path.name}"
    study.set_user_attr("warm_starts", ["/a/north bay/study.db", "postgresql://u@h/db (south)"])
    assert commands().splitlines() == [
        f"sonarseg tune all {tmp_path.name} --from 'north bay'",
        f"sonarseg tune all {tmp_path.name} --from south",
    ]


def test_no_character_of_the_settings_turns_others_around(study: optuna.Study, tmp_path: Path) -> None:
    study.set_user_attr("config", {"name": "a\u202eb é", "crf": {"trials": 9}})
    shown = provenance(read_studies(tmp_path), tmp_path).config
    assert json.loads(shown) == {"name": "a\N{REPLACEMENT CHARACTER}b é", "crf": {"trials": 9}}
    assert '\n  "crf": {\n    "trials": 9' in shown


def test_trials_that_are_run_again_are_counted_once(study: optuna.Study, tmp_path: Path) -> None:
    begun(study, 5.0)
    requeue_dead_trials(study)
    found = read_studies(tmp_path)["crf"]
    assert [trial.state for trial in found.trials[13:]] == ["interrupted", "waiting"]
    assert progress(found) == "crf: 13 trials, 13 scored in full"
    text = told(tmp_path).text
    assert "Tuned, best of 8 searched" in text["crf"]
    space = {"sigma_beta": CRF_SPACE["sigma_beta"]}
    add(study, space, {"sigma_beta": 5.0}, 0.5, retry_of=13)
    assert "Tuned, best of 9 searched" in told(tmp_path).text["crf"]
