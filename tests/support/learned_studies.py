"""Loss studies whose runs learned what a test says: hand-made confusion matrices and training losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonarseg.metrics.confusion import pack_confusions
from tests.support.fake_studies import (
    CLASSES,
    CRF_SPACE,
    LOSS_SPACE,
    TILES,
    add,
    confusions,
    new_study,
    study_attrs,
    write_metrics,
)

SETTLED = (0.5, 0.4, 0.31, 0.305, 0.304, 0.304)


def by_chance(seed: int) -> NDArray[np.int64]:
    """Counts of a network that learned from shuffled labels: what it predicts does not follow the truth."""
    generator = np.random.default_rng(seed)
    truth = confusions(0.7, 0).sum(axis=2)
    return np.array([[generator.multinomial(n, [0.4, 0.3, 0.2, 0.1]) for n in tile] for tile in truth])


def always(guess: int) -> NDArray[np.int64]:
    """Counts of a network that predicts one class everywhere."""
    counts = np.zeros((len(TILES), len(CLASSES), len(CLASSES)), dtype=np.int64)
    counts[:, :, guess] = confusions(0.7, 0).sum(axis=2)
    return counts


def learned(
    workspace: Path,
    runs: Sequence[NDArray[np.int64]],
    *,
    shown: Sequence[NDArray[np.int64]] = (),
    pseudo_labels: float | None = None,
    losses: Sequence[float] = SETTLED,
    rounds: Sequence[int] | None = None,
    **attrs: Any,
) -> Path:
    """A workspace whose one loss has the given runs, one per seed.

    `pseudo_labels` is the quality of the dense CRF that the runs began with.
    """
    crf = new_study(workspace, "crf", study_attrs("crf", CLASSES, **attrs))
    if pseudo_labels is not None:
        add(crf, CRF_SPACE, {"sigma_alpha": 10.0, "iterations": 3}, pseudo_labels)
        attrs["crf"] = {"trial": 0, "parameters": {}}
    loss = new_study(workspace, "loss", study_attrs("loss", CLASSES, **attrs))
    numbers = rounds or [2] * len(losses)
    for seed, matrices in enumerate(runs):
        run = f"runs/loss-{seed:04d}"
        lines = [
            {"epoch": epoch, "round": number, "loss_segmentation": value, "miou_multiclass": 0.3}
            for epoch, (number, value) in enumerate(zip(numbers, losses, strict=True), start=1)
        ]
        write_metrics(workspace / run, lines)
        more = {"confusions_shown": pack_confusions(shown[seed])} if shown else {}
        named = {"run": run, "seed": seed, "setting": "cross-entropy"}
        add(loss, LOSS_SPACE, {"loss": "cross-entropy"}, 0.0, matrices=matrices, **named, **more)
    return workspace
