"""The layout of the Girona framework."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sonarseg.errors import UserError
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.importers.girona import import_girona

TILES = {
    "train": {"t1": (1, 0, 0), "t2": (0, 1, 0), "t3": (1, 0, 1), "t4": (0, 1, 1)},
    "val": {"v1": (1, 1, 0), "v2": (0, 0, 1)},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, tiles in TILES.items():
        folder = tmp_path / "girona" / split
        for name in ("images/uni_class", "images/multi_class", "class_labels", "masks"):
            (folder / name).mkdir(parents=True)
        for tile, shown in tiles.items():
            kind = "multi_class" if sum(shown) > 1 else "uni_class"
            tifffile.imwrite(
                folder / "images" / kind / f"{tile}.tiff", rng.integers(0, 256, (8, 8), dtype=np.uint8)
            )
            mask = np.resize(np.flatnonzero(shown), (8, 8)).astype(np.uint8)
            tifffile.imwrite(folder / "masks" / f"{tile}.tiff", mask)
            rows = "".join(f"{index},{flag}\r\n" for index, flag in enumerate(shown))
            (folder / "class_labels" / f"{tile}.csv").write_text("class,presence\r\n" + rows, newline="")
    return tmp_path / "girona"


def test_everything_comes_over(source: Path, tmp_path: Path) -> None:
    survey = import_girona(source, tmp_path / "deep" / "survey")
    assert survey.root == (tmp_path / "deep" / "survey").resolve()
    assert survey.classes == ("class 0", "class 1", "class 2")
    assert survey.splits == {"train": ("t1", "t2", "t3", "t4"), "val": ("v1", "v2"), "test": ()}
    for tile, shown in (TILES["train"] | TILES["val"]).items():
        assert survey.labels[tile].astype(int).tolist() == list(shown)
    opened = survey.with_masks_of("train")
    original = source / "train" / "images" / "multi_class" / "t3.tiff"
    np.testing.assert_array_equal(opened.read_image("t3"), tifffile.imread(original))
    np.testing.assert_array_equal(
        opened.read_mask("t3"), tifffile.imread(source / "train" / "masks" / "t3.tiff")
    )
    check = check_survey(survey.root)
    assert check.problems == []
    assert any("The test split is empty" in note for note in check.notes)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["survey"]


def test_names_of_classes_are_kept(source: Path, tmp_path: Path) -> None:
    for path in source.rglob("*.csv"):
        text = path.read_text()
        path.write_text(text.replace("0,", "sand,", 1).replace("\n1,", "\nrock,").replace("\n2,", "\nweed,"))
    assert import_girona(source, tmp_path / "survey").classes == ("sand", "rock", "weed")


def test_masks_may_be_lacking(source: Path, tmp_path: Path) -> None:
    for path in (source / "train" / "masks").iterdir():
        path.unlink()
    (source / "train" / "masks").rmdir()
    survey = import_girona(source, tmp_path / "survey")
    assert not survey.has_mask("t1")
    assert survey.has_mask("v1")


def spoil_presence(source: Path) -> None:
    (source / "train" / "class_labels" / "t2.csv").write_text("class,presence\n0,0\n1,2\n2,0\n")


def spoil_header(source: Path) -> None:
    (source / "train" / "class_labels" / "t2.csv").write_text("0,0\n1,1\n2,0\n")


def spoil_order(source: Path) -> None:
    (source / "val" / "class_labels" / "v1.csv").write_text("class,presence\n2,1\n1,1\n0,0\n")


def spoil_classes(source: Path) -> None:
    (source / "val" / "class_labels" / "v2.csv").write_text("class,presence\n0,0\n1,0\n")


def lose_table(source: Path) -> None:
    (source / "val" / "class_labels" / "v2.csv").unlink()


def spoil_picture(source: Path) -> None:
    (source / "val" / "images" / "uni_class" / "v2.tiff").write_bytes(b"no picture")


def spoil_mask(source: Path) -> None:
    tifffile.imwrite(source / "val" / "masks" / "v2.tiff", np.full((8, 8), 5, np.uint8))


def double_tile(source: Path) -> None:
    content = (source / "train" / "images" / "uni_class" / "t1.tiff").read_bytes()
    (source / "val" / "images" / "uni_class" / "t1.tiff").write_bytes(content)


def lose_val(source: Path) -> None:
    (source / "val").rename(source / "validation")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_presence, r't2\.csv line 3 is "1,2": expected a class and 0 or 1'),
        (spoil_header, r't2\.csv starts with "0,0"'),
        (spoil_order, r"v1\.csv lists the classes 2, 1, 0"),
        (spoil_classes, r"v2\.csv lists other classes"),
        (lose_table, r"v2\.csv is missing"),
        (spoil_picture, r"v2\.tiff cannot be read"),
        (spoil_mask, r"v2\.tiff holds the class id 5"),
        (double_tile, r"t1\.tiff has the name of a train tile"),
        (lose_val, r"images holds no \.tiff pictures"),
    ],
)
def test_in_full_or_not_at_all(source: Path, tmp_path: Path, spoil, words: str) -> None:
    spoil(source)
    with pytest.raises(UserError, match=words):
        import_girona(source, tmp_path / "survey")
    assert [path.name for path in tmp_path.iterdir()] == ["girona"]


def test_a_filled_folder_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    import_girona(source, tmp_path / "survey")
    with pytest.raises(UserError, match="not an empty folder"):
        import_girona(source, tmp_path / "survey")
    with pytest.raises(UserError, match="not an empty folder"):
        import_girona(source, source / "train" / "class_labels" / "t1.csv")


def test_an_error_of_the_disk_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sonarseg.survey.importers.girona.shutil.copyfile", full)
    with pytest.raises(OSError, match="space"):
        import_girona(source, tmp_path / "survey")
    assert [path.name for path in tmp_path.iterdir()] == ["girona"]
