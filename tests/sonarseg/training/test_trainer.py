"""Within a step the host never asks the device for a value."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sonarseg.losses.build import build_loss
from sonarseg.losses.config import LossConfig
from sonarseg.losses.lovasz_softmax import lovasz_softmax
from sonarseg.survey.layout import open_survey
from sonarseg.survey.pixel_store import StoredPicture, packed
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import DEFAULT_CAM, CamConfig, RunConfig
from sonarseg.training.data.tiles import load_tiles
from sonarseg.training.failures import RunFailed
from sonarseg.training.schedule import Epoch
from sonarseg.training.step_guard import CUDA_STEPS_BETWEEN_LOOKS, StepGuard
from sonarseg.training.trainer import Trainer

WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")
EPOCH = Epoch(1, "self-training", 1, (0, 1))


class Waits(TorchDispatchMode):
    """Counts the operators for whose result a CUDA device would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: Any = None
    ) -> Any:
        name = function._schema.name
        by_mask = name == "aten::index" and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        if name in WAITING or by_mask:
            self.counts[name] += 1
        return function(*arguments, **(named or {}))


@pytest.fixture
def trainer_of(tiny_survey: Path, tiny_config: RunConfig) -> Callable[..., Trainer]:
    survey = open_survey(tiny_survey)
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)

    def make(batch_size: int, ema_epochs: float = 0, cam: CamConfig = DEFAULT_CAM) -> Trainer:
        update = {"batch_size": batch_size, "ema_epochs": ema_epochs}
        training = tiny_config.training.model_copy(update=update)
        config = tiny_config.model_copy(update={"training": training, "cam": cam})
        torch.manual_seed(0)
        model = Model(
            build_network(config.network, 1, 3, cam.loss),
            survey.classes,
            None,
            GreyScaling(),
            tiles.normalisation(),
            config.network,
            config.sonar,
            torch.device("cpu"),
            cam,
        )
        return Trainer(model, tiles, torch.ones(3, dtype=torch.bool), config)

    return make


@pytest.mark.parametrize(
    "loss",
    [
        LossConfig(),
        LossConfig(name="focal", gamma=2, alpha=1),
        LossConfig(name="lovasz_softmax"),
    ],
    ids=lambda loss: loss.name,
)
@pytest.mark.parametrize(
    ("ema_epochs", "cam"), [(0, DEFAULT_CAM), (1.5, DEFAULT_CAM), (0, CamConfig(loss="candidate"))]
)
def test_an_epoch_never_waits_inside_its_steps(
    trainer_of: Callable[..., Trainer], loss: LossConfig, ema_epochs: float, cam: CamConfig
) -> None:
    trainer = trainer_of(2, ema_epochs, cam)
    cpu = torch.device("cpu")
    trainer.guard = StepGuard(trainer.model.network, cpu, steps_between_looks=CUDA_STEPS_BETWEEN_LOOKS)
    targets = packed(StoredPicture(np.ones((1, 24, 32), np.uint8), (24, 32)) for _ in trainer.tiles.names)
    with Waits() as waits:
        trainer.train_epoch(EPOCH, targets, build_loss(loss, np.full(3, 1 / 3)))
    # The guard's look at the end of the epoch.
    assert waits.counts == {"aten::_local_scalar_dense": 1}


@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_softmax_as_cuda_computes_it_never_waits(per_image: bool) -> None:
    # float64 takes the way of CUDA on the CPU.
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4)).masked_fill(torch.rand(2, 4, 4) < 0.3, 255)
    with Waits() as waits:
        lovasz_softmax(logits, target, per_image=per_image).backward()
    assert not waits.counts


def test_waits_are_seen() -> None:
    values = torch.arange(4.0)
    with Waits() as waits:
        assert values.sum().item() == 6
        assert len(values[values > 1]) == 2
    assert sum(waits.counts.values()) >= 2


@pytest.mark.parametrize("batch_size", range(1, 12))
def test_batches_hold_every_drawn_tile_once(trainer_of: Callable[..., Trainer], batch_size: int) -> None:
    order = np.arange(10)[::-1]
    batches = trainer_of(batch_size)._batches(order)
    assert [tile for batch in batches for tile in batch] == order.tolist()
    assert batch_size == 1 or all(len(batch) > 1 for batch in batches)


def test_gradients_that_stay_infinite_under_a_scaler_end_the_run() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    guard = StepGuard(network, torch.device("cpu"))
    optimiser = torch.optim.AdamW(network.parameters())
    infinite, finite = torch.tensor(torch.inf), torch.tensor(1.0)
    # A scaler may need so many halvings to find its scale, and later some more.
    for norm in [infinite] * 16 + [finite] + [infinite] * 16:
        guard.judge(finite, norm, optimiser, scaled=True)
        guard.after_step(1)
    assert guard.skipped == 0
    with pytest.raises(RunFailed, match="was not finite in 11 steps"):
        for _ in range(100):
            guard.judge(finite, infinite, optimiser, scaled=True)
            guard.after_step(1)


def test_every_listener_is_called_after_every_step(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of(2)
    called: list[str] = []
    trainer.call_after_step(lambda: called.append("disk"))
    trainer.call_after_step(lambda: called.append("clock"))
    trainer.train_epoch(EPOCH, None, None)
    assert called == ["disk", "clock"] * len(trainer.batches(EPOCH))
