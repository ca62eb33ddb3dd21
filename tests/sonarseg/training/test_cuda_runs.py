"""A whole run on a pretended CUDA device: where its tensors lie, when the host waits, what is written."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonarseg.densecrf.engines.base import Engine
from sonarseg.files.run_metrics import read_metrics
from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.survey.pixel_store import StoredPicture, packed
from sonarseg.training import run as run_module
from sonarseg.training.checkpoint import writer as checkpoint_writer
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import read_summary
from sonarseg.training.schedule import Epoch
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import write_run
from tests.support.simulated_cuda import Simulation, gpu_of, simulated_cuda


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with simulated_cuda(2) as simulation:
        yield simulation


def on(config: RunConfig, device: str, **training: Any) -> RunConfig:
    wanted = config.training.model_dump() | training
    return RunConfig.model_validate(config.model_dump() | {"device": device, "training": wanted})


@pytest.mark.parametrize("resident", [True, False])
def test_all_of_a_run_lies_on_its_device_and_nothing_is_left(
    tmp_path: Path, tiny_config: RunConfig, gpus: Simulation, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr("sonarseg.training.data.feed.RESIDENT_SHARE", 0.0)
    run_dir = write_run(tmp_path / "run", on(tiny_config, "cuda:1"))
    summary = run(run_dir)
    assert summary["epochs"] == len(read_metrics(run_dir)) == 4
    assert summary["device"] == "simulated" and summary["crf_engine"] == "torch"
    assert gpus.made["1"] > 1000 and gpus.made["0"] == 0
    assert gpus.current == [torch.device("cuda", 1)]
    assert gpus.fractions == {torch.device("cuda", 1): 0.95}
    # Kept for the next tiles are the spatial lattice of their size, and mean and deviation of grey levels.
    assert sum(gpus.held().values()) < 100_000


def test_checkpoints_are_written_at_the_end_of_rounds_and_every_half_minute(
    tmp_path: Path, tiny_config: RunConfig, gpus: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    told: list[tuple[int, int]] = []
    save = checkpoint_writer.save_checkpoint

    def note(path: Path, state: dict[str, Any]) -> None:
        written.append(state["epoch"])
        save(path, state)

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training":
            told.append((done, written[-1]))

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", note)
    config = on(tiny_config, "cuda", warmup_epochs=3, epochs_per_round=2)
    run(write_run(tmp_path / "run", config), progress)
    assert written == [3, 5, 7]
    assert told == [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5), (6, 7), (7, 7)]
    monkeypatch.setattr(run_module, "CUDA_CHECKPOINT_SECONDS", 1e-9)
    written.clear()
    run(write_run(tmp_path / "slow", config))
    assert {3, 5, 7} < set(written)


def test_a_run_that_is_cut_off_goes_on_from_its_last_checkpoint(
    tmp_path: Path, tiny_config: RunConfig, gpus: Simulation
) -> None:
    config = on(tiny_config, "cuda", epochs_per_round=2, deterministic=True)
    whole, broken = (write_run(tmp_path / name, config) for name in ("whole", "broken"))

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 4:
            raise KeyboardInterrupt

    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(broken, stop)
    run(broken)
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]
        for run_dir in (whole, broken)
    ]
    assert lines[0] == lines[1]
    assert read_summary(whole)["confusions"] == read_summary(broken)["confusions"]


def test_the_host_does_not_wait_for_a_step(tmp_path: Path, tiny_config: RunConfig, gpus: Simulation) -> None:
    config = on(tiny_config, "cuda", batch_size=2, ema_epochs=1.0)
    data = load_run_data(tmp_path, config)
    model, data = new_model(tmp_path, config, data)
    trainer = Trainer(model, data.train, data.labelled, config)
    labels = np.zeros((1, 24, 32), dtype=np.uint8)
    targets = packed(StoredPicture(labels, (24, 32)) for _ in range(len(data.train)))
    waits: list[Counter[str]] = []
    trainer.call_after_step(lambda: waits.append(Counter(gpus.waits)))
    trainer.train_epoch(Epoch(1, "self-training", 1, (0, 1)), targets, cross_entropy)
    assert len(waits) > 2
    assert [now - before for before, now in pairwise(waits)] == [Counter()] * (len(waits) - 1)
    state = trainer.optimiser.state_dict()["state"]
    assert {gpu_of(value) for moments in state.values() for value in moments.values()} == {"0"}


def test_operands_of_two_places_are_found(gpus: Simulation) -> None:
    first, second = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
    for other in (second, torch.ones(2)):
        with pytest.raises(RuntimeError, match="same device"):
            first + other
    with pytest.raises(TypeError, match="numpy"):
        first.numpy()
    assert (first + 1).cpu().numpy().tolist() == [2, 2]
    assert gpus.waits["to the host"] == 1
    assert gpus.held() == {"0": 8, "1": 8}
    del first
    assert gpus.held() == {"1": 8}


def test_the_log_tells_that_the_fused_kernels_failed(
    tmp_path: Path, tiny_config: RunConfig, gpus: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = (
        "the fused kernels of the dense CRF do not run on cuda:1 (no Triton): torch operations compute it"
    )
    monkeypatch.setattr(Engine, "fallback_note", lambda engine: f"{sentence}" if "1" in engine.device else "")
    run_dir = write_run(tmp_path / "run", on(tiny_config, "cuda:1", rounds=1))
    run(run_dir)
    assert (run_dir / "log.txt").read_text(encoding="utf-8").count(sentence) == 1
