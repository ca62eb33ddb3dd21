"""Lines of benchmarks/results/runs.json, and the setting that its cases share."""

from __future__ import annotations

from typing import Any

import torch

Row = dict[str, Any]
# Of `sonarseg init` without and with a CUDA device
NETWORKS: dict[str, dict[str, Any]] = {
    "cpu": {"encoder": "resnet18", "stages": 2, "output_stride": 8, "decoder_channels": 64},
    "cuda": {"encoder": "resnet50", "decoder_channels": 256},
}
SIZES = {"cpu": 128, "cuda": 256}
BATCH = 16
TILES = 320


def row(
    case: str, mine: float | None, peer: float | None, unit: str, *, larger_is_better: bool | None = None
) -> Row:
    """A line of the result file.

    Parameters
    ----------
    larger_is_better : bool or None
        A ratio above 1 is better for us; without it there is none.
    """
    ratio = None
    if mine is not None and peer is not None and larger_is_better is not None:
        ratio = round(mine / peer if larger_is_better else peer / mine, 2)
    rounded = [None if value is None else round(value, 4) for value in (mine, peer)]
    found = {"case": case, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": ratio}
    print(found, flush=True)
    return found


def synchronise(device: str) -> None:
    """Wait for what the device still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()
