"""Which epoch belongs to which round, and how the learning rate falls."""

from __future__ import annotations

from dataclasses import dataclass

from sonarseg.training.config import NetworkConfig, RunConfig, TrainingConfig

WARM_UP = "warm-up"
FINE_TUNE = "fine-tune"
SELF_TRAINING = "self-training"


@dataclass(frozen=True)
class Epoch:
    """One epoch of a run.

    Attributes
    ----------
    number : int
        Counted from 1 over the whole run.
    stage : str
        "warm-up" (classification branch only), "fine-tune" (the encoder learns as well) or "self-training".
    round : int
        Round of self-training, from 1; 0 before.
    progress : tuple of (int, int)
        Epochs done in this stage before this one, and epochs of the stage; a round of a run with
        `restart_each_round` is a stage of its own.
    """

    number: int
    stage: str
    round: int
    progress: tuple[int, int]


def plan(config: RunConfig) -> list[Epoch]:
    """List the epochs of a run in order."""
    training = config.training
    epochs: list[Epoch] = []
    if config.stage in ("full", WARM_UP):
        total = training.warmup_epochs
        epochs += [Epoch(i + 1, WARM_UP, 0, (i, total)) for i in range(total)]
        if config.network.fine_tuned:
            start, total = len(epochs), training.fine_tune_epochs
            epochs += [Epoch(start + i + 1, FINE_TUNE, 0, (i, total)) for i in range(total)]
    if config.stage in ("full", SELF_TRAINING):
        start, length = len(epochs), training.epochs_per_round
        count = training.rounds * length
        total = length if training.restart_each_round else count
        for i in range(count):
            epochs.append(Epoch(start + i + 1, SELF_TRAINING, 1 + i // length, (i % total, total)))
    return epochs


def epochs_before_rounds(network: NetworkConfig, training: TrainingConfig) -> int:
    """Count the epochs of a warm-up run, in which an encoder may be tuned."""
    return training.warmup_epochs + (training.fine_tune_epochs if network.fine_tuned else 0)


def restarts(epoch: Epoch) -> bool:
    """Whether an epoch begins a stage with an optimiser and an average of its own."""
    begins = epoch.progress[0] == 0
    return begins and (epoch.stage == FINE_TUNE or (epoch.stage == SELF_TRAINING and epoch.number > 1))


def ends_round(epoch: Epoch, epochs: list[Epoch]) -> bool:
    """Whether an epoch of a plan is the last of its round."""
    return epoch is epochs[-1] or epochs[epoch.number].round != epoch.round


def learning_rate_factor(epoch: Epoch, step: int, steps: int, power: float) -> float:
    """Polynomial decay over the stage after a linear rise over its first half epoch.

    Parameters
    ----------
    epoch : Epoch
        The epoch under way.
    step, steps : int
        Step within the epoch, from 0, and steps an epoch.
    power : float
        Exponent of the decay (DeepLab, arXiv 1606.00915: 0.9).
    """
    done, total = epoch.progress
    position = (done + step / steps) / total
    rise = min(1.0, (done * steps + step + 1) / max(1, steps // 2))
    return float(rise * (1.0 - position) ** power)


def branch_progress(epoch: Epoch, step: int, steps: int) -> float:
    """Progress in 0..1 of the training of the classification branch, which the warm-up completes.

    Parameters
    ----------
    epoch : Epoch
        The epoch under way.
    step, steps : int
        Step within the epoch, from 0, and steps per epoch.
    """
    done, total = epoch.progress
    return (done + step / steps) / total if epoch.stage == WARM_UP else 1.0
