"""Sign of life of a trial, for workers on other machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.storages._heartbeat import BaseHeartbeat

from studies.retry import is_shared


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
            storage.record_heartbeat(trial_id)
            if ended.wait(seconds):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
