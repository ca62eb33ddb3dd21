"""How many trials a second a storage takes from many workers, and what a study costs beside its runs.

Optuna's SQLite runs a quarter of the trials that its row names. The share of a loss study's time that is not
its runs' is computed for runs of 60 seconds from runs of 12 that only sleep.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from result_rows import Row, row

from objectives.loss import LossObjective
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import RunConfig
from studies.storage.open import create_database, load_study
from studies.storage.sqlite import SqliteStorage
from studies.trials.loop import run_trials
from studies.workspace import Workspace

REPORTS = 20
RUN_SECONDS = 12
RUN_PROGRAM = Path(__file__).with_name("short_run.py")
Open = Callable[[Path], BaseStorage]


def _default(path: Path) -> BaseStorage:
    return RDBStorage(f"sqlite:///{path}")


STORAGES: dict[str, Open] = {
    "sonarseg's SQLite": SqliteStorage,
    "Optuna's SQLite": _default,
    "Optuna's journal": lambda path: JournalStorage(JournalFileBackend(str(path))),
}


def _objective(trial: optuna.Trial) -> float:
    value = trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)
    for step in range(REPORTS):
        trial.report(value * step, step)
    return value


def _optimise(opener: Open, path: Path, trials: int, ready: Any, go: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="crf", storage=opener(path), sampler=optuna.samplers.RandomSampler())
    ready.release()
    go.wait()
    try:
        study.optimize(_objective, n_trials=trials)
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        # Counted by the exit code; the table tells how many.
        raise SystemExit(1) from error


def trials_a_second(opener: Open, workers: int, trials: int) -> tuple[float, int]:
    """Let workers share a fresh database; of ours, all trials must be in it at the end.

    Parameters
    ----------
    opener : callable
        Opens the storage at a path.
    workers, trials : int
        Processes, and trials of all of them together.

    Returns
    -------
    float, int
        Whole trials a second, and how many workers ended with an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        if opener is SqliteStorage:
            create_database(path, {"crf": {}})
        else:
            optuna.create_study(study_name="crf", storage=opener(path))
        context = multiprocessing.get_context("fork")
        ready, go = context.Semaphore(0), context.Event()
        share = trials // workers
        processes = [
            context.Process(target=_optimise, args=(opener, path, share, ready, go)) for _ in range(workers)
        ]
        for process in processes:
            process.start()
        for _ in processes:
            ready.acquire()
        started = time.perf_counter()
        go.set()
        for process in processes:
            process.join()
        seconds = time.perf_counter() - started
        failed = sum(process.exitcode != 0 for process in processes)
        done = optuna.load_study(study_name="crf", storage=opener(path)).trials
        whole = sum(trial.state.is_finished() and len(trial.intermediate_values) == REPORTS for trial in done)
        if opener is SqliteStorage:
            if failed or len(done) != trials or whole != trials:
                raise RuntimeError(f"{failed} workers failed; {whole} of {trials} trials are whole")
            with closing(sqlite3.connect(path)) as connection:
                if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    raise RuntimeError("the database is damaged")
        return whole / seconds, failed


def _rates(workers: int, trials: int) -> Iterator[Row]:
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in STORAGES}
    for _ in range(2):
        for name, opener in STORAGES.items():
            # Each commit of Optuna's SQLite waits for the disk: a quarter of the trials tell its rate.
            share = trials // 4 if opener is _default else trials
            found[name].append(trials_a_second(opener, workers, share))
    rates = {name: round(median(rate for rate, _ in values), 1) for name, values in found.items()}
    failed = {name: sum(count for _, count in values) for name, values in found.items()}
    ours = rates.pop("sonarseg's SQLite")
    for name, rate in rates.items():
        case = f"{workers} workers, one database, {trials} trials x {REPORTS} reports, beside {name}"
        lost = f" ({failed[name]} of whose {2 * workers} workers failed)" if failed[name] else ""
        yield row(case + lost, ours, rate, "trials/s", larger_is_better=True)


def _loop(root: Path, trials: int, times: Any) -> None:
    starts: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        starts.append(time.perf_counter())
        return _objective(trial)

    workspace = Workspace(root)
    study = load_study(workspace.database_path, "crf")
    study.sampler = optuna.samplers.RandomSampler()
    run_trials(study, objective, trials, workspace)
    times.put([later - earlier for earlier, later in pairwise(starts)])


def milliseconds_a_trial(workers: int, trials: int) -> float:
    """Median of ask, 20 reports and tell in sonarseg's own loop, budget and retries included."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "study.toml").write_text('name = "bench"\nsurvey = "none"\n')
        create_database(root / "study.db", {"crf": {"kind": "crf", "metric": "miou"}})
        context = multiprocessing.get_context("fork")
        times = context.Queue()
        processes = [context.Process(target=_loop, args=(root, trials, times)) for _ in range(workers)]
        for process in processes:
            process.start()
        taken = [value for _ in processes for value in times.get()]
        for process in processes:
            process.join()
    return 1000 * median(taken)


def seconds_beside_a_run(trials: int = 3) -> float:
    """Time of a loss trial that is not its run's: from the end of one run to the start of the next."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "study.toml").write_text('name = "bench"\nsurvey = "none"\n')
        create_database(root / "study.db", {"loss": {"kind": "loss", "metric": "miou"}})
        workspace = Workspace(root)
        base = RunConfig(survey="none", scaling=GreyScaling(low=0, high=255, channels=1), stage="warm-up")
        objective = LossObjective(
            base, workspace.runs_dir, "miou", command=(sys.executable, str(RUN_PROGRAM), str(RUN_SECONDS))
        )
        study = load_study(workspace.database_path, "loss")
        started = time.perf_counter()
        run_trials(study, objective, trials, workspace)
        whole = time.perf_counter() - started
        spent = sum(trial.user_attrs["seconds"] for trial in study.trials)
        return (whole - spent) / trials


def rows() -> Iterator[Row]:
    """Rows of this part."""
    yield from _rates(16, 800)
    yield from _rates(4, 400)
    case = "ask, 20 reports and tell in the trial loop, 4 workers, median (at most 60)"
    yield row(case, milliseconds_a_trial(4, 400), None, "ms", digits=1)
    beside = seconds_beside_a_run()
    case = "loss study, share of 60-second runs that is not the run (at most 1)"
    yield row(case, 100 * beside / (60 + beside), None, "%", digits=2)
