"""Whether races are fair, and what they save: `.venv/bin/python benchmarks/race_rates.py`.

The figures stand in docs/statistics.md.
"""

from __future__ import annotations

import argparse

from race_stops import stop_rows
from race_studies import study_rows
from table_search import recorded

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="settings a case")
    parser.add_argument("--studies", type=int, default=150, help="simulated studies a case")
    arguments = parser.parse_args()
    for rows in (stop_rows(recorded()[1], arguments.repeats), study_rows(arguments.studies)):
        for line in rows:
            print(line, flush=True)
        print()
