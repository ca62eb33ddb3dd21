"""The setting that the cases of benchmarks/results/runs.json and cuda.json share."""

from __future__ import annotations

from typing import Any

import torch

# Of `sonarseg init` without and with a CUDA device
NETWORKS: dict[str, dict[str, Any]] = {
    "cpu": {"encoder": "resnet18", "stages": 2, "output_stride": 8, "decoder_channels": 64},
    "cuda": {"encoder": "resnet50", "decoder_channels": 256},
}
BATCH = 16
TILES = 320


def synchronise(device: str) -> None:
    """Wait for what the device still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()
