"""A step that is recorded and played again: on the CPU, by the same way, to the same bits."""

from pathlib import Path

import pytest
import torch

from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from sonarseg.training.run_folder.summary import config_hash
from sonarseg.training.step_graph import StepGraph
from tests.support.run_folders import results, stopped_after, write_run

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def recorded(config: RunConfig, **sections: object) -> RunConfig:
    training = config.training.model_dump() | {"cuda_graph": True}
    return RunConfig.model_validate(config.model_dump() | {"training": training} | sections)


def test_a_run_with_recorded_steps_is_the_same_and_resumes(tmp_path: Path, tiny_config: RunConfig) -> None:
    names = ("plain", "recorded", "broken")
    configs = (tiny_config, recorded(tiny_config), recorded(tiny_config))
    plain, whole, broken = (write_run(tmp_path / n, c) for n, c in zip(names, configs, strict=True))
    run(plain)
    run(whole)
    stopped_after(broken, 3)
    run(broken)
    lines, summary = results(whole)
    assert lines == results(plain)[0] == results(broken)[0]
    assert summary["confusions"] == results(plain)[1]["confusions"] == results(broken)[1]["confusions"]


def test_runs_without_it_keep_their_hash(tiny_config: RunConfig) -> None:
    assert config_hash(recorded(tiny_config)) != config_hash(tiny_config)
    assert "cuda_graph" not in tiny_config.model_dump(exclude_defaults=True)["training"]


def test_inputs_are_copied_to_fixed_places_until_the_kind_changes() -> None:
    graph = StepGraph(torch.device("cpu"), torch.Generator())
    seen: list[int] = []

    def step(given: torch.Tensor) -> torch.Tensor:
        seen.append(given.data_ptr())
        return given.sum()

    sums = [
        graph.take(kind, step, [torch.full((size,), 2.0)]).item()
        for kind, size in (("a", 3), ("a", 3), ("b", 4), ("b", 4))
    ]
    assert sums == [6, 6, 8, 8]
    assert seen[0] == seen[1] and seen[2] == seen[3]


@needs_cuda
def test_recorded_steps_train_as_computed_ones_do_on_cuda(tmp_path: Path, tiny_config: RunConfig) -> None:
    longer = tiny_config.training.model_dump() | {"warmup_epochs": 4, "epochs_per_round": 4, "batch_size": 2}
    config = RunConfig.model_validate(
        tiny_config.model_dump() | {"training": longer | {"deterministic": True}, "device": "cuda"}
    )
    plain, whole = write_run(tmp_path / "plain", config), write_run(tmp_path / "whole", recorded(config))
    run(plain)
    run(whole)
    for computed, played in zip(results(plain)[0], results(whole)[0], strict=True):
        assert played["loss_classification"] == pytest.approx(computed["loss_classification"], rel=0.05)
