"""What a side-scan sonar records of a sea floor: Lambert's law, shadows, speckle and residual gain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonarseg.simulation.regions import gaussian_field
from sonarseg.simulation.settings import SonarSettings

Array = NDArray[np.float64]


def ground_range(columns: int, sonar: SonarSettings) -> Array:
    """Ground range of each column, metres, (W,)."""
    return sonar.first_range + sonar.pixel * np.arange(columns, dtype=np.float64)


def cosine_of_incidence(height: Array, sonar: SonarSettings) -> Array:
    """Cosine of the angle between surface normal and sonar, (H, W); 0 where the surface faces away.

    Parameters
    ----------
    height : float64 (H, W)
        Metres; rows along track, columns in ground range.
    """
    slope_along, slope_across = np.gradient(height, sonar.pixel)
    across = ground_range(height.shape[1], sonar)
    up = sonar.altitude - height
    cosine = (across * slope_across + up) / (
        np.sqrt(slope_along**2 + slope_across**2 + 1) * np.sqrt(across**2 + up**2)
    )
    lit: Array = np.maximum(cosine, 0)
    return lit


def in_shadow(height: Array, sonar: SonarSettings) -> NDArray[np.bool_]:
    """Pixels that nearer relief hides, by casting rays along the range axis, bool (H, W)."""
    elevation = (height - sonar.altitude) / ground_range(height.shape[1], sonar)
    horizon = np.maximum.accumulate(elevation, axis=1)
    return elevation < horizon


def mean_intensity(height: Array, strength: Array, sonar: SonarSettings) -> Array:
    """Echo intensity without speckle, relative to mud on a flat floor, (H, W).

    The sonar's time-varying gain has taken out what a flat floor would show: Lambert's cosine
    squared (Urick) at the flat grazing angle.
    """
    across = ground_range(height.shape[1], sonar)
    flat = sonar.altitude / np.hypot(across, sonar.altitude)
    lit = strength * (cosine_of_incidence(height, sonar) / flat) ** 2
    return np.where(in_shadow(height, sonar), 0.0, lit) + sonar.noise_floor


def speckle(shape: tuple[int, int], looks: float, rng: np.random.Generator) -> Array:
    """Multiplicative speckle of intensity: Gamma with mean 1 and variance 1 / looks (Goodman)."""
    return rng.gamma(looks, 1 / looks, shape)


def residual_gain(shape: tuple[int, int], sonar: SonarSettings, rng: np.random.Generator) -> Array:
    """Gain that is left over: smooth along the range, slowly drifting along the track, jumping a ping."""
    across = gaussian_field((1, shape[1]), shape[1] / 6, rng)
    drift = gaussian_field(shape, shape[1] / 4, rng)
    pings = rng.standard_normal((shape[0], 1))
    log_gain: Array = sonar.residual_gain * (across / np.sqrt(np.abs(across).max() + 1) + drift) / np.sqrt(2)
    return np.exp(log_gain + sonar.ping_gain * pings)


def record(
    height: Array, strength: Array, sonar: SonarSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Record a strip as 8-bit amplitudes, (H, W)."""
    shape = (height.shape[0], height.shape[1])
    intensity = mean_intensity(height, strength, sonar) * residual_gain(shape, sonar, rng)
    amplitude = np.sqrt(intensity * speckle(shape, sonar.looks, rng))
    return (sonar.grey_of_mud * amplitude).round().clip(0, 255).astype(np.uint8)
