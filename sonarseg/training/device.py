"""The device a run computes on."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager

import torch

from sonarseg.errors import UserError

# Compute capability from which chips have bfloat16
AMPERE = (8, 0)
# The environment variable that says which devices a process sees
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Share of a device's memory that the runs on it may take together
USABLE_SHARE = 0.95


def cuda_devices() -> int:
    """Count the CUDA devices that this process may use, without settling which ones it sees."""
    listed = os.environ.get(VISIBLE, "")
    if listed.startswith("MIG-") and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        # Of partitions torch would ask CUDA itself.
        return 0 if torch.version.cuda is None else len(listed.split(","))
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def pick_device(name: str) -> torch.device:
    """Turn the setting `device` into a torch device.

    Parameters
    ----------
    name : str
        "auto" (CUDA where there is one, else CPU), "cpu", "cuda" or "cuda:N".

    Raises
    ------
    UserError
        Where the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if cuda_devices() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(
            f'device = "{name}" is not a device: use "auto", "cpu", "cuda" or "cuda:N".'
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f'device = "{name}" is not supported: use "auto", "cpu", "cuda" or "cuda:N".')
    if device.type == "cpu":
        return device
    there, index = cuda_devices(), device.index or 0
    if not there:
        raise UserError(f'device = "{name}" was asked for, but no CUDA device is found: use "auto" or "cpu".')
    if index >= there:
        raise UserError(f'device = "{name}" was asked for, but there are only {there} CUDA devices.')
    # With its number: "cuda" alone would be another device in a thread that has another current one.
    return torch.device("cuda", index)


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """Mixed precision on CUDA (bfloat16 where the chip has it), float32 on CPU."""
    dtype = torch.float16 if needs_scaler(device) else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=device.type == "cuda")


def needs_scaler(device: torch.device) -> bool:
    """Whether gradients are float16: on chips before Ampere, which only emulate bfloat16."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) < AMPERE


def device_name(device: torch.device) -> str:
    """Name a device as the report shows it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def make_deterministic(wanted: bool) -> None:
    """Have torch use algorithms that give the same bits every time, or the fastest ones.

    With `wanted`, an operation that has no such algorithm on CUDA raises RuntimeError.
    """
    # Nothing here reads memory before it is written; filling all of it nearly doubles the time of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if wanted:
        # cuBLAS reads this when it starts (NVIDIA cuBLAS documentation, "Results reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted


def numbered(device: torch.device) -> torch.device:
    """A CUDA device with its number: the current one for "cuda" alone, which some calls of torch refuse."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def begin_run(device: torch.device, runs: int) -> None:
    """Make a CUDA device the current one, and keep this process to its part if so many runs share it."""
    if device.type == "cuda":
        device = numbered(device)
        torch.cuda.set_device(device)
        torch.cuda.set_per_process_memory_fraction(USABLE_SHARE / runs, device)


def available_bytes(device: torch.device) -> int:
    """Bytes of a CUDA device that this process may still take: what is free, up to its own part."""
    device = numbered(device)
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device)
    part = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return max(0, min(free, part - held))


def free_memory(device: torch.device) -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
