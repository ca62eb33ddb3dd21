"""What a run leaves to read: metrics.jsonl, summary.json, failure.json and log.txt."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sonarseg.files.run_metrics import METRICS
from sonarseg.files.whole import read_json, write_atomically, write_json

SUMMARY = "summary.json"
FAILURE = "failure.json"
LOG = "log.txt"


def start_metrics(run_dir: Path, lines: list[dict[str, Any]]) -> None:
    """Write the lines that the checkpoint knows; what stands there else is of an epoch that is done again."""
    write_atomically(run_dir / METRICS, "".join(json.dumps(line) + "\n" for line in lines))


def append_metrics(run_dir: Path, line: dict[str, Any]) -> None:
    """Add one line and flush it, so that whoever follows the run sees it at once."""
    with (run_dir / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()


def log(run_dir: Path, sentence: str) -> None:
    """Add a sentence with the time to log.txt."""
    stamp = datetime.now().astimezone().isoformat(timespec="seconds")
    with (run_dir / LOG).open("a", encoding="utf-8") as file:
        file.write(f"{stamp} {sentence}\n")


def read_summary(run_dir: Path) -> dict[str, Any]:
    """Read summary.json of a finished run.

    Raises
    ------
    UserError
        Where it is damaged.
    """
    return read_json(run_dir / SUMMARY, "delete it, and the run goes on from its last checkpoint")


def is_finished(run_dir: Path) -> bool:
    """Whether a run ended well: a pruned one has a summary too, which says so."""
    return (run_dir / SUMMARY).is_file() and read_summary(run_dir).get("stopped") is None


def write_failure(run_dir: Path, reason: str, kind: str) -> None:
    """Write failure.json: why the run cannot go on, and which kind of ending that is."""
    write_json(run_dir / FAILURE, {"reason": reason, "kind": kind})


def epoch_note(line: dict[str, Any]) -> str:
    """Put the figures of one line of metrics.jsonl into words."""
    parts = [f"classification loss {line['loss_classification']:.3f}"]
    if line["loss_segmentation"] is not None:
        parts.append(f"segmentation loss {line['loss_segmentation']:.3f}")
    for name in ("miou", "miou_multiclass"):
        if line.get(name) is not None:
            parts.append(f"{name} {line[name]:.3f}")
    return ", ".join(parts)
