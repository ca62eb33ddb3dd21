"""Runs bit for bit: two deterministic ones, one that is killed and resumed, and two ordinary ones."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from gpu.check import Check
from sonarseg.processes.pool import PYTHON
from sonarseg.training.checkpoint.files import CHECKPOINT

# The end of the first round: on CUDA, epochs are reported with the checkpoint of their round.
KILLED_AFTER = 2
_WAIT_SECONDS = 150


def _config(check: Check, deterministic: bool) -> dict[str, Any]:
    small = {} if check.cuda else {"stages": 2}
    return {
        "survey": str(check.survey("small")),
        "network": {"encoder": "resnet18", "decoder_channels": 64 if check.cuda else 8, **small},
        "cam": {"scales": [1.0, 0.5]},
        "crf": {"iterations": 3},
        "training": {
            "warmup_epochs": 2,
            "rounds": 2,
            "epochs_per_round": 2,
            "batch_size": 8,
            "deterministic": deterministic,
        },
        "loss": {"name": "focal", "gamma": 2.0, "alpha": 0.5},
        "device": check.device,
    }


def _begin(folder: Path) -> subprocess.Popen[str]:
    with (folder / "output.txt").open("a", encoding="utf-8") as log:
        command = [*PYTHON, "-m", "sonarseg", str(folder)]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def _epochs(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    # The last line may be half written.
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def _kill_and_resume(folder: Path, run: subprocess.Popen[str]) -> subprocess.Popen[str]:
    end = time.monotonic() + _WAIT_SECONDS
    while len(_epochs(folder)) < KILLED_AFTER and run.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return _begin(folder)


def differing_tensors(one: Path, other: Path) -> int:
    """Tensors of two runs' networks that are not equal in every bit."""
    networks = [
        torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)["network"]
        for folder in (one, other)
    ]
    return sum(not torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())


def bits(check: Check) -> None:
    """Count the tensors that differ between runs which should be equal, and between two which need not."""
    pairs = {"whole": True, "again": True, "killed": True}
    if check.cuda:
        pairs |= {"loose": False, "loose-again": False}
    folders = {name: check.work / "runs" / name for name in pairs}
    runs = {}
    for name, deterministic in pairs.items():
        folders[name].mkdir(parents=True)
        config = json.dumps(_config(check, deterministic))
        (folders[name] / "config.json").write_text(config, encoding="utf-8")
        runs[name] = _begin(folders[name])
    runs["killed"] = _kill_and_resume(folders["killed"], runs["killed"])
    for name, run in runs.items():
        if run.wait(timeout=_WAIT_SECONDS):
            output = (folders[name] / "output.txt").read_text(encoding="utf-8").strip()
            raise RuntimeError(f"run {name} ended with {run.returncode}: {output[-250:]}")
    compared = {
        "two deterministic runs": ("whole", "again"),
        f"a deterministic run, and one killed after epoch {KILLED_AFTER} and resumed": ("whole", "killed"),
        "two runs that are not deterministic": ("loose", "loose-again"),
    }
    for what, (one, other) in compared.items():
        if one in folders:
            same = _epochs(folders[one]) == _epochs(folders[other])
            check.say(f"{what}: all metrics are equal: {same}")
            check.row(
                f"{what}, weights that differ",
                differing_tensors(folders[one], folders[other]),
                None,
                "tensors",
            )


PARTS = (bits,)
