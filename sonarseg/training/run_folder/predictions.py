"""What a run leaves to look at: its predictions of val as index pictures, and a few laid over their tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.class_legend import map_legend
from sonarseg.prediction import LEGEND, overlay, predict_probabilities
from sonarseg.survey.no_data import without_invalid
from sonarseg.survey.pictures import write_index_png, write_png
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.loading import RunData

MASKS, PREVIEWS = "masks", "previews"
PREVIEW_COUNT = 4


def mask_writer(run_dir: Path, data: RunData) -> Callable[[str, NDArray[np.uint8]], None]:
    """Make what writes the predicted class ids, uint8 (H, W), of a tile of val.

    They go to `run_dir/masks`; those of the first tiles also to `run_dir/previews`, laid
    over the tile. `run_dir/legend.png` explains the colours.
    """
    for folder in (MASKS, PREVIEWS):
        (run_dir / folder).mkdir(exist_ok=True)
    write_png(run_dir / LEGEND, map_legend(data.survey.classes))
    shown = set((data.val.names or data.survey.splits["val"])[:PREVIEW_COUNT])

    def write(name: str, labels: NDArray[np.uint8]) -> None:
        labels = without_invalid(labels, data.survey.read_valid(name))
        write_index_png(run_dir / MASKS / f"{name}.png", labels)
        if name in shown:
            image = data.scaling.read(data.survey.image_path(name))
            preview = overlay(image, labels)
            write_png(run_dir / PREVIEWS / f"{name}.png", preview)

    return write


def predict_unscored(run_dir: Path, data: RunData, model: Model) -> None:
    """Predict the tiles of val of a survey without val masks; validation predicts those that it scores."""
    write = mask_writer(run_dir, data)
    for name in data.survey.splits["val"]:
        image = data.scaling.read(data.survey.image_path(name))
        write(name, predict_probabilities(model, image).argmax(axis=0).astype(np.uint8))
