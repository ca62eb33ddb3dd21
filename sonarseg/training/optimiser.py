"""The optimiser of each stage of a run, over what learns in it."""

from __future__ import annotations

import torch

from sonarseg.features.network import FrozenNetwork
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.config import TrainingConfig
from sonarseg.training.schedule import FINE_TUNE, WARM_UP

# In the fine-tune stage the heads learn this many times faster than the encoder.
FINE_TUNE_HEAD_FACTOR = 5.0


def new_optimiser(model: Model, training: TrainingConfig, stage: str) -> torch.optim.Optimizer:
    """Have the parameters of a stage learn, and make their optimiser.

    Parameters
    ----------
    model : Model
        On its device. A frozen encoder learns in the stage "fine-tune" alone.
    training : TrainingConfig
        Learning rates and weight decay.
    stage : str
        As in `Epoch`.
    """
    network = model.network
    rate, head_factor = training.learning_rate, training.head_factor
    if stage == WARM_UP and training.warmup_rate is not None:
        head_factor = training.warmup_rate / rate
    if isinstance(network, FrozenNetwork):
        network.encoder.learn(stage == FINE_TUNE)
        if stage == FINE_TUNE:
            rate, head_factor = training.fine_tune_rate, FINE_TUNE_HEAD_FACTOR
    # A gradient left on what no longer learns would count in the norm by which steps are clipped.
    network.zero_grad()
    groups = network.parameter_groups(rate, head_factor=head_factor, weight_decay=training.weight_decay)
    recorded = training.cuda_graph and model.device.type == "cuda"
    return torch.optim.AdamW(groups, fused=True, capturable=recorded)
