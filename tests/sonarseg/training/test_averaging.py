"""The moving average of a network: what it weighs, what it keeps, and that a resumed run has the same one."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sonarseg.files.run_metrics import read_metrics
from sonarseg.network.model import SegmentationNetwork
from sonarseg.training.averaging import AveragedNetwork
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.checkpoint.model import build_network, load_model
from sonarseg.training.config import NetworkConfig, RunConfig
from sonarseg.training.run import run
from sonarseg.training.trainer import Trainer
from tests.support.run_folders import results, stopped_after, write_run

CPU = torch.device("cpu")


@pytest.fixture
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_network(NetworkConfig(decoder_channels=8, stages=2), 1, 3)


def filled(network: SegmentationNetwork, value: float) -> None:
    """Give every weight and batch statistic one value."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(value)


def averaged(config: RunConfig, **training: object) -> RunConfig:
    new = {"epochs_per_round": 3, "ema_epochs": 1.5, "labels_from": "probabilities"} | training
    return RunConfig.model_validate(config.model_dump() | {"training": config.training.model_dump() | new})


def test_a_step_weighs_1_over_e_of_one_that_lies_the_horizon_later(network: SegmentationNetwork) -> None:
    average = AveragedNetwork(network, 1.5)
    values = [5.0, -2.0, 3.0, 7.0, 11.0]
    for value in values:
        filled(network, value)
        average.after_step(steps_per_epoch=2)
    weights = [math.exp(-age / 3) for age in reversed(range(5))]
    expected = float(np.average(values, weights=weights))
    for name, tensor in average.network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch.full_like(tensor, expected), msg=name)


def test_batch_statistics_of_a_step_that_was_left_out_have_no_part(network: SegmentationNetwork) -> None:
    average = AveragedNetwork(network, 1)
    filled(network, 2)
    average.after_step(4)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer[0] = torch.nan
    average.after_step(4)
    assert all(
        bool((tensor == 2).all()) for tensor in average.network.buffers() if tensor.is_floating_point()
    )


def test_the_average_is_kept_for_use_and_the_trained_network_to_go_on(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    run_dir = write_run(tmp_path / "run", averaged(tiny_config, ema_epochs=1.5, rounds=1))
    plain = write_run(tmp_path / "plain", averaged(tiny_config, ema_epochs=0, rounds=1))
    stopped_after(run_dir, 2)
    stopped_after(plain, 2)
    of_average, of_weights = read_metrics(run_dir)[-1], read_metrics(plain)[-1]
    assert of_average["loss_classification"] == of_weights["loss_classification"]
    assert of_average["val_loss_classification"] != of_weights["val_loss_classification"]
    state, without = (torch.load(folder / CHECKPOINT) for folder in (run_dir, plain))
    trained = state["trainer"]["average"]["trained"]
    # Averaging leaves the training alone.
    assert all(torch.equal(trained[name], without["network"][name]) for name in trained)
    assert "average" not in without["trainer"]
    used = load_model(run_dir, CPU).network.state_dict()
    assert all(torch.equal(used[name], state["network"][name]) for name in used)
    weight = "class_activation.weight"
    assert not torch.equal(used[weight], trained[weight])


@pytest.mark.parametrize("epochs", [1, 4, 6])
def test_an_interrupted_run_has_the_same_average(tmp_path: Path, tiny_config: RunConfig, epochs: int) -> None:
    config = averaged(tiny_config)
    run_dir, undisturbed = (write_run(tmp_path / name, config) for name in ("run", "undisturbed"))
    run(undisturbed)
    stopped_after(run_dir, epochs)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    ours, theirs = (torch.load(folder / CHECKPOINT) for folder in (run_dir, undisturbed))
    for mine, other in (
        (ours["network"], theirs["network"]),
        (ours["trainer"]["average"]["trained"], theirs["trainer"]["average"]["trained"]),
    ):
        assert all(torch.equal(mine[name], other[name]) for name in other)


def test_self_training_goes_on_from_the_average_of_the_warm_up(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = Trainer.restart

    def restart(self: Trainer, stage: str) -> None:
        used = self.for_use.network.class_activation.weight.clone()
        original(self, stage)
        seen.append((used, self.model.network.class_activation.weight.detach().clone()))

    monkeypatch.setattr(Trainer, "restart", restart)
    run(write_run(tmp_path / "run", averaged(tiny_config, epochs_per_round=1)))
    assert len(seen) == 1
    assert torch.equal(*seen[0])
