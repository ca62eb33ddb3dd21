"""What a loss of pixels refuses: targets that do not belong to its logits."""

from __future__ import annotations

import torch
from torch import Tensor


def check_target(logits: Tensor, target: Tensor, ignore_index: int) -> None:
    """Refuse a target that a loss would misread.

    The shapes are compared on every device. The ids are looked at on the CPU only: on CUDA the host would
    have to wait for them in every step.

    Parameters
    ----------
    logits : float (B, K, H, W)
    target : int64 (B, H, W)
    ignore_index : int
        The one value outside 0..K-1 that a target may hold.

    Raises
    ------
    ValueError
        If the target has another shape or type.
    IndexError
        If a target on the CPU holds an id that is no class.
    """
    if logits.ndim < 2 or logits.shape[1] == 0:
        raise ValueError(f"logits have shape {tuple(logits.shape)}, expected (tiles, classes, height, width)")
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"the target has shape {tuple(target.shape)}, expected {expected} for logits of shape "
            f"{tuple(logits.shape)}"
        )
    if target.dtype != torch.int64:
        raise ValueError(f"the target is {target.dtype}, expected torch.int64 class ids")
    if target.device.type != "cpu":
        return
    ids = target.numpy()
    wrong = ids[((ids < 0) | (ids >= logits.shape[1])) & (ids != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"the target holds the class id {wrong[0]}, expected 0 to {logits.shape[1] - 1}, "
            f"or {ignore_index} for no label"
        )
