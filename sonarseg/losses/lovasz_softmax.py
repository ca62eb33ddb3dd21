"""Lovász-Softmax: a convex surrogate of one minus the intersection over union."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sonarseg.ignore import IGNORE
from sonarseg.losses.precision import at_least_float32
from sonarseg.losses.target_check import check_target


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
    CUDA 75 or 76 bytes (measured).

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
        Class ids; `ignore_index` where there is no label.
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


class Slopes(NamedTuple):
    """The loss of set s and class c is ``sum(probability * slope) + constant[s, c]`` over its pixels.

    Attributes
    ----------
    slope : (B, K, P)
        As the probabilities; 0 for pixels without label.
    constant : float64 (S, K)
        S sets: one for the batch, or one an image.
    members : int64 (S, K)
        Pixels of each class.
    valid : int64 (S,)
        Pixels with a label.
    """

    slope: Tensor
    constant: Tensor
    members: Tensor
    valid: Tensor


def slopes(probabilities: Tensor, target: Tensor, ignore_index: int, per_image: bool) -> Slopes:
    """Find the slopes of every class at once.

    The i-th largest error weighs as much as the Jaccard loss grows when the pixel of it is wrong as well
    (algorithm 1 of arXiv 1705.08790). Over some 10^5 pixels differences of ``1 - intersection / union`` are
    less than float32 resolves, so each is written out: a pixel of the class takes 1 / union from the
    intersection's share, another pixel makes the union larger by one.

    Parameters
    ----------
    probabilities : float (B, K, P)
    target : int64 (B, P)
        Class ids, or `ignore_index`.
    per_image : bool
        Whether each image is a set of its own.
    """
    if probabilities.device.type == "cpu" and probabilities.dtype == torch.float32:
        # Here, because numba takes a while to import, which a run with another loss need not wait for.
        from sonarseg.losses.lovasz_numba import slopes_by_rows

        found = slopes_by_rows(probabilities.contiguous(), target.contiguous(), ignore_index, per_image)
        return Slopes(*found)
    return _at_once(probabilities, target, ignore_index, per_image)


def _at_once(probabilities: Tensor, target: Tensor, ignore_index: int, per_image: bool) -> Slopes:
    batch, num_classes, pixels = probabilities.shape
    if not per_image:
        probabilities = probabilities.movedim(0, 1).reshape(1, num_classes, batch * pixels)
        target = target.reshape(1, batch * pixels)
    valid = target != ignore_index
    ids = torch.arange(num_classes, device=target.device)[:, None]
    truth = target[:, None] == ids
    errors = torch.where(truth, 1 - probabilities, probabilities)
    # Pixels without label come last, where they move nothing.
    order = errors.masked_fill(~valid[:, None], -1).argsort(dim=2, descending=True)
    sorted_truth = truth.gather(2, order)
    members, labelled = truth.sum(dim=2, keepdim=True), valid.sum(dim=1)
    seen = sorted_truth.cumsum(dim=2)
    ranks = torch.arange(1, truth.shape[2] + 1, device=target.device)
    intersection, union = members - seen, members + ranks - seen
    if_member, if_other = -1 / union, intersection / union / (union - 1).clamp_min(1)
    # The first wrong pixel of a class that is not there takes the loss from 0 to 1.
    if_other = torch.where((members == 0) & (ranks == 1), 1.0, if_other)
    sorted_slope = torch.where(sorted_truth, if_member, if_other)
    sorted_slope = torch.where(ranks <= labelled[:, None, None], sorted_slope, 0.0).to(probabilities.dtype)
    slope = torch.empty_like(sorted_slope).scatter_(2, order, sorted_slope)
    constant = torch.where(truth, -slope, 0.0).sum(dim=2, dtype=torch.float64)
    if not per_image:
        slope = slope.view(num_classes, batch, pixels).movedim(0, 1)
    return Slopes(slope, constant, members[:, :, 0], labelled)
