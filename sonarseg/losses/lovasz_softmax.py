"""Lovász-Softmax (Berman et al., arXiv 1705.08790), over the classes present."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORE = 255


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE) -> Tensor:
    """Convex surrogate of the mean Jaccard loss of a whole batch.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Only classes with a labelled pixel in the batch count.
    ignore_index : int

    Returns
    -------
    scalar, float32; zero, with a gradient of zero, where every pixel is ignored.
    """
    computed = logits if logits.dtype == torch.float64 else logits.float()
    valid = target != ignore_index
    if not bool(valid.any()):
        return computed.sum() * 0.0
    probabilities = computed.softmax(dim=1).movedim(1, 0)[:, valid]
    labels = target[valid]
    classes = labels.unique()
    truth = (labels == classes[:, None]).to(probabilities)
    errors, order = (truth - probabilities[classes]).abs().sort(dim=1, descending=True)
    gradient = _jaccard_differences(truth.gather(1, order))
    return (errors * gradient).sum(dim=1).mean()


def _jaccard_differences(truth: Tensor) -> Tensor:
    """Increments of the Jaccard loss as pixels turn wrong in order; Algorithm 1, (C, P) -> (C, P)."""
    total = truth.sum(dim=1, keepdim=True)
    intersection = total - truth.cumsum(dim=1)
    union = total + (1 - truth).cumsum(dim=1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
