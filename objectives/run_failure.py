"""How a run ended that did not end well: from its failure.json, its exit code and its last words."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from sonarseg.training.run_folder.record import FAILURE, SUMMARY

OUTPUT = "output.txt"
WRONG_INPUT, DEVICE_LOST, INTERRUPTED, TERMINATED = 2, 4, 130, 143


def failure_kind(run_dir: Path) -> str | None:
    """The kind of ending that failure.json tells of, where there is one."""
    if not (run_dir / FAILURE).is_file():
        return None
    kind: str | None = json.loads((run_dir / FAILURE).read_text(encoding="utf-8")).get("kind")
    return kind


def ending(run_dir: Path, code: int) -> str:
    """Say in one sentence how a run ended that did not end well."""
    if (run_dir / FAILURE).is_file():
        reason: str = json.loads((run_dir / FAILURE).read_text(encoding="utf-8"))["reason"]
        return reason
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        hint = ", which is what the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"the run was killed by signal {-code} ({name}){hint}."
    last = _last_words(run_dir / OUTPUT)
    if code == 0:
        return f"the run ended without writing {SUMMARY}."
    if code in (WRONG_INPUT, DEVICE_LOST) and last:
        return last
    return f"the run ended with exit code {code}: {last}" if last else f"the run ended with exit code {code}."


def _last_words(path: Path) -> str:
    """The line of a traceback that names the error, which advice may follow; else the last line."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    if "Traceback (most recent call last):" in text and named:
        return named[-1]
    return lines[-1] if lines else ""
