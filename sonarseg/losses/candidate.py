"""Loss of the classification branch in which the classes of a tile compete for its cells.

The label of a tile is taken as the set of candidates of each of its cells (learning from partial labels,
Jin and Ghahramani, NIPS 2002; Lv et al., arXiv 2002.08053), with two more terms: each shown class is
somewhere in the tile, and each cell makes up its mind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.losses.precision import at_least_float32

PRESENCE_FLOOR = 1e-4
# Added to the logits of classes that a tile does not show
NOT_SHOWN = -30.0
_RAREST, _MOST_FREQUENT = 0.02, 0.98


def candidate(
    logits: Tensor,
    shown: Tensor,
    log_shares: Tensor,
    top_shares: Sequence[float],
    progress: float,
    *,
    presence_weight: float = 1.0,
    temperature: float = 0.5,
) -> Tensor:
    """Candidate-set loss of the cells of tiles.

    With logits z, lp = log_softmax(z + log_shares), m = 0 for shown classes and -30 for the others,
    R = softmax(z + m), t = softmax((z + m) / temperature) without gradient, and u the progress::

        - mean over cells of logsumexp_c(lp + m)
        - presence_weight min(1, 2u) mean over shown classes of log(mean of the top share of R_c)
        - 0.5 clip((u - 0.25) / 0.2, 0, 1) mean over cells of sum_c t_c lp_c

    The second term rises with the training: in full from the start it may swap classes for good.

    Parameters
    ----------
    logits : float (B, K, n)
        Of n cells per tile.
    shown : bool or float (B, K)
        Classes of each tile; the background counts as shown. A tile without any has no say.
    log_shares : float (K,)
        See `log_shown_shares`: what makes a class frequent is no matter of the cell.
    top_shares : sequence of float
        For each class the share of cells, at least one, in which it is looked for.
    progress : float
        Of the training, 0..1.
    presence_weight : float
        Lambda, weight of the second term.
    temperature : float
        Below 1 the targets of the third term are sharper than the probabilities.

    Returns
    -------
    float ()
        0, with zero gradients, if no tile shows a class.
    """
    z = at_least_float32(logits)
    shown = shown.to(z)
    mask = (NOT_SHOWN * (1 - shown))[:, :, None]
    log_probabilities = F.log_softmax(z + log_shares.to(z)[:, None], dim=1)
    in_the_set = torch.logsumexp(log_probabilities + mask, dim=1)
    loss = -_mean_over_tiles(in_the_set, shown)
    if progress > 0:
        found = top_means((z + mask).softmax(dim=1), top_shares).clamp_min(PRESENCE_FLOOR).log()
        presence = (shown * found).sum() / shown.sum().clamp_min(1)
        loss = loss - presence_weight * min(1.0, 2 * progress) * presence
    sharpening = 0.5 * min(1.0, max(0.0, (progress - 0.25) / 0.2))
    if sharpening > 0:
        targets = ((z + mask).detach() / temperature).softmax(dim=1)
        loss = loss - sharpening * _mean_over_tiles((targets * log_probabilities).sum(dim=1), shown)
    return loss


def _mean_over_tiles(values: Tensor, shown: Tensor) -> Tensor:
    """Mean of values (B, n) over the tiles that show a class."""
    counted = (shown.amax(dim=1) > 0).to(values)
    return (counted * values.mean(dim=1)).sum() / counted.sum().clamp_min(1)


def top_means(scores: Tensor, top_shares: Sequence[float]) -> Tensor:
    """Mean of each class's highest scores.

    Parameters
    ----------
    scores : float (B, K, n)
    top_shares : sequence of float
        For each class the share of the n cells, rounded down, that counts; at least one cell does.

    Returns
    -------
    float (B, K)
    """
    cells = scores.shape[2]
    counts = [max(1, int(share * cells)) for share in top_shares]
    highest = scores.topk(max(counts), dim=2).values
    means = {count: highest[:, :, :count].mean(dim=2) for count in {*counts}}
    return torch.stack([means[count][:, index] for index, count in enumerate(counts)], dim=1)


def log_shown_shares(shown: NDArray[np.bool_]) -> Tensor:
    """Logarithm of the share of tiles that show each class, the shares clipped to 0.02..0.98.

    Parameters
    ----------
    shown : bool (T, K)
        Of the train tiles.

    Returns
    -------
    float32 (K,)
    """
    shares = np.clip(shown.mean(axis=0), _RAREST, _MOST_FREQUENT)
    return torch.from_numpy(np.log(shares)).float()


def class_top_shares(
    num_classes: int, background_id: int | None, top_share: float, object_top_share: float
) -> tuple[float, ...]:
    """Top share of each class: objects on a background take less of a tile than sediments do."""
    return tuple(
        top_share if background_id in (None, index) else object_top_share for index in range(num_classes)
    )
