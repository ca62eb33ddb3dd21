"""Simulated surveys of which the truth is known: confusion matrices of tiles in strips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TILES_PER_STRIP = 2
PIXELS = 100_000
# Share of the pixels that are right without any effect, and its standard deviation over strips
SHARE, SPREAD = 0.7, 0.03
# True difference of the two sides, in the share of pixels that are right
EFFECT = 0.02
SHAPES = ("normal", "skewness 1", "exponential")


def strip_effects(shape: str, size: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    """Effects of mean 0 and standard deviation 1."""
    if shape == "normal":
        return generator.normal(size=size)
    if shape == "exponential":
        return generator.exponential(size=size) - 1
    return (generator.gamma(4, size=size) - 4) / 2


def confusions_of(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Two classes of equal size with the same share right: int (..., G * tiles, 2, 2) of shares (..., G).

    With them IoU is p / (2 - p) for the mean share p, so the truth is known for a metric that is not linear.
    """
    right = np.round(np.clip(shares, 0.01, 0.99) * PIXELS).astype(np.int64)
    right = np.repeat(right, TILES_PER_STRIP, axis=-1)
    found = np.empty((*right.shape, 2, 2), dtype=np.int64)
    found[..., 0, 0] = found[..., 1, 1] = right
    found[..., 0, 1] = found[..., 1, 0] = PIXELS - right
    return found


def strip_names(strips: int) -> list[str]:
    """Strip of each tile."""
    return [f"strip {strip}" for strip in range(strips) for _ in range(TILES_PER_STRIP)]


def true_difference(metric: str) -> float:
    """True difference of the sides of `compared_sides`."""
    first, second = SHARE + EFFECT, SHARE
    return first - second if metric == "pixel_accuracy" else first / (2 - first) - second / (2 - second)


def compared_sides(
    shape: str, strips: int, seeds: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two sides of (R, T, 2, 2) and the true difference in the share of pixels that are right.

    Strips differ in how hard they are and in the difference; with seeds, each pair of runs has an effect of
    half that size, and each run on each strip another.
    """
    runs = max(1, seeds)
    hard = generator.normal(size=strips)
    effect = np.broadcast_to(strip_effects(shape, (strips,), generator), (runs, strips))
    if seeds:
        effect = effect + 0.5 * generator.normal(size=(runs, 1)) + 0.5 * generator.normal(size=(runs, strips))
    base = np.broadcast_to(SHARE + SPREAD * hard, (runs, strips))
    a = confusions_of(base + EFFECT + SPREAD * effect)
    b = confusions_of(base)
    return a, b


def study_scores(
    strips: int,
    correlation: float,
    gain: float,
    generator: np.random.Generator,
    *,
    named: int,
    drawn: int,
    adaptive: int,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Shares (S, G) of a study's settings, which are named and which were drawn at random.

    Named settings come first, then settings drawn at random, then settings that a sampler proposes near one
    of the best tenth so far; of every other random setting a variant with another number of iterations, which
    is nearly the same, is added if it is better. The difference between two settings drawn at random has the
    standard deviation `SPREAD` over strips; a tenth of the searched settings is better by `gain` of these.
    """
    own = SPREAD / np.sqrt(2)
    common = generator.normal(size=strips) * own * np.sqrt(correlation / (1 - correlation))
    settings = named + drawn + adaptive
    luck = generator.normal(size=(settings, strips))
    better = (generator.random(settings) < 0.1) & (np.arange(settings) >= named)
    scores = SHARE + common + own * luck + gain * SPREAD * better[:, None]
    means = scores.mean(axis=1)
    for number in range(named + drawn, settings):
        best = means[:number]
        top = np.argpartition(-best, number // 10)[: number // 10]
        parent, near = int(generator.choice(top)), generator.uniform(0.3, 0.95)
        luck[number] = near * luck[parent] + np.sqrt(1 - near**2) * luck[number]
        if generator.random() < near:
            better[number] = better[parent]
        scores[number] = SHARE + common + own * luck[number] + gain * SPREAD * better[number]
        means[number] = scores[number].mean()
    source = scores[named : named + drawn : 2]
    variants = source + 0.2 * own * generator.normal(size=source.shape)
    derived = variants[variants.mean(axis=1) > source.mean(axis=1)]
    kind = np.repeat([0, 1, 2], [named, drawn, adaptive + len(derived)])
    return np.concatenate([scores, derived]), kind == 0, kind == 1
