"""Simulates the surveys that the steps share: `python -m gpu.surveys FOLDER DEVICE`."""

from __future__ import annotations

import sys
from pathlib import Path

from gpu.sizes import FULL, TINY
from sonarseg.simulation.survey import simulate


def simulate_all(work: Path, device: str) -> None:
    """Simulate both, the smaller first; `made` appears where one is whole."""
    sizes = FULL if device == "cuda" else TINY
    for name, (tiles, side) in {"small": sizes.small, "large": sizes.large}.items():
        folder = work / name
        folder.mkdir()
        simulate(folder / "survey", tiles=tiles, size=side, seed=0)
        (folder / "made").touch()


if __name__ == "__main__":
    simulate_all(Path(sys.argv[1]), sys.argv[2])
