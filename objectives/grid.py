"""The two search spaces as grids: for a study that tries every combination of a few values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from objectives.records.ranking import LOSSES
from objectives.space import MAX_GAMMA, CrfRanges

CRF_STEPS = 3
LOSS_STEPS = 6


def crf_grid(ranges: CrfRanges, has_background: bool) -> list[dict[str, Any]]:
    """List the params of every crf trial of the grid.

    `CRF_STEPS` values an axis, both ends included. Iterations have one value, the highest: a trial tells the
    score of every lower number as well.
    """
    shared: dict[str, Sequence[Any]] = {
        name: _steps(getattr(ranges, name), CRF_STEPS, log=True)
        for name in ("sigma_alpha", "sigma_beta", "sigma_gamma", "w_bilateral", "w_spatial")
    }
    shared |= {"iterations": [ranges.iterations[1]], "guide": ranges.guides}
    if has_background:
        shared["background_score"] = _steps(ranges.background_score, CRF_STEPS)
    soft: dict[str, Sequence[Any]] = {
        **shared,
        "unary": ["soft"],
        "unary_scale": _steps(ranges.unary_scale, CRF_STEPS, log=True),
    }
    seeds: dict[str, Sequence[Any]] = {
        **shared,
        "unary": ["seeds"],
        "gt_prob": _steps(ranges.gt_prob, CRF_STEPS),
    }
    return [*_points(soft), *_points(seeds)]


def loss_grid() -> list[dict[str, Any]]:
    """List the params of every loss trial of the grid: gamma and alpha exist under focal only."""
    plain = [{"loss": name} for name in LOSSES if name != "focal"]
    focal: dict[str, Sequence[Any]] = {
        "loss": ["focal"],
        "gamma": _steps((0.0, MAX_GAMMA), LOSS_STEPS),
        "alpha": _steps((0.0, 1.0), LOSS_STEPS),
    }
    return [*plain, *_points(focal)]


def _steps(ends: tuple[float, float], count: int, *, log: bool = False) -> list[float]:
    low, high = ends
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return [float(value) for value in np.clip(values, low, high)]


def _points(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
