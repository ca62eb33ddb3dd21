"""Studies under load, and what they find: storage rates, chaos, search quality, pruning, overhead.

    make bench-studies

Writes benchmarks/results/studies.json.
"""

from __future__ import annotations

import argparse
import warnings

import study_chaos
import study_rates
import table_search
from result_rows import Row, write_rows


def main() -> None:
    """Run all cases and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("rates", "chaos", "search"), help="one part alone, not written")
    only = parser.parse_args().only
    warnings.filterwarnings("ignore", module="optuna")
    rows: list[Row] = []
    for name, part in (
        ("rates", study_rates.rows),
        ("search", table_search.rows),
        ("chaos", study_chaos.rows),
    ):
        if only in (None, name):
            rows += part()
    if only is None:
        write_rows("studies", rows)


if __name__ == "__main__":
    main()
