"""Batches in little memory: what `batch_size = "auto"` finds, and one that is halved until it fits."""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from run_rows import NETWORKS

from gpu.check import Check
from sonarseg.training.run import run

MEMORY = 4 * 2**30
# More than fits into it
TOO_MANY = 96


def _run(check: Check, name: str, batch: int | str) -> dict[str, Any]:
    config = {
        "survey": str(check.survey("large")),
        "tiles": str(check.work / "out-of-memory-tiles" / "tiles"),
        "network": NETWORKS[check.device],
        "cam": {"scales": [1.0]},
        "crf": {"iterations": 2},
        "supervision": "masks",
        "training": {"warmup_epochs": 0, "rounds": 1, "epochs_per_round": 1, "batch_size": batch},
        "device": check.device,
    }
    folder = check.work / "out-of-memory" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    started = time.perf_counter()
    summary = run(folder, lower_batch_size=True)
    peak = summary["peak_device_memory"] or 0
    seconds = time.perf_counter() - started
    check.say(
        f"out of memory, {name}: batch {summary['batch_size']}, {seconds:.1f} s, peak {peak / 2**30:.2f} GiB"
    )
    return summary


def _limit_memory(check: Check) -> None:
    if check.cuda:
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(MEMORY / whole)


def auto(check: Check) -> None:
    """`batch_size = "auto"` in 4 GiB."""
    _limit_memory(check)
    batch = _run(check, "auto", "auto")["batch_size"]
    check.row('batch that batch_size = "auto" finds in 4 GiB', batch, None, "tiles")


def halved(check: Check) -> None:
    """A batch that is too large for 4 GiB."""
    _limit_memory(check)
    batch = _run(check, "halved", TOO_MANY if check.cuda else 16)["batch_size"]
    check.row(f"batch to which {TOO_MANY} is lowered in 4 GiB", batch, None, "tiles")


PARTS = (auto, halved)
