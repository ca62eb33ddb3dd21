"""What the search finds in a recorded table of crf scores, and what races save.

The table (see record_crf_table.py) stands for the crf study of sss-mallorca: looking a setting up takes the
place of refining 46 tiles, so that twenty seeds cost seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState, create_trial
from record_crf_table import AXES, ITERATIONS
from result_rows import Row, row
from scipy.stats import wilcoxon

from objectives.racing import LEAST_TILES, Incumbent, Race, race_order
from objectives.samplers import make_sampler
from objectives.tuning_tiles import class_shares

TABLE = Path(__file__).parent / "tables" / "sss-mallorca-crf.npz"
SEEDS, BUDGET, MOST = 20, 200, 4000
# A tenth of a percent is where the table is not flat any more.
SHARES = (0.99, 0.999)
# Optuna's WilcoxonPruner ends a trial at this level.
WILCOXON_LEVEL = 0.1


def _suggest(trial: optuna.Trial) -> tuple[int, ...]:
    return tuple(trial.suggest_int(name, 0, len(axis) - 1) for name, axis in AXES.items())


def trials_to_good(table: NDArray[np.float64], sampler: str, seed: int, *, share: float, curve: bool) -> int:
    """Count the trials until one reaches a share of the grid's best.

    Parameters
    ----------
    table : float (..., iterations + 1)
    sampler : str
        As in study.toml.
    share : float
        Of the best score of the table.
    curve : bool
        Whether a trial tells the score of every number of iterations, as sonarseg's does; then the best
        number is added as a derived trial.
    """
    target = share * table.max()
    budget = BUDGET if sampler != "random" else MOST
    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(sampler, seed=seed, moved_on=0, budget=BUDGET),  # type: ignore[arg-type]
    )
    for count in range(1, budget + 1):
        trial = study.ask()
        scores = table[_suggest(trial)]
        iterations = trial.suggest_int("iterations", 0, ITERATIONS)
        value, best = float(scores[iterations]), int(np.argmax(scores))
        study.tell(trial, value)
        if (scores.max() if curve else value) >= target:
            return count
        if curve and scores[best] > value:
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    value=float(scores[best]),
                    params={**trial.params, "iterations": best},
                    distributions=trial.distributions,
                )
            )
    return budget


def search_rows(table: NDArray[np.float64]) -> Iterator[Row]:
    """Trials to a share of the table's best, by the default search and by random search."""
    for share in SHARES:
        counts = {
            (sampler, curve): median(
                trials_to_good(table, sampler, seed, share=share, curve=curve) for seed in range(SEEDS)
            )
            for sampler, curve in (("auto", True), ("auto", False), ("random", True), ("random", False))
        }
        for ours, peer, case in (
            (("auto", True), ("random", False), "sonarseg's default, beside random search"),
            (("auto", True), ("random", True), "the same, random search told all numbers of iterations too"),
            (("auto", False), ("random", False), "the same, neither told them"),
        ):
            title = f"sss-mallorca table, trials to {share:.1%} of the grid's best, median of {SEEDS} seeds"
            yield row(f"{title}: {case}", counts[ours], counts[peer], "trials", larger_is_better=False)


def _contributions(tiles: NDArray[np.float64], iou: NDArray[np.float64], weight: NDArray[np.float64]) -> Any:
    return ((tiles[..., 0] - iou * tiles[..., 1]) * weight).sum(axis=-1)


def _score(tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """MIoU of (T, variants, K, 2) counts, a variant each."""
    total = tiles.sum(axis=0)
    present = total[..., 1] > 0
    iou = np.where(present, total[..., 0] / np.maximum(1, total[..., 1]), 0)
    return np.asarray(iou.sum(axis=-1) / present.sum(axis=-1))


def _incumbent(tiles: NDArray[np.float64], value: float) -> Incumbent:
    total = tiles.sum(axis=0)
    present = total[:, 1] > 0
    iou = np.where(present, total[:, 0] / np.maximum(1, total[:, 1]), 0)
    weight = np.where(present, 1 / (present.sum() * np.maximum(1, total[:, 1])), 0)
    none = np.zeros((len(tiles), len(iou)), bool)
    return Incumbent(value, iou, weight, _contributions(tiles, iou, weight), none)


class _Counts(Race):
    """A race fed with recorded intersections and unions."""

    def add_counts(self, tile: int, counts: NDArray[np.float64]) -> None:
        own = _contributions(counts, self.incumbent.iou, self.incumbent.weight)
        self.differences.append(own - self.incumbent.contributions[tile])
        self._shares.append(float(self.share[tile]))

    def lost_by_ranks(self) -> bool:
        """Wilcoxon's signed-rank test in place of the t-test."""
        if self.scored < LEAST_TILES or self.scored == self.total:
            return False
        found = wilcoxon(
            np.stack(self.differences), alternative="less", zero_method="zsplit", method="asymptotic", axis=0
        )
        return bool((found.pvalue < WILCOXON_LEVEL).all())


def _run_in_order(
    sample: NDArray[np.float64], order: list[int], share: NDArray[np.float64], rule: str
) -> tuple[float, float, int, int]:
    """Try settings one after the other, their tiles by their share of the classes.

    Returns the best score found, the share of tiles scored, how many settings were better than the
    incumbent of their time, and how many of those were ended.
    """
    incumbent: Incumbent | None = None
    scored = better = ended = 0
    for setting in order:
        counts = sample[setting]
        lost = False
        if incumbent is not None and rule != "none":
            race = _Counts(incumbent, share)
            for tile in race_order(share, np.random.default_rng([order[0], setting])):
                race.add_counts(tile, counts[tile])
                if race.lost() if rule == "t" else race.lost_by_ranks():
                    lost = True
                    break
            scored += race.scored
        else:
            scored += len(share)
        scores = _score(counts)
        best = int(np.argmax(scores))
        if incumbent is None or scores[best] > incumbent.value:
            better, ended = better + 1, ended + lost
            if lost:
                continue
            incumbent = _incumbent(counts[:, best], float(scores[best]))
    assert incumbent is not None
    return incumbent.value, scored / (len(order) * len(share)), better, ended


def recorded_shares(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each tile (T,) in the classes.

    The table holds no truth: unions of one setting, which cover it, stand in for its pixels.
    """
    truth = sample[0, :, 0, :, 1].astype(np.int64)
    return class_shares(truth, np.ones(len(truth), dtype=np.bool_))


def race_rows(sample: NDArray[np.float64]) -> Iterator[Row]:
    """Tile evaluations that a race saves, and the points that it loses at worst, rule by rule."""
    share = recorded_shares(sample)
    orders = [list(np.random.default_rng(seed).permutation(len(sample))) for seed in range(SEEDS)]
    full = [_run_in_order(sample, order, share, "none")[0] for order in orders]
    for rule, name in (("t", "sonarseg's race (paired t-test)"), ("ranks", "Wilcoxon's signed-rank test")):
        found = [_run_in_order(sample, order, share, rule) for order in orders]
        loss = 100 * max(whole - value for whole, (value, *_) in zip(full, found, strict=True))
        better, ended = sum(counts[2] for counts in found), sum(counts[3] for counts in found)
        case = f"sss-mallorca table, {len(sample)} settings in {SEEDS} orders, {name}"
        saved = 100 * (1 - mean(share for _, share, *_ in found))
        yield row(f"{case}: share of tile evaluations saved", saved, 0, "%", digits=1)
        those = f"{ended} of {better} settings that were better than all before them ended"
        yield row(f"{case}: lost at worst, {those}", loss, 0, "points", digits=2)


def recorded() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the grid, and counts (settings, T, iterations + 1, K, 2) of a sample of its settings."""
    with np.load(TABLE) as stored:
        return stored["miou"].astype(np.float64) / 65535, stored["tiles"].astype(np.float64)


def rows() -> Iterator[Row]:
    """Rows of this part."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    table, sample = recorded()
    yield from search_rows(table)
    yield from race_rows(sample)
