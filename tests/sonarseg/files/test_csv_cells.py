import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.files.csv_cells import as_named, inert, write_csv
from sonarseg.prediction import _write_areas
from sonarseg.survey.importers.mask_labels import write_labels
from sonarseg.survey.layout import open_survey
from sonarseg.survey.splits.strips_from_names import write_groups

RUN = ["=1+1", "+1", "-x", "@SUM(A1)", "\tx", "\rx", " =1", "\t=1", "＝1", "'=1", "''@x", '=cmd|"/c calc"!A0']
HARMLESS = ["rock", "a=b", "a-b", "'rock'", "", "1", "Lovász"]


@pytest.mark.parametrize("text", RUN)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe_that_the_reader_takes_away(text: str) -> None:
    assert inert(text) == f"'{text}"
    assert as_named(f"'{text}") == text


@pytest.mark.parametrize("cell", [*HARMLESS, -0.5, -3, 0, None, float("-inf")])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert inert(cell) is cell
    if isinstance(cell, str):
        assert as_named(cell) == cell


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["tile", "=x"], ["-t", -0.5]])
    assert path.read_text() == "tile,'=x\n'-t,-0.5\n"

    def broken() -> object:
        yield ["tile"]
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_csv(path, broken())  # type: ignore[arg-type]
    assert path.read_text() == "tile,'=x\n'-t,-0.5\n"
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def test_areas_are_inert(tmp_path: Path) -> None:
    _write_areas(tmp_path / "areas.csv", ("=1+1", "rock"), [["=cmd", 3, 1, 0.75, 0.25]])
    head, row = csv.reader((tmp_path / "areas.csv").open())
    assert head == ["tile", "'=1+1 (pixels)", "rock (pixels)", "'=1+1 (share)", "rock (share)"]
    assert row == ["'=cmd", "3", "1", "0.75", "0.25"]


def test_areas_tell_pixels_without_data_where_some_tile_has_them(tmp_path: Path) -> None:
    _write_areas(tmp_path / "areas.csv", ("mud",), [["a", 3, 1.0], ["b", 2, 1.0, 7]])
    head, *rows = csv.reader((tmp_path / "areas.csv").open())
    assert head[-1] == "pixels without data"
    assert [row[-1] for row in rows] == ["0", "7"]


def test_names_of_a_survey_come_back(tmp_path: Path) -> None:
    tiles, classes = ["=a", "-b", "@c", "'=d"], ["=mud", "+rock"]
    (tmp_path / "classes.txt").write_text("\n".join(classes))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index, tile in enumerate(tiles):
            pixels = np.full((4, 4), index % 2, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{tile}.png")
    write_groups(tmp_path, {tile: f"+strip {tile}" for tile in tiles})
    text = write_labels(tmp_path).read_text()
    assert text.splitlines()[0] == "tile,'=mud,'+rock"
    assert all(line.startswith("'") for line in text.splitlines()[1:])
    survey = open_survey(tmp_path)
    assert {tile: shown.tolist() for tile, shown in survey.labels.items()} == {
        tile: [index % 2 == 0, index % 2 == 1] for index, tile in enumerate(tiles)
    }
    assert survey.groups == {tile: f"+strip {tile}" for tile in tiles}
    # A person writes them as they are.
    (tmp_path / "labels.csv").write_text(text.replace("'=mud", "=mud").replace("\n'-b", "\n-b"))
    assert open_survey(tmp_path).labels.keys() == survey.labels.keys()
