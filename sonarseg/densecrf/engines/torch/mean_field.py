"""Unary energies and mean-field inference of the dense CRF in plain torch operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sonarseg.densecrf.engines.torch.lattice import Filter
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.unary import SCORE_FLOOR, background_score

# Energy of a class that a tile does not have: softmax gives it exactly 0.
_ABSENT = math.inf
# On the CPU, torch's softmax along rows narrower than its vectors is several times as slow.
_CPU_VECTOR = 16


def unary_energy(
    scores: Tensor, parameters: CrfParameters, background: int | None = None, classes: int | None = None
) -> Tensor:
    """Energies of one tile, equal to those of `sonarseg.densecrf.unary`.

    Parameters
    ----------
    scores : float16 or float32 (k, H, W)
        Scores of the tile's k >= 2 classes.
    parameters : CrfParameters
        `unary`, with `unary_scale` or `gt_prob`, is used, and `background_score`.
    background : int, optional
        The row that has the constant background score in place of what it holds.
    classes : int, optional
        Columns of the result, where a batch has more classes than the tile: the further ones get an
        energy so high that they neither win nor take mass.

    Returns
    -------
    float32 (H * W, classes)
    """
    count = len(scores)
    likelihood = scores.reshape(count, -1).to(torch.float32, copy=True)
    if background is not None:
        likelihood[background] = background_score(parameters)
    energy = torch.full((likelihood.shape[1], classes or count), _ABSENT, device=scores.device)
    if parameters.unary == "soft":
        energy[:, :count] = likelihood.add_(SCORE_FLOOR).log_().mul_(-parameters.unary_scale).T
    else:
        energy[:, :count] = -math.log((1 - parameters.gt_prob) / (count - 1))
        energy.scatter_(1, likelihood.argmax(0)[:, None], -math.log(parameters.gt_prob))
    return energy


def mean_field(
    unary: Tensor,
    kernels: Sequence[tuple[Filter, float]],
    iterations: int,
    on_iteration: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Mean-field inference with Potts compatibility (arXiv 1210.5644, algorithm 1).

    Parameters
    ----------
    unary : float32 (N, k)
        Unary energies.
    kernels : sequence of (Filter, float)
        Normalised kernels over the N pixels and their weights.
    on_iteration : callable, optional
        Given the number of iterations done, from 0, and the marginals (N, k), which are not kept.

    Returns
    -------
    float32 (N, k)
        Marginals after the last iteration.
    """
    marginals = _softmax(-unary)
    if on_iteration is not None:
        on_iteration(0, marginals)
    for iteration in range(1, iterations + 1):
        energy = -unary
        for kernel, weight in kernels:
            energy.add_(kernel.filter(marginals), alpha=weight)
        marginals = _softmax(energy)
        if on_iteration is not None:
            on_iteration(iteration, marginals)
    return marginals


def _softmax(energy: Tensor) -> Tensor:
    """Softmax of each row of (N, k), which may be overwritten."""
    if energy.is_cuda or energy.shape[1] >= _CPU_VECTOR:
        return torch.softmax(energy, dim=1)
    energy -= energy.amax(1, keepdim=True)
    energy.exp_()
    energy /= energy.sum(1, keepdim=True)
    return energy
