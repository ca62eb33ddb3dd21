"""What the report advises follows from the trials."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.page.build import render
from tests.support.fake_studies import CLASSES, CRF_SPACE, add, new_study, study_attrs
from tests.support.report_page import Page

TRIALS = 40


def advice(workspace: Path, qualities: list[float]) -> str:
    """What a report says of a crf study whose searched trials have these qualities, in order."""
    study = new_study(workspace, "crf")
    named = {"name": "no CRF", "enqueued": True}
    add(study, CRF_SPACE, {"sigma_alpha": 10.0, "iterations": 0}, 0.4, **named)
    for quality in qualities:
        add(study, CRF_SPACE, {"sigma_alpha": 10.0, "iterations": 3}, quality)
    return Page(render(workspace, datetime(2026, 11, 23, tzinfo=UTC))).text["in-short"]


@pytest.mark.parametrize(
    ("best_at", "gain", "told"),
    [(38, 0.2, "place 39 of 40"), (32, 0.2, "place 33 of 40"), (20, 0.2, None), (38, 0.0005, None)],
)
def test_only_a_late_gain_worth_having_asks_for_more_trials(
    tmp_path: Path, best_at: int, gain: float, told: str | None
) -> None:
    text = advice(tmp_path, [0.6 + gain * (number == best_at) for number in range(TRIALS)])
    assert ("came late" in text) == (told is not None)
    if told is not None:
        assert told in text


def test_a_short_study_is_not_called_late(tmp_path: Path) -> None:
    assert "came late" not in advice(tmp_path, [0.6] * 18 + [0.8])


@pytest.mark.parametrize(("val", "told"), [(0, "`sonarseg init SURVEY --resplit`"), (12, "then tune again")])
def test_a_survey_without_masks_is_told_how_to_get_scores(tmp_path: Path, val: int, told: str) -> None:
    survey = {"name": "bay", "classes": CLASSES, "tiles": {"train": 30, "val": val, "test": 0}}
    attrs = study_attrs("crf", CLASSES, untuned="nothing scores it.", tiles=[], survey=survey)
    new_study(tmp_path, "crf", attrs)
    text = Page(render(tmp_path, datetime(2026, 11, 23, tzinfo=UTC))).text["in-short"]
    assert told.replace("`", "") in text.replace("`", "")
