"""A few steps of training, timed, and thrown away: to see what fits and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.survey.pixel_store import PixelStore, StoredPicture, packed
from sonarseg.training.checkpoint import CHECKPOINT, save_checkpoint
from sonarseg.training.config import RunConfig
from sonarseg.training.model_file import Model
from sonarseg.training.run_data import RunData
from sonarseg.training.schedule import SELF_TRAINING, WARM_UP, Epoch
from sonarseg.training.trainer import Trainer
from sonarseg.training.validation import validate

STEPS = 2
Loss = Callable[[Tensor, Tensor], Tensor]


class _Enough(Exception):
    """The steps asked for are done."""


@dataclass(frozen=True)
class StepSeconds:
    """What a training step, a validation pass and writing a checkpoint took, in seconds."""

    step: float
    validation: float
    checkpoint: float


def train_steps(
    model: Model, config: RunConfig, data: RunData, loss: Loss | None, folder: Path | None = None
) -> StepSeconds:
    """Train `STEPS` timed steps after one that warms up, validate once and perhaps write a checkpoint.

    Parameters
    ----------
    model : Model
        Is changed by the steps.
    config : RunConfig
        With its batch size settled.
    data : RunData
    loss : callable or None
        The segmentation loss of self-training; None for steps of the warm-up.
    folder : Path, optional
        Where the checkpoint goes; without, none is written.
    """
    trainer = Trainer(model, data.train, data.labelled, config)
    ends: list[float] = []

    def count() -> None:
        _synchronise(data.device)
        ends.append(time.monotonic())
        if len(ends) > STEPS:
            raise _Enough

    trainer.after_step = count
    stage = WARM_UP if loss is None else SELF_TRAINING
    targets = None if loss is None else _targets(data)
    number = 0
    while len(ends) <= STEPS:
        number += 1
        # A survey of few tiles has fewer steps in an epoch.
        epoch = Epoch(number, stage, int(loss is not None), False, (0, 1))
        try:
            trainer.train_epoch(epoch, targets, loss)
        except _Enough:
            break
    began = time.monotonic()
    validate(model, data.val, data.val_masks, loss, data.labelled, config.training.tiles_a_step)
    _synchronise(data.device)
    validated = time.monotonic()
    if folder is not None:
        state = {"network": model.network.state_dict(), "trainer": trainer.state()}
        save_checkpoint(folder / CHECKPOINT, state)
    saved = time.monotonic()
    return StepSeconds((ends[-1] - ends[0]) / STEPS, validated - began, saved - validated)


def _targets(data: RunData) -> PixelStore:
    """Stripes of the classes that each tile shows: as much work as real pseudo-labels are."""
    return packed(
        StoredPicture(
            _stripes(data.train.shown[index], data.train.pictures[index].shape)[None],
            data.train.disk_size(index),
        )
        for index in range(len(data.train))
    )


def _stripes(shown: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    classes = np.flatnonzero(shown)
    columns = classes[np.arange(shape[2]) * len(classes) // shape[2]]
    return np.ascontiguousarray(np.broadcast_to(columns.astype(np.uint8), shape[1:]))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
