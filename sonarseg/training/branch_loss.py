"""The loss of the classification branch that a run is configured with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.losses.candidate import candidate, class_top_shares, log_shown_shares, top_means
from sonarseg.losses.classification import multilabel_soft_margin
from sonarseg.network.two_heads import TwoHeadNetwork
from sonarseg.training.config import CamConfig


class BranchLoss(Protocol):
    """What trainer and validation ask of the classification branch."""

    def logits(self, network: TwoHeadNetwork, features: Tensor) -> Tensor:
        """(B, F, h, w) -> what the loss is taken of."""

    def loss(self, logits: Tensor, shown: Tensor, progress: float) -> Tensor:
        """Loss () of logits, float32, for the shown classes (B, K), at a progress of training in 0..1."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, K): how sure the branch is that each tile shows each class."""


@dataclass(frozen=True)
class BinaryLoss:
    """Each class by itself, from the pooled features.

    Attributes
    ----------
    labelled : bool (K,)
        Classes that image-level labels speak of.
    """

    labelled: Tensor

    def logits(self, network: TwoHeadNetwork, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, K)."""
        return network.classify(features)

    def loss(self, logits: Tensor, shown: Tensor, progress: float) -> Tensor:
        """Mean binary cross-entropy, whatever the progress."""
        return multilabel_soft_margin(logits, shown, valid=self.labelled)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, K) -> (B, K)."""
        return logits.sigmoid()


@dataclass(frozen=True)
class CandidateLoss:
    """The shown classes compete for each cell, see `sonarseg.losses.candidate`.

    Attributes
    ----------
    log_shares : float32 (K,)
        From `log_shown_shares`.
    top_shares : tuple of float
        One per class.
    presence_weight, temperature : float
        As the loss takes them.
    """

    log_shares: Tensor
    top_shares: tuple[float, ...]
    presence_weight: float = 1.0
    temperature: float = 0.5

    def logits(self, network: TwoHeadNetwork, features: Tensor) -> Tensor:
        """(B, F, h, w) -> (B, K, h w)."""
        return network.cell_logits(features).flatten(2)

    def loss(self, logits: Tensor, shown: Tensor, progress: float) -> Tensor:
        """The candidate-set loss."""
        return candidate(
            logits,
            shown,
            self.log_shares,
            self.top_shares,
            progress,
            presence_weight=self.presence_weight,
            temperature=self.temperature,
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, K, n) -> (B, K): the mean of the top share of cells, all classes competing."""
        return top_means(logits.softmax(dim=1), self.top_shares)


def branch_loss(
    cam: CamConfig, labelled: Tensor, shown: NDArray[np.bool_], background_id: int | None
) -> BranchLoss:
    """Make the loss of the classification branch of a run.

    Parameters
    ----------
    cam : CamConfig
        The loss and its constants.
    labelled : bool (K,)
        Classes that image-level labels speak of; on the device of the network.
    shown : bool (T, K)
        Classes of the train tiles.
    background_id : int or None
        The class that counts as shown in every tile.
    """
    if cam.loss == "binary":
        return BinaryLoss(labelled)
    shares = log_shown_shares(shown).to(labelled.device)
    tops = class_top_shares(shown.shape[1], background_id, cam.top_share, cam.object_top_share)
    return CandidateLoss(shares, tops, cam.presence_weight, cam.temperature)
