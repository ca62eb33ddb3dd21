"""The class that presence alone cannot teach."""

from pathlib import Path

import pytest

from sonarseg.survey.background import propose_background
from sonarseg.survey.layout import open_survey


def write(root: Path, rock: int, total: int, val_rock: int = 0) -> None:
    tiles = [f"t{number:03d}" for number in range(total)]
    (root / "splits" / "train.txt").write_text("\n".join(tiles))
    rows = [f"{tile},{number % 2},{int(number < rock)},0" for number, tile in enumerate(tiles)]
    rows.append(f"c1,0,{val_rock},1")
    (root / "labels.csv").write_text("tile,mud,rock,weed\n" + "\n".join(rows))


@pytest.mark.parametrize(
    ("rock", "expected"), [(100, "rock"), (95, "rock"), (94, None), (50, None), (0, None)]
)
def test_nearly_every_train_tile(root: Path, rock: int, expected: str | None) -> None:
    write(root, rock, 100)
    assert propose_background(open_survey(root)) == expected


def test_val_does_not_count(root: Path) -> None:
    write(root, 19, 20, val_rock=0)
    assert propose_background(open_survey(root)) == "rock"


def test_the_background_that_is_named_stays(root: Path) -> None:
    write(root, 100, 100)
    assert propose_background(open_survey(root, "weed")) == "weed"


def test_nothing_to_go_by(root: Path) -> None:
    (root / "labels.csv").unlink()
    assert propose_background(open_survey(root)) is None


def test_a_single_class_leaves_no_background(root: Path) -> None:
    (root / "classes.txt").write_text("mud\n")
    (root / "labels.csv").write_text("tile,mud\na1,1\na2,1\na3,1\nb1,1\n")
    assert propose_background(open_survey(root)) is None
