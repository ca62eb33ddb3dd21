"""Whether a model beats a guess that does not look at the picture, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reports.style.formatting import score
from reports.style.interval_words import gain_sentence
from sonarseg.metrics.bootstrap import FEWEST_SEEDS, Interval, paired_interval
from sonarseg.metrics.guesses import best_constant_guess, random_guess
from sonarseg.metrics.iou import METRICS

# If the strips give no interval, a model must be better than the guess by so much.
MARGIN = 0.05


@dataclass(frozen=True)
class Guess:
    """The better of two guesses on the same tiles, and how far the model lies above it.

    The guesses are the best constant one, and a random one that names each class as often as the model;
    `name` is the class of a constant guess.
    """

    name: str | None
    split: str
    model: float
    value: float
    gain: Interval
    runs: int

    @property
    def beaten(self) -> bool:
        """Whether the model is better for sure; without an interval, by a margin."""
        return self.gain.low > 0 if self.gain.known else self.model >= self.value + MARGIN

    def sentence(self) -> str:
        """Name the guess, its score and how far the model lies above it."""
        if self.name is None:
            guess = "guessing at random, each class as often as the model predicts it, reaches"
        else:
            guess = f"the best constant guess ({self.name} everywhere) reaches"
        first = f", first of {self.runs} seeds" if self.runs > 1 and not self.gain.seeds else ""
        without = "" if self.gain.known else f", and without one a model must be better by {score(MARGIN)}"
        return f"{guess} {score(self.value)}: {gain_sentence(self.gain, self.split)}{first}{without}"


def best_guess(
    runs: NDArray[np.int64],
    metric: str,
    groups: Sequence[str | None] | None,
    classes: Sequence[str],
    split: str,
) -> Guess:
    """Compare runs with the better guess.

    Parameters
    ----------
    runs : ndarray, int64 (R, T, K, K)
        Confusion matrices of runs with different seeds.
    metric : str
        A key of `sonarseg.metrics.iou.METRICS`.
    groups : sequence of (str or None), or None
        Strip of each tile.
    classes : sequence of str
        Class names by id.
    """
    guessed, counts = best_constant_guess(runs[0], metric)
    name = classes[guessed] if guessed < len(classes) else f"class {guessed}"
    constant, random = np.stack([counts] * len(runs)), np.stack([random_guess(run) for run in runs])
    by_chance = mean_score(random, metric) > mean_score(constant, metric)
    floor = random if by_chance else constant
    # Two seeds do not tell how far seeds spread.
    used = len(runs) if len(runs) >= FEWEST_SEEDS else 1
    strips = tuple(groups) if groups is not None and len(groups) == runs.shape[1] else None
    gain = _lead(runs[:used].tobytes(), floor[:used].tobytes(), runs[:used].shape, metric, strips)
    return Guess(
        None if by_chance else name,
        split,
        mean_score(runs, metric),
        mean_score(floor, metric),
        gain,
        len(runs),
    )


# Of val and of test, each for the workspace before and after a change
@lru_cache(maxsize=4)
def _lead(
    runs: bytes, floor: bytes, shape: tuple[int, ...], metric: str, groups: tuple[str | None, ...] | None
) -> Interval:
    """Interval of runs - floor, int64 (R, T, K, K); kept, as `status --watch` asks for it every time."""
    first, second = (np.frombuffer(counts, dtype=np.int64).reshape(shape) for counts in (runs, floor))
    return paired_interval(first, second, metric, groups=groups, seeds=len(first) > 1)


def mean_score(runs: NDArray[np.int64], metric: str) -> float:
    """Mean of a metric over runs (R, T, K, K); NaN if undefined."""
    values = [METRICS[metric](run) for run in runs]
    return float(np.mean([math.nan if value is None else value for value in values]))
