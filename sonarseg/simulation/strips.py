"""Strips of the simulated survey: where their classes lie, and how tiles are cut from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonarseg.simulation.insonification import record
from sonarseg.simulation.regions import class_fields, offsets_for_shares, regions
from sonarseg.simulation.settings import CLASSES, SHARES, SeaFloor, SonarSettings
from sonarseg.simulation.terrain import terrain

FEWEST_STRIPS = 10
TILES_PER_STRIP = 10
TILES_ACROSS = 2
# Length of the largest regions in tiles: most tiles then hold one class.
REGION_LENGTH = 1.5


@dataclass(frozen=True)
class Strip:
    """A strip of sea floor before the sonar has passed.

    Attributes
    ----------
    mask : uint8 (H, W)
        Class ids; rows along track, columns away from the sonar.
    tiles : int
        Number of tiles cut from it, row by row.
    size : int
        Side of a tile, pixels.
    seed : SeedSequence
        Of relief, backscatter and the sonar's noise.
    """

    name: str
    mask: NDArray[np.uint8]
    tiles: int
    size: int
    seed: np.random.SeedSequence

    def cut(self, raster: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and window (S, S) of each tile of a raster (H, W) of the strip."""
        for index in range(self.tiles):
            row, column = (self.size * place for place in divmod(index, TILES_ACROSS))
            yield f"{self.name}_{index:03d}", raster[row : row + self.size, column : column + self.size]


def lay_out(tiles: int, size: int, seed: np.random.SeedSequence, tiles_per_strip: int) -> list[Strip]:
    """Lay out the classes of a survey.

    Parameters
    ----------
    tiles : int
        Tiles of the whole survey, one a strip at least.
    size : int
        Side of a tile, pixels.
    tiles_per_strip : int
        Tiles of a strip, about; a survey has `FEWEST_STRIPS` strips at least.
    """
    count = max(FEWEST_STRIPS, round(tiles / tiles_per_strip))
    rows = -(-tiles // (count * TILES_ACROSS))
    shape = (rows * size, TILES_ACROSS * size)
    seeds = seed.spawn(2 * count)
    fields = [
        class_fields(shape, len(CLASSES), REGION_LENGTH * size, np.random.default_rng(s))
        for s in seeds[:count]
    ]
    offsets = offsets_for_shares(fields, SHARES)
    return [
        Strip(
            name=f"s{number:02d}",
            mask=regions(fields[number], offsets),
            tiles=tiles // count + (number < tiles % count),
            size=size,
            seed=seeds[count + number],
        )
        for number in range(count)
    ]


def insonify(strip: Strip, sonar: SonarSettings, floor: SeaFloor) -> NDArray[np.uint8]:
    """Build the strip's sea floor and record it, uint8 (H, W)."""
    rng = np.random.default_rng(strip.seed)
    height, strength = terrain(strip.mask, floor, sonar.pixel, rng)
    return record(height, strength, sonar, rng)
