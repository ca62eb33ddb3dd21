"""Sign of life of a trial, for workers on other machines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(study: optuna.Study, trial_id: int) -> Iterator[None]:
    """Beat for a trial as long as the block lasts, where the storage is shared.

    The beat is that of a thread, so a worker beats however long a step of its trial takes; the storage
    waits for a server that is away, so a restart does not end it.
    """
    storage = study._storage
    if not is_heartbeat_enabled(storage):
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
