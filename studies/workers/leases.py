"""Which device a worker computes on: GPUs are leased, so that no two studies take the same one.

A lease is a locked file in the system's folder for temporary files, one for each run that a GPU may hold. The
system unlocks it when the worker ends, however it ends.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pynvml
from joblib import cpu_count

from sonarseg.progress import Progress, silent

VISIBLE = "CUDA_VISIBLE_DEVICES"
# Tiles of one crf trial keep about so many cores busy; more workers than that choose trials half blind.
CORES_A_CRF_WORKER = 8
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class DeviceSlot:
    """A place on a device for one run.

    Attributes
    ----------
    device : str
        "cpu", or "cuda:N" as this machine numbers its GPUs.
    place : int
        Which of the runs that share the device.
    visible : str or None
        What CUDA_VISIBLE_DEVICES becomes; None leaves it as it is.
    """

    device: str
    place: int = 0
    visible: str | None = None


def device_slots(device: str, runs_per_device: int = 1) -> list[DeviceSlot]:
    """List the slots on the devices that a setting allows.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    runs_per_device : int
        Runs that share a GPU.
    """
    from sonarseg.training.device import pick_device

    chosen = pick_device(device)
    if chosen.type != "cuda":
        return [DeviceSlot("cpu")]
    if device not in ("auto", "cuda"):
        return [DeviceSlot(device, place) for place in range(runs_per_device)]
    names = _visible_gpus()
    return [DeviceSlot(f"cuda:{name}", place, name) for place in range(runs_per_device) for name in names]


def _visible_gpus() -> list[str]:
    """Name the GPUs that this program may use, as CUDA_VISIBLE_DEVICES names them."""
    from sonarseg.training.device import cuda_devices

    listed = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return listed or [str(index) for index in range(cuda_devices())]


def crf_workers(engine: str, device: str, tiles: int) -> int:
    """Count the workers of a crf study that keep all cores busy, and no more: parallel trials know less.

    Parameters
    ----------
    engine : str
        Under torch there is one worker a GPU.
    device : str
        As `device_slots` takes it.
    tiles : int
        Tuning tiles: a trial keeps no more cores busy than that, nor more than `CORES_A_CRF_WORKER`.
    """
    if engine == "torch":
        return len(device_slots(device))
    return max(1, int(cpu_count()) // max(1, min(CORES_A_CRF_WORKER, tiles)))


@contextmanager
def lease(
    wanted: Sequence[DeviceSlot], progress: Progress = silent, folder: Path | None = None
) -> Iterator[DeviceSlot]:
    """Take the first free slot, or wait for one; the block's process then sees that GPU alone.

    Parameters
    ----------
    wanted : sequence of DeviceSlot
        The CPU needs no lease: there, runs share the cores.
    progress : Progress
        Told of the wait.
    folder : Path, optional
        Where leases are kept; by default one for each user of the machine.
    """
    if wanted[0].device == "cpu":
        yield wanted[0]
        return
    folder = folder or Path(tempfile.gettempdir()) / f"sonarseg-devices-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        for slot in wanted:
            with (folder / f"{_key(slot)}.{slot.place}").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                with _seeing(slot):
                    yield slot
                return
        if not told:
            progress("waiting for a free GPU: other studies have them all", 0, 1)
            told = True
        time.sleep(_WAIT_SECONDS)


def _key(slot: DeviceSlot) -> str:
    """Name a slot's GPU as every program does: under Slurm, each job's own GPUs may begin at 0."""
    try:
        name = slot.visible or _visible_gpus()[int(slot.device.removeprefix("cuda:"))]
        if not name.isdecimal() and not name.startswith("GPU-"):
            return name.replace("/", "-")
        # Not by way of CUDA, which must not begin before it sees the leased GPU alone.
        pynvml.nvmlInit()
        if not name.isdecimal():
            return _whole_uuid(name)
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(int(name))))
    except (pynvml.NVMLError, IndexError, ValueError):
        if slot.visible is not None and not slot.visible.isdecimal():
            return slot.visible.replace("/", "-")
        return slot.device.replace(":", "-")


def _whole_uuid(beginning: str) -> str:
    """The identity of the one GPU whose identity begins so: CUDA_VISIBLE_DEVICES may abbreviate it."""
    handles = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))
    found = [uuid for uuid in map(str, map(pynvml.nvmlDeviceGetUUID, handles)) if uuid.startswith(beginning)]
    return found[0] if len(found) == 1 else beginning


@contextmanager
def _seeing(slot: DeviceSlot) -> Iterator[None]:
    if slot.visible is None:
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = slot.visible
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
