"""Height and backscatter strength of each class."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sonarseg.simulation.regions import gaussian_field
from sonarseg.simulation.settings import SeaFloor

Array = NDArray[np.float64]
# Height in metres, and strength of the backscatter, (H, W) each
Relief = tuple[Array, Array]


def _mud(shape: tuple[int, int], floor: SeaFloor, pixel: float, rng: Generator) -> Relief:
    height = floor.mud_roughness * gaussian_field(shape, 0.4 / pixel, rng)
    return height, np.ones(shape)


def _sand_ripples(shape: tuple[int, int], floor: SeaFloor, pixel: float, rng: Generator) -> Relief:
    """Asymmetric ripples that wander, fork and fade."""
    rows, columns = np.indices(shape) * pixel
    # Currents run along the shore: crests lie within 35 degrees of the track in a strip.
    direction = rng.uniform(-0.6, 0.6)
    along = columns * np.cos(direction) + rows * np.sin(direction)
    wander = 0.3 * gaussian_field(shape, 1.5 / pixel, rng) + 1.2 * gaussian_field(shape, 8 / pixel, rng)
    phase = 2 * np.pi * along / floor.ripple_length + 2 * np.pi * wander
    wave = np.sin(phase) + 0.25 * np.sin(2 * phase + 0.9)
    strength = np.clip(1 + 0.35 * gaussian_field(shape, 2.5 / pixel, rng), 0.25, 1.6)
    return floor.ripple_height / 2 * strength * wave, np.ones(shape)


def _rock(shape: tuple[int, int], floor: SeaFloor, pixel: float, rng: Generator) -> Relief:
    """Rough ledges with boulders half buried in them."""
    height = floor.rock_roughness * (
        gaussian_field(shape, 1.2 / pixel, rng)
        + 0.5 * gaussian_field(shape, 0.4 / pixel, rng)
        + 0.2 * gaussian_field(shape, 0.15 / pixel, rng)
    )
    count = rng.poisson(floor.boulder_density * shape[0] * shape[1] * pixel**2)
    for _ in range(count):
        radius = rng.uniform(*floor.boulder_radius) / pixel
        centre = rng.uniform((0, 0), shape)
        low = np.maximum(0, np.floor(centre - radius)).astype(int)
        high = np.minimum(shape, np.ceil(centre + radius) + 1).astype(int)
        rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
        squared = radius**2 - (rows - centre[0]) ** 2 - (columns - centre[1]) ** 2
        sphere = 0.9 * pixel * np.sqrt(np.maximum(squared, 0))
        window = height[low[0] : high[0], low[1] : high[1]]
        np.maximum(window, window + sphere, out=window)
    return height, np.exp(0.25 * gaussian_field(shape, 0.8 / pixel, rng))


def _seagrass(shape: tuple[int, int], floor: SeaFloor, pixel: float, rng: Generator) -> Relief:
    """Patches of canopy on bare floor; leaves scatter strongly, the floor between them weakly."""
    cover = 1 / (1 + np.exp(-3 * gaussian_field(shape, floor.patch_length / pixel, rng)))
    ragged = 0.25 * gaussian_field(shape, 0.12 / pixel, rng)
    height = floor.canopy_height * cover * (1 + ragged)
    return height, 0.45 + 1.15 * cover


MAKERS = (_mud, _sand_ripples, _rock, _seagrass)


def terrain(classes: NDArray[np.uint8], floor: SeaFloor, pixel: float, rng: Generator) -> Relief:
    """Lay out the sea floor of a strip.

    Parameters
    ----------
    classes : uint8 (H, W)
        Class ids in the order of `settings.CLASSES`.
    pixel : float
        Metres a pixel.

    Returns
    -------
    height : float64 (H, W)
        Metres over the mean floor.
    strength : float64 (H, W)
        Lambert coefficient relative to mud.
    """
    shape = (classes.shape[0], classes.shape[1])
    height, strength = np.zeros(shape), np.zeros(shape)
    total = np.zeros(shape)
    for index, make in enumerate(MAKERS):
        if not (classes == index).any():
            continue
        relief, texture = make(shape, floor, pixel, rng)
        level = floor.strength[index] * np.exp(floor.strength_spread * rng.standard_normal())
        # One pixel of blending keeps a class border from being a cliff.
        weight = gaussian_filter((classes == index).astype(np.float64), 1.0)
        height += weight * relief
        strength += weight * level * texture
        total += weight
    return height / total, strength / total
