"""Checkpoints written by a thread, so that the device trains the next epoch meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from sonarseg.training.checkpoint.files import save_checkpoint


class CheckpointWriter:
    """Writes one checkpoint at a time; leaving its block waits for the last.

    One copy of network and optimiser is kept in host memory, pinned where they lie on a CUDA device.

    Parameters
    ----------
    path : Path
        As `save_checkpoint` takes it.
    device : torch.device
        Where network and optimiser lie.
    seconds_between : float
        What is offered sooner after the last checkpoint than this, or while that one is still being written,
        is written with the next; 0 writes all of it.
    clock : callable
        Gives seconds.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        seconds_between: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._device = device
        self._between, self._clock, self._last = seconds_between, clock, clock()
        self._untold: list[Callable[[], None]] = []
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._begun: Future[None] | None = None
        self._copy: Any = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def offer(self, state: Callable[[], dict[str, Any]], then: Callable[[], None], *, due: bool) -> None:
        """Have a state written if it is time for it.

        Parameters
        ----------
        state : callable
            Gives what `save_checkpoint` takes; called only if it is written.
        then : callable
            Called by the thread once this state or a later one is on disk, in the order of the offers.
        due : bool
            Write it in any case.

        Raises
        ------
        OSError
            If the checkpoint before could not be written.
        """
        self.check()
        self._untold.append(then)
        early = self._clock() - self._last < self._between
        if self._between and not due and (early or self._begun is not None):
            return
        untold, self._untold = self._untold, []
        self.write(state(), lambda: _call_all(untold))
        self._last = self._clock()

    def write(self, state: dict[str, Any], then: Callable[[], None] | None = None) -> None:
        """Copy `state`, which may change from then on, and have it written.

        Parameters
        ----------
        state : dict
            What `save_checkpoint` takes.
        then : callable, optional
            Called by the thread once the checkpoint is on disk.

        Raises
        ------
        OSError
            Where the checkpoint before could not be written; this one is not begun.
        """
        self.wait()
        self._copy = _copied(state, self._copy)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._begun = self._thread.submit(self._write, self._copy, then)

    def check(self) -> None:
        """Raise what went wrong with the last checkpoint, if anything has by now; costs nothing.

        Raises
        ------
        OSError
            Where it could not be written.
        """
        if self._begun is not None and self._begun.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk; what was raised meanwhile is raised here."""
        begun, self._begun = self._begun, None
        try:
            if begun is not None:
                begun.result()
        finally:
            # The frame lives on in what was raised, which would hold itself.
            del begun

    def _write(self, state: dict[str, Any], then: Callable[[], None] | None) -> None:
        save_checkpoint(self._path, state)
        if then is not None:
            then()


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _copied(value: Any, before: Any) -> Any:
    """Copy what a checkpoint holds to host memory, into the tensors of the copy before where they fit."""
    if isinstance(value, Tensor):
        if not (isinstance(before, Tensor) and before.shape == value.shape and before.dtype == value.dtype):
            before = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return before.copy_(value.detach(), non_blocking=True)
    if isinstance(value, dict):
        known = before if isinstance(before, dict) else {}
        return {key: _copied(item, known.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        known = dict(enumerate(before)) if isinstance(before, list | tuple) else {}
        return type(value)(_copied(item, known.get(place)) for place, item in enumerate(value))
    return value
