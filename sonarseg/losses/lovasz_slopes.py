"""Slopes of the Lovász-Softmax loss: how much each probability weighs, given the order of the errors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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
    ignore_index : int
    per_image : bool
        Whether each image is a set of its own.
    """
    if probabilities.device.type == "cpu" and probabilities.dtype == torch.float32:
        # Here, because numba takes a while to import, which a run with another loss need not wait for.
        from sonarseg.losses.lovasz_rows import slopes_by_rows

        return slopes_by_rows(probabilities.contiguous(), target.contiguous(), ignore_index, per_image)
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
