"""A run is a folder: config.json in; metrics, checkpoint and summary out; running it again resumes."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sonarseg.densecrf.engines.base import Engine
from sonarseg.errors import UserError
from sonarseg.files.whole import write_json
from sonarseg.losses.build import Loss, build_loss
from sonarseg.metrics.iou import survey_scores
from sonarseg.network.timm_weights import missing_weights
from sonarseg.progress import Progress, silent
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole, load_newest
from sonarseg.training.checkpoint.writer import CheckpointWriter
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import RunData, load_run_data, new_model, tiles_hash
from sonarseg.training.data.stages import StageData
from sonarseg.training.device import begin_run, free_memory, make_deterministic, pick_device
from sonarseg.training.failures import RunFailed, explained, is_out_of_memory
from sonarseg.training.largest_batch import halve_batch_size, settled
from sonarseg.training.map_scores import map_scores
from sonarseg.training.round_scores import RoundScores
from sonarseg.training.run_folder import record
from sonarseg.training.run_folder.compute_environment import ComputeEnvironment, compute_environment
from sonarseg.training.run_folder.config import CONFIG, read_config
from sonarseg.training.run_folder.cost import Spent
from sonarseg.training.run_folder.epoch_line import epoch_line
from sonarseg.training.run_folder.lock import locked
from sonarseg.training.run_folder.predictions import mask_writer, predict_unscored
from sonarseg.training.run_folder.summary import config_hash, summarise
from sonarseg.training.schedule import FINE_TUNE, Epoch, ends_round, plan, restarts
from sonarseg.training.targets.rounds import PSEUDO_LABELS, RoundTargets, refuse_lost_labels
from sonarseg.training.trainer import Trainer
from sonarseg.training.validation import Validation, validate

# An epoch on a GPU may take less time than its checkpoint: one is written so often at most, and at the end of
# each round.
CUDA_CHECKPOINT_SECONDS = 30.0


def run(run_dir: Path, progress: Progress = silent, *, lower_batch_size: bool = False) -> dict[str, Any]:
    """Train, or go on training, what `run_dir/config.json` describes; return the content of summary.json.

    A finished run stays as it is while its checkpoint is whole; else it goes on from the one before.

    Parameters
    ----------
    run_dir : Path
        The run folder.
    progress : Progress
        Called at every step.
    lower_batch_size : bool
        Where memory runs out, go on with batches half as large and say so. A trial must not: it
        could not be compared with others.

    Raises
    ------
    UserError
        Where the configuration or the survey is wrong, another process writes this run, the disk
        is full or the device is lost.
    RunFailed
        Where training cannot go on; `failure.json` holds the reason too.
    """
    config = read_config(run_dir)
    finished = record.is_finished(run_dir)
    if finished and record.read_summary(run_dir).get("config_hash") != config_hash(config):
        raise _changed_settings(run_dir)
    if finished and is_whole(run_dir / CHECKPOINT):
        return record.read_summary(run_dir)
    with locked(run_dir):
        (run_dir / record.FAILURE).unlink(missing_ok=True)
        try:
            while True:
                batch_size = _train(run_dir, config, progress)
                if batch_size is None:
                    return record.read_summary(run_dir)
                free_memory(pick_device(config.device))
                halve_batch_size(run_dir, batch_size, config, lower_batch_size, progress)
        except RunFailed as error:
            record.write_failure(run_dir, str(error), error.kind)
            raise
        except Exception as error:
            said = explained(error, run_dir)
            if isinstance(said, RunFailed):
                record.write_failure(run_dir, str(said), said.kind)
            if said is error:
                raise
            raise said from error


def _changed_settings(run_dir: Path) -> UserError:
    advice = "start a new run folder, or put the settings back"
    return UserError(f"{run_dir / CONFIG} was changed after this run began: {advice}.")


def _train(run_dir: Path, config: RunConfig, progress: Progress) -> int | None:
    """Train to the end, or until memory runs out: then the batch size is returned."""
    make_deterministic(config.training.deterministic)
    begin_run(pick_device(config.device), config.runs_per_device)
    spent = Spent(pick_device(config.device))
    data = load_run_data(run_dir, config, progress)
    sized = settled(run_dir, config, data, progress)
    try:
        _Run(run_dir, sized, config_hash(config), data, spent, progress).go()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return sized.training.tiles_a_step
    return None


class _Run:
    """The state of one run between its epochs."""

    def __init__(
        self, run_dir: Path, config: RunConfig, hashed: str, data: RunData, spent: Spent, progress: Progress
    ) -> None:
        self.run_dir = run_dir
        self.config = config
        self.hashed = hashed
        model, self.data = new_model(run_dir, config, data, progress)
        self.stage_data = StageData(run_dir, config, data, self.data)
        data = self.data
        self.tiles_hash = tiles_hash(data)
        self.spent = spent
        self.progress = progress
        self.compute_environment = compute_environment(config, data.device)
        self.trainer = Trainer(model, data.train, data.labelled, config)
        self.model = self.trainer.for_use
        self.targets = RoundTargets(run_dir, config, data.survey, self.model, data.train)
        self.rounds = RoundScores(data, self.model, config.training.tiles_a_step)
        self.lines: list[dict[str, Any]] = []
        between = CUDA_CHECKPOINT_SECONDS if data.device.type == "cuda" else 0.0
        self.checkpoints = CheckpointWriter(run_dir / CHECKPOINT, data.device, between)
        # A disk that is full ends the run at once, not after another epoch.
        self.trainer.call_after_step(self.checkpoints.check)
        self.done = self._resume()

    def _resume(self) -> int:
        """Take up the newest whole checkpoint; the lines of the epochs it knows come with it."""
        state, damaged = load_newest(self.run_dir, torch.device("cpu"))
        if state is not None:
            if state["config_hash"] != self.hashed:
                raise _changed_settings(self.run_dir)
            if state["tiles_hash"] != self.tiles_hash:
                raise UserError(
                    f"{self.data.survey.root}: tiles, labels, classes or masks were changed after the run "
                    f"{self.run_dir} began: start a new run folder, or put the survey back."
                )
            self._note_changes(state.get("computes_on"))
            self.lines = state["metrics"]
            stage = self.lines[-1]["stage"]
            self.trainer.load_state(state["trainer"], state["network"], stage)
            self._see(stage)
            self.spent.goes_on(state["spent"])
            self.rounds.kept = state.get("rounds", [])
            if any(line["round"] > 0 for line in self.lines):
                refuse_lost_labels(self.run_dir, self.config)
            record.log(self.run_dir, f"resumed after epoch {len(self.lines)}, {self.compute_environment}")
        else:
            record.log(self.run_dir, f"begins {self.compute_environment}")
            network = self.config.network
            sentence = missing_weights(network.weights, network.encoder)
            if sentence and self.config.warm_up is None:
                record.log(self.run_dir, sentence)
                self.progress("weights", 1, 1, sentence)
            # Of a start whose network is lost or was given up: other batches, damaged checkpoints
            shutil.rmtree(self.run_dir / PSEUDO_LABELS, ignore_errors=True)
        if self.compute_environment.engine == "torch":
            note = Engine("torch", str(self.data.device)).fallback_note()
            if note:
                record.log(self.run_dir, note)
        done = len(self.lines)
        for sentence in damaged:
            sentence += f": goes on from the one before, after epoch {done}" if done else ": begins anew"
            record.log(self.run_dir, sentence)
            self.progress("checkpoint", 1, 1, sentence)
        record.start_metrics(self.run_dir, self.lines)
        # Of a finished run whose network is lost, or a pruned one: only now is it sure to go on.
        (self.run_dir / record.SUMMARY).unlink(missing_ok=True)
        return done

    def _note_changes(self, before: dict[str, Any] | None) -> None:
        changes = self.compute_environment.changes(ComputeEnvironment(**before)) if before else ""
        if changes:
            record.log(
                self.run_dir,
                f"goes on {changes}: figures may differ in the last digits from those of a run that was not "
                "interrupted",
            )

    def _see(self, stage: str) -> None:
        """Take the tiles as the network takes them in a stage."""
        data = self.stage_data.of(stage, self.model, self.progress)
        self.data = self.rounds.data = data
        self.trainer.tiles = self.targets.tiles = data.train

    def go(self) -> None:
        """Train the epochs that are left and write the summary."""
        epochs = plan(self.config)
        last: Validation | None = None
        if not self.done and self.config.warm_up is not None and self._decoder_trained():
            self.rounds.end_warm_up()
        with self.checkpoints:
            for epoch in epochs[self.done :]:
                if restarts(epoch):
                    self.trainer.restart(epoch.stage)
                    self._see(epoch.stage)
                last = self._epoch(epoch, epochs)
        self._finish(len(epochs), last or self._validate(None))

    def _epoch(self, epoch: Epoch, epochs: list[Epoch]) -> Validation:
        began = time.monotonic()
        targets, loss = None, None
        if epoch.round > 0 or (epoch.stage == FINE_TUNE and self.config.supervision == "masks"):
            targets = self.targets.of_round(max(1, epoch.round), self.progress)
            loss = build_loss(self.config.loss, self.targets.frequencies, self.data.device)
        losses = self.trainer.train_epoch(epoch, targets, loss)
        validation = self._validate(loss)
        scores = {} if targets is None else self._scores(validation)
        line = epoch_line(epoch, losses, validation, scores, time.monotonic() - began)
        self.lines.append(line)
        ends = ends_round(epoch, epochs)
        if ends and epoch.round > 0:
            self.rounds.end_round(epoch.round, validation.confusions)
        elif ends:
            self.rounds.end_warm_up()
        self.checkpoints.offer(self._state, partial(self._tell, epoch, len(epochs), line), due=ends)
        return validation

    def _tell(self, epoch: Epoch, total: int, line: dict[str, Any]) -> None:
        """Tell of an epoch whose checkpoint is on disk: what was told is never lost."""
        record.append_metrics(self.run_dir, line)
        note = record.epoch_note(line)
        record.log(self.run_dir, f"epoch {epoch.number}/{total} ({epoch.stage}, round {epoch.round}): {note}")
        self.progress("training", epoch.number, total, note)

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.model.network.state_dict(),
            "trainer": self.trainer.state(),
            "epoch": len(self.lines),
            "metrics": self.lines,
            "rounds": self.rounds.kept,
            "spent": self.spent.now(),
            "config_hash": self.hashed,
            "tiles_hash": self.tiles_hash,
            "computes_on": asdict(self.compute_environment),
            "model": self.model.description(),
        }

    def _validate(self, loss: Loss | None, last: bool = False) -> Validation:
        return validate(
            self.model,
            self.data.val,
            self.data.val_masks,
            loss,
            self.trainer.branch,
            self.config.training.tiles_a_step,
            restrict_to_shown=last,
            on_prediction=mask_writer(self.run_dir, self.data) if last else None,
        )

    def _scores(self, validation: Validation) -> dict[str, Any]:
        if not len(self.data.val) or not self._decoder_trained():
            return {}
        return dict(survey_scores(validation.confusions, self.data.survey.classes))

    def _decoder_trained(self) -> bool:
        return self.config.stage != "warm-up"

    def _finish(self, epochs: int, last: Validation) -> None:
        frequencies = None
        if self._decoder_trained():
            last = self._validate(None, last=True)
            if not len(self.data.val):
                predict_unscored(self.run_dir, self.data, self.model)
            frequencies = self.targets.first_frequencies(self.progress)
        summary = summarise(
            self.config,
            self.data,
            last,
            {
                "epochs": epochs,
                "metrics": self._scores(last),
                "rounds": self.rounds.kept,
                "maps": map_scores(self.model, self.data, self.progress) if self.config.score_maps else None,
                "frequencies": None if frequencies is None else [float(f) for f in frequencies],
                "config_hash": self.hashed,
                "crf_engine": self.compute_environment.engine,
                "skipped_steps": self.trainer.guard.skipped,
                **self.spent.now(),
            },
        )
        write_json(self.run_dir / record.SUMMARY, summary)
        # Only now: a run killed before this line needs it again.
        self.targets.clean()
        self.stage_data.clean()
        record.log(self.run_dir, f"finished after {epochs} epochs")
