"""One line for each trial that has ended: for a person, or as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from objectives.records import attributes as attr
from studies.commands.terminal.console import console
from studies.commands.terminal.scores_table import setting_text

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from studies.workspace import Workspace

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def trial_line(workspace: Workspace) -> Callable[[optuna.Study, FrozenTrial], None]:
    """Make what prints a trial's line: study, number, value or reason, setting."""

    def tell(study: optuna.Study, trial: FrozenTrial) -> None:
        from sonarseg.files.plain_text import plain

        facts = trial_facts(study, trial)
        if facts["interrupted"]:
            return
        value = f"{facts['value']:.4f}" if facts["value"] is not None else facts["state"]
        line = f"{facts['study']} trial {trial.number:>4}  {value:<8}  {_describe(facts)}"
        console.print(plain(line), markup=False, style=None if facts["value"] is not None else "dim")

    return tell


def json_line(study: optuna.Study, trial: FrozenTrial) -> None:
    """Print a trial as one line of JSON."""
    typer.echo(json.dumps(trial_facts(study, trial)))


def trial_facts(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """Collect what a line tells, fit for JSON."""
    from objectives.records.trial import finishes_race, is_interrupted, objective_value

    complete = trial.state.name == "COMPLETE"
    return {
        "study": study.user_attrs.get(attr.KIND, study.study_name),
        "trial": trial.number,
        "state": "interrupted" if is_interrupted(trial) else _STATES[trial.state.name],
        "value": objective_value(trial) if complete else None,
        "seconds_a_tile": float(trial.values[1]) if complete and len(trial.values) > 1 else None,
        "params": trial.params,
        "name": trial.user_attrs.get(attr.NAME),
        "seed": trial.user_attrs.get(attr.SEED),
        "seconds": trial.user_attrs.get(attr.SECONDS),
        "device": trial.user_attrs.get(attr.DEVICE),
        "reason": trial.user_attrs.get(attr.REASON),
        "retry_of": trial.user_attrs.get(attr.RETRY_OF),
        "derived_from": trial.user_attrs.get(attr.DERIVED),
        "finished_race": finishes_race(trial),
        "interrupted": is_interrupted(trial),
    }


def _describe(facts: dict[str, Any]) -> str:
    if facts["state"] != "complete" and facts["reason"]:
        return str(facts["reason"])
    parts = [facts["name"] or setting_text(facts["params"])]
    if facts["seconds_a_tile"] is not None:
        parts.append(f"{1000 * facts['seconds_a_tile']:.1f} ms a tile")
    if facts["seed"] is not None:
        parts.append(f"seed {facts['seed']}")
    if facts["finished_race"]:
        parts.append(f"trial {facts['derived_from']} scored on its remaining tiles")
    elif facts["derived_from"] is not None:
        parts.append(f"from the same run as trial {facts['derived_from']}")
    elif facts["seconds"] is not None:
        parts.append(f"{facts['seconds']:.{1 if facts['seconds'] >= 1 else 2}f} s")
    return ", ".join(parts)
