"""Focal loss over softmax probabilities: cross-entropy that easy pixels hardly enter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonarseg.ignore import IGNORE
from sonarseg.losses.precision import at_least_float32
from sonarseg.losses.target_check import check_target


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float,
    alpha: Tensor | None = None,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Mean of ``-alpha_c (1 - p_c)^gamma log p_c`` over the labelled pixels (Lin et al., arXiv 1708.02002).

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.
    gamma : float
        Focusing exponent, 0 or more; 0 is cross-entropy.
    alpha : float (K,), optional
        Factor of the pixels of each class. Unlike the weights of `cross_entropy` it does not enter
        the denominator, as in the source.

    Returns
    -------
    float ()
        0, with zero gradients, where no pixel is labelled.

    Raises
    ------
    ValueError, IndexError
        As `sonarseg.losses.target_check.check_target` does.
    """
    check_target(logits, target, ignore_index)
    precise = at_least_float32(logits)
    valid = target != ignore_index
    labels = target.masked_fill(~valid, 0)
    log_p = F.log_softmax(precise, dim=1).gather(1, labels[:, None])[:, 0]
    # 1 - p without cancellation. For 0 < gamma < 1 the derivative of its power grows without bound
    # as p -> 1, and times log p = 0 it would be NaN; the true limit is 0, which the clamp gives.
    miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
    losses = -(miss**gamma) * log_p
    if alpha is not None:
        losses = losses * alpha.to(precise)[labels]
    return torch.where(valid, losses, 0.0).sum() / valid.sum().clamp_min(1)
