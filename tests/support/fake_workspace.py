"""A workspace as the two studies leave it, with its pictures.

Run as a script to look at the report: `python -m tests.support.fake_workspace FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.fake_studies import CLASSES, TILES, fill_crf, fill_loss, new_study


def smooth(shape: tuple[int, int], generator: np.random.Generator, width: int) -> NDArray[np.float64]:
    field = generator.normal(size=shape)
    ramp = np.exp(-0.5 * (np.arange(-2 * width, 2 * width + 1) / width) ** 2)
    for axis in (0, 1):
        field = np.apply_along_axis(
            lambda v: np.convolve(np.pad(v, 2 * width, "wrap"), ramp, "valid"), axis, field
        )
    return np.asarray(field / field.std())


def write_pictures(workspace: Path, rows: int = 3, classes: list[str] = CLASSES) -> None:
    folder = workspace / "pictures"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(5)
    content: dict[str, Any] = {"classes": classes, "rows": []}
    for row in range(rows):
        shape = (128, 128) if row else (83, 166)
        base = smooth(shape, generator, 12)
        truth = np.digitize(base, [-0.4, 0.6, 1.1][: len(classes) - 1]).astype(np.uint8)
        truth[:, :4] = 255
        bright = np.array([70, 120, 165, 50], dtype=float)[np.minimum(truth, 3)]
        looks = generator.gamma(4, 1 / 4, size=shape)
        tile = np.clip(bright * np.sqrt(looks) * (1 + 0.2 * np.sin(np.arange(shape[1]) / 2)), 0, 255).astype(
            np.uint8
        )
        panels = [{"title": "tile", "file": f"{row}-0.png", "miou": None}]
        Image.fromarray(tile).save(folder / f"{row}-0.png")
        strength = np.clip(np.abs(base + 0.8 * smooth(shape, generator, 7)) / 2, 0, 1) * 255
        cam = np.dstack([np.minimum(truth, len(classes) - 1), strength.astype(np.uint8)])
        Image.fromarray(cam).save(folder / f"{row}-cam.png")
        panels.append({"title": "CAM", "file": f"{row}-cam.png", "miou": None, "kind": "activation"})
        for place, (title, noise) in enumerate(
            [
                ("CAM pseudo-label", 0.9),
                ("after CRF untuned (w-s3Tseg)", 0.6),
                ("after CRF tuned", 0.35),
                ("prediction", 0.25),
                ("truth", 0.0),
            ],
            start=1,
        ):
            shifted = base + noise * smooth(shape, generator, 7)
            labels = np.digitize(shifted, [-0.4, 0.6, 1.1][: len(classes) - 1]).astype(np.uint8)
            labels = truth if title == "truth" else labels
            Image.fromarray(labels).save(folder / f"{row}-{place}.png")
            panels.append(
                {
                    "title": title,
                    "file": f"{row}-{place}.png",
                    "miou": None if title == "truth" else 0.9 - noise / 2,
                }
            )
        content["rows"].append({"tile": TILES[row * 5], "split": "val", "panels": panels})
    (folder / "rows.json").write_text(json.dumps(content), encoding="utf-8")


def full_workspace(workspace: Path, seeds: int = 4) -> Path:
    """Both studies, finished, with runs and pictures."""
    fill_crf(new_study(workspace, "crf"))
    fill_loss(new_study(workspace, "loss"), workspace, seeds)
    write_pictures(workspace)
    return workspace


if __name__ == "__main__":
    from reports.page.build import write_report

    print(write_report(full_workspace(Path(sys.argv[1]))))
