"""From the start of a process to its first optimiser step, and what a whole run spends beside training.

    python benchmarks/run_start.py SIDE SURVEY DEVICE

says "first step" as soon as that side's first step has ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import run_sides
from result_rows import Row, row
from run_rows import BATCH, NETWORKS, synchronise

from sonarseg.processes.pool import PYTHON

FIRST_STEP = "first step"


def seconds_to_first_step(command: list[str]) -> float:
    """Time from the start of a process to the line with which it reports its first step, then kill it.

    Not up to its exit: the workers of a DataLoader keep running and hold its pipes for seconds.
    """
    started = time.perf_counter()
    # A session of its own, so that the workers are killed with it.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.strip() == FIRST_STEP:
                return time.perf_counter() - started
        raise RuntimeError(f"it ended before its first step: {' '.join(command)}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def startup_case(survey_dir: Path, device: str, turns: int) -> Row:
    """Seconds from the start of a process to the end of its first step, the tiles being stored."""
    seconds: list[list[float]] = [[], []]
    for _ in range(turns + 1):
        for place, side in enumerate(("our_training", "plain_training")):
            command = [sys.executable, __file__, side, str(survey_dir), device]
            seconds[place].append(seconds_to_first_step(command))
    case = f"from process start to the end of the first step, {device}"
    # The first turn warms up, and stores the tiles.
    return row(case, *(median(side[1:]) for side in seconds), "s", larger_is_better=False)


_RUN = """
import json, sys, time
from pathlib import Path
from sonarseg.training import run, trainer
from sonarseg.training.checkpoint import writer
from sonarseg.training.targets import rounds
seconds = {}
def timed(place, name, part):
    original = getattr(place, name)
    def call(*arguments, **named):
        started = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started
    setattr(place, name, call)
timed(trainer.Trainer, "train_epoch", "training")
timed(run, "validate", "validation")
timed(writer.CheckpointWriter, "write", "checkpoints")
timed(rounds.RoundTargets, "of_round", "CAMs, dense CRF and targets")
run.run(Path(sys.argv[1]))
print(json.dumps(seconds))
"""


def not_training_cases(survey_dir: Path, device: str, wanted: float, rate: float) -> list[Row]:
    """Share of a whole run, process start to exit, that is not spent in training epochs."""
    survey_tiles = len((survey_dir / "splits" / "train.txt").read_text().split())
    epochs = max(3, round(wanted * rate / -(-survey_tiles // BATCH)))
    config = {
        "survey": str(survey_dir),
        "network": NETWORKS[device],
        "training": {
            "warmup_epochs": epochs // 3,
            "rounds": 2,
            "epochs_per_round": epochs // 3,
            "batch_size": BATCH,
        },
        "device": device,
    }
    run_dir = survey_dir.parent / f"run-{device}"
    run_dir.mkdir()
    (run_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")
    started = time.perf_counter()
    ended = subprocess.run([*PYTHON, "-c", _RUN, str(run_dir)], check=True, capture_output=True, text=True)
    whole = time.perf_counter() - started
    parts = json.loads(ended.stdout.splitlines()[-1])
    parts["start and end"] = whole - sum(parts.values())
    training = parts.pop("training")
    case = f"share of a run of {whole:.0f} s that is not training, {device}"
    rows = [row(case, 100 * (1 - training / whole), None, "%")]
    for part, seconds in parts.items():
        rows.append(row(f"of which {part}, {device}", 100 * seconds / whole, None, "%"))
    return rows


if __name__ == "__main__":
    side_name, survey_name, device_name = sys.argv[1:]

    def report_step() -> None:
        """Say that a step has ended, and wait to be killed."""
        synchronise(device_name)
        print(FIRST_STEP, flush=True)
        time.sleep(60)
        raise SystemExit("nobody waited for the first step")

    getattr(run_sides, side_name)(Path(survey_name), device_name, after_step=report_step)()
