"""Guide images for the dense CRF: speckle is multiplicative, and edges drown in it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Guide = Literal["raw", "log", "median", "lee"]
WINDOW = 5


def guide_image(image: NDArray[np.uint8], kind: Guide) -> NDArray[np.uint8]:
    """Prepare the picture whose grey levels steer the bilateral kernel.

    Parameters
    ----------
    image : uint8 (H, W) or (H, W, 3)
        A tile scaled to 0..255.
    kind : {"raw", "log", "median", "lee"}
        "raw": as it is; "log": grey level on a log scale, which turns speckle into additive noise;
        "median": 5 x 5 median; "lee": 5 x 5 Lee filter (Lee, IEEE PAMI 1980, multiplicative noise).

    Returns
    -------
    uint8, same shape
    """
    if kind == "raw":
        return image
    if kind == "log":
        logarithm = np.log1p(image.astype(np.float32)) * (255 / np.log(256))
        return np.asarray(logarithm.round(), dtype=np.uint8)
    size = (WINDOW, WINDOW) if image.ndim == 2 else (WINDOW, WINDOW, 1)
    if kind == "median":
        # Here and below, because it takes a while to import, which a run on raw tiles need not wait for.
        from scipy.ndimage import median_filter

        return np.asarray(median_filter(image, size=size), dtype=np.uint8)
    return _lee(image, size)


def _lee(image: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Weigh each pixel against its local mean by how much the local variation exceeds the speckle's.

    Lee 1980, multiplicative noise of mean 1: x = m + k (z - m), k = Q / (m² s² + Q),
    Q = (v + m²) / (1 + s²) - m², with m and v the local mean and variance and s² the speckle's variance.
    """
    from scipy.ndimage import uniform_filter

    values = image.astype(np.float64)
    mean = uniform_filter(values, size=size)
    square = mean**2
    variance = np.maximum(uniform_filter(values**2, size=size) - square, 0)
    lit = square > 0
    if not lit.any():
        return image
    # The median squared coefficient of variation: most windows of a tile hold speckle alone.
    speckle = float(np.median(variance[lit] / square[lit]))
    signal = np.maximum((variance + square) / (1 + speckle) - square, 0)
    weight = signal / np.maximum(square * speckle + signal, 1e-12)
    return np.asarray((mean + weight * (values - mean)).round().clip(0, 255), dtype=np.uint8)
