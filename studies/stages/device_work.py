"""Work on a CUDA device that is no run: done in a process of its own, so that this one holds no memory there.

A launcher that kept a context would leave its trials less memory, and none of a device in exclusive mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sonarseg.processes.apart import apart
from sonarseg.progress import Progress
from sonarseg.training.device import pick_device

Result = TypeVar("Result")


def on_device(device: str, call: Callable[..., Result], progress: Progress) -> Result:
    """Make a call that computes on a device, here if that is the CPU.

    The process inherits the device that is leased here.

    Parameters
    ----------
    device : str
        As `pick_device` takes it.
    call : callable
        As `apart` takes it.
    progress : Progress
        Called with each step.
    """
    if pick_device(device).type == "cuda":
        return apart(call, progress)
    return call(progress=progress)
