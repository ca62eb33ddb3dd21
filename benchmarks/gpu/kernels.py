"""Which kernels take the time of some work, and how long the GPU idles meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from gpu.check import Check

_COPIES = ("Memcpy", "Memset")
# Annotations span the gaps between kernels; copies are no work of the multiprocessors.
_NO_KERNELS = (*_COPIES, "Optimizer.", "ProfilerStep")


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals, so that kernels of two streams at one time count once."""
    length, end = 0.0, float("-inf")
    for first, last in sorted(intervals):
        length += max(0.0, last - max(first, end))
        end = max(end, last)
    return length


@dataclass(frozen=True)
class Profiled:
    """Time of some work and of the kernels in it.

    Attributes
    ----------
    wall : float
        Seconds without the profiler, which slows the host, but hardly the kernels.
    busy : float
        Seconds with a kernel on the GPU.
    launches : int
        Kernels.
    copies : int
        Copies and fillings of memory.
    kernels : list of (str, int, float)
        Name, launches and milliseconds of each kernel, the largest first.
    """

    wall: float
    busy: float
    launches: int
    copies: int
    kernels: list[tuple[str, int, float]]

    @property
    def idle(self) -> float:
        """Share of the time without a kernel, 0..1."""
        return max(0.0, 1 - self.busy / self.wall)


def profiled(work: Callable[[], object]) -> Profiled:
    """Time some work on CUDA, which is warm, and see its kernels."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    wall = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        torch.cuda.synchronize()
    events = [
        e for e in found.events() or [] if e.device_type == DeviceType.CUDA and not e.is_user_annotation
    ]
    launched = [e for e in events if not e.name.startswith(_NO_KERNELS)]
    if not launched:
        raise RuntimeError("the profiler saw no kernel: this user may not be allowed to use CUPTI")
    busy = 1e-6 * covered((e.time_range.start, e.time_range.end) for e in launched)
    copies = sum(e.name.startswith(_COPIES) for e in events)
    return Profiled(wall, busy, len(launched), copies, _sums(launched))


def _sums(events: Iterable[Any]) -> list[tuple[str, int, float]]:
    sums: dict[str, tuple[int, float]] = {}
    for event in events:
        name = re.sub(r"^void |at::native::|\(anonymous namespace\)::|<.*", "", event.name)[:60]
        count, taken = sums.get(name, (0, 0.0))
        sums[name] = count + 1, taken + event.time_range.elapsed_us() / 1e3
    return sorted(((name, *both) for name, both in sums.items()), key=lambda each: -each[2])


def say_kernels(check: Check, what: str, work: Callable[[], object], most: int) -> Profiled:
    """Say how busy the GPU is in some work, and which kernels take most of the time."""
    found = profiled(work)
    check.say(
        f"{what}: {1e3 * found.wall:.1f} ms, kernels {1e3 * found.busy:.1f} ms "
        f"({100 * (1 - found.idle):.0f} % busy), {found.launches} launches, {found.copies} copies"
    )
    for name, count, taken in found.kernels[:most]:
        check.say(f"  {taken:8.2f} ms {count:5d} x {name}")
    return found
