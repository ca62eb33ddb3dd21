"""How long training waits for a checkpoint, beside `torch.save` and a flush in its place."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from result_rows import Row, row, seconds
from run_rows import NETWORKS

from sonarseg.network.model import SegmentationNetwork
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.writer import CheckpointWriter

TURNS = 5


def training_state(device: str = "cpu", settings: dict[str, Any] = NETWORKS["cuda"]) -> dict[str, Any]:
    """Network of a CUDA run and moments of its optimiser."""
    others = {name: value for name, value in settings.items() if name != "encoder"}
    network = SegmentationNetwork(settings["encoder"], 1, 4, **others).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return {"network": network.state_dict(), "trainer": {"optimiser": optimiser.state_dict()}}


def _plain(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def checkpoint_rows(
    folder: Path, state: dict[str, Any], device: str = "cpu", turns: int = TURNS
) -> list[Row]:
    """Seconds that training waits, and seconds until the checkpoint is on disk."""
    path = folder / CHECKPOINT
    waits: list[float] = []
    writes: list[float] = []
    plain: list[float] = []
    with CheckpointWriter(path, torch.device(device)) as writer:
        # The first makes the copy's memory.
        for _ in range(turns + 1):
            began = time.perf_counter()
            waits.append(seconds(lambda: writer.write(state)))
            writer.wait()
            writes.append(time.perf_counter() - began)
            plain.append(seconds(lambda: _plain(state, folder / "plain.pt")))
    size = f"{path.stat().st_size / 1e6:.0f} MB"
    peer = median(plain[1:])
    cases = {
        f"training waits for a checkpoint of {size}, {device}": waits,
        f"until a checkpoint of {size} is on disk, {device}": writes,
    }
    return [row(case, median(took[1:]), peer, "s", larger_is_better=False) for case, took in cases.items()]
