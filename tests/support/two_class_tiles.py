"""Confusion matrices of tiles with two classes, and strips of tiles."""

from __future__ import annotations

import numpy as np


def tiles_with(right: np.ndarray, of: int = 100_000) -> np.ndarray:
    """Two-class tiles of `of` pixels of class 0, a share `right` of them right: (..., T, 2, 2)."""
    pixels = np.round(np.asarray(right) * of).astype(np.int64)
    confusions = np.zeros((*pixels.shape, 2, 2), dtype=np.int64)
    confusions[..., 0, 0] = pixels
    confusions[..., 0, 1] = of - pixels
    return confusions


def names(strips: int, tiles_each: int = 1) -> list[str]:
    return [f"strip {i // tiles_each}" for i in range(strips * tiles_each)]
