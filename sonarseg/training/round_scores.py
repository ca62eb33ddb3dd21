"""Scores of val at the end of each round, without image-level labels; those of the branch are round 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import survey_scores
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.feed import feed_of, stream
from sonarseg.training.data.loading import RunData
from sonarseg.training.data.tiles import batches_by_size
from sonarseg.training.device import autocast
from sonarseg.training.validation import batch_confusions


class RoundScores:
    """Keeps the scores of each round as checkpoint and summary.json hold them.

    Parameters
    ----------
    data : RunData
        Without tiles in val nothing is kept.
    model : Model
        The network that is scored.
    batch_size : int
        Tiles a batch.

    Attributes
    ----------
    data : RunData
        As the network takes it now.
    kept : list of dict
        By round: `round`, `metrics`, and `confusions` of the tiles, packed. Rounds that an earlier version
        ended are missing.
    """

    def __init__(self, data: RunData, model: Model, batch_size: int) -> None:
        self.data = data
        self._model = model
        self._batch_size = batch_size
        self.kept: list[dict[str, Any]] = []

    def end_round(self, number: int, confusions: NDArray[np.int64]) -> None:
        """Keep what the decoder has come to, by its confusion matrices (T, K, K)."""
        if len(self.data.val):
            metrics = survey_scores(confusions, self.data.survey.classes)
            self.kept.append({"round": number, "metrics": metrics, "confusions": pack_confusions(confusions)})

    def end_warm_up(self) -> None:
        """Score and keep what the classification branch has come to before the first round."""
        if len(self.data.val):
            self.end_round(0, branch_confusions(self._model, self.data, self._batch_size))


def branch_confusions(model: Model, data: RunData, batch_size: int) -> NDArray[np.int64]:
    """Confusion matrices (T, K, K) of val, each pixel being of the class with the highest logit there."""
    model.network.eval()
    tiles, num_classes = data.val, data.survey.num_classes
    batches = list(batches_by_size(tiles, range(len(tiles)), batch_size))
    feeds = [feed_of(tiles.seen, model.device), feed_of(data.val_masks, model.device)]
    confusions = np.zeros((len(tiles), num_classes, num_classes), dtype=np.int64)
    for batch, (seen, truth) in zip(batches, stream(feeds, batches), strict=True):
        labels = _branch_labels(model, seen, tiles.disk_size(batch[0]))
        confusions[batch] = batch_confusions(truth[:, 0], labels, num_classes).cpu().numpy()
    return confusions


def _branch_labels(model: Model, seen: Tensor, size: tuple[int, int]) -> Tensor:
    """Class ids (B, *size) of what tiles hold, see `Model.encode`."""
    with torch.inference_mode(), autocast(model.device):
        features = model.encode(seen)
        logits = model.network.cell_logits(features)
    pixels = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    untaught = model.cam.constant_background(model.background_id)
    if untaught is not None:
        # The background is where no class is more likely than not.
        pixels[:, untaught] = 0
    return pixels.argmax(dim=1)
