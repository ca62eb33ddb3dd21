"""Rules of the benchmarks of runs: what is timed is what the row says."""

import multiprocessing as mp
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_plain_loop_reports_its_first_step_before_the_second(tmp_path: Path) -> None:
    import plain_training

    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.png")
        Image.new("L", (8, 8), number % 2).save(files[-1])

    class Network(torch.nn.Conv2d):
        def forward(self, images):
            return None, super().forward(images)

    tiles = plain_training.PlainTiles(files, files, 0.4, 0.2)
    training = plain_training.PlainTraining(Network(1, 2, 1), tiles, 2, torch.device("cpu"), False)
    steps: list[float] = []
    training.after_step = lambda: steps.append(next(iter(training.optimiser.state.values()))["step"].item())
    assert training.epoch() == 2
    assert steps == [1, 2]


def test_the_first_step_is_timed_up_to_its_line_not_to_the_end_of_the_process() -> None:
    from run_start import seconds_to_first_step

    # A child holds the pipe, as the workers of a DataLoader do.
    program = "import os, time; os.fork() and print('first step', flush=True); time.sleep(30)"
    started = time.perf_counter()
    assert seconds_to_first_step([sys.executable, "-c", program]) < 5
    assert time.perf_counter() - started < 10


def test_a_side_that_ends_without_a_step_is_an_error() -> None:
    from run_start import seconds_to_first_step

    with pytest.raises(RuntimeError, match="before its first step"):
        seconds_to_first_step([sys.executable, "-c", "print('other')"])


def test_a_side_that_fails_is_an_error_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from run_sides import rates_in_turn

    # Faster than a process that imports torch
    fork = mp.get_context("fork")
    monkeypatch.setattr("multiprocessing.get_context", lambda _: fork)
    before = mp.active_children()
    with pytest.raises(RuntimeError, match="a side among our_training failed"):
        rates_in_turn(["our_training"], tmp_path / "no-survey", "cpu", 1)
    assert set(mp.active_children()) <= set(before)


def test_the_sides_take_no_further_turn_after_their_time() -> None:
    from run_sides import _in_turn

    class Side:
        turns = 0

        def send(self, what: str) -> None:
            self.turns += 1

        def recv(self) -> float:
            time.sleep(0.05)
            return 2.0

    sides = [Side(), Side()]
    assert _in_turn(sides, 100, 0.01) == [[2.0], [2.0]]  # type: ignore[arg-type]
    assert _in_turn(sides, 2, 60) == [[2.0, 2.0], [2.0, 2.0]]  # type: ignore[arg-type]
    assert sides[0].turns == 3


def test_the_plain_loop_has_a_worker_a_core() -> None:
    from plain_training import WORKERS

    assert min(16, len(os.sched_getaffinity(0))) == WORKERS


def test_only_rows_that_compare_have_a_ratio() -> None:
    from result_rows import row

    assert row("memory", 600, 500, "MiB")["ratio"] is None
    assert row("time", 2, 3, "s", larger_is_better=False)["ratio"] == 1.5


def test_overlapping_kernels_count_once() -> None:
    from gpu.kernels import covered

    assert covered([(5, 6), (0, 2), (1, 3), (1.5, 2)]) == 4
    assert covered([]) == 0
