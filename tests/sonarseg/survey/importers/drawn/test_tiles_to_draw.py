"""Tiles of a survey for drawing programs."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.masks import read_drawn, write_drawn
from sonarseg.survey.importers.drawn.tiles_to_draw import export_tiles
from sonarseg.survey.layout import open_survey
from sonarseg.survey.pictures import read_mask_file
from tests.support.drawn_files import label_studio_result, packed_brush

CLASSES = ("Sand", 'Rock & "weed"')
SIZE = (8, 10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    survey = tmp_path / "survey"
    (survey / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for tile in ("ü 1", "a.png"):
        levels = rng.integers(3000, 5000, SIZE).astype(np.uint16)
        tifffile.imwrite(survey / "images" / f"{tile}.tif", levels)
    (survey / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return survey


def test_deep_tiles_become_pictures_of_8_bits(root: Path, tmp_path: Path) -> None:
    assert export_tiles(open_survey(root), tmp_path / "out") == 2
    for tile in ("ü 1", "a.png"):
        picture = Image.open(tmp_path / "out" / "images" / f"{tile}.png")
        assert picture.mode == "L"
        assert picture.size == SIZE[::-1]
        assert np.ptp(np.asarray(picture)) > 200


def test_programs_read_the_classes(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_tiles(open_survey(root), out)
    names = [*CLASSES, "no data"]
    assert (out / "labelme-labels.txt").read_text().splitlines() == names
    assert [label["name"] for label in json.loads((out / "cvat-labels.json").read_text())] == names
    config = ElementTree.parse(out / "label-studio-config.xml").getroot()
    for tool in ("PolygonLabels", "RectangleLabels", "BrushLabels"):
        assert [label.get("value") for label in config.find(tool) or ()] == names


def test_tasks_of_label_studio_come_back_as_masks(root: Path, tmp_path: Path) -> None:
    export_tiles(open_survey(root), tmp_path / "out")
    tasks = json.loads((tmp_path / "out" / "label-studio-tasks.json").read_text())
    layer = np.zeros(SIZE, dtype=bool)
    layer[2:5, 3:] = True
    for number, task in enumerate(tasks):
        brush = label_studio_result("brush", CLASSES[1], SIZE, {"format": "rle", "rle": packed_brush(layer)})
        task |= {"id": number, "annotations": [{"result": [brush]}]}
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    write_drawn(root, read_drawn(tmp_path / "export.json", root, "label-studio", rest="Sand"))
    for tile in ("ü 1", "a.png"):
        np.testing.assert_array_equal(read_mask_file(root / "masks" / f"{tile}.png"), layer)


def test_chosen_tiles_alone(root: Path, tmp_path: Path) -> None:
    assert export_tiles(open_survey(root), tmp_path / "out", ["a.png"]) == 1
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["a.png.png"]
    with pytest.raises(UserError, match="no tile to export"):
        export_tiles(open_survey(root), tmp_path / "none", [])


def test_a_folder_that_holds_something_is_left_alone(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an empty folder"):
        export_tiles(open_survey(root), root)
    assert (root / "classes.txt").exists()
