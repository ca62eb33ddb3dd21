"""Tables of labels as people keep them."""

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from sonarseg.errors import UserError
from sonarseg.survey.importers.tables.labels import read_label_sheet, write_table_labels
from sonarseg.survey.layout import open_survey
from sonarseg.survey.pictures import write_png

# Classes of the four tiles that every good table below speaks of
TRUTH = {
    "line1-0001": {"Sand"},
    "line1-0002": {"Sand", "Ripples"},
    "line2-0001": {"Rock"},
    "line2-0002": {"Ripples", "Rock"},
}
CLASSES = ("Ripples", "Rock", "Sand")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    survey = tmp_path / "survey"
    (survey / "images").mkdir(parents=True)
    for tile in (*TRUTH, "line3-0001"):
        write_png(survey / "images" / f"{tile}.png", np.zeros((4, 4), dtype=np.uint8))
    (survey / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return survey


def book(
    path: Path, rows: Sequence[Sequence[object]], change: Callable[[openpyxl.Workbook], None] | None = None
) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    if change is not None:
        change(workbook)
    workbook.save(path)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def plain_csv(folder: Path) -> Path:
    return text(
        folder / "labels.csv",
        "tile,Ripples,Rock,Sand\nline1-0001,0,0,1\nline1-0002,1,0,1\nline2-0001,0,1,0\nline2-0002,1,1,0\n",
    )


def semicolons_with_mark_and_suffix(folder: Path) -> Path:
    return text(
        folder / "excel.csv",
        "\ufeffFile name;SAND;rock;ripples;Bemerkung\r\nline1-0001.tif;x;;;gut\r\n"
        "line1-0002.tif;X;;x;\r\nline2-0001.tif;;x;;\r\nline2-0002.tif;;x;x;\r\n",
    )


def tabs_in_windows_1252(folder: Path) -> Path:
    return text(
        folder / "tabs.txt",
        "Größe\tIMAGE\tRipples\tRock\tSand\n1\tD:\\sonar\\line1-0001.PNG\tno\tno\tyes\n2\tline1-0002.png\tyes\tno\tyes\n"
        "3\tline2-0001.png\tno\tyes\tno\n4\tline2-0002.png\tyes\tyes\tno\n",
        "cp1252",
    )


def utf_16_tabs(folder: Path) -> Path:
    return text(
        folder / "unicode.txt",
        "picture\tRipples\tRock\tSand\nline1-0001\tFALSE\tFALSE\tTRUE\nline1-0002\tTRUE\tFALSE\tTRUE\n"
        "line2-0001\tFALSE\tTRUE\tFALSE\nline2-0002\tTRUE\tTRUE\tFALSE\n",
        "utf-16",
    )


def percentages_with_decimal_commas(folder: Path) -> Path:
    return text(
        folder / "cover.csv",
        "id;filename;Sand;Ripples;Rock\n1;line1-0001;99,5;0,4;\n2;line1-0002;60;40;0\n3;line2-0001;0,0;0,1;99,9\n"
        "4;line2-0002;;12,5;87,5\n",
    )


def shares_of_one(folder: Path) -> Path:
    return text(
        folder / "shares.csv",
        "name,Sand,Ripples,Rock\nline1-0001,1,0,0\nline1-0002,.6,.4,0\nline2-0001,0,0,1.0\nline2-0002,0,0.02,0.98\n",
    )


def list_in_quotes(folder: Path) -> Path:
    return text(
        folder / "list.csv",
        'tile,classes\nline1-0001,Sand\nline1-0002,"Sand, Ripples"\nline2-0001,rock\n'
        'line2-0002,"Rock\nripples"\n',
    )


def list_by_bars_with_title(folder: Path) -> Path:
    return text(
        folder / "bars.csv",
        "sep=;\nSurvey of 2024;\n;\nTile;Sea floor\nfolder/line1-0001;Sand\nline1-0002;Sand | Ripples\n"
        "line2-0001;Rock\nline2-0002;Rock/Ripples\nelsewhere;Rock\n",
    )


def long_form(folder: Path) -> Path:
    return text(
        folder / "long.csv",
        "label,image\nSand,line1-0001.jpg\nSand,line1-0002.jpg\nRipples,line1-0002.jpg\nRock,line2-0001.jpg\n"
        "Ripples,line2-0002.jpg\nRock,line2-0002.jpg\n",
    )


def workbook_of_marks(folder: Path) -> Path:
    return book(
        folder / "marks.xlsx",
        [
            ["Labels of the survey"],
            [],
            ["Tile", "Depth (m)", "Sand", "Ripples", "Rock"],
            ["line1-0001", 12.5, 1, 0, 0],
            ["line1-0002", 13, True, True, False],
            ["line2-0001", None, 0, 0, 1],
            ["line2-0002", 7, 0, 1, 1],
            ["line3-0001", 8, None, None, None],
        ],
    )


def workbook_of_percentages(folder: Path) -> Path:
    def change(workbook: openpyxl.Workbook) -> None:
        for row in workbook.active.iter_rows(min_row=2, min_col=2):
            for cell in row:
                cell.number_format = "0.0%"
        workbook.create_sheet("Notes").append(["made by hand"])

    rows = [["Name", "Sand", "Ripples", "Rock"], ["line1-0001", 1, 0, 0.009], ["line1-0002", 0.5, 0.5, 0]]
    rows += [["line2-0001", 0, 0, 1], ["line2-0002", 0, 0.01, 0.99]]
    return book(folder / "percent.xlsx", rows, change)


def list_in_a_workbook(folder: Path) -> Path:
    return book(
        folder / "list.xlsx",
        [
            ["Picture", "Checked", "Class"],
            ["line1-0001.tiff", "x", "sand"],
            ["line1-0002.tiff", "x", "Sand; Ripples"],
            ["line2-0001.tiff", None, "Rock"],
            ["line2-0002.tiff", "x", "ripples, ROCK"],
        ],
    )


GOOD = [
    plain_csv,
    semicolons_with_mark_and_suffix,
    tabs_in_windows_1252,
    utf_16_tabs,
    percentages_with_decimal_commas,
    shares_of_one,
    list_in_quotes,
    list_by_bars_with_title,
    long_form,
    workbook_of_marks,
    workbook_of_percentages,
    list_in_a_workbook,
]


@pytest.mark.parametrize("classes", ["known", "told by the table"])
@pytest.mark.parametrize("make", GOOD)
def test_tables_as_people_keep_them(
    root: Path, tmp_path: Path, make: Callable[[Path], Path], classes: str
) -> None:
    if classes != "known":
        (root / "classes.txt").unlink()
    found = read_label_sheet(make(tmp_path), root)
    assert found.problems == ()
    assert found.unlabelled == ("line3-0001",)
    write_table_labels(root, found)
    survey = open_survey(root)
    assert {name.casefold() for name in survey.classes} == {name.casefold() for name in CLASSES}
    if classes == "known":
        assert survey.classes == CLASSES
    for tile, shown in TRUTH.items():
        names = {survey.classes[index].capitalize() for index in np.flatnonzero(survey.labels[tile])}
        assert names == shown, tile


def test_what_was_understood_is_told(root: Path, tmp_path: Path) -> None:
    found = read_label_sheet(list_by_bars_with_title(tmp_path), root)
    assert found.counts() == {"Ripples": 2, "Rock": 2, "Sand": 2}
    assert found.missing == ("elsewhere",)
    found = read_label_sheet(tabs_in_windows_1252(tmp_path), root)
    assert found.passed_over == ("Größe",)
    assert "read as Windows-1252" in found.notes


def merged(workbook: openpyxl.Workbook) -> None:
    workbook.active.merge_cells("B2:B3")


def formula(workbook: openpyxl.Workbook) -> None:
    workbook.active["B2"] = "=1-C2"


def damaged_book(folder: Path) -> Path:
    path = plain_book(folder)
    content = bytearray(path.read_bytes())
    part = content.index(b"xl/workbook.xml")
    content[part + 20 : part + 60] = bytes(40)
    path.write_bytes(content)
    return path


def plain_book(folder: Path) -> Path:
    return book(folder / "damaged.xlsx", [["tile", *CLASSES], ["line1-0001", 0, 0, 1]])


HEADER = "tile,Ripples,Rock,Sand\n"
BAD: dict[str, tuple[str | bytes | Callable[[Path], Path], list[str]]] = {
    "no tile column": ("where,Ripples,Rock,Sand\na,1,0,0\n", ["no column of tile names", '"where, Ripples']),
    "no class column": ("tile,depth\nline1-0001,12\nline1-0002,13\n", ['row 2, column "depth": found "12"']),
    "two possible": ("tile,colour,haul\nline1-0001,red,a\n", ["no column of classes", '"colour", "haul"']),
    "class without column": ("tile,Ripples,Rock,Snad\nline1-0001,0,0,1\n", ['the class "Sand"', '"Snad"']),
    "class twice": (
        "tile,Ripples,Rock,Sand,sand\nline1-0001,0,0,1,1\n",
        ['two columns for the class "Sand"'],
    ),
    "odd value": (
        HEADER + "line1-0001,0,0,1\nline1-0002,0,2,1\n",
        ['row 3, column "Rock": found "2"', "1 or 0"],
    ),
    "half a row": (HEADER + "line1-0001,0,,1\n", ['row 2, column "Rock": found ""', "expected 1 or 0"]),
    "above 100": (HEADER + "line1-0001,0,40,60\nline1-0002,0,140,0\n", ['found "140"', "from 0 to 100"]),
    "a scale": (HEADER + "line1-0001,0,4,5\nline1-0002,2,3,0\n", ["neither 0 and 1 nor percentages"]),
    "tile twice": (HEADER + "line1-0001,0,0,1\nline1-0001.tif,0,1,0\n", ["row 3", "line1-0001 has row 2"]),
    "list twice": ('tile,class\nline1-0001,"Sand, Rock"\nline1-0001,Rock\n', ["row 3", "has row 2"]),
    "no name": (HEADER + ",0,0,1\n", ['row 2, column "tile": found nothing']),
    "unknown class": ("tile,classes\nline1-0001,Snad\n", ['found "Snad"', "expected Sand, perhaps"]),
    "no quotes": ("tile,classes\nline1-0001,Sand, Rock\n", ["row 2 has 3 cells, the header has 2"]),
    "other tiles": (HEADER + "a,0,0,1\nb,0,0,1\n", ["none of its 2 names", '"a"', '"line1-0001"']),
    "no labels": (HEADER + "line1-0001,,,\n", ["labels no tile"]),
    "empty": ("", ["is empty"]),
    "no text": (b"\x00\x01\x02", ["is no text"]),
    "a stray quotation mark": (HEADER + '"line1-000,0,0,1\nline1-0002,0,0,1\n', ["labels no tile"]),
    "unknown encoding": (codecs.BOM_UTF16_LE + b"\x00", ["encoding"]),
    "damaged workbook": (b"PK\x03\x04nothing", ["cannot be read as an Excel workbook"]),
    "old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ["old Excel file"]),
    "damaged part of a workbook": (damaged_book, ["cannot be read as an Excel workbook"]),
    "merged cells": (
        lambda folder: book(
            folder / "m.xlsx", [["tile", "class"], ["line1-0001", "Sand"], ["line1-0002"]], merged
        ),
        ["merged cells in rows 2 to 3 (B2:B3)"],
    ),
    "formula": (
        lambda folder: book(folder / "f.xlsx", [["tile", *CLASSES], ["line1-0001", 0, 0, 1]], formula),
        ["row 2, column B", "the formula has no value"],
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_faults_are_one_sentence(root: Path, tmp_path: Path, fault: str) -> None:
    content, words = BAD[fault]
    table = tmp_path / "bad.csv"
    if callable(content):
        table = content(tmp_path)
    else:
        table.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as refused:
        write_table_labels(root, read_label_sheet(table, root))
    sentence = str(refused.value)
    assert str(table) in sentence
    assert "\n" not in sentence
    assert [word for word in words if word not in sentence] == []
    assert not (root / "labels.csv").exists()


def test_several_sheets_have_to_be_told_apart(root: Path, tmp_path: Path) -> None:
    def change(workbook: openpyxl.Workbook) -> None:
        sheet = workbook.create_sheet("second")
        sheet.append(["tile", *CLASSES])
        sheet.append(["line1-0002", 0, 1, 0])

    table = book(tmp_path / "two.xlsx", [["tile", *CLASSES], ["line1-0001", 0, 0, 1]], change)
    with pytest.raises(UserError, match=r"several tables of tiles \(Sheet, second\): name one with --sheet"):
        read_label_sheet(table, root)
    assert list(read_label_sheet(table, root, sheet="second").labels) == ["line1-0002"]
    with pytest.raises(UserError, match="no sheet third"):
        read_label_sheet(table, root, sheet="third")


def test_the_least_percentage(root: Path, tmp_path: Path) -> None:
    found = read_label_sheet(percentages_with_decimal_commas(tmp_path), root, least=20)
    assert found.labels["line2-0002"].tolist() == [False, True, False]
    with pytest.raises(UserError, match="--least is 101"):
        read_label_sheet(percentages_with_decimal_commas(tmp_path), root, least=101)


def test_the_background_needs_no_column(root: Path, tmp_path: Path) -> None:
    table = text(tmp_path / "t.csv", "tile,Ripples,Rock\nline1-0001,0,1\nline1-0002,1,0\n")
    write_table_labels(root, read_label_sheet(table, root, background="Sand"))
    assert open_survey(root).background == "Sand"
    with pytest.raises(UserError, match='"Mud" is not in'):
        read_label_sheet(table, root, background="Mud")
    (root / "classes.txt").unlink()
    assert read_label_sheet(table, root, background="Plain").classes == ("Plain", "Ripples", "Rock")


def test_lost_zeros_and_other_cases_are_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for tile in ("0012", "0013", "A_1", "a.b"):
        write_png(tmp_path / "images" / f"{tile}.png", np.zeros((4, 4), dtype=np.uint8))
    table = book(tmp_path / "t.xlsx", [["id", "rock"], [12, 1], [13.0, 0], ["a_1.BMP", 1], ["a.b", 0]])
    found = read_label_sheet(table, tmp_path)
    assert {tile: bool(shown[0]) for tile, shown in found.labels.items()} == {
        "0012": True,
        "0013": False,
        "A_1": True,
        "a.b": False,
    }


def test_labels_are_never_overwritten(root: Path, tmp_path: Path) -> None:
    (root / "labels.csv").write_text("mine")
    with pytest.raises(UserError, match="exists and is not overwritten"):
        write_table_labels(root, read_label_sheet(plain_csv(tmp_path), root))
    assert (root / "labels.csv").read_text() == "mine"


@pytest.mark.parametrize("known", [True, False])
def test_classes_that_differ_by_punctuation_alone_stay_apart(root: Path, tmp_path: Path, known: bool) -> None:
    (root / "classes.txt").write_text("rock+\nrock-\n")
    if not known:
        (root / "classes.txt").unlink()
    found = read_label_sheet(
        text(tmp_path / "t.csv", "tile,class\nline1-0001,rock+\nline1-0002,Rock-\n"), root
    )
    assert found.labels["line1-0001"].tolist() == [True, False]
    assert found.labels["line1-0002"].tolist() == [False, True]
