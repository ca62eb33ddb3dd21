"""Classes that nothing scores, and why trials failed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from optuna.trial import TrialState

from objectives.records.read import read_studies
from reports.figures.classes import ClassScores, class_figure
from reports.overview.summary import summarise
from reports.page.build import render
from tests.support.fake_studies import CLASSES, CRF_SPACE, PUBLISHED, add, new_study, study_attrs

FIRST, SECOND = "memory ran out.", "the CAM scores are not finite."


def test_a_class_that_is_not_scored_is_named_so(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf", study_attrs("crf", CLASSES, unscored=[CLASSES[1]]))
    add(study, CRF_SPACE, PUBLISHED["IRN"], 0.6)
    (trial,) = read_studies(tmp_path)["crf"].trials
    assert trial.iou[CLASSES[1]] is None
    assert trial.iou[CLASSES[0]] is not None
    assert summarise(tmp_path)["studies"]["crf"]["unscored"] == [CLASSES[1]]
    assert f"Not scored: {CLASSES[1]}; the labels of val show it" in render(tmp_path, datetime.now(UTC))
    figure = class_figure("key", [ClassScores("IRN", "#000000", "circle", trial.iou)], "caption")
    assert f"{CLASSES[1]} not scored" in figure.description


def test_a_study_of_an_earlier_version_has_all_classes_scored(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    add(study, CRF_SPACE, PUBLISHED["IRN"], 0.6)
    assert read_studies(tmp_path)["crf"].unscored == []
    assert "Not scored" not in render(tmp_path, datetime.now(UTC))


def test_reasons_of_failed_trials_are_counted_the_newest_first(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    failed = {"state": TrialState.FAIL}
    add(study, CRF_SPACE, PUBLISHED["IRN"], None, reason=FIRST, **failed)
    add(study, CRF_SPACE, PUBLISHED["IRN"], None, reason=SECOND, **failed)
    add(study, CRF_SPACE, PUBLISHED["IRN"], None, reason=FIRST, **failed)
    add(study, CRF_SPACE, PUBLISHED["IRN"], None, reason="stopped.", interrupted=True, **failed)
    add(study, CRF_SPACE, PUBLISHED["IRN"], 0.6)
    assert summarise(tmp_path)["studies"]["crf"]["failures"] == [
        {"reason": FIRST, "trials": 2, "newest": 2},
        {"reason": SECOND, "trials": 1, "newest": 1},
    ]


@pytest.mark.parametrize("reason", [None, SECOND])
def test_a_failure_without_a_reason_is_counted_too(tmp_path: Path, reason: str | None) -> None:
    study = new_study(tmp_path, "crf")
    more = {"worker": {"host": "here"}} if reason is None else {"reason": reason}
    add(study, CRF_SPACE, PUBLISHED["IRN"], None, state=TrialState.FAIL, **more)
    (found,) = summarise(tmp_path)["studies"]["crf"]["failures"]
    assert found["reason"] == (reason or "no reason was noted")
