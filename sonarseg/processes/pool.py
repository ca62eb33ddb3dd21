"""Work spread over threads or worker processes that neither Ctrl-C nor the parent's death leaves behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sonarseg.errors import UserError

# Python that imports nothing from the current folder, whatever lies there: how child processes are started
PYTHON = (sys.executable, "-P")
# The same for children whose command line is not ours
_SAFE_PATH = {"PYTHONSAFEPATH": "1"}
Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_SECONDS = 0.5


def end_with_parent(parent: int) -> None:
    """Send this process SIGTERM once its parent is gone: a worker must not outlive its launcher.

    Again and again, for the first may only end what it is doing and leave it waiting for more.

    Parameters
    ----------
    parent : int
        Process id of the parent.
    """

    def look() -> None:
        waiting = threading.Event()
        while os.getppid() == parent:
            waiting.wait(_LOOK_SECONDS)
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            waiting.wait(_LOOK_SECONDS)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()


def begin_worker(parent: int) -> None:
    """Begin a worker process: it ends with its parent, and leaves Ctrl-C to it.

    A terminal sends Ctrl-C to the workers too; it is the parent that ends them.

    Parameters
    ----------
    parent : int
        Process id of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent(parent)


def worker_pool(jobs: int, idle_seconds: float | None = None) -> ProcessPoolExecutor:
    """Make a pool of worker processes that ignore Ctrl-C and end with this process.

    Parameters
    ----------
    jobs : int
        Processes.
    idle_seconds : float, optional
        Workers end when they had nothing to do for so long.
    """
    # Before any worker: having started its own, Python lets signals through again that a caller holds back.
    with _safe_path():
        resource_tracker.ensure_running()
        loky_resource_tracker.ensure_running()
    # Not the one that joblib shares: that one would lend it ours without what it hangs on its own.
    return ProcessPoolExecutor(
        jobs, timeout=idle_seconds, initializer=begin_worker, initargs=(os.getpid(),), env=_SAFE_PATH
    )


@contextmanager
def _safe_path() -> Iterator[None]:
    """Keep child processes that the block starts from importing anything of the current folder."""
    before = {name: os.environ.get(name) for name in _SAFE_PATH}
    os.environ.update(_SAFE_PATH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, *, processes: bool
) -> Iterator[Result]:
    """Apply a function to every item, `jobs` at a time; results come in the order of the items.

    No more than two results a job wait to be taken. Where the caller stops early, what has not begun is
    dropped, and worker processes are ended.

    Parameters
    ----------
    jobs : int
        Threads or processes; 1 works in the caller's own thread.
    processes : bool
        Worker processes in place of threads.

    Raises
    ------
    UserError
        Where the system killed a worker process.
    """
    if jobs == 1 or len(items) < 2:
        yield from map(function, items)
        return
    pool: Executor = worker_pool(jobs) if processes else ThreadPoolExecutor(jobs)
    waiting: deque[Future[Result]] = deque()
    finished = False
    try:
        for item in items:
            # Workers are started here, and inherit the mask: Ctrl-C cannot hit one that is still loading.
            with interrupts_held():
                waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        finished = True
    except TerminatedWorkerError as error:
        raise UserError(
            "A worker process was killed, as the system does when memory runs out: use fewer jobs."
        ) from error
    finally:
        for future in waiting:
            future.cancel()
        if isinstance(pool, ProcessPoolExecutor):
            pool.shutdown(wait=True, kill_workers=not finished)
        else:
            pool.shutdown(wait=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block, and keep it from worker processes started in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    waiting: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    # Another thread may take the signal that this one blocks, and Python would still interrupt this one.
    replaced = callable(handler) and threading.current_thread() is threading.main_thread()
    if replaced:
        signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        if replaced:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)
