"""How often a race stops a setting that is as good as the incumbent, and what it saves on a worse one.

Four rules are compared: how the order of tiles is drawn, and how the sum of the differences is estimated. A
setting that is as good as the incumbent is made from differences by taking their sum off, in proportion to
the tiles' sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from table_search import recorded_shares

from objectives.racing import LEAST_TILES, LEVEL, LOOKS, Incumbent, Race, race_order

Floats = NDArray[np.float64]
# Differences (n,) and shares (n,) of the tiles scored, number of all tiles: sum, its standard error
Estimate = Callable[[Floats, Floats, int], tuple[float, float]]
# Largest over smallest tile
SIZES = 20.0
# Slope of the difference per pixel, and power by which its noise falls with the size
GROWTHS = ((0.0, 0.0), (0.7, 0.0), (-0.7, 0.0), (0.0, 0.5))
# What a worse setting lacks, in root mean squares of the differences of sqrt(tiles) tiles
WORSE = 2.5


class Differences(Race):
    """A race that is fed with differences."""

    def add_difference(self, tile: int, difference: float) -> None:
        """Add the next tile's difference."""
        self.differences.append(np.array([difference]))
        self._shares.append(float(self.share[tile]))


def no_contributions(tiles: int) -> Incumbent:
    """An incumbent of score 0 for a race that is fed with differences."""
    none = np.zeros(1)
    return Incumbent(0.0, none, none, np.zeros(tiles), np.zeros((tiles, 1), dtype=np.bool_))


def _of_mean(found: Floats, shares: Floats, tiles: int) -> tuple[float, float]:
    number = len(found)
    error = found.std(ddof=1) * math.sqrt((1 - number / tiles) / number)
    return tiles * found.mean(), tiles * float(error)


def _of_ratio(found: Floats, shares: Floats, tiles: int) -> tuple[float, float]:
    seen, number = shares.sum(), len(found)
    ratio = found.sum() / seen
    rest = ((found - ratio * shares) ** 2).sum() * number / (number - 1)
    return float(ratio), math.sqrt((1 - seen) * rest) / float(seen)


def _largest_first(share: Floats, generator: np.random.Generator) -> NDArray[np.int64]:
    return np.argsort(-share, kind="stable")


def _any_order(share: Floats, generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.permutation(len(share))


@dataclass(frozen=True)
class Rule:
    """An order of tiles, and an estimate; None is that of `objectives.racing`."""

    name: str
    order: Callable[[Floats, np.random.Generator], NDArray[np.int64]]
    estimate: Estimate | None


RACE = Rule("drawn by share, Des Raj", race_order, None)
RULES = (
    Rule("largest first, mean", _largest_first, _of_mean),
    Rule("largest first, ratio", _largest_first, _of_ratio),
    Rule("any order, ratio", _any_order, _of_ratio),
    RACE,
)


def scored_tiles(differences: Floats, share: Floats, rule: Rule, generator: np.random.Generator) -> int:
    """Tiles (of T) that are scored of a setting with these differences (T,) before the race stops it."""
    order = rule.order(share, generator)
    if rule.estimate is None:
        return _in_race(differences, share, order)
    share, tiles = share / share.sum(), len(order)
    for number in range(LEAST_TILES, tiles, math.ceil(max(1, tiles - LEAST_TILES) / LOOKS)):
        total, error = rule.estimate(differences[order[:number]], share[order[:number]], tiles)
        if error > 0 and stdtr(number - 1, total / error) < LEVEL / LOOKS:
            return number
    return tiles


def _in_race(differences: Floats, share: Floats, order: NDArray[np.int64]) -> int:
    race = Differences(no_contributions(len(share)), share)
    for tile in order:
        race.add_difference(tile, differences[tile])
        if race.lost():
            break
    return race.scored


def without_gain(differences: Floats, share: Floats) -> Floats:
    """The differences of a setting that is exactly as good as the incumbent."""
    return differences - share / share.sum() * differences.sum()


def simulated(
    generator: np.random.Generator, *, tiles: int, noise: str, slope: float, falling: float
) -> tuple[Floats, Floats]:
    """Differences (T,) and shares (T,) of uneven tiles.

    Parameters
    ----------
    tiles : int
        T.
    noise : {"normal", "t", "skewed"}
        Of the difference per pixel: normal, Student's t of 4 degrees of freedom, or lognormal.
    slope : float
        How much the difference per pixel grows with the logarithm of the size.
    falling : float
        Power of the size by which the noise per pixel falls.
    """
    share = np.exp(generator.uniform(0, math.log(SIZES), tiles))
    match noise:
        case "normal":
            drawn = generator.normal(size=tiles)
        case "t":
            drawn = generator.standard_t(4, tiles)
        case _:
            drawn = generator.lognormal(0, 1, tiles)
    return share * (drawn / share**falling + slope * np.log(share)), share


def rates(
    draw: Callable[[np.random.Generator], tuple[Floats, Floats]], rule: Rule, repeats: int, seed: int = 0
) -> tuple[float, float]:
    """Share of equal settings stopped, and share of tiles not scored of worse ones."""
    generator = np.random.default_rng(seed)
    stopped, saved = 0, 0.0
    for _ in range(repeats):
        differences, share = draw(generator)
        equal = without_gain(differences, share)
        stopped += scored_tiles(equal, share, rule, generator) < len(share)
        worse = equal - WORSE * math.sqrt(float((equal**2).sum())) * share / share.sum()
        saved += 1 - scored_tiles(worse, share, rule, generator) / len(share)
    return stopped / repeats, saved / repeats


def _recorded(sample: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Differences of two settings of the recorded table, the better one being the incumbent."""
    pair = sample[generator.choice(len(sample), 2, replace=False), :, generator.integers(sample.shape[2])]
    totals = pair.sum(axis=1)
    iou = totals[..., 0] / np.maximum(1, totals[..., 1])
    best = int(np.argmax(iou.mean(axis=-1)))
    change = pair[1 - best] - pair[best]
    weight = 1 / (iou.shape[-1] * np.maximum(1, totals[best, :, 1]))
    return ((change[..., 0] - iou[best] * change[..., 1]) * weight).sum(axis=-1), recorded_shares(sample)


def stop_rows(sample: Floats, repeats: int) -> Iterator[str]:
    """Lines of a Markdown table: a case each, and for every rule both rates in %."""
    yield "| tiles | " + " | ".join(rule.name for rule in RULES) + " |"
    yield "|---|" + "---|" * len(RULES)
    cases: list[tuple[str, Callable[[np.random.Generator], tuple[Floats, Floats]]]] = [
        (f"sss-mallorca table, {sample.shape[1]}", lambda generator: _recorded(sample, generator))
    ]
    for tiles, noise, (slope, falling) in product((24, 60, 150), ("normal", "t", "skewed"), GROWTHS):
        draw = partial(simulated, tiles=tiles, noise=noise, slope=slope, falling=falling)
        grows = f"slope {slope:g}" if not falling else f"noise falls by size^{falling:g}"
        cases.append((f"{tiles}, {noise}, {grows}", draw))
    for name, case in cases:
        found = [rates(case, rule, repeats) for rule in RULES]
        cells = " | ".join(f"{100 * stopped:.0f} / {100 * saved:.0f}" for stopped, saved in found)
        yield f"| {name} | {cells} |"
