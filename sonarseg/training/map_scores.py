"""What the class activation maps of val are worth as pseudo-labels, the dense CRF left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.extract_split import cam_batches, class_maxima, stream_cams
from sonarseg.cam.hard_labels import argmax_labels, with_background
from sonarseg.metrics.confusion import confusion, pack_confusions
from sonarseg.metrics.iou import survey_scores
from sonarseg.progress import Progress, silent
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.loading import RunData


def map_scores(model: Model, data: RunData, progress: Progress = silent) -> dict[str, Any] | None:
    """Score the labels that the maps of val give, as summary.json holds it.

    Parameters
    ----------
    model : Model
        Its classification branch is trained.
    data : RunData
        As the network takes it.
    progress : Progress
        Called for each tile.

    Returns
    -------
    dict or None
        `metrics`, and `confusions` of the tiles, packed; None if val has no masks.
    """
    if not len(data.val):
        return None
    confusions = map_confusions(model, data, progress)
    return {
        "metrics": survey_scores(confusions, data.survey.classes),
        "confusions": pack_confusions(confusions),
    }


def map_confusions(model: Model, data: RunData, progress: Progress = silent) -> NDArray[np.int64]:
    """Confusion matrices (T, K, K) of val, each pixel being of the shown class with the highest score.

    A background that the branch does not learn has its constant score.
    """
    cam, tiles, num_classes = model.cam, data.val, data.survey.num_classes
    maxima = class_maxima(model, data.train, cam, progress)
    background = cam.constant_background(model.background_id)
    batches = cam_batches(tiles, range(len(tiles)), model, cam)
    confusions = np.zeros((len(tiles), num_classes, num_classes), dtype=np.int64)
    for done, (index, scores) in enumerate(stream_cams(model, tiles, batches, cam, maxima)):
        labels = argmax_labels(with_background(scores, background, None), tiles.shown[index])
        confusions[index] = confusion(data.val_masks[index][0], labels, num_classes)
        progress("scoring the maps of val", done + 1, len(tiles))
    return confusions
