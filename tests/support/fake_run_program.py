"""Stands in for `python -m sonarseg RUN_DIR`: fast, and badly behaved when told to be.

`python fake_run_program.py BEHAVIOUR RUN_DIR`. It imports nothing of the project, so that what is
tested are the files and signals of a run folder, not the code behind them.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

VALUES = {"cross-entropy": 0.5, "focal": 0.6, "lovasz_softmax": 0.7}


def pack(confusion: list[list[int]], tiles: int) -> str:
    """The same 2 x 2 matrix for each tile, in the text form of the study database."""
    counts = b"".join(number.to_bytes(4, "little") for row in confusion for number in row) * tiles
    return f"{tiles}:2:4:{base64.b64encode(zlib.compress(counts)).decode()}"


def val_tiles(run_dir: Path, config: dict) -> int:
    names = run_dir / config.get("survey", "none") / "splits" / "val.txt"
    return len(names.read_text().split()) if names.is_file() else 1


def score(config: dict, epoch: int, epochs: int) -> float:
    loss = config["loss"]
    final = VALUES[loss["name"]] - 0.02 * loss["gamma"] - 0.01 * loss["alpha"] + 0.001 * config["seed"]
    return final - 0.01 * (epochs - epoch)


def maps(config: dict, tiles: int, behaviour: str) -> dict | None:
    """What the maps are worth: more under the candidate loss, most at a rate of 2e-3, by luck of the seed."""
    if not config.get("score_maps"):
        return None
    rate = config["training"]["warmup_rate"] or 0.0
    value = 0.5 + 0.1 * (config["cam"]["loss"] == "candidate") - 10 * abs(rate - 0.002)
    value += 0.001 * (config["seed"] * 7 % 5)
    confusion = [[1, 9], [6, 0]] if behaviour == "swaps" else [[8, 2], [1, 5]]
    return {
        "metrics": {"miou": value, "miou_multiclass": value, "iou": {}},
        "confusions": pack(confusion, tiles),
    }


def rounds(config: dict, epochs: int, tiles: int, behaviour: str) -> list[dict]:
    """Scores at the end of each round; under `overshoots` the first one is the best but for round 0."""
    found = [(0, 0.95 if behaviour == "overshoots" else 0.2)]
    if config["stage"] != "warm-up":
        length = config["training"]["epochs_per_round"]
        found += [
            (n, value_after(behaviour, config, n * length, epochs)) for n in range(1, epochs // length + 1)
        ]
    return [
        {
            "round": number,
            "metrics": {"miou": value, "miou_multiclass": value, "iou": {}},
            "confusions": pack([[8, 2 - min(number, 2)], [1, 5]], tiles),
        }
        for number, value in found
    ]


def value_after(behaviour: str, config: dict, epoch: int, epochs: int) -> float:
    """What a run scores after an epoch; `overshoots` does not look at how many are to come."""
    if behaviour == "overshoots":
        return score(config, 0, 0) - 0.01 * epoch
    if behaviour == "falls":
        return 0.9 if epoch < epochs else 0.3
    return score(config, epoch, epochs)


def tiles_a_step(config: dict, run_dir: Path) -> int:
    chosen = run_dir / "batch_size.json"
    if chosen.exists():
        return json.loads(chosen.read_text())["batch_size"]
    size = config["training"].get("batch_size", 16)
    return 32 if size == "auto" else size


def runs_out_of_memory(behaviour: str, config: dict, run_dir: Path) -> bool:
    """`memory:4` fits 4 tiles a step, and any number in trials with another loss than Lovász-Softmax.

    `memory-once` runs out of memory in the first start of trial 1.
    """
    name, _, fits = behaviour.partition(":")
    if name == "memory":
        hungry = config["loss"]["name"] == "lovasz_softmax" or run_dir.name in ("warm-up", "final")
        return hungry and tiles_a_step(config, run_dir) > int(fits)
    starts = len((run_dir / "starts.txt").read_text().split())
    return name == "memory-once" and run_dir.name == "loss-0001" and starts == 1


def main(behaviour: str, run_dir: Path) -> int:
    config = json.loads((run_dir / "config.json").read_text())
    with (run_dir / "starts.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    training = config["training"]
    warm_up = config["stage"] == "warm-up"
    epochs = training["warmup_epochs"] if warm_up else training["rounds"] * training["epochs_per_round"]
    metrics = run_dir / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if behaviour == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (run_dir / "child.txt").write_text(str(child.pid))
    if behaviour == "refuse":
        print("survey/classes.txt is missing: write one class name a line.", file=sys.stderr)
        return 2
    value = value_after(behaviour, config, epochs, epochs)
    for epoch in range(done + 1, epochs + 1):
        value = value_after(behaviour, config, epoch, epochs)
        line = {
            "epoch": epoch,
            "round": 0 if warm_up else 1 + (epoch - 1) // training["epochs_per_round"],
            "stage": config["stage"],
            "loss_segmentation": None if warm_up else 1 / epoch,
            "loss_classification": 1 / epoch,
        }
        if not warm_up:
            line["miou"] = line["miou_multiclass"] = value
        if behaviour == "nan" and epoch == 2:
            line["loss_segmentation"] = float("nan")
        with metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if epoch == 2:
            if runs_out_of_memory(behaviour, config, run_dir):
                reason = f"out of memory on cuda with training.batch_size = {tiles_a_step(config, run_dir)}."
                failure = {"reason": reason, "kind": "out-of-memory"}
                (run_dir / "failure.json").write_text(json.dumps(failure))
                return 3
            if behaviour == "crash":
                raise ValueError("the tile is upside down")
            if behaviour == "fail":
                reason = "out of memory on cuda with training.batch_size = 8: lower it."
                (run_dir / "failure.json").write_text(json.dumps({"reason": reason}))
                return 3
            if behaviour == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if behaviour == "silent":
                return 0
            if behaviour in ("deaf", "child", "slow", "nan"):
                time.sleep(60)
        if epoch == 3 and behaviour == "waits":
            time.sleep(60)
    summary = {
        "finished": True,
        "epochs": epochs,
        "metrics": {} if warm_up else {"miou": value, "miou_multiclass": value, "iou": {}},
        "maps": maps(config, val_tiles(run_dir, config), behaviour),
        "rounds": rounds(config, epochs, val_tiles(run_dir, config), behaviour),
        "confusions": None if warm_up else pack([[8, 2], [1, 5]], val_tiles(run_dir, config)),
        "confusions_shown": None if warm_up else pack([[9, 1], [1, 5]], val_tiles(run_dir, config)),
        "frequencies": None if warm_up else [0.7, 0.3],
        "device": "cpu",
        "batch_size": tiles_a_step(config, run_dir),
        "seconds": 0.1,
        "seed": config["seed"],
        "survey_fingerprint": os.environ.get("FAKE_FINGERPRINT", ""),
    }
    with zipfile.ZipFile(run_dir / "checkpoint.pt", "w") as checkpoint:
        checkpoint.writestr("network", f"{config['loss']['name']}, seed {config['seed']}")
    # Whole or not at all, as the real program does: somebody may be reading it.
    (run_dir / "summary.partial").write_text(json.dumps(summary))
    (run_dir / "summary.partial").replace(run_dir / "summary.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
