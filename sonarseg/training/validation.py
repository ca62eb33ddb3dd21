"""Validation of a run against the pixel masks of `val`, never against pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.losses.classification import multilabel_soft_margin
from sonarseg.metrics.confusion import confusion
from sonarseg.training.device import autocast
from sonarseg.training.model_file import Model
from sonarseg.training.tiles import Tiles, batches_by_size, stack

IGNORE = 255


@dataclass(frozen=True)
class Validation:
    """What one pass over the validation tiles gives.

    Attributes
    ----------
    loss_segmentation, loss_classification : float or None
        Means over tiles.
    confusions : int64 (T, K, K)
        A confusion matrix a tile, rows truth.
    class_scores : float32 (T, K)
        Probabilities of the classification branch.
    """

    loss_segmentation: float | None
    loss_classification: float | None
    confusions: NDArray[np.int64]
    class_scores: NDArray[np.float32]


def predict_logits(model: Model, tiles: Tiles, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Class logits (B, K) and segmentation logits (B, K, H, W) at the size on disk.

    The tiles of `indices` must have one size.
    """
    images = stack([tiles.images[i] for i in indices]).to(model.device)
    with torch.inference_mode(), autocast(model.device):
        features = model.network.encode(model.normalisation(images))
        classes = model.network.classify(features)
        pixels = model.network.decode(features, tiles.sizes[indices[0]])
    return classes.float(), pixels.float()


def validate(
    model: Model,
    tiles: Tiles,
    masks: list[NDArray[np.uint8]],
    segmentation_loss: Callable[[Tensor, Tensor], Tensor] | None,
    labelled: Tensor,
    batch_size: int,
    *,
    on_prediction: Callable[[str, NDArray[np.uint8]], None] | None = None,
) -> Validation:
    """Score the model on tiles with masks.

    Parameters
    ----------
    model : Model
        Network and preparation of its input.
    tiles : Tiles
        The validation tiles.
    masks : list of uint8 (H, W)
        Their masks, 255 = ignore.
    segmentation_loss : callable or None
        The run's loss, to be watched beside the scores.
    labelled : bool (K,)
        Classes that image-level labels speak of.
    batch_size : int
        Tiles a batch.
    on_prediction : callable, optional
        Given each tile's name and predicted class ids (H, W).
    """
    model.network.eval()
    num_classes = len(model.classes)
    confusions = np.zeros((len(tiles), num_classes, num_classes), dtype=np.int64)
    class_scores = np.zeros((len(tiles), num_classes), dtype=np.float32)
    segmentation = classification = 0.0
    same_size = [
        part
        for batch in batches_by_size(tiles, batch_size)
        for part in _split_by_disk_size(batch, tiles.sizes)
    ]
    for batch in same_size:
        class_logits, logits = predict_logits(model, tiles, batch)
        target = torch.stack([torch.from_numpy(masks[i]).long() for i in batch]).to(model.device)
        shown = torch.from_numpy(tiles.shown[batch]).float().to(model.device)
        classification += len(batch) * float(multilabel_soft_margin(class_logits, shown, valid=labelled))
        if segmentation_loss is not None:
            segmentation += len(batch) * float(segmentation_loss(logits, target))
        predicted = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
        class_scores[batch] = class_logits.sigmoid().cpu().numpy()
        for index, labels in zip(batch, predicted, strict=True):
            confusions[index] = confusion(masks[index], labels, num_classes)
            if on_prediction is not None:
                on_prediction(tiles.names[index], labels)
    count = max(1, len(tiles))
    return Validation(
        segmentation / count if segmentation_loss is not None else None,
        classification / count,
        confusions,
        class_scores,
    )


def _split_by_disk_size(batch: list[int], sizes: list[tuple[int, int]]) -> list[list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for index in batch:
        groups.setdefault(sizes[index], []).append(index)
    return list(groups.values())
