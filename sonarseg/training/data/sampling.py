"""Balanced sampling of multi-class tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError


def balanced_epoch(multiclass: NDArray[np.bool_], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw the tiles of one epoch: every multi-class tile and as many single-class ones.

    Most tiles of a survey show one class; without balance the borders between classes
    are hardly ever seen.

    Parameters
    ----------
    multiclass : bool (N,)
        Tiles with two or more classes.
    seed, epoch : int
        The same pair draws the same tiles, so that a resumed run sees what it would have seen.

    Returns
    -------
    int64 (M,)
        Tile indices in random order.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    several = np.flatnonzero(multiclass)
    single = np.flatnonzero(~multiclass)
    if len(several) and len(single):
        single = rng.choice(single, size=min(len(single), len(several)), replace=False)
    return rng.permutation(np.concatenate([several, single]))


def epoch_size(multiclass: NDArray[np.bool_]) -> int:
    """Count the tiles that an epoch draws: the same in every epoch, and for both ways to draw."""
    return len(balanced_epoch(multiclass, seed=0, epoch=1))


def single_class_epoch(multiclass: NDArray[np.bool_], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw as many tiles as `balanced_epoch` does, all of them single-class.

    Tiles repeat where there are too few, so that a run on single-label tiles alone takes as
    many steps as the run it is compared with.

    Raises
    ------
    UserError
        Where every tile may hold several classes.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    single = np.flatnonzero(~multiclass)
    if not len(single):
        raise UserError(
            'supervision = "single-label" needs train tiles of one class, and every train tile may hold '
            'several: use supervision = "labels".'
        )
    wanted = epoch_size(multiclass)
    repeats = -(-wanted // len(single))
    drawn = np.concatenate([rng.permutation(single) for _ in range(repeats)])
    return drawn[:wanted]
