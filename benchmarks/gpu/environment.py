"""Versions, device, rates of copies and launches; compiles the engines, so that no later step has to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from gpu.check import Check
from sonarseg.processes.pool import PYTHON

PACKAGES = ("torchvision", "numpy", "numba", "triton", "optuna", "pydensecrf2", "segmentation-models-pytorch")


def versions(check: Check) -> None:
    """Say what runs on what."""

    def known(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} missing"

    cores = len(os.sched_getaffinity(0))
    check.say(f"Python {platform.python_version()}, torch {torch.__version__}, {cores} cores")
    check.say(", ".join(known(name) for name in PACKAGES))
    if check.cuda:
        facts = torch.cuda.get_device_properties(0)
        check.say(
            f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, "
            f"{facts.multi_processor_count} multiprocessors, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}"
        )


def rates(check: Check) -> None:
    """Say how fast memory is copied and kernels are launched."""
    size = 2**26 if check.cuda else 2**20
    there = torch.empty(size, dtype=torch.uint8, device=check.device)
    other, host = torch.empty_like(there), torch.empty(size, dtype=torch.uint8)
    pinned = torch.empty(size, dtype=torch.uint8, pin_memory=check.cuda)
    tiny = torch.zeros(1, device=check.device)

    def launches() -> None:
        for _ in range(1000):
            tiny.add_(1)

    copies = {
        "on the device": lambda: other.copy_(there),
        "to the device": lambda: there.copy_(host),
        "to the device, pinned": lambda: there.copy_(pinned),
        "to the host, pinned": lambda: pinned.copy_(there),
    }
    for what, copy in copies.items():
        check.say(f"copies {what}: {size / check.milliseconds(copy) / 1e6:.1f} GB/s")
    check.say(f"a launch takes {check.milliseconds(launches):.2f} us")
    check.say(f"a wait takes {1e3 * check.milliseconds(tiny.item):.0f} us")


def compiled(check: Check) -> None:
    """Compile what numba compiles, both at the same time."""
    names = ("sonarseg.densecrf", "sonarseg.losses")
    running = [subprocess.Popen([*PYTHON, "-m", name], stdout=sys.stderr) for name in names]
    codes = {name: process.wait() for name, process in zip(names, running, strict=True)}
    if any(codes.values()):
        raise RuntimeError(f"compiling ended with {codes}")


PARTS = (versions, rates, compiled)
