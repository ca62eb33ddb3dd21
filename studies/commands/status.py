"""Command: how far the studies of a workspace are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.commands.workspace_choice import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from rich.table import Table

    from studies.workspace import Workspace


def status(
    workspace: WorkspaceArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Tell how far the studies are and what is best so far."""
    from studies.commands.console import console

    facts = gather(find_workspace(workspace))
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    warm_up = facts["warm_up"]
    done = "done" if warm_up["finished"] else f"{warm_up['epochs_done']} of {warm_up['epochs']} epochs"
    console.print(f"{facts['name']}: workspace {facts['workspace']}, survey {facts['survey']}", markup=False)
    console.print(f"warm-up: {done}")
    console.print(_table(facts))
    for kind, study in facts["studies"].items():
        if study and study["best"]:
            console.print(f"best {kind}: {_setting(study['best'])}", markup=False)
        if study and study["untuned"]:
            console.print(f"{kind}: {study['untuned']}", markup=False)
    for opening in facts["test_openings"]:
        console.print(f"test masks opened {opening['time']}: {opening['what']}", markup=False)
    console.print(f"report: {facts['report'] or 'not written yet'}", markup=False)


def gather(workspace: Workspace) -> dict[str, Any]:
    """Collect what `sonarseg status` tells, fit for JSON."""
    from reports.summary import summarise
    from sonarseg.training.record import SUMMARY, read_metrics

    config, run_dir = workspace.config, workspace.warm_up_dir
    studies = summarise(workspace.root)["studies"]
    budgets = {"crf": config.crf.trials, "loss": config.loss.trials}
    for kind, study in studies.items():
        if study is not None:
            study["budget"] = budgets[kind]
    return {
        "name": config.name,
        "workspace": str(workspace.root),
        "survey": str(workspace.survey_path),
        "warm_up": {
            "finished": (run_dir / SUMMARY).is_file(),
            "epochs_done": len(read_metrics(run_dir)),
            "epochs": config.training.warmup_epochs,
        },
        "studies": studies,
        "test_openings": _test_openings(workspace),
        "report": str(workspace.report_path) if workspace.report_path.is_file() else None,
    }


def _test_openings(workspace: Workspace) -> list[dict[str, str]]:
    from studies.storage import load_study

    if not workspace.database_path.is_file():
        return []
    openings: list[dict[str, str]] = load_study(workspace.database_path, "crf").user_attrs.get(
        "test_openings", []
    )
    return openings


def _table(facts: dict[str, Any]) -> Table:
    from rich.table import Table

    from studies.commands.scores_table import figure

    table = Table()
    for column in ("study", "complete", "pruned", "failed", "running", "budget", "metric", "best"):
        table.add_column(column)
    for kind, study in facts["studies"].items():
        if study is None:
            table.add_row(kind, "not begun")
            continue
        best = study["best"]
        table.add_row(
            kind,
            *(str(study["trials"][state]) for state in ("complete", "pruned", "failed", "running")),
            str(study["budget"]),
            study["metric"],
            figure(best["value"]) if best else "-",
        )
    return table


def _setting(best: dict[str, Any]) -> str:
    parts = (
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best["params"].items()
    )
    name = f"{best['name']}: " if best["name"] else ""
    return f"trial {best['trial']}, {name}{', '.join(parts)}"
