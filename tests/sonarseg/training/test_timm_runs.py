"""Runs whose encoder is one of timm's."""

from pathlib import Path

import pytest
import timm

from sonarseg.network import timm_weights
from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import LOG
from tests.support.run_folders import results, stopped_after, write_run


def with_encoder(config: RunConfig, encoder: str, weights: str = "none") -> RunConfig:
    network = {**config.network.model_dump(), "encoder": encoder, "weights": weights}
    return RunConfig.model_validate({**config.model_dump(), "network": network})


def test_an_interrupted_run_of_lite0_ends_as_if_it_had_not_been(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    config = with_encoder(tiny_config, "efficientnet_lite0", "imagenet")
    whole, interrupted = (write_run(tmp_path / name, config) for name in ("whole", "interrupted"))
    run(whole)
    stopped_after(interrupted, 3)
    run(interrupted)
    assert results(interrupted) == results(whole)
    assert "trains from scratch" not in (whole / LOG).read_text()


def test_a_run_without_the_weights_of_lite0_says_so_and_trains(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm_weights, "find_spec", lambda _name: None)
    run_dirs = [
        write_run(tmp_path / weights, with_encoder(tiny_config, "efficientnet_lite0", weights))
        for weights in ("imagenet", "none")
    ]
    said: list[str] = []
    run(run_dirs[0], lambda *told: said.append(str(told[-1])))
    run(run_dirs[1])
    sentence = "the weights of efficientnet_lite0 are not installed, so that it trains from scratch"
    assert sum(sentence in one for one in said) == 1
    assert sentence in (run_dirs[0] / LOG).read_text()
    assert sentence not in (run_dirs[1] / LOG).read_text()
    lines = [results(run_dir)[0] for run_dir in run_dirs]
    assert lines[0] == lines[1]


def test_a_network_of_timm_trains_end_to_end(tmp_path: Path, tiny_config: RunConfig) -> None:
    summary = run(write_run(tmp_path / "run", with_encoder(tiny_config, "timm:resnet10t")))
    assert summary["finished"]
    assert summary["versions"]["timm"] == timm.__version__
