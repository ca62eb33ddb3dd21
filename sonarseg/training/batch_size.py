"""The batch size that a run has chosen for itself: kept in its folder, so that all its epochs are alike."""

from __future__ import annotations

from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.files.whole import read_json, write_json
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.record import log, start_metrics

CHOSEN = "batch_size.json"
SMALLEST = 2


def with_batch_size(config: RunConfig, batch_size: int) -> RunConfig:
    """The same run with another batch size."""
    training = config.training.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"training": training})


def chosen_batch_size(run_dir: Path, config: RunConfig) -> int | None:
    """The batch size of a run: what it has chosen, else what is set; None where neither is."""
    path = run_dir / CHOSEN
    if path.is_file():
        advice = "put a copy back, or start a new run folder"
        chosen = read_json(path, advice).get("batch_size")
        if not isinstance(chosen, int):
            raise UserError(f"{path} is damaged (batch_size is {chosen!r}, not a whole number): {advice}.")
        return chosen
    configured = config.training.batch_size
    return None if configured == "auto" else configured


def choose_batch_size(run_dir: Path, batch_size: int, why: str) -> None:
    """Remember the batch size of a run in its folder."""
    write_json(run_dir / CHOSEN, {"batch_size": batch_size, "why": why})


def smaller(batch_size: int) -> int | None:
    """Half the batch size; None where batch normalisation would be left with a single tile."""
    half = batch_size // 2
    return half if half >= SMALLEST else None


def start_over(run_dir: Path, batch_size: int, why: str) -> None:
    """Have a run begin again from its first epoch, with another batch size."""
    # torch takes seconds to import, and who follows a run does without it.
    from sonarseg.training.checkpoint.files import CHECKPOINT, PREVIOUS

    for name in (CHECKPOINT, PREVIOUS):
        (run_dir / name).unlink(missing_ok=True)
    start_metrics(run_dir, [])
    choose_batch_size(run_dir, batch_size, why)
    log(run_dir, f"starts over with batch size {batch_size}: {why}")
