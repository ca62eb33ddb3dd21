"""A survey with more tiles than anybody would hold in memory, and how much memory a run on it takes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from sonarseg.processes.pool import PYTHON

SIZE = 64
PICTURES = 50
SEVERAL = 32
CLASSES = ("mud", "rock", "sand")


def list_tiles(folder: Path, count: int, size: int = SIZE) -> Path:
    """Write a survey whose tiles are links to a few pictures of `size` x `size`, and a run folder for it.

    The first `SEVERAL` tiles show two classes, so that an epoch, which draws as many of each kind, is
    as long whatever `count` is.
    """
    survey = folder / "survey"
    for part in ("images", "masks", "splits", "pictures"):
        (survey / part).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(PICTURES):
        grey = generator.gamma(4, 20 + number % 3 * 10, (size, size)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grey).save(survey / "pictures" / f"{number}.png")
    (survey / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rows = ["tile," + ",".join(CLASSES)]
    names = [f"t{number:07d}" for number in range(count + 4)]
    for number, name in enumerate(names):
        os.link(survey / "pictures" / f"{number % PICTURES}.png", survey / "images" / f"{name}.png")
        shown = {number % 3, (number + 1) % 3} if number < SEVERAL else {number % 3}
        rows.append(f"{name}," + ",".join(str(int(k in shown)) for k in range(3)))
    for number, name in enumerate(names[count:]):
        Image.fromarray(np.full((size, size), number % 3, np.uint8)).save(survey / "masks" / f"{name}.png")
    (survey / "labels.csv").write_text("\n".join(rows) + "\n")
    (survey / "splits" / "train.txt").write_text("\n".join(names[:count]) + "\n")
    (survey / "splits" / "val.txt").write_text("\n".join(names[count:]) + "\n")
    run_dir = folder / "run"
    run_dir.mkdir()
    config = {
        "survey": str(survey),
        "network": {"encoder": "resnet18", "stages": 2, "output_stride": 8, "decoder_channels": 8},
        "training": {"warmup_epochs": 1, "rounds": 1, "epochs_per_round": 1, "batch_size": 16},
        "device": "cpu",
    }
    (run_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return run_dir


# The kernel keeps the peak of all resident memory, mapped files included; of the anonymous part it keeps
# none, so that a thread looks every 5 ms.
_PROGRAM = """
import sys, threading, time
from pathlib import Path
def anonymous():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("RssAnon")).split()[1]) / 1024
peak = 0.0
def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
from sonarseg.training.run import run
run(Path(sys.argv[1]))
print(peak)
"""


def anonymous_peak(run_dir: Path) -> float:
    """Run it and give the peak of the memory that no file backs, MiB."""
    command = [*PYTHON, "-c", _PROGRAM, str(run_dir)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(ended.stdout.splitlines()[-1])
