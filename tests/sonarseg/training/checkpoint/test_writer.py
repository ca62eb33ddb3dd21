"""Checkpoints written meanwhile: of the state at the time, one after the other, no failure lost."""

import errno
import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest
import torch

from sonarseg.errors import UserError
from sonarseg.files.run_metrics import read_metrics
from sonarseg.training.checkpoint import writer as checkpoint_writer
from sonarseg.training.checkpoint.files import CHECKPOINT, load_checkpoint
from sonarseg.training.checkpoint.writer import CheckpointWriter
from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import write_run

CPU = torch.device("cpu")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing waits until this event is set."""
    event, original = threading.Event(), checkpoint_writer.save_checkpoint

    def save(path: Path, state: dict[str, Any]) -> None:
        assert event.wait(10)
        original(path, state)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save)
    return event


def test_what_is_written_is_the_state_at_the_time(tmp_path: Path, held: threading.Event) -> None:
    weights = torch.arange(6.0).view(1, 1, 2, 3).to(memory_format=torch.channels_last)
    state = {"network": {"weight": weights}, "metrics": [{"epoch": 1}], "optimiser": ({"step": 3},)}
    told: list[bool] = []
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU) as writer:
        writer.write(state, lambda: told.append((tmp_path / CHECKPOINT).is_file()))
        weights += 1
        state["metrics"].append({"epoch": 2})  # type: ignore[attr-defined]
        assert not told
        held.set()
    assert told == [True]
    loaded = load_checkpoint(tmp_path / CHECKPOINT, CPU)
    assert torch.equal(loaded["network"]["weight"], torch.arange(6.0).view(1, 1, 2, 3))
    assert loaded["metrics"] == [{"epoch": 1}]
    assert loaded["optimiser"] == ({"step": 3},)


def test_the_copy_of_a_later_state_does_not_mix_with_the_one_before(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU) as writer:
        for network in (
            {"a": torch.ones(3), "b": torch.ones(2)},
            {"a": torch.zeros(4)},
            {"a": torch.ones(4)},
        ):
            writer.write({"network": network}, time.time)
            writer.wait()
            loaded = load_checkpoint(tmp_path / CHECKPOINT, CPU)["network"]
            assert loaded.keys() == network.keys()
            assert all(torch.equal(loaded[name], network[name]) for name in network)


def test_one_at_a_time_in_order(tmp_path: Path, held: threading.Event) -> None:
    told: list[int] = []
    threading.Timer(0.2, held.set).start()
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU) as writer:
        for number in range(4):
            writer.write({"network": {"n": torch.tensor(number)}}, lambda n=number: told.append(n))
    assert told == [0, 1, 2, 3]
    assert int(load_checkpoint(tmp_path / CHECKPOINT, CPU)["network"]["n"]) == 3


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def offered(writer: CheckpointWriter, number: int, told: list[int], *, due: bool = False) -> None:
    state = {"network": {"n": torch.tensor(number)}}
    writer.offer(lambda: state, lambda: told.append(number), due=due)


def on_disk(folder: Path) -> int | None:
    path = folder / CHECKPOINT
    return int(load_checkpoint(path, CPU)["network"]["n"]) if path.is_file() else None


def test_what_comes_too_soon_is_written_and_told_with_the_next(tmp_path: Path) -> None:
    clock, told = Clock(), list[int]()
    found: list[tuple[int | None, list[int]]] = []
    offers = [(10, False), (19, False), (1, False), (29, False), (0, True)]
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU, 30.0, clock) as writer:
        for number, (seconds, due) in enumerate(offers):
            clock.now += seconds
            offered(writer, number, told, due=due)
            writer.wait()
            found.append((on_disk(tmp_path), list(told)))
    assert found == [(None, []), (None, []), (2, [0, 1, 2]), (2, [0, 1, 2]), (4, [0, 1, 2, 3, 4])]


def test_no_second_checkpoint_is_begun_beside_one(tmp_path: Path, held: threading.Event) -> None:
    clock, told = Clock(), list[int]()
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU, 30.0, clock) as writer:
        for number in range(3):
            clock.now += 31
            offered(writer, number, told)
        assert told == []
        held.set()
        writer.wait()
        assert (on_disk(tmp_path), told) == (0, [0])
        offered(writer, 3, told, due=True)
    assert (on_disk(tmp_path), told) == (3, [0, 1, 2, 3])


def test_without_an_interval_all_are_written_one_after_the_other(
    tmp_path: Path, held: threading.Event
) -> None:
    told: list[int] = []
    threading.Timer(0.1, held.set).start()
    with CheckpointWriter(tmp_path / CHECKPOINT, CPU) as writer:
        for number in range(3):
            offered(writer, number, told)
            assert len(told) >= number
    assert told == [0, 1, 2]


def test_an_interruption_loses_what_was_not_told(tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(KeyboardInterrupt), CheckpointWriter(tmp_path / CHECKPOINT, CPU, 30.0) as writer:
        offered(writer, 0, told, due=True)
        offered(writer, 1, told)
        raise KeyboardInterrupt
    assert (on_disk(tmp_path), told) == (0, [0])


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_disk_that_is_full_is_told_at_the_next_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    def full(path: Path, state: dict[str, Any]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space"), CheckpointWriter(tmp_path / CHECKPOINT, CPU) as writer:
        writer.write({"network": {}}, pytest.fail)
        if interrupted:
            raise KeyboardInterrupt
        with pytest.raises(OSError, match="No space"):
            writer.write({"network": {}}, pytest.fail)
        writer.check()
        writer.write({"network": {}}, pytest.fail)


def test_the_next_epoch_is_not_trained_to_its_end_where_the_disk_is_full(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third checkpoint cannot be written: the fourth epoch, which has begun, ends after a step."""
    steps, begun = 0, list[Future[None] | None]()
    original_save, original_write = checkpoint_writer.save_checkpoint, CheckpointWriter.write
    original_step = Trainer._step

    def save(path: Path, state: dict[str, Any]) -> None:
        if state["epoch"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        original_save(path, state)

    def write(writer: CheckpointWriter, *arguments: Any) -> None:
        original_write(writer, *arguments)
        begun.append(writer._begun)

    def step(trainer: Trainer, loss: torch.Tensor) -> None:
        nonlocal steps
        original_step(trainer, loss)
        steps += 1
        if len(begun) == 3 and begun[2] is not None:
            wait([begun[2]], 10)

    monkeypatch.setattr(CheckpointWriter, "write", write)
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save)
    monkeypatch.setattr(Trainer, "_step", step)
    run_dir = write_run(tmp_path / "run", tiny_config)
    with pytest.raises(UserError, match=r"is full .* the same command goes on"):
        run(run_dir)
    assert steps == 3 * 3 + 1
    assert len(read_metrics(run_dir)) == 2
