"""Several workers on this machine: started with loky, watched, and started again when they die."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sonarseg.errors import DeviceLost, UserError
from sonarseg.processes.pool import interrupts_held, worker_pool
from sonarseg.processes.signals import interruptible
from studies.workers.worker import Ending, Lost, WorkerTask, work

# A worker that is asked to end gets so long for its trial's clearing up.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
# So many deaths in a row without a finished trial between them mean that no worker gets anywhere.
_MOST_DEATHS = 12
_log = logging.getLogger(__name__)


@dataclass
class _WorkerProcess:
    """One worker, whichever process it is at the moment."""

    executor: ProcessPoolExecutor
    pid: int
    future: Future[Ending]


@dataclass(frozen=True)
class LocalWorkers:
    """Worker processes of this machine, each replaced if it dies, unless its device is lost.

    The others go on with the trial of a lost device, while there is another. They also go on if a worker
    cannot be started or dies again and again: then it is replaced only once they have finished a trial.

    Attributes
    ----------
    work : callable
        What a worker process calls with its task.
    """

    work: Callable[[WorkerTask], Ending] = work
    here: ClassVar[bool] = True

    def run(self, task: WorkerTask, workers: int | None, observe: Callable[[], int]) -> None:
        """As `WorkerBackend.run`; None is one worker."""
        count = workers or 1
        task = replace(task, sharing=count)
        running: list[_WorkerProcess] = []
        missing, deaths, ended = count, 0, observe()
        with interruptible():
            try:
                while missing or running:
                    while missing and deaths <= _MOST_DEATHS:
                        process = _start(self.work, task)
                        if process is None:
                            deaths += 1
                            break
                        running.append(process)
                        missing -= 1
                    wait([process.future for process in running], _LOOK_SECONDS, FIRST_COMPLETED)
                    if (now := observe()) > ended:
                        deaths, ended = 0, now
                    for process in [process for process in running if process.future.done()]:
                        running.remove(process)
                        ending = _outcome(process)
                        if ending is None:
                            deaths += 1
                            missing += 1
                        elif isinstance(ending, Lost):
                            _retire(ending, len(running) + missing)
                        else:
                            # Nothing is left to begin, so nobody needs to be replaced.
                            missing = 0
                    # Those that live go on, and a trial that they finish lets others be started again.
                    if deaths > _MOST_DEATHS and missing and not running:
                        raise UserError(_hopeless(task.kind, deaths))
            finally:
                _end(running)
                observe()


def _retire(lost: Lost, others: int) -> None:
    """Do without a worker whose device is lost, while there are others."""
    if others == 0:
        raise DeviceLost(lost.sentence)
    _log.warning("%s The study goes on with %d of its workers.", lost.sentence, others)


def _hopeless(kind: str, deaths: int) -> str:
    return (
        f"{deaths} workers of the {kind} study died one after the other without finishing a trial: see "
        "log.txt and output.txt in the newest run folders, and whether memory ran out; fewer --workers "
        "need less."
    )


def _start(work: Callable[[WorkerTask], Ending], task: WorkerTask) -> _WorkerProcess | None:
    """Start a worker; None where it was killed at once."""
    executor = worker_pool(1)
    # Ctrl-C cannot hit a worker that is still loading.
    with interrupts_held():
        begun = executor.submit(os.getpid)
    try:
        pid = begun.result()
    except TerminatedWorkerError:
        executor.shutdown(wait=False)
        return None
    return _WorkerProcess(executor, pid, executor.submit(work, task))


def _outcome(process: _WorkerProcess) -> Ending | None:
    """How a worker ended; None where it was killed."""
    try:
        ending: Ending = process.future.result()
    except TerminatedWorkerError:
        return None
    finally:
        process.executor.shutdown(wait=False)
    if ending == "interrupted":
        raise KeyboardInterrupt
    return ending


def _end(running: list[_WorkerProcess]) -> None:
    """Ask workers to end, wait, and end them firmly."""
    for process in running:
        _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    with suppress(KeyboardInterrupt):
        wait([process.future for process in running], max(0.0, deadline - time.monotonic()))
    for process in running:
        if not process.future.done():
            _signal(process.pid, signal.SIGKILL)
        process.executor.shutdown(wait=True, kill_workers=True)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a worker; one that has ended already needs no signal."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
