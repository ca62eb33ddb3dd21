"""Workers that cannot be started: each counts once, and those that live go on."""

import os
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from sonarseg.errors import UserError
from studies.workers import local
from studies.workers.local import LocalWorkers
from studies.workers.worker import Ending, WorkerTask

Work = Callable[[WorkerTask], Ending]
TASK = WorkerTask("nowhere", "crf")


class Executor:
    """Stands in for the pool of a worker."""

    def shutdown(self, wait: bool, kill_workers: bool = False) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins are no processes: nothing must be signalled in their name."""
    monkeypatch.setattr(local, "_signal", lambda pid, number: None)


def living(future: "Future[Ending]") -> local._WorkerProcess:
    return local._WorkerProcess(Executor(), os.getpid(), future)  # type: ignore[arg-type]


def test_a_start_that_fails_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []

    def start(work: Work, task: WorkerTask) -> local._WorkerProcess | None:
        starts.append("failed" if len(starts) < 3 else "well")
        if starts[-1] == "failed":
            return None
        future: Future[Ending] = Future()
        future.set_result("done")
        return living(future)

    monkeypatch.setattr(local, "_start", start)
    LocalWorkers().run(TASK, 5, lambda: 0)
    assert starts == ["failed"] * 3 + ["well"] * 5


def test_workers_go_on_while_others_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future[Ending]] = []
    failed = 0

    def start(work: Work, task: WorkerTask) -> local._WorkerProcess | None:
        nonlocal failed
        if futures:
            failed += 1
            return None
        futures.append(Future())
        return living(futures[0])

    def looks(limit: int) -> Callable[[], int]:
        seen = 0

        def observe() -> int:
            nonlocal seen
            seen += 1
            if seen == limit:
                futures[0].set_result("done")
            return 0

        return observe

    monkeypatch.setattr(local, "_start", start)
    monkeypatch.setattr(local, "_LOOK_SECONDS", 0.001)
    LocalWorkers().run(TASK, 4, looks(100))
    assert failed == local._MOST_DEATHS + 1


def test_it_ends_when_no_worker_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_start", lambda work, task: None)
    with pytest.raises(UserError, match="13 workers of the crf study died"):
        LocalWorkers().run(TASK, 2, lambda: 0)
