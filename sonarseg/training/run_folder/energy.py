"""The energy that a GPU has used, where its driver tells."""

from __future__ import annotations

import pynvml
import torch


def joules_so_far(device: torch.device) -> float | None:
    """Read the driver's counter of a device: joules since the driver was loaded.

    Everything that the device does counts, also for other programs.

    Returns
    -------
    float or None
        None for a CPU, and where driver or device do not count (before Volta; partitions of a GPU).
    """
    if device.type != "cuda":
        return None
    identity = torch.cuda.get_device_properties(device).uuid
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}")
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
