"""A small survey on disk that a test may then spoil."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("mud", "rock", "weed")
SPLITS = {"train": ("a1", "a2", "a3", "b1"), "val": ("c1", "c2"), "test": ("d1",)}
SHOWN = {
    "a1": (1, 0, 0),
    "a2": (0, 1, 0),
    "a3": (0, 0, 1),
    "b1": (1, 1, 0),
    "c1": (1, 1, 0),
    "c2": (0, 0, 1),
    "d1": (1, 0, 1),
}
SIZE = (6, 10)


def mask_of(tile: str) -> np.ndarray:
    """Shown classes side by side, first column without data."""
    shown = np.flatnonzero(SHOWN[tile])
    mask = np.repeat(np.resize(shown, 2), SIZE[1] // 2)[None].repeat(SIZE[0], 0).astype(np.uint8)
    mask.sort(axis=1)
    mask[:, 0] = 255
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven 8-bit grey tiles of 10 x 6 pixels with all their lists; nothing is wrong with them."""
    root = tmp_path / "survey"
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for tile in SHOWN:
        Image.fromarray(rng.integers(0, 256, SIZE, dtype=np.uint8)).save(root / "images" / f"{tile}.png")
        Image.fromarray(mask_of(tile)).save(root / "masks" / f"{tile}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rows = ["tile,mud,rock,weed", *(f"{tile},{','.join(map(str, row))}" for tile, row in SHOWN.items())]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "groups.csv").write_text("tile,strip\n" + "".join(f"{tile},{tile[0]}\n" for tile in SHOWN))
    for split, tiles in SPLITS.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(tiles) + "\n")
    return root


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def edit():
    """A function that replaces a piece of a text file."""
    return replace_in
