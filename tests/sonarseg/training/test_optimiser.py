"""Learning rates of the stages of a run."""

import pytest
import torch

from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import NetworkConfig, SonarGeometry, TrainingConfig
from sonarseg.training.data.tiles import Normalisation
from sonarseg.training.optimiser import new_optimiser


@pytest.mark.parametrize(
    ("stage", "warmup_rate", "expected"),
    [
        ("warm-up", None, (1e-3, 3e-3)),
        ("warm-up", 2e-3, (1e-3, 2e-3)),
        ("self-training", 2e-3, (1e-3, 3e-3)),
    ],
)
def test_the_branch_has_a_rate_of_its_own_in_the_warm_up(
    stage: str, warmup_rate: float | None, expected: tuple[float, float]
) -> None:
    config = NetworkConfig(decoder_channels=8, stages=2)
    model = Model(
        build_network(config, 1, 2),
        ("mud", "sand"),
        None,
        GreyScaling(),
        Normalisation((0.5,), (0.2,)),
        config,
        SonarGeometry(),
        torch.device("cpu"),
    )
    optimiser = new_optimiser(model, TrainingConfig(warmup_rate=warmup_rate), stage)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx(expected)
