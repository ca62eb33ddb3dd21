"""Where which class lies: the largest of several smooth random fields, with shares set by offsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import map_coordinates

# Weight of each octave and its length relative to the longest: edges are ragged at several scales.
OCTAVES = ((1.0, 1.0), (0.16, 0.25), (0.06, 0.08), (0.025, 0.025))


def gaussian_field(shape: tuple[int, int], length: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random field of unit variance whose correlation falls as a Gaussian.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns, pixels.
    length : float
        Standard deviation of the smoothing kernel, pixels.

    Returns
    -------
    float64 (H, W)
    """
    # A field that is smooth over many pixels is made on a coarser grid: the same field, far sooner.
    step = max(1, int(length / 6))
    if step > 1:
        coarse = gaussian_field((shape[0] // step + 3, shape[1] // step + 3), length / step, rng)
        rows = np.arange(shape[0]) / step
        columns = np.arange(shape[1]) / step
        fine: NDArray[np.float64] = map_coordinates(
            coarse, np.meshgrid(rows, columns, indexing="ij"), order=1
        )
        return fine
    margin = int(3 * length) + 1
    padded = [next_fast_len(side + margin, real=True) for side in shape]
    along = np.exp(-2 * (np.pi * length * np.fft.fftfreq(padded[0])) ** 2)
    across = np.exp(-2 * (np.pi * length * np.fft.rfftfreq(padded[1])) ** 2)
    noise = rfft2(rng.standard_normal(padded))
    field: NDArray[np.float64] = irfft2(noise * np.outer(along, across), s=padded)[: shape[0], : shape[1]]
    # The variance of smoothed white noise over an endless plane, not of this cut-out.
    scaled: NDArray[np.float64] = field * (2 * np.sqrt(np.pi) * length)
    return scaled


def class_fields(
    shape: tuple[int, int], num_classes: int, length: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """One field a class, (K, H, W), summed over octaves."""
    return np.stack(
        [
            sum(
                (weight * gaussian_field(shape, max(0.6, length * part), rng) for weight, part in OCTAVES),
                start=np.zeros(shape),
            )
            for _ in range(num_classes)
        ]
    ).astype(np.float32)


def offsets_for_shares(fields: Sequence[NDArray[np.float32]], shares: Sequence[float]) -> NDArray[np.float64]:
    """Find what to add to each class's field so that the classes cover the wanted shares.

    Parameters
    ----------
    fields : sequence of float32 (K, H, W)
        All strips.
    shares : (K,)
        Wanted shares; scaled to sum to 1.
    """
    sample = np.concatenate([f[:, ::6, ::6].reshape(f.shape[0], -1) for f in fields], axis=1)
    wanted = np.asarray(shares) / np.sum(shares)
    offsets = np.zeros(len(wanted))
    for step in range(200):
        counts = np.bincount((sample + offsets[:, None]).argmax(axis=0), minlength=len(wanted))
        offsets += (wanted - counts / sample.shape[1]) * (1.0 if step < 120 else 0.3)
    return offsets


def regions(fields: NDArray[np.float32], offsets: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Class ids (H, W) from fields (K, H, W) and offsets (K,)."""
    classes: NDArray[np.uint8] = (fields + offsets[:, None, None]).argmax(axis=0).astype(np.uint8)
    return classes
