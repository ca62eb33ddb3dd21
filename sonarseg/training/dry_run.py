"""A dry run: everything is built, a few steps are trained and thrown away, and the whole is forecast."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.network import FrozenNetwork
from sonarseg.losses.build import build_loss
from sonarseg.processes.pool import PYTHON
from sonarseg.progress import Progress, silent
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.config import RunConfig
from sonarseg.training.data.frozen import seen_by
from sonarseg.training.data.loading import RunData, load_run_data, new_model
from sonarseg.training.data.sampling import epoch_size
from sonarseg.training.data.tiles import load_tiles
from sonarseg.training.device import device_name, make_deterministic
from sonarseg.training.failures import OUT_OF_MEMORY, RunFailed, explained, is_out_of_memory
from sonarseg.training.largest_batch import settled
from sonarseg.training.probe import train_steps
from sonarseg.training.run_folder.cost import peak_memory
from sonarseg.training.schedule import FINE_TUNE, SELF_TRAINING, WARM_UP, plan
from sonarseg.training.targets.rounds import RoundTargets

# Tiles from which the time of a round's pseudo-labels is told
SAMPLE = 16


@dataclass(frozen=True)
class Forecast:
    """What a dry run has measured, and what follows for the whole run.

    Attributes
    ----------
    device : str
        As the report names it.
    batch_size : int
        Tiles a step.
    steps : int
        Steps an epoch.
    start_seconds : float
        From the start of the program to the first step; the first run of a workspace decodes the tiles,
        others do not.
    end_seconds : float
        For the masks that a run leaves.
    epoch_seconds : dict
        By stage, "warm-up", "fine-tune" or "self-training": seconds of an epoch with its validation and its
        checkpoint.
    epochs : dict
        By stage: epochs of the run.
    round_seconds : float
        Seconds to make the pseudo-labels of a round.
    rounds : int
        Rounds for which the run makes them.
    feature_seconds : float
        Seconds to compute the features of an encoder that the run has tuned.
    peak_memory, peak_device_memory : int
        Bytes; of the device 0 on the CPU.
    """

    device: str
    batch_size: int
    steps: int
    start_seconds: float
    end_seconds: float
    epoch_seconds: dict[str, float]
    epochs: dict[str, int]
    round_seconds: float
    rounds: int
    peak_memory: int
    peak_device_memory: int
    feature_seconds: float = 0.0

    @property
    def run_seconds(self) -> float:
        """Seconds of the whole run."""
        training = sum(self.epoch_seconds[stage] * epochs for stage, epochs in self.epochs.items())
        rounds = self.feature_seconds + self.rounds * self.round_seconds
        return self.start_seconds + training + rounds + self.end_seconds


def dry_run(config: RunConfig, run_dir: Path, scratch: Path, progress: Progress = silent) -> Forecast:
    """Try out a run that is not there, and leave nothing of it.

    Parameters
    ----------
    config : RunConfig
        Its paths are relative to `run_dir`, which need not exist.
    run_dir : Path
        Where the run would be.
    scratch : Path
        A folder in which a temporary one may be made. Decoded tiles of the workspace are used where
        they are there; else they are decoded into the temporary folder.
    progress : Progress
        Called at every step.

    Raises
    ------
    UserError
        Where the configuration or the survey is wrong.
    RunFailed
        Where memory runs out, or training is not possible for another reason.
    """
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=scratch.absolute()) as folder:
        temporary = Path(folder)
        config = _moved(config, run_dir.absolute(), temporary)
        make_deterministic(config.training.deterministic)
        try:
            return _tried(config, temporary, progress)
        except Exception as error:
            if is_out_of_memory(error):
                raise RunFailed(
                    f"out of memory with training.batch_size = {config.training.batch_size}: lower it, or "
                    "network.tile_scale.",
                    OUT_OF_MEMORY,
                ) from error
            said = explained(error, scratch)
            if said is error:
                raise
            raise said from error


def _moved(config: RunConfig, run_dir: Path, temporary: Path) -> RunConfig:
    """The same run with absolute paths, and its decoded tiles where nothing is left behind.

    Tiles that the workspace has decoded already are linked: where they no longer fit, only the links go.
    """
    tiles = config.path(run_dir, config.tiles)
    if tiles.is_dir():
        shutil.copytree(
            tiles,
            temporary / "tiles",
            copy_function=_link,
            ignore=shutil.ignore_patterns("*.partial", ".*"),
        )
    update: dict[str, object] = {
        "survey": str(config.path(run_dir, config.survey)),
        "tiles": str(temporary / "tiles"),
        "first_pseudo_labels": None,
    }
    if config.warm_up is not None:
        update["warm_up"] = str(config.path(run_dir, config.warm_up))
    if config.network.weights not in ("none", "imagenet"):
        weights = str(config.path(run_dir, config.network.weights))
        update["network"] = config.network.model_copy(update={"weights": weights})
    return config.model_copy(update=update)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # A file system without hard links
        shutil.copyfile(source, target)


def _tried(config: RunConfig, folder: Path, progress: Progress) -> Forecast:
    began = time.monotonic()
    pictures = load_run_data(folder, config, progress)
    config = settled(folder, config, pictures, progress)
    model, data = new_model(folder, config, pictures, progress)
    start = time.monotonic() - began + _process_seconds()
    if data.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(data.device)
    even = np.full(data.survey.num_classes, 1 / data.survey.num_classes)
    steps = max(1, math.ceil(epoch_size(data.train.multiclass) / config.training.tiles_a_step))
    seconds: dict[str, float] = {}
    end = 0.0
    stages = [stage for stage in (WARM_UP, FINE_TUNE, SELF_TRAINING) if _epochs(config, stage)]
    for done, stage in enumerate(stages):
        progress("steps", done, len(stages), stage)
        decodes = stage == SELF_TRAINING or (stage == FINE_TUNE and config.supervision == "masks")
        loss = build_loss(config.loss, even, data.device) if decodes else None
        seen = pictures if stage == FINE_TUNE else data
        tried = train_steps(model, config, seen, stage, loss, folder)
        # The next epoch does not wait for the writing, unless it is shorter.
        seconds[stage] = max(steps * tried.step + tried.validation + tried.checkpoint, tried.writing)
        end = tried.validation
    progress("steps", len(stages), len(stages))
    rounds = 0
    if config.supervision == "labels" and SELF_TRAINING in stages:
        # The first ones are those of the workspace, if there is a warm-up.
        rounds = config.training.rounds - (config.warm_up is not None)
    return Forecast(
        device=device_name(data.device),
        batch_size=config.training.tiles_a_step,
        steps=steps,
        start_seconds=start,
        end_seconds=end,
        epoch_seconds=seconds,
        epochs={stage: _epochs(config, stage) for stage in stages},
        round_seconds=_round_seconds(model, config, data, folder, progress) if rounds else 0.0,
        rounds=rounds,
        peak_memory=peak_memory(),
        peak_device_memory=(torch.cuda.max_memory_reserved(data.device) if data.device.type == "cuda" else 0),
        feature_seconds=(
            _feature_seconds(model, pictures) if FINE_TUNE in stages and SELF_TRAINING in stages else 0.0
        ),
    )


def _process_seconds() -> float:
    """Seconds until a process has loaded what a run needs: every run is a process of its own."""
    began = time.monotonic()
    subprocess.run([*PYTHON, "-c", "import sonarseg.training.run"], check=True)
    return time.monotonic() - began


def _epochs(config: RunConfig, stage: str) -> int:
    return sum(epoch.stage == stage for epoch in plan(config))


def _feature_seconds(model: Model, pictures: RunData) -> float:
    """Seconds for the features of all tiles, from those of a few."""
    network, store = model.network, pictures.train.pictures
    assert isinstance(network, FrozenNetwork)
    extractor = FeatureExtractor(network.encoder, model.device)
    count = len(store)
    chosen = range(0, count, max(1, count // SAMPLE))[:SAMPLE]
    began = time.monotonic()
    for index in chosen:
        extractor(store[index])
    return (time.monotonic() - began) * (count + len(pictures.val)) / len(chosen)


def _round_seconds(model: Model, config: RunConfig, data: RunData, folder: Path, progress: Progress) -> float:
    """Seconds for the pseudo-labels of all train tiles, from those of a few."""
    chosen = data.train.names[:: max(1, len(data.train) // SAMPLE)][:SAMPLE]
    tiles = load_tiles(data.survey, chosen, data.scaling, config.network.tile_scale)
    tiles = seen_by(model, tiles, folder / "sample")
    targets = RoundTargets(folder, config, data.survey, model, tiles)
    # The first time, the dense CRF is compiled for this machine.
    targets.of_round(1, progress)
    began = time.monotonic()
    targets.of_round(2, progress)
    return (time.monotonic() - began) * len(data.train) / len(tiles)
