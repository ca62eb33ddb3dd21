"""A lone run computes on a GPU that no study has leased."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from sonarseg.training.config import RunConfig
from studies.commands.lone_runs import settings
from studies.main import app
from studies.workers import leases
from studies.workers.leases import DeviceSlot, lease

GPUS = [DeviceSlot("cuda:0", 0, "0"), DeviceSlot("cuda:1", 0, "1")]


@pytest.fixture
def no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs tell which GPUs they see, in place of training; no CUDA device is chosen by its number."""
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(leases, "_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(settings, "device_slots", lambda device: GPUS)
    monkeypatch.setattr(settings, "read_config", lambda run_dir: RunConfig(survey="."))

    def trained(run_dir: Path, progress: Any, *, lower_batch_size: bool) -> dict[str, Any]:
        assert lower_batch_size
        return {"sees": os.environ["CUDA_VISIBLE_DEVICES"]}

    monkeypatch.setattr(settings, "train", trained)


@pytest.mark.usefixtures("no_training")
def test_a_lone_run_takes_a_free_gpu(tmp_path: Path) -> None:
    assert settings.train_on_a_lease(tmp_path, print) == {"sees": "0"}
    with lease(GPUS):
        assert settings.train_on_a_lease(tmp_path, print) == {"sees": "1"}


@pytest.mark.usefixtures("no_training")
def test_a_lone_run_waits_where_studies_have_all_gpus(tmp_path: Path) -> None:
    told: list[str] = []
    first = lease(GPUS)
    first.__enter__()

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        told.append(what)
        first.__exit__(None, None, None)

    with lease(GPUS):
        assert settings.train_on_a_lease(tmp_path, progress) == {"sees": "0"}
    assert told == ["waiting for a free GPU: other studies have them all"]


@pytest.mark.parametrize(
    ("stage", "why"), [("warm-up", "a warm-up has no segmentation to score"), ("full", "val has no masks")]
)
def test_it_is_said_why_a_run_was_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Literal["warm-up", "full"], why: str
) -> None:
    monkeypatch.setattr(settings, "train_on_a_lease", lambda run_dir, progress: {"metrics": {}})
    config = RunConfig(survey=".", stage=stage)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    result = CliRunner().invoke(app, ["run", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    assert f"is done; {why}, so it was not scored." in " ".join(result.stdout.split())
