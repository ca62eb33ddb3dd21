"""The sides that runs.py compares, and how they take turns.

Each side works in a process of its own, so that neither gains from the other's settings.
"""

from __future__ import annotations

import multiprocessing as mp
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from run_rows import BATCH, NETWORKS, synchronise

FOLDER = Path(__file__).parent
SCALES = (1.0, 0.5, 1.5, 2.0)
CAM_TILES = {"cpu": 24, "cuda": 128}
# How often the plain loop's epoch holds each tile: a GPU is through a small survey in less than a second, and
# the loader begins each epoch with an empty queue.
PLAIN_REPEATS = {"cpu": 1, "cuda": 5}


def our_model(survey_dir: Path, device: str) -> tuple[Any, Any, Any]:
    """Survey, configuration and model of ours, with the tiles in a store."""
    from sonarseg.survey.layout import open_survey
    from sonarseg.survey.scaling import fit_scaling
    from sonarseg.training.checkpoint.model import Model, build_network
    from sonarseg.training.config import NetworkConfig, RunConfig, TrainingConfig
    from sonarseg.training.data.tiles import load_tiles

    survey = open_survey(survey_dir)
    config = RunConfig(
        survey=str(survey_dir),
        network=NetworkConfig(**NETWORKS[device]),
        training=TrainingConfig(warmup_epochs=0, batch_size=BATCH),
        device=device,
    )
    scaling = fit_scaling(survey)
    tiles = load_tiles(
        survey, survey.splits["train"], scaling, 1.0, store=survey_dir.parent / f"tiles-{device}" / "train"
    )
    where = torch.device(device)
    torch.manual_seed(0)
    network = build_network(config.network, scaling.channels, survey.num_classes).to(where)
    normalisation = tiles.normalisation()
    model = Model(network, survey.classes, None, scaling, normalisation, config.network, config.sonar, where)
    return survey, config, (model, tiles)


def our_training(
    survey_dir: Path,
    device: str,
    *,
    deterministic: bool = False,
    after_step: Callable[[], None] | None = None,
    batch: int = BATCH,
    loss_name: str = "cross-entropy",
) -> Callable[[], int]:
    """One epoch of the trainer with masks as targets."""
    from sonarseg.losses.build import build_loss
    from sonarseg.losses.config import LossConfig
    from sonarseg.training.data.tiles import load_masks
    from sonarseg.training.device import make_deterministic
    from sonarseg.training.schedule import plan
    from sonarseg.training.trainer import Trainer

    make_deterministic(deterministic)
    survey, config, (model, tiles) = our_model(survey_dir, device)
    config = config.model_copy(update={"training": config.training.model_copy(update={"batch_size": batch})})
    targets = load_masks(
        survey.with_masks_of("train"), tiles.names, survey_dir.parent / f"tiles-{device}" / "train-masks"
    )
    labelled = torch.ones(survey.num_classes, dtype=torch.bool, device=model.device)
    # The loop that is compared with sees every tile once an epoch.
    tiles = replace(tiles, multiclass=np.zeros(len(tiles), dtype=bool))
    trainer = Trainer(model, tiles, labelled, config)
    if after_step is not None:
        trainer.call_after_step(after_step)
    epoch = plan(config)[0]
    loss = build_loss(LossConfig(name=loss_name), None, model.device)

    def work() -> int:
        trainer.train_epoch(epoch, targets, loss)
        return -(-len(tiles) // batch)

    return work


def our_deterministic_training(survey_dir: Path, device: str) -> Callable[[], int]:
    """One epoch of the trainer with `training.deterministic = true`."""
    return our_training(survey_dir, device, deterministic=True)


def plain_training(
    survey_dir: Path, device: str, *, amp: bool = False, after_step: Callable[[], None] | None = None
) -> Callable[[], int]:
    """One epoch of the plain loop."""
    from plain_training import PlainTiles, PlainTraining

    from sonarseg.network.model import SegmentationNetwork
    from sonarseg.survey.layout import open_survey

    survey = open_survey(survey_dir)
    train = survey.splits["train"] * PLAIN_REPEATS[device]
    tiles = PlainTiles([survey.image_path(t) for t in train], [survey.mask_path(t) for t in train], 0.4, 0.2)
    settings = dict(NETWORKS[device])
    network = SegmentationNetwork(settings.pop("encoder"), 1, survey.num_classes, **settings)
    training = PlainTraining(network, tiles, BATCH, torch.device(device), amp)
    if after_step is not None:
        training.after_step = after_step
    return training.epoch


def plain_amp_training(survey_dir: Path, device: str) -> Callable[[], int]:
    """One epoch of the plain loop with autocast."""
    return plain_training(survey_dir, device, amp=True)


def our_cams(survey_dir: Path, device: str) -> Callable[[], int]:
    """CAMs of some tiles."""
    from sonarseg.cam.extract_split import cam_batches, stream_cams

    _, config, (model, tiles) = our_model(survey_dir, device)
    chosen = range(min(len(tiles), CAM_TILES[device]))
    batches = cam_batches(tiles, chosen, model, config.cam)
    return lambda: len(list(stream_cams(model, tiles, batches, config.cam)))


def plain_cams(survey_dir: Path, device: str) -> Callable[[], int]:
    """CAMs of the same tiles, one forward pass a view."""
    from plain_training import plain_cams as loop

    _, _, (model, tiles) = our_model(survey_dir, device)
    network = model.network.to(memory_format=torch.contiguous_format)
    chosen = range(min(len(tiles), CAM_TILES[device]))

    def work() -> int:
        images = (
            model.normalisation(torch.from_numpy(tiles.pictures[i]).to(model.device)[None].float() / 255)
            for i in chosen
        )
        return len(loop(network, images, SCALES, tiles.shown[: len(chosen)]))

    return work


def _side(connection: Connection, prepare: str, survey_dir: Path, device: str) -> None:
    sys.path.insert(0, str(FOLDER))
    work = globals()[prepare](survey_dir, device)
    work()
    connection.send("ready")
    while connection.recv() == "work":
        synchronise(device)
        started = time.perf_counter()
        done = work()
        synchronise(device)
        connection.send(done / (time.perf_counter() - started))


def rates_in_turn(
    prepares: list[str], survey_dir: Path, device: str, turns: int, most_seconds: float = inf
) -> list[float]:
    """Median rate of each side, the sides taking turns; no turn begins after `most_seconds` of turns."""
    context = mp.get_context("spawn")
    sides = []
    for prepare in prepares:
        mine, theirs = context.Pipe()
        # Not daemonic: the plain loop has workers of its own.
        process = context.Process(target=_side, args=(theirs, prepare, survey_dir, device))
        process.start()
        # So that a side which fails closes the pipe
        theirs.close()
        sides.append((mine, process))
    try:
        for connection, _ in sides:
            connection.recv()
        rates = _in_turn([connection for connection, _ in sides], turns, most_seconds)
        for connection, _ in sides:
            connection.send("end")
    except EOFError:
        for _, process in sides:
            process.kill()
        raise RuntimeError(f"a side among {', '.join(prepares)} failed") from None
    finally:
        for _, process in sides:
            process.join()
    return [median(side) for side in rates]


def _in_turn(sides: list[Connection], turns: int, most_seconds: float) -> list[list[float]]:
    rates: list[list[float]] = [[] for _ in sides]
    started = time.perf_counter()
    for turn in range(turns):
        if turn and time.perf_counter() - started > most_seconds:
            break
        for place, connection in enumerate(sides):
            connection.send("work")
            rates[place].append(connection.recv())
    return rates
