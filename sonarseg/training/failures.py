"""How a run ends before its time: what happened, in a sentence, and what becomes of the run."""

from __future__ import annotations

import errno
from pathlib import Path

import torch

from sonarseg.errors import DeviceLost, UserError

FAILED, OUT_OF_MEMORY = "failed", "out-of-memory"
GOES_ON = "the same command goes on from the last whole epoch"
# What CUDA says when the device is gone, not when a program has done something wrong
_LOST = (
    "unspecified launch failure",
    "uncorrectable ecc error",
    "gpu is lost",
    "fallen off the bus",
    "no cuda-capable device",
    "device(s) is/are busy or unavailable",
    "device not ready",
    "hardware stack error",
    "driver shutting down",
    "unknown error",
    "illegal memory access",
    "cudnn_status_execution_failed",
    "no cuda gpus are available",
)
# What drivers and libraries of CUDA say, besides torch's own OutOfMemoryError
_NO_MEMORY = (
    "can't allocate memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "device_allocation_failed",
    # Without memory for its workspace cuDNN finds no algorithm, and cuBLAS makes no handle.
    "unable to find an engine to execute this computation",
    "cublas_status_not_initialized",
)


class RunFailed(Exception):
    """A run that cannot go on.

    Parameters
    ----------
    reason : str
        One sentence for the person.
    kind : str
        "out-of-memory", or "failed" for all else.
    """

    def __init__(self, reason: str, kind: str = FAILED) -> None:
        super().__init__(reason)
        self.kind = kind


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the device or of the machine ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(said in text for said in _NO_MEMORY)


def explained(error: Exception, run_dir: Path) -> Exception:
    """Turn what a person can do something about into a sentence; all else stays as it is.

    Parameters
    ----------
    error : Exception
        What ended the run.
    run_dir : Path
        The run.

    Returns
    -------
    Exception
        UserError where the run goes on once that is put right, DeviceLost among them; RunFailed where it
        does not.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(f"the disk of {run_dir} is full ({error.strerror}): free some of it; {GOES_ON}.")
    lower = text.lower()
    from_cuda = isinstance(error, RuntimeError) and ("cuda" in lower or "cudnn" in lower)
    if from_cuda and any(said in lower for said in _LOST):
        return DeviceLost(
            f"the CUDA device was lost ({text.splitlines()[0]}): look at nvidia-smi; {GOES_ON}."
        )
    if isinstance(error, RuntimeError) and "deterministic implementation" in text:
        return RunFailed(
            f"training.deterministic = true is not possible here ({text.splitlines()[0]}): leave it out."
        )
    if is_out_of_memory(error):
        return RunFailed(f"memory ran out before training began ({text}): lower network.tile_scale.")
    return error
