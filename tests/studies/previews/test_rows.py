"""Picture rows: chosen by rule, the worst result among them, kept where the survey is away."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.densecrf.published import NO_CRF, published
from sonarseg.survey.pictures import write_index_png
from sonarseg.survey.scaling import fit_scaling
from studies.commands.results.write import write_results
from studies.previews.rows import chosen_tiles, evenly_ranked, write_picture_rows
from studies.workspace import Workspace


def test_best_median_and_worst_gain_are_chosen() -> None:
    gains = [0.3, -0.1, 0.2, 0.0, 0.1]
    assert evenly_ranked(gains, 3) == [0, 4, 1]
    assert evenly_ranked(gains, 9) == [0, 2, 4, 3, 1]


@pytest.mark.parametrize("worst", [0, 1, 2, 3])
def test_the_tile_with_the_worst_prediction_is_shown(tuned: Workspace, tmp_path: Path, worst: int) -> None:
    survey = tuned.survey()
    tiles = [tile for tile in survey.splits["val"] if survey.has_mask(tile)]
    predictions = tmp_path / "masks"
    predictions.mkdir()
    for place, tile in enumerate(tiles):
        labels = survey.read_mask(tile).copy()
        labels[:2] = 1 - labels[:2]
        write_index_png(predictions / f"{tile}.png", 1 - labels if place == worst else labels)
    settings = {"CAM": published(NO_CRF, 1), "CRF": published("w-s3Tseg", 1)}
    folder = tmp_path / "pictures"
    write_picture_rows(folder, survey, tuned.cams_dir, fit_scaling(survey), settings, predictions, count=1)
    rows = json.loads((folder / "rows.json").read_text())["rows"]
    marked = sorted((row for row in rows if row["worst"]), key=lambda row: row["worst"])
    assert [row["worst"] for row in marked] == [1, 2, 3]
    assert marked[0]["tile"] == tiles[worst]
    shown = [{panel["title"]: panel["miou"] for panel in row["panels"]} for row in marked]
    assert shown[0]["prediction"] < 0.2
    assert [row["prediction"] for row in shown] == sorted(row["prediction"] for row in shown)
    assert [row["tile"] for row in rows if row["of_every_trial"]] == [
        row["tile"] for row in rows if row["tile"] in chosen_tiles(survey)
    ]
    assert {row["tile"] for row in rows} >= set(chosen_tiles(survey))


def test_the_cam_is_stored_as_strongest_class_and_strength(tuned: Workspace, tmp_path: Path) -> None:
    survey = tuned.survey()
    settings = {"CAM pseudo-label": published(NO_CRF, 1)}
    folder = tmp_path / "pictures"
    write_picture_rows(folder, survey, tuned.cams_dir, fit_scaling(survey), settings, None)
    row = json.loads((folder / "rows.json").read_text())["rows"][0]
    (panel,) = (panel for panel in row["panels"] if panel.get("kind") == "activation")
    stored = np.asarray(Image.open(folder / panel["file"]))
    scores = np.load(tuned.cams_dir / "val" / f"{row['tile']}.npy").astype(np.float32)
    np.testing.assert_array_equal(stored[..., 0], scores.argmax(axis=0))
    np.testing.assert_allclose(stored[..., 1] / 255, scores.max(axis=0), atol=0.5 / 255 + 1e-6)


def test_pictures_stay_where_the_survey_is_away(tuned: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tuned)
    before = {path.name: path.read_bytes() for path in tuned.pictures_dir.iterdir()}
    assert "rows.json" in before
    shutil.move(tuned.survey_path, tuned.survey_path.with_name("away"))
    written = write_results(tuned)
    assert {path.name: path.read_bytes() for path in tuned.pictures_dir.iterdir()} == before
    assert "the report keeps the pictures that were made before" in capsys.readouterr().out
    assert "picture-row" in written.read_text("utf-8")
