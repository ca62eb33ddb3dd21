"""Validation of a run against the pixel masks of `val`, never against pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.ignore import IGNORE
from sonarseg.losses.build import Loss
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.branch_loss import BranchLoss
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.feed import feed_of, stream
from sonarseg.training.data.tiles import Tiles, batches_by_size
from sonarseg.training.device import autocast


@dataclass(frozen=True)
class Validation:
    """What one pass over the validation tiles gives.

    Attributes
    ----------
    loss_segmentation, loss_classification : float or None
        Means over tiles; None if there are none.
    confusions : int64 (T, K, K)
        A confusion matrix a tile, rows truth.
    class_scores : float32 (T, K)
        Probabilities of the classification branch.
    confusions_shown : int64 (T, K, K) or None
        The same with each pixel's prediction restricted to the classes that the tile's image-level
        labels show, as pseudo-labels are; None if it was not asked for.
    """

    loss_segmentation: float | None
    loss_classification: float | None
    confusions: NDArray[np.int64]
    class_scores: NDArray[np.float32]
    confusions_shown: NDArray[np.int64] | None = None


def predict_logits(
    model: Model, seen: Tensor, size: tuple[int, int], branch: BranchLoss
) -> tuple[Tensor, Tensor]:
    """Logits of the branch and segmentation logits (B, K, *size) of what tiles hold, see `Model.encode`."""
    with torch.inference_mode(), autocast(model.device):
        features = model.encode(seen)
        classes = branch.logits(model.network, features)
        pixels = model.network.decode(features, size)
    return classes.float(), pixels.float()


def validate(
    model: Model,
    tiles: Tiles,
    masks: PixelStore,
    segmentation_loss: Loss | None,
    branch: BranchLoss,
    batch_size: int,
    *,
    restrict_to_shown: bool = False,
    on_prediction: Callable[[str, NDArray[np.uint8]], None] | None = None,
) -> Validation:
    """Score the model on tiles with masks; the figures stay on the device until all are counted.

    Parameters
    ----------
    model : Model
        Network and preparation of its input.
    tiles : Tiles
        The validation tiles.
    masks : PixelStore of uint8 (1, H, W)
        Their masks, 255 = ignore.
    segmentation_loss : Loss or None
        The run's loss, to be watched beside the scores.
    branch : BranchLoss
        Loss of the classification branch.
    batch_size : int
        Tiles a batch.
    restrict_to_shown : bool
        Count the prediction among the shown classes of each tile too.
    on_prediction : callable, optional
        Given each tile's name and predicted class ids (H, W).
    """
    model.network.eval()
    device, num_classes = model.device, len(model.classes)
    confusions = torch.zeros((len(tiles), num_classes, num_classes), dtype=torch.int64, device=device)
    restricted = torch.zeros_like(confusions) if restrict_to_shown else None
    class_scores = torch.zeros((len(tiles), num_classes), device=device)
    sums = torch.zeros(2, device=device, dtype=torch.float64)
    batches = list(batches_by_size(tiles, range(len(tiles)), batch_size))
    sizes = [len(batch) for batch in batches]
    order = torch.tensor([index for batch in batches for index in batch], dtype=torch.int64)
    # One copy each, for which alone the device is waited for
    all_shown = torch.split(torch.from_numpy(tiles.shown)[order].float().to(device), sizes)
    places = torch.split(order.to(device), sizes)
    feeds = [feed_of(tiles.seen, device), feed_of(masks, device)]
    for batch, place, shown, (seen, truth) in zip(
        batches, places, all_shown, stream(feeds, batches), strict=True
    ):
        class_logits, logits = predict_logits(model, seen, tiles.disk_size(batch[0]), branch)
        sums[0] += len(batch) * branch.loss(class_logits, shown, progress=1.0)
        if segmentation_loss is not None:
            sums[1] += len(batch) * segmentation_loss(logits, truth[:, 0].long())
        predicted = logits.argmax(dim=1)
        class_scores[place] = branch.probabilities(class_logits)
        confusions[place] = batch_confusions(truth[:, 0], predicted, num_classes)
        if restricted is not None:
            among_shown = _predicted_among(logits, shown > 0, truth[:, 0])
            restricted[place] = batch_confusions(truth[:, 0], among_shown, num_classes)
        if on_prediction is not None:
            for index, labels in zip(batch, predicted.to(torch.uint8).cpu().numpy(), strict=True):
                on_prediction(tiles.names[index], labels)
    classification, segmentation = (sums / max(1, len(tiles))).tolist()
    return Validation(
        segmentation if segmentation_loss is not None and len(tiles) else None,
        classification if len(tiles) else None,
        confusions.cpu().numpy(),
        class_scores.cpu().numpy(),
        None if restricted is None else restricted.cpu().numpy(),
    )


def _predicted_among(logits: Tensor, shown: Tensor, truth: Tensor) -> Tensor:
    """Class ids (B, H, W) of the highest logit (B, K, H, W) among the shown classes, bool (B, K).

    Of a tile that shows none nothing is right, as `sonarseg.metrics.confusion` counts it.
    """
    found = logits.masked_fill(~shown[:, :, None, None], -torch.inf).argmax(dim=1)
    wrong = (truth.long() + 1) % logits.shape[1]
    return torch.where(shown.any(dim=1)[:, None, None], found, wrong)


def batch_confusions(truth: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of every pair of true and predicted class, a tile.

    Parameters
    ----------
    truth : uint8 (B, H, W)
        255 is left out.
    predicted : int64 (B, H, W)

    Returns
    -------
    int64 (B, K, K)
        Rows are the truth, on the device of the input.
    """
    cells = num_classes * num_classes + 1
    pairs = torch.where(truth == IGNORE, cells - 1, num_classes * truth.long() + predicted)
    pairs += cells * torch.arange(len(truth), device=truth.device)[:, None, None]
    counts = torch.zeros(len(truth) * cells, dtype=torch.int64, device=truth.device)
    counts.scatter_add_(0, pairs.flatten(), torch.ones_like(pairs).flatten())
    return counts.view(len(truth), cells)[:, :-1].view(-1, num_classes, num_classes)
