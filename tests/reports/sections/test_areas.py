"""Area per class: of the maps that were written, else of val as the best run predicts it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objectives.records.read import read_studies
from reports.page.build import render
from reports.sections.areas import class_areas
from reports.sections.loss import loss_section
from sonarseg.class_colours import class_colour
from sonarseg.errors import UserError
from tests.support.fake_studies import CLASSES, new_study, study_attrs
from tests.support.report_page import Page

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace, tmp_path / "copied"))


def test_the_best_run_s_predictions_of_val_are_counted(workspace: Path) -> None:
    loss = loss_section(read_studies(workspace)["loss"], workspace)
    winner = loss.table.winner(loss.study.metric)
    assert winner is not None
    confusions = winner.trials[0].confusions
    assert confusions is not None
    found = class_areas(workspace, loss, CLASSES)
    assert found is not None
    assert found.source.startswith("24 tiles of val")
    assert [row.pixels for row in found.rows] == confusions.sum(axis=0).sum(axis=0).tolist()
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert [row.colour for row in found.rows] == [class_colour(index) for index in range(4)]


def test_maps_that_were_written_are_counted_instead(copied: Path) -> None:
    table = copied / "maps" / "areas.csv"
    table.parent.mkdir()
    head = "tile," + ",".join(f"{name} (pixels)" for name in CLASSES)
    table.write_text(f"{head},mud (share)\na,10,20,0,0,0.3\nb,30,0,40,0,0.4\n", encoding="utf-8")
    page = Page(render(copied, NOW))
    rows = page.table("pictures", "Class")[1:]
    assert [[row[0].strip(), row[1], row[-1]] for row in rows] == [
        ["mud", "40.0 %", "40"],
        ["sand ripples", "20.0 %", "20"],
        ["rock", "40.0 %", "40"],
        ["seagrass", "0.0 %", "0"],
    ]
    assert "2 tiles mapped by sonarseg predict (maps/areas.csv)" in page.text["pictures"]
    table.write_text("tile,mud (pixels)\na,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"areas\.csv .*it counts 1 class, not 4"):
        render(copied, NOW)


def test_pixels_without_data_are_no_area(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    head = "tile,mud (pixels),rock (pixels),mud (share),rock (share),pixels without data"
    (tmp_path / "maps" / "areas.csv").write_text(f"{head}\na,10,30,0.25,0.75,500\n", encoding="utf-8")
    found = class_areas(tmp_path, None, ("mud", "rock"))
    assert found is not None
    assert [(row.pixels, row.share) for row in found.rows] == [(10, 0.25), (30, 0.75)]


def test_the_plain_run_of_a_survey_without_val_masks_is_counted(tmp_path: Path) -> None:
    assert class_areas(tmp_path, None, CLASSES) is None
    new_study(tmp_path, "loss", study_attrs("loss", CLASSES, untuned="val has no masks"))
    masks = tmp_path / "runs" / "final" / "masks"
    masks.mkdir(parents=True)
    Image.fromarray(np.array([[0, 0, 1, 255]], dtype=np.uint8)).save(masks / "a.png")
    Image.fromarray(np.array([[3, 0, 1, 1]], dtype=np.uint8)).save(masks / "b.png")
    loss = loss_section(read_studies(tmp_path)["loss"], tmp_path)
    found = class_areas(tmp_path, loss, CLASSES)
    assert found is not None
    assert [row.pixels for row in found.rows] == [3, 3, 0, 1]
    assert "2 tiles of val as the run predicts them" in Page(render(tmp_path, NOW)).text["pictures"]
    (masks / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.png cannot be read"):
        class_areas(tmp_path, loss, CLASSES)
