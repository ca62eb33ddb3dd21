"""What a run has cost so far, earlier starts of it included."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch

from sonarseg.training.run_folder.energy import joules_so_far


class Spent:
    """Adds up time, energy, starts and peak memory.

    Device seconds are those for which a run held its CUDA device; on the CPU, seconds of processor time.

    Parameters
    ----------
    device : torch.device
        What the run computes on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = time.monotonic()
        self._processor = time.process_time()
        self._joules = joules_so_far(device)
        self._earlier: dict[str, Any] = {}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def goes_on(self, earlier: dict[str, Any]) -> None:
        """Take up what the checkpoint says of earlier starts."""
        self._earlier = earlier

    def now(self) -> dict[str, Any]:
        """Seconds, device seconds, energy, starts, and peak memory in bytes of process and device.

        The energy is None where it was not told in every start of the run.
        """
        seconds = time.monotonic() - self._began
        on_cuda = self._device.type == "cuda"
        held = seconds if on_cuda else time.process_time() - self._processor
        device_bytes = torch.cuda.max_memory_allocated(self._device) if on_cuda else 0
        before = self._earlier
        return {
            "seconds": round(before.get("seconds", 0.0) + seconds, 1),
            "device_seconds": round(before.get("device_seconds", 0.0) + held, 1),
            "joules": self._energy(),
            "starts": before.get("starts", 0) + 1,
            "peak_memory": max(before.get("peak_memory", 0), peak_memory()),
            "peak_device_memory": max(before.get("peak_device_memory", 0), device_bytes),
        }

    def _energy(self) -> float | None:
        now, earlier = joules_so_far(self._device), self._earlier.get("joules", 0.0)
        if now is None or self._joules is None or earlier is None:
            return None
        return round(float(earlier) + now - self._joules, 1)


def peak_memory() -> int:
    """Bytes of memory that this process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kilobytes on Linux, bytes on macOS
    return peak if sys.platform == "darwin" else peak * 1024
