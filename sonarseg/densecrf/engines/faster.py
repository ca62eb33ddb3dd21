"""Which engine is the faster on a machine with a CUDA device, measured for half a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile

_TILES, _SIDE, _CLASSES = 16, 256, 6
_ITERATIONS = 10
# Each engine is measured for so long, at least once.
_SECONDS = 0.25


def faster_engine(device_engine: Engine, jobs: int) -> tuple[Engine, str]:
    """Measure the torch engine of a device beside the numba engine on the CPU.

    Parameters
    ----------
    device_engine : Engine
        The torch engine.
    jobs : int
        Threads that the numba engine may have.

    Returns
    -------
    engine : Engine
        The faster one; numba if they tie.
    note : str
        One sentence with both times, and with what the device's own kernels were replaced by, if they failed.
    """
    tiles = [_speckled(seed) for seed in range(_TILES)]
    parameters = CrfParameters(iterations=_ITERATIONS)
    with ThreadPoolExecutor(jobs) as threads:

        def on_the_device() -> None:
            device_engine.label_histories(tiles, parameters, _ITERATIONS)

        def on_the_cpu() -> None:
            list(
                threads.map(
                    lambda tile: DEFAULT_ENGINE.label_histories([tile], parameters, _ITERATIONS), tiles
                )
            )

        there, here = _milliseconds(on_the_device), _milliseconds(on_the_cpu)
    chosen = device_engine if there < here else DEFAULT_ENGINE
    threads_used = "1 thread" if jobs == 1 else f"{jobs} threads"
    fallback = device_engine.fallback_note()
    return chosen, (
        f"{chosen.name} is the faster here: {_TILES} tiles of {_SIDE} x {_SIDE} take {there:.0f} ms by "
        f"{device_engine} and {here:.0f} ms by {DEFAULT_ENGINE} with {threads_used}"
        + (f"; {fallback}." if fallback else ".")
    )


def _milliseconds(work: Callable[[], None]) -> float:
    """Shortest time of some work after a call that warms up."""
    work()
    taken: list[float] = []
    while sum(taken) < _SECONDS:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return 1e3 * min(taken)


def _speckled(seed: int) -> CrfTile:
    """Stripes of different backscatter under four-look speckle, and noisy scores of them."""
    generator = np.random.default_rng(seed)
    truth = (np.arange(_SIDE) * _CLASSES // _SIDE)[:, None].repeat(_SIDE, axis=1)
    guide = np.linspace(40, 170, _CLASSES)[truth] * np.sqrt(generator.gamma(4, 0.25, truth.shape))
    scores = 0.4 * (truth == np.arange(_CLASSES)[:, None, None])
    scores = scores + 0.6 * generator.random(scores.shape)
    return CrfTile(scores.astype(np.float16), np.clip(guide, 0, 255).astype(np.uint8))
