"""Softmax cross-entropy over the labelled pixels of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonarseg.ignore import IGNORE
from sonarseg.losses.precision import at_least_float32
from sonarseg.losses.target_check import check_target


def cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE) -> Tensor:
    """Mean of the cross-entropy of the labelled pixels.

    As `torch.nn.functional.cross_entropy`, except that a batch without any labelled pixel
    gives 0 (with zero gradients) and not NaN, and that half precision is computed in float32.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.

    Returns
    -------
    float ()

    Raises
    ------
    ValueError, IndexError
        As `sonarseg.losses.target_check.check_target` does.
    """
    check_target(logits, target, ignore_index)
    precise = at_least_float32(logits)
    # On CUDA, the loss itself sums in no fixed order, which torch refuses in its deterministic mode.
    how = "none" if torch.are_deterministic_algorithms_enabled() else "sum"
    pixels = F.cross_entropy(precise, target, ignore_index=ignore_index, reduction=how)
    return pixels.sum() / (target != ignore_index).sum().clamp_min(1)
