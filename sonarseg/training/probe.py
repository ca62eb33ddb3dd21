"""A few steps of training, timed, and thrown away: to see what fits and how long it takes."""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonarseg.losses.build import Loss
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.checkpoint.writer import CheckpointWriter
from sonarseg.training.config import NetworkConfig, RunConfig
from sonarseg.training.data.loading import RunData
from sonarseg.training.data.target_size import target_size
from sonarseg.training.data.tiles import Tiles
from sonarseg.training.schedule import SELF_TRAINING, Epoch
from sonarseg.training.trainer import Trainer
from sonarseg.training.validation import validate

STEPS = 2
# MAP_NORESERVE, for which Python has no name: more may be mapped than the machine has
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


class _Enough(Exception):
    """The steps asked for are done."""


@dataclass(frozen=True)
class StepSeconds:
    """What a few steps of training took, in seconds.

    Attributes
    ----------
    checkpoint : float
        What training waits for: a copy of network and optimiser.
    writing : float
        What a thread then takes to write it.
    """

    step: float
    validation: float
    checkpoint: float
    writing: float


def train_steps(
    model: Model,
    config: RunConfig,
    data: RunData,
    stage: str,
    loss: Loss | None,
    folder: Path | None = None,
) -> StepSeconds:
    """Train `STEPS` timed steps after one that warms up, validate once and perhaps write a checkpoint.

    Parameters
    ----------
    model : Model
        Is changed by the steps.
    config : RunConfig
        With its batch size settled.
    data : RunData
        As the network takes it in the stage.
    stage : str
        As in `Epoch`.
    loss : callable or None
        The segmentation loss; None for steps in which the decoder does not learn.
    folder : Path, optional
        Where the checkpoint goes; without, none is written.
    """
    trainer = Trainer(model, data.train, data.labelled, config, stage)
    ends: list[float] = []

    def step_done() -> None:
        _synchronise(data.device)
        ends.append(time.monotonic())
        if len(ends) > STEPS:
            raise _Enough

    trainer.call_after_step(step_done)
    targets = None if loss is None else _targets(data.train, config.network, _drawn(trainer, stage))
    for epoch in _epochs(stage):
        if len(ends) > STEPS:
            break
        try:
            trainer.train_epoch(epoch, targets, loss)
        except _Enough:
            break
    began = time.monotonic()
    validate(model, data.val, data.val_masks, loss, trainer.branch, config.training.tiles_a_step)
    _synchronise(data.device)
    validated = time.monotonic()
    copied, written = (0.0, 0.0) if folder is None else _checkpoint_seconds(model, trainer, folder)
    return StepSeconds((ends[-1] - ends[0]) / STEPS, validated - began, copied, written)


def _checkpoint_seconds(model: Model, trainer: Trainer, folder: Path) -> tuple[float, float]:
    """Seconds to copy and to write a checkpoint; of the second one, as the first makes room for the copy."""
    state = {"network": model.network.state_dict(), "trainer": trainer.state()}
    with CheckpointWriter(folder / CHECKPOINT, model.device) as writer:
        for _ in range(2):
            writer.wait()
            began = time.monotonic()
            writer.write(state)
            copied = time.monotonic()
    return copied - began, time.monotonic() - copied


def _epochs(stage: str) -> Iterator[Epoch]:
    """Epochs without end: a survey of few tiles has fewer steps in one than are wanted."""
    for number in count(1):
        yield Epoch(number, stage, int(stage == SELF_TRAINING), (0, 1))


def _drawn(trainer: Trainer, stage: str) -> set[int]:
    """The tiles of the steps."""
    batches = chain.from_iterable(map(trainer.batches, _epochs(stage)))
    return set(chain.from_iterable(islice(batches, STEPS + 1)))


def _targets(tiles: Tiles, network: NetworkConfig, drawn: Iterable[int]) -> PixelStore:
    """Stripes of the classes that each drawn tile shows: as much work as real pseudo-labels are.

    The other tiles have targets too, of class 0, as they take their share of a CUDA device in a run;
    of memory they take none: pages that nobody writes are not there.
    """
    shapes = np.array([(1, *target_size((h, w), network)) for h, w in tiles.pictures.disk_sizes.tolist()])
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
