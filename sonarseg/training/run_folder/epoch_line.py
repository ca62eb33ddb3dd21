"""What metrics.jsonl says of an epoch."""

from __future__ import annotations

from typing import Any

from sonarseg.training.schedule import Epoch
from sonarseg.training.trainer import EpochLosses
from sonarseg.training.validation import Validation


def epoch_line(
    epoch: Epoch, losses: EpochLosses, validation: Validation, scores: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Put together the line of an epoch: where it stands, its losses, its scores, and how long it took."""
    return {
        "epoch": epoch.number,
        "round": epoch.round,
        "stage": epoch.stage,
        "loss_segmentation": losses.segmentation,
        "loss_classification": losses.classification,
        "val_loss_segmentation": validation.loss_segmentation,
        "val_loss_classification": validation.loss_classification,
        **scores,
        "learning_rate": losses.learning_rate,
        **({"skipped_steps": losses.skipped_steps} if losses.skipped_steps else {}),
        "seconds": round(seconds, 3),
    }
