"""Faults in the middle of a run: nothing is lost but the epoch under way, and nothing comes out wrong."""

import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.training import checkpoint
from sonarseg.training.batch_size import choose_batch_size, start_over
from sonarseg.training.checkpoint import CHECKPOINT, PREVIOUS, load_newest
from sonarseg.training.config import RunConfig
from sonarseg.training.endings import RunFailed
from sonarseg.training.record import LOG, read_metrics, read_summary
from sonarseg.training.run import run
from sonarseg.training.step_guard import MAX_SKIPPED
from sonarseg.training.trainer import Trainer
from tests.sonarseg.training.conftest import write_run

KILLS = 20
Whole = tuple[RunConfig, Path]


@pytest.fixture(scope="module")
def whole(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run of 12 epochs that nothing disturbs, and its configuration."""
    config = RunConfig.model_validate(
        {
            "survey": str(tiny_survey),
            "network": {"decoder_channels": 8, "stages": 2, "tile_scale": 0.5},
            "cam": {"scales": [1.0]},
            "training": {"warmup_epochs": 4, "rounds": 2, "epochs_per_round": 4, "batch_size": 4},
            "crf": {"iterations": 1},
            "device": "cpu",
        }
    )
    run_dir = write_run(tmp_path_factory.mktemp("whole") / "run", config)
    run(run_dir)
    return config, run_dir


def results(run_dir: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Metrics and summary without what it cost."""
    summary = read_summary(run_dir)
    kept = ("metrics", "confusions", "average_precision", "frequencies", "config_hash", "epochs")
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]
    return lines, {name: summary[name] for name in kept}


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to kill by processor time")
def test_kill_9_at_random_moments(tmp_path: Path, whole: Whole) -> None:
    """By processor time, so that a busy machine does not move the moments."""
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sonarseg.training.run"])
    draw = random.Random(5)
    spent = read_summary(undisturbed)["device_seconds"]
    killed = 0
    for _ in range(KILLS):
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
        killed += process.exitcode == -9
        known, damaged = load_newest(run_dir, torch.device("cpu"))
        assert damaged == []
        # The checkpoint never falls behind the lines: what was told is not lost.
        assert (0 if known is None else known["epoch"]) >= len(read_metrics(run_dir)) >= before
    run(run_dir)
    assert killed > KILLS // 2
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = "size=2m"
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_at_a_checkpoint(small_disk: Path, whole: Whole) -> None:
    config, undisturbed = whole
    size = (undisturbed / CHECKPOINT).stat().st_size
    subprocess.run(["mount", "-o", f"remount,size={4 * size}", str(small_disk)], check=True)
    run_dir = write_run(small_disk / "run", config)
    ballast = small_disk / "ballast"

    def fill(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 3:
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(UserError, match=r"is full .* free some of it; the same command goes on"):
        run(run_dir, fill)
    assert len(read_metrics(run_dir)) == 3
    assert not list(run_dir.glob("*.partial"))
    ballast.unlink()
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def test_a_checkpoint_of_which_only_a_part_can_be_written(tmp_path: Path, whole: Whole) -> None:
    """By a limit on the size of files, which needs no file system of its own."""
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    size = (undisturbed / CHECKPOINT).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))

    try:
        with pytest.raises(UserError, match=r"is full .* free some of it; the same command goes on"):
            run(run_dir, limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(read_metrics(run_dir)) == 5
    assert not list(run_dir.glob("*.partial"))
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    original, calls = getattr(os, call), 0

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, call, full)
        with pytest.raises(UserError, match=r"disk of .* is full"):
            run(run_dir)
    assert not list(run_dir.glob("*.partial"))
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def stopped_after(run_dir: Path, epochs: int) -> None:
    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(run_dir, stop)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, whole: Whole, damage: Callable[[Path], None]
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 9)
    damage(run_dir / CHECKPOINT)
    said: list[str] = []
    run(run_dir, lambda *told: said.append(str(told[-1])))
    assert results(run_dir) == results(undisturbed)
    assert "resumed after epoch 8" in (run_dir / LOG).read_text()
    assert damage is Path.unlink or any(
        "checkpoint.pt was damaged" in s and "after epoch 8" in s for s in said
    )


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_finished_run_that_lost_its_checkpoint_trains_its_last_epoch_again(
    tmp_path: Path, whole: Whole, damage: Callable[[Path], None]
) -> None:
    undisturbed = whole[1]
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    damage(run_dir / CHECKPOINT)
    with pytest.raises(UserError, match=rf"sonarseg run {run_dir}`"):
        checkpoint.load_checkpoint(run_dir / CHECKPOINT, torch.device("cpu"))
    # Interrupted once more, when the summary is gone
    stopped_after(run_dir, 12)
    assert "resumed after epoch 11" in (run_dir / LOG).read_text()
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    ours, theirs = (torch.load(folder / CHECKPOINT)["network"] for folder in (run_dir, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (run_dir / "pseudo_labels" / "round-1").exists()


def test_two_damaged_checkpoints_begin_the_run_anew(tmp_path: Path, whole: Whole) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 3)
    cut(run_dir / CHECKPOINT)
    flip_a_bit(run_dir / PREVIOUS)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    assert "begins anew" in (run_dir / LOG).read_text()


def test_a_run_that_starts_over_uses_nothing_of_the_network_it_gave_up(tmp_path: Path, whole: Whole) -> None:
    config, _ = whole
    run_dir, small = (write_run(tmp_path / name, config) for name in ("run", "small"))
    stopped_after(run_dir, 9)
    start_over(run_dir, 2, "memory ran out with 4")
    run(run_dir)
    choose_batch_size(small, 2, "asked for")
    run(small)
    assert results(run_dir) == results(small)


def test_a_survey_that_was_changed_meanwhile_is_refused(tmp_path: Path, whole: Whole) -> None:
    config, _ = whole
    survey = tmp_path / "survey"
    shutil.copytree(config.survey, survey)
    run_dir = write_run(tmp_path / "run", config.model_copy(update={"survey": str(survey)}))
    stopped_after(run_dir, 3)
    labels = survey / "labels.csv"
    lines = labels.read_text().splitlines()
    flipped = [lines[0], *(line[:-1] + ("0" if line[-1] == "1" else "1") for line in lines[1:])]
    labels.write_text("\n".join(flipped) + "\n")
    with pytest.raises(UserError, match=r"changed after the run .* began: start a new run folder"):
        run(run_dir)
    labels.write_text("\n".join(lines) + "\n")
    run(run_dir)


def swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def mirror(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def rename_a_class(survey: Path) -> None:
    for name in ("classes.txt", "labels.csv"):
        path = survey / name
        path.write_text(path.read_text().replace("mud", "silt"))


# What hides from counts of grey levels, of classes and of tiles
CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "train images swapped": ("labels", lambda s: swap(s / "images/t00.png", s / "images/t06.png")),
    "val masks swapped": ("labels", lambda s: swap(s / "masks/t10.png", s / "masks/t12.png")),
    "val mask mirrored": ("labels", lambda s: mirror(s / "masks/t11.png")),
    "train mask mirrored": ("masks", lambda s: mirror(s / "masks/t01.png")),
    "class renamed": ("labels", rename_a_class),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_leaves_all_counts_alone_is_refused(tmp_path: Path, whole: Whole, change: str) -> None:
    supervision, make = CHANGES[change]
    survey = tmp_path / "survey"
    shutil.copytree(whole[0].survey, survey)
    config = whole[0].model_copy(update={"survey": "../survey", "supervision": supervision})
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 1)
    make(survey)
    with pytest.raises(UserError, match=r"changed after the run .* began: start a new run folder"):
        run(run_dir)


@pytest.mark.parametrize("supervision", ["labels", "masks"])
def test_a_workspace_that_was_moved_resumes(tmp_path: Path, whole: Whole, supervision: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(whole[0].survey, here / "survey")
    config = whole[0].model_copy(update={"survey": "../survey", "supervision": supervision})
    run_dir = write_run(here / "run", config)
    stopped_after(run_dir, 2)
    # Without times, as another machine would get it
    shutil.copytree(here, there, copy_function=shutil.copyfile)
    shutil.rmtree(there / "run" / "tiles")
    for place in (here, there):
        if supervision == "labels":
            mirror(place / "survey" / "masks" / "t01.png")
        stopped_after(place / "run", 3)
        assert "resumed after epoch 2" in (place / "run" / LOG).read_text()


def test_other_threads_than_before_are_noted(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", whole[0])
    stopped_after(run_dir, 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 97)
    run(run_dir)
    assert "goes on with 97 threads instead of" in (run_dir / LOG).read_text()
    assert read_summary(run_dir)["threads"] == 97


def test_every_bit_of_the_weights_is_checked(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    checkpoint.save_checkpoint(path, {"network": {"weight": torch.arange(64.0)}})
    content = path.read_bytes()
    start = content.index(torch.arange(64.0).numpy().tobytes())
    for position in range(start, start + 256, 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        with pytest.raises(UserError, match=r"cannot be read as a checkpoint \(the checksum"):
            checkpoint.load_checkpoint(path, torch.device("cpu"))


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
        with pytest.raises(UserError, match=r"device was lost .*the same command goes on"):
            run(run_dir)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def test_a_run_ends_soon_after_the_program_that_follows_it(tmp_path: Path, whole: Whole) -> None:
    sections = whole[0].model_dump()
    sections["training"] |= {"warmup_epochs": 5000}
    run_dir = write_run(tmp_path / "run", RunConfig.model_validate(sections))
    program = (
        "import sys; from pathlib import Path; from objectives.run_follower import follow_run;"
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
