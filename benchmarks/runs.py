"""Training runs beside what people write: steps, Lovász-Softmax, CAMs, start-up, checkpoints, memory.

`make bench-runs` writes benchmarks/results/runs.json. On the CPU; `gpu_check.py` does the same on CUDA.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from result_rows import Row, row, write_rows
from run_checkpoints import checkpoint_rows, training_state
from run_frozen import frozen_cam_case
from run_losses import lovasz_cases
from run_rows import BATCH, NETWORKS, TILES
from run_sides import rates_in_turn
from run_start import not_training_cases, startup_case

DEVICE, SIZE = "cpu", 128


def simulated(folder: Path) -> Path:
    """A simulated survey."""
    from sonarseg.simulation.survey import simulate

    survey_dir = folder / "survey" / "survey"
    simulate(survey_dir, tiles=TILES, size=SIZE, seed=0)
    return survey_dir


def training_case(survey_dir: Path, turns: int) -> Row:
    """Steps a second."""
    case = f"training steps, {DEVICE}, {NETWORKS[DEVICE]['encoder']}, batch {BATCH}, {SIZE} x {SIZE}"
    ours, plain = rates_in_turn(["our_training", "plain_training"], survey_dir, DEVICE, turns)
    return row(case, ours, plain, "steps/s", larger_is_better=True)


def cam_case(survey_dir: Path, turns: int) -> Row:
    """Tiles a second through CAM extraction."""
    case = f"CAM extraction, {DEVICE}, 4 scales with flips, {SIZE} x {SIZE}"
    ours, plain = rates_in_turn(["our_cams", "plain_cams"], survey_dir, DEVICE, turns)
    return row(case, ours, plain, "tiles/s", larger_is_better=True)


def memory_case(folder: Path, tiles: int) -> Row:
    """Peak of the memory that no file backs, in a run on many listed tiles and in one on a hundredth."""
    from many_tiles import anonymous_peak, list_tiles

    peaks = []
    for count in (tiles, tiles // 100):
        run_dir = list_tiles(folder / f"many-{count}", count)
        peaks.append(anonymous_peak(run_dir))
    case = (
        f"peak memory of a run of ours with {tiles:,} tiles listed (as 'ours') and of one with "
        f"{tiles // 100:,} (as 'peer', which is ours too)"
    )
    return row(case, *peaks, "MiB")


def main() -> None:
    """Run all cases and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="turns of each side")
    parser.add_argument("--run-seconds", type=float, default=60, help="length of the whole run on the CPU")
    parser.add_argument("--many", type=int, default=100_000, help="tiles of the memory case")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sonarseg-bench-") as name:
        folder = Path(name)
        survey_dir = simulated(folder)
        rows = [training_case(survey_dir, arguments.turns)]
        rate = rows[0]["ours"]
        rows += lovasz_cases(DEVICE, arguments.turns)
        rows.append(cam_case(survey_dir, arguments.turns))
        (folder / "frozen").mkdir()
        rows.append(frozen_cam_case(folder / "frozen"))
        rows.append(startup_case(survey_dir, DEVICE, 5))
        rows += not_training_cases(survey_dir, DEVICE, arguments.run_seconds, rate)
        rows += checkpoint_rows(folder, training_state())
        rows.append(memory_case(folder, arguments.many))
    write_rows("runs", rows)


if __name__ == "__main__":
    main()
