"""A survey of random tiles on disk, and CAM scores that hint at its masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sonarseg.cam.files import write_cam

CLASSES = ("mud", "rock")
SIZE = (20, 24)


def write_survey(root: Path, *, val_masks: bool = True, several: bool = True, seed: int = 0) -> Path:
    """Write 4 train, 5 val and 2 test tiles; in every second tile, rock lies on the right."""
    generator = np.random.default_rng(seed)
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rows = ["tile,mud,rock"]
    groups = ["tile,strip"]
    names = {split: [f"{split}{i}" for i in range(n)] for split, n in (("train", 4), ("val", 5), ("test", 2))}
    for split, tiles in names.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(tiles) + "\n")
        for index, tile in enumerate(tiles):
            mask = np.zeros(SIZE, dtype=np.uint8)
            if index % 2:
                mask[:, 0 if not several else 10 :] = 1
            grey = np.where(mask, 170, 70) + generator.normal(0, 25, SIZE)
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{tile}.png")
            if split != "val" or val_masks:
                Image.fromarray(mask).save(root / "masks" / f"{tile}.png")
            rows.append(f"{tile},{int((mask == 0).any())},{int((mask == 1).any())}")
            groups.append(f"{tile},{split}-strip{index // 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "groups.csv").write_text("\n".join(groups) + "\n")
    return root


def write_cams(survey: Path, cams: Path, splits: tuple[str, ...] = ("train", "val"), seed: int = 1) -> None:
    """Write blurred, noisy scores of each class, the same for a tile whichever splits are written."""
    generator = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        for tile in (survey / "splits" / f"{split}.txt").read_text().split():
            rock = (np.asarray(Image.open(survey / "images" / f"{tile}.png")) > 120).astype(np.float32)
            noisy = np.clip(rock * 0.6 + 0.2 + generator.normal(0, 0.2, SIZE), 0, 1)
            if split in splits:
                (cams / split).mkdir(parents=True, exist_ok=True)
                write_cam(cams / split / f"{tile}.npy", np.stack([1 - noisy, noisy]).astype(np.float32))
