"""Several workers on this machine: started with loky, watched, and started again when they die."""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sonarseg.errors import DeviceLost, UserError
from sonarseg.processes.pool import interrupts_held, worker_pool
from sonarseg.processes.signals import interruptible
from studies.workers.worker import Ending, Errand, Lost, work

# A worker that is asked to end gets so long for its trial's clearing up.
GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
# So many deaths in a row without a finished trial between them mean that no worker gets anywhere.
_MOST_DEATHS = 12
_log = logging.getLogger(__name__)


@dataclass
class _Slot:
    """One worker, whichever process it is at the moment."""

    executor: ProcessPoolExecutor
    pid: int
    future: Future[Ending]


def run_workers(errand: Errand, workers: int, observe: Callable[[], int]) -> None:
    """Run `workers` workers until they are done; one that dies is replaced, unless its device is lost.

    The others go on with the trial of a lost device, while there is another. They also go on if a worker
    cannot be started or dies again and again: then it is replaced only once they have finished a trial.

    Parameters
    ----------
    errand : Errand
        What each does.
    workers : int
        How many.
    observe : callable
        Called twice a second; tells the person what has ended, and returns how many trials have.

    Raises
    ------
    UserError
        What a worker raised, or if workers keep dying until none is left.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once all workers have ended.
    """
    slots: list[_Slot] = []
    missing, deaths, ended = workers, 0, observe()
    with interruptible():
        try:
            while missing or slots:
                while missing and deaths <= _MOST_DEATHS:
                    slot = _start(errand)
                    if slot is None:
                        deaths += 1
                        break
                    slots.append(slot)
                    missing -= 1
                wait([slot.future for slot in slots], _LOOK_SECONDS, FIRST_COMPLETED)
                if (now := observe()) > ended:
                    deaths, ended = 0, now
                for slot in [slot for slot in slots if slot.future.done()]:
                    slots.remove(slot)
                    ending = _outcome(slot)
                    if ending is None:
                        deaths += 1
                        missing += 1
                    elif isinstance(ending, Lost):
                        _retire(ending, len(slots) + missing)
                    else:
                        # Nothing is left to begin, so nobody needs to be replaced.
                        missing = 0
                # Those that live go on, and a trial that they finish lets others be started again.
                if deaths > _MOST_DEATHS and missing and not slots:
                    raise UserError(_hopeless(errand.kind, deaths))
        finally:
            _end(slots)
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


def _start(errand: Errand) -> _Slot | None:
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
    return _Slot(executor, pid, executor.submit(work, errand))


def _outcome(slot: _Slot) -> Ending | None:
    """How a worker ended; None where it was killed."""
    try:
        ending: Ending = slot.future.result()
    except TerminatedWorkerError:
        return None
    finally:
        slot.executor.shutdown(wait=False)
    if ending == "interrupted":
        raise KeyboardInterrupt
    return ending


def _end(slots: list[_Slot]) -> None:
    """Ask workers to end, wait, and end them firmly."""
    for slot in slots:
        _signal(slot.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    with suppress(KeyboardInterrupt):
        wait([slot.future for slot in slots], max(0.0, deadline - time.monotonic()))
    for slot in slots:
        if not slot.future.done():
            _signal(slot.pid, signal.SIGKILL)
        slot.executor.shutdown(wait=True, kill_workers=True)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a worker; one that has ended already needs no signal."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def new_launch() -> str:
    """Name a launch, so that its workers can be asked to stop."""
    return uuid.uuid4().hex
