"""Workers on a Dask cluster, through joblib's Dask backend."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from joblib import Parallel, delayed, parallel_config

from objectives.records import attributes as attr
from sonarseg.errors import DeviceLost, UserError
from sonarseg.processes.signals import interruptible
from studies.storage.open import load_study
from studies.workers.local import GRACE_SECONDS, new_launch
from studies.workers.worker import Ending, Lost, WorkerTask, work
from studies.workspace import Workspace

if TYPE_CHECKING:
    from distributed import Client

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 30
# So long joblib may take to collect what the last workers return.
_SETTLE_SECONDS = 10.0
_log = logging.getLogger(__name__)


def run_on_dask(
    workspace: Workspace, task: WorkerTask, workers: int | None, scheduler: str, observe: Callable[[], int]
) -> None:
    """Run workers as tasks of a Dask cluster until they are done; Dask starts one again whose machine died.

    Parameters
    ----------
    workspace : Workspace
        In a folder that all machines of the cluster see under the same path.
    task : WorkerTask
        What each worker does.
    workers : int or None
        How many; None is one for each of the cluster's threads.
    scheduler : str
        Address of Dask's scheduler, as tcp://HOST:8786.
    observe : callable
        Called twice a second; tells the person what has ended.

    Raises
    ------
    UserError
        Where Dask is missing or does not answer, where it has given workers up, or what a worker raised.
    KeyboardInterrupt
        After Ctrl-C, once the workers have ended, or a minute later, or after one more Ctrl-C.
    """
    task = replace(task, launch=new_launch())
    with _connect(scheduler) as client:
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise UserError(f"the Dask cluster at {scheduler} has no workers: start some, and try again.")
        count = workers or threads
        task = replace(task, sharing=_sharing(client.nthreads(), count))
        endings: list[Ending] = []
        failures: list[BaseException] = []
        # Joblib waits for ever for a task that Dask starts no more: when the cluster had work last
        worked: float | None = None

        def run() -> None:
            try:
                with parallel_config(backend="dask", client=client):
                    endings.extend(
                        Parallel(n_jobs=count, batch_size=1)(delayed(work)(task) for _ in range(count))
                    )
            except BaseException as error:  # noqa: BLE001  raised again in the main thread
                failures.append(error)

        thread = threading.Thread(target=run, name="dask", daemon=True)
        thread.start()
        with interruptible():
            try:
                while thread.is_alive():
                    thread.join(_LOOK_SECONDS)
                    observe()
                    if any(future.status == "pending" for future in list(client.futures.values())):
                        worked = time.monotonic()
                    elif worked is not None and time.monotonic() - worked > _SETTLE_SECONDS:
                        break
            except KeyboardInterrupt:
                # Here a second signal is heeded: whoever sends it waits no longer.
                with interruptible():
                    _ask_to_stop(workspace, task)
                    thread.join(GRACE_SECONDS)
                raise
    observe()
    if failures:
        raise failures[0]
    if thread.is_alive():
        raise UserError(
            f"Dask gave up workers of the {task.kind} study whose machines died again and again: see "
            "Dask's logs, and whether memory ran out; the same command goes on."
        )
    if "interrupted" in endings:
        raise KeyboardInterrupt
    lost = [ending for ending in endings if isinstance(ending, Lost)]
    for ending in lost:
        if len(lost) == len(endings):
            raise DeviceLost(ending.sentence)
        _log.warning("%s The other workers went on.", ending.sentence)


def _sharing(threads: Mapping[str, int], workers: int) -> int:
    """Count the workers that may meet on one machine.

    Parameters
    ----------
    threads : mapping
        Address of each Dask worker, as tcp://HOST:PORT, to its threads.
    workers : int
        Workers of the study.
    """
    on_host: Counter[str] = Counter()
    for address, number in threads.items():
        on_host[address.rpartition(":")[0]] += number
    return min(workers, max(on_host.values()))


def _ask_to_stop(workspace: Workspace, task: WorkerTask) -> None:
    study = load_study(workspace.database, task.kind)
    study.set_user_attr(attr.STOP_REQUESTS, [*study.user_attrs.get(attr.STOP_REQUESTS, []), task.launch])


def _connect(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            "--engine dask needs the package distributed: install it with `pip install 'sonarseg[cluster]'`."
        ) from error
    try:
        client: Client = Client(scheduler, timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
        return client
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {scheduler} ({error}): expected an address as tcp://HOST:8786; "
            "start one with `dask scheduler`."
        ) from error
