"""Cross-entropy and focal loss over the labelled pixels of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Softmax cross-entropy, the weighted mean over the labelled pixels.

    As `torch.nn.functional.cross_entropy`, except that a batch without any labelled pixel
    gives 0 (with zero gradients) and not NaN, and that half precision is computed in float32.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.
    class_weights : float (K,), optional
        Weight of the pixels of each class; the sum is divided by the weights of all labelled pixels.
    ignore_index : int

    Returns
    -------
    float ()
    """
    precise = at_least_float32(logits)
    weights = None if class_weights is None else class_weights.to(precise)
    total = F.cross_entropy(precise, target, weight=weights, ignore_index=ignore_index, reduction="sum")
    valid = target != ignore_index
    if weights is None:
        return total / valid.sum().clamp_min(1)
    weight = weights[target[valid]].sum()
    return total / torch.where(weight > 0, weight, 1.0)


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float,
    alpha: Tensor | None = None,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Softmax focal loss ``-alpha_c (1 - p)^gamma log p`` of Lin et al. (arXiv 1708.02002).

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
    ignore_index : int

    Returns
    -------
    float ()
        Mean over the labelled pixels; 0, with zero gradients, where there are none.
    """
    precise = at_least_float32(logits)
    valid = target != ignore_index
    labels = torch.where(valid, target, 0)
    log_p = F.log_softmax(precise, dim=1).gather(1, labels[:, None])[:, 0]
    # 1 - p without cancellation. For 0 < gamma < 1 the derivative of its power grows without bound
    # as p -> 1, and times log p = 0 it would be NaN; the true limit is 0, which the clamp gives.
    miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
    losses = -(miss**gamma) * log_p
    if alpha is not None:
        losses = losses * alpha.to(precise)[labels]
    return torch.where(valid, losses, 0.0).sum() / valid.sum().clamp_min(1)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
