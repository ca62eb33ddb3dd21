"""Multi-label soft margin: the loss of the classification branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonarseg.losses.precision import at_least_float32


def multilabel_soft_margin(logits: Tensor, labels: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of each image-level label, the mean over tiles and classes.

    As `torch.nn.functional.multilabel_soft_margin_loss`, over the classes that labels speak of.

    Parameters
    ----------
    logits : float (B, K)
    labels : float (B, K)
        1 where the tile shows the class, else 0.
    valid : bool (K,), optional
        Classes that image-level labels speak of: all but the background. Others get no gradient.

    Returns
    -------
    float ()
        0, with zero gradients, where no class is valid.
    """
    precise = at_least_float32(logits)
    losses = F.binary_cross_entropy_with_logits(precise, labels.to(precise), reduction="none")
    if valid is None:
        return losses.mean()
    chosen = valid.to(losses.device)
    return torch.where(chosen, losses, 0.0).sum() / (len(logits) * chosen.sum()).clamp_min(1)
