"""The fingerprint changes with what a study stands on, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey

Edit = Callable[[Path, str, str], None]


def noise(path: Path) -> None:
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (3, 4), dtype=np.uint8)).save(path)


def fingerprint(root: Path, background: str | None = None) -> str:
    return open_survey(root, background).fingerprint


def test_it_says_nothing_of_where_the_survey_lies(root: Path) -> None:
    before = fingerprint(root)
    assert len(before) == 16
    assert int(before, 16) >= 0
    moved = root.rename(root.with_name("elsewhere"))
    assert fingerprint(moved) == before


@pytest.mark.parametrize("tile", ["a1", "a3", "b1", "d1"])
def test_train_and_test_masks_are_never_read(root: Path, tile: str) -> None:
    before = fingerprint(root)
    noise(root / "masks" / f"{tile}.png")
    assert fingerprint(root) == before
    (root / "masks" / f"{tile}.png").unlink()
    assert fingerprint(root) == before


@pytest.mark.parametrize("file", ["masks/c1.png", "images/a1.png", "images/c1.png", "images/d1.png"])
def test_pictures_and_val_masks_count_by_content(root: Path, file: str) -> None:
    before = fingerprint(root)
    content = (root / file).read_bytes()
    noise(root / file)
    assert fingerprint(root) != before
    (root / file).write_bytes(content)
    assert fingerprint(root) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("labels.csv", "a1,1,0,0", "a1,1,1,0"),
        ("labels.csv", "c1,1,1,0\n", ""),
        ("splits/train.txt", "a1\n", ""),
        ("splits/train.txt", "a1\na2", "a2\na1"),
    ],
)
def test_lists_count(root: Path, edit: Edit, file: str, old: str, new: str) -> None:
    before = fingerprint(root)
    edit(root / file, old, new)
    assert fingerprint(root) != before


def test_classes_and_background_count(root: Path, edit: Edit) -> None:
    before = fingerprint(root)
    assert fingerprint(root, "mud") != before
    edit(root / "classes.txt", "mud", "silt")
    edit(root / "labels.csv", "mud", "silt")
    assert fingerprint(root) != before


def test_how_lists_are_saved_does_not_count(root: Path) -> None:
    before = fingerprint(root)
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode())
    assert fingerprint(root) == before


def test_a_missing_picture_is_a_sentence(root: Path) -> None:
    (root / "images" / "c2.png").unlink()
    with pytest.raises(UserError, match=r"c2\.png is missing"):
        fingerprint(root)
