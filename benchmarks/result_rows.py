"""Rows of benchmarks/results: how a case is timed, shown and written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results"


def row(
    case: str,
    mine: float | None,
    peer: float | None,
    unit: str,
    *,
    larger_is_better: bool | None = None,
    ratio: float | None = None,
    digits: int = 4,
) -> Row:
    """Make and print a line of a result file.

    Parameters
    ----------
    larger_is_better : bool or None
        A ratio above 1 is better for us; without it there is none, unless `ratio` gives it.
    digits : int
        Decimals of both numbers.
    """
    if mine is not None and peer is not None and larger_is_better is not None:
        ratio = round(mine / peer if larger_is_better else peer / mine, 2)
    rounded = [None if value is None else round(value, digits) for value in (mine, peer)]
    found = {"case": case, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": ratio}
    print(found, flush=True)
    return found


def seconds(work: Callable[[], object]) -> float:
    """Time that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write_rows(name: str, rows: Sequence[Row]) -> None:
    """Write benchmarks/results/NAME.json."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")
