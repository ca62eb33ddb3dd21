"""Lovász-Softmax beside segmentation-models-pytorch and kornia."""

from __future__ import annotations

import time
from statistics import median

import torch
from result_rows import Row, row
from run_rows import synchronise


def lovasz_cases(device: str, turns: int) -> list[Row]:
    """Forward and backward of Lovász-Softmax beside segmentation-models-pytorch and kornia."""
    from kornia.losses import lovasz_softmax_loss
    from segmentation_models_pytorch.losses import LovaszLoss

    from sonarseg.losses.lovasz_softmax import lovasz_softmax

    smp = LovaszLoss("multiclass", from_logits=True)
    rows = []
    for classes in (4, 12):
        generator = torch.Generator().manual_seed(classes)
        logits = 2 * torch.randn(8, classes, 256, 256, generator=generator)
        target = torch.randint(0, classes - 1, (8, 256, 256), generator=generator)
        logits, target = logits.to(device).requires_grad_(), target.to(device)
        pairs = {
            "segmentation-models-pytorch": (lovasz_softmax, smp),
            "kornia": (
                lambda x, y: lovasz_softmax(x, y, classes="all", per_image=True),
                lovasz_softmax_loss,
            ),
        }
        for name, sides in pairs.items():
            times: list[list[float]] = [[], []]
            for _ in range(turns + 1):
                values = []
                for place, loss in enumerate(sides):
                    logits.grad = None
                    synchronise(device)
                    started = time.perf_counter()
                    value = loss(logits, target)
                    value.backward()
                    synchronise(device)
                    times[place].append(1e3 * (time.perf_counter() - started))
                    values.append(value.item())
                if abs(values[0] - values[1]) > 1e-5:
                    raise RuntimeError(f"{name}: ours is {values[0]}, theirs {values[1]}")
            # The first turn warms up.
            ours, peer = (median(side[1:]) for side in times)
            case = f"Lovász-Softmax, {device}, batch 8, 256 x 256, {classes} classes, beside {name}"
            rows.append(row(case, ours, peer, "ms", larger_is_better=False))
    return rows
