"""Studies under load, and what they find: storage rates, chaos, search quality, pruning, overhead.

    make bench-studies

Writes benchmarks/results/studies.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import study_chaos
import study_rates
import table_search

RESULTS = Path(__file__).parent / "results" / "studies.json"


def main() -> None:
    """Run all cases and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("rates", "chaos", "search"), help="one part alone, not written")
    only = parser.parse_args().only
    warnings.filterwarnings("ignore", module="optuna")
    rows: list[dict[str, Any]] = []
    for name, part in (
        ("rates", study_rates.rows),
        ("search", table_search.rows),
        ("chaos", study_chaos.rows),
    ):
        if only in (None, name):
            for row in part():
                print(row, flush=True)
                rows.append(row)
    if only is None:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
