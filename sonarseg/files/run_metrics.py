"""metrics.jsonl of a run folder: a line an epoch, read by whoever follows the run or reports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Read the lines, up to one that a crash or a power cut has left half written; none without a file."""
    path = run_dir / METRICS
    if not path.is_file():
        return []
    whole = []
    for text in path.read_bytes().split(b"\n")[:-1]:
        try:
            line = json.loads(text)
        except ValueError:
            break
        whole.append(line)
    return whole
