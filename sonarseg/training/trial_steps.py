"""A few steps of training, timed, and thrown away: to see what fits and how long it takes."""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.checkpoint import CHECKPOINT, save_checkpoint
from sonarseg.training.config import RunConfig
from sonarseg.training.model_file import Model
from sonarseg.training.run_data import RunData
from sonarseg.training.schedule import SELF_TRAINING, WARM_UP, Epoch
from sonarseg.training.tiles import Tiles
from sonarseg.training.trainer import Trainer
from sonarseg.training.validation import validate

STEPS = 2
# MAP_NORESERVE, for which Python has no name: more may be mapped than the machine has
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
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

    def step_done() -> None:
        _synchronise(data.device)
        ends.append(time.monotonic())
        if len(ends) > STEPS:
            raise _Enough

    trainer.after_step = step_done
    stage = WARM_UP if loss is None else SELF_TRAINING
    targets = None if loss is None else _targets(data.train, _drawn(trainer, stage))
    for epoch in _epochs(stage):
        if len(ends) > STEPS:
            break
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


def _epochs(stage: str) -> Iterator[Epoch]:
    """Epochs without end: a survey of few tiles has fewer steps in one than are wanted."""
    for number in count(1):
        yield Epoch(number, stage, int(stage == SELF_TRAINING), False, (0, 1))


def _drawn(trainer: Trainer, stage: str) -> set[int]:
    """The tiles of the steps."""
    batches = chain.from_iterable(map(trainer.batches, _epochs(stage)))
    return set(chain.from_iterable(islice(batches, STEPS + 1)))


def _targets(tiles: Tiles, drawn: Iterable[int]) -> PixelStore:
    """Stripes of the classes that each drawn tile shows: as much work as real pseudo-labels are.

    The other tiles have targets too, of class 0, as they take their share of a CUDA device in a run;
    of memory they take none: pages that nobody writes are not there.
    """
    shapes = tiles.pictures.shapes.copy()
    shapes[:, 0] = 1
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    pixels = np.frombuffer(mmap.mmap(-1, int(shapes.prod(axis=1).sum()), flags), dtype=np.uint8)
    targets = PixelStore(pixels, shapes, tiles.pictures.disk_sizes, np.zeros((1, 256), dtype=np.int64))
    for index in drawn:
        targets[index][0] = _stripes(tiles.shown[index], targets[index].shape)
    return targets


def _stripes(shown: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    classes = np.flatnonzero(shown)
    columns = classes[np.arange(shape[2]) * len(classes) // shape[2]]
    return np.ascontiguousarray(np.broadcast_to(columns.astype(np.uint8), shape[1:]))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
