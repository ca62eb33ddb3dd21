"""What a place where workers run implements: this machine, a cluster, a stand-in of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from studies.workers.worker import WorkerTask


class WorkerBackend(Protocol):
    """Runs the workers of a study."""

    @property
    def here(self) -> bool:
        """Whether workers compute on this machine, which then prepares the study before they start."""

    def run(self, task: WorkerTask, workers: int | None, observe: Callable[[], int]) -> None:
        """Run workers until their study is done; a worker that dies is replaced.

        Parameters
        ----------
        task : WorkerTask
            What each worker does.
        workers : int or None
            How many; None is as many as there is room for.
        observe : callable
            Called again and again; tells the person what has ended, and returns how many trials have.

        Raises
        ------
        UserError
            What a worker raised, or if workers keep dying.
        DeviceLost
            If the devices of all workers are lost.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, once all workers have ended.
        """
