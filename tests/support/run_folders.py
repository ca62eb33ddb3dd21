"""Run folders: written, run until an epoch, and what they hold at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sonarseg.files.run_metrics import read_metrics
from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import read_summary

Whole = tuple[RunConfig, Path]


def write_run(folder: Path, config: RunConfig) -> Path:
    """Make a run folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    return folder


def results(run_dir: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Metrics and summary without what it cost."""
    summary = read_summary(run_dir)
    kept = ("metrics", "rounds", "confusions", "average_precision", "frequencies", "config_hash", "epochs")
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]
    return lines, {name: summary[name] for name in kept}


def stopped_after(run_dir: Path, epochs: int) -> None:
    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(run_dir, stop)
