"""Scores of stored confusion matrices, computed from their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from sonarseg.metrics.confusion import unpack_confusions


def load(workspace: Path, kind: str) -> optuna.Study:
    return optuna.load_study(study_name=kind, storage=f"sqlite:///{workspace / 'study.db'}")


def brute_force(matrices: NDArray[np.int64]) -> dict[str, float]:
    """The three mIoU, pixel set by pixel set, straight from their definitions."""

    def over_classes(total: NDArray[np.int64]) -> float:
        ious = []
        for k in range(len(total)):
            union = sum(int(total[i, j]) for i in range(len(total)) for j in range(len(total)) if k in (i, j))
            if union:
                ious.append(int(total[k, k]) / union)
        return sum(ious) / len(ious)

    several = [m for m in matrices if sum(1 for row in m if row.sum()) >= 2]
    paper = []
    for m in matrices:
        for k in range(len(m)):
            union = m[k].sum() + m[:, k].sum() - m[k, k]
            paper.append((m[k, k] + 1e-6) / (union + 1e-6))
    return {
        "miou": over_classes(np.sum(matrices, axis=0)),
        "miou_multiclass": over_classes(np.sum(several, axis=0)),
        "miou_paper": float(np.mean(paper)),
    }


def of_trial(trial: FrozenTrial) -> dict[str, float]:
    return brute_force(unpack_confusions(trial.user_attrs["confusions"]))
