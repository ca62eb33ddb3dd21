"""What reports tell of a cam study: winner over equal seeds, untuned maps, swapped classes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from objectives.records.read import read_studies
from reports.dashboard.figures import dashboard_figures
from reports.dashboard.notes import study_note
from reports.dashboard.trial_notes import trial_note
from reports.export.tables import export_tables
from reports.findings.verdict import verdict
from reports.overview.cam_words import cam_sentence, lineage_words, swap_words
from reports.overview.summary import summarise
from reports.page.build import render
from reports.sections.cam import cam_section
from tests.support.fake_studies import add, confusions, fill_crf, new_study

SPACE: dict[str, BaseDistribution] = {
    "loss": CategoricalDistribution(("candidate", "binary")),
    "binary_form": CategoricalDistribution(("tile-max", "survey-max")),
    "form": CategoricalDistribution(("softmax", "survey-max", "tile-max")),
    "presence_weight": FloatDistribution(0.2, 1.0),
    "top_share": FloatDistribution(0.15, 0.5),
    "temperature": FloatDistribution(0.3, 1.0),
    "warmup_rate": FloatDistribution(1e-3, 4e-3),
    "warmup_epochs": IntDistribution(5, 20),
}
BINARY: dict[str, Any] = {
    "loss": "binary",
    "binary_form": "tile-max",
    "warmup_rate": 2e-3,
    "warmup_epochs": 10,
}
CANDIDATE: dict[str, Any] = {
    "loss": "candidate",
    "form": "softmax",
    "presence_weight": 1.0,
    "top_share": 0.3,
    "temperature": 0.5,
    "warmup_rate": 2e-3,
    "warmup_epochs": 10,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two named settings and one that was searched, two seeds each; the classes of one run have swapped."""
    folder = tmp_path_factory.mktemp("cam")
    study = new_study(folder, "cam")
    searched = CANDIDATE | {"top_share": 0.4}
    for seed in (0, 1):
        for name, params, quality in (
            ("w-s3Tseg", BINARY, 0.55),
            ("candidate loss", CANDIDATE, 0.7),
            (None, searched, 0.8),
        ):
            named = {"name": name} if name and not seed else {}
            attrs = {"seed": seed, "setting": str(sorted(params.items())), **named}
            add(study, SPACE, params, quality - 0.05 * seed, noise=seed, **attrs)
    swapped = confusions(0.9, 0)[:, :, [1, 0, 2, 3]]
    add(study, SPACE, CANDIDATE | {"top_share": 0.2}, None, matrices=swapped, seed=0, setting="swapped")
    crf = new_study(folder, "crf")
    crf.set_user_attr("cam", {"trial": 5, "params": searched})
    fill_crf(crf, searched=3)
    return folder


def test_means_over_equal_seeds_are_compared(workspace: Path) -> None:
    section = cam_section(read_studies(workspace)["cam"])
    # The swapped setting has one run, so one run of each is compared.
    assert section.best is not None and section.best.label == "trial 2"
    assert [len(row.trials) for row in section.rows] == [1, 1, 1, 1]
    assert section.untuned is not None and section.untuned.label == "candidate loss"
    sentence = cam_sentence(section)
    assert "(trial 2, one seed)" in sentence and "(candidate loss, one seed)" in sentence
    assert sentence.endswith("Those of trial 2, the median run, go on.")


def test_a_run_whose_classes_have_swapped_is_told(workspace: Path) -> None:
    study = read_studies(workspace)["cam"]
    expected = "In trial 6 classes have swapped: mud is called sand ripples and sand ripples is called mud."
    assert swap_words(cam_section(study)) == expected
    page = render(workspace, datetime(2026, 1, 1, tzinfo=UTC))
    assert page.count(expected) >= 2
    assert "classes have swapped" in (trial_note(study, study.trials[6]) or "")
    assert summarise(workspace)["studies"]["cam"]["swapped"] == [expected]


def test_page_note_figures_and_export_hold_the_study(workspace: Path) -> None:
    studies = read_studies(workspace)
    page = render(workspace, datetime(2026, 1, 1, tzinfo=UTC))
    for text in ('id="cam"', ">best maps<", "Cam study", "w-s3Tseg"):
        assert text in page
    note = study_note(studies["cam"], workspace, verdict(studies, workspace))
    assert note.startswith("# Class activation maps of") and "Searches how the classification branch" in note
    assert list(dashboard_figures(studies["cam"], workspace)) == ["cam-confusion"]
    tables = export_tables(studies, workspace)
    assert len(tables["cam_trials"]) == 7 and np.isclose(tables["cam_trials"]["param/top_share"].max(), 0.4)


def test_the_lineage_is_told(workspace: Path) -> None:
    told = summarise(workspace)["studies"]
    assert told["crf"]["lineage"] == {"cam": 5} and told["cam"]["lineage"] == {}
    assert lineage_words({"cam": 5, "crf": 3}) == (
        "starts from the maps of cam trial 5 and the dense CRF of crf trial 3"
    )
    assert lineage_words({"crf": 3}) is None


def test_a_study_without_a_complete_trial_says_so(tmp_path: Path) -> None:
    new_study(tmp_path, "cam")
    section = cam_section(read_studies(tmp_path)["cam"])
    assert cam_sentence(section) == "No trial of the cam study has ended well yet."
    assert "The cam study holds no trial yet" in render(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_named_setting_of_the_best_mean_is_the_winner_and_the_untuned_one(tmp_path: Path) -> None:
    study = new_study(tmp_path, "cam")
    for seed, binary, candidate in ((0, 0.7, 0.8), (1, 0.75, 0.3)):
        for name, params, quality in (("w-s3Tseg", BINARY, binary), ("candidate loss", CANDIDATE, candidate)):
            named = {"name": name} if not seed else {}
            add(study, SPACE, params, quality, seed=seed, setting=name, **named)
    section = cam_section(read_studies(tmp_path)["cam"])
    assert section.best is section.untuned and section.untuned is not None
    assert section.untuned.label == "w-s3Tseg"
    assert "(w-s3Tseg, mean of 2 seeds)" in cam_sentence(section)
    assert "; they are untuned. Those of trial 0" in cam_sentence(section)
