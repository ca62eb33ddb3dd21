"""Workers on a Dask cluster, through joblib's Dask backend."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from joblib import Parallel, delayed, parallel_config

from objectives.records import attributes as attr
from sonarseg.errors import DeviceLost, UserError
from sonarseg.processes.signals import interruptible
from studies.storage.open import load_study
from studies.workers.local import GRACE_SECONDS
from studies.workers.worker import Ending, Lost, WorkerTask, work
from studies.workspace import Workspace

if TYPE_CHECKING:
    from distributed import Client

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 30
# So long joblib may take to collect what the last workers return.
_SETTLE_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaskWorkers:
    """Workers that are tasks of a Dask cluster; Dask starts one again whose machine died.

    Attributes
    ----------
    scheduler : str
        Address of Dask's scheduler, as tcp://HOST:8786.
    work : callable
        What a worker calls with its task.
    """

    scheduler: str
    work: Callable[[WorkerTask], Ending] = work
    here: ClassVar[bool] = False

    def run(self, task: WorkerTask, workers: int | None, observe: Callable[[], int]) -> None:
        """As `WorkerBackend.run`; the workspace is in a folder that all machines see under the same path.

        None is a worker for each of the cluster's threads. After Ctrl-C it is left once the workers have
        ended, or a minute later, or after one more Ctrl-C.

        Raises
        ------
        UserError
            If Dask is missing or does not answer, if it has given workers up, or what a worker raised.
        """
        task = replace(task, launch=uuid.uuid4().hex)
        with _connect(self.scheduler) as client:
            threads = sum(client.nthreads().values())
            if threads == 0:
                raise UserError(
                    f"the Dask cluster at {self.scheduler} has no workers: start some, and try again."
                )
            count = workers or threads
            task = replace(task, sharing=_sharing(client.nthreads(), count))
            endings: list[Ending] = []
            failures: list[BaseException] = []
            # Joblib waits for ever for a task that Dask starts no more: when the cluster had work last
            worked: float | None = None

            def compute() -> None:
                try:
                    with parallel_config(backend="dask", client=client):
                        calls = (delayed(self.work)(task) for _ in range(count))
                        endings.extend(Parallel(n_jobs=count, batch_size=1)(calls))
                except BaseException as error:  # noqa: BLE001  raised again in the main thread
                    failures.append(error)

            thread = threading.Thread(target=compute, name="dask", daemon=True)
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
                        _ask_to_stop(task)
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
        _look_at(endings)


def _look_at(endings: list[Ending]) -> None:
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


def _ask_to_stop(task: WorkerTask) -> None:
    study = load_study(Workspace(Path(task.root)).database, task.kind)
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
