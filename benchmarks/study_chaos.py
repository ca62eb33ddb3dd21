"""Fifty workers and five launchers are killed in a study of 200 trials: nothing may be lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from optuna.trial import TrialState
from result_rows import Row, row

sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.storage.open import create_database, load_study
from studies.trials.loop import finished
from studies.trials.retry import MOST_DEATHS
from tests.support import toy_study

BUDGET, WORKERS, SECONDS = 200, 4, 0.5


def _launch(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, toy_study.__file__, str(root), str(BUDGET), str(WORKERS), str(SECONDS)]
    return subprocess.Popen(command, env=toy_study.toy_environment(), stderr=subprocess.DEVNULL)


def rows() -> Iterator[Row]:
    """Rows of this part; raises where a trial was lost or doubled."""
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = toy_study.toy_workspace(Path(folder)).root
        create_database(root / "study.db", {"crf": toy_study.ATTRS})  # type: ignore[dict-item]
        study = load_study(root / "study.db", "crf")
        plan = ["worker"] * 50 + ["launcher"] * 5
        dice.shuffle(plan)
        started = time.perf_counter()
        launcher, killed = _launch(root), 0
        while plan:
            time.sleep(dice.uniform(0.05, 0.6))
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            workers = [trial.user_attrs["worker"]["pid"] for trial in running if "worker" in trial.user_attrs]
            if launcher.poll() is not None:
                raise RuntimeError(f"the study ended with {len(plan)} deaths to go")
            if not workers:
                continue
            if plan[-1] == "launcher":
                plan.pop()
                launcher.kill()
                launcher.wait()
                launcher = _launch(root)
            else:
                with suppress(ProcessLookupError):
                    # A trial may still name a worker that is dead already.
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    plan.pop()
                    killed += 1
        if launcher.wait() != 0:
            raise RuntimeError("the last launcher failed")
        seconds = time.perf_counter() - started
        done, trials = finished(study), study.trials
        again = [trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs]
        wrong = abs(len(done) - BUDGET) + sum(not trial.state.is_finished() for trial in trials)
        # Trials that were given up after too many deaths: failed, and part of the budget.
        given_up = sum(trial.user_attrs.get("deaths", 0) > MOST_DEATHS for trial in trials)
        wrong += len(again) - len(set(again)) + abs(len(trials) - len(again) - BUDGET)
        wrong += sum(
            trial.state == TrialState.COMPLETE and trial.value != toy_study.toy_value(trial.params)
            for trial in done
        )
        best = max(toy_study.toy_value(trial.params) for trial in done if trial.state == TrialState.COMPLETE)
        wrong += study.best_value != best
        if wrong:
            raise RuntimeError(f"{wrong} trials were lost, doubled, unfinished or wrong")
    case = (
        f"{BUDGET} trials, {killed} workers and 5 launchers killed, {len(again)} trials run again, "
        f"{given_up} given up, {seconds:.0f} s: trials lost, doubled, unfinished or wrong"
    )
    yield row(case, wrong, None, "trials")
