"""The real surveys: read, checked, and nothing of theirs written."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sonarseg.survey.background import propose_background
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.guide import guide_image
from sonarseg.survey.importers.mask_labels import labels_from_masks
from sonarseg.survey.layout import classes_in_mask, open_survey
from sonarseg.survey.scaling import GreyScaling, fit_scaling

DATA = Path(__file__).parents[4] / "shared" / "data"
SURVEYS = {
    "sss-mallorca": ("sand", {"train": 148, "val": 46, "test": 42}),
    "sss-reservoir": (None, {"train": 255, "val": 36, "test": 86}),
    "fls-watertank": ("background", {"train": 220, "val": 50, "test": 80}),
}

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real surveys are not beside the repository"),
    pytest.mark.parametrize("name", SURVEYS),
]


def test_a_check_finds_no_problem(name: str) -> None:
    check = check_survey(DATA / name)
    assert check.problems == []
    assert {split: tally.tiles for split, tally in check.splits.items()} == SURVEYS[name][1]
    assert all(tally.masks == tally.tiles for tally in check.splits.values())
    assert all(set(tally.kinds) == {"8-bit grey"} for tally in check.splits.values())


def test_the_background_is_found(name: str) -> None:
    survey = open_survey(DATA / name)
    assert propose_background(survey) == SURVEYS[name][0]


def test_labels_follow_from_the_masks(name: str) -> None:
    """By the rule each survey states: 1 % of the pixels with data; for fls-watertank a single pixel."""
    survey = open_survey(DATA / name)
    from_masks = labels_from_masks(DATA / name, 0.0 if name == "fls-watertank" else 0.01)
    assert from_masks.keys() == survey.labels.keys()
    labelled = [name != survey.background for name in survey.classes]
    for tile, shown in from_masks.items():
        np.testing.assert_array_equal(shown[labelled], survey.labels[tile][labelled], err_msg=tile)


def test_labels_csv_is_read_cell_by_cell(name: str) -> None:
    survey = open_survey(DATA / name)
    with (DATA / name / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(survey.labels)
    for row in rows:
        for index, class_name in enumerate(survey.classes):
            if class_name in row:
                assert survey.labels[row["tile"]][index] == (row[class_name] == "1")


def test_pixels_scaling_and_guides(name: str) -> None:
    survey = open_survey(DATA / name)
    assert fit_scaling(survey) == GreyScaling()
    tile = survey.splits["val"][0]
    image, mask = survey.read_image(tile), survey.read_mask(tile)
    assert image.shape == mask.shape
    assert classes_in_mask(mask, survey.num_classes).any()
    for kind in ("raw", "log", "median", "lee"):
        assert guide_image(fit_scaling(survey).apply(image), kind).shape == image.shape


def test_the_fingerprint_is_stable(name: str) -> None:
    assert open_survey(DATA / name).fingerprint == open_survey(DATA / name).fingerprint
