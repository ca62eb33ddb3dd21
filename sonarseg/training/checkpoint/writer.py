"""Checkpoints written by a thread, so that the device trains the next epoch meanwhile."""

from __future__ import annotations

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
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path = path
        self._device = device
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
