"""Lovász-Softmax: a convex surrogate of one minus the intersection over union."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sonarseg.losses.lovasz_slopes import slopes
from sonarseg.losses.precision import at_least_float32
from sonarseg.losses.target_check import check_target
from sonarseg.seeds import IGNORE


def lovasz_softmax(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = IGNORE,
    classes: Literal["present", "all"] = "present",
    per_image: bool = False,
) -> Tensor:
    """Lovász-Softmax loss of Berman, Triki and Blaschko (arXiv 1705.08790).

    The mean over classes of the Lovász extension of the Jaccard loss, exact: with the errors of a class in
    falling order it is linear in them, and the slopes depend on the order alone.

    All tiles and classes are sorted at once. Beside the logits and the target it takes, a pixel and class,
    12 bytes on the CPU (probability, slope, gradient) and 20 bytes for each row that a thread sorts; on
    CUDA about 75 bytes (counted from its tensors, not measured there).

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.
    ignore_index : int
    classes : {"present", "all"}
        "present" leaves out classes that the pixels do not show. Under "all" such a class costs its largest
        probability; users report that this drowns the rest.
    per_image : bool
        Whether each tile is a set of its own, or all labelled pixels of the batch are one.

    Returns
    -------
    float ()
        In 0..1; 0, with zero gradients, where no pixel is labelled.

    Raises
    ------
    ValueError, IndexError
        As `sonarseg.losses.target_check.check_target` does.
    """
    check_target(logits, target, ignore_index)
    if target.numel() == 0:
        return at_least_float32(logits).sum() * 0
    probabilities = at_least_float32(logits).softmax(dim=1).flatten(2)
    found = slopes(probabilities.detach(), target.flatten(1), ignore_index, per_image)
    # An error is p for a pixel of another class and 1 - p for one of the class itself: `constant` is the sum
    # of what the ones bring, and the slopes of p carry the sign.
    tiles = (probabilities * found.slope).sum(dim=2, dtype=torch.float64)
    losses = (tiles if per_image else tiles.sum(dim=0, keepdim=True)) + found.constant
    counted = found.members > 0 if classes == "present" else (found.valid > 0)[:, None].expand_as(losses)
    number = counted.sum(dim=1)
    sets = torch.where(counted, losses, 0.0).sum(dim=1) / number.clamp_min(1)
    return (sets.sum() / (number > 0).sum().clamp_min(1)).to(probabilities.dtype)
