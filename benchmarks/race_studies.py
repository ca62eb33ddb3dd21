"""Whether races change the stated gain of a search: whole studies, simulated.

A study scores settings one after the other on uneven tiles of some strips; the first is the untuned one, the
others are drawn at random. Its other trials, which a sampler proposes near good ones, take as long each. What
`sonarseg.metrics.search_gain` tells is compared three ways: with every setting scored on all tiles; with
races, and what they stopped finished as `studies.stages.finish_races` does; with races alone, stopped
settings left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from objectives.racing import Race, incumbent_of, race_order
from objectives.tuning_tiles import class_shares
from objectives.unfinished_races import LEAST_CHANCE, Stopped, chances
from sonarseg.metrics.bootstrap import Interval
from sonarseg.metrics.iou import METRICS
from sonarseg.metrics.search_gain import search_gain
from sonarseg.metrics.strip_counts import strip_counts
from studies.stages.race_remainder import MOST_TIME

Counts = NDArray[np.int64]
METRIC = "miou"
TRIALS, CLASSES, TILES = 200, 3, 60
# Settings drawn at random, strips, share of settings that are truly better, share of the repeats
CASES = (
    (50, 6, 0.0, 1.0),
    (50, 12, 0.0, 1.0),
    (50, 6, 0.1, 1.0),
    (50, 12, 0.1, 1.0),
    (200, 6, 0.0, 0.2),
    (200, 12, 0.1, 0.2),
)
SIZES, PIXELS = 20.0, 400.0
# Standard deviations of the share of wrong pixels: of tiles for all settings, of settings by strip, by tile
DIFFICULTY, BY_STRIP, BY_TILE = 0.06, 0.02, 0.03
ERROR, GAIN = 0.25, 0.03
# Settings finished before the chances of the others are computed again; a study does it after each.
_STEP = 5
WAYS = ("all whole", "races, finished", "races alone")


@dataclass
class Told:
    """What studies told in one way: gains, how often they were certain, and pixels that were scored."""

    gains: list[float] = field(default_factory=list)
    certain: list[bool] = field(default_factory=list)
    scored: list[float] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)

    def add(self, found: Interval, scored: float, finished: int = 0, left_out: int = 0) -> None:
        """Add a study."""
        self.gains.append(found.value)
        self.certain.append(found.low > 0)
        self.scored.append(scored)
        self.finished.append(finished)
        self.left_out.append(left_out)


def simulated_study(
    strips: int, gaining: float, generator: np.random.Generator, settings: int = TRIALS
) -> tuple[Counts, list[str]]:
    """Confusion matrices (S, T, K, K) of a study, and the strip of each tile.

    Parameters
    ----------
    gaining : float
        Share of the settings that are truly better than the untuned one, the first.
    settings : int
        S.
    """
    strip = np.arange(TILES) * strips // TILES
    size = PIXELS * np.exp(generator.uniform(0, math.log(SIZES), TILES))
    truth = (size[:, None] * generator.dirichlet(np.ones(CLASSES), TILES)).astype(np.int64)
    better = (generator.random(settings) < gaining) & (np.arange(settings) > 0)
    error = (
        ERROR
        + generator.normal(0, DIFFICULTY, TILES)
        + generator.normal(0, BY_STRIP, (settings, strips))[:, strip]
        + generator.normal(0, BY_TILE, (settings, TILES))
        - GAIN * better[:, None]
    )
    wrong = (truth * np.clip(error, 0, 1)[..., None]).astype(np.int64)
    found = np.zeros((settings, TILES, CLASSES, CLASSES), dtype=np.int64)
    for true in range(CLASSES):
        found[..., true, true] = truth[:, true] - wrong[..., true]
        found[..., true, (true + 1) % CLASSES] = wrong[..., true]
    return found, [f"strip {number}" for number in strip]


def raced(confusions: Counts, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Tiles on which each setting is scored before its race stops it, (S, T); all of the first one's."""
    share = class_shares(confusions[0].sum(axis=-1), np.ones(TILES, dtype=np.bool_))
    scored = np.zeros(confusions.shape[:2], dtype=np.bool_)
    scored[0] = True
    incumbent = incumbent_of(confusions[0], METRIC, _score(confusions[0]))
    for setting in range(1, len(confusions)):
        race = Race(incumbent, share)
        for tile in race_order(share, generator):
            scored[setting, tile] = True
            race.add(tile, confusions[setting, tile][None])
            if race.lost():
                break
        if scored[setting].all() and _score(confusions[setting]) > incumbent.value:
            incumbent = incumbent_of(confusions[setting], METRIC, _score(confusions[setting]))
    return scored


def _score(confusions: Counts) -> float:
    value = METRICS[METRIC](confusions)
    assert value is not None
    return value


def finished(
    confusions: Counts, scored: NDArray[np.bool_], groups: list[str]
) -> tuple[NDArray[np.bool_], int, int]:
    """Score stopped settings whole as the end of a study does: tiles scored, settings finished, left out."""
    pixels = confusions[0].sum(axis=(-2, -1))
    budget = MOST_TIME * float((scored @ pixels).sum()) * TRIALS / len(confusions)
    scored, done = scored.copy(), 0
    counts = strip_counts(confusions, METRIC, groups)
    values = np.array([_score(each) for each in confusions])
    while True:
        whole = scored.all(axis=1)
        lost = np.flatnonzero(~whole)
        best = confusions[np.argmax(np.where(whole, values, -1.0))]
        stopped = [Stopped(scored[each], confusions[each]) for each in lost]
        found = chances(stopped, best, counts[whole], METRIC, groups)
        order = [place for place in np.argsort(-found, kind="stable") if found[place] > LEAST_CHANCE]
        for step, place in enumerate(order):
            rest = float(pixels[~scored[lost[place]]].sum())
            if rest > budget:
                return scored, done, len(order) - step
            if step == _STEP:
                break
            budget -= rest
            scored[lost[place]] = True
            done += 1
        if not order:
            return scored, done, 0


def compare(
    strips: int, gaining: float, repeats: int, seed: int = 0, settings: int = TRIALS
) -> dict[str, Told]:
    """Simulate studies; what each way tells of them, in the same order."""
    told = {way: Told() for way in WAYS}
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, repeat])
        confusions, groups = simulated_study(strips, gaining, generator, settings)
        pixels = confusions[0].sum(axis=(-2, -1))
        some = raced(confusions, generator)
        more, done, left_out = finished(confusions, some, groups)
        for way, scored in zip(WAYS, (np.ones_like(some), more, some), strict=True):
            whole = confusions[scored.all(axis=1)]
            found = search_gain(whole[:, None], np.arange(len(whole)) == 0, METRIC, groups=groups)
            share = float((scored @ pixels).sum() / (pixels.sum() * settings))
            told[way].add(found, share, *((done, left_out) if way == WAYS[1] else (0, 0)))
    return told


def _of_mean(values: list[float], scale: float, digits: int) -> str:
    """Mean and its Monte-Carlo error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{scale * np.mean(values):.{digits}f} ± {scale * error:.{digits}f}"


def study_rows(repeats: int) -> Iterator[str]:
    """Lines of a Markdown table: a case and a way each."""
    yield (
        "| drawn, strips, truth | way | gain, points | minus all whole, points | gain above 0, % | scored, % "
        "| finished | left out |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for drawn, strips, gaining, part in CASES:
        found = compare(strips, gaining, max(2, round(part * repeats)), settings=drawn)
        whole = found[WAYS[0]]
        truth = "1 in 10 better" if gaining else "all equal"
        for way, told in found.items():
            change = [one - other for one, other in zip(told.gains, whole.gains, strict=True)]
            yield (
                f"| {drawn}, {strips}, {truth} | {way} | {_of_mean(told.gains, 100, 2)} | "
                f"{_of_mean(change, 100, 3)} | {_of_mean([float(c) for c in told.certain], 100, 1)} | "
                f"{100 * np.mean(told.scored):.0f} | {np.mean(told.finished):.1f} | "
                f"{np.mean(told.left_out):.1f} |"
            )
