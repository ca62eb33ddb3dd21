"""The largest batch that fits: what `batch_size = "auto"` stands for."""

from __future__ import annotations

from pathlib import Path

import torch

from sonarseg.losses.lovasz_softmax import lovasz_softmax
from sonarseg.progress import Progress, silent
from sonarseg.training.batch_size import (
    SMALLEST,
    choose_batch_size,
    chosen_batch_size,
    smaller,
    with_batch_size,
)
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import RunData, new_model
from sonarseg.training.data.sampling import epoch_size
from sonarseg.training.device import free_memory, pick_device
from sonarseg.training.failures import OUT_OF_MEMORY, RunFailed, is_out_of_memory
from sonarseg.training.probe import train_steps
from sonarseg.training.run_folder.record import log
from sonarseg.training.schedule import FINE_TUNE, SELF_TRAINING, plan

CPU_BATCH_SIZE = 16
LARGEST = 64
# An epoch of fewer steps hardly learns.
LEAST_STEPS = 4
# Share of the device's memory that the largest batch may take: other batches hold larger tiles.
USABLE = 0.9


def settled(run_dir: Path, config: RunConfig, data: RunData, progress: Progress = silent) -> RunConfig:
    """Give a configuration its batch size as a number.

    What an earlier start of the run has chosen stays, so that all its epochs are alike.
    """
    known = chosen_batch_size(run_dir, config)
    if known is not None:
        return with_batch_size(config, known)
    found = largest_batch(run_dir, config, data, progress)
    choose_batch_size(
        run_dir, found, "the largest that fits" if data.device.type == "cuda" else "the default of a CPU"
    )
    return with_batch_size(config, found)


def largest_batch(run_dir: Path, config: RunConfig, data: RunData, progress: Progress = silent) -> int:
    """Find the largest power of two of tiles a step that fits on a CUDA device; a default on the CPU.

    It is tried with steps of self-training under Lovász-Softmax, which takes the most memory, so
    that it fits every trial of a study, and with steps in which a frozen encoder is tuned. It leaves at least
    `LEAST_STEPS` steps an epoch.

    Raises
    ------
    RunFailed
        Where not even the smallest fits.
    """
    if data.device.type != "cuda":
        return CPU_BATCH_SIZE
    most = max(SMALLEST, min(LARGEST, epoch_size(data.train.multiclass) // LEAST_STEPS))
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
    """Whether steps and a validation pass, of all runs that share the device, leave a tenth of it free."""
    free_memory(data.device)
    held_by_others = _held_by_others(data.device)
    torch.cuda.reset_peak_memory_stats(data.device)
    try:
        model, seen = new_model(run_dir, config, data)
        if any(epoch.stage == FINE_TUNE for epoch in plan(config)):
            masks = lovasz_softmax if config.supervision == "masks" else None
            train_steps(model, config, data, FINE_TUNE, masks)
        train_steps(model, config, seen, SELF_TRAINING, lovasz_softmax)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        free_memory(data.device)
    total = torch.cuda.get_device_properties(data.device).total_memory
    wanted = config.runs_per_device * torch.cuda.max_memory_reserved(data.device)
    return wanted + held_by_others <= USABLE * total


def _held_by_others(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return max(0, total - free - torch.cuda.memory_reserved(device))


def halve_batch_size(
    run_dir: Path, batch_size: int, config: RunConfig, allowed: bool, progress: Progress
) -> None:
    """Halve the batch size of a run that may, and say so; end one that may not."""
    half = smaller(batch_size)
    if not allowed or half is None:
        raise RunFailed(
            f"out of memory on {pick_device(config.device)} with training.batch_size = {batch_size}: "
            "lower it, or network.tile_scale.",
            OUT_OF_MEMORY,
        )
    why = f"memory ran out with {batch_size}"
    choose_batch_size(run_dir, half, why)
    sentence = f"batch size {half} from here on: {why}"
    log(run_dir, sentence)
    progress("batch size", 1, 1, sentence)
