"""Do the intervals hold what they say? `make bench-statistics`; `--surveys N` for another number.

Every case is simulated thousands of times with a known truth. Coverage: how often the 95 % interval of a
difference holds the truth; the peer is the percentile bootstrap over strips. Gain of the search: how often it
seems to gain although all settings are equal, how far its estimate is off, and how often a true gain is
found; the peers are the winner's interval on the tiles that chose it, and all trials of an adaptive sampler.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from result_rows import RESULTS, write_rows
from statistics_surveys import (
    SHAPES,
    SPREAD,
    compared_sides,
    confusions_of,
    strip_names,
    study_scores,
    true_difference,
)

from sonarseg.metrics.bootstrap import paired_interval
from sonarseg.metrics.search_gain import search_gain

STRIPS = (6, 8, 10, 20, 40)
SEEDS = (0, 3, 5, 10)
# Fewer than a report takes: it makes the ends a little less steady, and thousands of surveys possible.
RESAMPLES = 600
NAMED, DRAWN, ADAPTIVE = 6, 50, 144


def percentile_covers(
    a: NDArray[np.int64], b: NDArray[np.int64], strips: int, metric: str, generator: np.random.Generator
) -> bool:
    """Whether the plain percentile bootstrap over strips (and pairs of runs) covers the truth."""
    right = np.stack([side[..., 0, 0].reshape(len(a), strips, -1).sum(axis=-1) for side in (a, b)])
    total = a[0, 0].sum() / 2 * (a.shape[1] / strips)
    times = generator.multinomial(strips, np.full(strips, 1 / strips), size=RESAMPLES)
    share = np.einsum("bg,srg->srb", times, right) / (strips * total)
    scores = share / (2 - share) if metric == "miou" else share
    found = scores[0] - scores[1]
    runs = len(a)
    of_runs = (
        generator.multinomial(runs, np.full(runs, 1 / runs), size=RESAMPLES)
        if runs > 1
        else np.ones((RESAMPLES, 1))
    )
    means = (found.T * of_runs).sum(axis=1) / of_runs.sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return bool(low <= true_difference(metric) <= high)


def coverage(shape: str, strips: int, seeds: int, surveys: int, seed: int) -> tuple[int, int]:
    """Surveys whose interval covers the truth: ours, and the percentile bootstrap's."""
    generator = np.random.default_rng([seed, strips, seeds, SHAPES.index(shape)])
    ours = peer = 0
    names, metric = strip_names(strips), "pixel_accuracy" if seeds else "miou"
    for survey in range(surveys):
        a, b = compared_sides(shape, strips, seeds, generator)
        found = paired_interval(a, b, metric, groups=names, seeds=seeds > 0, seed=survey, resamples=RESAMPLES)
        ours += found.low <= true_difference(metric) <= found.high
        peer += percentile_covers(a, b, strips, metric, generator)
    return ours, peer


def gains(strips: int, correlation: float, gain: float, surveys: int, seed: int) -> NDArray[np.float64]:
    """Point and lower end of the search's gain per survey, three ways: (surveys, 3, 2).

    The settings drawn at random, as reports do; the winner on the tiles that chose it; in every fifth
    survey all trials, adaptive ones too, which takes four times as long.
    """
    generator = np.random.default_rng([seed, strips, int(100 * correlation), int(100 * gain)])
    names = strip_names(strips)
    found = np.full((surveys, 3, 2), np.nan)
    for survey in range(surveys):
        shares, named, drawn = study_scores(
            strips, correlation, gain, generator, named=NAMED, drawn=DRAWN, adaptive=ADAPTIVE
        )
        confusions = confusions_of(shares)[:, None]
        means = shares.mean(axis=1)
        winner = int(means.argmax())
        best = int(np.flatnonzero(named)[means[named].argmax()])
        options: dict[str, Any] = {"groups": names, "seed": survey, "resamples": 200}
        ways = [search_gain(confusions[named | drawn], named[named | drawn], "pixel_accuracy", **options)]
        ways.append(paired_interval(confusions[winner], confusions[best], "pixel_accuracy", **options))
        if survey % 5 == 0:
            ways.append(search_gain(confusions, named, "pixel_accuracy", **options))
        for place, way in enumerate(ways):
            found[survey, place] = way.value, way.low
    return found


def in_parts(function: Any, *case: Any, surveys: int) -> list[Any]:
    """Run a case in parts on both cores."""
    parts = 4
    return list(Parallel(n_jobs=2)(delayed(function)(*case, surveys // parts, part) for part in range(parts)))


def coverage_rows(surveys: int) -> list[dict[str, Any]]:
    """A row for each distribution, number of strips and number of seeds."""
    rows = []
    for seeds in SEEDS:
        for shape in SHAPES:
            for strips in STRIPS:
                counts = in_parts(coverage, shape, strips, seeds, surveys=surveys)
                ours, peer = (sum(part[side] for part in counts) / surveys for side in (0, 1))
                error = math.sqrt(0.95 * 0.05 / surveys)
                case = f"coverage, {shape}, {strips} strips" + (f", {seeds} seeds" if seeds else "")
                ratio = max(abs(peer - 0.95), error) / max(abs(ours - 0.95), error)
                rows.append(result_row(case, ours, peer, "share of surveys", ratio))
                print(
                    f"{case}: {ours:.3f} (percentile bootstrap {peer:.3f}; Monte-Carlo error {error:.3f})",
                    flush=True,
                )
    return rows


def gain_rows(surveys: int) -> list[dict[str, Any]]:
    """Rows of false gains, bias and power."""
    rows = []
    for gain in (0.0, 1.0):
        for correlation in (0.0, 0.5, 0.9):
            for strips in (6, 12, 24):
                parts = in_parts(gains, strips, correlation, gain, surveys=surveys)
                rows += _rows_of(np.concatenate(parts), strips, correlation, gain)
    return rows


def _rows_of(
    found: NDArray[np.float64], strips: int, correlation: float, gain: float
) -> list[dict[str, Any]]:
    above = [float((way[~np.isnan(way)] > 0).mean()) for way in found[..., 1].T]
    means = np.nanmean(found[..., 0], axis=0) / SPREAD
    case = f"{strips} strips, correlation {correlation:g}"
    error = math.sqrt(max(above[0] * (1 - above[0]), 1e-4) / len(found))
    print(
        f"true gain {gain:g}, {case}: lower end above zero {above[0]:.3f} (Monte-Carlo error {error:.3f}; "
        f"all trials {above[2]:.3f}, winner on its own tiles {above[1]:.3f}), mean estimate {means[0]:+.3f} "
        f"(all trials {means[2]:+.3f}, winner {means[1]:+.3f}) standard deviations",
        flush=True,
    )
    if gain:
        return [result_row(f"a true gain is found, {case}", above[0], None, "share of surveys", None)]
    ratio = max(above[1], error) / max(above[0], error)
    off = max(abs(means[1]), 0.01) / max(abs(means[0]), 0.01)
    return [
        result_row(
            f"a gain is seen where there is none, {case}", above[0], above[1], "share of surveys", ratio
        ),
        result_row(f"bias of the gain, {case}", means[0], means[1], "standard deviations over strips", off),
    ]


def result_row(case: str, ours: float, peer: float | None, unit: str, ratio: float | None) -> dict[str, Any]:
    """A row of the results file."""
    rounded = [None if number is None else round(float(number), 4) for number in (ours, peer, ratio)]
    return {"case": case, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": rounded[2]}


def main() -> None:
    """Simulate all cases and write the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=2000, help="simulated surveys per case")
    parser.add_argument("--only", choices=("coverage", "gains"), help="one of the two parts")
    arguments = parser.parse_args()
    started = time.monotonic()
    rows = [] if arguments.only == "gains" else coverage_rows(arguments.surveys)
    rows += [] if arguments.only == "coverage" else gain_rows(arguments.surveys)
    print(f"{arguments.surveys} surveys per case, {(time.monotonic() - started) / 60:.1f} minutes")
    path = RESULTS / "statistics.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    measured = {row["case"] for row in rows}
    write_rows("statistics", [row for row in known if row["case"] not in measured] + rows)


if __name__ == "__main__":
    main()
