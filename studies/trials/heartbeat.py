"""Sign of life of a trial's worker, and when a worker counts as dead.

On one machine a worker is known by its process, which is there or not. On a server, where workers of several
machines beat, one that has not beaten for `studies.storage.server.GRACE_SECONDS` is dead as well.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled
from optuna.trial import FrozenTrial

from objectives.records import attributes as attr
from sonarseg.processes.identity import is_alive, is_of_this_machine, process_identity
from studies.storage.server import GRACE_SECONDS

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(study: optuna.Study, trial_id: int) -> Iterator[None]:
    """Beat for a trial as long as the block lasts, where the storage is shared.

    The beat is that of a thread, so a worker beats however long a step of its trial takes; the storage
    waits for a server that is away, so a restart does not end it.
    """
    storage = study._storage
    if not is_shared(storage):
        yield
        return
    assert isinstance(storage, BaseHeartbeat)
    seconds = storage.get_heartbeat_interval()
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                storage.record_heartbeat(trial_id)
            except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
                # The next beat may reach the server again; without one the trial would count as dead.
                _log.warning("a heartbeat of trial %d was not stored: %s", trial_id, error)
            if ended.wait(seconds):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def worker_identity() -> dict[str, Any]:
    """Which thread of which process works on a trial."""
    return {**process_identity(os.getpid()), "thread": threading.get_native_id()}


def dead_trials(study: optuna.Study, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Find the running trials whose worker is dead."""
    storage = study._storage
    stale = set(_stale_ids(storage, study._study_id)) if running and is_shared(storage) else set()
    return [trial for trial in running if _is_dead(trial, is_shared(storage), stale)]


def is_shared(storage: BaseStorage) -> bool:
    """Whether workers of several machines use the storage, and so beat."""
    return bool(is_heartbeat_enabled(storage))


def _stale_ids(storage: BaseStorage, study_id: int) -> list[int]:
    assert isinstance(storage, BaseHeartbeat)
    return list(storage._get_stale_trial_ids(study_id))


def _is_dead(trial: FrozenTrial, shared: bool, stale: set[int]) -> bool:
    worker = trial.user_attrs.get(attr.WORKER)
    if worker is None:
        # It died between asking and saying who it is. On one machine nobody else is there now; on a server
        # whoever asked may have lost its lock with its connection, and is about to say it.
        return not shared or _is_old(trial)
    if trial._trial_id in stale:
        # Its process may live, and work on something else.
        return True
    if not is_of_this_machine(worker):
        # A workspace with a file of its own is worked on by one machine: it was copied from the other.
        return not shared
    return worker == worker_identity() or not is_alive(worker)


def _is_old(trial: FrozenTrial) -> bool:
    age = datetime.now() - (trial.datetime_start or datetime.now())
    return age.total_seconds() > GRACE_SECONDS


def died_here(trial: FrozenTrial) -> bool:
    """Whether a running trial's worker was a process of this machine that is gone."""
    worker = trial.user_attrs.get(attr.WORKER)
    return worker is not None and is_of_this_machine(worker) and not is_alive(worker)
