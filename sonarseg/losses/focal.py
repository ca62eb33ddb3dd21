"""Focal loss over softmax probabilities (Lin et al., arXiv 1708.02002, in its multi-class form)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float,
    alpha: Tensor | None = None,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Mean over labelled pixels of -alpha_c (1 - p_c)^gamma log p_c.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
    gamma : float
        Focusing parameter, >= 0; 0 gives cross-entropy.
    alpha : float (K,), optional
        Weight a class.
    ignore_index : int

    Returns
    -------
    scalar, float32; zero, with a gradient of zero, where every pixel is ignored.

    Notes
    -----
    1 - p is taken as -expm1(log p) and kept from zero, where its gamma-th power has no finite
    derivative for gamma < 1.
    """
    valid = target != ignore_index
    if not bool(valid.any()):
        return logits.float().sum() * 0.0
    computed = logits if logits.dtype == torch.float64 else logits.float()
    labels = target.masked_fill(~valid, 0)
    log_p = F.log_softmax(computed, dim=1).gather(1, labels[:, None])[:, 0]
    loss = -log_p
    if gamma > 0:
        loss = loss * (-torch.expm1(log_p)).clamp_min(torch.finfo(computed.dtype).eps) ** gamma
    if alpha is not None:
        loss = loss * alpha.to(computed)[labels]
    return (loss * valid).sum() / valid.sum()
