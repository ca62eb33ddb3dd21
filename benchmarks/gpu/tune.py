"""A whole small study on the device, by the commands that a person types."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

from gpu.check import Check
from gpu.device_memory import DeviceMemoryWatch
from sonarseg.processes.pool import PYTHON

_SONARSEG = (*PYTHON, "-c", "from studies.main import main; main()")


def _command(check: Check, folder: Path, *arguments: str) -> str:
    """Run a command and give its standard output; on CUDA the memory of its processes is watched."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*_SONARSEG, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = DeviceMemoryWatch(process.pid) if check.cuda and arguments[0] == "tune" else None
    if watch is not None:
        watch.start()
    out, err = process.communicate()
    print(out[-6000:], err[-6000:])
    if process.returncode:
        raise RuntimeError(
            f"sonarseg {' '.join(arguments)} ended with {process.returncode}: {err.strip()[-250:]}"
        )
    check.say(f"sonarseg {' '.join(arguments)}: {time.perf_counter() - started:.1f} s")
    if watch is not None:
        watch.end()
        launcher = watch.most.get(process.pid, 0)
        check.row("tune all, 2 runs a device: device memory of the launcher", launcher / 2**30, None, "GiB")
        for each, most in sorted(watch.most.items(), key=lambda item: -item[1])[:6]:
            check.say(f"  {most / 2**30:.2f} GiB: {watch.names[each]}")
    return out


def small_budget(text: str, check: Check) -> str:
    """study.toml with a budget of two minutes, every field of which was there."""
    fields = {
        "warmup_epochs": 4 if check.cuda else 1,
        "rounds": 2,
        "epochs_per_round": 2 if check.cuda else 1,
        "batch_size": '"auto"',
        "scales": "[1.0, 0.5]",
        "runs_per_device": 2 if check.cuda else 1,
        "seeds": 1,
    }
    if not check.cuda:
        fields |= {"decoder_channels": 16, "tile_scale": "1.0", "device": '"cpu"'}
    for field, value in fields.items():
        text, count = re.subn(rf"(?m)^{field} = (\[.*?\]|\S+)", f"{field} = {value}", text)
        if count != 1:
            raise RuntimeError(f"study.toml has {field} {count} times")
    for section, trials in (("crf", check.sizes.crf_trials), ("loss", check.sizes.loss_trials)):
        text, count = re.subn(rf"(?s)(\n\[{section}\].*?\ntrials = )\d+", rf"\g<1>{trials}", text)
        if count != 1:
            raise RuntimeError(f"study.toml has no trials of [{section}]")
    return text


def study(check: Check) -> None:
    """`init`, `tune all`, `status` and `evaluate`; no trial fails."""
    folder = check.work / "study"
    shutil.copytree(check.survey("small"), folder / "survey")
    _command(check, folder, "init", "survey", "--background", "none")
    toml = folder / "survey-study" / "study.toml"
    toml.write_text(small_budget(toml.read_text(encoding="utf-8"), check), encoding="utf-8")
    _command(check, folder, "tune", "all")
    studies = json.loads(_command(check, folder, "status", "--json"))["studies"]
    for kind in ("crf", "loss"):
        trials = studies[kind]["trials"]
        check.say(f"tune all, {kind}: {trials}")
        check.row(f"tune all, {kind} trials that failed", trials["failed"], None, "trials")
    _command(check, folder, "evaluate", "tuned")


PARTS = (study,)
