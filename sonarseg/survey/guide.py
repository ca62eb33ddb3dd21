"""Guide images for the dense CRF: speckle is multiplicative, and edges drown in it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter

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
        return (np.log1p(image.astype(np.float32)) * (255 / np.log(256))).round().astype(np.uint8)
    size = (WINDOW, WINDOW) if image.ndim == 2 else (WINDOW, WINDOW, 1)
    if kind == "median":
        filtered: NDArray[np.uint8] = median_filter(image, size=size)
        return filtered
    return _lee(image, size)


def _lee(image: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Weigh each pixel against its local mean by how much the local variation exceeds the speckle's."""
    values = image.astype(np.float64)
    mean = uniform_filter(values, size=size)
    variance = np.maximum(uniform_filter(values**2, size=size) - mean**2, 0)
    variation = variance / np.maximum(mean**2, 1e-6)
    # The median squared coefficient of variation: most windows of a tile hold speckle alone.
    speckle = float(np.median(variation))
    true_variance = np.maximum(variance - mean**2 * speckle, 0) / (1 + speckle)
    weight = true_variance / np.maximum(variance, 1e-6)
    return (mean + weight * (values - mean)).round().clip(0, 255).astype(np.uint8)
