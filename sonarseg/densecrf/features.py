"""Feature vectors of the two Gaussian kernels, as the permutohedral lattice takes them.

The kernel between two pixels is exp(-|f_i - f_j|^2 / 2). Coordinates come in the order x, y, channels,
that of pydensecrf's two-dimensional class, because the lattice approximates a little differently
in another order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError

# The lattice of pydensecrf holds its keys in 16-bit integers and wraps beyond without a word.
_MOST_16_BITS = 2**15 - 1
# Of the other engines: keys of 62 bits, and cells along one axis, beyond which float32 has too few bits left
# for the place within a cell.
LARGEST_KEY = 2**62
MOST_CELLS = 2**18


def spatial_features(height: int, width: int, sigma: float) -> NDArray[np.float32]:
    """Positions over `sigma` pixels.

    Returns
    -------
    ndarray, float32 (2, height * width), C order
    """
    features = np.empty((2, height, width), dtype=np.float32)
    _fill_positions(features, sigma)
    return features.reshape(2, -1)


def _fill_positions(features: NDArray[np.float32], sigma: float) -> None:
    _, height, width = features.shape
    features[0] = np.arange(width, dtype=np.float32) / np.float32(sigma)
    features[1] = (np.arange(height, dtype=np.float32) / np.float32(sigma))[:, None]


def bilateral_features(
    image: NDArray[np.uint8], sigma_alpha: float, sigma_beta: float
) -> NDArray[np.float32]:
    """Positions over `sigma_alpha` pixels and channels over `sigma_beta` grey levels.

    Parameters
    ----------
    image : ndarray, uint8 (H, W) or (H, W, 3)
        Grey images give three coordinates a pixel, RGB images five.

    Returns
    -------
    ndarray, float32 (3 or 5, H * W), C order
    """
    height, width = image.shape[:2]
    channels = image.reshape(height, width, -1)
    features = np.empty((2 + channels.shape[2], height, width), dtype=np.float32)
    _fill_positions(features[:2], sigma_alpha)
    features[2:] = np.moveaxis(channels, 2, 0)
    features[2:] /= np.float32(sigma_beta)
    return features.reshape(len(features), -1)


def elevation_scale(dimensions: int) -> NDArray[np.float32]:
    """Scale of each coordinate before it is lifted into the hyperplane of the lattice (section 3.1)."""
    steps = np.arange(1, dimensions + 1)
    # Rounded as pydensecrf rounds: which vertices exist depends on ties.
    spacing = np.float64(np.float32(math.sqrt(2 / 3) * (dimensions + 1)))
    scale: NDArray[np.float32] = (spacing / np.sqrt(steps * (steps + 1.0))).astype(np.float32)
    return scale


def slice_factor(dimensions: int) -> float:
    """1 / (1 + 2^-d): the gain of the blur along d + 1 axes is its inverse."""
    return 1.0 / (1.0 + 2.0**-dimensions)


def refuse_wrapping_keys(features: NDArray[np.float32], kernel: str) -> None:
    """Refuse features so far apart that the lattice's keys would wrap round.

    The bound follows from the elevation of Adams, Baek and Davis (2010, section 3.1): coordinate i
    (from 0) of d is scaled by sqrt(2/3) (d + 1) / sqrt((i + 1)(i + 2)).

    Parameters
    ----------
    features : ndarray, float32 (d, N)
        Features, not negative.
    kernel : str
        Names of the widths, for the message.

    Raises
    ------
    UserError
        Where a key could pass 16 bits.
    """
    dimensions = len(features)
    reach = features.max(axis=1).astype(np.float64)
    steps = np.arange(1, dimensions + 1)
    upward = (reach / np.sqrt(steps * (steps + 1))).sum()
    largest = math.sqrt(2 / 3) * (dimensions + 1) * max(upward, reach.max()) + dimensions + 1
    # So written, NaN is refused too.
    if not largest <= _MOST_16_BITS:
        raise too_narrow(kernel, largest / _MOST_16_BITS)


def too_narrow(kernel: str, excess: float) -> UserError:
    """Say that widths would have to be `excess` times as wide for the lattice; NaN where no number tells."""
    wanted = f"at least {excess:.3g} times as wide" if math.isfinite(excess) else "much wider"
    return UserError(
        f"The dense CRF cannot resolve {kernel} on a tile of this size: make the smallest of them {wanted}."
    )
