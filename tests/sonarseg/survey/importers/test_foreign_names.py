"""Names of pictures and classes as people write them elsewhere."""

import pytest

from sonarseg.survey.importers.foreign_names import ClassesNamed, PicturesNamed


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("A_1", "A_1"),
        ("a_1.TIF", "A_1"),
        ("D:\\sonar\\A_1.bmp", "A_1"),
        ("x/0012.png", "0012"),
        ("12", "0012"),
        ("7", None),
        ("b", "B"),
        ("B", "B"),
        ("none", None),
        ("", None),
    ],
)
def test_a_picture_is_found_if_its_name_means_one_alone(name: str, tile: str | None) -> None:
    # 7 may be 07 or 007.
    named = PicturesNamed(["A_1", "0012", "07", "007", "B"])
    assert named.find(name) == tile


def test_a_name_in_another_case_that_may_be_two_tiles_is_none() -> None:
    named = PicturesNamed(["Tile", "TILE"])
    assert named.find("tile") is None
    assert named.find("TILE") == "TILE"


def test_classes_that_differ_by_punctuation_alone_are_told_apart() -> None:
    named = ClassesNamed(["rock+", "rock-", "Sand ripples"])
    assert named.find("ROCK-") == "rock-"
    assert named.find("rock+") == "rock+"
    assert named.find("rock") is None
    assert named.find("sand_ripples") == "Sand ripples"
