"""Lovász-Softmax: a convex surrogate of one minus the intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor

from sonarseg.losses.precision import IGNORE, at_least_float32


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE) -> Tensor:
    """Lovász-Softmax loss of Berman, Triki and Blaschko (arXiv 1705.08790).

    The mean over the classes present in the batch of the Lovász extension of the Jaccard loss, with
    all labelled pixels of the batch as one set. Classes that the batch does not show are left out:
    their loss would be their largest probability alone, and users report that it drowns the rest.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.
    ignore_index : int

    Returns
    -------
    float ()
        In 0..1; 0, with zero gradients, where no pixel is labelled.
    """
    num_classes = logits.shape[1]
    valid = target != ignore_index
    pixels = at_least_float32(logits).movedim(1, -1)[valid]
    truth = target[valid][:, None] == torch.arange(num_classes, device=target.device)
    errors = torch.where(truth, 1.0, 0.0).sub(pixels.softmax(dim=1)).abs()
    descending, order = errors.sort(dim=0, descending=True)
    losses = (descending * _jaccard_steps(truth.gather(0, order)).to(errors)).sum(dim=0)
    present = truth.any(dim=0)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp_min(1)


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much the Jaccard loss grows as each further pixel is wrong, class by class.

    Algorithm 1 of the source takes differences of ``1 - intersection / union``. Over a batch of
    some 10^5 pixels these differ by less than float32 resolves, so each step is written out:
    a pixel of the class takes 1 / union from the intersection's share, another pixel makes the
    union larger by one.

    Parameters
    ----------
    truth : bool (P, K)
        Whether each pixel is of the class, in the order of falling errors.

    Returns
    -------
    float32 (P, K)
        For a class without pixels all 0.
    """
    members = truth.sum(dim=0)
    intersection = members - truth.cumsum(dim=0)
    union = members + (~truth).cumsum(dim=0)
    if_member = 1 / union.clamp_min(1)
    if_other = intersection / union / (union - 1).clamp_min(1)
    return torch.where(truth, if_member, if_other)
