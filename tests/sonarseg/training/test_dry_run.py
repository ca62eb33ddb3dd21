"""A dry run builds everything, measures, and leaves nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sonarseg.training.config import RunConfig
from sonarseg.training.dry_run import Forecast, dry_run
from sonarseg.training.failures import RunFailed
from sonarseg.training.run import run
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import write_run


def changed(config: RunConfig, **sections: object) -> RunConfig:
    return RunConfig.model_validate(config.model_dump() | sections)


def test_the_forecast_counts_what_the_run_will_do(tmp_path: Path, tiny_config: RunConfig) -> None:
    forecast = dry_run(tiny_config, tmp_path / "run", tmp_path)
    assert (forecast.device, forecast.batch_size, forecast.peak_device_memory) == ("cpu", 4, 0)
    assert forecast.epochs == {"warm-up": 2, "self-training": 2}
    assert forecast.rounds == 2
    assert forecast.steps == 3
    assert all(seconds > 0 for seconds in forecast.epoch_seconds.values())
    assert forecast.peak_memory > 2**20
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_epochs_is_forecast(tmp_path: Path, tiny_config: RunConfig) -> None:
    training = tiny_config.training.model_dump() | {"warmup_epochs": 0}
    forecast = dry_run(changed(tiny_config, stage="warm-up", training=training), tmp_path / "run", tmp_path)
    assert (forecast.epochs, forecast.rounds) == ({}, 0)
    assert forecast.run_seconds == forecast.start_seconds + forecast.end_seconds


def test_the_run_is_the_sum_of_its_parts() -> None:
    epochs = {
        "epoch_seconds": {"warm-up": 2.0, "self-training": 3.0},
        "epochs": {"warm-up": 10, "self-training": 20},
    }
    rest = {"device": "cpu", "batch_size": 1, "steps": 1, "peak_memory": 0, "peak_device_memory": 0}
    forecast = Forecast(start_seconds=0.5, end_seconds=0.25, round_seconds=7.0, rounds=4, **epochs, **rest)
    assert forecast.run_seconds == 0.5 + 20 + 60 + 28 + 0.25


def test_a_trial_is_forecast_from_its_warm_up_on(tmp_path: Path, tiny_config: RunConfig) -> None:
    warm_up = write_run(
        tmp_path / "runs" / "warm-up", changed(tiny_config, stage="warm-up", tiles="../tiles")
    )
    run(warm_up)
    config = changed(tiny_config, stage="self-training", warm_up="../warm-up", tiles="../tiles")
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    forecast = dry_run(config, tmp_path / "runs" / "dry", tmp_path)
    assert forecast.epochs == {"self-training": 2}
    assert forecast.rounds == 1
    after = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    assert {p: t for p, t in after.items() if p.is_file()} == {p: t for p, t in before.items() if p.is_file()}
    assert list(after) == list(before)


def test_tiles_of_a_workspace_named_from_where_one_stands_are_not_decoded_again(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(write_run(tmp_path / "here" / "runs" / "warm-up", changed(tiny_config, tiles="../tiles")))
    config = changed(tiny_config, stage="self-training", warm_up="../warm-up", tiles="../tiles")
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    dry_run(config, Path("here/runs/dry"), Path("here"), lambda what, *rest: told.append(what))
    assert "steps" in told
    assert "reading tiles" not in told


def test_tiles_that_no_longer_fit_are_left_to_the_runs_that_use_them(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    run(write_run(tmp_path / "runs" / "warm-up", changed(tiny_config, stage="warm-up", tiles="../tiles")))
    network = tiny_config.network.model_dump() | {"tile_scale": 0.7}
    config = changed(tiny_config, network=network, tiles="../tiles")
    before = {path: path.read_bytes() for path in sorted((tmp_path / "runs" / "tiles").rglob("*.*"))}
    dry_run(config, tmp_path / "runs" / "dry", tmp_path)
    assert {p: p.read_bytes() for p in sorted((tmp_path / "runs" / "tiles").rglob("*.*"))} == before


def test_memory_that_runs_out_is_one_sentence(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trainer, "_step", full)
    with pytest.raises(RunFailed, match=r"out of memory with training.batch_size = 4: lower it"):
        dry_run(tiny_config, tmp_path / "run", tmp_path)
    assert list(tmp_path.iterdir()) == []
