"""What races stopped early is scored on its remaining tiles if it could still be the best."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.trial import TrialState

from objectives.outcome import TrialFailed
from objectives.records.attributes import DERIVED, RACE_CLAIMS, RACE_FINISHED
from objectives.records.partial import partial_scores
from objectives.records.read import read_studies
from objectives.records.trial import is_searched
from objectives.space import CrfRanges, suggest_crf
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.metrics.confusion import pack_confusions, unpack_confusions
from sonarseg.metrics.iou import METRICS, Confusions
from sonarseg.processes.identity import process_identity
from studies.commands.terminal.trial_lines import _describe, trial_facts
from studies.pipeline import tune_crf
from studies.stages import finish_races as finishing
from studies.stages.crf import add_missing_iterations
from studies.stages.finish_races import finish_races, has_unfinished
from studies.storage.open import load_study
from studies.trials.loop import TrialCallbacks, finished
from studies.trials.stopping import NEVER, StopRules
from studies.workspace import Workspace
from tests.support.workspaces import make_run_settings

STRIPS, TILES = 8, 4
GROUPS = [f"strip{tile // TILES}" for tile in range(STRIPS * TILES)]
HALF = np.flatnonzero(np.arange(len(GROUPS)) % TILES < 2)


def confusions_of(error: float, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    wrong = (1000 * np.clip(error + generator.normal(0, 0.02, len(GROUPS)), 0, 1)).astype(np.int64)
    return np.stack([1000 - wrong, wrong, wrong, 1000 - wrong], axis=-1).reshape(-1, 2, 2)


class Scorer:
    """Looks up what a setting scores, by its sigma_alpha, and keeps what it was asked for."""

    classes = ("mud", "rock")

    def __init__(self, whole: dict[float, Confusions]) -> None:
        self.whole = whole
        self.asked: list[tuple[float, list[int]]] = []
        self.error: BaseException | None = None

    def confusions_of(self, parameters: CrfParameters, tiles: Sequence[int]) -> NDArray[np.int64]:
        if self.error is not None:
            raise self.error
        self.asked.append((parameters.sigma_alpha, list(tiles)))
        return self.whole[parameters.sigma_alpha][list(tiles)]


class Case:
    """A study of a complete trial and stopped ones."""

    def __init__(self, root: Path) -> None:
        (root / "study.toml").write_text('name = "races"\nsurvey = "none"\n')
        self.workspace = Workspace(root)
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        for name, value in (("kind", "crf"), ("metric", "miou"), ("groups", GROUPS)):
            self.study.set_user_attr(name, value)
        self.scorer = Scorer({})
        self.told: list[tuple[str, int, int, str]] = []
        self.ended: list[int] = []

    def add(self, error: float, *, stopped: bool = True, seconds: float = 10.0, **attributes: Any) -> int:
        """Add a trial of so many wrong pixels; a stopped one was scored on half of the tiles."""
        trial = self.study.ask()
        parameters = suggest_crf(trial, CrfRanges(), False)
        whole = confusions_of(error, trial.number)
        self.scorer.whole[parameters.sigma_alpha] = whole
        stored: dict[str, Any] = {"confusions": pack_confusions(whole)}
        if stopped:
            stored = {"partial": partial_scores(HALF.tolist(), whole[HALF])}
        stored = {"seconds": seconds, "proposal": "random", "worker": {}, **stored, **attributes}
        for name, value in stored.items():
            if value is not None:
                trial.set_user_attr(name, value)
        if stopped:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, METRICS["miou"](whole))
        return trial.number

    def finish(self, stop: StopRules = NEVER) -> list[int]:
        """Numbers of the trials that were scored on their remaining tiles, in order."""

        def progress(what: str, done: int, total: int, note: str = "") -> None:
            self.told.append((what, done, total, note))

        callbacks = TrialCallbacks(
            progress=progress, ended=(lambda _, trial: self.ended.append(trial.number),)
        )
        finish_races(self.study, self.scorer, self.workspace, stop=stop, callbacks=callbacks)
        return [t.user_attrs[DERIVED] for t in self.study.trials if t.user_attrs.get("finished_race")]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    made = Case(tmp_path)
    made.add(0.2, stopped=False, seconds=100.0)
    return made


def test_settings_that_could_still_be_the_best_are_scored_whole(case: Case) -> None:
    close, lost, better = case.add(0.17), case.add(0.4), case.add(0.168)
    assert sorted(case.finish()) == [close, better]
    added = next(t for t in case.study.trials if t.user_attrs.get(DERIVED) == better)
    parent = case.study.trials[better]
    whole = case.scorer.whole[parent.params["sigma_alpha"]]
    np.testing.assert_array_equal(unpack_confusions(added.user_attrs["confusions"]), whole)
    assert added.params == parent.params
    assert added.value == METRICS["miou"](whole) == case.study.best_value
    assert added.user_attrs["proposal"] == "random"
    assert [tiles for _, tiles in case.scorer.asked] == [
        sorted(set(range(len(GROUPS))) - set(HALF.tolist()))
    ] * 2
    assert case.ended == [4, 5]
    facts = trial_facts(case.study, added)
    assert facts["derived_from"] == better and facts["finished_race"]
    assert _describe(facts).endswith(f"trial {better} scored on its remaining tiles")
    assert case.study.user_attrs[RACE_FINISHED] == {"scored": 2, "planned": 0, "left_out": 0, "seconds": 0.0}
    assert lost not in case.finish()
    assert len(case.study.trials) == 6


def test_they_are_no_part_of_the_budget_and_derive_nothing(case: Case) -> None:
    case.add(0.15)
    case.finish()
    assert len(finished(case.study)) == 2
    assert [is_searched(trial) for trial in case.study.trials] == [True, True, False]
    assert add_missing_iterations(case.study) == []


def test_it_is_told_how_far_it_is_and_how_long_it_takes(case: Case) -> None:
    case.add(0.15)
    case.add(0.16)
    case.finish()
    notes = [told[1:] for told in case.told if told[0] == "trials stopped early"]
    assert notes == [
        (0, 2, "scored on their remaining tiles, about 20 s left"),
        (1, 2, "scored on their remaining tiles, about 10 s left"),
        (2, 2, "scored on their remaining tiles"),
    ]


@pytest.mark.parametrize("proposal", ["adaptive", None])
def test_settings_that_were_not_proposed_at_random_stay_stopped(case: Case, proposal: str | None) -> None:
    case.add(0.15, proposal=proposal)
    assert case.finish() == []
    assert RACE_FINISHED not in case.study.user_attrs


def test_a_stopped_trial_without_partial_scores_is_scored_whole(case: Case) -> None:
    for _ in range(2):
        case.add(0.25, stopped=False)
    number = case.add(0.3, partial=None)
    assert case.finish() == [number]
    assert case.scorer.asked[0][1] == list(range(len(GROUPS)))


@pytest.mark.parametrize("groups", [[None] * len(GROUPS), [f"{i % 5}" for i in range(len(GROUPS))]])
def test_without_strips_or_with_few_nothing_is_scored(case: Case, groups: list[str | None]) -> None:
    case.study.set_user_attr("groups", groups)
    case.add(0.15)
    assert case.finish() == []


def test_a_quarter_of_the_time_is_spent_at_most(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 s and three times 12 s were spent: 34 s are there, and each takes 12 s for its other half."""
    for error in (0.15, 0.151, 0.152):
        case.add(error, seconds=12.0)
    clock, scoring = [0.0], case.scorer.confusions_of

    def slow(parameters: CrfParameters, tiles: Sequence[int]) -> NDArray[np.int64]:
        clock[0] += 12
        return scoring(parameters, tiles)

    monkeypatch.setattr(case.scorer, "confusions_of", slow)
    monkeypatch.setattr(finishing.time, "monotonic", lambda: clock[0])
    assert len(case.finish()) == 2
    facts = case.study.user_attrs[RACE_FINISHED]
    assert (facts["scored"], facts["left_out"]) == (2, 1)
    assert case.told[-1][3] == "scored on their remaining tiles, 1 left out for lack of time"


def test_none_is_begun_after_the_hours_and_the_next_start_scores_them(case: Case) -> None:
    number = case.add(0.15)
    assert case.finish(StopRules(hours=1, clock=lambda: 1e12)) == []
    assert case.study.user_attrs[RACE_FINISHED]["left_out"] == 1
    assert case.finish() == [number]
    assert case.study.user_attrs[RACE_FINISHED]["left_out"] == 0


def test_ctrl_c_leaves_nothing_behind_and_the_next_start_goes_on(case: Case) -> None:
    numbers = [case.add(0.15), case.add(0.16)]
    case.scorer.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        case.finish()
    assert len(case.study.trials) == 3
    case.scorer.error = None
    assert sorted(case.finish()) == numbers
    assert len(case.study.trials) == 5


def test_what_another_worker_scores_is_waited_for_and_not_done_twice(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = case.add(0.15)
    claim = {"worker": {**process_identity(os.getppid()), "thread": 1}, "since": time.time()}
    case.study.set_user_attr(RACE_CLAIMS, {str(number): claim})
    waited: list[float] = []
    here, sleep = threading.current_thread(), time.sleep

    def other_worker_ends(seconds: float) -> None:
        if threading.current_thread() is not here:
            # A thread that an earlier test left behind
            sleep(seconds)
            return
        waited.append(seconds)
        case.add(0.15, stopped=False, derived_from=number, finished_race=True)

    monkeypatch.setattr(finishing.time, "sleep", other_worker_ends)
    assert case.finish() == [number]
    assert case.scorer.asked == [] and len(waited) == 1


def test_two_workers_share_what_is_to_be_scored(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [case.add(error) for error in (0.15, 0.151, 0.152, 0.153)]
    monkeypatch.setattr(finishing, "_LOOK_SECONDS", 0.01)
    both, scoring = threading.Barrier(2, timeout=60), case.scorer.confusions_of

    def at_once(parameters: CrfParameters, tiles: Sequence[int]) -> NDArray[np.int64]:
        both.wait()
        return scoring(parameters, tiles)

    monkeypatch.setattr(case.scorer, "confusions_of", at_once)
    with ThreadPoolExecutor(2) as workers:
        for ended in [workers.submit(case.finish) for _ in range(2)]:
            ended.result()
    assert sorted(case.finish()) == numbers
    assert len(case.scorer.asked) == len(numbers)


def test_what_a_dead_worker_had_begun_is_scored(case: Case) -> None:
    number = case.add(0.15)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        worker = {**process_identity(process.pid), "thread": 1}
    case.study.set_user_attr(RACE_CLAIMS, {str(number): {"worker": worker, "since": time.time()}})
    assert case.finish() == [number]


def test_a_setting_that_cannot_be_scored_is_passed_over(case: Case) -> None:
    case.add(0.15)
    case.scorer.error = TrialFailed("a worker process was killed.")
    assert case.finish() == []
    assert not has_unfinished(case.study)


def test_a_study_whose_budget_is_spent_finishes_its_races(
    tuned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objectives.unfinished_races.FEWEST_STRIPS", 1)
    study = load_study(tuned.database_path, "crf")
    trial = study.ask()
    suggest_crf(trial, tuned.config.crf, False)
    for name, value in {"proposal": "random", "worker": {}, "seconds": 0.001}.items():
        trial.set_user_attr(name, value)
    study.tell(trial, state=TrialState.PRUNED)
    after = tune_crf(tuned, make_run_settings("good"))
    (added,) = [t for t in after.trials if t.user_attrs.get("finished_race")]
    assert added.user_attrs[DERIVED] == trial.number
    assert added.state == TrialState.COMPLETE
    assert unpack_confusions(added.user_attrs["confusions"]).sum() == 5 * 20 * 24
    read = next(t for t in read_studies(tuned.root)["crf"].trials if t.number == added.number)
    assert read.finished_race and not read.counted and read.seconds == added.user_attrs["seconds"]
