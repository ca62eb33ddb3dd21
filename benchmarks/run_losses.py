"""Lovász-Softmax beside segmentation-models-pytorch and kornia."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import median

import torch
from result_rows import Row, row
from run_rows import synchronise
from torch import Tensor

from sonarseg.losses.lovasz_softmax import lovasz_softmax

CLASSES = (4, 12)
PEERS = {"segmentation-models-pytorch": "segmentation_models_pytorch", "kornia": "kornia"}
"""Names of the peers' packages and modules."""
Loss = Callable[[Tensor, Tensor], Tensor]


def _sides(peer: str) -> tuple[Loss, Loss]:
    """Ours as the peer computes it, and the peer."""
    if peer == "kornia":
        from kornia.losses import lovasz_softmax_loss

        return lambda x, y: lovasz_softmax(x, y, classes="all", per_image=True), lovasz_softmax_loss
    from segmentation_models_pytorch.losses import LovaszLoss

    return lovasz_softmax, LovaszLoss("multiclass", from_logits=True)


def lovasz_inputs(device: str, batch: int, side: int, classes: int) -> tuple[Tensor, Tensor]:
    """Logits (B, K, H, W) that want a gradient, and a target (B, H, W) without the last class."""
    generator = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(batch, classes, side, side, generator=generator)
    target = torch.randint(0, classes - 1, (batch, side, side), generator=generator)
    return logits.to(device).requires_grad_(), target.to(device)


def lovasz_cases(
    device: str, turns: int, batch: int = 8, side: int = 256, *, peers: Iterable[str] = PEERS
) -> list[Row]:
    """Forward and backward of Lovász-Softmax beside each peer."""
    rows = []
    for classes in CLASSES:
        logits, target = lovasz_inputs(device, batch, side, classes)
        for name in peers:
            sides = _sides(name)
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
            ours, peer = (median(each[1:]) for each in times)
            case = (
                f"Lovász-Softmax, {device}, batch {batch}, {side} x {side}, {classes} classes, beside {name}"
            )
            rows.append(row(case, ours, peer, "ms", larger_is_better=False))
    return rows
