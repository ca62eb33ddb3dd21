"""`batch_size = "auto"`: the largest that fits, chosen once a run."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sonarseg.files.run_metrics import read_metrics
from sonarseg.training import largest_batch
from sonarseg.training.batch_size import CHOSEN
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import RunData, load_run_data
from sonarseg.training.failures import RunFailed
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import read_summary
from tests.support.run_folders import write_run

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def auto(config: RunConfig, **sections: object) -> RunConfig:
    training = config.training.model_dump() | {"batch_size": "auto"}
    return RunConfig.model_validate(config.model_dump() | {"training": training} | sections)


@pytest.fixture
def data(tmp_path: Path, tiny_config: RunConfig) -> RunData:
    """The tiny survey, as if it lay on a CUDA device; nothing is computed there."""
    loaded = load_run_data(tmp_path, tiny_config)
    return dataclasses.replace(loaded, device=torch.device("cuda"))


def fits_up_to(largest: int, tried: list[int]) -> Callable[[Path, RunConfig, RunData], bool]:
    def fits(run_dir: Path, config: RunConfig, data: RunData) -> bool:
        tried.append(config.training.tiles_a_step)
        return tried[-1] <= largest

    return fits


@pytest.mark.parametrize(
    ("tiles", "multiclass", "fitting", "expected", "sizes"),
    [
        (1000, 1000, 20, 16, [2, 4, 8, 16, 32]),
        (1000, 1000, 10**6, 64, [2, 4, 8, 16, 32, 64]),
        (70, 0, 10**6, 16, [2, 4, 8, 16]),
        # An epoch draws as many tiles of one class as of several: 40 of these.
        (1000, 20, 10**6, 8, [2, 4, 8]),
        (3, 0, 10**6, 2, [2]),
    ],
)
def test_the_largest_power_of_two_that_fits_and_leaves_some_steps(
    data: RunData,
    tiny_config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    tiles: int,
    multiclass: int,
    fitting: int,
    expected: int,
    sizes: list[int],
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(largest_batch, "_fits", fits_up_to(fitting, tried))
    many = dataclasses.replace(data.train, multiclass=np.arange(tiles) < multiclass)
    found = largest_batch.largest_batch(Path(), auto(tiny_config), dataclasses.replace(data, train=many))
    assert (found, tried) == (expected, sizes)


def test_a_device_that_is_too_small_is_one_sentence(
    data: RunData, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(largest_batch, "_fits", fits_up_to(1, []))
    with pytest.raises(RunFailed, match=r"not even 2 tiles fit into the memory of cuda: lower network"):
        largest_batch.largest_batch(Path(), auto(tiny_config), data)


def test_on_the_cpu_a_run_takes_16_and_keeps_them(tmp_path: Path, tiny_config: RunConfig) -> None:
    run_dir = write_run(tmp_path / "run", auto(tiny_config))
    assert run(run_dir)["batch_size"] == 16
    assert json.loads((run_dir / CHOSEN).read_text())["batch_size"] == 16


@needs_cuda
def test_on_cuda_a_run_finds_what_fits(tmp_path: Path, tiny_config: RunConfig) -> None:
    run_dir = write_run(tmp_path / "run", auto(tiny_config, device="cuda"))
    assert run(run_dir)["batch_size"] == 2


@needs_cuda
def test_a_deterministic_run_on_cuda_resumes_bit_identically(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonarseg.training.run.CUDA_CHECKPOINT_SECONDS", 0.0)
    training = tiny_config.training.model_dump() | {"deterministic": True}
    config = RunConfig.model_validate(tiny_config.model_dump() | {"training": training, "device": "cuda"})
    whole, broken = (write_run(tmp_path / name, config) for name in ("whole", "broken"))

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training":
            raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(broken, stop)
    for run_dir in (whole, broken):
        run(run_dir)
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]
        for run_dir in (whole, broken)
    ]
    assert lines[0] == lines[1]
    assert read_summary(whole)["confusions"] == read_summary(broken)["confusions"]


@needs_cuda
def test_memory_that_runs_out_on_cuda_lowers_the_batch_size(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", tiny_config.model_copy(update={"device": "cuda"}))
    allocated: list[torch.Tensor] = []

    def take_it_all(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and not allocated:
            free, _ = torch.cuda.mem_get_info()
            allocated.append(torch.empty(2 * free, dtype=torch.uint8, device="cuda"))

    def give_it_back(device: torch.device) -> None:
        allocated.append(torch.empty(0))

    monkeypatch.setattr("sonarseg.training.run.free_memory", give_it_back)
    assert run(run_dir, take_it_all, lower_batch_size=True)["batch_size"] == 2
