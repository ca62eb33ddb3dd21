"""What only a GPU shows: how long it idles while training, and what `training.deterministic = true` costs."""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from result_rows import Row, row
from run_sides import our_training, rates_in_turn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# Of 320 tiles in batches of 16: 60 steps
EPOCHS = 3


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals, so that kernels of two streams at one time count once."""
    length, end = 0.0, float("-inf")
    for first, last in sorted(intervals):
        length += max(0.0, last - max(first, end))
        end = max(end, last)
    return length


def _kernel_seconds(found: profile) -> float:
    events = found.events() or []
    return 1e-6 * covered(
        (event.time_range.start, event.time_range.end)
        for event in events
        # Annotations span the gaps between kernels; copies are no work of the multiprocessors.
        if event.device_type == DeviceType.CUDA
        and not event.is_user_annotation
        and not event.name.startswith(("Memcpy", "Memset", "Optimizer.", "ProfilerStep"))
    )


def idle_share(survey_dir: Path) -> float:
    """Share of the training time without a kernel on the GPU, 0..1."""
    work = our_training(survey_dir, "cuda")
    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(EPOCHS):
        work()
    torch.cuda.synchronize()
    # Without the profiler, which slows the host, but hardly the kernels.
    whole = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(EPOCHS):
            work()
        torch.cuda.synchronize()
    busy = _kernel_seconds(found)
    if not busy:
        raise RuntimeError("the profiler saw no kernel: this user may not be allowed to use CUPTI")
    return max(0.0, 1 - busy / whole)


def idle_row(survey_dir: Path) -> Row:
    """Idle share, measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as pool:
        share = pool.submit(idle_share, survey_dir).result()
    return row("share of the time the GPU idles while training, cuda", 100 * share, None, "%")


def deterministic_rows(survey_dir: Path, turns: int) -> list[Row]:
    """Steps a second with and without `training.deterministic`, and the share that it costs."""
    sides = ["our_training", "our_deterministic_training"]
    without, with_it = rates_in_turn(sides, survey_dir, "cuda", turns)
    return [
        row("training steps with deterministic = false, cuda", without, None, "steps/s"),
        row("training steps with deterministic = true, cuda", with_it, None, "steps/s"),
        row("cost of deterministic = true, cuda", 100 * (1 - with_it / without), None, "% of the steps/s"),
    ]
