"""The end of a study on the terminal: what won, by how much, and what to do next."""

from __future__ import annotations

import os
import shlex
from typing import Any

from rich.text import Text

from reports.findings.verdict import USABLE
from reports.overview.summary import summarise
from reports.style.formatting import MISSING, difference, ordered, parameter, score
from reports.style.study_words import foreign_note
from sonarseg.errors import UserError
from studies.commands.options.workspace import find_workspace
from studies.commands.terminal.tables import FittingTable, inert
from studies.workspace import Workspace


def ending(workspace: Workspace) -> list[FittingTable | Text]:
    """Sum a workspace's studies up: the verdict on the model, a small table, what to do next."""
    told = summarise(workspace.root)
    studies = {kind: facts for kind, facts in told["studies"].items() if facts}
    if studies and all(facts["untuned"] and not any(facts["trials"].values()) for facts in studies.values()):
        reason = next(iter(studies.values()))["untuned"]
        return [inert(told["verdict"]["sentence"]), inert(f"Nothing was tuned: {reason}")]
    heads = ["study", "baseline", "", "best", "ahead", "trials", "pruned", "failed"]
    rows = [_row(kind, facts) for kind, facts in studies.items()]
    parts: list[FittingTable | Text] = [FittingTable(heads, rows, words=2)]
    if "loss" in studies and sum(studies["loss"]["trials"].values()):
        parts.insert(0, inert(told["verdict"]["sentence"]))
    metrics = sorted({facts["metric"] for facts in studies.values()})
    parts.append(
        inert(f"{', '.join(metrics)} on val. Ahead: on the tiles that chose the best, which flatters it.")
    )
    parts += [inert(_setting(kind, facts)) for kind, facts in studies.items()]
    parts += [
        inert(f"{kind}: {note}.")
        for kind, facts in studies.items()
        if (note := foreign_note(facts["left_out"]))
    ]
    if told["verdict"]["kind"] in USABLE:
        command = f"sonarseg confirm{_as_argument(workspace)} --split test"
        parts.append(inert(f"Next: `{command}` measures both again, with new seeds."))
    return parts


def _as_argument(workspace: Workspace) -> str:
    """Name the workspace as a command needs it from here; empty where it is found without."""
    try:
        if find_workspace(None).root.resolve() == workspace.root.resolve():
            return ""
    except UserError:
        # There is none here, or there are several: then it needs a name.
        pass
    return " " + shlex.quote(os.path.relpath(workspace.root.resolve()))


def _row(kind: str, facts: dict[str, Any]) -> list[str]:
    counts = facts["trials"]
    ended = str(sum(counts[state] for state in ("complete", "pruned", "failed")))
    best = None if facts["best"] is None else facts["best"]["value"]
    name, value = _baseline(kind, facts) or (MISSING, None)
    gain = None if best is None or value is None else best - value
    figures = [score(value), score(best), difference(gain)]
    return [kind, name, *figures, ended, str(counts["pruned"]), str(counts["failed"])]


def _setting(kind: str, facts: dict[str, Any]) -> str:
    best = facts["best"]
    if best is None:
        return f"{kind}: {facts['untuned'] or 'no trial is complete.'}"
    named = f"{best['name']}: " if best["name"] else ""
    params = ", ".join(f"{name} {parameter(best['params'][name])}" for name in ordered(best["params"]))
    return f"Best {kind}: trial {best['trial']}, {named}{params}"


def _baseline(kind: str, facts: dict[str, Any]) -> tuple[str, float] | None:
    """Name and value of what the best is compared with: the best untuned setting, cross-entropy."""
    if kind != "loss":
        untuned = facts["best_untuned"]
        return None if untuned is None else (untuned["name"], untuned["value"])
    plain = next((row for row in facts["losses"] if row["loss"] == "cross-entropy"), None)
    value = None if plain is None else plain["means"].get(facts["metric"])
    return None if value is None else ("cross-entropy", value)
