"""Training runs beside what people write: steps, Lovász-Softmax, CAMs, start-up, checkpoints, memory.

`make bench-runs` writes benchmarks/results/runs.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from result_rows import Row, row, write_rows
from run_checkpoints import checkpoint_rows
from run_cuda import deterministic_rows, idle_row
from run_losses import lovasz_cases
from run_rows import BATCH, NETWORKS, SIZES, TILES
from run_sides import rates_in_turn
from run_start import not_training_cases, startup_case

OPEN = "(open: no CUDA device was at hand)"


def simulated(folder: Path, size: int) -> Path:
    """A simulated survey."""
    from sonarseg.simulation.survey import simulate

    survey_dir = folder / f"survey-{size}" / "survey"
    simulate(survey_dir, tiles=TILES, size=size, seed=0)
    return survey_dir


def training_cases(survey_dir: Path, device: str, turns: int) -> list[Row]:
    """Steps a second."""
    size = SIZES[device]
    case = f"training steps, {device}, {NETWORKS[device]['encoder']}, batch {BATCH}, {size} x {size}"
    if device == "cpu":
        ours, plain = rates_in_turn(["our_training", "plain_training"], survey_dir, device, turns)
        return [row(case, ours, plain, "steps/s", larger_is_better=True)]
    sides = ["our_training", "plain_training", "plain_amp_training"]
    ours, plain, amp = rates_in_turn(sides, survey_dir, device, turns)
    return [
        row(case, ours, plain, "steps/s", larger_is_better=True),
        row(f"{case}, plain loop with autocast", ours, amp, "steps/s", larger_is_better=True),
    ]


def cam_case(survey_dir: Path, device: str, turns: int) -> Row:
    """Tiles a second through CAM extraction."""
    case = f"CAM extraction, {device}, 4 scales with flips, {SIZES[device]} x {SIZES[device]}"
    ours, plain = rates_in_turn(["our_cams", "plain_cams"], survey_dir, device, turns)
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
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sonarseg-bench-") as name:
        folder = Path(name)
        for device in ("cpu", "cuda"):
            if device == "cuda" and not torch.cuda.is_available():
                rows += [row(f"{case} {OPEN}", None, None, unit) for case, unit in CUDA]
                continue
            survey_dir = simulated(folder, SIZES[device])
            rows += training_cases(survey_dir, device, arguments.turns)
            rows += lovasz_cases(device, arguments.turns)
            rows.append(cam_case(survey_dir, device, arguments.turns))
            rows.append(startup_case(survey_dir, device, 5))
            if device == "cuda":
                rows.append(idle_row(survey_dir))
                rows += deterministic_rows(survey_dir, arguments.turns)
            length = arguments.run_seconds if device == "cpu" else 300
            rate = next(
                found["ours"] for found in rows if found["case"].startswith(f"training steps, {device}")
            )
            rows += not_training_cases(survey_dir, device, length, rate)
        rows += checkpoint_rows(folder)
        rows.append(memory_case(folder, arguments.many))
    write_rows("runs", rows)


# Rows that stay open where there is no CUDA device
CUDA = [
    ("training steps, cuda, resnet50, batch 16, 256 x 256", "steps/s"),
    ("training steps, cuda, resnet50, batch 16, 256 x 256, plain loop with autocast", "steps/s"),
    *(
        (f"Lovász-Softmax, cuda, batch 8, 256 x 256, {classes} classes, beside {name}", "ms")
        for classes in (4, 12)
        for name in ("segmentation-models-pytorch", "kornia")
    ),
    ("CAM extraction, cuda, 4 scales with flips, 256 x 256", "tiles/s"),
    ("from process start to the end of the first step, cuda", "s"),
    ("share of the time the GPU idles while training, cuda", "%"),
    ("training steps with deterministic = false, cuda", "steps/s"),
    ("training steps with deterministic = true, cuda", "steps/s"),
    ("cost of deterministic = true, cuda", "% of the steps/s"),
    ("share of a run of 300 s that is not training, cuda", "%"),
]

if __name__ == "__main__":
    main()
