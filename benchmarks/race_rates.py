"""Whether races are fair, and what they save: `.venv/bin/python benchmarks/race_rates.py`.

The figures stand in docs/statistics.md.
"""

from __future__ import annotations

import argparse

from race_stops import stop_rows
from table_search import recorded

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="settings a case")
    arguments = parser.parse_args()
    for line in stop_rows(recorded()[1], arguments.repeats):
        print(line, flush=True)
