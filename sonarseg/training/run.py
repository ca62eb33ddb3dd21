"""A run is a folder: config.json in; metrics, checkpoint and summary out; running it again resumes."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

import sonarseg
from sonarseg.errors import UserError
from sonarseg.losses.build import build_loss
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.ranking import average_precision
from sonarseg.metrics.scores import survey_scores
from sonarseg.network.weights import load_encoder_weights
from sonarseg.prediction import overlay
from sonarseg.progress import Progress, silent
from sonarseg.survey.fingerprint import survey_fingerprint
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.pictures import write_index_png, write_png
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.survey.scaling import GreyScaling, fit_scaling
from sonarseg.training import record
from sonarseg.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from sonarseg.training.config import RunConfig
from sonarseg.training.device import device_name, pick_device
from sonarseg.training.model_file import Model, build_network
from sonarseg.training.schedule import Epoch, plan
from sonarseg.training.targets import RoundTargets
from sonarseg.training.tiles import Tiles, load_masks, load_tiles
from sonarseg.training.trainer import RunFailed, Trainer
from sonarseg.training.validation import Validation, validate

CONFIG = "config.json"
MASKS, PREVIEWS = "masks", "previews"
PREVIEW_COUNT = 4
Loss = Callable[[Tensor, Tensor], Tensor]


def read_config(run_dir: Path) -> RunConfig:
    """Read `run_dir/config.json`.

    Raises
    ------
    UserError
        Where it is missing or a field is wrong.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        raise UserError(f"{path} is missing: a run folder holds its settings in config.json.")
    try:
        return RunConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {field}: {first['msg']}.") from error


def run(run_dir: Path, progress: Progress = silent) -> dict[str, Any]:
    """Train, or go on training, what `run_dir/config.json` describes.

    Returns
    -------
    dict
        The content of summary.json.

    Raises
    ------
    UserError
        Where the configuration or the survey is wrong.
    RunFailed
        Where training cannot go on; `failure.json` holds the reason too.
    """
    config = read_config(run_dir)
    summary_path = run_dir / record.SUMMARY
    if summary_path.is_file():
        return record.read_summary(run_dir)
    (run_dir / record.FAILURE).unlink(missing_ok=True)
    started = time.monotonic()
    try:
        return _Run(run_dir, config, progress).go(started)
    except torch.OutOfMemoryError as error:
        reason = (
            f"out of memory on {config.device} with training.batch_size = {config.training.batch_size}: "
            "lower it, or network.tile_scale."
        )
        record.write_json(run_dir / record.FAILURE, {"reason": reason})
        raise RunFailed(reason) from error
    except RunFailed as error:
        record.write_json(run_dir / record.FAILURE, {"reason": str(error)})
        raise


class _Run:
    """The state of one run between its epochs."""

    def __init__(self, run_dir: Path, config: RunConfig, progress: Progress) -> None:
        self.run_dir = run_dir
        self.config = config
        self.progress = progress
        self.survey = _open(run_dir, config)
        self.scaling = config.scaling or fit_scaling(self.survey)
        self.device = pick_device(config.device)
        self.train = load_tiles(
            self.survey,
            self.survey.splits["train"],
            self.scaling,
            config.network.tile_scale,
            store=config.path(run_dir, config.tiles) / "train",
            progress=progress,
        )
        if not len(self.train):
            raise UserError(
                f"{self.survey.root}: the train split is empty: list its tiles in splits/train.txt."
            )
        self.labelled = _labelled(self.survey, self.device)
        self.val, self.val_masks = _validation_tiles(self.survey, run_dir, config, self.scaling)
        torch.manual_seed(config.seed)
        self.model = self._new_model()
        self.trainer = Trainer(self.model, self.train, self.labelled, config)
        self.targets = RoundTargets(run_dir, config, self.survey, self.model, self.train)
        self.done = self._resume()

    def _new_model(self) -> Model:
        config, survey = self.config, self.survey
        network = build_network(config.network, self.scaling.channels, survey.num_classes)
        if config.warm_up is not None:
            state = load_checkpoint(config.path(self.run_dir, config.warm_up) / CHECKPOINT, self.device)
            network.load_state_dict(state["network"])
        elif config.network.weights != "none":
            weights = config.network.weights
            if weights != "imagenet":
                weights = str(config.path(self.run_dir, weights))
            load_encoder_weights(network, weights, config.network.encoder)
        network.to(self.device)
        return Model(
            network,
            survey.classes,
            survey.background,
            self.scaling,
            self.train.normalisation(),
            config.network,
            config.sonar,
            self.device,
        )

    def _resume(self) -> int:
        path = self.run_dir / CHECKPOINT
        done = 0
        if path.is_file():
            state = load_checkpoint(path, self.device)
            if state["config_hash"] != config_hash(self.config):
                raise UserError(
                    f"{self.run_dir / CONFIG} was changed after this run began: "
                    "start a new run folder, or put the settings back."
                )
            self.model.network.load_state_dict(state["network"])
            self.trainer.load_state(state["trainer"])
            done = int(state["epoch"])
            record.log(self.run_dir, f"resumed after epoch {done}")
        record.start_metrics(self.run_dir, done)
        return done

    def go(self, started: float) -> dict[str, Any]:
        epochs = plan(self.config)
        last: Validation | None = None
        for epoch in epochs[self.done :]:
            if epoch.number > 1 and epoch.stage == "self-training" and epoch.progress[0] == 0:
                self.trainer.restart_optimiser()
            last = self._epoch(epoch, len(epochs))
        if not epochs or last is None:
            last = self._validate(None)
        return self._finish(len(epochs), last, started)

    def _epoch(self, epoch: Epoch, total: int) -> Validation:
        began = time.monotonic()
        targets, loss = None, None
        if epoch.round > 0:
            targets = self.targets.of_round(epoch.round, self.progress)
            loss = build_loss(self.config.loss, self.targets.frequencies)
        losses = self.trainer.train_epoch(epoch, targets, loss)
        validation = self._validate(loss)
        line = {
            "epoch": epoch.number,
            "round": epoch.round,
            "stage": epoch.stage,
            "loss_segmentation": losses.segmentation,
            "loss_classification": losses.classification,
            "val_loss_segmentation": validation.loss_segmentation,
            "val_loss_classification": validation.loss_classification,
            **(self._scores(validation) if epoch.round > 0 else {}),
            "learning_rate": losses.learning_rate,
            "seconds": round(time.monotonic() - began, 3),
        }
        save_checkpoint(
            self.run_dir / CHECKPOINT,
            {
                "network": self.model.network.state_dict(),
                "trainer": self.trainer.state(),
                "epoch": epoch.number,
                "config_hash": config_hash(self.config),
                "model": self.model.description(),
            },
        )
        record.append_metrics(self.run_dir, line)
        note = record.epoch_note(line)
        record.log(self.run_dir, f"epoch {epoch.number}/{total} ({epoch.stage}, round {epoch.round}): {note}")
        self.progress("training", epoch.number, total, note)
        return validation

    def _validate(self, loss: Loss | None, save_masks: bool = False) -> Validation:
        def save(name: str, labels: NDArray[np.uint8]) -> None:
            write_index_png(self.run_dir / MASKS / f"{name}.png", labels)
            if name in self.val.names[:PREVIEW_COUNT]:
                image = self.scaling.apply(self.survey.read_image(name))
                preview = overlay(image, labels, self.survey.num_classes)
                write_png(self.run_dir / PREVIEWS / f"{name}.png", preview)

        if save_masks:
            (self.run_dir / MASKS).mkdir(exist_ok=True)
            (self.run_dir / PREVIEWS).mkdir(exist_ok=True)
        return validate(
            self.model,
            self.val,
            self.val_masks,
            loss,
            self.labelled,
            self.config.training.batch_size,
            on_prediction=save if save_masks else None,
        )

    def _scores(self, validation: Validation) -> dict[str, Any]:
        if not len(self.val) or not self._decoder_trained():
            return {}
        return dict(survey_scores(validation.confusions, self.survey.classes))

    def _decoder_trained(self) -> bool:
        return self.config.stage != "warm-up"

    def _finish(self, epochs: int, last: Validation, started: float) -> dict[str, Any]:
        frequencies = None
        if self._decoder_trained():
            last = self._validate(None, save_masks=True)
            frequencies = self.targets.first_frequencies()
        summary: dict[str, Any] = {
            "finished": True,
            "stopped": None,
            "epochs": epochs,
            "metrics": self._scores(last),
            "tiles": list(self.val.names),
            "confusions": pack_confusions(last.confusions) if len(self.val) else None,
            "average_precision": self._average_precision(last),
            "frequencies": None if frequencies is None else [float(f) for f in frequencies],
            "device": device_name(self.device),
            "seed": self.config.seed,
            "config_hash": config_hash(self.config),
            "survey_fingerprint": survey_fingerprint(self.survey),
            "versions": {
                "sonarseg": sonarseg.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "seconds": round(time.monotonic() - started, 1),
        }
        self.targets.clean()
        record.write_json(self.run_dir / record.SUMMARY, summary)
        record.log(self.run_dir, f"finished after {epochs} epochs")
        return summary

    def _average_precision(self, last: Validation) -> dict[str, float | None]:
        if not len(self.val):
            return {}
        values = average_precision(self.val.shown, last.class_scores)
        return {
            name: value
            for name, value in zip(self.survey.classes, values, strict=True)
            if name != self.survey.background
        }


def config_hash(config: RunConfig) -> str:
    """A short hash of what a run computes; where its survey lies and on which device do not count."""
    described = config.model_dump_json(exclude={"survey", "tiles", "device"})
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _open(run_dir: Path, config: RunConfig) -> Survey:
    # With a background every tile with an object holds two classes; labels.csv itself tells which show one.
    background = None if config.supervision == "single-label" else config.background
    survey = open_survey(config.path(run_dir, config.survey), background)
    return survey.with_masks_of("train") if config.supervision == "masks" else survey


def _labelled(survey: Survey, device: torch.device) -> Tensor:
    labelled = torch.ones(survey.num_classes, dtype=torch.bool, device=device)
    if survey.background_id is not None:
        labelled[survey.background_id] = False
    return labelled


def _validation_tiles(
    survey: Survey, run_dir: Path, config: RunConfig, scaling: GreyScaling
) -> tuple[Tiles, PixelStore]:
    names = [tile for tile in survey.splits["val"] if survey.has_mask(tile)]
    store = config.path(run_dir, config.tiles)
    tiles = load_tiles(survey, names, scaling, config.network.tile_scale, store=store / "val")
    return tiles, load_masks(survey, names, store / "val-masks")
