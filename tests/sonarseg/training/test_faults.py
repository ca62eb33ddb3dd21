"""Faults in the middle of a run: nothing is lost but the epoch under way, and nothing comes out wrong."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sonarseg.errors import DeviceLost, UserError
from sonarseg.files.run_metrics import read_metrics
from sonarseg.training.checkpoint.files import CHECKPOINT, load_newest
from sonarseg.training.config import RunConfig
from sonarseg.training.failures import RunFailed
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import LOG, read_summary
from sonarseg.training.step_guard import MAX_SKIPPED
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import Whole, results, stopped_after, write_run

KILLS = 20


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to kill by processor time")
def test_kill_9_at_random_moments(tmp_path: Path, whole: Whole) -> None:
    """By processor time, so that a busy machine does not move the moments; one that ends is begun anew."""
    config, undisturbed = whole
    killed, ended = 0, 0
    run_dir = write_run(tmp_path / f"run-{ended}", config)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sonarseg.training.run"])
    draw = random.Random(5)
    spent = read_summary(undisturbed)["device_seconds"]
    while killed < KILLS:
        process = context.Process(target=run, args=(run_dir,))
        process.start()
        assert process.pid is not None
        allowed = draw.uniform(0, 0.15 * spent)
        begun = processor_seconds(process.pid)
        before = len(read_metrics(run_dir))
        while process.is_alive() and processor_seconds(process.pid) - begun < allowed:
            time.sleep(0.002)
        process.kill()
        process.join()
        if process.exitcode == 0:
            assert results(run_dir) == results(undisturbed)
            ended += 1
            run_dir = write_run(tmp_path / f"run-{ended}", config)
            continue
        assert process.exitcode == -9
        killed += 1
        known, damaged = load_newest(run_dir, torch.device("cpu"))
        assert damaged == []
        # The checkpoint never falls behind the lines: what was told is not lost.
        assert (0 if known is None else known["epoch"]) >= len(read_metrics(run_dir)) >= before
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def test_a_run_that_is_interrupted_after_every_epoch_ends_bit_identically(
    tmp_path: Path, whole: Whole
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    for epoch in range(1, 13):
        stopped_after(run_dir, epoch)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    assert read_summary(run_dir)["starts"] == 13
    ours, theirs = (torch.load(folder / CHECKPOINT)["network"] for folder in (run_dir, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def at_step(monkeypatch: pytest.MonkeyPatch, method: str, fault: Callable[[int, Any], Any]) -> None:
    """Let `fault(step, result)` stand for what a method of the trainer returns, steps counted from 1."""
    original = getattr(Trainer, method)
    steps = 0

    def faulty(self: Trainer, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return fault(steps, original(self, *arguments))

    monkeypatch.setattr(Trainer, method, faulty)


def out_of_memory_at(step: int) -> Callable[[int, Any], Any]:
    def fault(now: int, result: Any) -> Any:
        if now == step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return result

    return fault


def not_finite_from(first: int, last: int) -> Callable[[int, Any], Any]:
    def fault(now: int, result: Any) -> Any:
        classification, segmentation = result
        return (classification * float("nan") if first <= now <= last else classification, segmentation)

    return fault


def test_out_of_memory_fails_a_trial_which_resumes(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    with monkeypatch.context() as patched:
        at_step(patched, "_step", out_of_memory_at(17))
        with pytest.raises(RunFailed, match=r"out of memory on cpu with training.batch_size = 4: lower it"):
            run(run_dir)
    failure = json.loads((run_dir / "failure.json").read_text())
    assert failure["kind"] == "out-of-memory"
    assert len(read_metrics(run_dir)) > 3
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    assert not (run_dir / "failure.json").exists()


def test_out_of_memory_lowers_the_batch_size_of_a_lone_run_which_says_so(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    said: list[str] = []
    at_step(monkeypatch, "_step", out_of_memory_at(17))
    summary = run(run_dir, lambda *told: said.append(str(told[-1])), lower_batch_size=True)
    sentence = "batch size 2 from here on: memory ran out with 4"
    assert sentence in said
    assert sentence in (run_dir / LOG).read_text()
    assert summary["batch_size"] == 2
    assert summary["finished"]
    assert results(run_dir)[0][:4] == results(undisturbed)[0][:4]


def test_a_step_that_is_not_finite_is_left_out_alike_after_an_interruption(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, undisturbed = whole
    broken, straight = (write_run(tmp_path / name, config) for name in ("broken", "straight"))

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 6:
            raise KeyboardInterrupt

    for run_dir in (straight, broken):
        with monkeypatch.context() as patched:
            at_step(patched, "_losses", not_finite_from(5, 5))
            if run_dir is broken:
                with pytest.raises(KeyboardInterrupt):
                    run(run_dir, stop)
            run(run_dir)
    assert results(broken) == results(straight)
    assert read_summary(broken)["skipped_steps"] == 1
    lines = read_metrics(straight)
    assert [line["epoch"] for line in lines if "skipped_steps" in line] == [2]
    assert results(straight)[0][0] == results(undisturbed)[0][0]
    assert results(straight)[0][1] != results(undisturbed)[0][1]


@pytest.mark.parametrize(
    ("last", "reason"), [(10**6, "not finite in any step of epoch 2"), (5 + MAX_SKIPPED, "in 11 steps")]
)
def test_too_many_steps_that_are_not_finite_end_the_run(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch, last: int, reason: str
) -> None:
    sections = whole[0].model_dump()
    if last < 10**6:
        sections["training"] |= {"batch_size": 1, "warmup_epochs": 1}
    run_dir = write_run(tmp_path / "run", RunConfig.model_validate(sections))
    at_step(monkeypatch, "_losses", not_finite_from(4 if last == 10**6 else 5, last))
    with pytest.raises(RunFailed, match=reason):
        run(run_dir)
    assert reason in json.loads((run_dir / "failure.json").read_text())["reason"]


def test_two_processes_do_not_write_one_run(tmp_path: Path, whole: Whole) -> None:
    run_dir = write_run(tmp_path / "run", whole[0])

    def start_again(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training":
            with pytest.raises(UserError, match=rf"is being written by process {os.getpid()} on .* since"):
                run(run_dir)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(run_dir, start_again)
    run(run_dir)


def test_a_lost_device_is_told_and_the_run_goes_on(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)

    def fault(now: int, result: Any) -> Any:
        if now == 11:
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")
        return result

    with monkeypatch.context() as patched:
        at_step(patched, "_step", fault)
        with pytest.raises(DeviceLost, match=r"device was lost .*the same command goes on"):
            run(run_dir)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def test_a_run_ends_soon_after_the_program_that_follows_it(tmp_path: Path, whole: Whole) -> None:
    sections = whole[0].model_dump()
    sections["training"] |= {"warmup_epochs": 5000}
    run_dir = write_run(tmp_path / "run", RunConfig.model_validate(sections))
    program = (
        "import sys; from pathlib import Path; from objectives.run_monitor import follow_run;"
        "follow_run(Path(sys.argv[1]), lambda line: print(line['epoch'], flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(run_dir)], stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "1\n"
        process = json.loads((run_dir / "process.json").read_text())["pid"]
        follower.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()
    assert "the program that followed this run is gone" in (run_dir / LOG).read_text()
