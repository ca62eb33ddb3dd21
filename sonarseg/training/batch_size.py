"""The batch size of a run: as set, the largest that fits, or a smaller one after memory ran out."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import torch

from sonarseg.losses.lovasz_softmax import lovasz_softmax
from sonarseg.progress import Progress, silent
from sonarseg.training.config import RunConfig
from sonarseg.training.endings import OUT_OF_MEMORY, RunFailed, is_out_of_memory
from sonarseg.training.record import write_json
from sonarseg.training.run_data import RunData, new_model
from sonarseg.training.trial_steps import train_steps

CPU_BATCH_SIZE = 16
LARGEST = 64
SMALLEST = 2
# An epoch of fewer steps hardly learns.
LEAST_STEPS = 4
# Share of the device's memory that the largest batch may take: other batches hold larger tiles.
USABLE = 0.9
CHOSEN = "batch_size.json"


def with_batch_size(config: RunConfig, batch_size: int) -> RunConfig:
    """The same run with another batch size."""
    training = config.training.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"training": training})


def settled(run_dir: Path, config: RunConfig, data: RunData, progress: Progress = silent) -> RunConfig:
    """Give a configuration its batch size as a number.

    What an earlier start of the run has chosen stays, so that all its epochs are alike.
    """
    path = run_dir / CHOSEN
    if path.is_file():
        return with_batch_size(config, int(json.loads(path.read_text(encoding="utf-8"))["batch_size"]))
    if config.training.batch_size != "auto":
        return config
    found = largest_batch(run_dir, config, data, progress)
    choose(run_dir, found, "the largest that fits" if data.device.type == "cuda" else "the default of a CPU")
    return with_batch_size(config, found)


def choose(run_dir: Path, batch_size: int, why: str) -> None:
    """Remember the batch size of a run in its folder."""
    write_json(run_dir / CHOSEN, {"batch_size": batch_size, "why": why})


def smaller(batch_size: int) -> int | None:
    """Half the batch size; None where batch normalisation would be left with a single tile."""
    half = batch_size // 2
    return half if half >= SMALLEST else None


def largest_batch(run_dir: Path, config: RunConfig, data: RunData, progress: Progress = silent) -> int:
    """Find the largest power of two of tiles a step that fits on a CUDA device; a default on the CPU.

    It is tried with steps of self-training under Lovász-Softmax, which takes the most memory, so
    that it fits every trial of a study. It leaves at least `LEAST_STEPS` steps an epoch.

    Raises
    ------
    RunFailed
        Where not even the smallest fits.
    """
    if data.device.type != "cuda":
        return CPU_BATCH_SIZE
    most = max(SMALLEST, min(LARGEST, len(data.train) // LEAST_STEPS))
    fitting, size = 0, SMALLEST
    while size <= most:
        progress("batch size", size, most)
        if not _fits(run_dir, with_batch_size(config, size), data):
            break
        fitting, size = size, 2 * size
    if not fitting:
        raise RunFailed(
            f"not even {SMALLEST} tiles fit into the memory of {data.device}: lower network.tile_scale.",
            OUT_OF_MEMORY,
        )
    return fitting


def _fits(run_dir: Path, config: RunConfig, data: RunData) -> bool:
    """Whether steps and a validation pass leave a tenth of the device's memory free."""
    free_memory(data.device)
    held_by_others = _held_by_others(data.device)
    torch.cuda.reset_peak_memory_stats(data.device)
    try:
        train_steps(new_model(run_dir, config, data), config, data, lovasz_softmax)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        free_memory(data.device)
    total = torch.cuda.get_device_properties(data.device).total_memory
    return torch.cuda.max_memory_reserved(data.device) + held_by_others <= USABLE * total


def _held_by_others(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return max(0, total - free - torch.cuda.memory_reserved(device))


def free_memory(device: torch.device) -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
